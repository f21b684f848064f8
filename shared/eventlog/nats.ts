/**
 * The connection to NATS and the streams on it. Everything that speaks JetStream takes this service; the server behind it is
 * started, adopted or named elsewhere. Translates the client's errors, by code, into `LogUnavailable`.
 */
import { JetStreamApiError, JetStreamError, jetstream, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream"
import type { JetStreamClient, JetStreamManager, StreamConfig } from "@nats-io/jetstream"
import { connect, errors } from "@nats-io/transport-node"
import type { NatsConnection } from "@nats-io/transport-node"
import { Context, Effect, Layer, Schema, Semaphore } from "effect"

/** The log cannot be reached or refused to answer; nothing was decided on partial knowledge. */
export class LogUnavailable extends Schema.TaggedError<LogUnavailable>()("LogUnavailable", {
  operation: Schema.String,
  message: Schema.String
}) {}

export class Nats extends Context.Service<Nats, {
  readonly nc: NatsConnection
  readonly js: JetStreamClient
  readonly jsm: JetStreamManager
  readonly url: string
}>()("metamem/eventlog/Nats") {}

/** Largest message, and so the largest commit: 8 MiB, set on the server too. */
export const maxMessageBytes = 8 * 1024 * 1024

const seconds = (n: number): number => n * 1_000_000_000

/** The streams, design of each in the decision records. Replicas: 1 on a single server, 3 on a cluster. */
export const streams = (replicas: number): ReadonlyArray<Partial<StreamConfig> & { readonly name: string; readonly subjects: Array<string> }> => [
  { name: "MEMORY", subjects: ["memory.>"], num_replicas: replicas, allow_direct: true, max_msg_size: maxMessageBytes, duplicate_window: seconds(120) },
  { name: "METAMEM", subjects: ["metamem.>"], num_replicas: replicas, allow_direct: true, max_msg_size: maxMessageBytes, duplicate_window: seconds(120) },
  { name: "CALLS", subjects: ["calls.>"], num_replicas: replicas, allow_direct: true, max_msg_size: maxMessageBytes, duplicate_window: seconds(120) },
  { name: "WORK", subjects: ["work.>"], num_replicas: replicas, allow_direct: true, max_age: seconds(7 * 86_400), duplicate_window: seconds(120) },
  { name: "DEAD", subjects: ["dead.>"], num_replicas: replicas, allow_direct: true },
  {
    name: "LEASE",
    subjects: ["lease.>"],
    num_replicas: replicas,
    storage: StorageType.Memory,
    max_msgs_per_subject: 1,
    allow_direct: false,
    allow_msg_ttl: true,
    max_age: seconds(120)
  }
]

/** Creates the streams that are missing; those that exist stay as they are. */
export const ensureStreams = (jsm: JetStreamManager, replicas = 1): Effect.Effect<void, LogUnavailable> =>
  Effect.forEach(
    streams(replicas),
    (config) =>
      attempt(`create stream ${config.name}`, async () => {
        try {
          await jsm.streams.info(config.name)
        } catch (error) {
          if (!(error instanceof JetStreamApiError) || error.code !== 10059) throw error
          await jsm.streams.add({ retention: RetentionPolicy.Limits, storage: StorageType.File, ...config }).catch((raced) => {
            if (!(raced instanceof JetStreamApiError) || raced.code !== 10058) throw raced
          })
        }
      }),
    { discard: true }
  )

/** Error codes of a server that cannot store: its limit is reached, or the disk refuses. */
const storeRefusals = [10023, 10047, 10077]

/** Why the server did not do something, in words; where it has no room left, with what to do about it. */
export const reasonOf = (error: unknown): string => {
  const message = error instanceof Error ? error.message : String(error)
  return error instanceof JetStreamApiError && storeRefusals.includes(error.code)
    ? `${message}. The log's disk is full, or nats-server's max_file_store is reached. Nothing acknowledged is lost: make room, start the server again, and repeat the command; work that waits goes on by itself.`
    : message
}

/** Runs one client operation; any failure becomes `LogUnavailable` that names it. */
export const attempt = <A>(operation: string, run: () => Promise<A>): Effect.Effect<A, LogUnavailable> =>
  Effect.tryPromise({
    try: run,
    catch: (error) => new LogUnavailable({ operation, message: `${operation}: ${reasonOf(error)}` })
  })

/** Like {@link attempt}, for operations that may be repeated: while the failure is a passing one, up to four times in all. */
export const attemptRead = <A>(operation: string, run: () => Promise<A>): Effect.Effect<A, LogUnavailable> =>
  attempt(operation, async () => {
    for (let tries = 1;; tries++) {
      try {
        return await run()
      } catch (error) {
        if (tries === 4 || !isPassing(error)) throw error
        await new Promise((done) => setTimeout(done, 200 * 2 ** tries))
      }
    }
  })

/** True for failures that pass by themselves: a leader change, a server restart, a publication still in process. Retry with the same message id. */
export const isPassing = (error: unknown): boolean =>
  error instanceof errors.TimeoutError ||
  error instanceof errors.NoRespondersError ||
  error instanceof errors.RequestError ||
  error instanceof errors.ConnectionError ||
  (error instanceof Error && error.name === "JetStreamNotEnabled") ||
  (error instanceof JetStreamApiError && [10158, 10008, 10039, 10074, 10077].includes(error.code)) ||
  (error instanceof JetStreamError && !(error instanceof JetStreamApiError) && /timeout/i.test(error.name))

/** API error code, or undefined when it is not one. 10071 = the expected last sequence is not the last. */
export const apiCode = (error: unknown): number | undefined => (error instanceof JetStreamApiError ? error.code : undefined)

const oldest = [2, 12] as const

/**
 * Connects and makes sure of the streams. Reconnects for ever; calls in between fail with `LogUnavailable` after their own time limit.
 * Fails when the server is older than 2.12 or has no JetStream.
 */
export const layer = (options: { readonly url: string; readonly replicas?: number }): Layer.Layer<Nats, LogUnavailable> =>
  Layer.effect(
    Nats,
    Effect.gen(function*() {
      const nc = yield* Effect.acquireRelease(
        attempt(`connect to NATS at ${options.url}`, () =>
          connect({ servers: options.url.split(",").map((url) => url.trim()), maxReconnectAttempts: -1, reconnectTimeWait: 200, timeout: 5_000, name: "metamem", noAsyncTraces: true })
        ),
        (nc) => Effect.promise(() => nc.close().catch(() => undefined))
      )
      const version = (nc.info?.version ?? "0.0").split(".").map(Number)
      if ((version[0] ?? 0) < oldest[0] || ((version[0] ?? 0) === oldest[0] && (version[1] ?? 0) < oldest[1])) {
        return yield* new LogUnavailable({
          operation: "connect",
          message: `nats-server ${nc.info?.version} is too old: metamem needs ${oldest.join(".")} or newer. Run \`npm run setup\` or point METAMEM_NATS_URL at a newer server.`
        })
      }
      const jsm = yield* attempt("open JetStream", () => jetstreamManager(nc, { timeout: 5_000 }))
      yield* ensureStreams(jsm, options.replicas ?? 1)
      return Nats.of({ nc, js: jetstream(nc, { timeout: 5_000 }), jsm, url: options.url })
    })
  )

/** One call at a time per key, for effects that must not overlap in this process. */
export const keyedLock = (): (<A, E, R>(key: string, effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) => {
  const locks = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()
  return (key, effect) =>
    Effect.suspend(() => {
      const lock = locks.get(key) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
      locks.set(key, lock)
      lock.users += 1
      return lock.semaphore.withPermits(1)(effect).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            lock.users -= 1
            if (lock.users === 0) locks.delete(key)
          })
        )
      )
    })
}
