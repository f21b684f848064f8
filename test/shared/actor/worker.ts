/**
 * A worker as a process of its own, to be killed and stopped by tests: `node worker.ts URL NAME (signals|jobs) SLOW_MS`.
 * Says `working SUBJECT` on stdout when it is between reading and committing.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer } from "effect"
import { runJobs } from "#shared/actor/jobs"
import { Leases } from "#shared/actor/lease"
import { runSignals } from "#shared/actor/signals"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import { tallyWorker } from "./tally.ts"

const [url = "", name = "", kind = "", slowMs = "0"] = process.argv.slice(2)
const slow = (subject: string) =>
  Effect.andThen(Effect.sync(() => process.stdout.write(`working ${subject}\n`)), Effect.sleep(Number(slowMs)))

const work = kind === "jobs"
  ? runJobs({ actor: "evaluator", kind: "judgement", concurrency: 2, maxAttempts: 3, heldMaxMs: 60_000, worker: name, run: (job) => Effect.as(slow(job.key), { by: name }) })
  : Effect.flatMap(tallyWorker(name, 4, slow), (worker) => runSignals(worker))

work.pipe(
  Effect.provide(Layer.provideMerge(Layer.merge(JetStreamLog.layer, Leases.layer), NatsConnection.layer({ url }))),
  NodeRuntime.runMain
)
