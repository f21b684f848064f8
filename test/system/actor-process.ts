/**
 * Actors as a process of their own that tells what it does: `node actor-process.ts ACTOR[,ACTOR…] URL HOME` prints `running`, then
 * `did SUBJECT` for every commit that is its own. For tests that kill processes and ask who did what.
 */
import { Effect, Layer } from "effect"
import { Leases } from "#shared/actor/lease"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import type { ActorName } from "#shared/eventlog/subjects"
import { actorsLayer } from "#services/all"

const [actors = "", url = "", home = ""] = process.argv.slice(2)

const telling = Layer.effect(
  EventLog,
  Effect.map(EventLog, (log) =>
    EventLog.of({
      ...log,
      append: (draft, expected, checksum) =>
        log.append(draft, expected, checksum).pipe(Effect.tap(({ already }) => Effect.sync(() => void (already || process.stdout.write(`did ${draft.subject}\n`)))))
    }))
).pipe(Layer.provide(JetStreamLog.layer))

await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function*() {
      const base = Layer.mergeAll(telling, Leases.layer).pipe(Layer.provideMerge(NatsConnection.layer({ url })))
      yield* Layer.build(actorsLayer(home, actors.split(",") as ReadonlyArray<ActorName>).pipe(Layer.provide(base)))
      process.stdout.write("running\n")
      return yield* Effect.never
    })
  )
)
