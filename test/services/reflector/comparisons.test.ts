import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { behaviour } from "#services/reflector/behaviour"
import type { Comparison } from "#services/reflector/protocol"
import type { BranchEnd } from "#services/reflector/run-events"
import type { RunState } from "#services/reflector/state"
import { parameters, simulate } from "./simulation.ts"

const test = suite("branches compared in a run's log")

const place = { id: "", sequence: 5, cause: "", inputThrough: 0, binary: new Uint8Array(0) }
const run = () => simulate(parameters({ steps: 2 })).state
const given = (state: RunState, found: Comparison) => {
  const events = Result.getOrThrow(behaviour.decide(state, { _tag: "RecordComparison", found }))
  for (const event of events) behaviour.evolve(state, event, place)
  return events.length
}
const refusal = (state: RunState, found: Comparison) => Result.getOrThrow(Result.flip(behaviour.decide(state, { _tag: "RecordComparison", found }))).message

const end = (run: string, outcomes: string): BranchEnd => ({ run, generation: 1, hash: run, principles: 1, reader: "m", outcomes })
const found = (changed: Partial<Comparison> = {}, outcomes = "ce"): Comparison => ({
  generation: 1, change: { kind: "gate", policy: "proven" }, last: 4, part: "test", questions: ["x0", "x1"], judge: "lexical",
  pairs: [{ seed: 7, changed: end("a", outcomes), placebo: end("b", "ci") }], reused: { answers: 1, ofAnswers: 4 },
  paid: { calls: 3, answers: 3, judgements: 0, promptTokens: 30, completionTokens: 3 }, ...changed
})

test("the same again is recorded only where fewer answers are errors, in the place of the first, and others beside it", () => {
  const state = run()
  const before = { phase: state.phase, digest: state.digest, recommended: state.recommended }
  assert.equal([given(state, found()), given(state, found()), given(state, found({}, "ee"))], [1, 0, 0])
  assert.equal([given(state, found({}, "ci")), given(state, found({}, "cc"))], [1, 0])
  assert.equal(state.comparisons.map(({ pairs, paid, reused }) => [pairs[0]?.changed.outcomes, paid.calls, reused.answers]), [["ci", 6, 1]])
  assert.equal([given(state, found({ last: 5 })), given(state, found({ change: { kind: "drop", principle: "P1" } })), state.comparisons.length], [1, 1, 3])
  assert.equal({ phase: state.phase, digest: state.digest, recommended: state.recommended }, before, "the run is as if nobody had asked")
})

test("what is no comparison of its branches is refused", () => {
  const state = run()
  assert.match(refusal(state, found({ generation: 99 })), /no 99/)
  assert.match(refusal(state, found({ questions: ["x0"] })), /all test questions/)
  assert.match(refusal(state, found({ part: "guard" })), /all guard questions/)
  assert.match(refusal(state, found({}, "c")), /one answer to each question/)
  assert.match(refusal(state, found({ pairs: [] })), /one answer to each question/)
  assert.match(refusal(behaviour.initial(), found()), /imported run/)
})

test.run()
