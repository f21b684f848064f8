import { suite } from "uvu"
import * as assert from "uvu/assert"
import { principleCosts } from "#services/cli/cost"
import { curveReport } from "#services/cli/curve"
import { effectReport } from "#services/cli/effect"
import { blameReport, historyReport } from "#services/cli/lineage"
import { evolve } from "#services/reflector/evolve"
import type { RunResult } from "#services/cli/runs"
import { address, parameters, type Simulated, simulate } from "../reflector/simulation.ts"

const test = suite("a run read from its log")

const results = (run: Simulated): ReadonlyArray<RunResult> =>
  [...run.results].flatMap(([step, own]) =>
    [...own.values()].map(({ data, key, kind, status }) => ({ address: { ...address, step, kind, key }, settled: { _tag: "JobSettled", status, data, error: "", attempts: 1, worker: "w" } })))

const run = simulate(parameters({ steps: 8, dropShare: 0.5, samples: 4 }))
const last = run.state.generations.at(-1)
const [first] = last?.principles ?? []
if (last === undefined || first === undefined) throw new Error("the simulated run accepted nothing: choose another seed")

test("blame leads from a principle to its operations, questions and attempts, and counts them", () => {
  const report = blameReport(run.state, results(run), first.id)
  assert.ok(report !== undefined)
  assert.is(report.generation, last.number)
  assert.equal([report.operations.map(({ id }) => id), report.unknown], [[...first.parents], []])
  const [operation] = report.operations
  assert.ok(operation !== undefined && (operation.gate.difference ?? 0) > 0)
  assert.ok(operation.questions.length > 0)
  for (const { attempts, id } of operation.questions) {
    const letters = run.state.steps.find(({ step }) => step === operation.proposed)?.attempts.find(({ question }) => question === id)?.verdicts
    assert.is(attempts.map(({ verdict }) => verdict[0]).join(""), letters)
    assert.ok(attempts.every(({ calls, key }) => calls.includes(`${operation.proposed}/${key}`)))
  }
  const attempts = operation.questions.length * 4
  assert.equal(report.counts, { operations: 1, questions: operation.questions.length, rollouts: attempts, judgements: attempts, reflections: attempts })
})

test("what the gate took several steps to decide is blamed on the attempts it was proposed from", () => {
  const soon = blameReport(run.state, results(run), first.id)
  const late = simulate(parameters({ steps: 8, dropShare: 0.5, samples: 4 })).state
  const decided = late.generations.flatMap(({ decisions }) => decisions).find(({ after }) => after?.id === first.id)
  assert.ok(decided !== undefined)
  late.operations.length = 0
  evolve(late, { ...decided, step: decided.step + 2 }, { sequence: 1 })
  const report = blameReport(late, results(run), first.id)
  assert.equal(report?.operations.map(({ proposed, step }) => [step, proposed]), [[decided.step + 2, decided.step]])
  assert.equal(report?.operations.map(({ questions }) => questions), soon?.operations.map(({ questions }) => questions))
  assert.equal(report?.counts, soon?.counts)
})

test("a principle that spread to further classes has its lineage in each", () => {
  const spread = last.principles.filter(({ id }) => id !== first.id)
  for (const { id } of spread) assert.equal(blameReport(run.state, [], id)?.unknown, [], id)
})

test("nobody is to blame for what no generation holds, or not this one", () => {
  assert.is(blameReport(run.state, [], "P99-1-abc"), undefined)
  assert.is(blameReport(run.state, [], first.id, 0), undefined)
  assert.is(historyReport(run.state, "P99-1-abc"), undefined)
})

test("the history of a principle begins with its birth and names the generations that hold it", () => {
  const found = historyReport(run.state, first.id)
  assert.is(found?.entries[0]?.what, "added")
  assert.match(found?.entries[0]?.reason ?? "", /better/)
  assert.equal(found?.generations, run.state.generations.filter(({ number }) => number >= first.bornIn).map(({ number }) => number))
})

test("effects come with intervals, and nothing is retired that is not in force or was seen too briefly", () => {
  const { effects, retirements, rollouts } = effectReport(run.state)
  assert.ok(rollouts > 0 && effects.length > 0)
  for (const { effect, high, low } of effects) assert.ok(low === null || high === null || (low <= effect && effect <= high))
  const inForce = new Set(last.principles.map(({ id }) => id))
  assert.ok(retirements.every((id) => inForce.has(id)))
  assert.ok(effects.filter(({ retire }) => retire).every(({ high, steps }) => (high ?? 1) < 0.01 && steps >= 7))
  // Sent as JSON: an endless error becomes null, never a number that cannot be written.
  assert.equal(JSON.parse(JSON.stringify(effects)), effects)
})

test("what earlier words of a principle did is told apart from what its present ones do", () => {
  const [whole] = effectReport(run.state).effects
  if (whole === undefined) throw new Error("the simulated run dropped nothing: choose another seed")
  const words = "Say it in other words."
  /** The run as it would stand had its principle other words from a step on. */
  const reworded = (from: number) =>
    effectReport({
      ...run.state,
      generations: [...run.state.generations, { ...last, number: last.number + 1, principles: last.principles.map((principle) => (principle.id === whole.id ? { ...principle, text: words } : principle)) }],
      steps: run.state.steps.map((one) => (one.step >= from ? { ...one, generation: last.number + 1 } : one))
    }).effects
  const both = reworded(5)
  assert.equal(both.map(({ id, inForce, text }) => [id, inForce, text]).sort(), [[whole.id, false, whole.text], [whole.id, true, words]])
  assert.is(both.reduce((sum, { steps }) => sum + steps, 0), whole.steps)
  // No attempt was shown the words that were sealed last.
  assert.equal(reworded(9), [{ ...whole, inForce: false, retire: false }])
})

test("a run without dropping tells of no effects", () => {
  assert.equal(effectReport(simulate(parameters({ steps: 2, dropShare: 0 })).state).effects, [])
})

test("the curve has one point a step with an interval around it, and the generation the step sealed", () => {
  const points = curveReport(run.state)
  assert.is(points.length, 8)
  for (const { accuracy, interval: [low, high] } of points) assert.ok(accuracy !== null && low <= accuracy && accuracy <= high)
  assert.equal(points.flatMap(({ sealed }) => (sealed === null ? [] : [sealed])), run.state.generations.slice(1).map(({ number }) => number))
})

test("a curve is raw, and corrected too where the run's judge was calibrated", () => {
  const judge = run.state.parameters?.judge ?? "lexical"
  const counts = { t: { rightJudgedRight: 8, rightJudgedWrong: 2, wrongJudgedWrong: 9, wrongJudgedRight: 1, errors: 0 } }
  const calibrated = { ...run.state, calibrations: [{ _tag: "JudgeCalibrated" as const, judge, labels: "l", counts }] }
  for (const { accuracy, corrected } of curveReport(calibrated)) assert.ok(Math.abs((corrected ?? -1) - Math.min(1, Math.max(0, ((accuracy ?? 0) - 0.1) / 0.7))) < 1e-9)
  assert.ok(curveReport(run.state).every((step) => !("corrected" in step)))
})

test("a step of nothing but errors has no accuracy", () => {
  const failing = simulate(parameters({ steps: 1 }), ({ key, kind }) => (kind === "rollout" ? { kind, key, status: "failed", data: null, checksum: "x" } : undefined))
  const [point] = curveReport(failing.state)
  assert.equal([point?.accuracy, point?.errors], [null, 12])
})

test("a principle costs its tokens in the share of questions that are shown it", () => {
  for (const { scope, share, tokens, tokensPerAnswer } of principleCosts(run.state, (text) => text.length)) {
    assert.ok(tokens > 10)
    assert.is(tokensPerAnswer, tokens * share)
    assert.ok(scope === "all" ? share === 1 : share > 0 && share < 1)
  }
})

test.run()
