import { Effect } from "effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { readDataset } from "#shared/datasets/read-dataset"
import { pairsAbove } from "#services/cli/similar"
import { foldsOf, itemsFor, splitRows, splittable, untestedText } from "#services/cli/split"
import { partsOf } from "#services/cli/question-parts"
import { effect } from "../../support/effect.ts"

const test = suite("a split's files")

const folder = mkdtempSync(join(tmpdir(), "split-"))
test.after(() => rmSync(folder, { recursive: true, force: true }))
const file = (name: string, rows: ReadonlyArray<unknown>): string => {
  const path = join(folder, name)
  writeFileSync(path, JSON.stringify(rows))
  return path
}

effect(test, "what keeps questions together is the same when a split's file is split again", () =>
  Effect.gen(function*() {
    const row = { question_id: "q1", question: "How many cats?", answer: "3", answer_session_ids: ["s1", "s2"], haystack_dates: [], haystack_sessions: [] }
    const first = yield* readDataset(file("first.json", [row, { ...row, question_id: "q2", answer_session_ids: ["s2"] }, { ...row, question_id: "q3", answer_session_ids: [] }]))
    const again = yield* readDataset(file("again.json", [...splitRows(first.questions, first.bonds)]))
    const bondsOf = ({ bonds, questions }: typeof first) => questions.map((question) => splittable(question, bonds).bonds)
    assert.equal(bondsOf(again), bondsOf(first))
    const [one, two, three] = bondsOf(first)
    assert.is(one?.filter((bond) => two?.includes(bond)).length, 1)
    assert.is(three?.length, 2)
  }))

effect(test, "the points of an answer that a judge goes by stand in a split's file", () =>
  Effect.gen(function*() {
    const chat = {
      chat_id: 1,
      batches: [{ time_anchor: "March-15-2024", turns: [[{ role: "user", id: 0, content: "Plan it" }]] }],
      probing_questions: { summarization: [{ question: "What?", ideal_summary: "x", rubric: ["LLM response should contain: a plan"] }] }
    }
    const first = yield* readDataset(file("beam.json", [chat]))
    const again = yield* readDataset(file("beam-split.json", [...splitRows(first.questions)]))
    assert.equal(again.questions, first.questions)
    assert.equal(again.questions[0]?.points, ["a plan"])
  }))

effect(test, "the sample's questions, which evidence sessions chain together, are divided all the same, and it is told", () =>
  Effect.gen(function*() {
    const sample = yield* readDataset(join(import.meta.dirname, "../../../data/questions.json"))
    const { chained, parts } = foldsOf(sample, "stratified", 5, 42, [])
    assert.ok(chained)
    assert.ok(parts.every(({ test, train, val }) => test.length > 5 && train.length > 20 && val.length > 2))
    const clusters = (part: ReadonlyArray<{ readonly cluster: string }>) => part.map(({ cluster }) => cluster)
    for (const { test, train } of parts) assert.equal(clusters(test).filter((cluster) => clusters(train).includes(cluster)), [])
    const run = partsOf(sample, {}, 42, 60)
    assert.ok(run.chained)
    assert.ok(run.train.length > 20 && run.validation.length > 10 && run.guard.length > 3)
    assert.not(itemsFor(2, sample, []).chained)
    assert.throws(() => foldsOf({ ...sample, questions: sample.questions.map((question) => ({ ...question, user: "u" })) }, "stratified", 5, 42, []), /1 groups that belong together/)
  }))

test("questions of two users above a cosine of .9 are a pair, a user's own are none", () => {
  const unit = (...values: ReadonlyArray<number>): Float32Array => Float32Array.from(values.map((value) => value / Math.hypot(...values)))
  const questions = [{ id: "a", user: "u" }, { id: "b", user: "v" }, { id: "c", user: "v" }, { id: "d", user: "w" }]
  assert.equal(pairsAbove(questions, [unit(1, 0), unit(1, 0.2), unit(1, 0.2), unit(1, 0.6)]), [["a", "b"], ["a", "c"], ["b", "d"], ["c", "d"]])
  assert.equal(pairsAbove(questions, [unit(1, 0), unit(0, 1), unit(1, -1), unit(-1, 0)]), [])
})

effect(test, "questions that the published cuts test in no fold are told of", () =>
  Effect.gen(function*() {
    const sample = yield* readDataset(join(import.meta.dirname, "../../../data/questions.json"))
    const told = (mode: "reference" | "stratified", copies: number) => {
      const questions = Array.from({ length: copies }, (_, n) => sample.questions.map((question) => ({ ...question, id: `${n}-${question.id}`, user: `${n}-${question.user}`, cluster: `${n}-${question.cluster}` }))).flat()
      return untestedText(foldsOf({ questions, bonds: new Map() }, mode, 5, 42, []).parts, questions.length)
    }
    const copies = Math.ceil(510 / sample.questions.length)
    assert.match(told("reference", copies) ?? "", new RegExp(`^${copies * sample.questions.length - 500} of ${copies * sample.questions.length} questions stand in no fold's test part`))
    assert.is(told("stratified", copies), undefined)
  }))

test.run()
