/** What the retriever is asked and what it records: answers it gave, and what people said of them. */
import { Schema } from "effect"
import { EvidenceItem, GenerationRef } from "#shared/domain/evidence"
import { Principle } from "#shared/domain/principle"
import { MemoryKind } from "#shared/domain/memory"
import { Name } from "#shared/domain/name"
import { IsoTime } from "#shared/domain/turn"
import { defineEvent, eventCodec, type EventOf } from "#shared/eventlog/event"
import { Usage } from "#shared/model/call"
import { FactPair } from "#services/compressor/protocol"

/** A live answer. It is never extracted from: recalled text must not become memory again. */
export const AnswerGiven = defineEvent("AnswerGiven", {
  version: 1,
  payload: Schema.Struct({
    answer: Schema.NonEmptyString,
    question: Schema.String,
    askedAt: IsoTime,
    text: Schema.String,
    /** Memories shown to the reader with their scores, in the order shown. */
    evidence: Schema.Array(Schema.Struct({ memory: Schema.String, score: Schema.Finite })),
    generation: GenerationRef,
    /** Ids of the principles that were in scope and shown. */
    principles: Schema.Array(Schema.String),
    model: Schema.String,
    call: Schema.String,
    usage: Usage,
    /** What was not ready or left out when it was given: `vectors`, `words`, `reader`. */
    behind: Schema.Array(Schema.String)
  })
})

export const FeedbackReceived = defineEvent("FeedbackReceived", {
  version: 1,
  payload: Schema.Struct({ answer: Schema.NonEmptyString, verdict: Schema.Literals(["correct", "incorrect"]), comment: Schema.String })
})

export const retrieverCodec = eventCodec([AnswerGiven, FeedbackReceived])
export type AnswerGiven = EventOf<typeof AnswerGiven>
export type RetrieverEvent = AnswerGiven | EventOf<typeof FeedbackReceived>

export type RetrieverCommand =
  | { readonly _tag: "RecordAnswer"; readonly event: AnswerGiven }
  | { readonly _tag: "RecordFeedback"; readonly answer: string; readonly verdict: "correct" | "incorrect"; readonly comment: string }

/** No answer of that id was given to this user. */
export class UnknownAnswer extends Schema.TaggedError<UnknownAnswer>()("UnknownAnswer", { answer: Schema.String, message: Schema.String }) {}

/** Conversation token under which a user's answers stand. */
export const answersConversation = "answers"

/** Time limits a request may set, milliseconds. */
export const deadlineMsMin = 50
export const deadlineMsMax = 600_000

const Filters = {
  tenant: Name,
  user: Name,
  conversation: Schema.optionalKey(Schema.String),
  kinds: Schema.optionalKey(Schema.Array(MemoryKind)),
  /** Said at or after / before, ISO. */
  from: Schema.optionalKey(IsoTime),
  to: Schema.optionalKey(IsoTime),
  /** Only what stood in the log at this position, which it must have reached; or what was said by this time, however late it came into the log. */
  asOf: Schema.optionalKey(Schema.String),
  /** Wait, within the deadline, until everything up to this position can be found. */
  after: Schema.optionalKey(Schema.String)
}

const FindFields = {
  ...Filters,
  deadlineMs: Schema.Int.check(Schema.isBetween({ minimum: deadlineMsMin, maximum: deadlineMsMax }))
}

export const RetrieveRequest = Schema.Struct({
  ...FindFields,
  question: Schema.NonEmptyString,
  at: Schema.optionalKey(IsoTime),
  /** Evidence at most, in o200k tokens. */
  evidenceTokens: Schema.optionalKey(Schema.Int)
})
export type RetrieveRequest = typeof RetrieveRequest.Type

export const RetrieveReply = Schema.Struct({
  evidence: Schema.Array(EvidenceItem),
  /** What could not be waited for: `vectors`, `words`. */
  behind: Schema.Array(Schema.String),
  latencyMs: Schema.Finite
})
export type RetrieveReply = typeof RetrieveReply.Type

export const AskRequest = Schema.Struct({
  ...RetrieveRequest.fields,
  /** Answer as this generation of this run would, instead of the adopted one; its principles come with it. */
  generation: Schema.optionalKey(GenerationRef),
  principles: Schema.optionalKey(Schema.Array(Principle))
})
export type AskRequest = typeof AskRequest.Type

/** One memory an answer rests on. */
export const Citation = Schema.Struct({
  /** Its place in the reply's evidence, from 1; what `[n]` in `marked` refers to. */
  number: Schema.Int,
  memoryId: Schema.String,
  turns: Schema.Array(Schema.String),
  /** `reader`: the reader named it; `words`: it holds the answer's words, and the reader named none. */
  by: Schema.Literals(["reader", "words"])
})
export type Citation = typeof Citation.Type

export const AskReply = Schema.Struct({
  answerId: Schema.String,
  /** As it is recorded, without marks. */
  answer: Schema.String,
  /** The answer with `[n]` behind what a memory supports; the same text where the reader set no marks. */
  marked: Schema.String,
  /** In order of first mention; none where the answer is not known. */
  citations: Schema.Array(Citation),
  evidence: Schema.Array(EvidenceItem),
  generation: GenerationRef,
  latencyMs: Schema.Finite,
  usage: Usage,
  behind: Schema.Array(Schema.String)
})
export type AskReply = typeof AskReply.Type

/** A part of an answer while the reader writes it, marks included. After `restarted` all text before it is void; the reply alone is the word. */
export const AskPart = Schema.Union([Schema.Struct({ text: Schema.String }), Schema.Struct({ restarted: Schema.Literal(true) })])
export type AskPart = typeof AskPart.Type

export const FeedbackRequest = Schema.Struct({
  tenant: Name,
  user: Name,
  answer: Schema.NonEmptyString,
  verdict: Schema.Literals(["correct", "incorrect"]),
  comment: Schema.String
})

/** Superseded and forgotten memories are listed too, and marked; as of a point, what stood then. */
export const MemoriesRequest = Schema.Struct({
  ...Filters,
  limit: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  /** Characters of each text, at most: of a longer one its beginning. Whole texts of fifty long turns are more than one message takes. */
  textMax: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)))
})

/** What a rollout job's worker is told; texts are found by id. */
export const RolloutInput = Schema.Struct({
  question: Schema.Struct({ id: Schema.NonEmptyString, user: Schema.NonEmptyString }),
  /** Name of the reader, at the endpoint that is set for it; absent = the model that is set. */
  model: Schema.optionalKey(Schema.NonEmptyString),
  purpose: Schema.Literals(["rollout", "gate", "report"]),
  draw: Schema.Int,
  sample: Schema.Int,
  /** Principles shown: already routed by scope and, in training, thinned by the drop mask. */
  principles: Schema.Array(Schema.Struct({ id: Schema.String, text: Schema.String, scope: Schema.String })),
  temperature: Schema.Finite,
  maxTokens: Schema.Int,
  evidenceTokens: Schema.Int,
  /** Sequence of the memory log that must be searchable, exactly, before answering. */
  memoryPosition: Schema.Int,
  runSeed: Schema.Int
})
export type RolloutInput = typeof RolloutInput.Type

/** What a settled rollout says; the answer's text stands in the call store under the question's user. */
export const RolloutData = Schema.Struct({
  /** Whose memory was asked; the reply is kept under this user. */
  user: Schema.String,
  callKey: Schema.String,
  evidenceHash: Schema.String,
  evidenceIds: Schema.Array(Schema.String),
  usage: Usage,
  /** True when the reply came from the call store and cost nothing. */
  reused: Schema.Boolean,
  abstained: Schema.Boolean,
  latencyMs: Schema.Finite,
  /** Facts about evidence and answer for the rule-based reflector, none of them text. */
  features: Schema.Struct({
    evidenceCount: Schema.Int,
    conversations: Schema.Int,
    spanDays: Schema.Finite,
    answerWords: Schema.Int
  })
})
export type RolloutData = typeof RolloutData.Type

/** Words of an answer, as a rollout tells them. */
export const answerWords = (text: string): number => text.split(/\s+/).filter((word) => word !== "").length

export const MemoriesReply = Schema.Struct({
  memories: Schema.Array(
    Schema.Struct({
      id: Schema.String,
      kind: MemoryKind,
      text: Schema.String,
      speaker: Schema.String,
      time: Schema.String,
      meant: Schema.optionalKey(Schema.String),
      conversation: Schema.String,
      turns: Schema.Array(Schema.String),
      supersededBy: Schema.optionalKey(Schema.String),
      searchableByVector: Schema.Boolean
    })
  )
})
export type MemoriesReply = typeof MemoriesReply.Type

/** What a retriever answers when it is asked whether it runs: the sequence up to which its index has folded the memory log. */
export const PingReply = Schema.Struct({ through: Schema.Int })
export type PingReply = typeof PingReply.Type

/** Waits until the index has folded the memory log up to a position. */
export const AwaitRequest = Schema.Struct({ position: Schema.String, deadlineMs: Schema.Int })

/** Pairs of one user's facts that may be about the same thing, for some of the facts as the later side: `count` of them from `from` on. */
export const CandidatesRequest = Schema.Struct({
  tenant: Name,
  user: Name,
  after: Schema.optionalKey(Schema.String),
  from: Schema.Int,
  count: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))
})
export const CandidatesReply = Schema.Struct({
  pairs: Schema.Array(FactPair),
  /** Facts that stand, over all pages. */
  facts: Schema.Int,
  /** Of this page, facts that have no vector yet and were left out. */
  withoutVector: Schema.Int,
  /** Sequence of the memory log that the index had folded when it was looked at. */
  seen: Schema.Int,
  /** Where the next page begins; absent on the last. */
  next: Schema.optionalKey(Schema.Int)
})
export type CandidatesReply = typeof CandidatesReply.Type

/** Compares the index's rows of one user with the log. */
export const IndexVerifyRequest = Schema.Struct({ tenant: Name, user: Name })
export const IndexVerifyReply = Schema.Struct({
  /** Memories the log says there are. */
  memories: Schema.Int,
  missing: Schema.Int,
  /** In the index and not in the log. */
  extra: Schema.Int,
  changed: Schema.Int,
  /** The first differences in words, without any text of a memory. */
  examples: Schema.Array(Schema.String),
  /** Sequence of the memory log both were compared at. */
  through: Schema.Int
})
export type IndexVerifyReply = typeof IndexVerifyReply.Type

/** Answer to a rebuild of the index. */
export const IndexRebuildReply = Schema.Struct({ commits: Schema.Int, through: Schema.Int, seconds: Schema.Finite })
export type IndexRebuildReply = typeof IndexRebuildReply.Type

/** A rollout asked for directly, by evaluation and inference; its reply is kept like a job's, so asking again costs nothing. */
export const RolloutRequest = Schema.Struct({
  tenant: Name,
  run: Schema.String,
  step: Schema.Int,
  input: RolloutInput,
  /** Only say under which key the answer stands, or would stand: nothing is asked. The reply is a `RolloutKey`. */
  only: Schema.optionalKey(Schema.Literal("key"))
})
export const RolloutKey = Schema.Struct({ callKey: RolloutData.fields.callKey })
