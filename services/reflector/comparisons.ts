/** Branches of a run compared: each comparison is recorded with how every answer came out, and the same one again is no further one. */
import { Result } from "effect"
import { canonicalJson } from "#shared/domain/canonical-json"
import { type Comparison, WhatIfRefused } from "./protocol.ts"
import type { RunEvent } from "./run-events.ts"
import type { ComparedBranches, RunState } from "./state.ts"

const askedText = ({ change, generation, judge, last, pairs, part, questions }: Comparison): string =>
  canonicalJson({ change, generation, judge, last, part, questions, branches: pairs.map(({ changed, placebo, seed }) => [seed, changed.run, changed.hash, placebo.run, placebo.hash]) })

/** The comparison of the same branches on the same questions, when there was one. */
export const comparisonLike = ({ comparisons }: Pick<RunState, "comparisons">, found: Comparison): ComparedBranches | undefined =>
  comparisons.find((one) => askedText(one) === askedText(found))

const ends = ({ pairs }: Comparison) => pairs.flatMap(({ changed, placebo }) => [changed, placebo])
const errorsIn = (found: Comparison): number => ends(found).reduce((sum, { outcomes }) => sum + outcomes.split("e").length - 1, 0)

export const recordComparison = (state: RunState, { change, generation, judge, last, paid, pairs, part, questions, reused }: Comparison): Result.Result<ReadonlyArray<RunEvent>, WhatIfRefused> => {
  const refuse = (message: string) => Result.fail(new WhatIfRefused({ message }))
  const found: Comparison = { generation, change, last, part, questions, judge, pairs, reused, paid }
  const { generations, parameters } = state
  if (parameters === undefined) return refuse("the record of an imported run has no questions to compare branches by")
  if (!generations.some(({ number }) => number === generation)) return refuse(`the run has generations 0 to ${generations.length - 1}, and no ${generation}`)
  if (canonicalJson(questions) !== canonicalJson(parameters[part].map(({ id }) => id))) return refuse(`branches are compared by all ${part} questions of their run, in its order`)
  if (pairs.length === 0 || ends(found).some(({ outcomes }) => outcomes.length !== questions.length)) return refuse("every branch has one answer to each question")
  const standing = comparisonLike(state, found)
  // Only fewer errors tell more: answers are kept, and how one came out first stands.
  if (standing !== undefined && errorsIn(found) >= errorsIn(standing)) return Result.succeed([])
  return Result.succeed([{ _tag: "BranchesCompared", ...found }])
}
