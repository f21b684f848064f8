import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Principle } from "#shared/domain/principle"
import type { Ask } from "#services/cli/arms"
import { comparisonFigures, firstLookText, plannedBranch, spreadOf } from "#services/cli/branches"
import { changed, changeText, type StartingPoint } from "#services/cli/change"
import { asksOf, outcomesOf } from "#services/cli/whatif-direct"
import { outcomeText, whatIfReports, whatIfText } from "#services/cli/whatif-report"
import { behaviour } from "#services/reflector/behaviour"
import type { DirectChange, RerunChange } from "#services/reflector/run-events"
import { parameters, simulate } from "../reflector/simulation.ts"

const test = suite("what if")

const principle = (id: string, scope: Principle["scope"]): Principle => ({ id, text: `Text of ${id}.`, scope, bornIn: 1, parents: [] })
// Classes of the simulated questions by number modulo three: single-fact, assistant-said, preference.
const [one, other, refused] = [principle("P1", "single-fact"), principle("P2", "preference"), principle("P3", "assistant-said")]
const start: StartingPoint = {
  parameters: parameters(), principles: [one, other], draws: { "single-fact": 2 }, step: 2, undersized: false, mixedShare: undefined, isTested: false,
  ledger: [{ id: "O1-1-abc", step: 1, operation: "add", scope: "preference", text: "Guess.", outcome: "rejected", reader: "m" }],
  known: new Map([one, other, refused].map((known) => [known.id, known])), whatIfs: []
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
  assert.match(refusal({ kind: "reader", model: "reader" }), /answered by reader: name another model/)
  assert.equal(after({ kind: "judge", judge: "model", model: "any" }), start.principles, "a run judged by words may be judged by any model")
  const judged = { ...start, parameters: parameters({ judge: "model", models: { answer: "reader", judge: "large" } }) }
  assert.match(Result.getOrThrow(Result.flip(changed(judged, { kind: "judge", judge: "model", model: "large" }))), /judged by large: name another/)
  assert.equal(Result.getOrThrow(changed(judged, { kind: "judge", judge: "model", model: "larger" })), start.principles)
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
  const named = asksOf(start, start.principles, { kind: "judge", judge: "model", model: "large" }, 1)
  assert.equal(named.slice(0, 3).map(({ judgeModel, reader }) => [judgeModel, reader]), [[undefined, undefined], ["large", undefined], [undefined, undefined]])
})

test("another reader is asked every question, beside the run's own", () => {
  const asks = asksOf(start, start.principles, { kind: "reader", model: "other" }, 1)
  assert.is(asks.length, 24 * 3)
  assert.equal(asks.slice(0, 3).map(({ arm, judge, reader }) => [arm, judge, reader]), [["before", "lexical", undefined], ["after", "lexical", "other"], ["placebo", "lexical", undefined]])
})

test("answers are put together by question and arm, in order of samples", () => {
  const asks = asksOf(start, after({ kind: "drop", principle: "P1" }), { kind: "drop", principle: "P1" }, 2)
  const answers = asks.map((ask) => ({ ask, verdict: ask.arm === "after" ? "incorrect" as const : ask.sample === 1 ? "error" as const : "correct" as const }))
  const outcomes = outcomesOf(answers)
  assert.equal([outcomes.length, outcomes[0]], [8, { question: "v0", before: "ce", after: "ii", placebo: "cc" }])
  assert.equal(outcomesOf(answers.filter(({ ask }) => ask.arm !== "placebo"))[0]?.placebo, "")
})

const recorded = (...changes: ReadonlyArray<DirectChange>) => {
  const { state } = simulate(parameters({ steps: 1, judge: "model", models: { answer: "reader", judge: "large" } }))
  const place = { id: "", sequence: 7, cause: "", inputThrough: 0, binary: new Uint8Array(0) }
  for (const change of changes) {
    const by = { before: { reader: "reader", judge: "large" }, after: { reader: "reader", judge: change.kind === "judge" ? "lexical" : "large" } }
    const found = {
      generation: 0, change, principles: [], samples: 2, by, answers: `digest of ${change.kind}`, reused: { answers: 3, ofAnswers: 12 }, paid: { calls: 9, answers: 9, judgements: 0, promptTokens: 90, completionTokens: 9 },
      outcomes: [{ question: "v0", before: "cc", after: "ci", placebo: "cc" }, { question: "v1", before: "ci", after: "ii", placebo: "ci" }]
    }
    for (const event of Result.getOrThrow(behaviour.decide(state, { _tag: "RecordWhatIf", found }))) behaviour.evolve(state, event, place)
  }
  return whatIfReports("r", state)
}

test("what was recorded is told with its number and place, and what it took", () => {
  const [report] = recorded({ kind: "drop", principle: "P1" })
  assert.ok(report !== undefined && "difference" in report)
  assert.equal([report.number, report.position, report.fromLog, report.inScope, report.errors], [1, "metamem:0:0:7", true, 2, 0])
  assert.is(report.difference?.mean, -0.5)
  assert.equal(report.accuracy, { before: 0.75, after: 0.25, placebo: 0.75 })
  assert.match(whatIfText(report), /without P1: 2 of 24 validation questions are shown something else, 2 answers each; 0 errors/)
  assert.match(whatIfText(report), /what-if 1 of r stands in the log \(metamem:0:0:7\), so nothing was asked; it took 9 answers/)
  assert.match(outcomeText(report), /^-50\.0, 95 % -50\.0 to -50\.0; placebo \+0\.0$/)
})

test("two judges have figures of their own, and one line of agreement; no table holds both", () => {
  const [, report] = recorded({ kind: "drop", principle: "P1" }, { kind: "judge", judge: "lexical" })
  assert.ok(report !== undefined && "judges" in report)
  assert.not.ok("difference" in report || "accuracy" in report)
  assert.equal(report.judges.map(({ accuracy, judge }) => [judge, accuracy]), [["large", 0.75], ["lexical", 0.25]])
  assert.equal([report.agreement?.bothRight, report.agreement?.beforeOnly, report.agreement?.afterOnly, report.agreement?.neither], [1, 2, 0, 1])
  const lines = whatIfText(report).split("\n")
  assert.ok(lines.some((line) => /^large, who judged the run: 3 of 4 answers right, 75\.0 %$/.test(line)))
  assert.ok(lines.some((line) => /placebo, other samples: .*; difference, types counted as often as the data set has them, \+0\.0/.test(line)), lines.join("\n"))
  assert.ok(lines.some((line) => /^the lexical judge: 1 of 4 answers right, 25\.0 %$/.test(line)))
  assert.ok(lines.some((line) => /they agree on 50\.0 %.*kappa 0\.20/.test(line)), lines.join("\n"))
  assert.not.match(whatIfText(report), /in points/)
})

test("a branch names who plays in it: those of its run, whatever is set now, but for the one that is changed", () => {
  const models = { answer: "a", judge: "j", reflect: "r", propose: "r", consolidate: "r" }
  const of = (reflector: "rules" | "model" | "both") => ({ ...start, parameters: parameters({ judge: "model", reflector, models }) })
  const asked = (change: RerunChange, reflector: "rules" | "model" | "both" = "model") => {
    const { request } = plannedBranch({ run: "r", from: 1, start: of(reflector), principles: start.principles, change, last: 6, seed: 8 })
    return [request.judge, request.reflector, request.models]
  }
  const reflecting = { ...models, reflect: "x", propose: "x", consolidate: "x" }
  assert.equal(asked({ kind: "drop", principle: "P1" }), ["model", "model", models])
  assert.equal(asked({ kind: "reader", model: "x" }), ["model", "model", { ...models, answer: "x" }])
  assert.equal(asked({ kind: "judge", judge: "model", model: "x" }), ["model", "model", { ...models, judge: "x" }])
  assert.equal(asked({ kind: "judge", judge: "lexical" })[0], "lexical")
  assert.equal(asked({ kind: "reflector", reflector: "rules" }), ["model", "rules", models])
  assert.equal(asked({ kind: "reflector", reflector: "model", model: "x" }), ["model", "model", reflecting])
  assert.equal(asked({ kind: "reflector", reflector: "model", model: "x" }, "both"), ["model", "both", reflecting])
  assert.equal(asked({ kind: "reflector", reflector: "model", model: "x" }, "rules"), ["model", "model", reflecting])
  const refused = (reflector: "rules" | "model", change: RerunChange) => Result.getOrThrow(Result.flip(changed(of(reflector), change)))
  assert.match(refused("model", { kind: "reflector", reflector: "model", model: "r" }), /reflected on by r: name another model, or rules/)
  assert.match(refused("model", { kind: "reflector", reflector: "model" }), /reflected on by r/)
  assert.match(refused("rules", { kind: "reflector", reflector: "rules" }), /reflected on by rules: name another model$/)
  assert.ok(Result.isSuccess(changed(of("rules"), { kind: "reflector", reflector: "model" })))
  assert.equal([changeText({ kind: "reflector", reflector: "rules" }), changeText({ kind: "reflector", reflector: "model", model: "x" })], ["reflected on by rules", "reflected on by x"])
})

test("a branch is asked for as its run was, but for what is changed, and named by it", () => {
  const of = { run: "r", from: 1, start: { ...start, parameters: parameters({ mix: { rare: 2 }, patience: 5 }) }, last: 6, seed: 8 }
  assert.match(firstLookText(40), /the 40 questions announced .* `metamem eval` on them first/)
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
  assert.equal([placebo.request.judge, placebo.request.reflector, placebo.request.models], ["lexical", of.start.parameters.reflector, of.start.parameters.models])
  assert.equal([dropped.request.mix, dropped.request.patience], [{ rare: 2 }, 5])
})

test("a spread is in order, and what is not known is in none of it", () => {
  assert.equal(spreadOf([0.5, null, -0.5, 0.25]), { values: [-0.5, 0.25, 0.5], mean: 0.25 / 3, low: -0.5, high: 0.5 })
  assert.equal(spreadOf([null]), { values: [], mean: null, low: null, high: null })
})

test("branches are compared pair by pair on answers that were judged", () => {
  const end = (run: string, outcomes: string) => ({ run, generation: 2, hash: "h", principles: 3, reader: "m", outcomes })
  const { difference, placebo, reseeds } = comparisonFigures({ pairs: [
    { seed: 7, changed: end("a", "cci"), placebo: end("b", "cii") },
    { seed: 8, changed: end("c", "ecc"), placebo: end("d", "eci") },
    { seed: 9, changed: end("e", "eee"), placebo: end("f", "ccc") }
  ] })
  assert.equal(reseeds.map(({ changed, placebo, seed }) => [seed, changed.run, changed.accuracy, placebo.accuracy]), [[7, "a", 2 / 3, 1 / 3], [8, "c", 1, 0.5], [9, "e", null, 1]])
  assert.equal([reseeds[0]?.changed.generations, difference.values.length, difference.high, reseeds[2]?.difference, placebo.low, placebo.high], [3, 2, 0.5, null, 1 / 3, 1])
})

test.run()
