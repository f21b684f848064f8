/**
 * The compressor: ends topics, gathers ended segments into batches, and extracts the facts of each batch. Boundaries and batches are a pure
 * function of the ordered turns and of explicit ends, never of when it woke: on a cold start the whole conversation is cut again, and turns
 * that stand in a segment already are not recorded twice, also where they were cut under other settings.
 */
import { createHash } from "node:crypto"
import { Config, Effect, Layer } from "effect"
import { type EntityError, makeEntity } from "#shared/actor/entity"
import type { Leases } from "#shared/actor/lease"
import { serve } from "#shared/actor/requests"
import { runSignals } from "#shared/actor/signals"
import type { Turn } from "#shared/domain/turn"
import { onErasure } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import type { Nats } from "#shared/eventlog/nats"
import { memoryFilter, memorySubject, parseMemorySubject } from "#shared/eventlog/subjects"
import { Positive } from "#shared/home/setting-values"
import type { EmbeddingError } from "#shared/model/embeddings"
import type { Models } from "#shared/model/models"
import { behaviour } from "./behaviour.ts"
import { makeBatches, type Segment } from "./batches.ts"
import { cutterOf, settings as boundarySettings } from "./boundaries.ts"
import { openNamed, settings as classifierSettings } from "./classifier.ts"
import { preCompressor, settings as compressionSettings } from "./pre-compression.ts"
import { extractorOf, settings as extractionSettings } from "./extraction.ts"
import { ChangeRequest, type CompressorEvent, ReconcileRequest, SecondTryRequest } from "./protocol.ts"
import { makeReconciler } from "./reconcile.ts"
import { recordedOf } from "./recorded.ts"
import { buryFailed, makeSecondTry, secondTryVerb } from "./second-try.ts"

export const settings = Config.all({
  /** Conversations worked on at once. */
  concurrency: Config.schema(Positive, "METAMEM_COMPRESSOR_CONCURRENCY").pipe(Config.withDefault(16)),
  /** Batches of segments settled in one commit, at most. */
  commitSize: Config.schema(Positive, "METAMEM_COMPRESSOR_COMMIT_SIZE").pipe(Config.withDefault(32))
})

/** Id of a segment: its turns decide it, so segmenting again finds the same. */
const segmentId = (turns: ReadonlyArray<Pick<Turn, "id">>): string =>
  createHash("sha256").update(turns.map(({ id }) => id).join("\n")).digest("hex").slice(0, 24)

/** Runs until the scope closes. */
export const layer: Layer.Layer<never, Config.ConfigError, EventLog | Nats | Leases | Models> = Layer.effectDiscard(
  Effect.gen(function*() {
    const { commitSize, concurrency } = yield* settings
    const log = yield* EventLog
    const extraction = yield* extractionSettings
    const compression = yield* compressionSettings
    const { segmentation } = yield* boundarySettings
    // A classifier that nothing would ask is not opened, let alone fetched.
    const isAsked = segmentation === "auto" || segmentation === "attention" || (extraction.extractor === "model" && compression.compression !== "none" && compression.compression !== "words")
    const classifier = isAsked ? yield* openNamed(yield* classifierSettings) : undefined
    const uncut = yield* cutterOf(segmentation, classifier)
    const { batchTokens, extract } = yield* extractorOf(extraction, yield* preCompressor(compression, classifier))
    const conversations = yield* makeEntity(behaviour, 2_000)
    const reconcile = yield* makeReconciler(conversations)
    const segmented = makeBatches(log, uncut, batchTokens)
    yield* onErasure(({ holds }) => {
      conversations.forget(holds)
      segmented.forget(holds)
    })

    /** What a batch came to; one that fails as a whole is tried segment by segment. */
    const settle = (target: string, batch: ReadonlyArray<Segment>): Effect.Effect<ReadonlyArray<CompressorEvent>> =>
      Effect.gen(function*() {
        const outcome = yield* extract(parseMemorySubject(target), batch)
        if (outcome._tag === "Failed" && batch.length > 1) return (yield* Effect.forEach(batch, (segment) => settle(target, [segment]))).flat()
        const closed = batch.flatMap((turns): ReadonlyArray<Extract<CompressorEvent, { _tag: "SegmentClosed" }>> => {
          const [first, ...rest] = turns.map(({ id }) => id)
          return first === undefined ? [] : [{ _tag: "SegmentClosed", segment: segmentId(turns), turns: [first, ...rest] }]
        })
        const [first, ...rest] = closed
        if (first === undefined) return []
        const segments = [first.segment, ...rest.map(({ segment }) => segment)] as const
        if (outcome._tag === "Failed") return [...closed, { _tag: "ExtractionFailed", segments, turns: first.turns, attempts: outcome.attempts, error: outcome.error }]
        return [...closed, recordedOf(target, segments, outcome)]
      })

    const handle = Effect.fnUntraced(function*(target: string, minimum: number): Effect.fn.Return<number, EntityError | EmbeddingError, Nats> {
      const folded = yield* conversations.load(target)
      if (folded.inputThrough >= minimum) return folded.inputThrough
      const { batches, next } = yield* segmented.complete(target, minimum, folded.epoch)
      // All that was read, perhaps beyond the minimum: with a lower mark another worker's could cover it and leave the rest unrecorded.
      const through = Math.max(minimum, next.through)
      const due = batches
        .map((batch) => batch.map((turns) => turns.filter(({ id }) => !folded.state.segmentedTurns.has(id))).filter((turns) => turns.length > 0))
        .filter((batch) => batch.length > 0)
      for (let from = 0; from < Math.max(due.length, 1); from += commitSize) {
        const chunk = due.slice(from, from + commitSize)
        const events = (yield* Effect.forEach(chunk, (batch) => settle(target, batch), { concurrency: 4 })).flat()
        const segments = chunk.flat().map(segmentId).join(" ")
        const isLast = from + commitSize >= due.length
        yield* buryFailed(target, events)
        yield* conversations.execute(
          target,
          { _tag: "RecordExtraction", events },
          {
            cause: isLast ? `through ${through} ${segments}` : `segments ${segments}`,
            seen: folded.epoch,
            ...(isLast ? { inputThrough: through } : {})
          }
        ).pipe(Effect.catchTag("UnknownMemory", (error) => Effect.die(error)))
      }
      segmented.keep(target, next)
      return through
    })

    yield* runSignals({
      actor: "compressor",
      filters: [memoryFilter({ actor: "ingestor" })],
      target: (subject) => memorySubject(parseMemorySubject(subject), "compressor"),
      handle,
      concurrency
    }).pipe(Effect.forkScoped)

    yield* serve({
      actor: "compressor", verb: "change", schema: ChangeRequest, concurrency: 16,
      handle: (change) =>
        conversations.execute(memorySubject(change, "compressor"), change.command, { cause: change.cause }).pipe(
          Effect.map(({ folded, fresh }) => ({ changed: fresh, position: folded.sequence }))
        )
    })
    yield* serve({ actor: "compressor", verb: secondTryVerb, schema: SecondTryRequest, concurrency: 4, handle: yield* makeSecondTry(conversations, extract) })
    yield* serve({ actor: "compressor", verb: "reconcile", schema: ReconcileRequest, concurrency: 2, handle: reconcile })
  })
)
