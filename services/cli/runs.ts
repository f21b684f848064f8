/** What can be said of a run from the log alone: its state, its generations rebuilt event by event, its results. No model, no actor. */
import { Effect, Option, Result, Stream } from "effect"
import { foldCommits, emptyFold } from "#shared/actor/entity"
import { isSettledAnew, jobCodec, type JobSettled } from "#shared/actor/jobs"
import { canonicalJson } from "#shared/domain/canonical-json"
import type { Principle } from "#shared/domain/principle"
import type { Commit } from "#shared/eventlog/envelope"
import type { UnreadableEvent } from "#shared/eventlog/event"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { formatPosition } from "#shared/eventlog/position"
import { adoptedSubject, type JobAddress, parseResultSubject, resultFilter, runOf, runsFilter, runSubject } from "#shared/eventlog/subjects"
import { adoptionCodec } from "#shared/metamemory/events"
import { generationHash, type GateRecord } from "#shared/metamemory/generation"
import { makeCost } from "#services/reflector/analysis"
import { behaviour } from "#services/reflector/behaviour"
import { shadowAddress } from "#services/reflector/online-protocol"
import { CommandFailed } from "./root.ts"

export type RunState = ReturnType<typeof behaviour.initial>

/** A generation as its events build it, beside what was sealed. */
export interface Replayed {
  readonly run: string
  readonly generation: number
  readonly step: number
  /** Computed from the replayed principles and the gate's record. */
  readonly hash: string
  readonly sealed: { readonly hash: string; readonly principles: ReadonlyArray<Principle> }
  readonly position: string
  readonly principles: ReadonlyArray<Principle>
  /** True when hash and principles equal what was sealed, byte for byte. */
  readonly identical: boolean
}

/** Most runs a message names. */
const namedMax = 12

/** Names of a tenant's runs, in order; none where the log is not on a server that can list them. */
export const runNames = (tenant: string) =>
  Effect.gen(function*() {
    const nats = yield* Effect.serviceOption(Nats)
    const subjects = Option.isNone(nats) ? {} : (yield* attempt("list runs", () => nats.value.jsm.streams.info("METAMEM", { subjects_filter: runsFilter(tenant) }))).state.subjects ?? {}
    return Object.keys(subjects).map(runOf).sort()
  })

/** The refusal of a name that no run has. It says which runs there are. */
export const noSuchRun = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const names = yield* runNames(tenant)
    const more = names.length > namedMax ? ` and ${names.length - namedMax} more` : ""
    return new CommandFailed({
      message: `there is no run ${run === "" ? "without a name" : run}${tenant === "local" ? "" : ` of tenant ${tenant}`}; ${
        names.length === 0 ? "`metamem train --run NAME --data FILE` starts one" : `there ${names.length === 1 ? "is" : "are"} ${names.slice(0, namedMax).join(", ")}${more}`
      }`
    })
  })

/** What guides a tenant's live answers just now; undefined = nothing was ever adopted. */
export const adoptedNow = (tenant: string) =>
  Effect.gen(function*() {
    const last = yield* (yield* EventLog).last(adoptedSubject(tenant))
    const events = yield* Effect.forEach(last?.events ?? [], (stored) => Effect.fromResult(adoptionCodec.decode(stored)))
    return events.at(-1)
  })

/** Commits of a run. Fails when there is none of that name. */
export const runCommits = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const commits = yield* log.load(runSubject({ tenant, run }))
    if (commits.length === 0) return yield* yield* noSuchRun(tenant, run)
    return commits
  })

/** The run folded from its commits. Fails when there is none, or an event cannot be read. */
export const foldRun = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const folded = yield* foldCommits(behaviour, emptyFold(behaviour.initial()), yield* runCommits(tenant, run))
    return folded.state
  })

/** Rebuilds every generation from the operations and decisions before it; what was sealed is only compared with, never copied. */
export const replayAll = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const replayed: Array<Replayed> = []
    let state = behaviour.initial()
    for (const commit of yield* runCommits(tenant, run)) {
      for (const stored of commit.events) {
        const event = behaviour.codec.decode(stored)
        if (Result.isFailure(event)) return yield* event.failure
        if (event.success._tag === "GenerationSealed") {
          const { gate, generation, hash: sealedHash, principles: sealedPrinciples, step } = event.success
          const principles = state.trials.principles
          const hash = generationHash({ number: generation, principles, gate: (gate ?? []) as ReadonlyArray<GateRecord> })
          replayed.push({
            run,
            generation,
            step,
            hash,
            sealed: { hash: sealedHash, principles: sealedPrinciples },
            position: formatPosition({ log: "metamem", sequence: commit.sequence }),
            principles,
            identical: hash === sealedHash && canonicalJson(principles) === canonicalJson(sealedPrinciples)
          })
        }
        state = behaviour.evolve(state, event.success, commit)
      }
    }
    return replayed
  })

/** Number of the generation meant: the one given, else what the run recommends. Fails where none is given and the run recommends nothing. */
export const generationMeant = ({ generations, imported, recommended }: RunState, run: string, given: Option.Option<number>) => {
  if (Option.isSome(given)) return Effect.succeed(given.value)
  if (imported === undefined && recommended !== undefined) return Effect.succeed(recommended)
  const why = imported === undefined ? `${run} is not finished` : `${run} is an imported record`
  return Effect.fail(new CommandFailed({ message: `${why} and recommends nothing: say which generation with \`--generation N\`, 0 to ${generations.length - 1}` }))
}

/** One generation rebuilt. Fails when the run has none of that number. */
export const replayRun = (tenant: string, run: string, generation: number) =>
  Effect.gen(function*() {
    const all = yield* replayAll(tenant, run)
    const found = all.find((candidate) => candidate.generation === generation)
    if (found === undefined) return yield* new CommandFailed({ message: `the run ${run} has generations 0 to ${all.length - 1}, and no ${generation}` })
    return found
  })

export interface RunResult {
  readonly address: JobAddress
  readonly settled: JobSettled
}

/** The settled job that a commit holds; undefined for any other. */
export const resultOf = ({ events: [stored], subject }: Pick<Commit, "events" | "subject">): Result.Result<RunResult | undefined, UnreadableEvent> => {
  const address = parseResultSubject(subject)
  if (address === undefined || stored === undefined) return Result.succeed(undefined)
  return Result.map(jobCodec.decode(stored), (event) => (event._tag === "JobSettled" ? { address, settled: event } : undefined))
}

/** Tells every settled job of a run, in the order of the log; a run has tens of thousands, and none is kept here. */
export const eachResult = (tenant: string, run: string, tell: (result: RunResult, commit: Commit) => void) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    yield* log.read([resultFilter({ tenant, run })]).pipe(
      Stream.runForEachArray((commits) =>
        Effect.gen(function*() {
          for (const commit of commits) {
            const result = resultOf(commit)
            if (Result.isFailure(result)) return yield* result.failure
            if (result.success !== undefined) tell(result.success, commit)
          }
        })
      )
    )
  })

/** Every settled job of a run, in the order of the log; of one that was done anew the last outcome, which is the one that counts. */
export const runResults = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const results = new Map<string, RunResult>()
    yield* eachResult(tenant, run, (result) => {
      const { key, kind, step } = result.address
      results.set(`${step}/${kind}/${key}`, result)
    })
    return [...results.values()]
  })

export interface Failures {
  readonly kind: string
  readonly count: number
  /** Of the last one. */
  readonly error: string
}

/** Settled jobs that failed, by kind; not what failed first and was done anew. */
export const failuresOf = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const failures = new Map<string, Failures>()
    yield* eachResult(tenant, run, ({ address: { kind }, settled: { error, status } }, commit) => {
      const known = failures.get(kind)
      const count = (known?.count ?? 0) - (isSettledAnew(commit) ? 1 : 0)
      if (status === "failed") failures.set(kind, { kind, count: count + 1, error })
      else if (known !== undefined) failures.set(kind, { ...known, count })
    })
    return [...failures.values()].filter(({ count }) => count > 0)
  })

/**
 * What a run cost by role and step, from its results; the one count that every command shows. Last, what its shadow cost.
 *
 * @param tell is told each of its results as it passes
 */
export const costOfRun = (tenant: string, run: string, tell: (result: RunResult) => void = () => undefined) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const [own, shadow] = [makeCost(), makeCost("shadow")]
    yield* eachResult(tenant, run, (result, commit) => {
      own.add(commit)
      tell(result)
    })
    const beside = shadowAddress(tenant, run)
    // Somebody may have given that name to a run.
    if ((yield* log.last(runSubject(beside))) === undefined) yield* eachResult(beside.tenant, beside.run, (_, commit) => shadow.add(commit))
    return [...own.rows(), ...shadow.rows()]
  })
