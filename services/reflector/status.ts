/** Where a run is, for showing progress. */
import type { RunAddress } from "#shared/eventlog/subjects"
import { mixedShareOf } from "./analysis.ts"
import { runBudget } from "./behaviour.ts"
import type { Progress } from "./driver.ts"
import type { RunStatus } from "./protocol.ts"
import { isThrough, plannedJobs } from "./stages.ts"
import type { RunState } from "./state.ts"

const stages = { Rollouts: "rollouts", Reflections: "reflections", Proposals: "proposals", Consolidation: "consolidation", Gate: "gate", Finished: "finished" } as const

/** @param progress of the process that drives it; absent = nobody here does, so only what is planned is known */
export const statusOf = (state: RunState, address: RunAddress, progress: Progress | undefined): RunStatus => {
  const { phase } = state
  const steps = state.parameters?.steps ?? 0
  const mixedShare = mixedShareOf(state.steps)
  const stage = phase._tag === "Unopened" ? "between steps" : phase._tag === "Between" ? (isThrough(state) ? "guard" : "between steps") : stages[phase._tag]
  return {
    tenant: address.tenant,
    run: address.run,
    stage,
    step: phase._tag === "Unopened" ? 0 : phase._tag === "Finished" ? (state.stopped?.step ?? steps) : Math.min(phase.step, steps),
    steps,
    done: progress?.done ?? 0,
    expected: progress?.expected ?? plannedJobs(state, address).length,
    failed: progress?.failed ?? 0,
    generation: state.trials.generation,
    ...(mixedShare === undefined ? {} : { mixedShare }),
    expectedCalls: state.parameters === undefined || mixedShare === undefined ? state.expectedCalls : runBudget(state.parameters, mixedShare).calls,
    ...(state.recommended === undefined ? {} : { recommended: state.recommended }),
    driven: progress !== undefined,
    undersized: state.undersized
  }
}
