/** What the compressor records of a conversation: where topics end, what was remembered, what replaced what. */
import { Schema } from "effect"
import { Memory } from "#shared/domain/memory"
import { Name } from "#shared/domain/name"
import { defineEvent, eventCodec, type EventOf } from "#shared/eventlog/event"

/** A run of turns on one topic came to its end; its turns will not be segmented again. */
export const SegmentClosed = defineEvent("SegmentClosed", {
  version: 1,
  payload: Schema.Struct({
    segment: Schema.NonEmptyString,
    turns: Schema.NonEmptyArray(Schema.NonEmptyString)
  })
})

/** Facts extracted from closed segments; may be none, which is a result and not a failure. */
export const MemoriesRecorded = defineEvent("MemoriesRecorded", {
  version: 1,
  payload: Schema.Struct({
    segments: Schema.NonEmptyArray(Schema.NonEmptyString),
    memories: Schema.Array(Memory),
    /** `rules`, or the model's name. */
    extractor: Schema.NonEmptyString,
    /** Version of the rules or of the prompt. */
    template: Schema.NonEmptyString,
    /** Key of the model's call; absent for rules. */
    call: Schema.optionalKey(Schema.String)
  })
})

/** Extraction of these segments was given up after its tries; their turns stay searchable, and a person can have it tried again. */
export const ExtractionFailed = defineEvent("ExtractionFailed", {
  version: 1,
  payload: Schema.Struct({
    segments: Schema.NonEmptyArray(Schema.NonEmptyString),
    turns: Schema.NonEmptyArray(Schema.NonEmptyString),
    attempts: Schema.Int,
    error: Schema.String
  })
})

/** A later memory replaces this one. Nothing is deleted; `MemoryRestored` takes it back. */
export const MemorySuperseded = defineEvent("MemorySuperseded", {
  version: 1,
  payload: Schema.Struct({ memory: Schema.NonEmptyString, by: Schema.NonEmptyString, reason: Schema.String })
})

/** Left out of evidence at a person's wish; `MemoryRestored` takes it back. */
export const MemoryForgotten = defineEvent("MemoryForgotten", { version: 1, payload: Schema.Struct({ memory: Schema.NonEmptyString }) })

export const MemoryRestored = defineEvent("MemoryRestored", { version: 1, payload: Schema.Struct({ memory: Schema.NonEmptyString }) })

export const compressorCodec = eventCodec([SegmentClosed, MemoriesRecorded, ExtractionFailed, MemorySuperseded, MemoryForgotten, MemoryRestored])
export type CompressorEvent =
  | EventOf<typeof SegmentClosed>
  | EventOf<typeof MemoriesRecorded>
  | EventOf<typeof ExtractionFailed>
  | EventOf<typeof MemorySuperseded>
  | EventOf<typeof MemoryForgotten>
  | EventOf<typeof MemoryRestored>

/** The memory is not one of this conversation. */
export class UnknownMemory extends Schema.TaggedError<UnknownMemory>()("UnknownMemory", { memory: Schema.String, message: Schema.String }) {}

export type CompressorCommand =
  | { readonly _tag: "RecordExtraction"; readonly events: ReadonlyArray<CompressorEvent> }
  /** Facts of segments whose extraction had been given up; nothing where it had not. */
  | { readonly _tag: "RecordSecondTry"; readonly event: EventOf<typeof MemoriesRecorded> }
  | { readonly _tag: "Supersede"; readonly memory: string; readonly by: string; readonly reason: string }
  /** One memory in place of several wordings of it; its text is new and gets a vector of its own. */
  | {
    readonly _tag: "Merge"
    readonly memory: Memory
    readonly replaces: ReadonlyArray<string>
    readonly extractor: string
    readonly template: string
    readonly reason: string
    readonly call: string | undefined
  }
  | { readonly _tag: "Forget"; readonly memory: string }
  | { readonly _tag: "Restore"; readonly memory: string }

/** A person's or the reconciler's change to one memory of a conversation. */
export const ChangeRequest = Schema.Struct({
  tenant: Name,
  user: Name,
  conversation: Name,
  /** Makes the change once, however often it is sent. */
  cause: Schema.NonEmptyString,
  command: Schema.Union([
    Schema.TaggedStruct("Supersede", { memory: Schema.NonEmptyString, by: Schema.NonEmptyString, reason: Schema.String }),
    Schema.TaggedStruct("Forget", { memory: Schema.NonEmptyString }),
    Schema.TaggedStruct("Restore", { memory: Schema.NonEmptyString })
  ])
})

/** Extraction of a segment that was given up is to be tried once more. */
export const SecondTryRequest = Schema.Struct({ tenant: Name, user: Name, conversation: Name, segment: Schema.NonEmptyString })
export type SecondTryRequest = typeof SecondTryRequest.Type

/** A fact of a user with the conversation it stands in, as one side of a pair. */
export const PairedFact = Schema.Struct({ ...Memory.fields, conversation: Schema.NonEmptyString })
export type PairedFact = typeof PairedFact.Type

/** Two facts of one user that may be about the same thing. `earlier` is older by time, then by id. */
export const FactPair = Schema.Struct({ earlier: PairedFact, later: PairedFact, cosine: Schema.Finite })
export type FactPair = typeof FactPair.Type

/** Pairs to be decided; all pairs about one earlier fact come in one request, so that the latest word about it wins. */
export const ReconcileRequest = Schema.Struct({
  tenant: Name,
  user: Name,
  pairs: Schema.Array(FactPair).check(Schema.isMaxLength(1_000)),
  /** Decide and tell, record nothing. */
  dryRun: Schema.Boolean,
  /** Sequence of the memory log that the pairs were read at: an erasure after it refuses them. */
  seen: Schema.Int
})
export type ReconcileRequest = typeof ReconcileRequest.Type

export const ReconcileReply = Schema.Struct({
  /** Pairs as decided. `failed` = the model could not be asked or did not answer; such a pair stays as it is and may be asked again. */
  counts: Schema.Struct({ keep: Schema.Int, supersede: Schema.Int, merge: Schema.Int, failed: Schema.Int }),
  /** What was recorded, or would be. */
  changes: Schema.Array(
    Schema.Struct({
      action: Schema.Literals(["supersede", "merge"]),
      /** Facts left out of evidence from here on. */
      replaced: Schema.Array(Schema.String),
      /** The fact that stands for them. */
      by: Schema.String,
      text: Schema.String,
      reason: Schema.String,
      /** False when it had been recorded before, also if a person took it back since. */
      fresh: Schema.Boolean
    })
  ),
  errors: Schema.Array(Schema.String)
})
export type ReconcileReply = typeof ReconcileReply.Type
