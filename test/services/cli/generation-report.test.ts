import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Verdict } from "#shared/domain/question"
import { reportOf, reportTables } from "#services/cli/generation-report"
import type { JudgedAnswer } from "#services/cli/judged-answers"

const test = suite("what an evaluation reports")

const answer = (at: number, verdict: Verdict, response = "It is red.", abstention = false): JudgedAnswer => ({
  question: { id: `q${at}`, text: "?", type: at < 4 ? "time" : "taste", answer: "a", abstention, user: `u${at}`, cluster: `c${at}` },
  response, verdict, reason: "", evidenceIds: [], principles: []
})
const unknown = "I do not know."
// Four answerable questions of which one is not answered and one not judged, and three that cannot be answered.
const answers = [answer(0, "correct"), answer(1, "incorrect"), answer(2, "incorrect", unknown), answer(3, "error"), answer(4, "correct", unknown, true), answer(5, "incorrect", "It is blue.", true), answer(6, "correct", unknown, true)]
const empty = [answer(0, "incorrect"), answer(1, "incorrect"), answer(2, "error"), answer(3, "correct"), answer(4, "correct", unknown, true), answer(5, "correct", unknown, true), answer(6, "incorrect", "x", true)]

test("false answers, false abstentions and errors are told apart, and none of the errors counts as wrong", () => {
  const report = reportOf(2, answers, empty)
  assert.equal([report.correct, report.incorrect, report.error], [3, 3, 1])
  assert.equal([report.accuracy, report.worstCase, report.bestCase], [3 / 6, 3 / 7, 4 / 7])
  assert.equal([report.answeredAccuracy, report.falseAnswers, report.falseAbstentions], [1 / 2, 1 / 3, 1 / 3])
  assert.equal(report.byType, { taste: { correct: 2, total: 3, accuracy: 2 / 3 }, time: { correct: 1, total: 3, accuracy: 1 / 3 } })
  // Paired over questions judged under both: gained 0 and 6, lost 5, alike 1 and 4.
  assert.ok(Math.abs((report.difference?.mean ?? 0) - 1 / 5) < 1e-12)
  assert.ok(report.interval[0] <= 0.5 && report.interval[1] >= 0.5)
  assert.not("difference" in reportOf(0, empty, empty))
})

test("tables show each type, and what errors could have made of it where there were any", () => {
  const [all = "", byType = ""] = reportTables([reportOf(0, empty, empty), reportOf(2, answers, empty)])
  assert.match(all, /if errors were wrong–right/)
  assert.match(all, /\n2 .* 42\.9–57\.1 /)
  assert.match(byType, /correct by type +generation 0 +generation 2\n/)
  assert.match(byType, /\ntime .* 33\.3 \(1 of 3\)/)
  const whole = answers.filter(({ verdict }) => verdict !== "error")
  assert.not.match(reportTables([reportOf(0, whole, whole)])[0] ?? "", /if errors/)
})

test("questions of one conversation give neither an interval nor a standard error, and no rate stands where nothing was asked", () => {
  const together = [answer(0, "correct", unknown), answer(1, "incorrect", unknown)].map((one) => ({ ...one, question: { ...one.question, cluster: "c" } }))
  const report = reportOf(2, together, together.map((one) => ({ ...one, verdict: "incorrect" as const })))
  assert.equal(report.interval, [0, 1])
  assert.equal(report.difference, { mean: 0.5, standardError: null })
  assert.equal([report.answeredAccuracy, report.falseAnswers, report.falseAbstentions], [null, null, 1])
  assert.match(reportTables([report])[0] ?? "", / 0\.0–100\.0 +\+50\.0 ± \? +– +– +100\.0/)
})

test.run()
