/** A file of answers is gone on with only where it is one, of the same generation and data set. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { type AnswerLine, standingAnswers } from "#services/cli/answers-file"
import type { Question } from "#shared/domain/question"

const test = suite("files of answers")

const question = (id: string): Question => ({ id, text: `What is ${id}?`, type: "t", answer: `It is ${id}.`, abstention: false, user: "u", cluster: "c" })
const line = (id: string, changed: Partial<AnswerLine> = {}): string =>
  `${JSON.stringify({ question_id: id, problem: `What is ${id}?`, memories: [], principles: [], groundtruth: `It is ${id}.`, task: "t", response: "r", reward: 1, verdict: "correct", reason: "", run: "a", generation: 2, ...changed } satisfies AnswerLine)}\n`

const read = (content: string | undefined) => {
  const folder = mkdtempSync(join(tmpdir(), "metamem-answers-"))
  const path = join(folder, "out.jsonl")
  try {
    if (content !== undefined) writeFileSync(path, content)
    const found = Effect.runSync(Effect.result(standingAnswers(path, { run: "a", generation: 2 }, ["q1", "q2"].map(question))))
    if (content !== undefined) assert.is(readFileSync(path, "utf8"), content, "reading changes nothing")
    return Result.isSuccess(found) ? [...found.success.keys()] : found.failure.message
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test("answers stand, errors and a torn last line are asked again", () => {
  assert.equal(read(undefined), [])
  assert.equal(read(""), [])
  assert.equal(read(line("q1") + line("q2", { verdict: "error", reward: null })), ["q1"])
  assert.equal(read(line("q1") + line("q2").slice(0, 40)), ["q1"])
  assert.equal(read(line("q1").slice(0, 40)), [])
})

test("a file of anything else is refused", () => {
  for (const foreign of ["[{\"question_id\": \"q1\"}]", "[\n  1\n]\n", "notes\n", `${line("q1")}{}\n`]) assert.match(String(read(foreign)), /is no file of answers.*left as it is/)
  assert.match(String(read(line("q1", { generation: 1 }))), /under generation 1 of a;/)
  assert.match(String(read(line("q1", { run: "b" }))), /under generation 2 of b;/)
  for (const other of [line("q9"), line("q1", { problem: "Another?" }), line("q1", { groundtruth: "Another." })]) assert.match(String(read(other)), /is not a question of this data set/)
})

test.run()
