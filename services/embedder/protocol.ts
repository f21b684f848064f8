/** What the embedder records: one vector for every memory, turns and facts alike. */
import { Schema } from "effect"
import { defineEvent, eventCodec, type EventOf } from "#shared/eventlog/event"

/**
 * Vectors of some memories of one conversation. The commit's binary part holds them packed: `ids.length` × `dimensions` float16 values,
 * little-endian, row by row in the order of `ids`, each row of unit length before rounding.
 */
export const VectorsRecorded = defineEvent("VectorsRecorded", {
  version: 1,
  payload: Schema.Struct({
    /** Hash of the model's file: vectors of different models never meet in one search. */
    model: Schema.NonEmptyString,
    dimensions: Schema.Int.check(Schema.isGreaterThan(0)),
    ids: Schema.NonEmptyArray(Schema.NonEmptyString)
  })
})

export const embedderCodec = eventCodec([VectorsRecorded])
export type EmbedderEvent = EventOf<typeof VectorsRecorded>

export interface RecordVectors {
  readonly _tag: "RecordVectors"
  readonly model: string
  readonly dimensions: number
  readonly ids: ReadonlyArray<string>
  /** Length of the packed vectors in bytes. */
  readonly bytes: number
}

/** Vectors do not fit what they claim to be: their number, length or values. Nothing is recorded. */
export class VectorMismatch extends Schema.TaggedError<VectorMismatch>()("VectorMismatch", { message: Schema.String }) {}

/** What a dead letter of a text without a vector is about; names the user by the subject, so that it goes when they are erased. */
export const noVectorAbout = (target: string, id: string): string => `${target} memory ${id}`

/** @throws RangeError when lengths differ — a caller's bug */
export const packVectors = (vectors: ReadonlyArray<Float32Array>, dimensions: number): Uint8Array => {
  const packed = new Float16Array(vectors.length * dimensions)
  vectors.forEach((vector, row) => {
    if (vector.length !== dimensions) throw new RangeError(`a vector of length ${vector.length} where ${dimensions} are due`)
    packed.set(vector, row * dimensions)
  })
  return new Uint8Array(packed.buffer)
}

/** Rows of a commit's binary part, as float32. @throws RangeError when it does not hold `count` rows */
export const unpackVectors = (binary: Uint8Array, count: number, dimensions: number): ReadonlyArray<Float32Array> => {
  if (binary.length !== count * dimensions * 2) throw new RangeError(`${binary.length} bytes where ${count} vectors of ${dimensions} float16 values are due`)
  // A copy of its own, because the view into the message need not start at an even byte; `slice` of a Buffer would share its pool.
  const values = new Float16Array(Uint8Array.from(binary).buffer)
  return Array.from({ length: count }, (_, row) => Float32Array.from(values.subarray(row * dimensions, (row + 1) * dimensions)))
}
