/** What commands on a run share: how a run and a principle are named, and what is said beside a run's figures. */
import { Argument, Flag } from "effect/cli"
import type { RunState } from "./runs.ts"
import { some } from "./shown.ts"

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

/** How many of the questions asked had a part in what the run learnt; none where they are all new to it, or its announced test. */
export const seenNote = ({ parameters }: Pick<RunState, "parameters">, questions: ReadonlyArray<{ readonly id: string; readonly user: string }>): ReadonlyArray<string> => {
  const place = ({ id, user }: { readonly id: string; readonly user: string }): string => JSON.stringify([id, user])
  const given = new Set(questions.map(place))
  const among = (part: ReadonlyArray<{ readonly id: string; readonly user: string }> = []): number => part.filter((question) => given.has(place(question))).length
  const parts = ([[among(parameters?.train), "trained on"], [among(parameters?.validation), "in the gate"], [among(parameters?.guard), "in the guard test"]] as const).filter(([count]) => count > 0)
  const seen = parts.reduce((total, [count]) => total + count, 0)
  return seen === 0 ? [] : [`${seen} of ${some(questions.length, "question")} had a part in the run (${parts.map(([count, part]) => `${count} ${part}`).join(", ")}): figures over them are no evidence for others`]
}
