/** Which vectors are new: one a memory and model. A state remembers what has a vector, so that work done twice is recorded once. */
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { embedderCodec, type EmbedderEvent, type RecordVectors, VectorMismatch } from "./protocol.ts"

export interface EmbedderState {
  /** Memory id → hash of the model its vector came from. */
  readonly models: Map<string, string>
}

export const behaviour: Behaviour<EmbedderState, RecordVectors, EmbedderEvent, VectorMismatch> = {
  codec: embedderCodec,
  initial: () => ({ models: new Map() }),
  decide: (state, { bytes, dimensions, ids, model }) => {
    const [first, ...rest] = ids
    if (first === undefined) return Result.succeed([])
    if (bytes !== ids.length * dimensions * 2) {
      return Result.fail(new VectorMismatch({ message: `${bytes} bytes of vectors for ${ids.length} memories of ${dimensions} dimensions` }))
    }
    // A race with another embedder may have recorded some: all of this commit's vectors equal theirs, so recording them again changes nothing.
    if (ids.every((id) => state.models.get(id) === model)) return Result.succeed([])
    return Result.succeed([{ _tag: "VectorsRecorded", model, dimensions, ids: [first, ...rest] as readonly [string, ...Array<string>] }])
  },
  evolve: (state, event) => {
    // Every event brings its own copy of a name that is mostly the same.
    const known = state.models.values().next().value
    const model = known === event.model ? known : event.model
    for (const id of event.ids) state.models.set(id, model)
    return state
  }
}
