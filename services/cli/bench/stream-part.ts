/** A part of a stream: turns sent one by one at a steady rate, some of them searched for until they are found, and all waited for at its end. */
import { Effect, Fiber, Schedule, type Scope } from "effect"
import { Nats } from "#shared/eventlog/nats"
import { waitUntilSearchable } from "../build.ts"
import { sendTurns } from "../ingest.ts"
import { CommandFailed, type progressLine } from "../root.ts"
import { percentile, rounded, secondsSince } from "./load.ts"
import { type Acknowledged, foundByVector, foundByWord } from "./stream-check.ts"
import type { StreamTurn } from "./stream-turns.ts"

export interface Lag {
  readonly samples: number
  readonly p50Ms: number
  readonly p95Ms: number
  readonly maxMs: number
}

export interface StreamPart {
  readonly ratePerSecond: number
  readonly seconds: number
  readonly acknowledged: number
  /** Sent once more, since no answer came. */
  readonly resent: number
  readonly acknowledgeP50Ms: number
  readonly acknowledgeP99Ms: number
  /** From acknowledgement to being found. */
  readonly lag: { readonly words: Lag; readonly vectors: Lag }
  /** Work before each at the end of the part, in signals; and the seconds until all of it was searchable. */
  readonly behind: { readonly compressor: number; readonly embedder: number }
  readonly caughtUpSeconds: number
}

/** What goes on through all parts. */
export interface OpenStream {
  readonly tenant: string
  readonly next: () => StreamTurn
  readonly acknowledged: Array<Acknowledged>
  readonly progress: ReturnType<typeof progressLine>
  readonly scope: Scope.Scope
}

/** In flight at once: what comes above waits, and is late. */
const inFlightMax = 512
const firstPauseMs = 20
const lastPauseMs = 1_000
const probeLimitMs = 600_000
/** Share of the best score that a turn found by its vector has. */
const vectorScoreMin = 0.5

/** Conversations that turns were acknowledged in. */
export const addressesOf = ({ acknowledged, tenant }: Pick<OpenStream, "acknowledged" | "tenant">) =>
  [...new Map(acknowledged.map(({ conversation, user }) => [conversation, { tenant, user, conversation }])).values()]

const lagOf = (ms: ReadonlyArray<number>): Lag => ({ samples: ms.length, p50Ms: rounded(percentile(ms, 0.5)), p95Ms: rounded(percentile(ms, 0.95)), maxMs: rounded(percentile(ms, 1)) })

/** Signals that are before an actor. */
const behind = (actor: "compressor" | "embedder") =>
  Effect.flatMap(Nats, ({ jsm }) => Effect.promise(() => jsm.consumers.info("MEMORY", actor).then(({ num_ack_pending, num_pending }) => num_pending + num_ack_pending, () => 0)))
const bothBehind = Effect.all({ compressor: behind("compressor"), embedder: behind("embedder") })

/** Asks until a turn is found; milliseconds since its acknowledgement. */
const untilFound = Effect.fnUntraced(function*(tenant: string, turn: Acknowledged, since: number, ask: typeof foundByWord) {
  for (let pauseMs = firstPauseMs;; pauseMs = performance.now() - since < 1_000 ? firstPauseMs : Math.min(lastPauseMs, pauseMs * 1.3)) {
    // A retriever that was killed leaves its questions without an answer.
    const times = yield* Effect.orElseSucceed(ask(tenant, turn), () => 0)
    const passedMs = performance.now() - since
    if (times > 0) return passedMs
    if (passedMs > probeLimitMs) return yield* new CommandFailed({ message: `the turn with "${turn.marker}" was not found ${probeLimitMs / 1_000} s after it was acknowledged` })
    yield* Effect.sleep(pauseMs)
  }
})

/** Sends turns, one a slot of the rate, and waits until all of the stream is searchable. @param settled waited for after the last turn, before all of it must be searchable */
export const streamPart = Effect.fnUntraced(function*(of: OpenStream, name: string, rate: number, seconds: number, settled: Effect.Effect<unknown, CommandFailed, Nats> = Effect.void) {
  const { acknowledged, next, progress, scope, tenant } = of
  const count = Math.max(1, Math.round(rate * seconds))
  const took: Array<number> = []
  const lags = { words: [] as Array<number>, vectors: [] as Array<number> }
  const probes: Array<Fiber.Fiber<void, CommandFailed>> = []
  let resent = 0
  let wanted = true
  const from = performance.now()

  const send = Effect.fnUntraced(function*(turn: StreamTurn, n: number) {
    yield* Effect.sleep(Math.max(0, from + (n * 1_000) / rate - performance.now()))
    const sentAt = performance.now()
    const { conversation, place, speaker, text, user } = turn
    const message = { tenant, user, conversation, turns: [{ id: `t${place}`, speaker, text, time: new Date().toISOString() }] }
    const { turns: [reply] } = yield* sendTurns(message).pipe(Effect.tapError(() => Effect.sync(() => (resent += 1))), Effect.retry(Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 30 }))))
    if (reply?.id === undefined) return yield* new CommandFailed({ message: `a turn was refused: ${reply?.error ?? "no reason given"}` })
    const at = performance.now()
    took.push(at - sentAt)
    const known: Acknowledged = { ...turn, id: reply.id }
    acknowledged.push(known)
    if (n >= Math.ceil(rate)) wanted ||= n % Math.ceil(rate) === 0
    // One a second, of what the user says: its own turn leads every question about it.
    if (wanted && speaker === "user") {
      wanted = false
      probes.push(
        yield* Effect.forkIn(Effect.map(untilFound(tenant, known, at, foundByWord), (ms) => void lags.words.push(ms)), scope),
        yield* Effect.forkIn(Effect.map(untilFound(tenant, known, at, (of, turn) => foundByVector(of, turn, vectorScoreMin)), (ms) => void lags.vectors.push(ms)), scope)
      )
    }
  })

  const told = Effect.gen(function*() {
    const { compressor, embedder } = yield* bothBehind
    progress.update(
      `${name}: ${took.length} of ${count} turns acknowledged; ${compressor} signals before the compressors, ${embedder} before the embedders; ` +
        `last found after ${Math.round(lags.words.at(-1) ?? 0)} ms by word, ${Math.round(lags.vectors.at(-1) ?? 0)} ms by vector`
    )
    yield* Effect.sleep("2 seconds")
  })
  yield* Effect.forEach(Array.from({ length: count }, (_, n) => n), (n) => Effect.suspend(() => send(next(), n)), { concurrency: inFlightMax, discard: true }).pipe(Effect.raceFirst(Effect.forever(told)))
  const streamedSeconds = secondsSince(from)
  const left = yield* bothBehind
  yield* settled
  const waitFrom = performance.now()
  const addresses = addressesOf(of)
  yield* waitUntilSearchable(addresses, (done) => progress.update(`${name}: ${done} of ${addresses.length} conversations searchable`))
  const caughtUpSeconds = secondsSince(waitFrom)
  yield* Fiber.joinAll(probes)
  return {
    ratePerSecond: rate,
    seconds: streamedSeconds,
    acknowledged: took.length,
    resent,
    acknowledgeP50Ms: rounded(percentile(took, 0.5), 2),
    acknowledgeP99Ms: rounded(percentile(took, 0.99), 2),
    lag: { words: lagOf(lags.words), vectors: lagOf(lags.vectors) },
    behind: left,
    caughtUpSeconds
  } satisfies StreamPart
})
