/**
 * The budget of a run before it starts: how many calls it takes, the smallest effect its gate can see, and whether that is worth it.
 */
import { minimalDetectableEffect } from "./statistics.ts"

export interface BudgetInput {
  /** Questions a step. */
  readonly batch: number
  /** Samples a question in rollouts. */
  readonly samples: number
  /** Share of questions that come out both ways; .3 until measured. */
  readonly mixedShare?: number
  readonly trainQuestions: number
  readonly steps: number
  readonly validationQuestions: number
  /** Of each validation question, back to the natural mix of types; absent = all alike. */
  readonly validationWeights?: ReadonlyArray<number>
  readonly validationSamples: number
  /** Candidates put to the gate a step, and the share of validation questions in scope of one. */
  readonly candidatesPerStep: number
  readonly shareInScope: number
  /** Standard errors the gate asks for: .84 `likely`, 1.645 `proven`, 0 `always`. */
  readonly threshold: number
  /** Questions and samples of the guard test at the end; absent = none. */
  readonly guard?: { readonly questions: number; readonly samples: number }
  /** Calls of the judge an answer: 1 where absent, 0 by words, more where some questions are voted on. */
  readonly judgements?: number
  /** False where rules reflect and propose, at no call. */
  readonly modelLearns?: boolean
  readonly answerVariance?: number
  readonly effectVariance?: number
}

export type BudgetRefusal = "too few questions with mixed outcomes a step" | "fewer than three steps" | "the gate cannot see an effect of ten points"

export interface Budget {
  readonly callsPerStep: number
  readonly gateOnce: number
  readonly gatePerCandidate: number
  /** At most: questions that what was learnt does not bear on are not asked. */
  readonly guard: number
  readonly calls: number
  /** Shares, .05 = 5 points; over all validation questions, and over those in scope of one candidate. */
  readonly detectable: number
  readonly detectableInScope: number
  readonly refusals: ReadonlyArray<BudgetRefusal>
  /** The sum in words, one line each. */
  readonly explanation: ReadonlyArray<string>
}

/** Largest effect a gate may fail to see before a run is refused. */
const largestDetectable = 0.1
/** Fewest questions a step that come out both ways, and can be learnt from. */
export const fewestMixed = 5
const fewestSteps = 3

const whole = (n: number): string => Math.round(n).toLocaleString("en-US")
const sampled = (questions: number, samples: number): string => `${questions} questions x ${samples} ${samples === 1 ? "sample" : "samples"}`
const points = (share: number): string => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} points` : "any size")

/** Questions of equal weight that would tell as much as these. Source: Kish 1965, effective sample size. */
export const effectiveQuestions = (weights: ReadonlyArray<number>): number => {
  const squares = weights.reduce((sum, weight) => sum + weight * weight, 0)
  return squares === 0 ? 0 : weights.reduce((sum, weight) => sum + weight, 0) ** 2 / squares
}

/**
 * Calls: answers and judgements 2Bk, reflections Bπk, proposals Bπ, one consolidation; gate 2nk once, then 2nk × share in scope a candidate; guard test 4nk.
 * Where an answer takes other than one call of the judge, 2 is one more than those.
 */
export const budgetOf = (input: BudgetInput): Budget => {
  const { batch, samples, mixedShare = 0.3, steps, validationQuestions: n, validationSamples: k } = input
  const each = 1 + (input.judgements ?? 1)
  const callsPerStep = each * batch * samples + (input.modelLearns === false ? 0 : batch * mixedShare * (samples + 1) + 1)
  const gated = input.threshold > 0
  const gateOnce = gated ? each * n * k : 0
  const gatePerCandidate = gated ? each * n * k * input.shareInScope : 0
  const guard = 2 * each * (input.guard?.questions ?? 0) * (input.guard?.samples ?? 0)
  const calls = steps * (callsPerStep + input.candidatesPerStep * gatePerCandidate) + gateOnce + guard
  const variances = {
    ...(input.answerVariance !== undefined && { answerVariance: input.answerVariance }),
    ...(input.effectVariance !== undefined && { effectVariance: input.effectVariance })
  }
  const worth = input.validationWeights === undefined ? n : effectiveQuestions(input.validationWeights)
  const detectable = minimalDetectableEffect({ questions: worth, samples: k, threshold: input.threshold, ...variances })
  const detectableInScope = minimalDetectableEffect({ questions: worth * input.shareInScope, samples: k, threshold: input.threshold, ...variances })
  const mixed = batch * mixedShare
  const refusals: Array<BudgetRefusal> = [
    ...(mixed < fewestMixed ? ["too few questions with mixed outcomes a step" as const] : []),
    ...(steps < fewestSteps ? ["fewer than three steps" as const] : []),
    ...(gated && detectable > largestDetectable ? ["the gate cannot see an effect of ten points" as const] : [])
  ]
  const done = input.judgements === 0 ? "answered and judged by words" : each === 2 ? "answered and judged" : `answered and judged, ${each.toFixed(1)} calls each`
  const explanation = [
    `a step: ${sampled(batch, samples)}, ${done}, ${mixed.toFixed(1)} of them mixed and studied: about ${whole(callsPerStep)} calls`,
    gated
      ? `the gate: ${whole(gateOnce)} calls once (${sampled(n, k)}, ${done}), then ${whole(gatePerCandidate)} a candidate`
      : "the gate: none; every operation is accepted",
    ...(input.guard === undefined ? [] : [guard > 0
      ? `the guard test: at most ${whole(guard)} calls (${sampled(input.guard.questions, input.guard.samples)}, with and without what was learnt)`
      : "the guard test: no questions for one, so nothing but the empty generation can be recommended"]),
    `the run: ${steps} steps, about ${whole(calls)} calls, on ${input.trainQuestions} training questions`,
    ...(gated && input.validationWeights !== undefined ? [`validation questions are weighted back to the data set's mix of types: ${n} tell as much as ${worth.toFixed(0)} drawn without regard to type`] : []),
    ...(gated ? [`smallest effect seen with 80 % power: ${points(detectable)} over all questions, ${points(detectableInScope)} within one scope`] : []),
    ...refusals.map((refusal) => {
      switch (refusal) {
        case "too few questions with mixed outcomes a step":
          return `too small: a step is expected to find ${mixed.toFixed(1)} questions to learn from; at least ${fewestMixed} are needed, so raise the batch to ${Math.ceil(fewestMixed / mixedShare)}`
        case "fewer than three steps":
          return `too small: ${steps} steps fit; at least ${fewestSteps} are needed, so lower the batch or add epochs`
        case "the gate cannot see an effect of ten points":
          return `too small: the validation set of ${sampled(n, k)} shows only effects above ${points(detectable)}; add questions or samples`
      }
    })
  ]
  return { callsPerStep, gateOnce, gatePerCandidate, guard, calls, detectable, detectableInScope, refusals, explanation }
}
