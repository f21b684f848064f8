import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Question } from "#shared/domain/question"
import { correctedAccuracy, countLabels, judgedByType, pooled, qualityOf, readLabels } from "#services/cli/calibrate"
import type { LabelCounts } from "#services/reflector/run-events"

const test = suite("calibration of a judge")

const question = (id: string, changed: Partial<Question> = {}): Question => ({ id, text: "?", type: "time", answer: "a", abstention: false, user: `u-${id}`, cluster: id, ...changed })
const line = (question_id: string, label = "correct", more: object = {}) => JSON.stringify({ question_id, response: "r", label, ...more })
const refusal = (text: string, known: ReadonlyArray<Question>) => {
  const read = readLabels("labels.jsonl", text, known)
  if (Result.isSuccess(read)) throw new Error("it was read")
  return read.failure
}
const counts = (rr: number, rw: number, ww: number, wr: number, errors = 0): LabelCounts => ({ rightJudgedRight: rr, rightJudgedWrong: rw, wrongJudgedWrong: ww, wrongJudgedRight: wr, errors })

test("labels are read with their questions, blank lines aside", () => {
  const read = Result.getOrThrow(readLabels("x", `${line("a")}\n\n${line("b", "incorrect")}\n`, [question("a"), question("b")]))
  assert.equal(read.map(({ isRight, question }) => [question.id, isRight]), [["a", true], ["b", false]])
})

test("one bad line and no label is used; the lines are named", () => {
  assert.equal(refusal(`${line("a")}\nnonsense\n${line("a", "perhaps")}`, [question("a")]).lines, [2, 3])
  assert.match(refusal(line("z"), [question("a")]).message, /line 1: the question is not registered/)
  assert.match(refusal("\n", [question("a")]).message, /no labels/)
})

test("an id that several users have needs a user", () => {
  const two = [question("a", { user: "x" }), question("a", { user: "y" })]
  assert.match(refusal(line("a"), two).message, /several users/)
  assert.is(Result.getOrThrow(readLabels("x", line("a", "correct", { user: "y" }), two))[0]?.question.user, "y")
})

test("counts are by type, with unanswerable questions apart, and errors are in none of the rates", () => {
  const answers = [question("a"), question("b"), question("c", { abstention: true }), question("d")].map((one, at) => ({ question: one, response: "", isRight: at % 2 === 0 }))
  const found = countLabels(answers, ["correct", "correct", "incorrect", "error"])
  assert.equal(found, { time: counts(1, 0, 0, 1, 1), "time (abstention)": counts(0, 1, 0, 0) })
  const all = qualityOf(pooled(found))
  assert.equal([all.labels, all.errors, all.sensitivity?.value, all.specificity?.value], [4, 1, 0.5, 0])
})

test("rates and kappa are those of the counts, inside their intervals", () => {
  const { kappa, sensitivity, specificity } = qualityOf(counts(40, 10, 45, 5))
  assert.equal([sensitivity?.value, specificity?.value], [0.8, 0.9])
  // Observed .85, by chance .5.
  assert.ok(Math.abs((kappa?.value ?? 0) - 0.7) < 1e-9)
  for (const rate of [kappa, sensitivity, specificity]) assert.ok(rate !== null && rate.low < rate.value && rate.value < rate.high)
})

test("a side without labels has no rate", () => {
  const { kappa, sensitivity, specificity } = qualityOf(counts(3, 0, 0, 0))
  assert.equal([sensitivity?.value, specificity, kappa?.value], [1, null, 1])
  assert.equal(qualityOf(counts(0, 0, 0, 0, 5)), { labels: 5, errors: 5, sensitivity: null, specificity: null, kappa: null })
})

test("an accuracy is corrected by the last calibration of the run's own judge", () => {
  const calibrated = (...list: ReadonlyArray<readonly ["lexical" | "model", LabelCounts]>) =>
    correctedAccuracy(list.map(([judge, own]) => ({ _tag: "JudgeCalibrated" as const, judge, labels: "l", counts: { time: own } })), "lexical", [{ type: "other", correct: 50, judged: 100 }])
  const near = (value: number | undefined, wanted: number) => assert.ok(value !== undefined && Math.abs(value - wanted) < 1e-9, String(value))
  near(calibrated(["lexical", counts(40, 10, 45, 5)]), 0.4 / 0.7)
  near(calibrated(["lexical", counts(40, 10, 45, 5)], ["lexical", counts(50, 0, 50, 0)]), 0.5)
  near(calibrated(["lexical", counts(40, 10, 45, 5)], ["model", counts(50, 0, 50, 0)]), 0.4 / 0.7)
  assert.is(calibrated(), undefined)
  assert.is(calibrated(["model", counts(50, 0, 50, 0)]), undefined)
  assert.is(calibrated(["lexical", counts(5, 0, 0, 0)]), undefined)
  assert.is(calibrated(["lexical", counts(25, 25, 25, 25)]), undefined)
})

test("each type is corrected by its own labels where there are enough, and put together as the answers are", () => {
  const of = (counts: Readonly<Record<string, LabelCounts>>, ...types: Parameters<typeof correctedAccuracy>[2]) => correctedAccuracy([{ _tag: "JudgeCalibrated", judge: "model", labels: "l", counts }], "model", types)
  const near = (value: number | undefined, wanted: number) => assert.ok(value !== undefined && Math.abs(value - wanted) < 1e-9, String(value))
  const labels = { time: counts(40, 10, 45, 5), fact: counts(50, 0, 50, 0), few: counts(9, 0, 0, 40) }
  const [time, fact] = [{ type: "time", correct: 50, judged: 100 }, { type: "fact", correct: 150, judged: 300 }]
  near(of(labels, time), 0.4 / 0.7)
  near(of(labels, fact), 0.5)
  near(of(labels, time, fact), (100 * 0.4 / 0.7 + 300 * 0.5) / 400)
  // Nine right labels tell nothing about a type: all together, 99 of 109 and 95 of 140.
  const [sensitivity, specificity] = [99 / 109, 95 / 140]
  near(of(labels, { type: "few", correct: 6, judged: 10 }), (0.6 + specificity - 1) / (sensitivity + specificity - 1))
  // Where chance puts one type below nothing, the others make up for it, and the whole is a share.
  near(of(labels, { type: "time", correct: 0, judged: 10 }, { ...fact, judged: 150, correct: 150 }), (10 * -0.1 / 0.7 + 150) / 160)
  near(of(labels, { type: "time", correct: 0, judged: 10 }), 0)
  assert.is(of({ time: counts(25, 25, 25, 25), fact: counts(50, 0, 50, 0) }, time, fact), undefined, "a coin on one type")
  assert.is(of({ time: counts(11, 9, 10, 10), fact: counts(50, 0, 50, 0) }, { ...time, correct: 70 }, fact), undefined, "as good as a coin on one type: it would make of .55 a share above 1")
  assert.is(of(labels), undefined)
})

test("answers that could not be judged are of no type", () => {
  const question = { type: "time", abstention: false }
  assert.equal(judgedByType([{ question, verdict: "correct" }, { question, verdict: "error" }, { question: { ...question, abstention: true }, verdict: "incorrect" }]), [
    { type: "time", correct: 1, judged: 1 }, { type: "time (abstention)", correct: 0, judged: 1 }
  ])
})

test.run()
