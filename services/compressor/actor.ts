/**
 * The compressor: ends topics, and extracts the facts of each ended segment. Boundaries are a pure function of the ordered turns and of
 * explicit ends, never of when it woke: on a cold start the whole conversation is segmented again, and what stands already is not recorded twice.
 */
import { createHash } from "node:crypto"
import { Config, Effect, Layer, Result } from "effect"
import { type EntityError, makeEntity } from "#shared/actor/entity"
import type { Leases } from "#shared/actor/lease"
import { RequestRefused, respond } from "#shared/actor/requests"
import { runSignals } from "#shared/actor/signals"
import type { Memory } from "#shared/domain/memory"
import type { Turn } from "#shared/domain/turn"
import { EventLog } from "#shared/eventlog/event-log"
import type { LogUnavailable, Nats } from "#shared/eventlog/nats"
import { memoryFilter, memorySubject, parseMemorySubject, requestSubject } from "#shared/eventlog/subjects"
import type { Models } from "#shared/model/models"
import { tokensOf } from "#shared/model/tokens"
import { ingestorCodec } from "#services/ingestor/protocol"
import { behaviour } from "./behaviour.ts"
import { preCompressor, settings as compressionSettings } from "./pre-compression.ts"
import { extractorOf, settings as extractionSettings } from "./extraction.ts"
import { flushSegmenter, initialSegmenter, pushTurn, type Segment, type SegmenterState } from "./construction/segmenter.ts"
import { type CompressorEvent, decodeChangeRequest, decodeReconcileRequest } from "./protocol.ts"
import { makeReconciler } from "./reconcile.ts"

export const settings = Config.all({
  /** Conversations worked on at once. */
  concurrency: Config.Int("METAMEM_COMPRESSOR_CONCURRENCY").pipe(Config.withDefault(16)),
  /** Segments settled in one commit, at most. */
  commitSize: Config.Int("METAMEM_COMPRESSOR_COMMIT_SIZE").pipe(Config.withDefault(32))
})

interface Segmented {
  readonly state: SegmenterState
  /** Sequence of the ingestor's last commit that went in. */
  readonly through: number
  /** Erasure epoch of the conversation: turns from before it must not come back. */
  readonly epoch: number
}

/** Id of a segment: its turns decide it, so segmenting again finds the same. */
export const segmentId = (turns: ReadonlyArray<Pick<Turn, "id">>): string =>
  createHash("sha256").update(turns.map(({ id }) => id).join("\n")).digest("hex").slice(0, 24)

/** Id of a fact: where it stands and what it says decide it. */
export const factId = (target: string, fact: Pick<Memory, "text" | "turns">): string =>
  createHash("sha256").update([target, fact.text, ...fact.turns].join("\n")).digest("hex").slice(0, 32)

/** Runs until the scope closes. */
export const layer: Layer.Layer<never, Config.ConfigError, EventLog | Nats | Leases | Models> = Layer.effectDiscard(
  Effect.gen(function*() {
    const { commitSize, concurrency } = yield* settings
    const log = yield* EventLog
    const extract = yield* extractorOf(yield* extractionSettings, yield* preCompressor(yield* compressionSettings))
    const conversations = yield* makeEntity(behaviour, 2_000)
    const reconcile = yield* makeReconciler(conversations)
    const segmented = new Map<string, Segmented>()

    /** Segments that end between the cached place and the minimum, in order. */
    const endedSegments = Effect.fnUntraced(function*(target: string, minimum: number, epoch: number) {
      const known = segmented.get(target)
      const from = known?.epoch === epoch ? known : { state: initialSegmenter, through: 0 }
      const ended: Array<Segment> = []
      let { state, through } = from
      for (const commit of yield* log.load(memorySubject(parseMemorySubject(target), "ingestor"), { after: through, minimum })) {
        for (const stored of commit.events) {
          const event = ingestorCodec.decode(stored)
          if (Result.isFailure(event)) return yield* event.failure
          const steps = event.success._tag === "TurnsReceived"
            ? event.success.turns.map((turn) => {
              const step = pushTurn(state, { ...turn, tokens: tokensOf(turn.text) })
              state = step.state
              return step
            })
            : [flushSegmenter(state)]
          for (const step of steps) {
            state = step.state
            ended.push(...step.segments)
          }
        }
        through = commit.sequence
      }
      return { ended, next: { state, through, epoch } }
    })

    const handle = Effect.fnUntraced(function*(target: string, minimum: number): Effect.fn.Return<number, EntityError> {
      const folded = yield* conversations.load(target)
      if (folded.inputThrough >= minimum) return folded.inputThrough
      const { ended, next } = yield* endedSegments(target, minimum, folded.epoch)
      // All that was read, perhaps beyond the minimum: with a lower mark another worker's could cover it and leave the rest unrecorded.
      const through = Math.max(minimum, next.through)
      const due = ended.filter(({ turns }) => !folded.state.settledSegments.has(segmentId(turns)))
      for (let from = 0; from < Math.max(due.length, 1); from += commitSize) {
        const chunk = due.slice(from, from + commitSize)
        const events = (yield* Effect.forEach(
          chunk,
          ({ turns }): Effect.Effect<ReadonlyArray<CompressorEvent>> =>
            Effect.gen(function*() {
              const segment = segmentId(turns)
              const [first, ...rest] = turns.map(({ id }) => id)
              if (first === undefined) return []
              const closed: CompressorEvent = { _tag: "SegmentClosed", segment, turns: [first, ...rest] }
              const outcome = yield* extract(parseMemorySubject(target), turns)
              if (outcome._tag === "Failed") {
                return [closed, { _tag: "ExtractionFailed", segments: [segment], turns: [first, ...rest], attempts: outcome.attempts, error: outcome.error }]
              }
              const { call, extractor, facts, template } = outcome
              const memories = facts.map((fact): Memory => ({ id: factId(target, fact), kind: "fact", ...fact }))
              return [closed, { _tag: "MemoriesRecorded", segments: [segment], memories, extractor, template, ...(call === undefined ? {} : { call }) }]
            }),
          { concurrency: 4 }
        )).flat()
        const isLast = from + commitSize >= due.length
        yield* conversations.execute(
          target,
          { _tag: "RecordExtraction", events },
          {
            cause: isLast ? `through ${through} ${chunk.map(({ turns }) => segmentId(turns)).join(" ")}` : `segments ${chunk.map(({ turns }) => segmentId(turns)).join(" ")}`,
            seen: folded.epoch,
            ...(isLast ? { inputThrough: through } : {})
          }
        ).pipe(Effect.catchTag("UnknownMemory", (error) => Effect.die(error)))
      }
      segmented.delete(target)
      segmented.set(target, next)
      if (segmented.size > 2_000) for (const oldest of segmented.keys()) {
        segmented.delete(oldest)
        break
      }
      return through
    })

    yield* runSignals({
      actor: "compressor",
      filters: [memoryFilter({ actor: "ingestor" })],
      target: (subject) => memorySubject(parseMemorySubject(subject), "compressor"),
      handle,
      concurrency
    }).pipe(Effect.forkScoped)

    yield* respond<RequestRefused | LogUnavailable, never>({
      subject: requestSubject("compressor", "change"),
      queue: "compressor",
      concurrency: 16,
      handle: (payload) =>
        Effect.gen(function*() {
          const change = yield* decodeChangeRequest(payload).pipe(
            Effect.mapError((error) => new RequestRefused({ tag: "BadRequest", message: error.message }))
          )
          const subject = memorySubject(change, "compressor")
          const { folded, fresh } = yield* conversations.execute(subject, change.command, { cause: change.cause }).pipe(
            Effect.mapError((error) => new RequestRefused({ tag: error._tag, message: "message" in error && error.message !== "" ? error.message : `${subject} is too busy; try again` }))
          )
          return { changed: fresh, position: folded.sequence }
        })
    }).pipe(Effect.forkScoped)

    yield* respond<RequestRefused | LogUnavailable, never>({
      subject: requestSubject("compressor", "reconcile"),
      queue: "compressor",
      concurrency: 2,
      handle: (payload) =>
        decodeReconcileRequest(payload).pipe(
          Effect.mapError((error) => new RequestRefused({ tag: "BadRequest", message: error.message })),
          Effect.flatMap((request) => reconcile(request).pipe(Effect.mapError((error) => new RequestRefused({ tag: error._tag, message: error.message }))))
        )
    }).pipe(Effect.forkScoped)
  })
)
