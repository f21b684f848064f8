/** A process with some actors on a running server, started by a bench (`load.ts`): it says when they run, tells what it used, and ends with its parent. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { ConfigProvider, Effect, Layer, Logger, References } from "effect"
import { enableCompileCache } from "node:module"
import { Leases } from "#shared/actor/lease"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import type { ActorName } from "#shared/eventlog/subjects"
import { actorsLayer } from "#services/all"

export interface ActorProcessStart {
  readonly home: string
  readonly url: string
  readonly actors: ReadonlyArray<ActorName>
  /** By name, before those of the environment. */
  readonly settings: Readonly<Record<string, string>>
}

export interface ActorUsage {
  /** Processor time since the process began. */
  readonly cpuMs: number
  readonly rssMb: number
}

if (import.meta.main) {
  // As a process of actors does wherever it is started.
  enableCompileCache()
  const { actors, home, settings, url } = JSON.parse(process.argv[2] ?? "") as ActorProcessStart
  const log = Layer.mergeAll(JetStreamLog.layer, Leases.layer).pipe(Layer.provideMerge(NatsConnection.layer({ url })))
  const untilParentLeaves = Effect.callback<void>((resume) => {
    process.once("disconnect", () => resume(Effect.void))
    process.on("message", () => {
      const { system, user } = process.cpuUsage()
      process.send?.({ kind: "usage", value: { cpuMs: (system + user) / 1_000, rssMb: Math.round(process.memoryUsage.rss() / 1e5) / 10 } satisfies ActorUsage })
    })
    process.send?.({ kind: "ready", value: null })
  })
  untilParentLeaves.pipe(
    Effect.provide(Layer.provide(actorsLayer(home, actors), log)),
    Effect.provide(ConfigProvider.layer(ConfigProvider.orElse(ConfigProvider.fromUnknown(settings), ConfigProvider.fromEnv()))),
    Effect.provide(Layer.mergeAll(Logger.layer([Logger.withConsoleError(Logger.formatSimple)]), Layer.succeed(References.MinimumLogLevel, "Warn"))),
    NodeRuntime.runMain
  )
}
