import { join } from "node:path"
import { Effect, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { readReference, type ReferenceFolder } from "#services/cli/reference-reading"
import { trainingAttempt } from "#services/reflector/analysis"
import { effect } from "#test/support/effect"
import { temporaryFolder } from "#test/support/nats"
import { lines, publishedFolder, rows, writeFolder } from "./reference-folder.ts"

const test = suite("folders of the published system read")

const reading = (changes: Readonly<Record<string, string | undefined>> = {}) =>
  Effect.gen(function*() {
    const folder = join(yield* temporaryFolder, "experiment_1")
    writeFolder(folder, changes)
    return yield* Effect.result(readReference(folder))
  })
/** What it says where it reads on, by file. */
const lostOf = (read: Result.Result<ReferenceFolder, unknown>) => Object.fromEntries(Result.getOrThrow(read as never as Result.Result<ReferenceFolder>).lost.map(({ file, what }) => [file, what]))
const refusalOf = (read: Result.Result<ReferenceFolder, { readonly message: string }>) => (Result.isFailure(read) ? read.failure.message : "")

effect(test, "a folder is read whole: verdicts, lessons, proposals, operations and evaluations, each with what it is about", () =>
  Effect.gen(function*() {
    const read = Result.getOrThrow(yield* reading())
    assert.equal(read.steps.map(({ attempts, epoch }) => [epoch, attempts]), [0, 1].map((epoch) => [epoch, [{ question: "q1", verdicts: "ci" }, { question: "q2", verdicts: "cc" }, { question: "q3", verdicts: "ee" }]]))
    assert.equal(read.steps.map(({ reflected }) => reflected), [[trainingAttempt(1, "q1", 1), trainingAttempt(1, "q1", 0)], [trainingAttempt(2, "q1", 0)]])
    const [first, second] = read.steps
    assert.equal(first?.proposals.found, [{ operation: { operation: "add", content: "Prefer bees." }, sources: ["q1"] }])
    assert.equal(first?.proposals.discarded, { "no operation that is known": 2, "without an id": 1 })
    assert.equal(first?.operations.found.map(({ sources }) => sources), [["q1"], []])
    // M2 of the file is the second that has a text.
    assert.equal(second?.operations.found.map(({ operation }) => operation.id), ["M1", "M7"])
    assert.equal(read.generations.map(({ principles }) => principles), [["Prefer bees.", "Be brief."], ["Prefer bees.", "Be very brief."]])
    assert.equal(read.generations[1]?.updates, [{ before: "Be brief.", after: "Be very brief." }])
    assert.equal(Object.entries(read.evaluation?.steps ?? {}).map(([place, { results }]) => [place, results.correct]), [["step_2", 30]])
    assert.equal(read.texts.map(({ kind }) => kind).sort().join(), [...Array(2).fill("proposal"), ...Array(3).fill("reflection"), ...Array(12).fill("rollout")].join())
    assert.equal([read.empty, read.lost.map(({ file }) => file)], [1, ["step_0/proposed_updates.json"]])
  }))

effect(test, "what is missing or cut is told by file with what is lost, and the rest is read", () =>
  Effect.gen(function*() {
    const gone = yield* reading(Object.fromEntries(Object.keys(publishedFolder).filter((name) => !name.includes("meta_memories")).map((name) => [name, undefined])))
    assert.equal(Object.keys(lostOf(gone)), ["stats.json", "eval_results.json"], "a folder of generations alone")
    const without = lostOf(yield* reading({ "step_0/rollout.jsonl": undefined, "step_1/trajectory_summaries.json": undefined, "step_1/applied_updates.json": undefined, "stats.json": "{" }))
    assert.match(without["step_0/rollout.jsonl"] ?? "", /missing: the attempts of that step are lost/)
    assert.match(without["step_1/trajectory_summaries.json"] ?? "", /missing: what its attempts taught/)
    assert.match(without["step_1/applied_updates.json"] ?? "", /missing: what became of the proposals/)
    assert.match(without["stats.json"] ?? "", /cut off or has another form: in which epoch/)
    const cut = lostOf(yield* reading({
      "step_0/rollout.jsonl": lines(rows).slice(0, -30), "step_1/trajectory_summaries.json": "{\"Problem 1?\": [", "step_1/proposed_updates.json": "[{", "eval_results.json": "{}"
    }))
    assert.match(cut["step_0/rollout.jsonl"] ?? "", /ends in the middle of line 6/)
    assert.match(cut["step_1/trajectory_summaries.json"] ?? "", /cut off/)
    assert.match(cut["step_1/proposed_updates.json"] ?? "", /cut off.*what was proposed/)
    assert.match(cut["eval_results.json"] ?? "", /cut off.*other questions/)
    const foreign = lostOf(yield* reading({ "step_1/trajectory_summaries.json": JSON.stringify({ "Another?": [{ problem: "Another?", response: "", reward: true, summary: "s" }] }), "step_1/proposed_updates.json": JSON.stringify([{ problem: "Another?", operations: [] }]) }))
    assert.match(foreign["step_1/trajectory_summaries.json"] ?? "", /1 summaries of attempts that rollout.jsonl does not hold/)
    assert.match(foreign["step_1/proposed_updates.json"] ?? "", /1 entries on questions/)
  }))

effect(test, "a damaged file that ids or lineage rest on is refused by name, and so is a line amid others that is no attempt", () =>
  Effect.gen(function*() {
    assert.match(refusalOf(yield* reading({ "step_2/meta_memories.json": "{\"M0\": \"Pre" })), /step_2\/meta_memories.json does not hold principles/)
    assert.match(refusalOf(yield* reading({ "step_0/applied_updates.json": "{" })), /step_0\/applied_updates.json does not hold operations.*counts as another one/)
    assert.match(refusalOf(yield* reading({ "step_1/rollout.jsonl": `{}\n${lines(rows)}` })), /step_1\/rollout.jsonl line 1 is no attempt/)
    // It may become a user's name.
    assert.match(refusalOf(yield* reading({ "step_1/rollout.jsonl": lines([{ ...rows[0], question_id: "q".repeat(257) }, ...rows]) })), /line 1 is no attempt.*at most 256 bytes/)
    assert.match(refusalOf(yield* reading({ "step_1/meta_memories.json": undefined, "step_2/meta_memories.json": undefined })), /not a training folder/)
  }))

effect(test, "folders with the same generations and other attempts differ in their contents", () =>
  Effect.gen(function*() {
    const [one, other] = [Result.getOrThrow(yield* reading()), Result.getOrThrow(yield* reading({ "step_1/rollout.jsonl": lines(rows.slice(1)) }))]
    assert.equal(one.generations, other.generations)
    assert.is.not(one.contents, other.contents)
    assert.is(Result.getOrThrow(yield* reading()).contents, one.contents)
  }))

test.run()
