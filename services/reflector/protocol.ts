/** What the reflector is asked of runs, and what it refuses. Neighbours: `run-events.ts`, what a run records; `online-protocol.ts`, evolution from live feedback. */
import { Schema } from "effect"
import { Name } from "#shared/domain/name"
import { TestOutcome } from "#shared/metamemory/paired-test"
import { type RunParameters, RunRequest } from "./parameters.ts"
import { BranchesCompared, JudgeCalibrated, ReferenceEvaluation, SourcedOperation, TestReported, WhatIfAnswered } from "./run-events.ts"

/** A settled job as a decision sees it. */
export interface JobResult {
  readonly kind: string
  readonly key: string
  readonly status: "done" | "failed"
  readonly data: unknown
  /** Of the commit it was settled by. */
  readonly checksum: string
}
/** By `{kind}/{key}`. */
export type Results = ReadonlyMap<string, JobResult>

/** The stage a command is about; a command for a stage that is over adds nothing. */
export type RunCommand =
  | { readonly _tag: "OpenRun"; readonly parameters: RunParameters }
  | { readonly _tag: "StartStep"; readonly step: number }
  | { readonly _tag: "FoldRollouts"; readonly step: number; readonly results: Results }
  | { readonly _tag: "FoldReflections"; readonly step: number; readonly results: Results }
  | { readonly _tag: "FoldProposals"; readonly step: number; readonly results: Results }
  | { readonly _tag: "FoldConsolidation"; readonly step: number; readonly results: Results }
  | { readonly _tag: "FoldGateRound"; readonly step: number; readonly round: number; readonly results: Results }
  /** `voids`: how often the guard test had been void; absent = never. */
  | { readonly _tag: "FinishRun"; readonly results: Results; readonly voids?: number }
  | { readonly _tag: "ImportRun"; readonly record: ImportedRecord; readonly digest: string }
  /** `outcome`: checksum of the failed one. */
  | { readonly _tag: "RetryJob"; readonly step: number; readonly kind: string; readonly key: string; readonly outcome: string }
  | { readonly _tag: "RecordCalibration"; readonly event: JudgeCalibrated }
  | { readonly _tag: "OpenTest"; readonly generation: number; readonly questions: ReadonlyArray<string>; readonly memoryPosition: number }
  | { readonly _tag: "ReportTest"; readonly look: number; readonly outcomes: ReadonlyArray<TestOutcome> }
  | { readonly _tag: "RecordWhatIf"; readonly found: WhatIfFound }
  | { readonly _tag: "RecordComparison"; readonly found: Comparison }

/** The run exists with other parameters; what determines a run never changes. */
export class ParametersDiffer extends Schema.TaggedError<ParametersDiffer>()("ParametersDiffer", { parameters: Schema.Array(Schema.String), message: Schema.String }) {}
/** The run is too small to tell anything, and nobody said to run it anyway. */
export class RunTooSmall extends Schema.TaggedError<RunTooSmall>()("RunTooSmall", { message: Schema.String }) {}
/** A question stands in two parts of the split. */
export class QuestionInTwoParts extends Schema.TaggedError<QuestionInTwoParts>()("QuestionInTwoParts", { question: Schema.String, message: Schema.String }) {}
/** The test split may not be looked at so. */
export class TestRefused extends Schema.TaggedError<TestRefused>()("TestRefused", { message: Schema.String }) {}
/** A what-if cannot be recorded so. */
export class WhatIfRefused extends Schema.TaggedError<WhatIfRefused>()("WhatIfRefused", { message: Schema.String }) {}
/** A job that failed is not done anew: no stage waits for it. The message says why, and what there is to do. */
export class NotWaitedFor extends Schema.TaggedError<NotWaitedFor>()("NotWaitedFor", { message: Schema.String }) {}
/** There is no run of that name. */
export class NoSuchRun extends Schema.TaggedError<NoSuchRun>()("NoSuchRun", { run: Schema.String, message: Schema.String }) {}
/** The run has no generation of that number. */
export class NoSuchGeneration extends Schema.TaggedError<NoSuchGeneration>()("NoSuchGeneration", { run: Schema.String, generation: Schema.Int, message: Schema.String }) {}

export type RunRefusal = ParametersDiffer | RunTooSmall | QuestionInTwoParts | TestRefused | WhatIfRefused | NotWaitedFor

const RunAddress = { tenant: Name, run: Name }
export const OpenRequest = Schema.Struct({ ...RunAddress, request: RunRequest })
export type OpenRequest = typeof OpenRequest.Type
export const StatusRequest = Schema.Struct(RunAddress)
export const AdoptRequest = Schema.Struct({ ...RunAddress, generation: Schema.Int })
export type AdoptRequest = typeof AdoptRequest.Type

/** Operations as they were read; `M3` is the fourth principle that the step used. */
const FoundOperations = Schema.Struct({
  found: Schema.Array(SourcedOperation),
  /** Entries that are no operation, by reason. */
  discarded: Schema.Record(Schema.String, Schema.Int)
})
export type FoundOperations = typeof FoundOperations.Type

/** A run made elsewhere. */
export const ImportRequest = Schema.Struct({
  ...RunAddress,
  origin: Schema.String,
  /** In order. */
  generations: Schema.Array(
    Schema.Struct({
      /** Step that made it, from 1. */
      step: Schema.Int.check(Schema.isGreaterThan(0)),
      /** Texts in order. */
      principles: Schema.Array(Schema.NonEmptyString),
      /** Texts of the generation before that this step is known to have reworded. */
      updates: Schema.Array(Schema.Struct({ before: Schema.String, after: Schema.String }))
    })
  ),
  /** What else was found of steps; absent where the folder has generations alone. */
  steps: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({
        step: Schema.Int.check(Schema.isGreaterThan(0)),
        epoch: Schema.Int,
        /** A letter an attempt, as in `QuestionAttempts`. */
        attempts: Schema.Array(Schema.Struct({ question: Schema.NonEmptyString, verdicts: Schema.String.check(Schema.isPattern(/^[cie]+$/)) })),
        /** Keys of the attempts that were reflected on. */
        reflected: Schema.Array(Schema.String),
        proposals: FoundOperations,
        operations: FoundOperations
      })
    )
  ),
  evaluation: Schema.optionalKey(ReferenceEvaluation),
  contents: Schema.optionalKey(Schema.NonEmptyString)
})
export type ImportRequest = typeof ImportRequest.Type
export type ImportedRecord = Omit<ImportRequest, "run" | "tenant">
export const ImportReply = Schema.Struct({ generations: Schema.Int, fresh: Schema.Boolean })
export type ImportReply = typeof ImportReply.Type

/** A job of a run that failed is to be done anew. */
export const RetryRequest = Schema.Struct({ ...RunAddress, step: Schema.Int, kind: Schema.NonEmptyString, key: Schema.NonEmptyString })
export type RetryRequest = typeof RetryRequest.Type
/** False where nothing need be done: it has an outcome that is no failure. */
export const RetryReply = Schema.Struct({ again: Schema.Boolean })
export type RetryReply = typeof RetryReply.Type

/** Something about a finished or running run that is found out beside it. */
export const RecordRequest = Schema.Struct({ ...RunAddress, calibration: JudgeCalibrated.payload })
export type RecordRequest = typeof RecordRequest.Type
export const RecordReply = Schema.Struct({ recorded: Schema.Boolean, position: Schema.String })
export type RecordReply = typeof RecordReply.Type

/** The test split is to be looked at: what is answered by the reply is recorded before. */
export const TestRequest = Schema.Struct({ ...RunAddress, generation: Schema.Int, questions: Schema.Array(Schema.NonEmptyString) })
export type TestRequest = typeof TestRequest.Type
export const TestReply = Schema.Struct({ look: Schema.Int, memoryPosition: Schema.Int })
export type TestReply = typeof TestReply.Type
export const ReportRequest = Schema.Struct({ ...RunAddress, look: Schema.Int, outcomes: Schema.Array(TestOutcome) })
export type ReportRequest = typeof ReportRequest.Type
/** The report that stands. */
export const ReportReply = TestReported.payload
export type ReportReply = typeof ReportReply.Type

/** What was found out about one generation with one thing changed; figures follow from the outcomes. */
const { answers, by, change, generation, outcomes, paid, principles, reused, samples } = WhatIfAnswered.payload.fields
export const WhatIfFound = Schema.Struct({ generation, change, principles, samples, by, outcomes, answers, reused, paid })
export type WhatIfFound = typeof WhatIfFound.Type
export const WhatIfRequest = Schema.Struct({ ...RunAddress, found: WhatIfFound })
export type WhatIfRequest = typeof WhatIfRequest.Type
/** Number of the record that stands. */
export const WhatIfReply = Schema.Struct({ number: Schema.Int })
export type WhatIfReply = typeof WhatIfReply.Type

/** How branches of a run came out beside their placebos. */
export const Comparison = BranchesCompared.payload
export type Comparison = typeof Comparison.Type
export const CompareRequest = Schema.Struct({ ...RunAddress, found: Comparison })
export type CompareRequest = typeof CompareRequest.Type
/** The comparison that stands, with its place in the log. */
export const CompareReply = Schema.Struct({ position: Schema.NonEmptyString })
export type CompareReply = typeof CompareReply.Type

/** Where a run is. */
export const RunStatus = Schema.Struct({
  ...RunAddress,
  stage: Schema.Literals(["rollouts", "reflections", "proposals", "consolidation", "gate", "guard", "between steps", "finished"]),
  step: Schema.Int,
  steps: Schema.Int,
  /** Jobs of the stage settled, of those known to be needed now. */
  done: Schema.Int,
  expected: Schema.Int,
  /** Settled with an error in this stage. */
  failed: Schema.Int,
  generation: Schema.Int,
  /** Share of questions that came out both ways so far; absent before the first step is through. */
  mixedShare: Schema.optionalKey(Schema.Finite),
  /** Calls of the whole run, by that share once it is measured. */
  expectedCalls: Schema.Finite,
  recommended: Schema.optionalKey(Schema.Int),
  /** True = a process holds the run; false = it will be picked up within seconds. */
  driven: Schema.Boolean,
  undersized: Schema.Boolean
})
export type RunStatus = typeof RunStatus.Type
export const OpenReply = Schema.Struct({ opened: Schema.Boolean, budget: Schema.Array(Schema.String), expectedCalls: Schema.Finite, undersized: Schema.Boolean, judge: Schema.String, reflector: Schema.String })
export type OpenReply = typeof OpenReply.Type
