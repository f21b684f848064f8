import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Question } from "#shared/domain/question"
import type { StoredEvent } from "#shared/eventlog/event"
import { questionCodec } from "#shared/metamemory/questions"
import { behaviour, type EvaluatorState } from "#services/evaluator/behaviour"
import { golden, readGolden } from "#test/support/golden"

const test = suite("registering questions")
const place = { id: "", sequence: 1, cause: "", inputThrough: 0, binary: new Uint8Array(0) }
const question = (id: string, changed: Partial<Question> = {}): Question => ({ id, text: "What?", type: "t", answer: "A", abstention: false, user: "u", cluster: "c", ...changed })
const given = (...questions: ReadonlyArray<Question>): EvaluatorState =>
  questions.reduce((state, question) => behaviour.evolve(state, { _tag: "QuestionRegistered", ...question }, place), behaviour.initial())
const decided = (state: EvaluatorState, ...questions: ReadonlyArray<Question>) => behaviour.decide(state, { _tag: "RegisterQuestions", questions })

test("new questions are recorded in the order sent", () => {
  assert.equal(Result.getOrThrow(decided(given(), question("a"), question("b"))).map(({ id }) => id), ["a", "b"])
})

test("a question sent again adds nothing, in the same request and in a later one", () => {
  assert.is(Result.getOrThrow(decided(given(), question("a"), question("a"))).length, 1)
  assert.equal(Result.getOrThrow(decided(given(question("a")), question("a"))), [])
})

test("another answer, text or date under a known id is refused and named", () => {
  const refused = Result.getOrThrow(Result.flip(decided(given(question("a")), question("b"), question("a", { answer: "B", date: "2026-01-01T00:00:00.000Z" }))))
  assert.equal(refused.differs, ["answer", "date"])
  assert.match(refused.message, /question a is registered with another answer, date/)
})

test("a question registered without the points of its answer is registered with them once, and a file without them is the same question", () => {
  const pointed = question("a", { points: ["P"] })
  assert.equal(Result.getOrThrow(decided(given(question("a")), pointed, pointed)), [{ _tag: "QuestionRegistered", ...pointed }])
  assert.equal(given(question("a"), pointed).questions.get("a")?.points, ["P"])
  assert.equal(Result.getOrThrow(decided(given(pointed), question("a"))), [])
  assert.equal(Result.getOrThrow(Result.flip(decided(given(pointed), question("a", { points: ["Q"] })))).differs, ["points"])
})

test("what was registered survives a restart", () => {
  const stored = Result.getOrThrow(decided(given(), question("a", { date: "2026-01-01T00:00:00.000Z" }))).map((event) => behaviour.codec.encode(event))
  const state = stored.reduce((state, event) => behaviour.evolve(state, Result.getOrThrow(behaviour.codec.decode(event)), place), behaviour.initial())
  assert.equal([...state.questions.keys()], ["a"])
})

test("a question is written as it is, and one of an earlier version is read as it stands", () => {
  const live: Question = question("live-1", { date: "2026-01-01T00:00:00.000Z", asOf: 12 })
  golden("services/evaluator/QuestionRegistered-v3.json", questionCodec.encode({ _tag: "QuestionRegistered", ...live, points: ["P", "Q"] }))
  assert.equal(Result.getOrThrow(questionCodec.decode(readGolden("services/evaluator/QuestionRegistered-v2.json") as StoredEvent)), { _tag: "QuestionRegistered", ...live })
  assert.equal(Result.getOrThrow(questionCodec.decode(readGolden("services/evaluator/QuestionRegistered-v1.json") as StoredEvent)), { _tag: "QuestionRegistered", ...question("a", { date: "2026-01-01T00:00:00.000Z" }) })
})

test.run()
