/** What commands stand on: the home folder, its server or the one named, the log, and the actors when nobody runs them yet. */
import { resolve } from "node:path"
import { type Config, Effect, Layer, Option, Schedule } from "effect"
import { Leases } from "#shared/actor/lease"
import { NobodyAnswers, request } from "#shared/actor/requests"
import type { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import type { LogUnavailable, Nats } from "#shared/eventlog/nats"
import { type ActorName, requestSubject } from "#shared/eventlog/subjects"
import { findServerBinary, homeServer, type ServerUnavailable } from "#shared/home/server"
import { settings } from "#shared/home/settings"
import { CommandFailed, root } from "./root.ts"

/** Where set-up puts things when no home is named. */
const checkoutHome = resolve(import.meta.dirname, "../../.metamem")

/** The home folder in force, absolute. */
export const homeFolder = Effect.gen(function*() {
  const flags = yield* root
  const { home } = yield* settings
  return resolve(Option.getOrElse(flags.home, () => home))
})

const serverUrl = Effect.gen(function*() {
  const flags = yield* root
  const { natsServer, natsUrl } = yield* settings
  const named = Option.orElse(flags.nats, () => natsUrl)
  if (Option.isSome(named)) return named.value
  const home = yield* homeFolder
  const binary = findServerBinary(home, Option.getOrUndefined(natsServer)) ?? findServerBinary(checkoutHome, undefined)
  const server = yield* homeServer({ home, binary })
  return server.url
})

export type LogServices = Nats | EventLog | Leases

/** Connection, log and leases on the server in force. */
export const logLayer = Layer.unwrap(
  Effect.gen(function*() {
    const url = yield* serverUrl
    const { natsReplicas } = yield* settings
    return Layer.mergeAll(JetStreamLog.layer, Leases.layer).pipe(Layer.provideMerge(NatsConnection.layer({ url, replicas: natsReplicas })))
  })
)

export type HomeError = ServerUnavailable | LogUnavailable | Config.ConfigError

/**
 * True when some process does this actor's work on the server in force: it answers requests, or pulls from its consumer.
 *
 * @param isStarted it was started here: with much before it, it may pull for nothing for minutes, but has what it works on. Elsewhere
 *   that may as well be what a process left behind that is no more
 */
const isRunning = (actor: ActorName, isStarted = false): Effect.Effect<boolean, never, Nats> =>
  Effect.gen(function*() {
    if (actor === "compressor" || actor === "embedder") {
      const { jsm } = yield* NatsConnection.Nats
      return yield* Effect.promise(() => jsm.consumers.info("MEMORY", actor).then((info) => info.num_waiting > 0 || (isStarted && info.num_ack_pending > 0), () => false))
    }
    return yield* request(requestSubject(actor, "ping"), {}, 2_000).pipe(
      Effect.as(true),
      Effect.orElseSucceed(() => false)
    )
  })

/** A line that says which actors nobody runs, and what to do; undefined where all run, or did a moment ago. */
export const idleActors = (names: ReadonlyArray<ActorName>): Effect.Effect<string | undefined, never, Nats> =>
  Effect.map(Effect.filter(names, (name) => Effect.map(isRunning(name, true), (is) => !is), { concurrency: "unbounded" }), (idle) =>
    idle.length === 0 ? undefined : `no ${idle.join(" and no ")} runs: \`metamem up\` does what waits, and what comes`)

/** Waits until an actor started in this process answers, at most 60 s: a model may have to be loaded first. */
export const untilRunning = (actor: ActorName): Effect.Effect<void, CommandFailed, Nats> =>
  isRunning(actor, true).pipe(
    Effect.filterOrFail((running) => running, () => new CommandFailed({ message: `the ${actor} did not start within 60 s; \`metamem doctor\` may say why` })),
    Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo({ times: 1_200 }))),
    Effect.asVoid
  )

/**
 * Runs a command with the log and with these actors at work: those of another process where they run, else started for as long as it takes.
 *
 * @param isAskedAtOnce see `actorsLayer`
 */
export const withActors = (names: ReadonlyArray<ActorName>, isAskedAtOnce = false) => <A, E, R>(command: Effect.Effect<A, E, R>) => {
  const once = Effect.scoped(
    Effect.gen(function*() {
      const home = yield* homeFolder
      const running = yield* Effect.forEach(names, (name) => isRunning(name), { concurrency: "unbounded" })
      const missing = names.filter((_, index) => running[index] !== true)
      if (missing.length > 0) {
        // Loaded only when needed: the models behind the actors take most of a second to import.
        const { actorsLayer } = yield* Effect.promise(() => import("#services/all"))
        yield* Layer.build(actorsLayer(home, missing, isAskedAtOnce))
        yield* Effect.forEach(missing, untilRunning, { concurrency: "unbounded", discard: true })
      }
      return yield* command
    })
  )
  // Those of another command end with it, perhaps before they answered this one.
  return once.pipe(Effect.catchIf((error) => error instanceof NobodyAnswers, () => once), Effect.provide(logLayer))
}
