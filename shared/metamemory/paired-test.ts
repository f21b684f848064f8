/**
 * The test a claim rests on: one generation against the empty one on the same questions. It is counted from how each question came
 * out, so that the runs of several folds can be tested together.
 */
import { Schema } from "effect"
import { clusterBootstrap, meanDifference, signFlip } from "./statistics.ts"

/** `c` correct, `i` incorrect, `e` error. */
const Letter = Schema.Literals(["c", "i", "e"])

/** How one question came out on both sides. */
export const TestOutcome = Schema.Struct({ question: Schema.NonEmptyString, empty: Letter, tested: Letter })
export type TestOutcome = typeof TestOutcome.Type

export const TestFigures = Schema.Struct({
  counts: Schema.Struct({
    /** Judged on both sides; the others are in no figure. */
    questions: Schema.Int,
    clusters: Schema.Int,
    emptyCorrect: Schema.Int,
    testedCorrect: Schema.Int,
    /** Right with the generation only, and without it only. */
    gained: Schema.Int,
    lost: Schema.Int,
    /** Questions with an error on either side. */
    errors: Schema.Int
  }),
  /** Mean difference as a share, with its 95 % interval over clusters; null with fewer than two. */
  difference: Schema.Finite,
  low: Schema.NullOr(Schema.Finite),
  high: Schema.NullOr(Schema.Finite),
  /** One-sided, by sign-flips of clusters: the chance of doing at least as well when the generation changes nothing. */
  p: Schema.Finite
})
export type TestFigures = typeof TestFigures.Type

/** @param seed names the draws of interval and p; the same outcomes under the same seed give the same figures */
export const pairedTest = (outcomes: ReadonlyArray<TestOutcome & { readonly cluster: string }>, seed: string): TestFigures => {
  const paired = outcomes.filter(({ empty, tested }) => empty !== "e" && tested !== "e")
  const differences = paired.map(({ cluster, empty, tested }) => ({ cluster, value: Number(tested === "c") - Number(empty === "c") }))
  const sums = new Map<string, number>()
  for (const { cluster, value } of differences) sums.set(cluster, (sums.get(cluster) ?? 0) + value)
  const { mean } = meanDifference(differences)
  const interval = sums.size < 2 ? undefined : clusterBootstrap(differences, `test ${seed}`)
  const count = (of: (one: TestOutcome) => boolean): number => paired.filter(of).length
  return {
    counts: {
      questions: paired.length,
      clusters: sums.size,
      emptyCorrect: count(({ empty }) => empty === "c"),
      testedCorrect: count(({ tested }) => tested === "c"),
      gained: count(({ empty, tested }) => empty === "i" && tested === "c"),
      lost: count(({ empty, tested }) => empty === "c" && tested === "i"),
      errors: outcomes.length - paired.length
    },
    difference: mean,
    low: interval?.low ?? null,
    high: interval?.high ?? null,
    p: signFlip([...sums.values()], seed).p
  }
}
