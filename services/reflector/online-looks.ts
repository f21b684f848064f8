/** Looks at what evolution from live feedback has under way: a run that may be over, a shadow, and what was adopted and is watched. */
import { Clock, Effect } from "effect"
import type { Folded } from "#shared/actor/entity"
import type { OnlineState } from "./online-behaviour.ts"
import type { Following } from "./online-following.ts"
import { triedBy } from "./online-run.ts"
import type { makeShadows, ShadowPhase } from "./online-shadowing.ts"
import type { OnlineStates } from "./online-states.ts"
import { algorithmVersion, startOf } from "./parameters.ts"

/** @param shadowShare share of live questions with feedback that a candidate answers */
export const makeLooks = (following: Pick<Following, "of" | "through">, { decide, inForce, runState }: OnlineStates, shadows: Pick<ReturnType<typeof makeShadows>, "publishDue">, shadowShare: number) => ({
  endRun: Effect.fnUntraced(function*(tenant: string, folded: Folded<OnlineState>, run: string) {
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
  }),

  lookShadow: Effect.fnUntraced(function*(tenant: string, folded: Folded<OnlineState>, phase: ShadowPhase) {
    const { now, pairs } = yield* shadows.publishDue(tenant, phase)
    const { ref, sequence } = yield* inForce(tenant)
    return yield* decide(tenant, folded, { _tag: "LookShadow", run: phase.run, pairs, inForce: { ref, sequence }, at: new Date(now).toISOString() })
  }),

  lookWatch: Effect.fnUntraced(function*(tenant: string, folded: Folded<OnlineState>) {
    const { watch } = folded.state
    if (watch === undefined) return folded
    const { generations, parameters } = yield* runState(tenant, watch.run)
    const { ref, sequence } = yield* inForce(tenant)
    return yield* decide(tenant, folded, {
      _tag: "LookWatch", run: watch.run, feedback: following.of(tenant), inForce: { ref, sequence },
      principles: generations.find(({ number }) => number === watch.generation)?.principles ?? [], start: startOf(parameters), reader: parameters?.models["answer"] ?? ""
    })
  })
})
