/** A shadow under way: its results as they come, and its jobs published until each has one. */
import { Clock, Effect, Stream } from "effect"
import type { EntityError } from "#shared/actor/entity"
import { isIdle, publishJobs, unpublished } from "#shared/actor/jobs"
import { request } from "#shared/actor/requests"
import type { Question } from "#shared/domain/question"
import type { EventLog } from "#shared/eventlog/event-log"
import { type ActorName, requestSubject, resultFilter } from "#shared/eventlog/subjects"
import { readResult } from "./driver.ts"
import type { OnlineState } from "./online-behaviour.ts"
import type { Following } from "./online-following.ts"
import { shadowAddress } from "./online-protocol.ts"
import { shadowed, shadowJobs, shadowPairs } from "./online-shadow.ts"
import { startOf } from "./parameters.ts"
import type { JobResult } from "./protocol.ts"
import { resultKey, type RunJob, workerOf } from "./stages.ts"
import type { RunState } from "./state.ts"

/** Without an outcome for this long, a job of a shadow is published again where no worker has or gets it. */
const againMs = 60_000

export type ShadowPhase = Extract<OnlineState["phase"], { _tag: "Shadow" }>

/** Makes live questions known to the evaluator, which judges answers to them. */
export const registerLive = (tenant: string, questions: ReadonlyArray<Question>) => request(requestSubject("evaluator", "register"), { tenant, questions }, 30_000)

export interface ShadowsParts {
  readonly log: EventLog["Service"]
  readonly following: Pick<Following, "of">
  readonly runState: (tenant: string, run: string) => Effect.Effect<RunState, EntityError>
}

export const makeShadows = ({ following, log, runState }: ShadowsParts) => {
  /** Results of the shadow under way, by tenant, and when its jobs were published here. */
  const underWay = new Map<string, { readonly run: string; readonly results: Map<string, JobResult>; seen: number; readonly published: Map<string, number> }>()
  const at = Effect.fnUntraced(function*(tenant: string, phase: ShadowPhase) {
    const { generations, parameters } = yield* runState(tenant, phase.run)
    if (parameters === undefined) return yield* Effect.die(new Error(`the run ${phase.run} is in shadow and was never opened`))
    const address = shadowAddress(tenant, phase.run)
    const known = underWay.get(tenant)
    const kept = known?.run === phase.run ? known : { run: phase.run, results: new Map<string, JobResult>(), seen: 0, published: new Map<string, number>() }
    underWay.set(tenant, kept)
    yield* log.read([resultFilter(address)], { after: kept.seen }).pipe(Stream.runForEach((commit) => Effect.sync(() => {
      kept.seen = commit.sequence
      const read = readResult(commit)
      if (read !== undefined) kept.results.set(resultKey(read.result.kind, read.result.key), read.result)
    })))
    const items = shadowed(following.of(tenant), phase)
    const shadow = { address, parameters, incumbent: startOf(parameters), candidate: generations.find(({ number }) => number === phase.generation)?.principles ?? [] }
    return { kept, items, jobs: shadowJobs(shadow, items, kept.results), pairs: shadowPairs(shadow, items, kept.results) }
  })

  /** Publishes what has no outcome: at once what is new, after a while what was published before. */
  const publishDue = Effect.fnUntraced(function*(tenant: string, phase: ShadowPhase) {
    const { items, jobs, kept, pairs } = yield* at(tenant, phase)
    const now = yield* Clock.currentTimeMillis
    const waitedMs = ({ key, kind }: RunJob): number => now - (kept.published.get(resultKey(kind, key)) ?? 0)
    const isNew = ({ key, kind }: RunJob): boolean => !kept.published.has(resultKey(kind, key))
    const late = new Set(jobs.filter((job) => !isNew(job) && waitedMs(job) > againMs).map(({ kind }) => kind))
    const idle = new Set(yield* Effect.filter(late, (kind) => isIdle(workerOf[kind], kind)))
    // One that a worker has or gets is not paid for twice; what keeps a queue busy may be other work, so at last it is published in any case.
    const due = jobs.filter((job) => isNew(job) || waitedMs(job) > againMs * (idle.has(job.kind) ? 1 : 8))
    const asked = new Set(due.flatMap(({ input, kind }) => (kind === "rollout" ? [input.question.id] : [])))
    if (asked.size > 0) yield* registerLive(tenant, items.flatMap(({ question }) => (asked.has(question.id) ? [question] : [])))
    for (const [actor, own] of Map.groupBy(due, ({ kind }): ActorName => workerOf[kind])) {
      // Who looked before may have published it.
      yield* publishJobs(actor, yield* unpublished(actor, own.filter(isNew)), 0)
      yield* publishJobs(actor, own.filter((job) => !isNew(job)), now)
    }
    for (const { key, kind } of due) kept.published.set(resultKey(kind, key), now)
    return { now, pairs }
  })

  return { at, publishDue }
}
