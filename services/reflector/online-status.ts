/** Where evolution from live feedback is, told from what is known of it. */
import type { GenerationRef } from "#shared/domain/evidence"
import { nextShadowLook, nextWatchLook, type OnlineState, type Pair, watchedFeedback } from "./online-behaviour.ts"
import { type Batch, conversationsOf, type Feedback, fewestConversations, fewestUsers, usersIn } from "./online-feedback.ts"
import type { OnlineStatus } from "./online-protocol.ts"
import type { RunStatus } from "./protocol.ts"

export interface OnlineKnown {
  readonly tenant: string
  readonly state: OnlineState
  readonly on: boolean
  readonly isOnByDefault: boolean
  /** All feedback that stands, and what of it is offered to the next run. */
  readonly all: ReadonlyArray<Feedback>
  readonly fresh: ReadonlyArray<Feedback>
  readonly batch: Batch
  /** What guides live answers; `run` "" = nothing was ever adopted. */
  readonly adopted: { readonly ref: GenerationRef; readonly principles: number }
  readonly run: RunStatus | undefined
  readonly shadow: ShadowKnown | undefined
  readonly held: OnlineStatus["held"]
}

interface ShadowKnown {
  readonly items: ReadonlyArray<unknown>
  readonly pairs: ReadonlyArray<Pair>
}

const because = ({ on }: OnlineState, isOnByDefault: boolean): string => {
  if (on !== undefined) return `it was switched ${on ? "on" : "off"}`
  return isOnByDefault
    ? "a judge's model is set; `metamem online off` switches it off"
    : "no judge's model is set, and comparing words is too coarse to change answers unasked; `metamem online on` switches it on"
}

const shadowStatus = ({ generation, last, run, share }: Extract<OnlineState["phase"], { _tag: "Shadow" }>, { items, pairs }: ShadowKnown): OnlineStatus["shadow"] => ({
  run, generation, share,
  pairs: pairs.length,
  unjudged: pairs.filter(({ candidate, incumbent }) => candidate === "error" || incumbent === "error").length,
  waiting: items.length - pairs.length,
  needed: nextShadowLook(last?.pairs ?? 0),
  conversations: conversationsOf(pairs),
  users: usersIn(pairs),
  lastLook: last ?? null
})

const watchStatus = (watch: NonNullable<OnlineState["watch"]>, all: ReadonlyArray<Feedback>): OnlineStatus["watch"] => {
  const under = watchedFeedback(all, watch)
  return {
    run: watch.run,
    generation: watch.generation,
    feedback: under.length,
    needed: nextWatchLook(watch.last?.feedback ?? 0) ?? 0,
    conversations: conversationsOf(under),
    users: usersIn(under),
    lastLook: watch.last ?? null
  }
}

export const onlineStatusOf = ({ adopted, all, batch, fresh, held, isOnByDefault, on, run, shadow, state, tenant }: OnlineKnown): OnlineStatus => {
  const { phase, watch } = state
  return {
    tenant,
    on,
    because: because(state, isOnByDefault),
    stage: phase._tag === "Running" ? "run" : phase._tag === "Shadow" ? "shadow" : "collecting",
    feedback: { standing: all.length, fresh: fresh.length, conversations: conversationsOf(fresh), users: usersIn(fresh) },
    needed: { conversations: fewestConversations, users: fewestUsers, ...(batch._tag === "Short" ? { lacks: batch.lacks } : {}) },
    adopted: adopted.ref.run === "" ? null : adopted.ref,
    principles: adopted.principles,
    run: run === undefined ? null : { run: run.run, stage: run.stage, step: run.step, steps: run.steps },
    held: phase._tag === "Collecting" ? [] : held,
    shadow: phase._tag === "Shadow" && shadow !== undefined ? shadowStatus(phase, shadow) : null,
    watch: watch === undefined ? null : watchStatus(watch, all),
    lastOutcome: state.lastOutcome ?? null,
    rollbacks: state.rollbacks.map(({ generation, reason, run, to }) => ({ run, generation, to, reason }))
  }
}
