/** What commands on a run share: how a run and a principle are named, and what is said beside a run's figures. */
import { Argument, Flag } from "effect/cli"
import type { RunState } from "./runs.ts"

export const runFlag = Flag.String("run").pipe(Flag.withDescription("Name of the run"))
export const principleArgument = Argument.String("principle").pipe(Argument.withDescription("Id of the principle, as `generations` shows it"))

const held = ({ contents }: NonNullable<RunState["imported"]>, steps: number): string => {
  if (contents !== undefined) return "generations, attempts and proposals, and neither who judged, which principles an attempt went without, nor"
  return steps === 0 ? "generations, and neither attempts nor" : "generations and the verdicts on its attempts, and not"
}
/** What an imported record cannot tell. */
export const importedNote = (state: RunState): ReadonlyArray<string> =>
  state.imported === undefined ? [] : [`an imported record: it holds ${held(state.imported, state.steps.length)} what they cost`]
export const smallSample = (state: RunState): ReadonlyArray<string> => (state.undersized ? ["the run was too small to mean much"] : [])
