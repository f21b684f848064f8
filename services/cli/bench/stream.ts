/**
 * A long stream of single turns over many conversations, through the product's own way in, with every actor in processes of its own. While
 * it runs, some turns are searched for until they are found, by their word and by their vector, and the memory of every process is
 * looked at; at the end all that was acknowledged must be found exactly once. A second, shorter part goes above what the embedders can do.
 */
import { Effect, Fiber } from "effect"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { requestSubject } from "#shared/eventlog/subjects"
import { stream } from "#shared/metamemory/random"
import * as EmbeddingModel from "#shared/model/embeddings"
import { waitUntilSearchable } from "../build.ts"
import { sendTurns } from "../ingest.ts"
import { progressLine, root, table } from "../root.ts"
import { type Growth, modelShareMb, watchGrowth } from "./growth.ts"
import { benchHome, type Draw, logOn, modelFolder, percentile, rounded, secondsSince, untilAnswers } from "./load.ts"
import { startActors } from "./stream-actors.ts"
import { checkStream, foundByWord, type StreamCheck } from "./stream-check.ts"
import { addressesOf, type OpenStream, type StreamPart, streamPart } from "./stream-part.ts"
import { preload, preloadedUser, preloadedUsers } from "./stream-preload.ts"
import { streamTurns } from "./stream-turns.ts"

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

/** Asks for the preloaded user every two seconds from now on; milliseconds that answers took. */
const askAllTheWhile = Effect.fnUntraced(function*({ acknowledged, scope, tenant }: OpenStream) {
  const questions: Array<number> = []
  const ask = Effect.gen(function*() {
    const from = performance.now()
    const [turn] = acknowledged.slice(-1)
    if (turn === undefined) return
    yield* foundByWord(tenant, { ...turn, user: preloadedUser })
    questions.push(performance.now() - from)
  })
  yield* Effect.orElseSucceed(ask, () => undefined).pipe(Effect.delay("2 seconds"), Effect.forever, Effect.forkIn(scope))
  return questions
})

/** Users with memories in the log before the stream begins, by name. */
const preloadUsers = Effect.fnUntraced(function*(memories: number, draw: Draw, { dir, progress, tenant, url }: Pick<OpenStream, "progress" | "tenant"> & { readonly dir: string; readonly url: string }) {
  const users = preloadedUsers(memories)
  const count = [...users.values()].reduce((sum, own) => sum + own, 0)
  if (users.size > 0) {
    yield* Effect.scoped(
      preload(tenant, users, draw, (done) => progress.update(`${done} of ${count} memories written`)).pipe(Effect.provide(EmbeddingModel.layer({ dir, threads: 1 })), Effect.provide(logOn(url)))
    )
  }
  return new Set(users.keys())
})

/** Waits until actors answer, what was there before is in the index, and its users are loaded. */
const untilReady = Effect.fnUntraced(function*(tenant: string, users: ReadonlySet<string>) {
  yield* untilAnswers("ingestor")
  yield* untilAnswers("retriever")
  const head = yield* (yield* EventLog).head("MEMORY")
  yield* request(requestSubject("retriever", "await"), { position: formatPosition({ log: "memory", sequence: head }), deadlineMs: 120_000 }, 125_000)
  for (const user of users) yield* request(requestSubject("retriever", "memories"), { tenant, user, limit: 1 }, 120_000)
})

export const benchStream = (options: StreamOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const bench = yield* benchHome
      const { url } = bench
      const { tenant } = yield* root
      const scope = yield* Effect.scope
      const started = performance.now()
      const progress = progressLine()
      const draw = stream("bench stream", options.seed)
      const dir = yield* modelFolder
      const modelMb = yield* modelShareMb(dir)
      const preloaded = yield* preloadUsers(options.memories, draw, { dir, progress, tenant, url })
      const actors = yield* startActors(bench, { compressor: options.compressors, embedder: options.embedders, retriever: options.retrievers })
      const acknowledged: OpenStream["acknowledged"] = []
      const watch = watchGrowth([...actors.watched, { name: "nats-server", pid: () => bench.serverPid }, { name: "bench itself", pid: () => process.pid }], () => acknowledged.length)

      return yield* Effect.gen(function*() {
        yield* untilReady(tenant, preloaded)
        const open: OpenStream = { tenant, next: streamTurns(draw, options.conversations), acknowledged, progress, scope }
        const seconds = options.minutes * 60
        const kills: Array<string> = []
        const killing = yield* Effect.gen(function*() {
          for (const actor of ["compressor", "embedder", "retriever"] as const) {
            yield* Effect.sleep((seconds * 1_000) / 4)
            yield* actors.replace(actor, (name) => kills.push(`${name} after ${Math.round((performance.now() - started) / 1_000)} s`))
          }
        }).pipe(Effect.when(Effect.succeed(options.kill)), Effect.forkIn(scope))
        watch.look()
        yield* Effect.sync(watch.look).pipe(Effect.delay(`${Math.min(lookSeconds, seconds / 8)} seconds`), Effect.forever, Effect.forkIn(scope))
        const questions = options.memories > 0 ? yield* askAllTheWhile(open) : []

        const steady = yield* streamPart(open, "steady", options.rate, seconds, Effect.andThen(Fiber.join(killing), untilAnswers("retriever")))
        watch.look()
        const processes = watch.growth()
        const burst = options.burstSeconds > 0 ? yield* streamPart(open, "above the embedders' rate", options.burstRate, options.burstSeconds) : null
        const { models, proportionalMb, residentMb } = actors.memory()
        // What is still open of each conversation is settled too, so that all of its facts are there.
        const addresses = addressesOf(open)
        yield* Effect.forEach(addresses, (of) => sendTurns({ ...of, turns: [], close: true }), { concurrency: 8, discard: true })
        yield* waitUntilSearchable(addresses, (done) => progress.update(`closing: ${done} of ${addresses.length} conversations searchable`))
        const check = yield* checkStream(tenant, acknowledged, preloaded, progress.update)
        progress.end()
        return {
          ok: check.ok,
          steady,
          burst,
          memory: {
            processes,
            actorsMb: rounded(residentMb),
            actorsProportionalMb: rounded(proportionalMb),
            modelShareMb: rounded(modelMb),
            actorsWithoutModelsMb: rounded(proportionalMb - models * modelMb),
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
