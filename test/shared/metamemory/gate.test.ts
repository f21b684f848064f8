import { test } from "uvu"
import * as assert from "uvu/assert"
import { decideGate, type GateQuestion, guardTest, type Tallies, type Tally, verdictReliability } from "#shared/metamemory/gate"
import { uniform } from "#shared/metamemory/random"

const questions = (n: number, over: Partial<GateQuestion> = {}): ReadonlyArray<GateQuestion> =>
  Array.from({ length: n }, (_, i) => ({ id: `q${i}`, questionClass: "time", cluster: `c${i}`, abstention: false, ...over }))
const of3 = (correct: number, errors = 0): Tally => ({ correct, incorrect: 3 - correct, errors })
const arm = (correct: ReadonlyArray<number>): Tallies => Object.fromEntries(correct.map((c, i) => [`q${i}`, of3(c)]))
const decide = (incumbent: Tallies, candidate: Tallies, over: Partial<Parameters<typeof decideGate>[0]> = {}) =>
  decideGate({ policy: "likely", questions: questions(Object.keys(incumbent).length), abstentionQuestions: 0, incumbent, candidate, seed: "s", ...over })

test("likely accepts exactly from .84 standard errors on", () => {
  // One gain of 2/3 among n questions: mean = (2/3)/n and error = mean, so z = 1; with one loss of 1/3 beside it z = .447.
  const accepted = decide(arm([1, 1, 1, 1]), arm([3, 1, 1, 1]))
  assert.is(accepted.decision, "accepted")
  assert.ok(Math.abs(accepted.z - 1) < 1e-9)
  const undecided = decide(arm([1, 1, 1, 1]), arm([3, 0, 1, 1]))
  assert.is(undecided.decision, "undecided")
  assert.ok(undecided.z > 0 && undecided.z < 0.84)
})

test("no difference and a worse candidate are rejected, never taken for good enough", () => {
  assert.is(decide(arm([1, 2, 3]), arm([1, 2, 3])).decision, "rejected")
  assert.is(decide(arm([3, 2, 3]), arm([1, 2, 3])).decision, "rejected")
})

test("counts are whole numbers of the questions in scope", () =>
  assert.equal(decide(arm([1, 1]), arm([3, 2])).counts, { questions: 2, samples: 3, incumbentCorrect: 2, candidateCorrect: 5, incumbentErrors: 0, candidateErrors: 0 }))

test("proven asks for p ≤ .05 by the sign-flip test", () => {
  const four = decide(arm([0, 0, 0, 0]), arm([3, 3, 3, 3]), { policy: "proven" })
  assert.is(four.decision, "undecided")
  assert.is(four.p, 1 / 16)
  const five = decide(arm([0, 0, 0, 0, 0]), arm([3, 3, 3, 3, 3]), { policy: "proven" })
  assert.equal([five.decision, five.p], ["accepted", 1 / 32])
})

test("always accepts a worse candidate", () => assert.is(decide(arm([3]), arm([0]), { policy: "always" }).decision, "accepted"))

test("questions of one cluster count once", () => {
  const together = decide(arm([0, 0, 0]), arm([3, 3, 3]), { questions: questions(3, { cluster: "c" }) })
  assert.equal([together.decision, together.reason], ["undecided", "too few questions in scope to tell"])
})

test("a gain paid for by abstention questions is rejected", () => {
  const mixed = questions(6).map((question, i) => ({ ...question, abstention: i === 5 }))
  const [old, now] = [arm([1, 1, 1, 1, 1, 3]), arm([3, 3, 3, 3, 3, 1])]
  assert.match(decide(old, now, { questions: mixed, abstentionQuestions: 4 }).reason, /abstention/)
  assert.is(decide(old, now, { questions: mixed, abstentionQuestions: 20 }).decision, "accepted")
  assert.is(decide(old, now, { questions: mixed, abstentionQuestions: 0 }).decision, "accepted")
})

test("errors beyond two per cent, or uneven ones, make a gate void", () => {
  const n = 40
  const good = arm(Array.from({ length: n }, () => 3))
  const withErrors = (count: number): Tallies => Object.fromEntries(Object.entries(good).map(([id, tally], i) => [id, { ...tally, errors: i < count ? 1 : 0 }]))
  const bad = arm(Array.from({ length: n }, () => 1))
  assert.is(decide(bad, withErrors(3)).decision, "void")
  assert.is(decide(bad, withErrors(2)).decision, "void")
  assert.is(decide(bad, withErrors(1)).decision, "accepted")
})

test("weights count: a gain in a rare question is worth little", () => {
  const weighted = questions(3).map((question, i) => ({ ...question, weight: i === 0 ? 0.1 : 1 }))
  assert.is(decide(arm([0, 2, 2]), arm([3, 1, 2]), { questions: weighted }).decision, "rejected")
})

test("under proven, questions that weigh alike are counted, and none is counted on another scale than the rest", () => {
  const n = 6
  const [old, now] = [arm(Array.from({ length: n }, () => 0)), arm([3, 3, 3, 3, 3, 0])]
  const plain = decide(old, now, { policy: "proven" })
  assert.is(plain.p, 1 / 32)
  const half = questions(n).map((question) => ({ ...question, weight: 0.5 }))
  assert.is(decide(old, now, { policy: "proven", questions: half }).p, 1 / 32)
  // One loss of weight 3 against three gains of weight 1: not better, however the others are counted.
  const uneven = questions(4).map((question, i) => ({ ...question, weight: i === 0 ? 3.5 : 1 }))
  const p = decide(arm([3, 0, 0, 0]), arm([0, 3, 3, 3]), { policy: "proven", questions: uneven })
  assert.is(p.decision, "rejected")
  const gain = decide(arm([0, 3, 1, 1]), arm([3, 0, 1, 1]), { policy: "proven", questions: uneven })
  // Signs of 3.5 and −1: a sum of 2.5 is reached by two of four.
  assert.equal([gain.decision, gain.p], ["undecided", 0.5])
})

test("the guard test passes only what is better", () => {
  assert.is(guardTest("likely", questions(4), arm([1, 1, 1, 1]), arm([3, 2, 2, 1])).decision, "accepted")
  assert.is.not(guardTest("likely", questions(4), arm([1, 1, 1, 1]), arm([1, 1, 2, 1])).decision, "rejected")
  assert.is(guardTest("likely", questions(4), arm([1, 1, 1, 1]), arm([1, 1, 1, 1])).decision, "rejected")
})

test("a guard that has to prove passes at p ≤ .05, which four questions cannot give and five can", () => {
  const four = guardTest("proven", questions(4), arm([1, 1, 1, 1]), arm([3, 3, 3, 3]))
  assert.equal([four.decision, four.p], ["undecided", 1 / 16])
  const five = guardTest("proven", questions(5), arm([1, 1, 1, 1, 1]), arm([3, 3, 3, 3, 3]))
  assert.equal([five.decision, five.p], ["accepted", 1 / 32])
})

const sampled = (chance: (question: number) => number): Tallies =>
  Object.fromEntries(
    Array.from({ length: 120 }, (_, q) => {
      const correct = Array.from({ length: 5 }, (_, s) => uniform("verdict", q, s) < chance(q)).filter(Boolean).length
      return [`q${q}`, { correct, incorrect: 5 - correct, errors: 0 }] as const
    })
  )

test("a judge that tosses a coin, or always says the same, is found out", () => {
  assert.not(verdictReliability(sampled(() => 0.5)).reliable)
  assert.not(verdictReliability(sampled(() => 1)).reliable)
  assert.not(verdictReliability({}).reliable)
  const real = verdictReliability(sampled((q) => (q % 2 === 0 ? 0.9 : 0.3)))
  assert.ok(real.reliable && real.intraclass > 0.2, JSON.stringify(real))
})

test.run()
