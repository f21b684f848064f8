import { Effect } from "effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { readDataset } from "#shared/datasets/read-dataset"
import { pairsAbove } from "#services/cli/similar"
import { splitRows, splittable } from "#services/cli/split"
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

test("questions of two users above a cosine of .9 are a pair, a user's own are none", () => {
  const unit = (...values: ReadonlyArray<number>): Float32Array => Float32Array.from(values.map((value) => value / Math.hypot(...values)))
  const questions = [{ id: "a", user: "u" }, { id: "b", user: "v" }, { id: "c", user: "v" }, { id: "d", user: "w" }]
  assert.equal(pairsAbove(questions, [unit(1, 0), unit(1, 0.2), unit(1, 0.2), unit(1, 0.6)]), [["a", "b"], ["a", "c"], ["b", "d"], ["c", "d"]])
  assert.equal(pairsAbove(questions, [unit(1, 0), unit(0, 1), unit(1, -1), unit(-1, 0)]), [])
})

test.run()
