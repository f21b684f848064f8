import { test } from "uvu"
import * as assert from "uvu/assert"
import { behaviour } from "#services/retriever/behaviour"
import { type AnswerGiven, retrieverCodec, type RetrieverEvent } from "#services/retriever/protocol"
import { spec } from "#test/support/behaviour"
import { goldenEvents } from "#test/support/golden-events"

const { fold, given, survivesRestart } = spec(behaviour)
const given1: AnswerGiven = {
  _tag: "AnswerGiven",
  answer: "a1",
  question: "Where is the piano?",
  askedAt: "2026-03-02T18:04:00.000Z",
  text: "In the hall.",
  evidence: [{ memory: "t1", score: 0.75 }],
  generation: { run: "r1", generation: 3 },
  principles: ["p1"],
  model: "qwen3-30b",
  call: "0123456789abcdef",
  usage: { promptTokens: 100, completionTokens: 5, estimated: false },
  behind: ["vectors"]
}
const feedback = (verdict: "correct" | "incorrect", answer = "a1") => ({ _tag: "RecordFeedback" as const, answer, verdict, comment: "" })
const received = (verdict: "correct" | "incorrect"): RetrieverEvent => ({ _tag: "FeedbackReceived", answer: "a1", verdict, comment: "" })

test("an answer is recorded once", () => given().when({ _tag: "RecordAnswer", event: given1 }).then(given1))
test("feedback on an answer is recorded once", () => given(given1).when(feedback("correct")).then(received("correct")))
test("feedback may be taken back by the opposite", () => given(given1, received("correct")).when(feedback("incorrect")).then(received("incorrect")))
test("a right answer told later is recorded, and once", () => {
  const told = { ...feedback("incorrect"), comment: "In the attic." }
  given(given1, received("incorrect")).when(told).then({ ...received("incorrect"), comment: "In the attic." } as RetrieverEvent)
  given(given1, { ...received("incorrect"), comment: "In the attic." } as RetrieverEvent).when(feedback("incorrect")).then()
})
test("blanks are no right answer, and take away none", () => {
  const told = { ...received("incorrect"), comment: "In the attic." } as RetrieverEvent
  given(given1, told).when({ ...feedback("incorrect"), comment: " \n" }).then()
  given(given1, told).when({ ...feedback("incorrect"), comment: " In the attic. " }).then()
  given(given1).when({ ...feedback("incorrect"), comment: " In the attic. " }).then(told)
})
test("feedback on an answer nobody gave is refused", () => {
  given().when(feedback("correct")).thenFails("UnknownAnswer")
  given(given1).when(feedback("correct", "a2")).thenFails("UnknownAnswer")
})
test("a restart changes nothing", () => {
  const events = survivesRestart({ _tag: "RecordAnswer", event: given1 }, feedback("correct"), feedback("correct"), feedback("incorrect"), feedback("incorrect", "a2"))
  assert.equal(fold(events).answers, new Map([["a1", { verdict: "incorrect", comment: "" }]]))
})

goldenEvents(test, "services/retriever", retrieverCodec, [given1, { ...received("incorrect"), comment: "It stands in the attic." } as RetrieverEvent])

test.run()
