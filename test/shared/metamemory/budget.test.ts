import { test } from "uvu"
import * as assert from "uvu/assert"
import { budgetOf, effectiveQuestions } from "#shared/metamemory/budget"

const base = {
  batch: 50, samples: 5, trainQuestions: 350, steps: 35, validationQuestions: 120, validationSamples: 3, candidatesPerStep: 2, shareInScope: 1 / 6, threshold: 0.84
}

test("a step costs 2Bk + Bπ(k + 1) + 1 calls, the gate 2nk once and its share a candidate", () => {
  const budget = budgetOf(base)
  assert.is(budget.callsPerStep, 500 + 15 * 6 + 1)
  assert.is(budget.gateOnce, 720)
  assert.is(Math.round(budget.gatePerCandidate), 120)
  assert.is(Math.round(budget.calls), 35 * (591 + 240) + 720)
  assert.equal(budget.refusals, [])
  assert.match(budget.explanation.join("\n"), /29,805 calls/)
})

test("too small a batch, too few steps and a blind gate are refused with the arithmetic", () => {
  const budget = budgetOf({ ...base, batch: 12, steps: 2, validationQuestions: 20, validationSamples: 2 })
  assert.is(budget.refusals.length, 3)
  const text = budget.explanation.join("\n")
  assert.match(text, /raise the batch to 17/)
  assert.match(text, /2 steps fit/)
  assert.match(text, /validation set of 20 questions x 2 samples/)
})

test("questions of uneven weight tell less, and the budget says how much", () => {
  assert.is(effectiveQuestions([1, 1, 1, 1]), 4)
  assert.is(effectiveQuestions([3, 1]), 1.6)
  assert.is(effectiveQuestions([0, 0]), 0)
  const weights = Array.from({ length: 120 }, (_, i) => (i % 2 === 0 ? 1.8 : 0.2))
  const [even, uneven] = [budgetOf(base), budgetOf({ ...base, validationWeights: weights })]
  assert.ok(uneven.detectable > even.detectable * 1.2)
  assert.is(uneven.calls, even.calls)
  assert.match(uneven.explanation.join("\n"), /120 tell as much as 73 /)
  assert.not.match(even.explanation.join("\n"), /tell as much/)
})

test("the guard test is part of the sum, and a run without one is told what follows", () => {
  const budget = budgetOf({ ...base, guard: { questions: 100, samples: 9 } })
  assert.equal([budget.guard, Math.round(budget.calls - budgetOf(base).calls)], [3_600, 3_600])
  assert.match(budget.explanation.join("\n"), /guard test: at most 3,600 calls \(100 questions x 9 samples/)
  assert.match(budgetOf({ ...base, guard: { questions: 0, samples: 9 } }).explanation.join("\n"), /nothing but the empty generation can be recommended/)
})

test("votes and judging by words are reckoned with, and so is learning by rule", () => {
  const voted = budgetOf({ ...base, judgements: 4 / 3, guard: { questions: 30, samples: 9 } })
  assert.equal([voted.callsPerStep, voted.gateOnce, voted.guard].map(Math.round), [Math.round((7 / 3) * 250) + 91, 840, 1_260])
  assert.match(voted.explanation.join("\n"), /judged, 2\.3 calls each/)
  const free = budgetOf({ ...base, judgements: 0, modelLearns: false })
  assert.equal([free.callsPerStep, free.gateOnce], [250, 360])
  assert.match(free.explanation.join("\n"), /judged by words/)
})

test("without a gate nothing is spent on it and its sight does not matter", () => {
  const budget = budgetOf({ ...base, threshold: 0, validationQuestions: 5 })
  assert.equal([budget.gateOnce, budget.gatePerCandidate, budget.refusals.length], [0, 0, 0])
})

test.run()
