/**
 * Evolution from live feedback, driven: follows what people say of answers, opens runs from batches of it (`online-opening.ts`), lets
 * candidates answer in shadow, and adopts and rolls back what `online-behaviour.ts` decides. One process at a time looks after a tenant.
 */
import { Clock, Config, Effect, Schedule, Stream } from "effect"
import { heldJobs } from "#shared/actor/jobs"
import { Leases, whileHeld } from "#shared/actor/lease"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { decodeToken, leaseSubject } from "#shared/eventlog/subjects"
import { numberThat } from "#shared/home/setting-values"
import type { Runs } from "./driver.ts"
import type { Material } from "./material.ts"
import type { OnlineState } from "./online-behaviour.ts"
import { makeFollowing } from "./online-following.ts"
import { makeLooks } from "./online-looks.ts"
import { makeOpening, type OpeningParts } from "./online-opening.ts"
import { makeShadows } from "./online-shadowing.ts"
import { makeOnlineStates } from "./online-states.ts"
import { onlineStatusOf } from "./online-status.ts"
import type { Adoptions } from "./run-requests.ts"
import { statusOf } from "./status.ts"

/** Without any, a shadow would stand in the way of the next run until its time is over. */
const ShadowShare = numberThat((value) => value >= 0.01 && value <= 1, "a number from 0.01 to 1")

export const settings = Config.all({
  /** Share of live answers with a reference that a candidate answers in shadow, 0.01 to 1. */
  shadowShare: Config.schema(ShadowShare, "METAMEM_ONLINE_SHADOW_SHARE").pipe(Config.withDefault(0.2))
})

/** How long it is believed that jobs of a kind wait; while they do it is said again and again. */
const heldMs = 40_000

export interface OnlineParts extends OpeningParts {
  readonly runs: Runs
  readonly adoptions: Adoptions
  readonly material: Material
  /** In force where nobody switched it on or off. */
  readonly isOnByDefault: boolean
  readonly lookSeconds: number
}

/** Jobs that wait just now, as was last heard of them, by kind. */
const makeHeld = Effect.gen(function*() {
  const holds = new Map<string, { readonly message: string; readonly at: number }>()
  yield* heldJobs.pipe(
    Stream.runForEach(({ kind, message }) => Effect.map(Clock.currentTimeMillis, (at) => void holds.set(kind, { message, at }))),
    Effect.forkScoped
  )
  return (now: number) => [...holds].filter(([, { at }]) => now - at < heldMs).map(([kind, { message }]) => ({ kind, message }))
})

/** Looks after all tenants until the scope closes. */
export const runOnline = (parts: OnlineParts) =>
  Effect.gen(function*() {
    const { shadowShare } = yield* settings
    const log = yield* EventLog
    const nats = yield* Nats
    const leases = yield* Leases
    const states = yield* makeOnlineStates(parts.runs, parts.adoptions)
    const following = yield* makeFollowing(parts.material)
    const jobsHeld = yield* makeHeld
    const shadows = makeShadows({ log, following, runState: states.runState })
    const opening = makeOpening(following, states, parts)
    const { endRun, lookShadow, lookWatch } = makeLooks(following, states, shadows, shadowShare)

    const isOn = ({ on }: OnlineState): boolean => on ?? parts.isOnByDefault

    const look = Effect.fnUntraced(function*(tenant: string) {
      let folded = yield* states.load(tenant)
      if (!isOn(folded.state)) return
      yield* states.adoptDue(tenant, folded.state)
      const { phase } = folded.state
      if (phase._tag === "Running") folded = yield* endRun(tenant, folded, phase.run)
      else if (phase._tag === "Shadow") folded = yield* lookShadow(tenant, folded, phase)
      else folded = yield* opening.openDue(tenant, folded)
      folded = yield* lookWatch(tenant, folded)
      yield* states.adoptDue(tenant, folded.state)
    })

    /** Looks while the tenant's lease can be had; a look by two at once is decided once all the same. */
    const held = (tenant: string) =>
      whileHeld(leases, leaseSubject("reflector", `online/${tenant}`), look(tenant)).pipe(
        Effect.catch((error) => Effect.logWarning(`evolution from live feedback of ${tenant} stands still: ${error.message}`)),
        Effect.catchDefect((defect) => Effect.logError(`evolution from live feedback of ${tenant} broke; another try follows`, defect))
      )

    const tick = Effect.gen(function*() {
      const { state } = yield* attempt("list tenants with live feedback", () => nats.jsm.streams.info("METAMEM", { subjects_filter: "metamem.*.online" }))
      const known = Object.keys(state.subjects ?? {}).map((subject) => decodeToken(subject.split(".")[1] ?? ""))
      // What people said is read only for somebody who learns from it: by default nobody does, and there may be much.
      // Of whom that cannot be told, `held` says why.
      const learns = (tenant: string) => states.load(tenant).pipe(Effect.map(({ state }) => isOn(state)), Effect.orElseSucceed(() => true))
      if (!parts.isOnByDefault && !(yield* Effect.forEach(known, learns, { concurrency: 4 })).includes(true)) return
      yield* following.sync
      yield* Effect.forEach(new Set([...following.tenants(), ...known]), held, { concurrency: 4, discard: true })
    }).pipe(Effect.catch((error) => Effect.logDebug(`could not look for live feedback: ${error.message}`)))
    yield* tick.pipe(Effect.repeat(Schedule.spaced(parts.lookSeconds * 1_000)), Effect.forkScoped)

    const status = Effect.fnUntraced(function*(tenant: string) {
      yield* following.sync
      const { state } = yield* states.load(tenant)
      const { phase } = state
      const all = following.of(tenant)
      const { batch, fresh } = yield* opening.fresh(tenant, state, state.number + 1)
      const { principles, ref } = yield* states.inForce(tenant)
      const run = phase._tag === "Running" ? statusOf(yield* states.runState(tenant, phase.run), { tenant, run: phase.run }, undefined) : undefined
      const shadow = phase._tag === "Shadow" ? yield* shadows.at(tenant, phase) : undefined
      return onlineStatusOf({
        tenant, state, all, fresh, batch, adopted: { ref, principles: principles.length }, run, shadow,
        on: isOn(state),
        isOnByDefault: parts.isOnByDefault,
        held: jobsHeld(yield* Clock.currentTimeMillis)
      })
    })

    const switchTo = Effect.fnUntraced(function*(tenant: string, on: boolean) {
      yield* states.decide(tenant, yield* states.load(tenant), { _tag: "Switch", on })
      return yield* status(tenant)
    })

    return { status, switchTo }
  })
