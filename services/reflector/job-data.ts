/** What the jobs of a run are told and what they give back. Inputs name texts by id; results hold no text of a user. */
import { Schema } from "effect"
import { Operation, Principle, SingleOperation } from "#shared/domain/principle"
import { Verdict } from "#shared/domain/question"
import { PrincipleScope } from "#shared/domain/scope"
import { LedgerEntry } from "#shared/metamemory/ledger"
import { QuestionRefSchema } from "#services/evaluator/protocol"
import { ReflectorKind } from "./parameters.ts"
import { SourcedOperation } from "./run-events.ts"

const Common = {
  by: ReflectorKind,
  /** Name of the model that does it, at the endpoint that is set for its role; absent where rules do, or in jobs that stood before it was named here. */
  model: Schema.optionalKey(Schema.NonEmptyString),
  runSeed: Schema.Int,
  step: Schema.Int
}

/** One judged attempt: key of its rollout in the same step, and how it came out. */
const Attempt = Schema.Struct({ key: Schema.NonEmptyString, correct: Schema.Boolean })

export const ReflectionInput = Schema.Struct({
  ...Common,
  question: QuestionRefSchema,
  attempt: Attempt,
  /** Principles the attempt was shown. */
  principles: Schema.Array(Schema.Struct({ id: Schema.String, text: Schema.String }))
})
export type ReflectionInput = typeof ReflectionInput.Type

const Spent = { promptTokens: Schema.Int, completionTokens: Schema.Int, /** Calls answered from the store. */ reused: Schema.Int, calls: Schema.Array(Schema.String) }

export const ReflectionData = Schema.Struct({
  /** `rule-based`, or the model's name. */
  by: Schema.NonEmptyString,
  /** Only by rule; a model's lesson stands in the call store under the user. */
  lesson: Schema.optionalKey(Schema.String),
  scope: PrincipleScope,
  ...Spent
})
export type ReflectionData = typeof ReflectionData.Type

/** Most principles a question is shown; absent in jobs that stood before it was asked for here. */
const maxInScope = Schema.optionalKey(Schema.Int)

export const ProposalInput = Schema.Struct({
  ...Common,
  question: QuestionRefSchema,
  /** With the attempts' keys, under which their reflections stand too. */
  attempts: Schema.Array(Attempt),
  principles: Schema.Array(Principle),
  ledger: Schema.Array(LedgerEntry),
  reader: Schema.String,
  canaries: Schema.Array(Schema.String),
  maxInScope
})
export type ProposalInput = typeof ProposalInput.Type

export const ProposalData = Schema.Struct({
  by: Schema.NonEmptyString,
  operations: Schema.Array(SingleOperation),
  /** By reason. */
  discarded: Schema.Record(Schema.String, Schema.Int),
  ...Spent
})
export type ProposalData = typeof ProposalData.Type

/** Proposals one request consolidates at most, in o200k tokens; more are taken in parts, and the parts together. */
export const consolidationTokens = 12_000

export const ConsolidationInput = Schema.Struct({
  ...Common,
  proposals: Schema.Array(SourcedOperation),
  principles: Schema.Array(Principle),
  /** Most operations wanted. */
  limit: Schema.Int,
  /** Whose answers may not be repeated. */
  questions: Schema.Array(QuestionRefSchema),
  canaries: Schema.Array(Schema.String),
  maxInScope,
  /** Merges that were tried, and the reader of now; absent in jobs that stood before there were merges. */
  triedMerges: Schema.optionalKey(Schema.Array(LedgerEntry)),
  reader: Schema.optionalKey(Schema.String)
})
export type ConsolidationInput = typeof ConsolidationInput.Type

export const ConsolidationData = Schema.Struct({
  by: Schema.NonEmptyString,
  /** With the questions whose attempts suggested them; a merge may have none. */
  operations: Schema.Array(Schema.Struct({ operation: Operation, sources: Schema.Array(Schema.String) })),
  discarded: Schema.Record(Schema.String, Schema.Int),
  ...Spent
})
export type ConsolidationData = typeof ConsolidationData.Type

/** The part of a judgement's result that decisions read. */
export const VerdictOnly = Schema.Struct({ verdict: Verdict })
