/** Evidence and answers: what the reader is shown for a question, and what it said. */
import { Schema } from "effect"
import { MemoryKind } from "./memory.ts"

/** One ranked memory as shown to the reader. Evidence is given in the order of time, not of score. */
export const EvidenceItem = Schema.Struct({
  memoryId: Schema.NonEmptyString,
  kind: MemoryKind,
  /** The memory's text, or excerpts of it around the sentences that match when it is long. */
  text: Schema.String,
  time: Schema.String,
  speaker: Schema.String,
  conversation: Schema.String,
  turns: Schema.Array(Schema.String),
  /** Rank score; comparable within one question only. */
  score: Schema.Finite
})
export type EvidenceItem = typeof EvidenceItem.Type

/** Which principles guided an answer: a run and the number of one of its generations; `run` "" and 0 mean none. */
export const GenerationRef = Schema.Struct({ run: Schema.String, generation: Schema.Int })
export type GenerationRef = typeof GenerationRef.Type
