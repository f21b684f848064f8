import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { GateQuestion } from "#shared/metamemory/gate"
import { differencesOf, estimated, whatIfFigures, type WhatIfOutcome } from "#shared/metamemory/what-if"

const test = suite("figures of what-ifs")

const questions = (...weights: ReadonlyArray<number>): ReadonlyArray<GateQuestion> =>
  ["a", "b", "c", "d"].map((id, at) => ({ id, questionClass: "single-fact", cluster: `c-${id}`, abstention: false, ...(weights[at] === undefined ? {} : { weight: weights[at] }) }))
const outcome = (question: string, before: string, after: string, placebo = before): WhatIfOutcome => ({ question, before, after, placebo })

test("differences are paired by question, and over all questions those out of scope count as unchanged", () => {
  const { agreement, counts, difference, overall, placebo } = whatIfFigures([outcome("a", "cc", "ii", "ci"), outcome("b", "ii", "ii")], questions(), "answers")
  assert.equal([difference?.mean, overall?.mean, placebo.mean, agreement], [-0.5, -0.25, -0.25, undefined])
  assert.equal(counts, { before: { correct: 2, incorrect: 2, errors: 0 }, after: { correct: 0, incorrect: 4, errors: 0 }, placebo: { correct: 1, incorrect: 3, errors: 0 } })
  assert.ok((difference?.low ?? 0) < -0.5 && (difference?.high ?? -1) > -0.5)
})

test("differences are weighted back to the data's mix of types", () => {
  const outcomes = [outcome("a", "i", "c"), outcome("b", "c", "i")]
  const even = whatIfFigures(outcomes, questions(), "answers")
  assert.equal([even.difference?.mean, even.overall?.mean], [0, 0])
  const weighted = whatIfFigures(outcomes, questions(1, 4, 4, 4), "answers")
  assert.ok(Math.abs((weighted.difference?.mean ?? 0) + 3 / 5) < 1e-9 && Math.abs((weighted.overall?.mean ?? 0) - (1 - 4) / 13) < 1e-9, JSON.stringify(weighted))
})

test("errors are counted and are in no difference; one cluster gives no interval", () => {
  const found = whatIfFigures([outcome("a", "ce", "ci", "cc"), outcome("b", "cc", "ee", "cc")], questions().slice(0, 2), "answers")
  assert.equal([found.difference, found.counts.before.errors, found.counts.after.errors], [{ mean: -0.5, low: null, high: null }, 1, 2])
  assert.equal(differencesOf([{ question: "a", before: "c" }], questions(), "after"), [], "an arm that was not asked")
  assert.equal(estimated([]), { mean: 0, low: null, high: null })
})

test("of two judges nothing is told but how far they agree on the answers both judged", () => {
  const { agreement, difference, overall } = whatIfFigures([outcome("a", "cci", "cic"), outcome("b", "iie", "iic")], questions(), "judge")
  assert.equal([difference, overall], [undefined, undefined])
  assert.ok(agreement !== undefined)
  const { afterOnly, beforeOnly, bothRight, neither } = agreement
  assert.equal([bothRight, beforeOnly, afterOnly, neither], [1, 1, 1, 2])
  // A third of one question, all of the other; three of five answers, where chance gives .52.
  assert.ok(Math.abs(agreement.agreed.mean - 2 / 3) < 1e-12 && agreement.agreed.low !== null)
  assert.ok(Math.abs(agreement.kappa - (0.6 - 0.52) / 0.48) < 1e-12)
})

test.run()
