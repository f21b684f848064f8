/** One actor as a process of its own: connects to the server that METAMEM_NATS_URL names, or the home's, and runs until it is told to end. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Logger, Option } from "effect"
import { enableCompileCache } from "node:module"
import { resolve } from "node:path"
import { Leases } from "#shared/actor/lease"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import type { ActorName } from "#shared/eventlog/subjects"
import { takeActorStart } from "#shared/home/actor-flags"
import { findServerBinary, homeServer } from "#shared/home/server"
import { settings } from "#shared/home/settings"
import { settingInWords } from "#shared/home/wrong-settings"

/** Never returns: the process ends with code 0 on SIGTERM or SIGINT, and with 1 when it cannot start. */
export const runActor = (name: ActorName): void => {
  takeActorStart()
  enableCompileCache()
  Effect.gen(function*() {
    const { actorsLayer } = yield* Effect.promise(() => import("./all.ts"))
    const { home: given, natsReplicas, natsServer, natsUrl } = yield* settings
    const home = resolve(given)
    const url = Option.isSome(natsUrl) ? natsUrl.value : (yield* homeServer({ home, binary: findServerBinary(home, Option.getOrUndefined(natsServer)) })).url
    const base = Layer.mergeAll(JetStreamLog.layer, Leases.layer).pipe(Layer.provideMerge(NatsConnection.layer({ url, replicas: natsReplicas })))
    yield* Layer.build(actorsLayer(home, [name]).pipe(Layer.provide(base)))
    yield* Effect.logInfo(`${name} running on ${url}`)
    return yield* Effect.never
  }).pipe(Effect.scoped, Effect.mapError((error) => settingInWords(error)), Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])), NodeRuntime.runMain)
}
