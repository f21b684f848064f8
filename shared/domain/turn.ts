/** Turns: what was said in a conversation, as it was said. Nothing ever replaces a turn. */
import { Schema } from "effect"

/** UTC instant in ISO form with milliseconds and `Z`, e.g. `2026-03-02T18:04:00.000Z`; sorts as text. */
export const IsoTime = Schema.String.check(Schema.isPattern(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/))

/** One message of one speaker. */
export const Turn = Schema.Struct({
  id: Schema.NonEmptyString,
  /** `user`, `assistant`, or the name of a participant in a chat between people. */
  speaker: Schema.NonEmptyString,
  text: Schema.String,
  time: IsoTime
})
export type Turn = typeof Turn.Type

/** Whose memory and which thread a turn belongs to; in every subject and every table path. */
export interface ConversationRef {
  readonly tenant: string
  readonly user: string
  readonly conversation: string
}
