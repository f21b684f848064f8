import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Principle } from "#shared/domain/principle"
import { generationHash } from "#shared/metamemory/generation"
import { replayGeneration } from "#services/reflector/analysis"
import { behaviour } from "#services/reflector/behaviour"
import type { RunJob } from "#services/reflector/stages"
import { parameters, simulate } from "./simulation.ts"

const test = suite("branches")

const principle = (id: string, text: string): Principle => ({ id, text, scope: "single-fact", bornIn: 1, parents: ["O1-1-abc"] })
const begun = [principle("P1-1-abc", "Name the dates.")]
const branch = { run: "r", generation: 1, step: 2, change: "without P1-2-def", principles: begun, memoryPosition: 5 }

test("a branch begins with its principles as generation 0, goes on with the next step, and replays", () => {
  const { state } = simulate(parameters({ steps: 5, branch }))
  assert.equal(state.generations[0]?.principles, begun)
  assert.is(state.generations[0]?.hash, generationHash({ number: 0, principles: begun, gate: [] }))
  assert.equal(state.steps.map(({ step }) => step), [3, 4, 5])
  assert.ok(state.generations.length > 1, "the helpful principle is accepted on top")
  for (const { hash, number, principles } of state.generations) {
    assert.is(replayGeneration(state, number)?.hash, hash)
    assert.equal(replayGeneration(state, number)?.principles, principles)
  }
  assert.is(state.generations.at(-1)?.principles[0]?.id, "P1-1-abc")
})

test("new principles never take an id of the run it comes from", () => {
  const whole = simulate(parameters({ steps: 2 })).state
  const { state } = simulate(parameters({ steps: 4, branch: { ...branch, principles: whole.generations.at(-1)?.principles ?? [] } }))
  const before = new Set(whole.operations.flatMap(({ after }) => (after === undefined ? [] : [after.id])))
  const born = state.operations.flatMap(({ after, operation }) => (operation === "add" && after !== undefined ? [after.id] : []))
  assert.ok(born.length > 0)
  assert.equal(born.filter((id) => before.has(id)), [])
})

test("its guard test is against what it began with", () => {
  const asked: Array<RunJob> = []
  simulate(parameters({ steps: 5, branch }), (job) => {
    if (job.kind === "rollout" && job.key.startsWith("g0_")) asked.push(job)
    return undefined
  })
  assert.ok(asked.length > 0)
  for (const { input } of asked) assert.equal("principles" in input && input.principles.map(({ id }) => id), ["P1-1-abc"])
})

test("what was tried before it is shown to its proposers and not tried again", () => {
  const plain = simulate(parameters({ steps: 5, branch })).state
  const [first] = plain.operations.filter(({ operation }) => operation === "add")
  assert.ok(first?.after !== undefined)
  const ledger = [{ id: "O2-1-old", step: 2, operation: "add", scope: first.scope, text: first.after.text, outcome: "rejected", reader: "m" }] as const
  const shown: Array<ReadonlyArray<string>> = []
  const { state } = simulate(parameters({ steps: 5, branch, ledger, models: { answer: "m" } }), (job) => {
    if (job.kind === "proposal") shown.push(job.input.ledger.map(({ id }) => id))
    return undefined
  })
  assert.ok(shown.length > 0 && shown.some((ids) => ids[0] === "O2-1-old"), JSON.stringify(shown))
  assert.equal(state.operations.filter(({ after, scope }) => scope === first.scope && after?.text === first.after?.text), [])
  const refused = behaviour.decide(state, { _tag: "OpenRun", parameters: parameters({ steps: 5, branch, models: { answer: "m" }, ledger: [] }) })
  assert.ok(Result.isFailure(refused) && /another ledger of what was tried before/.test(refused.failure.message))
})

test("the same name with another beginning is refused", () => {
  const { state } = simulate(parameters({ steps: 3, branch }))
  const refused = behaviour.decide(state, { _tag: "OpenRun", parameters: parameters({ steps: 3, branch: { ...branch, principles: [] } }) })
  assert.ok(Result.isFailure(refused))
  assert.match(refused.failure.message, /branch/)
  assert.equal(Result.getOrThrow(behaviour.decide(state, { _tag: "OpenRun", parameters: parameters({ steps: 3, branch }) })), [])
})

test.run()
