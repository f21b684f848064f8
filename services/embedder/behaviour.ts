/** Which vectors are new: one a memory and model. A state remembers what has a vector, so that work done twice is recorded once. */
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { embedderCodec, type EmbedderEvent, type RecordVectors, VectorMismatch } from "./protocol.ts"

export interface EmbedderState {
  /** Memory id → what its vector came from, as {@link sourceOf} tells; "" where it holds a value that is no number, and no search can use it. */
  readonly sources: Map<string, string>
}

/** Model and length of a vector: what has not both in common with the model in use is embedded anew. */
export const sourceOf = (model: string, dimensions: number): string => `${model} ${dimensions}`

/** Which rows of packed float16 values hold no number: one whose exponent is all ones is infinite or none. */
export const unusableRows = (binary: Uint8Array, rows: number, dimensions: number): ReadonlySet<number> => {
  const unusable = new Set<number>()
  const high = Math.min(binary.length, rows * dimensions * 2)
  for (let at = 1; at < high; at += 2) if (((binary[at] ?? 0) & 0x7c) === 0x7c) unusable.add(Math.floor(at / 2 / dimensions))
  return unusable
}

export const behaviour: Behaviour<EmbedderState, RecordVectors, EmbedderEvent, VectorMismatch> = {
  codec: embedderCodec,
  initial: () => ({ sources: new Map() }),
  decide: (state, { bytes, dimensions, ids, model }) => {
    const [first, ...rest] = ids
    if (first === undefined) return Result.succeed([])
    if (bytes !== ids.length * dimensions * 2) {
      return Result.fail(new VectorMismatch({ message: `${bytes} bytes of vectors for ${ids.length} memories of ${dimensions} dimensions` }))
    }
    // A race with another embedder may have recorded some: all of this commit's vectors equal theirs, so recording them again changes nothing.
    const source = sourceOf(model, dimensions)
    if (ids.every((id) => state.sources.get(id) === source)) return Result.succeed([])
    return Result.succeed([{ _tag: "VectorsRecorded", model, dimensions, ids: [first, ...rest] as readonly [string, ...Array<string>] }])
  },
  evolve: (state, { dimensions, ids, model }, { binary }) => {
    const own = sourceOf(model, dimensions)
    // Every event brings its own copy of a name that is mostly the same.
    const known = state.sources.values().next().value
    const source = known === own ? known : own
    const unusable = unusableRows(binary, ids.length, dimensions)
    ids.forEach((id, row) => state.sources.set(id, unusable.has(row) ? "" : source))
    return state
  }
}
