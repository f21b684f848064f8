/** What the ingestor is asked, what it records, and what it refuses: turns of conversations, as they come. */
import { Schema } from "effect"
import { Name } from "#shared/domain/name"
import { Turn } from "#shared/domain/turn"
import { defineEvent, eventCodec, type EventOf } from "#shared/eventlog/event"
import { IgnoredField } from "#shared/importers/ignored-fields"

/** Turns taken in one request for one conversation, in the order sent. Never changed, never extracted from here; all else derives from them. */
export const TurnsReceived = defineEvent("TurnsReceived", {
  version: 1,
  payload: Schema.Struct({ turns: Schema.NonEmptyArray(Turn) })
})

/** Nothing more is expected: what is buffered may be settled now. A later turn opens the conversation again. */
export const ConversationClosed = defineEvent("ConversationClosed", { version: 1, payload: Schema.Struct({}) })

/** No turn came for the idle time after this one. */
export const ConversationIdle = defineEvent("ConversationIdle", { version: 1, payload: Schema.Struct({ throughTurn: Schema.NonEmptyString }) })

export const ingestorCodec = eventCodec([TurnsReceived, ConversationClosed, ConversationIdle])
export type IngestorEvent = EventOf<typeof TurnsReceived> | EventOf<typeof ConversationClosed> | EventOf<typeof ConversationIdle>

export type IngestorCommand =
  /** `arrived`: ids of turns that were sent without a time and bear that of their arrival. */
  | { readonly _tag: "ReceiveTurns"; readonly turns: ReadonlyArray<Turn>; readonly arrived?: ReadonlySet<string> }
  /** Turns that stood in another log, with the times that were settled there, which nothing moves. */
  | { readonly _tag: "RecordTurns"; readonly turns: ReadonlyArray<Turn> }
  | { readonly _tag: "CloseConversation" }
  | { readonly _tag: "NoteIdle"; readonly throughTurn: string }

/** A request to take turns. Each raw turn may name its own user and conversation; bad turns are refused one by one. */
export const IngestRequest = Schema.Struct({
  tenant: Name,
  user: Schema.optionalKey(Schema.String),
  conversation: Schema.optionalKey(Schema.String),
  /** Zone of times that carry none. */
  zone: Schema.optionalKey(Schema.String),
  turns: Schema.Array(Schema.Unknown).check(Schema.isMaxLength(2_000)),
  /** Close the conversations of this request after its turns. */
  close: Schema.optionalKey(Schema.Boolean)
})
export type IngestRequest = typeof IngestRequest.Type

export const IngestReply = Schema.Struct({
  /** One a turn sent, in its order; a refused turn has neither. */
  turns: Schema.Array(
    Schema.Struct({
      status: Schema.Literals(["accepted", "duplicate", "rejected"]),
      id: Schema.optionalKey(Schema.String),
      user: Schema.optionalKey(Schema.String),
      conversation: Schema.optionalKey(Schema.String),
      error: Schema.optionalKey(Schema.String)
    })
  ),
  /** Position after which everything accepted here is in the log. */
  lastPosition: Schema.String,
  /** Fields of the turns that nothing reads, the likely misspelt first, at most twelve; absent where everything was read. */
  ignored: Schema.optionalKey(Schema.Array(IgnoredField))
})
export type IngestReply = typeof IngestReply.Type
