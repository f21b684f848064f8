/**
 * The reflector: opens runs and drives them to their end, studies attempts, and adopts generations. Every process drives what nobody
 * else holds; a run whose driver died is taken over within seconds.
 */
import { hostname } from "node:os"
import { Config, Effect, FiberMap, Layer, Schedule, Schema } from "effect"
import { makeEntity } from "#shared/actor/entity"
import { outageMs, runJobs } from "#shared/actor/jobs"
import { Leases, whileHeld } from "#shared/actor/lease"
import { serve } from "#shared/actor/requests"
import { onErasure } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { decodeToken, leaseSubject, type RunAddress } from "#shared/eventlog/subjects"
import { Positive } from "#shared/home/setting-values"
import { makeQuestions } from "#shared/metamemory/questions"
import type { CallStore } from "#shared/model/call-store"
import { Models } from "#shared/model/models"
import type { Role } from "#shared/model/roles"
import { adoption } from "./adoption.ts"
import { behaviour } from "./behaviour.ts"
import { drive, type Progress } from "./driver.ts"
import { makeMaterial } from "./material.ts"
import { OnlineRequest, OnlineSwitchRequest } from "./online-protocol.ts"
import { runOnline } from "./online.ts"
import type { ReflectorKind } from "./parameters.ts"
import { AdoptRequest, CompareRequest, ImportRequest, OpenRequest, RecordRequest, ReportRequest, RetryRequest, StatusRequest, TestRequest, WhatIfRequest } from "./protocol.ts"
import { makeRunRequests } from "./run-requests.ts"
import { consolidate, propose, reflect } from "./workers.ts"

export const settings = Config.all({
  /** Who reflects and proposes: `auto` = the model where an endpoint is set, else rules. */
  reflector: Config.Literals(["auto", "rules", "model", "both"], "METAMEM_REFLECTOR").pipe(Config.withDefault("auto" as const)),
  /** Who judges where a run does not say; the evaluator's own setting, read here so that a run can name it. */
  judge: Config.Literals(["auto", "lexical", "model"], "METAMEM_JUDGE").pipe(Config.withDefault("auto" as const)),
  /** With which prompt rollouts are answered; the retriever's own setting, read here so that a run can name it. */
  answerPrompts: Config.Literals(["auto", "small", "large"], "METAMEM_ANSWER_PROMPTS").pipe(Config.withDefault("auto" as const)),
  /** Tries of a reflection, proposal or consolidation before it is settled as failed. */
  maxAttempts: Config.schema(Positive, "METAMEM_REFLECTION_ATTEMPTS").pipe(Config.withDefault(3)),
  heldMaxMs: outageMs,
  /** Runs driven at once in this process. */
  runs: Config.schema(Positive, "METAMEM_REFLECTOR_RUNS").pipe(Config.withDefault(8)),
  /** Reflections and proposals by rule at once in this process. */
  ruleConcurrency: Config.schema(Positive, "METAMEM_REFLECTOR_RULE_CONCURRENCY").pipe(Config.withDefault(8)),
  /** Seconds between two looks for runs that nobody drives. */
  scanSeconds: Config.schema(Positive, "METAMEM_REFLECTOR_SCAN_SECONDS").pipe(Config.withDefault(5))
})

/** All runs of all tenants. */
const anyRun = "metamem.*.*.reflector"
const runOf = (subject: string): RunAddress => {
  const [, tenant = "", run = ""] = subject.split(".").map(decodeToken)
  return { tenant, run }
}

/** Runs until the scope closes. */
export const layer: Layer.Layer<never, Config.ConfigError, EventLog | Nats | Leases | Models | CallStore> = Layer.effectDiscard(
  Effect.gen(function*() {
    const set = yield* settings
    const log = yield* EventLog
    const nats = yield* Nats
    const leases = yield* Leases
    const models = yield* Models
    const questions = yield* makeQuestions
    const material = yield* makeMaterial
    yield* onErasure((erased) => {
      questions.forget(erased)
      material.forget(erased)
    })
    const runs = yield* makeEntity(behaviour, 64)
    const adoptions = yield* makeEntity(adoption, 1_000)
    const drivers = yield* FiberMap.make<string>()
    const progress = new Map<string, Progress>()
    const over = new Set<string>()

    const isRemote = (role: Role): boolean => models.casting(role)?.isLocal === false
    const judge = set.judge === "auto" ? (isRemote("judge") ? "model" : "lexical") : set.judge
    const reflector: ReflectorKind = set.reflector === "auto" ? (isRemote("reflect") ? "model" : "rules") : set.reflector

    /** Holds the run's lease and drives it; ends when it is over, held elsewhere, or lost. */
    const hold = (subject: string) => {
      const address = runOf(subject)
      const driving = Effect.gen(function*() {
        const own: Progress = { done: 0, expected: 0, failed: 0 }
        progress.set(subject, own)
        const outcome = yield* drive(runs, address, own).pipe(Effect.provideService(EventLog, log), Effect.provideService(Nats, nats))
        if (outcome === "finished" || outcome === "other version") over.add(subject)
        if (outcome === "other version") yield* Effect.logWarning(`the run ${address.run} was opened under other rules than this version's; it is read and replayed, and not continued`)
      })
      return whileHeld(leases, leaseSubject("reflector", `${address.tenant}/${address.run}`), Effect.ensuring(driving, Effect.sync(() => progress.delete(subject)))).pipe(
        Effect.catch((error) => Effect.logWarning(`the run ${address.run} stands still: ${error.message}`)),
        Effect.catchDefect((defect) => Effect.logError(`the driver of run ${address.run} broke; another try follows`, defect))
      )
    }

    const pickUp = (subject: string) =>
      Effect.gen(function*() {
        if (over.has(subject) || (yield* FiberMap.size(drivers)) >= set.runs) return
        yield* FiberMap.run(drivers, subject, hold(subject), { onlyIfMissing: true })
      })

    const scan = Effect.gen(function*() {
      const { state } = yield* attempt("list runs", () => nats.jsm.streams.info("METAMEM", { subjects_filter: anyRun }))
      for (const subject of Object.keys(state.subjects ?? {})) {
        if (over.has(subject) || (yield* FiberMap.has(drivers, subject))) continue
        const last = yield* log.last(subject)
        if (last?.events.some(({ type }) => type === "RunFinished")) over.add(subject)
        else yield* pickUp(subject)
      }
    }).pipe(Effect.catch((error) => Effect.logDebug(`could not look for runs: ${error.message}`)))
    yield* scan.pipe(Effect.repeat(Schedule.spaced(set.scanSeconds * 1_000)), Effect.forkScoped)

    const worker = { actor: "reflector", maxAttempts: set.maxAttempts, heldMaxMs: set.heldMaxMs, worker: `${hostname()}:${process.pid}` } as const
    const concurrency = (role: Role): number => (reflector === "rules" ? set.ruleConcurrency : (models.casting(role)?.concurrency ?? set.ruleConcurrency))
    const jobs = [
      { ...worker, kind: "reflection", concurrency: concurrency("reflect"), run: reflect(material) },
      { ...worker, kind: "proposal", concurrency: concurrency("propose"), run: propose(material) },
      { ...worker, kind: "consolidation", concurrency: 2, run: consolidate(material) }
    ]
    for (const one of jobs) yield* runJobs(one).pipe(Effect.retry(Schedule.spaced("1 second")), Effect.forkScoped)

    const isSmallPrompt = set.answerPrompts === "small" || (set.answerPrompts === "auto" && models.casting("answer")?.isLocal === true)
    const requests = makeRunRequests({ adoptions, by: { judge, reflector }, isSmallPrompt, log, models, pickUp, progress, questions, runs })

    const online = yield* runOnline({
      runs, adoptions, material, open: requests.open, isOnByDefault: judge === "model" && isRemote("judge"), isRemote: isRemote("answer"), lookSeconds: set.scanSeconds
    })

    const answer = <A>(verb: string, schema: Schema.Codec<A, unknown>, handle: (request: A) => Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>) =>
      serve({ actor: "reflector", verb, schema, concurrency: 16, handle })
    yield* answer("ping", Schema.Unknown, () => Effect.succeed({ reflector, judge }))
    yield* answer("open", OpenRequest, requests.open)
    yield* answer("status", StatusRequest, requests.status)
    yield* answer("adopt", AdoptRequest, requests.adopt)
    yield* answer("import", ImportRequest, requests.take)
    yield* answer("record", RecordRequest, requests.record)
    yield* answer("retry", RetryRequest, requests.retry)
    yield* answer("test", TestRequest, requests.openTest)
    yield* answer("report", ReportRequest, requests.reportTest)
    yield* answer("whatif", WhatIfRequest, requests.recordWhatIf)
    yield* answer("compare", CompareRequest, requests.compare)
    yield* answer("online", OnlineRequest, ({ tenant }) => online.status(tenant))
    yield* answer("online-switch", OnlineSwitchRequest, ({ on, tenant }) => online.switchTo(tenant, on))
  })
)
