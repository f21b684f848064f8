/**
 * What a change to one generation does, told from how each question came out with and without it, beside a placebo: nothing changed, other
 * samples. Where the judge is what changes, its verdicts are never set against the other's as figures; how far both agree is told instead.
 */
import { Schema } from "effect"
import type { GateQuestion } from "./gate.ts"
import { type Difference, kappa, meanDifference } from "./statistics.ts"

/** A letter a sample: `c` correct, `i` incorrect, `e` error. */
const Letters = Schema.String.check(Schema.isPattern(/^[cie]+$/))

/** How the answers to one question came out. */
export const WhatIfOutcome = Schema.Struct({ question: Schema.NonEmptyString, before: Letters, after: Letters, placebo: Letters })
export type WhatIfOutcome = typeof WhatIfOutcome.Type
export type WhatIfArm = "before" | "after" | "placebo"
export const whatIfArms = ["before", "after", "placebo"] as const

/** Shares, 95 %; null with fewer than two clusters. */
export const Estimate = Schema.Struct({ mean: Schema.Finite, low: Schema.NullOr(Schema.Finite), high: Schema.NullOr(Schema.Finite) })
export type Estimate = typeof Estimate.Type

/** Answers of one arm. */
const Counts = Schema.Struct({ correct: Schema.Int, incorrect: Schema.Int, errors: Schema.Int })
export type ArmCounts = typeof Counts.Type

/** Two judges on the same answers, in numbers of answers that both judged. */
export const Agreement = Schema.Struct({
  bothRight: Schema.Int,
  /** Right by the judge before only, and by the one after only. */
  beforeOnly: Schema.Int,
  afterOnly: Schema.Int,
  neither: Schema.Int,
  /** Of all questions, each counted alike. */
  agreed: Estimate,
  /** Agreement beyond chance, Cohen's. */
  kappa: Schema.Finite
})
export type Agreement = typeof Agreement.Type

export const WhatIfFigures = Schema.Struct({
  counts: Schema.Struct({ before: Counts, after: Counts, placebo: Counts }),
  /** After less before: over the questions asked, and over all, those out of scope unchanged. Absent where the judge is what changes. */
  difference: Schema.optionalKey(Estimate),
  overall: Schema.optionalKey(Estimate),
  /** Placebo less before: what chance alone does. */
  placebo: Estimate,
  /** Only where the judge is what changes. */
  agreement: Schema.optionalKey(Agreement)
})
export type WhatIfFigures = typeof WhatIfFigures.Type

/** @param z standard errors on either side of the mean: 1.96 for 95 % */
export const estimated = (differences: ReadonlyArray<Difference>, z = 1.96): Estimate => {
  const { mean, standardError } = meanDifference(differences)
  const half = z * standardError
  return Number.isFinite(half) ? { mean, low: mean - half, high: mean + half } : { mean, low: null, high: null }
}

const countsOf = (letters: string): ArmCounts => {
  const of = (letter: string): number => letters.split(letter).length - 1
  return { correct: of("c"), incorrect: of("i"), errors: of("e") }
}

const shareRight = (letters: string): number | null => {
  const { correct, incorrect } = countsOf(letters)
  return correct + incorrect === 0 ? null : correct / (correct + incorrect)
}

type Outcomes = ReadonlyArray<{ readonly question: string } & Partial<Record<WhatIfArm, string>>>

/**
 * One arm less `before` by question, with the questions' weights; answers that could not be judged are in none.
 *
 * @param questions the whole part that was asked of
 */
export const differencesOf = (outcomes: Outcomes, questions: ReadonlyArray<GateQuestion>, arm: "after" | "placebo"): ReadonlyArray<Difference & { readonly question: string }> => {
  const byQuestion = new Map(outcomes.map((outcome) => [outcome.question, outcome]))
  return questions.flatMap(({ cluster, id, weight }) => {
    const own = byQuestion.get(id)
    const [old, now] = [shareRight(own?.before ?? ""), shareRight(own?.[arm] ?? "")]
    return old === null || now === null ? [] : [{ question: id, value: now - old, cluster, ...(weight === undefined ? {} : { weight }) }]
  })
}

const agreementOf = (outcomes: ReadonlyArray<WhatIfOutcome>, questions: ReadonlyArray<GateQuestion>): Agreement => {
  const clusters = new Map(questions.map(({ cluster, id }) => [id, cluster]))
  const pairs = outcomes.flatMap(({ after, before, question }) =>
    [...before].flatMap((letter, sample) => (letter === "e" || after[sample] === "e" ? [] : [{ question, before: letter === "c", after: after[sample] === "c" }])))
  const count = (before: boolean, after: boolean): number => pairs.filter((pair) => pair.before === before && pair.after === after).length
  const byQuestion = Map.groupBy(pairs, ({ question }) => question)
  return {
    bothRight: count(true, true), beforeOnly: count(true, false), afterOnly: count(false, true), neither: count(false, false),
    agreed: estimated([...byQuestion].map(([question, own]) => ({ cluster: clusters.get(question) ?? question, value: own.filter(({ after, before }) => after === before).length / own.length }))),
    kappa: kappa(pairs.map(({ before }) => before), pairs.map(({ after }) => after))
  }
}

/**
 * Figures of one what-if. Differences are paired by question, clusters as the unit.
 *
 * @param questions the whole part that was asked of, those out of scope too @param changes what changes: the answers, or who judges them
 */
export const whatIfFigures = (outcomes: ReadonlyArray<WhatIfOutcome>, questions: ReadonlyArray<GateQuestion>, changes: "answers" | "judge"): WhatIfFigures => {
  const counts = (arm: WhatIfArm): ArmCounts => countsOf(outcomes.map((outcome) => outcome[arm]).join(""))
  const common = { counts: { before: counts("before"), after: counts("after"), placebo: counts("placebo") }, placebo: estimated(differencesOf(outcomes, questions, "placebo")) }
  if (changes === "judge") return { ...common, agreement: agreementOf(outcomes, questions) }
  const asked = new Set(outcomes.map(({ question }) => question))
  const found = differencesOf(outcomes, questions, "after")
  const unchanged = questions.filter(({ id }) => !asked.has(id)).map((question) => ({ ...question, value: 0 }))
  return { ...common, difference: estimated(found), overall: estimated([...found, ...unchanged]) }
}
