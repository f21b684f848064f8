import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Principle } from "#shared/domain/principle"
import type { Answered, Ask } from "#services/cli/arms"
import { plannedBranch, spreadOf } from "#services/cli/branches"
import { changed, type StartingPoint } from "#services/cli/change"
import { asksOf, compare } from "#services/cli/whatif"
import { parameters, question } from "../reflector/simulation.ts"

const test = suite("what if")

const principle = (id: string, scope: Principle["scope"]): Principle => ({ id, text: `Text of ${id}.`, scope, bornIn: 1, parents: [] })
// Classes of the simulated questions by number modulo three: single-fact, assistant-said, preference.
const [one, other, refused] = [principle("P1", "single-fact"), principle("P2", "preference"), principle("P3", "assistant-said")]
const start: StartingPoint = {
  parameters: parameters(), principles: [one, other], draws: { "single-fact": 2 }, step: 2, undersized: false, mixedShare: undefined,
  ledger: [{ id: "O1-1-abc", step: 1, operation: "add", scope: "preference", text: "Guess.", outcome: "rejected", reader: "m" }],
  known: new Map([one, other, refused].map((known) => [known.id, known]))
}
const after = (change: Parameters<typeof changed>[1]) => Result.getOrThrow(changed(start, change))
const refusal = (change: Parameters<typeof changed>[1]) => Result.getOrThrow(Result.flip(changed(start, change)))

test("one thing is changed and the rest stays as it is", () => {
  assert.equal(after({ kind: "drop", principle: "P1" }), [other])
  assert.equal(after({ kind: "pin", principle: "P3" }), [one, other, refused])
  assert.equal(after({ kind: "reword", principle: "P2", text: "Other words." }).map(({ text }) => text), ["Text of P1.", "Other words."])
  assert.equal(after({ kind: "judge", judge: "model" }), start.principles)
})

test("a change that cannot be made, or changes nothing, says why", () => {
  assert.match(refusal({ kind: "drop", principle: "P3" }), /holds no principle P3, but P1, P2; --pin P3/)
  assert.match(refusal({ kind: "drop", principle: "P9" }), /holds no principle P9, but P1, P2$/)
  assert.match(refusal({ kind: "pin", principle: "P1" }), /already/)
  assert.match(refusal({ kind: "pin", principle: "P9" }), /knows of no principle P9/)
  assert.match(refusal({ kind: "reword", principle: "P1", text: "word ".repeat(31) }), /31 words/)
  assert.match(refusal({ kind: "reword", principle: "P1", text: one.text }), /says the same/)
  assert.match(refusal({ kind: "judge", judge: "lexical" }), /name the other/)
  assert.match(refusal({ kind: "gate", policy: "likely" }), /name another/)
})

test("only questions that are shown something else are asked, as the samples their gate would have asked", () => {
  const change = { kind: "drop", principle: "P1" } as const
  const asks = asksOf(start, after(change), change, 3)
  assert.equal([...new Set(asks.map(({ question }) => question.questionClass))], ["single-fact"])
  assert.is(asks.length, 8 * 3 * 3)
  assert.ok(asks.every(({ draw }) => draw === 2))
  const of = (arm: Ask["arm"]) => asks.filter((ask) => ask.arm === arm && ask.question.id === "v0")
  assert.equal(of("before").map(({ principles, sample }) => [principles.length, sample]), [[1, 0], [1, 1], [1, 2]])
  assert.equal(of("after").map(({ principles, sample }) => [principles.length, sample]), [[0, 0], [0, 1], [0, 2]])
  assert.equal(of("placebo").map(({ principles, sample }) => [principles.length, sample]), [[1, 3], [1, 4], [1, 5]])
})

test("another judge judges the same answers to all questions", () => {
  const asks = asksOf(start, start.principles, { kind: "judge", judge: "model" }, 1)
  assert.is(asks.length, 24 * 3)
  assert.equal(asks.slice(0, 3).map(({ arm, judge, sample }) => [arm, judge, sample]), [["before", "lexical", 0], ["after", "model", 0], ["placebo", "lexical", 1]])
})

const answered = (id: string, arm: Ask["arm"], ...letters: ReadonlyArray<string>): ReadonlyArray<Answered> =>
  letters.map((letter, sample) => ({
    ask: { question: question(id), arm, purpose: "gate", sample, draw: 0, principles: [], judge: "lexical" },
    verdict: letter === "c" ? "correct" : letter === "i" ? "incorrect" : "error"
  }))
const validation = [question("a"), question("b"), question("c"), question("d")] as const

test("differences are paired by question, and over all questions those out of scope count as unchanged", () => {
  const found = compare([...answered("a", "before", ..."cc"), ...answered("a", "after", ..."ii"), ...answered("a", "placebo", ..."ci"), ...answered("b", "before", ..."ii"), ...answered("b", "after", ..."ii"), ...answered("b", "placebo", ..."ii")], { validation })
  assert.equal([found.inScope, found.difference.mean, found.overall.mean, found.placebo.mean, found.errors], [2, -0.5, -0.25, -0.25, 0])
  assert.equal(found.accuracy, { before: 0.5, after: 0, placebo: 0.25 })
  assert.ok((found.difference.low ?? 0) < -0.5 && (found.difference.high ?? -1) > -0.5)
})

test("differences are weighted back to the data's mix of types", () => {
  const [a, ...others] = validation
  const typed = [{ ...a, type: "rare" }, ...others] as const
  const answers = [...answered("a", "before", "i"), ...answered("a", "after", "c"), ...answered("b", "before", "c"), ...answered("b", "after", "i")]
  const even = compare(answers, { validation: typed })
  // A type that is a quarter of the part and a thirteenth of the data.
  const weighted = compare(answers, { validation: typed, mix: { rare: 1, "single-session-user": 12 } })
  assert.equal([even.difference.mean, even.overall.mean], [0, 0])
  assert.ok(Math.abs(weighted.difference.mean + 3 / 5) < 1e-9 && Math.abs(weighted.overall.mean - (1 - 4) / 13) < 1e-9, JSON.stringify(weighted))
})

test("errors are counted and are in no difference; one cluster gives no interval", () => {
  const found = compare([...answered("a", "before", ..."ce"), ...answered("a", "after", ..."ci"), ...answered("b", "before", ..."c"), ...answered("b", "after", ..."e")], { validation: [validation[0], validation[1]] })
  assert.equal([found.difference.mean, found.difference.low, found.errors], [-0.5, null, 2])
  assert.is(found.accuracy.placebo, null)
})

test("a branch is asked for as its run was, but for what is changed, and named by it", () => {
  const of = { run: "r", from: 1, start: { ...start, parameters: parameters({ mix: { rare: 2 }, patience: 5 }) }, last: 6, seed: 8 }
  const placebo = plannedBranch({ ...of, principles: start.principles })
  const dropped = plannedBranch({ ...of, principles: [other], change: { kind: "drop", principle: "P1" } })
  assert.equal([dropped.request.seed, dropped.request.steps, dropped.request.branch?.step], [8, 6, 2])
  assert.equal([dropped.request.ledger, placebo.request.ledger], [start.ledger, start.ledger])
  assert.equal([dropped.request.branch?.principles, placebo.request.branch?.principles], [[other], start.principles])
  assert.equal(dropped.request.train.slice(0, 1), [{ id: "t0", user: "u-t0" }])
  assert.is.not(dropped.run, placebo.run)
  assert.is(plannedBranch({ ...of, principles: start.principles }).run, placebo.run)
  assert.is.not(plannedBranch({ ...of, principles: start.principles, seed: 9 }).run, placebo.run)
  assert.is(plannedBranch({ ...of, principles: start.principles, change: { kind: "gate", policy: "always" } }).request.gate, "always")
  assert.is(plannedBranch({ ...of, principles: start.principles, change: { kind: "judge", judge: "model" } }).request.judge, "model")
  assert.is(placebo.request.judge, "lexical")
  assert.equal([dropped.request.mix, dropped.request.patience], [{ rare: 2 }, 5])
})

test("a spread is in order, and what is not known is in none of it", () => {
  assert.equal(spreadOf([0.5, null, -0.5, 0.25]), { values: [-0.5, 0.25, 0.5], mean: 0.25 / 3, low: -0.5, high: 0.5 })
  assert.equal(spreadOf([null]), { values: [], mean: null, low: null, high: null })
})

test.run()
