import { test } from "uvu"
import * as assert from "uvu/assert"
import {
  clusterBootstrap, corrected, type Difference, kappa, meanDifference, minimalDetectableEffect, mixWeights, signFlip, wilson
} from "#shared/metamemory/statistics"

const near = (a: number, b: number, by = 1e-9): void => assert.ok(Math.abs(a - b) < by, `${a} is not near ${b}`)
const single = (values: ReadonlyArray<number>): ReadonlyArray<Difference> => values.map((value, i) => ({ value, cluster: `c${i}` }))

test("with one question a cluster the standard error is the usual one", () => {
  const { mean, standardError } = meanDifference(single([1, 0, 0, 1, 0]))
  near(mean, 0.4)
  near(standardError, Math.sqrt((0.3) / 5))
})

test("questions of one cluster that move together widen the error", () => {
  const values = [1, 1, 1, 0, 0, 0, -1, -1, -1]
  const clustered = meanDifference(values.map((value, i) => ({ value, cluster: `c${Math.floor(i / 3)}` })))
  assert.ok(clustered.standardError > 1.4 * meanDifference(single(values)).standardError)
})

test("no difference at all has no error, and one cluster alone proves nothing", () => {
  assert.equal(meanDifference(single([0, 0, 0])).standardError, 0)
  assert.is(meanDifference([{ value: 1, cluster: "c" }, { value: 1, cluster: "c" }]).standardError, Infinity)
  assert.is(meanDifference([]).standardError, Infinity)
})

test("weights move the mean to the natural mix", () => {
  const weights = mixWeights(["a", "a", "a", "b"], new Map([["a", 0.5], ["b", 0.5]]))
  near(weights.reduce((x, y) => x + y, 0), 4)
  near(meanDifference([1, 1, 1, 0].map((value, i) => ({ value, cluster: `${i}`, weight: weights[i]! }))).mean, 0.5)
  assert.equal(mixWeights(["x"], new Map()), [1])
})

test("sign-flip p of five wins out of five is 1/32, by convolution and by counting alike", () => {
  near(signFlip([1, 1, 1, 1, 1], "s").p, 1 / 32)
  near(signFlip([0.5, 0.5, 0.5, 0.5, 0.5], "s").p, 1 / 32)
  near(signFlip([3, -1, 2, 0], "s").p, signFlip([1.5, -0.5, 1, 0], "s").p)
  assert.is(signFlip([0, 0], "s").p, 1)
})

test("above the exact limits p is drawn, near the exact value and the same for the same seed", () => {
  const sums = Array.from({ length: 40 }, (_, i) => (i % 3 === 0 ? -1 : 1))
  const drawn = signFlip(sums.map((sum) => sum / 2), "s")
  assert.is(drawn.method, "monte-carlo")
  near(drawn.p, signFlip(sums, "s").p, 0.006)
  assert.equal(signFlip(sums.map((sum) => sum / 2), "s"), drawn)
})

test("Wilson's interval of 8 of 10 is known, and of none of none is everything", () => {
  const { low, high } = wilson(8, 10)
  near(low, 0.4901, 1e-3)
  near(high, 0.9433, 1e-3)
  assert.equal(wilson(0, 0), { low: 0, high: 1 })
})

test("the bootstrap interval holds the mean and is wider for clustered answers", () => {
  const values = Array.from({ length: 60 }, (_, i) => (Math.floor(i / 6) % 2))
  const wide = clusterBootstrap(values.map((value, i) => ({ value, cluster: `${Math.floor(i / 6)}` })), "s")
  const narrow = clusterBootstrap(single(values), "s")
  assert.ok(wide.low < 0.5 && wide.high > 0.5)
  assert.ok(wide.high - wide.low > 1.5 * (narrow.high - narrow.low))
})

test("the detectable effect falls with questions and samples and rises with the threshold", () => {
  const base = { questions: 120, samples: 3, threshold: 0.84 }
  near(minimalDetectableEffect(base), 1.6816 * Math.sqrt(0.1 / 120), 1e-9)
  assert.ok(minimalDetectableEffect({ ...base, samples: 6 }) < minimalDetectableEffect(base))
  assert.ok(minimalDetectableEffect({ ...base, threshold: 1.645 }) > minimalDetectableEffect(base))
  assert.is(minimalDetectableEffect({ ...base, questions: 0 }), Infinity)
})

test("kappa is 1 in agreement, 0 at chance, and unequal lists are refused", () => {
  near(kappa([true, false, true], [true, false, true]), 1)
  near(kappa([true, true, false, false], [true, false, true, false]), 0)
  assert.throws(() => kappa([true], []), RangeError)
})

test("a raw share is corrected by the judge's errors, and a coin's cannot be", () => {
  near(corrected(0.7, { sensitivity: 0.9, specificity: 0.8 })!, 0.5 / 0.7)
  near(corrected(0.05, { sensitivity: 0.9, specificity: 0.8 })!, -0.15 / 0.7)
  assert.is(corrected(0.5, { sensitivity: 0.5, specificity: 0.5 }), undefined)
})

test.run()
