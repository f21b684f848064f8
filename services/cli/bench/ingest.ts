/**
 * How fast turns are acknowledged, every one of them on disk: in batches as fast as they go, then one by one at a steady pace. The actor
 * runs in a process of its own; a bare publication of the same bytes at the same pace stands beside it.
 */
import { Effect, Schedule } from "effect"
import { Nats } from "#shared/eventlog/nats"
import { stream } from "#shared/metamemory/random"
import type { IngestRequest } from "#services/ingestor/protocol"
import { sendTurns } from "../ingest.ts"
import { CommandFailed, progressLine, root } from "../root.ts"
import { actorProcess, benchHome, type BenchResult, logOn, percentile, rounded, secondsSince, syntheticText, untilAnswers } from "./load.ts"

export interface IngestOptions {
  /** Turns in one request. */
  readonly batch: number
  /** Single turns a second. */
  readonly rate: number
  /** Of each of the three parts. */
  readonly seconds: number
  readonly seed: number
}

const conversations = 200
const requestsAtOnce = 16

/** Starts one piece of work a tick, however long earlier ones take, so that a standstill is felt by all who come during it; milliseconds of each. */
export const paced = <E, R>(rate: number, count: number, work: (n: number) => Effect.Effect<unknown, E, R>): Effect.Effect<ReadonlyArray<number>, E, R> =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.forEach(
      Array.from({ length: count }, (_, n) => n),
      (n) =>
        Effect.gen(function*() {
          yield* Effect.sleep(Math.max(0, started + (n * 1_000) / rate - performance.now()))
          const from = performance.now()
          yield* work(n)
          return performance.now() - from
        }),
      { concurrency: "unbounded" }
    )
  })

export const benchIngest = (options: IngestOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const { env, home, url } = yield* benchHome
      const actor = yield* actorProcess({ home, url, actors: ["ingestor"], settings: env })
      const { tenant } = yield* root
      const started = performance.now()
      const progress = progressLine()
      const draw = stream("bench ingest", options.seed)
      const texts = Array.from({ length: 2_000 }, () => syntheticText(draw, 10 + Math.floor(draw() * 60)))
      const base = Date.UTC(2025, 0, 6)
      let made = 0
      const turn = () => {
        made += 1
        return { speaker: made % 2 === 0 ? "assistant" : "user", text: texts[made % texts.length] ?? "", time: new Date(base + made * 1_000).toISOString() }
      }
      const send = (conversation: number, count: number) => {
        const message: IngestRequest = { tenant, user: `u${conversation % 50}`, conversation: `c${conversation}`, turns: Array.from({ length: count }, turn) }
        return Effect.flatMap(sendTurns(message), ({ turns }) => {
          const bad = turns.filter(({ status }) => status !== "accepted").length
          return bad === 0 ? Effect.void : Effect.fail(new CommandFailed({ message: `${bad} of ${count} turns were not accepted` }))
        })
      }

      return yield* Effect.gen(function*() {
        const { js, jsm } = yield* Nats
        yield* untilAnswers("ingestor")
        yield* Effect.forEach(Array.from({ length: 50 }, (_, n) => n), (n) => send(n, 4), { concurrency: 8, discard: true })

        progress.update("batches")
        const before = yield* actor.usage
        let acknowledged = 0
        const batchMs: Array<number> = []
        const batchesStarted = performance.now()
        const until = batchesStarted + options.seconds * 1_000
        let next = 0
        yield* Effect.forEach(
          Array.from({ length: requestsAtOnce }),
          () =>
            Effect.gen(function*() {
              const from = performance.now()
              yield* send(next++ % conversations, options.batch)
              batchMs.push(performance.now() - from)
              acknowledged += options.batch
            }).pipe(Effect.repeat(Schedule.recurs(1_000_000).pipe(Schedule.while(() => Effect.sync(() => performance.now() < until))))),
          { concurrency: requestsAtOnce, discard: true }
        )
        const batchSeconds = (performance.now() - batchesStarted) / 1_000
        const after = yield* actor.usage

        progress.update(`single turns at ${options.rate}/s`)
        const count = Math.max(1, Math.round(options.rate * options.seconds))
        const single = yield* paced(options.rate, count, (n) => send(n % conversations, 1))

        progress.update("bare publications")
        yield* Effect.promise(() => jsm.streams.add({ name: "BENCH", subjects: ["bench.>"] }))
        const payload = Buffer.from(JSON.stringify({ events: [{ type: "TurnsReceived", version: 1, data: { turns: [turn()] } }] }))
        const bare = yield* paced(options.rate, count, (n) => Effect.promise(() => js.publish(`bench.${n % conversations}`, payload)))
        progress.end()
        return {
          figures: {
            batchTurnsPerSecond: Math.round(acknowledged / batchSeconds),
            batchTurns: options.batch,
            requestsAtOnce,
            requestP50Ms: rounded(percentile(batchMs, 0.5)),
            requestP99Ms: rounded(percentile(batchMs, 0.99)),
            cpuMsPerThousandTurns: rounded(((after.cpuMs - before.cpuMs) / acknowledged) * 1_000),
            singleRatePerSecond: options.rate,
            singleP50Ms: rounded(percentile(single, 0.5), 2),
            singleP99Ms: rounded(percentile(single, 0.99), 2),
            bareP50Ms: rounded(percentile(bare, 0.5), 2),
            bareP99Ms: rounded(percentile(bare, 0.99), 2),
            turns: acknowledged + count,
            rssMb: after.rssMb,
            seed: options.seed
          },
          unit: "turns/s acknowledged and on disk; milliseconds",
          seconds: secondsSince(started)
        } satisfies BenchResult
      }).pipe(Effect.provide(logOn(url)))
    })
  )
