import { Effect, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Commit } from "#shared/eventlog/envelope"
import { attemptsOf, curveOf, foldRun, replayGeneration, trainingAttempt } from "#services/reflector/analysis"
import { behaviour } from "#services/reflector/behaviour"
import type { RunCommand } from "#services/reflector/protocol"
import { type JudgeCalibrated, reflectorCodec } from "#services/reflector/run-events"
import { causeOf } from "#services/reflector/stages"
import { parameters } from "./simulation.ts"

const test = suite("the record of an imported run")

const generation = (step: number, principles: ReadonlyArray<string>, updates: ReadonlyArray<{ before: string; after: string }> = []) => ({ step, principles, updates })
const nothing = { found: [], discarded: {} }
const foundIn = (step: number, attempts: ReadonlyArray<{ question: string; verdicts: string }>) => ({ step, epoch: 0, attempts, reflected: [], proposals: nothing, operations: nothing })
const folder = [
  generation(1, ["a", "b"]),
  generation(2, ["a", "b"]),
  generation(3, ["a", "B", "c"], [{ before: "b", after: "B" }]),
  generation(4, ["B", "c"]),
  generation(5, ["c", "B", "c"])
]

const commitOf = (command: RunCommand, before: ReadonlyArray<Commit> = []): ReadonlyArray<Commit> => {
  const { state } = Effect.runSync(foldRun(before))
  const events = Result.getOrThrow(behaviour.decide(state, command))
  if (events.length === 0) return before
  return [...before, {
    id: "", subject: "s", sequence: before.length + 1, time: "", cause: causeOf(command), correlation: "", inputThrough: 0, checksum: "", previousChecksum: "",
    events: JSON.parse(JSON.stringify(events.map((event) => reflectorCodec.encode(event)))), binary: new Uint8Array(0)
  }]
}
const imported = (generations = folder, digest = "d") => commitOf({ _tag: "ImportRun", record: { origin: "x", generations }, digest })
const stateOf = (commits: ReadonlyArray<Commit>) => Effect.runSync(foldRun(commits)).state

test("every generation holds the texts that were read, in order, and replays to its hash", () => {
  const state = stateOf(imported())
  assert.equal(state.generations.map(({ principles }) => principles.map(({ text }) => text)), [[], ["a", "b"], ["a", "B", "c"], ["B", "c"], ["c", "B", "c"]])
  assert.equal(state.generations.map(({ step }) => step), [-1, 1, 3, 4, 5])
  for (const { hash, number, principles } of state.generations) {
    assert.is(replayGeneration(state, number)?.hash, hash)
    assert.equal(replayGeneration(state, number)?.principles, principles)
  }
  assert.is(state.phase._tag, "Finished")
})

test("attempts come along by verdict, also of steps that changed nothing, and neither ids nor hashes depend on them", () => {
  const steps = [
    foundIn(1, [{ question: "q1", verdicts: "cie" }, { question: "q2", verdicts: "ccc" }]), foundIn(2, [{ question: "q1", verdicts: "ii" }]), foundIn(6, [{ question: "q2", verdicts: "c" }])
  ]
  const state = stateOf(commitOf({ _tag: "ImportRun", record: { origin: "x", generations: folder, steps }, digest: "d" }))
  assert.equal(state.steps.map(({ attempts, generation, step }) => [step, generation, attempts.map(({ verdicts }) => verdicts)]), [[1, 0, ["cie", "ccc"]], [2, 1, ["ii"]], [6, 4, ["c"]]])
  assert.equal(state.generations.map(({ hash }) => hash), stateOf(imported()).generations.map(({ hash }) => hash))
  for (const { hash, number } of state.generations) assert.is(replayGeneration(state, number)?.hash, hash)
  assert.is(state.phase._tag, "Finished")
})

test("proposals and operations come along under the ids of principles, with the questions they came from", () => {
  const steps = [
    {
      ...foundIn(3, [{ question: "q1", verdicts: "ci" }]),
      reflected: [trainingAttempt(3, "q1", 1)],
      proposals: { found: [{ operation: { operation: "update" as const, id: "M1", content: "B" }, sources: ["q1"] }], discarded: { "without an id": 2 } },
      operations: { found: [{ operation: { operation: "update" as const, id: "M1", content: " B " }, sources: ["q1"] }, { operation: { operation: "delete" as const, id: "M9" }, sources: [] }], discarded: {} }
    },
    { ...foundIn(5, []), operations: { found: [{ operation: { operation: "add" as const, content: "never taken" }, sources: ["q1"] }], discarded: {} } }
  ]
  const commits = commitOf({ _tag: "ImportRun", record: { origin: "x", generations: folder, steps, contents: "c" }, digest: "d" })
  const state = stateOf(commits)
  const b = state.generations[1]?.principles[1]?.id
  const events = commits[0]?.events ?? []
  const data = (type: string) => events.filter((event) => event.type === type).map(({ data }) => data as any)
  assert.equal(data("ProposalsFolded").map(({ discarded, proposals }) => [proposals, discarded]), [[[{ operation: { operation: "update", id: b, content: "B" }, sources: ["q1"] }], { "without an id": 2 }]])
  const third = data("OperationsConsolidated").find(({ step }) => step === 3)
  assert.equal([third.operations.map(({ operation }: any) => operation.id), third.refused.map(({ operation }: any) => operation.id)], [[b], ["M9"]], "an operation on a principle that is not there is kept as refused")
  assert.equal(state.operations.filter(({ step }) => step === 3).map(({ operation, sources }) => [operation, sources]), [["update", ["q1"]], ["add", []]])
  assert.equal(attemptsOf(state, 3, "q1").length, 2)
  assert.equal(curveOf(state).map(({ step }) => step), [3], "a step without attempts is no point of a curve")
  for (const { hash, number } of state.generations) assert.is(replayGeneration(state, number)?.hash, hash)
  assert.is(state.phase._tag, "Finished")

  const with_ = (contents: string) => behaviour.decide(state, { _tag: "ImportRun", record: { origin: "x", generations: folder, contents }, digest: "d" })
  assert.equal(Result.getOrThrow(with_("c")), [])
  assert.ok(Result.isFailure(with_("other attempts beside the same generations")))
  assert.equal(Result.getOrThrow(behaviour.decide(stateOf(imported()), { _tag: "ImportRun", record: { origin: "x", generations: folder, contents: "c" }, digest: "d" })), [], "a record of before stands")
})

test("ids stay with a principle for life, through rewording too, and derive from what was read", () => {
  const state = stateOf(imported())
  const id = (n: number, text: string) => state.generations[n]?.principles.find((principle) => principle.text === text)?.id
  assert.is(id(2, "B"), id(1, "b"))
  assert.is(id(3, "c"), id(2, "c"))
  assert.is(state.generations[2]?.principles[1]?.parents.length, 2)
  assert.equal(stateOf(imported()).generations, state.generations)
  assert.is.not(stateOf(imported(folder, "other")).generations[1]?.principles[0]?.id, id(1, "a"))
})

test("texts swapped by two updates at once are reworded and not lost", () => {
  const state = stateOf(imported([generation(1, ["a", "b"]), generation(2, ["b", "a"], [{ before: "a", after: "b" }, { before: "b", after: "a" }])]))
  assert.equal(state.generations.at(-1)?.principles.map(({ text }) => text), ["b", "a"])
})

test("the same record again adds nothing; another one, or a run of the same name, is refused both ways", () => {
  const commits = imported()
  assert.is(commitOf({ _tag: "ImportRun", record: { origin: "x", generations: folder }, digest: "d" }, commits), commits)
  const state = stateOf(commits)
  assert.ok(Result.isFailure(behaviour.decide(state, { _tag: "ImportRun", record: { origin: "x", generations: [] }, digest: "e" })))
  assert.ok(Result.isFailure(behaviour.decide(state, { _tag: "OpenRun", parameters: parameters() })))
  const run = stateOf(commitOf({ _tag: "OpenRun", parameters: parameters() }))
  assert.ok(Result.isFailure(behaviour.decide(run, { _tag: "ImportRun", record: { origin: "x", generations: folder }, digest: "d" })))
})

test("a calibration is kept beside a run and changes nothing of it; where there is no run it is not kept", () => {
  const event: JudgeCalibrated = { _tag: "JudgeCalibrated", judge: "lexical", labels: "l", counts: { t: { rightJudgedRight: 1, rightJudgedWrong: 0, wrongJudgedWrong: 1, wrongJudgedRight: 0, errors: 0 } } }
  const opened = commitOf({ _tag: "OpenRun", parameters: parameters() })
  const state = stateOf(commitOf({ _tag: "RecordCalibration", event }, opened))
  assert.equal(state.calibrations, [event])
  assert.equal([state.phase, state.trials, state.digest], [stateOf(opened).phase, stateOf(opened).trials, ""])
  assert.equal(commitOf({ _tag: "RecordCalibration", event }), [])
})

test.run()
