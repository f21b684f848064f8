/**
 * Waiting for vectors: of what a live question may be about, as far as its deadline allows, and of all that a job may be shown. What the
 * embedder has passed over, or gave a vector that no search can use, is not waited for: its water mark in the log says so to everybody.
 */
import { Clock, Effect, Option } from "effect"
import { EventLog } from "#shared/eventlog/event-log"
import { parsePosition } from "#shared/eventlog/position"
import { decodeToken, memorySubject } from "#shared/eventlog/subjects"
import type { MemoryIndexError } from "#shared/memoryindex/memory-index"
import type { IndexedMemory, ShelfView } from "#shared/memoryindex/shelf"
import { embedEach } from "#shared/model/embed-each"
import type { Embeddings } from "#shared/model/embeddings"
import { RequestRefused } from "#shared/actor/requests"
import { embedderCodec } from "#services/embedder/protocol"
import type { Projection } from "./projection.ts"

/** Memories of a shelf looked at to say whether vectors are behind, the last first. */
const lookedAt = 64
/** Longest a job waits for vectors of what its run knows, milliseconds. */
const jobMsMax = 60_000
/** After this it tries by itself whether what has none can have one: after a change of the model the log does not tell. */
const jobTriedMs = 2_000
/** Longest look at that for a live question. */
const liveLookMs = 200
/** Between two looks at how far the embedder has come, milliseconds. */
const lookedEveryMs = 250

/** What of a view tells which memories have vectors. */
type Vectored = Pick<ShelfView, "memories" | "standing" | "vectored">

export interface VectorWait {
  /** Whether the last memories that stand have all the vectors they can have. @param through up to where the log had been read when the shelf was looked at */
  readonly stand: (shelf: Vectored, through: number) => Effect.Effect<boolean>
  /** Waits for those of a user's turns up to a position, at most so long; `["vectors"]` when they are behind then. */
  readonly ofTurns: (user: string, after: string | undefined, deadlineMs: number) => Effect.Effect<ReadonlyArray<"vectors">, MemoryIndexError>
  /**
   * Waits until all that a job may be shown has the vectors it can have: with some of them it would be shown something else than the same
   * job later.
   */
  readonly all: (user: string, asOfSequence: number) => Effect.Effect<void, MemoryIndexError | RequestRefused>
}

export const makeVectorWait = Effect.fnUntraced(function*(projection: Pick<Projection, "view" | "through">, embeddings: Embeddings["Service"]): Effect.fn.Return<VectorWait, never, EventLog> {
  const log = yield* EventLog
  /** Memories that the embedder is done with: nobody waits for a vector, words find them. */
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

  /**
   * Up to which sequence all of a conversation has the vectors it will have, as far as the index shows them; 0 while a model's vectors give
   * way to another's, and before `from`: what only waits for its turn costs a look at the last commit and no reading of all.
   */
  const embeddedThrough = Effect.fnUntraced(function*(user: string, conversation: string, from: number, through: number) {
    const [tenant = "", name = ""] = user.split("/").map(decodeToken)
    const subject = memorySubject({ tenant, user: name, conversation }, "embedder")
    const last = yield* log.last(subject)
    if (last === undefined || last.inputThrough < from || last.sequence > through) return 0
    const models = new Map<string, string>()
    for (const { events } of yield* log.load(subject)) {
      for (const stored of events) {
        const event = yield* Effect.fromResult(embedderCodec.decode(stored))
        for (const id of event.ids) models.set(id, event.model)
      }
    }
    return [...models.values()].every((model) => model === embeddings.modelHash) ? last.inputThrough : 0
  })

  const letGo = (memory: IndexedMemory) => {
    never.add(memory)
    return Effect.logWarning(`memory ${memory.id} has no vector that can be used, and is found by its words only`)
  }

  /** Lets go of those among memories without a vector, as of a place in the log, that the embedder was done with there; gives the others. */
  const awaited = (due: ReadonlyArray<IndexedMemory>, through: number): Effect.Effect<ReadonlyArray<IndexedMemory>> =>
    Effect.forEach(Map.groupBy(due, ({ conversation }) => conversation), ([conversation, memories]) =>
      embeddedThrough(memories[0]?.user ?? "", conversation, Math.min(...memories.map(({ sequence }) => sequence)), through).pipe(
        Effect.catch((error) => Effect.as(Effect.logWarning(`cannot tell how far the embedder has come: ${error.message}`), 0)),
        Effect.flatMap((done) => Effect.forEach(memories.filter(({ sequence }) => sequence <= done), letGo))
      ), { concurrency: 16, discard: true }).pipe(Effect.andThen(Effect.sync(() => due.filter((memory) => !never.has(memory)))))

  return {
    stand: (shelf, through) => awaited(missing(shelf), through).pipe(Effect.timeoutOption(liveLookMs), Effect.map((left) => Option.isSome(left) && left.value.length === 0)),
    ofTurns: Effect.fnUntraced(function*(user, after, deadlineMs) {
      const position = after === undefined ? undefined : parsePosition(after)
      if (position === undefined) return []
      const until = (yield* Clock.currentTimeMillis) + deadlineMs
      for (let look = 0;;) {
        const { turns } = yield* projection.view(user, {})
        const through = projection.through()
        const due = missing(turns, position.sequence)
        if (due.length === 0) return []
        const now = yield* Clock.currentTimeMillis
        if (now >= look || now > until) {
          if ((yield* awaited(due, through)).length === 0) return []
          look = now + lookedEveryMs
        }
        if (now > until) return ["vectors"]
        yield* Effect.sleep("25 millis")
      }
    }),
    all: Effect.fnUntraced(function*(user, asOfSequence) {
      const started = yield* Clock.currentTimeMillis
      let isTried = false
      for (;;) {
        const { facts, turns } = yield* projection.view(user, { asOfSequence })
        const through = projection.through()
        const due = yield* awaited([turns, facts].flatMap((shelf) => missing(shelf, asOfSequence)), through)
        if (due.length === 0) return
        const waited = (yield* Clock.currentTimeMillis) - started
        if (waited > jobMsMax) return yield* new RequestRefused({ tag: "VectorsMissing", message: `what was said up to position ${asOfSequence} has no vectors after ${jobMsMax / 1_000} s; see that the embedder runs` })
        if (!isTried && waited > jobTriedMs) {
          isTried = true
          const vectors = yield* embedEach(embeddings, due.map(({ text }) => text)).pipe(Effect.mapError(({ message }) => new RequestRefused({ tag: "EmbeddingError", message })))
          yield* Effect.forEach(due.filter((_, at) => vectors[at] === undefined), letGo)
        }
        yield* Effect.sleep(lookedEveryMs)
      }
    })
  }
})
