/**
 * The memory index as a service: a projection of the memory log that finds one user's memories by words and by vectors, exactly, as
 * of any point. Layers: in memory (`memory-layer.ts`) and kept in a LanceDB folder (`lancedb-layer.ts`); one conformance suite.
 * It can be deleted at any time and is filled again from the log after `checkpoint`.
 */
import { Context, type Effect, Schema } from "effect"
import type { Filter, IndexedMemory } from "./shelf.ts"
import type { UserView } from "./user-index.ts"

/**
 * The index cannot take or give what was asked. `BegunAnew`: what it held was lost, which it has said aloud; it takes and shows nothing
 * before its checkpoint is asked for and the log read from there. `Damaged`: it cannot be used, or not now; nobody has been told.
 */
export class MemoryIndexError extends Schema.TaggedError<MemoryIndexError>()("MemoryIndexError", {
  reason: Schema.Literals(["BadVector", "BegunAnew", "Damaged", "WrongModel"]),
  message: Schema.String
}) {}

/** One change, in the order of the log. A change applied twice is applied once. */
export type IndexChange =
  | { readonly _tag: "Put"; readonly memory: IndexedMemory }
  | { readonly _tag: "SetVector"; readonly user: string; readonly id: string; readonly vector: Float32Array | Float16Array }
  | { readonly _tag: "Supersede"; readonly user: string; readonly id: string; readonly by: string; readonly sequence: number }
  | { readonly _tag: "Restore"; readonly user: string; readonly id: string; readonly sequence: number }
  /** Takes a memory out for good (forgotten); it comes back only by another `Put`. */
  | { readonly _tag: "Remove"; readonly user: string; readonly id: string }

export interface Found {
  readonly memory: IndexedMemory
  readonly score: number
}

export interface SearchQuery {
  readonly filter?: Filter
  readonly limit: number
  /** By cosine to this vector, or by BM25 of this text. */
  readonly by: { readonly vector: Float32Array } | { readonly text: string }
}

export interface MemoryIndexOperations {
  /**
   * Applies changes in order and moves the checkpoint to `through`, the log sequence up to which the index is then complete.
   * Nothing is applied when a vector has the wrong length or holds no number. A search after it sees the changes.
   */
  readonly apply: (changes: ReadonlyArray<IndexChange>, through: number) => Effect.Effect<void, MemoryIndexError>
  /** Where to go on reading the log; 0 = from the start. What is kept on disk may lag behind what is applied. */
  readonly checkpoint: Effect.Effect<number>
  /**
   * Fills a new index beside this one and puts it in this one's place, which answers until then. What is applied to this one and not to
   * the new one is lost: whoever applies changes holds them back from the end of `fill` until this ends.
   */
  readonly replace: <E, R>(fill: (next: MemoryIndexOperations) => Effect.Effect<void, E, R>) => Effect.Effect<void, E | MemoryIndexError, R>
  /** Drops everything of one user. */
  readonly removeUser: (user: string) => Effect.Effect<void, MemoryIndexError>
  /** One user's memories under a filter, for ranking; to be used at once, before the next change. */
  readonly view: (user: string, filter?: Filter) => Effect.Effect<UserView, MemoryIndexError>
  /** The best memories of one user, best first; equal scores in the order of ids. Only rows that score above 0. */
  readonly search: (user: string, query: SearchQuery) => Effect.Effect<ReadonlyArray<Found>, MemoryIndexError>
  /** Memories by id with what superseded them and their vectors, in the order asked; unknown ids are left out. */
  readonly get: (user: string, ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<IndexedMemory>, MemoryIndexError>
  readonly dimensions: number
}

export class MemoryIndex extends Context.Service<MemoryIndex, MemoryIndexOperations>()("metamem/memoryindex/MemoryIndex") {}

export const userOf = (change: IndexChange): string => (change._tag === "Put" ? change.memory.user : change.user)

/** In a plain loop, since every vector of a rebuild goes through it: what is no finite number has no difference of 0 to itself. */
const isFinite = (vector: Float32Array | Float16Array): boolean => {
  let sum = 0
  for (let at = 0; at < vector.length; at++) sum += (vector[at] ?? 0) - (vector[at] ?? 0)
  return sum === 0
}

/** The first vector among changes that cannot be stored, told in words. */
export const badVector = (changes: ReadonlyArray<IndexChange>, dimensions: number): MemoryIndexError | undefined => {
  for (const change of changes) {
    const [id, vector] = change._tag === "Put" ? [change.memory.id, change.memory.vector] : change._tag === "SetVector" ? [change.id, change.vector] : ["", undefined]
    if (vector === undefined) continue
    if (vector.length !== dimensions) {
      return new MemoryIndexError({ reason: "BadVector", message: `the vector of memory ${id} has ${vector.length} numbers where the index holds ${dimensions}; embed it with the index's model` })
    }
    if (!isFinite(vector)) return new MemoryIndexError({ reason: "BadVector", message: `the vector of memory ${id} holds a value that is no number; embed it again` })
  }
  return undefined
}
