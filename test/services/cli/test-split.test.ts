import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { foldOf, generationTested, lookText, outcomesOf } from "#services/cli/test-split"
import { behaviour } from "#services/reflector/behaviour"
import type { RunCommand } from "#services/reflector/protocol"
import type { RunState } from "#services/reflector/state"
import { parameters, question, simulate } from "../reflector/simulation.ts"

const test = suite("the test of a run")

const judged = (id: string, verdict: "correct" | "incorrect" | "error") => ({ question: { id }, verdict })

test("a look is about the recommended generation where it is shown, else about the last one shown", () => {
  assert.is(generationTested([0, 1, 2, 3], 2), 2)
  assert.is(generationTested([0, 1, 2, 3], 0), 0)
  assert.is(generationTested([1, 3], 2), 3)
  assert.is(generationTested([0, 2, 1], undefined), 2)
})

test("both sides are put together by question, and what was not answered is an error", () => {
  const found = outcomesOf(["a", "b", "c"], [judged("b", "incorrect"), judged("a", "correct")], [judged("a", "error"), judged("b", "correct"), judged("z", "correct")])
  assert.equal(found, [{ question: "a", empty: "c", tested: "e" }, { question: "b", empty: "i", tested: "c" }, { question: "c", empty: "e", tested: "e" }])
})

const figures = { counts: { questions: 20, clusters: 18, emptyCorrect: 9, testedCorrect: 11, gained: 3, lost: 1, errors: 2 }, difference: 0.1, low: -0.05, high: 0.25, p: 0.3125 }

test("a first look is called the announced test, a later one no longer a first test", () => {
  const first = lookText({ ...figures, look: 1, first: true, generation: 3, announced: 22, asked: 22 })
  assert.match(first, /look 1 .*announced: generation 3 .* on 22 of 22 .*\+10\.0 points \(95 % -5\.0 to \+25\.0\).*p = 0\.31.*3 gained, 1 lost, 2 not judged/)
  const second = lookText({ ...figures, look: 2, first: false, generation: 3, announced: 22, asked: 5 })
  assert.match(second, /look 2 .*no longer a first test.* on 5 of 22/)
  assert.match(lookText({ ...figures, low: null, high: null, look: 1, first: true, generation: 0, announced: 22, asked: 1 }), /nothing to claim.*too few clusters/)
})

const run = (ids: ReadonlyArray<string>) => simulate(parameters({ steps: 2, test: ids.map((id) => question(id)) })).state
const given = (state: RunState, command: RunCommand): void => {
  const decided = behaviour.decide(state, command)
  if (decided._tag === "Failure") throw decided.failure
  for (const event of decided.success) behaviour.evolve(state, event, { id: "", sequence: 0, cause: "", inputThrough: 0, binary: new Uint8Array(0) })
}
const looked = (state: RunState, generation: number): void => {
  const questions = (state.parameters?.test ?? []).map(({ id }) => id)
  given(state, { _tag: "OpenTest", generation, questions, memoryPosition: 1 })
  given(state, { _tag: "ReportTest", look: state.tests.length, outcomes: questions.map((question) => ({ question, empty: "i", tested: "c" })) })
}
const refusal = (state: RunState) => Effect.runSync(Effect.flip(foldOf("r", state))).message

test("a fold is pooled by the first look at what it recommends, and refused without one", () => {
  const state = run(["x0", "x1"])
  const recommended = state.recommended ?? 0
  const other = recommended === 0 ? 1 : 0
  assert.match(refusal(state), new RegExp(`no reported test of generation ${recommended}`))
  looked(state, other)
  assert.match(refusal(state), /no reported test/)
  looked(state, recommended)
  const fold = Effect.runSync(foldOf("r", state))
  assert.equal([fold.look, fold.first, fold.generation, fold.asked, fold.announced], [2, false, recommended, 2, 2])
  assert.equal(fold.outcomes.map(({ cluster, question, user }) => [question, cluster, user]), [["x0", "c-x0", "u-x0"], ["x1", "c-x1", "u-x1"]])
  assert.match(refusal(run([])), /announced no questions/)
  assert.match(refusal({ ...state, recommended: undefined }), /not finished/)
})

test.run()
