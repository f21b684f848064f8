/** Memories: what can be found again. A `turn` memory is a turn verbatim; a `fact` memory was extracted from turns. */
import { Schema } from "effect"
import { IsoTime } from "./turn.ts"

export const MemoryKind = Schema.Literals(["turn", "fact"])
export type MemoryKind = typeof MemoryKind.Type

/** One thing remembered, with the turns it came from. The id of a `turn` memory is the turn's own id. */
export const Memory = Schema.Struct({
  id: Schema.NonEmptyString,
  kind: MemoryKind,
  text: Schema.NonEmptyString,
  /** Who said what it came from. */
  speaker: Schema.NonEmptyString,
  /** When it was said. */
  time: IsoTime,
  /** The time the text speaks of where it differs from the time said: a date (`2026-03-04`) or an interval (`2026-03-01/2026-03-31`). */
  meant: Schema.optionalKey(Schema.String),
  /** Ids of the turns it came from, in the order they were said; never empty. */
  turns: Schema.NonEmptyArray(Schema.NonEmptyString)
})
export type Memory = typeof Memory.Type

/** A memory where it stands in a user's store: what an index holds a row for. */
export interface StoredMemory extends Memory {
  readonly user: string
  readonly conversation: string
  /** Unit length, float16-rounded values; absent until the embedder has been there. */
  readonly vector?: Float32Array
  /** Id of the later memory that replaced it; such a memory is left out of evidence unless asked for "as of" an earlier time. */
  readonly supersededBy?: string
}
