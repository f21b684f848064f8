import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Question } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { makeQuestions, questionCodec, questionsSubject } from "#shared/metamemory/questions"
import { effect } from "#test/support/effect"

const test = suite("questions read")

const question: Question = { id: "q", text: "What?", type: "summarization", answer: "A", abstention: false, user: "u", cluster: "u" }

effect(test, "a question read before it got its points is read with them, and then from memory", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const subject = questionsSubject("t", "u")
    const register = (of: Question, cause: string, after: { readonly sequence: number; readonly checksum: string }) =>
      log.append({ subject, cause, events: [questionCodec.encode({ _tag: "QuestionRegistered", ...of })] }, after.sequence, after.checksum)
    let loads = 0
    const counting = EventLog.of({ ...log, load: (...of) => Effect.suspend(() => (loads += 1, log.load(...of))) })
    yield* Effect.gen(function*() {
      const questions = yield* makeQuestions
      const first = yield* register(question, "1", { sequence: 0, checksum: "" })
      for (const _ of [1, 2]) assert.is((yield* questions.load("t", question)).points, undefined)
      assert.is(loads, 1)
      yield* register({ ...question, points: ["P"] }, "2", first)
      for (const _ of [1, 2]) assert.equal((yield* questions.load("t", question)).points, ["P"])
      assert.is(loads, 2)
    }).pipe(Effect.provideService(EventLog, counting))
  }).pipe(Effect.provide(MemoryLog.layer)))

test.run()
