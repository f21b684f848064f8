import { suite } from "uvu"
import * as assert from "uvu/assert"
import { actors } from "#shared/eventlog/subjects"
import { repeats, type SentCall } from "#services/cli/bench/call-meter"
import { type Arm, compared, killPlan, killsTable } from "#services/cli/bench/kills"

const test = suite("bench kills")

const sent = (...calls: ReadonlyArray<string>): ReadonlyArray<SentCall> => calls.map((call) => ({ call, sender: "evaluator 1", role: "judge" }))
const arm = (changed: Partial<Arm> = {}): Arm => ({
  hashes: ["a", "b"], decisions: ["o", "s"], recommended: 1, isWhole: true, results: 100, errors: 0, seconds: 1, kills: [], inFlight: new Set(), sent: sent("x", "y"), jobsOf: new Map([["x", 1], ["y", 1]]), ...changed
})

test("every target is killed once before any a second time, at points of the run in order", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const plan = killPlan(10, 1_000, seed)
    assert.equal(new Set(plan.slice(0, 7).map(({ target }) => target)), new Set([...actors, "server"]))
    const points = plan.map(({ after }) => after)
    assert.equal(points, [...points].sort((a, b) => a - b))
    assert.ok(points.every((after) => after >= 1 && after < 900))
  }
})

test("a plan follows from its seed", () => {
  assert.equal(killPlan(10, 500, 3), killPlan(10, 500, 3))
  assert.not.equal(killPlan(10, 500, 3), killPlan(10, 500, 4))
  assert.equal(killPlan(0, 500, 3), [])
})

test("of calls sent several times, those beyond the first are counted", () => {
  assert.equal(repeats(sent("x", "y", "x", "z", "x", "z")), new Map([["x", 2], ["z", 1]]))
})

test("a run that paid again for what was in flight is as good as one that ran through", () => {
  const { equal, ok, repeated, repeatedOutside } = compared(arm(), arm({ sent: sent("x", "y", "x"), inFlight: new Set(["x"]) }), 1)
  assert.equal([ok, equal, repeated, repeatedOutside], [true, true, 1, 0])
})

test("one that paid again for more than was in flight is not", () => {
  const { equal, ok, repeated, repeatedOutside } = compared(arm(), arm({ sent: sent("x", "y", "x", "y"), inFlight: new Set(["x"]) }), 1)
  assert.equal([ok, equal, repeated, repeatedOutside], [false, true, 2, 1])
})

test("a verdict that two jobs ask for at once in two processes is told apart from what the kills cost", () => {
  const two = { sent: sent("x", "y", "x"), jobsOf: new Map([["x", 2], ["y", 1]]) }
  const { ok, repeated, repeatedOutside, shared, sharedUndisturbed } = compared(arm(two), arm(two), 1)
  assert.equal([ok, repeated, shared, sharedUndisturbed, repeatedOutside], [true, 1, 1, 1, 0])
  assert.is(compared(arm(two), arm({ ...two, sent: sent("x", "y", "x", "x") }), 1).ok, false, "once more than there are jobs")
})

test("another hash, a generation more, another recommendation and damage are each told", () => {
  for (const changed of [{ hashes: ["a", "c"] }, { hashes: ["a", "b", "c"] }, { hashes: ["a"] }, { decisions: ["o", "t"] }, { decisions: ["o", "s", "t"] }, { recommended: 0 }, { isWhole: false }]) assert.is(compared(arm(), arm(changed), 1).ok, false, JSON.stringify(changed))
  const result = compared(arm(), arm({ hashes: ["a", "c"], sent: sent("x", "w") }), 1)
  assert.equal([result.generations.map(({ equal }) => equal), result.callsInOne], [[true, false], 2])
  assert.match(killsTable(result), /1 +b +c +DIFFERENT/)
})

test.run()
