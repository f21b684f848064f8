/** What a run records: its opening, what each step found, tried and decided, the generations sealed, and what is found out of it beside. */
import { Schema } from "effect"
import { Operation, OperationKind, Principle, SingleOperation } from "#shared/domain/principle"
import { PrincipleScope, QuestionClass } from "#shared/domain/scope"
import { defineEvent, eventCodec, type EventOf } from "#shared/eventlog/event"
import { GenerationSealed } from "#shared/metamemory/events"
import { TestFigures, TestOutcome } from "#shared/metamemory/paired-test"
import { WhatIfFigures, WhatIfOutcome } from "#shared/metamemory/what-if"
import { JudgeKind } from "#services/evaluator/protocol"
import { GatePolicySchema, RunParameters } from "./parameters.ts"

const Tally = Schema.Struct({ correct: Schema.Int, incorrect: Schema.Int, errors: Schema.Int })
/** By question id. */
const Tallies = Schema.Record(Schema.String, Tally)

/** A trial as it stands after a look. */
const TrialRecord = Schema.Struct({
  id: Schema.NonEmptyString,
  step: Schema.Int,
  index: Schema.Int,
  operation: Operation,
  scope: PrincipleScope,
  spreading: Schema.Boolean,
  state: Schema.Literals(["open", "accepted", "undecided", "rejected", "void", "obsolete"]),
  looks: Schema.Int,
  reopened: Schema.Int,
  voids: Schema.Int,
  candidate: Tallies,
  base: Schema.String,
  /** Within ±10⁹, which stands for infinity. */
  z: Schema.Finite
})

/** What a decision changed in the state of the trials; absent = unchanged. A null tally was thrown away, to be drawn anew. */
export const TrialsPatch = Schema.Struct({
  principles: Schema.optionalKey(Schema.Array(Principle)),
  trials: Schema.Array(TrialRecord),
  incumbent: Schema.Record(Schema.String, Schema.NullOr(Tally)),
  draws: Schema.optionalKey(Schema.Record(Schema.String, Schema.Int)),
  allowance: Schema.Finite
})
export type TrialsPatch = typeof TrialsPatch.Type

/**
 * A run begins; nothing that determines it is left out. Version 1 knew no branches; version 2 neither the data set's mix of types, so that
 * every question counts alike, nor an early end; version 3 no policy of the guard test; version 4 neither a ledger
 * of runs before it nor how long replies may be; version 5 no merge in that ledger. What they wrote reads as it stands.
 */
export const RunOpened = defineEvent("RunOpened", {
  version: 6,
  upcasts: { 1: (old) => old, 2: (old) => old, 3: (old) => old, 4: (old) => old, 5: (old) => old },
  payload: Schema.Struct({
    parameters: RunParameters,
    /** Calls it takes and what its gate can see, in words. */
    budget: Schema.Array(Schema.String),
    expectedCalls: Schema.Finite,
    /** True when every figure of the run is labelled as too small to mean much. */
    undersized: Schema.Boolean
  })
})

export const StepStarted = defineEvent("StepStarted", {
  version: 1,
  payload: Schema.Struct({
    step: Schema.Int,
    /** Ids, repeated ones first. */
    questions: Schema.Array(Schema.NonEmptyString),
    repeated: Schema.Int,
    epoch: Schema.Int
  })
})

/** Attempts at one question, in the order of samples. */
export const QuestionAttempts = Schema.Struct({
  question: Schema.NonEmptyString,
  /** One letter a sample: `c` correct, `i` incorrect, `e` error. */
  verdicts: Schema.String,
  /** Per sample the ids of principles in scope that it went without. */
  dropped: Schema.Array(Schema.Array(Schema.String))
})
export type QuestionAttempts = typeof QuestionAttempts.Type

export const RolloutsFolded = defineEvent("RolloutsFolded", {
  version: 1,
  payload: Schema.Struct({
    step: Schema.Int,
    attempts: Schema.Array(QuestionAttempts),
    errors: Schema.Int,
    /** Digest over keys and checksums of the results. */
    results: Schema.String
  })
})

/** Something that makes a step worthless, said aloud: every attempt ended the same way. */
export const AlarmRaised = defineEvent("AlarmRaised", {
  version: 1,
  payload: Schema.Struct({ step: Schema.Int, alarm: Schema.Literals(["all errors", "all correct", "all incorrect"]), message: Schema.String })
})

export const ReflectionsFolded = defineEvent("ReflectionsFolded", {
  version: 1,
  payload: Schema.Struct({
    step: Schema.Int,
    /** Keys of the reflections that were made; the lessons stand in the call store or in the results. */
    done: Schema.Array(Schema.String),
    failed: Schema.Int,
    /** How many each wrote: `rule-based`, or a model's name. */
    by: Schema.Record(Schema.String, Schema.Int),
    results: Schema.String
  })
})

/** An operation with the questions whose attempts suggested it. */
export const SourcedOperation = Schema.Struct({ operation: SingleOperation, sources: Schema.Array(Schema.String) })
export type SourcedOperation = typeof SourcedOperation.Type

export const ProposalsFolded = defineEvent("ProposalsFolded", {
  version: 1,
  payload: Schema.Struct({
    step: Schema.Int,
    proposals: Schema.Array(SourcedOperation),
    failed: Schema.Int,
    /** Operations that were thrown away before they got here, by reason: leaks, length, unknown ids. */
    discarded: Schema.Record(Schema.String, Schema.Int),
    by: Schema.Record(Schema.String, Schema.Int),
    results: Schema.String
  })
})

/** What a step puts to the gate, and what it does not. No operations = no proposal. Version 1 knew no merge: what it wrote reads as it stands. */
export const OperationsConsolidated = defineEvent("OperationsConsolidated", {
  version: 2,
  upcasts: { 1: (old) => old },
  payload: Schema.Struct({
    step: Schema.Int,
    operations: Schema.Array(
      Schema.Struct({ index: Schema.Int, operation: Operation, sources: Schema.Array(Schema.String), origin: Schema.Array(QuestionClass) })
    ),
    refused: Schema.Array(Schema.Struct({ index: Schema.Int, operation: Operation, reason: Schema.String })),
    discarded: Schema.Record(Schema.String, Schema.Int),
    by: Schema.String,
    patch: TrialsPatch,
    results: Schema.String
  })
})

const GateCountsSchema = Schema.Struct({
  questions: Schema.Int,
  samples: Schema.Int,
  incumbentCorrect: Schema.Int,
  candidateCorrect: Schema.Int,
  incumbentErrors: Schema.Int,
  candidateErrors: Schema.Int
})
/** Shares; null = not finite. Selection, not evidence. */
const Figures = Schema.Struct({ mean: Schema.NullOr(Schema.Finite), standardError: Schema.NullOr(Schema.Finite), z: Schema.NullOr(Schema.Finite), p: Schema.optionalKey(Schema.Finite) })

/** One round of looks: what the arms answered, folded into the trials. Version 1 knew no merge: what it wrote reads as it stands. */
export const GateLooked = defineEvent("GateLooked", {
  version: 2,
  upcasts: { 1: (old) => old },
  payload: Schema.Struct({
    step: Schema.Int,
    round: Schema.Int,
    /** Trials looked at, with the number of the look, from 0. */
    looks: Schema.Array(Schema.Struct({ trial: Schema.String, scope: PrincipleScope, look: Schema.Int, answers: Schema.Int })),
    patch: TrialsPatch,
    results: Schema.String
  })
})

/** The gate is through with one operation in one scope. Version 1 knew no merge: what it wrote reads as it stands. */
export const GateDecided = defineEvent("GateDecided", {
  version: 2,
  upcasts: { 1: (old) => old },
  payload: Schema.Struct({
    step: Schema.Int,
    round: Schema.Int,
    scope: PrincipleScope,
    policy: Schema.String,
    decision: Schema.String,
    reason: Schema.String,
    /** Id of the operation. */
    operation: Schema.String,
    index: Schema.Int,
    kind: OperationKind,
    /** The principle before and after; for what was not accepted, as it would have been. */
    before: Schema.optionalKey(Principle),
    after: Schema.optionalKey(Principle),
    /** Only of a merge: those that leave for the one after it, in the order they stood. */
    merged: Schema.optionalKey(Schema.Array(Principle)),
    /** Questions whose attempts led to it. */
    sources: Schema.Array(Schema.String),
    /** How often the scope had been drawn anew. */
    draw: Schema.Int,
    counts: GateCountsSchema,
    figures: Figures
  })
})
export type GateDecided = EventOf<typeof GateDecided>

/**
 * A job of the stage under way that failed is to be done anew: somebody asked for it before the stage was folded, so that its failure is
 * decided on by nothing.
 */
export const JobRetried = defineEvent("JobRetried", {
  version: 1,
  payload: Schema.Struct({
    step: Schema.Int,
    kind: Schema.NonEmptyString,
    key: Schema.NonEmptyString,
    /** Checksum of the outcome that no longer counts. */
    outcome: Schema.NonEmptyString
  })
})

export const StepEnded = defineEvent("StepEnded", {
  version: 1,
  payload: Schema.Struct({ step: Schema.Int, outcome: Schema.Literals(["sealed", "nothing accepted", "no proposal"]), generation: Schema.Int })
})

/** Too many errors to tell anything from the guard test: the answers that failed are thrown away and drawn anew, a few times at most. */
export const GuardVoided = defineEvent("GuardVoided", {
  version: 1,
  payload: Schema.Struct({
    generation: Schema.Int,
    /** How often it has come to this, from 1; the draw of what is asked now. */
    voids: Schema.Int,
    reason: Schema.String,
    counts: GateCountsSchema,
    figures: Figures,
    /** What is drawn anew: samples of questions, by generation. */
    again: Schema.Array(Schema.Struct({ generation: Schema.Int, question: Schema.NonEmptyString, samples: Schema.Array(Schema.Int) })),
    results: Schema.String
  })
})

/** The last generation against the empty one, on questions no step and no gate has touched. */
export const GuardTested = defineEvent("GuardTested", {
  version: 1,
  payload: Schema.Struct({
    generation: Schema.Int,
    decision: Schema.String,
    reason: Schema.String,
    counts: GateCountsSchema,
    figures: Figures,
    results: Schema.String
  })
})

/** A run ended before its last step because going on was not worth it. */
export const StoppedEarly = Schema.Struct({
  /** The last step that was taken. */
  step: Schema.Int,
  reason: Schema.String
})
export type StoppedEarly = typeof StoppedEarly.Type

/** Version 1 knew no early end: what it wrote reads as it stands. */
export const RunFinished = defineEvent("RunFinished", {
  version: 2,
  upcasts: { 1: (old) => old },
  payload: Schema.Struct({
    generations: Schema.Int,
    incumbent: Schema.Int,
    recommended: Schema.Int,
    /** Of the recommendation. */
    reason: Schema.String,
    /** Absent = the last step was taken. */
    stopped: Schema.optionalKey(StoppedEarly)
  })
})

const ReferenceResults = Schema.Struct({
  total: Schema.Int,
  correct: Schema.Int,
  /** Absent where what could not be judged counts as wrong. */
  errors: Schema.optionalKey(Schema.Int),
  accuracy: Schema.Finite,
  task_accuracy: Schema.Record(Schema.String, Schema.Finite),
  num_meta_memories: Schema.Int
})
/** How generations did on other questions, as the published system reports it; by folder, `step_N`. */
export const ReferenceEvaluation = Schema.Struct({
  experiment_dir: Schema.String,
  test_dataset_size: Schema.Int,
  /** Which questions, in words; the published system does not say. */
  evaluated_on: Schema.optionalKey(Schema.String),
  steps: Schema.Record(
    Schema.String,
    Schema.Struct({ step_num: Schema.Int, meta_memories_path: Schema.String, meta_memories: Schema.Record(Schema.String, Schema.String), results: ReferenceResults })
  ),
  baseline: Schema.optionalKey(ReferenceResults)
})
export type ReferenceEvaluation = typeof ReferenceEvaluation.Type

/**
 * This run was made elsewhere: its generations follow in the same commit, and nothing of it is driven here. Version 1 knew generations and
 * verdicts alone, version 2 not what an evaluation was on; what they wrote reads as it stands.
 */
export const RunImported = defineEvent("RunImported", {
  version: 3,
  upcasts: { 1: (old) => old, 2: (old) => old },
  payload: Schema.Struct({
    format: Schema.Literal("reference"),
    /** Name of the folder it was read from. */
    origin: Schema.String,
    /** Over the generations as they were read. */
    digest: Schema.NonEmptyString,
    /** How many were read; those equal to the one before are not sealed again. */
    generations: Schema.Int,
    /** Over all that was read; the texts among it stand in the call store, under results. Absent = there are none. */
    contents: Schema.optionalKey(Schema.NonEmptyString),
    evaluation: Schema.optionalKey(ReferenceEvaluation)
  })
})
export type RunImported = EventOf<typeof RunImported>

/** How a judge's verdicts compare with trusted labels, in numbers of labelled answers. */
export const LabelCounts = Schema.Struct({
  rightJudgedRight: Schema.Int,
  rightJudgedWrong: Schema.Int,
  wrongJudgedWrong: Schema.Int,
  wrongJudgedRight: Schema.Int,
  /** Not judged; in none of the others. */
  errors: Schema.Int
})
export type LabelCounts = typeof LabelCounts.Type

/** The run's judge was compared with labels made by people; reports correct their figures by the last one. */
export const JudgeCalibrated = defineEvent("JudgeCalibrated", {
  version: 1,
  payload: Schema.Struct({
    judge: JudgeKind,
    /** Digest over the labelled answers. */
    labels: Schema.NonEmptyString,
    /** By the data set's type of question. */
    counts: Schema.Record(Schema.String, LabelCounts)
  })
})
export type JudgeCalibrated = EventOf<typeof JudgeCalibrated>

/**
 * The test split is about to be looked at. The first look is the test that RunOpened announced; every later one, at another generation or
 * other questions of it, has a higher number and says so wherever it is shown.
 */
export const TestOpened = defineEvent("TestOpened", {
  version: 1,
  payload: Schema.Struct({
    /** From 1. */
    look: Schema.Int,
    generation: Schema.Int,
    /** Announced ones, in the order announced. */
    questions: Schema.Array(Schema.NonEmptyString),
    /** Sequence of the memory log up to which evidence is taken, so that the same look again is shown the same. */
    memoryPosition: Schema.Int
  })
})
export type TestOpened = EventOf<typeof TestOpened>

/** What a look found, with the outcome of each question. One that was made again with fewer errors is reported again; the last one counts. */
export const TestReported = defineEvent("TestReported", {
  version: 1,
  payload: Schema.Struct({ look: Schema.Int, generation: Schema.Int, outcomes: Schema.Array(TestOutcome), ...TestFigures.fields })
})
export type TestReported = EventOf<typeof TestReported>

/** What can be changed about how one generation answers, or about who judges that. */
export const DirectChange = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("drop"), principle: Schema.NonEmptyString }),
  Schema.Struct({ kind: Schema.Literal("pin"), principle: Schema.NonEmptyString }),
  Schema.Struct({ kind: Schema.Literal("reword"), principle: Schema.NonEmptyString, text: Schema.String }),
  /** Another model at the reader's endpoint, by name. */
  Schema.Struct({ kind: Schema.Literal("reader"), model: Schema.NonEmptyString }),
  /** `model` is another one at the judge's endpoint, by name; absent = the one that is set. */
  Schema.Struct({ kind: Schema.Literal("judge"), judge: JudgeKind, model: Schema.optionalKey(Schema.NonEmptyString) })
])
export type DirectChange = typeof DirectChange.Type

const Players = Schema.Struct({ reader: Schema.String, judge: Schema.String })

/** What answering took. */
export const AnswersPaid = Schema.Struct({ calls: Schema.Int, answers: Schema.Int, judgements: Schema.Int, promptTokens: Schema.Int, completionTokens: Schema.Int })
export type AnswersPaid = typeof AnswersPaid.Type

/**
 * How one generation would have answered validation questions with one thing changed, beside answers with nothing changed and a placebo:
 * a branch of one generation that goes no further. One that was asked again with fewer errors is recorded again; the last one counts.
 */
export const WhatIfAnswered = defineEvent("WhatIfAnswered", {
  version: 1,
  payload: Schema.Struct({
    /** From 1, in the order asked. */
    number: Schema.Int,
    generation: Schema.Int,
    change: DirectChange,
    /** In force with the change made. */
    principles: Schema.Array(Principle),
    /** Answers a question and arm. */
    samples: Schema.Int,
    /** Who answered and who judged, a model by its name, `lexical` for the judge that compares words; the placebo is as before. */
    by: Schema.Struct({ before: Players, after: Players }),
    /** Of the questions in scope of the change, in the run's order; the placebo's samples are numbered after those of the arms. */
    outcomes: Schema.Array(WhatIfOutcome),
    /** Digest over the keys of the answers, in the order of outcomes, arms and samples. */
    answers: Schema.NonEmptyString,
    /** Answers that stood in the log when it was asked, of how many. */
    reused: Schema.Struct({ answers: Schema.Int, ofAnswers: Schema.Int }),
    /** What was paid when it was asked. */
    paid: AnswersPaid,
    ...WhatIfFigures.fields
  })
})
export type WhatIfAnswered = EventOf<typeof WhatIfAnswered>

/** What evolution may go on with otherwise than its run did. Who reflects also proposes and consolidates; a model is one at their endpoint, by name, or the one that is set. */
export const RerunChange = Schema.Union([
  ...DirectChange.members,
  Schema.Struct({ kind: Schema.Literal("gate"), policy: GatePolicySchema }),
  Schema.Struct({ kind: Schema.Literal("reflector"), reflector: Schema.Literals(["rules", "model"]), model: Schema.optionalKey(Schema.NonEmptyString) })
])
export type RerunChange = typeof RerunChange.Type

/** The last generation of a branch, and how it answered the questions that branches are compared by. */
const BranchEnd = Schema.Struct({
  run: Schema.NonEmptyString,
  generation: Schema.Int,
  hash: Schema.NonEmptyString,
  /** How many it holds. */
  principles: Schema.Int,
  /** Name of the model that answers in it. */
  reader: Schema.String,
  /** A letter a question, in the order of the event: `c` correct, `i` incorrect, `e` error. */
  outcomes: Schema.String.check(Schema.isPattern(/^[cie]+$/))
})
export type BranchEnd = typeof BranchEnd.Type

/**
 * Evolution went on from a generation with one thing changed, in branches of several seeds, each beside one with nothing changed. Compared
 * again with fewer errors they are recorded again; the last one counts.
 */
export const BranchesCompared = defineEvent("BranchesCompared", {
  version: 1,
  payload: Schema.Struct({
    generation: Schema.Int,
    change: RerunChange,
    /** Last step of each branch. */
    last: Schema.Int,
    part: Schema.Literals(["test", "guard"]),
    /** In the run's order. */
    questions: Schema.Array(Schema.NonEmptyString),
    /** Who judged the answers, a model by its name, `lexical` for the judge that compares words. */
    judge: Schema.String,
    pairs: Schema.Array(Schema.Struct({ seed: Schema.Int, changed: BranchEnd, placebo: BranchEnd })),
    /** Of the answers that branches are compared by, those that stood in the log when they were asked for. What branches took stands in their own logs. */
    reused: Schema.Struct({ answers: Schema.Int, ofAnswers: Schema.Int }),
    /** For those answers. */
    paid: AnswersPaid
  })
})
export type BranchesCompared = EventOf<typeof BranchesCompared>

export const reflectorCodec = eventCodec([
  RunImported, JudgeCalibrated, TestOpened, TestReported, WhatIfAnswered, BranchesCompared,
  RunOpened, GenerationSealed, StepStarted, RolloutsFolded, AlarmRaised, ReflectionsFolded, ProposalsFolded, OperationsConsolidated, GateLooked, GateDecided, JobRetried, StepEnded, GuardVoided, GuardTested, RunFinished
])
export type RunEvent =
  | RunImported
  | JudgeCalibrated
  | TestOpened
  | TestReported
  | WhatIfAnswered
  | BranchesCompared
  | EventOf<typeof RunOpened>
  | EventOf<typeof GenerationSealed>
  | EventOf<typeof StepStarted>
  | EventOf<typeof RolloutsFolded>
  | EventOf<typeof AlarmRaised>
  | EventOf<typeof ReflectionsFolded>
  | EventOf<typeof ProposalsFolded>
  | EventOf<typeof OperationsConsolidated>
  | EventOf<typeof GateLooked>
  | EventOf<typeof GateDecided>
  | EventOf<typeof JobRetried>
  | EventOf<typeof StepEnded>
  | EventOf<typeof GuardVoided>
  | EventOf<typeof GuardTested>
  | EventOf<typeof RunFinished>
