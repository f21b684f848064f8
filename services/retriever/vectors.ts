/** Waiting for vectors: of what a live question may be about, as far as its deadline allows, and of all that a job may be shown. */
import { Clock, Effect } from "effect"
import { parsePosition } from "#shared/eventlog/position"
import type { MemoryIndexError } from "#shared/memoryindex/memory-index"
import type { IndexedMemory, ShelfView } from "#shared/memoryindex/user-index"
import { embedEach } from "#shared/model/embed-each"
import type { Embeddings } from "#shared/model/embeddings"
import { RequestRefused } from "#shared/actor/requests"
import type { Projection } from "./projection.ts"

/** Memories of a shelf looked at to say whether vectors are behind, the last first. */
const lookedAt = 64
/** Longest a job waits for vectors of what its run knows, milliseconds. */
const jobMsMax = 60_000
/** After this it tries by itself whether what has none can have one. */
const jobTriedMs = 2_000

/** What of a view tells which memories have vectors. */
type Vectored = Pick<ShelfView, "memories" | "standing" | "vectored">

export interface VectorWait {
  /** Whether the last memories that stand, up to a sequence, have all the vectors they can have. */
  readonly stand: (shelf: Vectored, upTo?: number) => boolean
  /** Waits for those of a user's turns up to a position, at most so long; `["vectors"]` when they are behind then. */
  readonly ofTurns: (user: string, after: string | undefined, deadlineMs: number) => Effect.Effect<ReadonlyArray<"vectors">, MemoryIndexError>
  /**
   * Waits until all that a job may be shown has vectors: with some of them it would be shown something else than the same job later.
   * What the model gives no vector of is not waited for; every process finds that by itself, as all have the same model.
   */
  readonly all: (user: string, asOfSequence: number) => Effect.Effect<void, MemoryIndexError | RequestRefused>
}

export const makeVectorWait = (projection: Pick<Projection, "view">, embeddings: Embeddings["Service"]): VectorWait => {
  /** Memories of whose text the model gives no vector: nobody waits for one, words find them. */
  const never = new WeakSet<IndexedMemory>()

  const missing = ({ memories, standing, vectored }: Vectored, upTo = Number.POSITIVE_INFINITY): ReadonlyArray<IndexedMemory> => {
    const found: Array<IndexedMemory> = []
    let left = lookedAt
    for (let row = memories.length - 1; row >= 0 && left > 0; row--) {
      const memory = memories[row]
      if (memory === undefined || standing[row] !== 1 || memory.sequence > upTo) continue
      if (vectored[row] !== 1 && !never.has(memory)) found.push(memory)
      left -= 1
    }
    return found
  }
  const stand = (shelf: Vectored, upTo?: number): boolean => missing(shelf, upTo).length === 0

  return {
    stand,
    ofTurns: Effect.fnUntraced(function*(user, after, deadlineMs) {
      const position = after === undefined ? undefined : parsePosition(after)
      if (position === undefined) return []
      const until = (yield* Clock.currentTimeMillis) + deadlineMs
      for (;;) {
        if (stand((yield* projection.view(user, {})).turns, position.sequence)) return []
        if ((yield* Clock.currentTimeMillis) > until) return ["vectors"]
        yield* Effect.sleep("25 millis")
      }
    }),
    all: Effect.fnUntraced(function*(user, asOfSequence) {
      const started = yield* Clock.currentTimeMillis
      let isTried = false
      for (;;) {
        const { facts, turns } = yield* projection.view(user, { asOfSequence })
        const due = [turns, facts].flatMap((shelf) => missing(shelf, asOfSequence))
        if (due.length === 0) return
        const waited = (yield* Clock.currentTimeMillis) - started
        if (waited > jobMsMax) return yield* new RequestRefused({ tag: "VectorsMissing", message: `what was said up to position ${asOfSequence} has no vectors after ${jobMsMax / 1_000} s; see that the embedder runs` })
        if (!isTried && waited > jobTriedMs) {
          isTried = true
          const vectors = yield* embedEach(embeddings, due.map(({ text }) => text)).pipe(Effect.mapError(({ message }) => new RequestRefused({ tag: "EmbeddingError", message })))
          for (const memory of due.filter((_, at) => vectors[at] === undefined)) {
            never.add(memory)
            yield* Effect.logWarning(`memory ${memory.id} cannot be embedded: attempts at questions find it by its words only`)
          }
        }
        yield* Effect.sleep("100 millis")
      }
    })
  }
}
