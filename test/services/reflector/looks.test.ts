import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { TestOutcome } from "#shared/metamemory/paired-test"
import { behaviour } from "#services/reflector/behaviour"
import type { RunCommand } from "#services/reflector/protocol"
import type { RunState } from "#services/reflector/state"
import { parameters, question, simulate } from "./simulation.ts"

const test = suite("looks at the test split")

const place = { id: "", sequence: 0, cause: "", inputThrough: 0, binary: new Uint8Array(0) }
const run = () => simulate(parameters({ steps: 2, test: ["x0", "x1", "x2"].map((id) => question(id)) })).state
const decided = (state: RunState, command: RunCommand) => behaviour.decide(state, command)
/** Decides and folds; gives what was recorded. */
const given = (state: RunState, command: RunCommand) => {
  const events = Result.getOrThrow(decided(state, command))
  for (const event of events) behaviour.evolve(state, event, place)
  return events
}
const refusal = (state: RunState, command: RunCommand) => Result.getOrThrow(Result.flip(decided(state, command))).message
const open = (generation: number, questions: ReadonlyArray<string>, memoryPosition = 9): RunCommand => ({ _tag: "OpenTest", generation, questions, memoryPosition })
const outcomes = (letters: string): ReadonlyArray<TestOutcome> => letters.split(" ").map((pair, at) => ({ question: `x${at}`, empty: pair[0] as "c", tested: pair[1] as "c" }))
const report = (look: number, letters: string): RunCommand => ({ _tag: "ReportTest", look, outcomes: outcomes(letters) })

test("the first look is number one, the same again is no further one, and anything else is the next", () => {
  const state = run()
  assert.equal(given(state, open(1, ["x2", "x0", "x1"])), [{ _tag: "TestOpened", look: 1, generation: 1, questions: ["x0", "x1", "x2"], memoryPosition: 9 }])
  assert.equal(given(state, open(1, ["x0", "x1", "x2"], 77)), [], "whatever was remembered since")
  assert.equal(given(state, open(0, ["x0", "x1", "x2"])).map((event) => "look" in event && event.look), [2])
  assert.equal(given(state, open(1, ["x0"])).map((event) => "look" in event && event.look), [3])
  assert.equal(state.tests.map(({ generation, look, memoryPosition }) => [look, generation, memoryPosition]), [[1, 1, 9], [2, 0, 9], [3, 1, 9]])
})

test("what was not announced, or is not there, is refused", () => {
  const state = run()
  assert.match(refusal(state, open(1, ["x0", "t0"])), /1 of these questions were not announced/)
  assert.match(refusal(state, open(1, [])), /not announced/)
  assert.match(refusal(state, open(99, ["x0"])), /no 99/)
  assert.match(refusal(state, report(1, "ic")), /no look 1/)
  assert.equal(decided(behaviour.initial(), open(0, ["x0"]))._tag, "Failure")
  given(state, open(1, ["x0", "x1"]))
  assert.match(refusal(state, report(1, "ic")), /just these/)
  assert.match(refusal(state, report(1, "ic ic ic")), /just these/)
})

test("a report says how both sides came out, and a run goes on as if nobody had looked", () => {
  const state = run()
  const before = { phase: state.phase, digest: state.digest, recommended: state.recommended }
  given(state, open(1, ["x0", "x1", "x2"]))
  const [reported] = given(state, report(1, "ic ic cc"))
  assert.ok(reported?._tag === "TestReported")
  assert.equal(reported.counts, { questions: 3, clusters: 3, emptyCorrect: 1, testedCorrect: 3, gained: 2, lost: 0, errors: 0 })
  assert.ok(Math.abs(reported.difference - 2 / 3) < 1e-12)
  // Two clusters moved, both up: one of four sign patterns.
  assert.is(reported.p, 0.25)
  assert.equal(state.tests[0]?.report, reported)
  assert.equal({ phase: state.phase, digest: state.digest, recommended: state.recommended }, before)
})

test("a report stands, but for errors that are made good", () => {
  const state = run()
  given(state, open(1, ["x0", "x1", "x2"]))
  given(state, report(1, "ic ee cc"))
  assert.equal(given(state, report(1, "ce ec cc")), [], "no error less")
  const [again] = given(state, report(1, "ci ci cc"))
  assert.ok(again?._tag === "TestReported")
  // What was answered the first time is kept; only the errors are filled in.
  assert.equal(again.outcomes, outcomes("ic ci cc"))
  assert.equal(given(state, report(1, "cc cc cc")), [])
})

test.run()
