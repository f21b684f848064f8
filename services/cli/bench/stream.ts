/**
 * A long stream of single turns over many conversations, through the product's own way in, with every actor in processes of its own. While
 * it runs, some turns are searched for until they are found, by their word and by their vector, and the memory of every process is
 * looked at; at the end all that was acknowledged must be found exactly once. A second, shorter part goes above what the embedders can do.
 */
import { Effect, Fiber, Schedule, Scope } from "effect"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { Nats } from "#shared/eventlog/nats"
import { formatPosition } from "#shared/eventlog/position"
import { type ActorName, actors, requestSubject } from "#shared/eventlog/subjects"
import { stream } from "#shared/metamemory/random"
import * as EmbeddingModel from "#shared/model/embeddings"
import { waitUntilSearchable } from "../build.ts"
import { sendTurns } from "../ingest.ts"
import { CommandFailed, progressLine, root, table } from "../root.ts"
import { type Growth, modelShareMb, proportionalMb, watchGrowth } from "./growth.ts"
import { type ActorProcess, actorProcess, benchHome, logOn, modelFolder, percentile, processUsage, rounded, secondsSince, untilAnswers } from "./load.ts"
import { type Acknowledged, checkStream, foundByVector, foundByWord, type StreamCheck } from "./stream-check.ts"
import { preload, preloadedUser, preloadedUsers } from "./stream-preload.ts"
import { type StreamTurn, streamTurns } from "./stream-turns.ts"

export interface StreamOptions {
  readonly minutes: number
  /** Turns a second. */
  readonly rate: number
  readonly conversations: number
  readonly compressors: number
  readonly embedders: number
  readonly retrievers: number
  /** The part after it; 0 seconds = none. */
  readonly burstSeconds: number
  readonly burstRate: number
  /**
   * Memories with vectors of one more user, in the log before the stream begins; that user is asked every two seconds. Users of a thousand
   * memories each, half as many again in all, are there too and asked once: with 100,000 they fill what retrievers hold (`METAMEM_INDEX_MEMORY_MB`),
   * so that memory that grows afterwards grows without end.
   */
  readonly memories: number
  /** Ends a compressor, an embedder and a retriever in the middle, at once, and starts others in their place. */
  readonly kill: boolean
  readonly seed: number
}

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

export interface StreamResult {
  readonly ok: boolean
  readonly steady: StreamPart
  readonly burst: StreamPart | null
  readonly memory: {
    /** Every process by itself; nats-server and the bench among them. */
    readonly processes: ReadonlyArray<Growth>
    /** All actors together at the end, each by itself; with pages that they share counted once; and of that without their embedding models. */
    readonly actorsMb: number
    readonly actorsProportionalMb: number
    /** What the model takes of an embedder with one thread for it; a retriever's takes as much or more. */
    readonly modelShareMb: number
    readonly actorsWithoutModelsMb: number
    readonly memoriesPreloaded: number
  }
  /** Of the preloaded user's questions. */
  readonly questions: { readonly asked: number; readonly p50Ms: number; readonly p95Ms: number } | null
  readonly kills: ReadonlyArray<string>
  readonly check: StreamCheck
  readonly seconds: number
  readonly seed: number
}

/** Seconds between two looks at the memory of all processes. */
const lookSeconds = 15
/** In flight at once: what comes above waits, and is late. */
const inFlightMax = 512
const firstPauseMs = 20
const lastPauseMs = 1_000
const probeLimitMs = 600_000
/** Share of the best score that a turn found by its vector has. */
const vectorScoreMin = 0.5

const lagOf = (ms: ReadonlyArray<number>): Lag => ({ samples: ms.length, p50Ms: rounded(percentile(ms, 0.5)), p95Ms: rounded(percentile(ms, 0.95)), maxMs: rounded(percentile(ms, 1)) })

/** A process that may be ended and replaced. */
interface Place {
  readonly name: string
  readonly actor: ActorName
  process: ActorProcess
}

export const benchStream = (options: StreamOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const { env, home, serverPid, url } = yield* benchHome
      const { tenant } = yield* root
      const scope = yield* Effect.scope
      const started = performance.now()
      const progress = progressLine()
      const draw = stream("bench stream", options.seed)
      const dir = yield* modelFolder
      const modelMb = yield* modelShareMb(dir)
      const preloaded = preloadedUsers(options.memories)
      const preloadedMemories = [...preloaded.values()].reduce((sum, count) => sum + count, 0)
      if (preloaded.size > 0) {
        yield* Effect.scoped(
          preload(tenant, preloaded, draw, (done) => progress.update(`${done} of ${preloadedMemories} memories written`)).pipe(
            Effect.provide(EmbeddingModel.layer({ dir, threads: 1 })),
            Effect.provide(logOn(url))
          )
        )
      }

      const start = (actor: ActorName) => Effect.provideService(actorProcess({ home, url, actors: [actor], settings: { METAMEM_EMBEDDING_THREADS: "1", ...env } }), Scope.Scope, scope)
      const copies: Partial<Record<ActorName, number>> = { compressor: options.compressors, embedder: options.embedders, retriever: options.retrievers }
      const places: ReadonlyArray<Place> = yield* Effect.forEach(
        actors.flatMap((actor) => Array.from({ length: copies[actor] ?? 1 }, (_, n) => ({ actor, name: (copies[actor] ?? 1) > 1 ? `${actor} ${n + 1}` : actor }))),
        (place) => Effect.map(start(place.actor), (process): Place => ({ ...place, process }))
      )
      const acknowledged: Array<Acknowledged> = []
      const watch = watchGrowth([
        ...places.map((place) => ({ name: place.name, pid: () => place.process.pid })),
        { name: "nats-server", pid: () => serverPid },
        { name: "bench itself", pid: () => process.pid }
      ], () => acknowledged.length)

      return yield* Effect.gen(function*() {
        const { jsm } = yield* Nats
        yield* untilAnswers("ingestor")
        yield* untilAnswers("retriever")
        // What was there before is in the index, and its users loaded, before anything is measured.
        const head = yield* (yield* EventLog).head("MEMORY")
        yield* request(requestSubject("retriever", "await"), { position: formatPosition({ log: "memory", sequence: head }), deadlineMs: 120_000 }, 125_000)
        for (const user of preloaded.keys()) yield* request(requestSubject("retriever", "memories"), { tenant, user, limit: 1 }, 120_000)
        const next = streamTurns(draw, options.conversations)
        const questions: Array<number> = []
        const kills: Array<string> = []

        const behind = (actor: "compressor" | "embedder") =>
          Effect.promise(() => jsm.consumers.info("MEMORY", actor).then(({ num_ack_pending, num_pending }) => num_pending + num_ack_pending, () => 0))
        const bothBehind = Effect.all({ compressor: behind("compressor"), embedder: behind("embedder") })

        /** Asks until a turn is found; milliseconds since its acknowledgement. */
        const untilFound = (turn: Acknowledged, since: number, ask: typeof foundByWord) =>
          Effect.gen(function*() {
            for (let pauseMs = firstPauseMs;; pauseMs = performance.now() - since < 1_000 ? firstPauseMs : Math.min(lastPauseMs, pauseMs * 1.3)) {
              // A retriever that was killed leaves its questions without an answer.
              const times = yield* Effect.orElseSucceed(ask(tenant, turn), () => 0)
              const passedMs = performance.now() - since
              if (times > 0) return passedMs
              if (passedMs > probeLimitMs) return yield* new CommandFailed({ message: `the turn with "${turn.marker}" was not found ${probeLimitMs / 1_000} s after it was acknowledged` })
              yield* Effect.sleep(pauseMs)
            }
          })

        /** @param settled waited for after the last turn, before all of it must be searchable */
        const streamed = (name: string, rate: number, seconds: number, settled: Effect.Effect<unknown, CommandFailed, Nats> = Effect.void) =>
          Effect.gen(function*() {
            const count = Math.max(1, Math.round(rate * seconds))
            const took: Array<number> = []
            const lags = { words: [] as Array<number>, vectors: [] as Array<number> }
            const probes: Array<Fiber.Fiber<void, CommandFailed>> = []
            let resent = 0
            let wanted = true
            const from = performance.now()
            const send = (turn: StreamTurn, n: number) =>
              Effect.gen(function*() {
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
                    yield* Effect.forkIn(Effect.map(untilFound(known, at, foundByWord), (ms) => void lags.words.push(ms)), scope),
                    yield* Effect.forkIn(Effect.map(untilFound(known, at, (of, turn) => foundByVector(of, turn, vectorScoreMin)), (ms) => void lags.vectors.push(ms)), scope)
                  )
                }
              })
            yield* Effect.forEach(Array.from({ length: count }, (_, n) => n), (n) => Effect.suspend(() => send(next(), n)), { concurrency: inFlightMax, discard: true }).pipe(
              Effect.raceFirst(
                Effect.gen(function*() {
                  const { compressor, embedder } = yield* bothBehind
                  progress.update(
                    `${name}: ${took.length} of ${count} turns acknowledged; ${compressor} signals before the compressors, ${embedder} before the embedders; ` +
                      `last found after ${Math.round(lags.words.at(-1) ?? 0)} ms by word, ${Math.round(lags.vectors.at(-1) ?? 0)} ms by vector`
                  )
                  yield* Effect.sleep("2 seconds")
                }).pipe(Effect.forever)
              )
            )
            const streamedSeconds = secondsSince(from)
            const left = yield* bothBehind
            yield* settled
            const waitFrom = performance.now()
            const addresses = [...new Map(acknowledged.map(({ conversation, user }) => [conversation, { tenant, user, conversation }])).values()]
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

        const seconds = options.minutes * 60
        const ask = Effect.gen(function*() {
          const from = performance.now()
          const [turn] = acknowledged.slice(-1)
          if (turn === undefined) return
          yield* foundByWord(tenant, { ...turn, user: preloadedUser })
          questions.push(performance.now() - from)
        })
        const replace = (actor: ActorName) =>
          Effect.gen(function*() {
            const place = places.find((one) => one.actor === actor)
            if (place === undefined) return
            process.kill(place.process.pid, "SIGKILL")
            kills.push(`${place.name} after ${Math.round((performance.now() - started) / 1_000)} s`)
            place.process = yield* start(actor)
          })
        const killing = yield* Effect.gen(function*() {
          for (const actor of ["compressor", "embedder", "retriever"] as const) {
            yield* Effect.sleep((seconds * 1_000) / 4)
            yield* replace(actor)
          }
        }).pipe(Effect.when(Effect.succeed(options.kill)), Effect.forkIn(scope))
        watch.look()
        yield* Effect.sync(watch.look).pipe(Effect.delay(`${Math.min(lookSeconds, seconds / 8)} seconds`), Effect.forever, Effect.forkIn(scope))
        if (options.memories > 0) yield* Effect.orElseSucceed(ask, () => undefined).pipe(Effect.delay("2 seconds"), Effect.forever, Effect.forkIn(scope))

        const steady = yield* streamed("steady", options.rate, seconds, Effect.andThen(Fiber.join(killing), untilAnswers("retriever")))
        watch.look()
        const processes = watch.growth()
        const burst = options.burstSeconds > 0 ? yield* streamed("above the embedders' rate", options.burstRate, options.burstSeconds) : null
        const actorsMb = places.reduce((sum, { process }) => sum + processUsage(process.pid).rssMb, 0)
        const actorsProportionalMb = places.reduce((sum, { process }) => sum + proportionalMb(process.pid), 0)
        const withModel = places.filter(({ actor }) => actor === "embedder" || actor === "retriever").length
        // What is still open of each conversation is settled too, so that all of its facts are there.
        const addresses = [...new Map(acknowledged.map(({ conversation, user }) => [conversation, { tenant, user, conversation }])).values()]
        yield* Effect.forEach(addresses, (of) => sendTurns({ ...of, turns: [], close: true }), { concurrency: 8, discard: true })
        yield* waitUntilSearchable(addresses, (done) => progress.update(`closing: ${done} of ${addresses.length} conversations searchable`))
        const check = yield* checkStream(tenant, acknowledged, new Set(preloaded.keys()), progress.update)
        progress.end()
        return {
          ok: check.ok,
          steady,
          burst,
          memory: {
            processes,
            actorsMb: rounded(actorsMb),
            actorsProportionalMb: rounded(actorsProportionalMb),
            modelShareMb: rounded(modelMb),
            actorsWithoutModelsMb: rounded(actorsProportionalMb - withModel * modelMb),
            memoriesPreloaded: options.memories
          },
          questions: questions.length === 0 ? null : { asked: questions.length, p50Ms: rounded(percentile(questions, 0.5)), p95Ms: rounded(percentile(questions, 0.95)) },
          kills,
          check,
          seconds: secondsSince(started),
          seed: options.seed
        } satisfies StreamResult
      }).pipe(Effect.provide(logOn(url)))
    })
  )

const partRows = (name: string, part: StreamPart): ReadonlyArray<ReadonlyArray<string>> => [
  [name, `${part.acknowledged} turns acknowledged at ${part.ratePerSecond}/s in ${part.seconds} s, p50 ${part.acknowledgeP50Ms} ms, p99 ${part.acknowledgeP99Ms} ms${part.resent > 0 ? `; ${part.resent} sent again` : ""}`],
  ...(["words", "vectors"] as const).map((kind) => [`  found by ${kind} after`, `p50 ${part.lag[kind].p50Ms} ms, p95 ${part.lag[kind].p95Ms} ms, at most ${part.lag[kind].maxMs} ms (${part.lag[kind].samples} samples)`]),
  ["  behind at its end", `compressors ${part.behind.compressor}, embedders ${part.behind.embedder} signals; all searchable ${part.caughtUpSeconds} s later`]
]

export const streamTable = ({ burst, check, kills, memory, questions, seconds, steady }: StreamResult): string =>
  [
    table([
      ...partRows("steady", steady),
      ...(burst === null ? [] : partRows("burst", burst)),
      ...(questions === null ? [] : [["questions", `p50 ${questions.p50Ms} ms, p95 ${questions.p95Ms} ms with ${memory.memoriesPreloaded} memories`]])
    ]),
    table([
      ["resident MB", "start", "end", "most", "MB/h, second half", "bytes a turn", "cores"],
      ...memory.processes.map(({ bytesPerTurn, cores, endMb, maxMb, name, slopeMbPerHour, startMb }) => [name, ...[startMb, endMb, maxMb, slopeMbPerHour, bytesPerTurn, cores].map(String)])
    ]),
    `actors together ${memory.actorsMb} MB, ${memory.actorsProportionalMb} MB with shared pages counted once, of which without the models of embedders and retrievers, ${memory.modelShareMb} MB each, ${memory.actorsWithoutModelsMb} MB`,
    ...(kills.length > 0 ? [`killed: ${kills.join(", ")}`] : []),
    table(Object.entries(check).flatMap(([name, value]) => (typeof value === "object" && !Array.isArray(value) ? [[name, Object.entries(value).map(([key, count]) => `${key} ${count}`).join(", ")]] : []))),
    ...check.examples.map((example) => `  ${example}`),
    `${check.ok ? "every acknowledged turn is searchable, none twice" : "NOT every acknowledged turn is searchable once"}; ${check.acknowledged} turns, ${seconds} s`
  ].join("\n")
