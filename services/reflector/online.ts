/**
 * Evolution from live feedback, driven: follows what people say of answers, opens runs from batches of it, lets candidates answer in
 * shadow, and adopts and rolls back what `online-behaviour.ts` decides. One process at a time looks after a tenant.
 */
import { Clock, Config, Effect, Schedule, Schema, Stream } from "effect"
import { type Folded, makeEntity } from "#shared/actor/entity"
import { heldJobs } from "#shared/actor/jobs"
import { Leases, whileHeld } from "#shared/actor/lease"
import type { GenerationRef } from "#shared/domain/evidence"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { adoptedSubject, decodeToken, leaseSubject, onlineSubject, runSubject } from "#shared/eventlog/subjects"
import { wholeNumber } from "#shared/metamemory/random"
import type { Runs } from "./driver.ts"
import type { Material } from "./material.ts"
import { isOpenForRun, onlineBehaviour, type OnlineCommand, onlineRun, type OnlineState } from "./online-behaviour.ts"
import { batchOf, conversationsOf, type Feedback, offered, type RunTook, usedUp } from "./online-feedback.ts"
import { makeFollowing } from "./online-following.ts"
import { cameToNothingByErrors, onlineRequest, questionsOf, triedBy } from "./online-run.ts"
import { makeShadows, registerLive, type ShadowPhase } from "./online-shadowing.ts"
import { onlineStatusOf } from "./online-status.ts"
import { guidedBy, onlineLine } from "./online-words.ts"
import { algorithmVersion, type RunParameters, startOf } from "./parameters.ts"
import type { OpenRequest } from "./protocol.ts"
import type { Adoptions } from "./run-requests.ts"
import { statusOf } from "./status.ts"

/** Without any, a shadow would stand in the way of the next run until its time is over. */
const Share = Schema.FiniteFromString.check(Schema.isBetween({ minimum: 0.01, maximum: 1 }))

export const settings = Config.all({
  /** Share of live answers with a reference that a candidate answers in shadow, 0.01 to 1. */
  shadowShare: Config.schema(Share, "METAMEM_ONLINE_SHADOW_SHARE").pipe(Config.withDefault(0.2))
})

/** How long it is believed that jobs of a kind wait; while they do it is said again and again. */
const heldMs = 40_000
/** Names looked through for one that no other run has. */
const namesMax = 1_000

export interface OnlineParts {
  readonly runs: Runs
  readonly adoptions: Adoptions
  readonly material: Material
  readonly open: (request: OpenRequest) => Effect.Effect<unknown, { readonly message: string }>
  /** In force where nobody switched it on or off. */
  readonly isOnByDefault: boolean
  /** Whether the reader is a model elsewhere, which sizes runs as the published system's. */
  readonly isRemote: boolean
  readonly lookSeconds: number
}

/** Looks after all tenants until the scope closes. */
export const runOnline = (parts: OnlineParts) =>
  Effect.gen(function*() {
    const { adoptions, material, runs } = parts
    const { shadowShare } = yield* settings
    const log = yield* EventLog
    const nats = yield* Nats
    const leases = yield* Leases
    const entities = yield* makeEntity(onlineBehaviour, 1_000)
    const following = yield* makeFollowing(material)

    /** What was last heard of jobs that wait, by kind. */
    const holds = new Map<string, { readonly message: string; readonly at: number }>()
    yield* heldJobs.pipe(
      Stream.runForEach(({ kind, message }) => Effect.map(Clock.currentTimeMillis, (at) => void holds.set(kind, { message, at }))),
      Effect.forkScoped
    )

    const isOn = ({ on }: OnlineState): boolean => on ?? parts.isOnByDefault

    const inForce = Effect.fnUntraced(function*(tenant: string) {
      const { state: { adopted }, sequence } = yield* adoptions.load(adoptedSubject(tenant))
      const ref: GenerationRef = adopted === undefined ? { run: "", generation: 0 } : { run: adopted.run, generation: adopted.generation }
      return { ref, sequence, principles: adopted?.principles ?? [] }
    })
    const runState = (tenant: string, run: string) => Effect.map(runs.load(runSubject({ tenant, run })), ({ state }) => state)
    const shadows = makeShadows({ log, following, runState })

    /** What the last runs of each tenant took; that of one that is over never changes. */
    const taken = new Map<string, ReadonlyMap<string, RunTook>>()
    const freshOf = Effect.fnUntraced(function*(tenant: string, state: OnlineState) {
      const known = taken.get(tenant)
      const ofRuns = new Map<string, RunTook>()
      const over = new Map<string, RunTook>()
      for (const { run } of state.runs) {
        const own = known?.get(run)
        const of = own === undefined ? yield* runState(tenant, run) : undefined
        const took = own ?? { ids: new Set(questionsOf(of?.parameters).map(({ id }) => id)), isVoid: of !== undefined && cameToNothingByErrors(of) }
        ofRuns.set(run, took)
        if (own !== undefined || of?.phase._tag === "Finished") over.set(run, took)
      }
      taken.set(tenant, over)
      return offered(following.of(tenant), state.closed, usedUp([...ofRuns.values()]))
    })

    const decide = Effect.fnUntraced(function*(tenant: string, { sequence }: Folded<OnlineState>, command: OnlineCommand) {
      const { events, folded } = yield* entities.execute(onlineSubject(tenant), command, { cause: `${command._tag} after ${sequence}` })
      for (const event of events) yield* Effect.logInfo(`${tenant}: ${onlineLine(event)}`)
      return folded
    })

    /** Carries out the adoption that was decided, unless somebody adopted something since. */
    const adoptDue = Effect.fnUntraced(function*(tenant: string, { due, lastOutcome }: OnlineState) {
      if (due === undefined) return
      const { after, to } = due
      const found = (yield* runState(tenant, to.run)).generations.find(({ number }) => number === to.generation)
      if (found === undefined) return yield* Effect.logWarning(`generation ${to.generation} of ${to.run} was to be adopted and is not in the log`)
      const { fresh } = yield* adoptions.execute(
        adoptedSubject(tenant),
        { _tag: "Adopt", event: { _tag: "GenerationAdopted", run: to.run, generation: to.generation, hash: found.hash, principles: found.principles }, after },
        { cause: `online ${to.run}/${to.generation} after ${after}`, correlation: to.run }
      )
      // Nobody asked for it just now, so it is said where warnings are.
      if (fresh) yield* Effect.logWarning(`live answers of ${tenant} are from here on guided by ${guidedBy(to, found.principles.length)} (${lastOutcome ?? "decided before"})`)
    })

    /** Feedback that a run took its questions from. */
    const feedbackIn = (tenant: string, parameters: RunParameters | undefined): ReadonlyArray<Feedback> => {
      const ids = new Set(questionsOf(parameters).map(({ id }) => id))
      return following.of(tenant).filter(({ question }) => question !== undefined && ids.has(question.id))
    }

    /**
     * The next name for a run, and whether such a run was opened and not recorded, by a process that ended in between. One that was brought
     * here from elsewhere rests on nobody's feedback here, and its name is passed over.
     */
    const nextName = Effect.fnUntraced(function*(tenant: string, { number }: OnlineState) {
      for (let next = number + 1; next <= number + namesMax; next++) {
        const { generations, parameters } = yield* runState(tenant, onlineRun(next))
        if (generations.length === 0) return { number: next, isOpened: false }
        if (parameters?.preset === "online" && feedbackIn(tenant, parameters).length > 0) return { number: next, isOpened: true }
      }
      return yield* Effect.die(new Error(`${namesMax} runs have the names that online runs would have`))
    })

    const collect = Effect.fnUntraced(function*(tenant: string, folded: Folded<OnlineState>) {
      if (!isOpenForRun(folded.state)) return folded
      const { isOpened, number } = yield* nextName(tenant, folded.state)
      const run = onlineRun(number)
      const seed = wholeNumber(2 ** 31, "online", tenant, number)
      const seen = following.through()
      if (!isOpened) {
        const batch = batchOf(yield* freshOf(tenant, folded.state), String(seed))
        if (batch._tag === "Short") return folded
        const { principles, ref } = yield* inForce(tenant)
        const from = ref.run === "" ? undefined : yield* runState(tenant, ref.run)
        const step = from === undefined ? 0 : Math.max(from.generations.find(({ number }) => number === ref.generation)?.step ?? 0, from.parameters?.branch?.step ?? 0, 0)
        const branch = from === undefined ? undefined : { ...ref, step, change: "live feedback", principles, memoryPosition: seen }
        const wanted = onlineRequest(batch, { seed, isRemote: parts.isRemote, branch })
        if (wanted === undefined) return folded
        yield* registerLive(tenant, [...batch.train, ...batch.validation, ...batch.guard])
        yield* parts.open({ tenant, run, request: wanted })
      }
      // Recorded as the run says it was opened, so that it is the same whoever gets this far.
      const { parameters } = yield* runState(tenant, run)
      if (parameters === undefined) return folded
      const questions = questionsOf(parameters)
      const own = feedbackIn(tenant, parameters)
      const { branch } = parameters
      return yield* decide(tenant, folded, {
        _tag: "TakeRun",
        run,
        from: branch === undefined ? { run: "", generation: 0 } : { run: branch.run, generation: branch.generation },
        through: own.reduce((last, { sequence }) => Math.max(last, sequence), folded.state.through),
        questions: questions.length,
        conversations: conversationsOf(own),
        users: new Set(questions.map(({ user }) => user)).size
      })
    })

    const endRun = Effect.fnUntraced(function*(tenant: string, folded: Folded<OnlineState>, run: string) {
      const state = yield* runState(tenant, run)
      const { generations, parameters, phase, recommended = 0 } = state
      const isStale = parameters !== undefined && parameters.algorithm !== algorithmVersion
      if (phase._tag !== "Finished" && !isStale) return folded
      const number = phase._tag === "Finished" ? recommended : 0
      const found = generations.find((one) => one.number === number)
      const { ref, sequence } = yield* inForce(tenant)
      return yield* decide(tenant, folded, {
        _tag: "EndRun", run, recommended: number,
        ...(phase._tag === "Finished" ? { tried: triedBy(state) } : { stopped: "it was opened under other rules than this version's and is not continued" }),
        hash: found?.hash ?? "", principles: found?.principles ?? [], start: startOf(parameters), reader: parameters?.models["answer"] ?? "",
        inForce: { ref, sequence }, seen: following.through(), share: shadowShare, at: new Date(yield* Clock.currentTimeMillis).toISOString()
      })
    })

    const lookShadow = Effect.fnUntraced(function*(tenant: string, folded: Folded<OnlineState>, phase: ShadowPhase) {
      const { now, pairs } = yield* shadows.publishDue(tenant, phase)
      const { ref, sequence } = yield* inForce(tenant)
      return yield* decide(tenant, folded, { _tag: "LookShadow", run: phase.run, pairs, inForce: { ref, sequence }, at: new Date(now).toISOString() })
    })

    const lookWatch = Effect.fnUntraced(function*(tenant: string, folded: Folded<OnlineState>) {
      const { watch } = folded.state
      if (watch === undefined) return folded
      const { generations, parameters } = yield* runState(tenant, watch.run)
      const { ref, sequence } = yield* inForce(tenant)
      return yield* decide(tenant, folded, {
        _tag: "LookWatch", run: watch.run, feedback: following.of(tenant), inForce: { ref, sequence },
        principles: generations.find(({ number }) => number === watch.generation)?.principles ?? [], start: startOf(parameters), reader: parameters?.models["answer"] ?? ""
      })
    })

    const look = Effect.fnUntraced(function*(tenant: string) {
      let folded = yield* entities.load(onlineSubject(tenant))
      if (!isOn(folded.state)) return
      yield* adoptDue(tenant, folded.state)
      const { phase } = folded.state
      if (phase._tag === "Running") folded = yield* endRun(tenant, folded, phase.run)
      else if (phase._tag === "Shadow") folded = yield* lookShadow(tenant, folded, phase)
      else folded = yield* collect(tenant, folded)
      folded = yield* lookWatch(tenant, folded)
      yield* adoptDue(tenant, folded.state)
    })

    /** Looks while the tenant's lease can be had; a look by two at once is decided once all the same. */
    const held = (tenant: string) =>
      whileHeld(leases, leaseSubject("reflector", `online/${tenant}`), look(tenant)).pipe(
        Effect.catch((error) => Effect.logWarning(`evolution from live feedback of ${tenant} stands still: ${error.message}`)),
        Effect.catchDefect((defect) => Effect.logError(`evolution from live feedback of ${tenant} broke; another try follows`, defect))
      )

    const tick = Effect.gen(function*() {
      yield* following.sync
      const { state } = yield* attempt("list tenants with live feedback", () => nats.jsm.streams.info("METAMEM", { subjects_filter: "metamem.*.online" }))
      const tenants = new Set([...following.tenants(), ...Object.keys(state.subjects ?? {}).map((subject) => decodeToken(subject.split(".")[1] ?? ""))])
      yield* Effect.forEach(tenants, held, { concurrency: 4, discard: true })
    }).pipe(Effect.catch((error) => Effect.logDebug(`could not look for live feedback: ${error.message}`)))
    yield* tick.pipe(Effect.repeat(Schedule.spaced(parts.lookSeconds * 1_000)), Effect.forkScoped)

    const status = Effect.fnUntraced(function*(tenant: string) {
      yield* following.sync
      const { state } = yield* entities.load(onlineSubject(tenant))
      const { phase } = state
      const all = following.of(tenant)
      const fresh = yield* freshOf(tenant, state)
      const batch = batchOf(fresh, String(wholeNumber(2 ** 31, "online", tenant, state.number + 1)))
      const { principles, ref } = yield* inForce(tenant)
      const run = phase._tag === "Running" ? statusOf(yield* runState(tenant, phase.run), { tenant, run: phase.run }, undefined) : undefined
      const shadow = phase._tag === "Shadow" ? yield* shadows.at(tenant, phase) : undefined
      const now = yield* Clock.currentTimeMillis
      return onlineStatusOf({
        tenant, state, all, fresh, batch, adopted: { ref, principles: principles.length }, run, shadow,
        on: isOn(state),
        isOnByDefault: parts.isOnByDefault,
        held: [...holds].filter(([, { at }]) => now - at < heldMs).map(([kind, { message }]) => ({ kind, message }))
      })
    })

    const switchTo = Effect.fnUntraced(function*(tenant: string, on: boolean) {
      yield* decide(tenant, yield* entities.load(onlineSubject(tenant)), { _tag: "Switch", on })
      return yield* status(tenant)
    })

    return { status, switchTo }
  })
