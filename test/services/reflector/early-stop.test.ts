import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { JobResult } from "#services/reflector/protocol"
import { isThrough, type RunJob, stageCommand, stoppedEarly } from "#services/reflector/stages"
import type { RunState } from "#services/reflector/state"
import { statusOf } from "#services/reflector/status"
import { behaviour } from "#services/reflector/behaviour"
import { address, parameters, simulate } from "./simulation.ts"

const test = suite("an early end")

const allRight = (job: RunJob): JobResult | undefined => (job.kind === "judgement" ? { kind: job.kind, key: job.key, status: "done", data: { verdict: "correct" }, checksum: "x" } : undefined)

test("a run that seals nothing ends after as many steps as its patience, and says so", () => {
  const { commits, state } = simulate(parameters({ steps: 9, patience: 4 }), allRight)
  assert.equal(state.steps.map(({ step }) => step), [1, 2, 3, 4])
  assert.equal(state.stopped, { step: 4, reason: "4 steps in a row sealed nothing, and no trial is open" })
  assert.equal((commits.at(-1)?.events.at(-1)?.data as { stopped?: unknown }).stopped, state.stopped)
  assert.equal([statusOf(state, address, undefined).stage, statusOf(state, address, undefined).step], ["finished", 4])
})

test("without patience, or with more than it has steps, a run goes through", () => {
  for (const patience of [{}, { patience: 0 }, { patience: 4 }]) {
    const { commits, state } = simulate(parameters({ steps: 4, ...patience }), allRight)
    assert.equal([state.steps.length, state.stopped], [4, undefined])
    assert.not.ok("stopped" in (commits.at(-1)?.events.at(-1)?.data as object))
  }
})

test("a generation sealed begins the count anew, and the guard test follows an early end", () => {
  const whole = simulate(parameters({ steps: 14 })).state
  const last = whole.generations.at(-1)
  assert.ok(last !== undefined && last.number > 0 && last.step + 3 < 14, "the simulated run stops learning in time: choose another seed")
  const { commits, state } = simulate(parameters({ steps: 14, patience: 3 }))
  assert.equal(state.generations.map(({ hash }) => hash), whole.generations.map(({ hash }) => hash), "nothing is lost here, and what was sealed is the same")
  assert.ok((state.stopped?.step ?? 0) >= last.step + 3 && (state.stopped?.step ?? 99) < 14)
  assert.ok(commits.flatMap(({ events }) => events).some(({ type }) => type === "GuardTested"))
  assert.equal(simulate(parameters({ steps: 14, patience: 3 }), undefined, (jobs) => [...jobs].reverse()).commits.map(({ events }) => events), commits.map(({ events }) => events))
})

test("a trial that is open keeps a run going", () => {
  const { state } = simulate(parameters({ steps: 9, patience: 2 }), allRight)
  const between: RunState = { ...state, phase: { _tag: "Between", step: 3 } }
  assert.ok(isThrough(between))
  assert.is(stageCommand(between, new Map())?._tag, "FinishRun")
  const trial = { id: "O1", step: 2, index: 0, operation: { operation: "add" as const, content: "x", scope: "time" as const }, scope: "time" as const, spreading: false, looks: 1, reopened: 0, voids: 0, candidate: {}, base: "", z: 1 }
  const waiting: RunState = { ...between, trials: { ...between.trials, trials: [{ ...trial, state: "open" }] } }
  assert.is(stoppedEarly(waiting), undefined)
  assert.is(stageCommand(waiting, new Map())?._tag, "StartStep")
  assert.equal(Result.getOrThrow(behaviour.decide(waiting, { _tag: "FinishRun", results: new Map() })), [])
  assert.ok(stoppedEarly({ ...waiting, trials: { ...waiting.trials, trials: [{ ...trial, state: "undecided" }] } }) !== undefined)
})

test("a branch counts from where it begins", () => {
  const branch = { run: "r", generation: 1, step: 5, change: "nothing changed", principles: [], memoryPosition: 5 }
  const { state } = simulate(parameters({ steps: 20, patience: 3, branch }), allRight)
  assert.equal([state.steps.map(({ step }) => step), state.stopped?.step], [[6, 7, 8], 8])
})

test("a step started or a run finished out of turn adds nothing", () => {
  const { state } = simulate(parameters({ steps: 9, patience: 2 }), allRight)
  const between: RunState = { ...state, phase: { _tag: "Between", step: 3 } }
  assert.equal(Result.getOrThrow(behaviour.decide(between, { _tag: "StartStep", step: 3 })), [])
  const early: RunState = { ...state, phase: { _tag: "Between", step: 2 } }
  assert.equal(Result.getOrThrow(behaviour.decide(early, { _tag: "FinishRun", results: new Map() })), [])
})

test.run()
