/** The embedder: gives every turn and every fact its vector, from one model, in batches shared by all conversations in work. */
import { createHash } from "node:crypto"
import { Config, Effect, Layer, Result } from "effect"
import { type EntityError, makeEntity } from "#shared/actor/entity"
import type { Leases } from "#shared/actor/lease"
import { bury } from "#shared/actor/dead-letters"
import { runSignals } from "#shared/actor/signals"
import { onErasure } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import type { LogUnavailable, Nats } from "#shared/eventlog/nats"
import { memoryFilter, memorySubject, parseMemorySubject } from "#shared/eventlog/subjects"
import { Positive } from "#shared/home/setting-values"
import { embedEach } from "#shared/model/embed-each"
import { type EmbeddingError, Embeddings } from "#shared/model/embeddings"
import { compressorCodec } from "#services/compressor/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { behaviour, sourceOf } from "./behaviour.ts"
import { noVectorAbout, packVectors, type VectorMismatch } from "./protocol.ts"

export const settings = Config.all({
  /** Conversations worked on at once; their texts share batches. */
  concurrency: Config.schema(Positive, "METAMEM_EMBEDDER_CONCURRENCY").pipe(Config.withDefault(32)),
  /** Vectors in one commit, at most. */
  commitSize: Config.schema(Positive, "METAMEM_EMBEDDER_COMMIT_SIZE").pipe(Config.withDefault(256))
})

/** Texts of one conversation after a position: turns as said, facts as extracted. */
const pendingTexts = (target: string, after: number, minimum: number) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const of = parseMemorySubject(target)
    const texts: Array<{ readonly id: string; readonly text: string }> = []
    for (const commit of yield* log.load(memorySubject(of, "ingestor"), { after, minimum })) {
      for (const stored of commit.events) {
        const event = ingestorCodec.decode(stored)
        if (Result.isFailure(event)) return yield* event.failure
        if (event.success._tag === "TurnsReceived") texts.push(...event.success.turns)
      }
    }
    for (const commit of yield* log.load(memorySubject(of, "compressor"), { after, minimum })) {
      for (const stored of commit.events) {
        const event = compressorCodec.decode(stored)
        if (Result.isFailure(event)) return yield* event.failure
        if (event.success._tag === "MemoriesRecorded") texts.push(...event.success.memories)
      }
    }
    return texts
  })

/** Runs until the scope closes. */
export const layer: Layer.Layer<never, Config.ConfigError, EventLog | Nats | Leases | Embeddings> = Layer.effectDiscard(
  Effect.gen(function*() {
    const { commitSize, concurrency } = yield* settings
    const embeddings = yield* Embeddings
    const source = sourceOf(embeddings.modelHash, embeddings.dimensions)
    const conversations = yield* makeEntity(behaviour, 2_000)
    /** Memories to be embedded anew of which the model gave no vector, by conversation: not tried again by this process, since each try reads all of the conversation. */
    const inVain = new Map<string, Set<string>>()
    yield* onErasure(({ holds }) => {
      conversations.forget(holds)
      for (const target of inVain.keys()) if (holds(target)) inVain.delete(target)
    })

    const handle = Effect.fnUntraced(function*(target: string, minimum: number): Effect.fn.Return<number, EntityError | EmbeddingError | VectorMismatch | LogUnavailable, EventLog | Nats> {
      const { epoch, inputThrough, sequence, state } = yield* conversations.load(target)
      // Vectors of another model are never compared with this one's, and some can be used by nobody: those are embedded anew.
      const passed = inVain.get(target)
      const isStale = [...state.sources].some(([id, of]) => of !== source && passed?.has(id) !== true)
      if (inputThrough >= minimum && !isStale) return inputThrough
      const reached = Math.max(inputThrough, minimum)
      const due = (yield* pendingTexts(target, isStale ? 0 : inputThrough, minimum)).filter(({ id }) => state.sources.get(id) !== source && passed?.has(id) !== true)
      for (let from = 0; from < Math.max(due.length, 1); from += commitSize) {
        const chunk = due.slice(from, from + commitSize)
        const found = yield* embedEach(embeddings, chunk.map(({ text }) => text))
        const given = chunk.flatMap(({ id }, at) => (found[at] === undefined ? [] : [{ id, vector: found[at] }]))
        // Passed over for good: words find it, and the retriever does not wait for its vector.
        for (const { id } of chunk.filter((_, at) => found[at] === undefined)) {
          if (state.sources.has(id)) inVain.set(target, (inVain.get(target) ?? new Set()).add(id))
          yield* Effect.logWarning(`memory ${id} of ${target} cannot be embedded; it is found by its words only`)
          yield* bury({ actor: "embedder", kind: "text", about: noVectorAbout(target, id), error: "the embedding model gives no vector of this text", tries: 1, mend: "Nothing need be done: the memory is found by its words. Drop this letter." })
        }
        const binary = packVectors(given.map(({ vector }) => vector), embeddings.dimensions)
        const ids = given.map(({ id }) => id)
        const isLast = from + commitSize >= due.length
        yield* conversations.execute(
          target,
          { _tag: "RecordVectors", model: embeddings.modelHash, dimensions: embeddings.dimensions, ids, bytes: binary.length },
          {
            // What is embedded anew may have been recorded for the same cause before.
            cause: createHash("sha256").update([embeddings.modelHash, isLast ? reached : "", ...(isStale ? [`after ${sequence}`] : []), ...ids].join("\n")).digest("base64url"),
            seen: epoch,
            ...(binary.length === 0 ? {} : { binary }),
            // Complete up to there and perhaps beyond; what is beyond is found done by the next signal.
            ...(isLast && reached > inputThrough ? { inputThrough: reached } : {})
          }
        )
      }
      return reached
    })

    yield* runSignals({
      actor: "embedder",
      filters: [memoryFilter({ actor: "ingestor" }), memoryFilter({ actor: "compressor" })],
      target: (subject) => memorySubject(parseMemorySubject(subject), "embedder"),
      handle,
      concurrency,
      // Conversations embedded by another model before come up again, also those that do not go on.
      basis: embeddings.modelHash,
      // Work done twice equals itself bit for bit, so racing another embedder costs only time.
      lease: false
    }).pipe(Effect.forkScoped)
  })
)
