/** Processes that knew a user know nothing of them as soon as they are erased: what they are asked is answered from the log. */
import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { request } from "#shared/actor/requests"
import { eraseUser } from "#shared/eventlog/erasure"
import { requestSubject } from "#shared/eventlog/subjects"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"
import { scriptedModel } from "#test/support/scripted-model"
import { answering, configured, connection, gold, makeQuestion, openRun, questions, reflector, register, runRequest, workers } from "./stage.ts"

const test = suite("erased users in evaluator and reflector")

/** Erasures reach a process within milliseconds; a loaded machine may take longer. */
const soon = (said: Effect.Effect<string, unknown, any>, pattern: RegExp) =>
  Effect.gen(function*() {
    let last = ""
    for (let tries = 0; tries < 40 && !pattern.test(last); tries++) {
      yield* Effect.sleep(25)
      last = yield* said
    }
    assert.match(last, pattern)
  })

effect(test, "an erased user's questions can be asked by no judge and no run, and those of others go on", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const model = yield* scriptedModel({ gold })
    yield* Effect.gen(function*() {
      yield* Layer.build(Layer.mergeAll(workers, reflector))
      yield* answering("evaluator")
      yield* answering("reflector")
      yield* register(questions(117))
      const judged = (at: number) => {
        const { answer, id, user } = makeQuestion(at)
        return request(requestSubject("evaluator", "judge"), { tenant: "t", judge: "lexical", answers: [{ question: { id, user }, response: answer }] }, 5_000).pipe(
          Effect.match({ onSuccess: (reply) => JSON.stringify(reply), onFailure: (error) => String((error as { message?: string }).message) })
        )
      }
      const opened = (run: string) => openRun(run, runRequest(questions(117))).pipe(Effect.match({ onSuccess: () => "opened", onFailure: (error) => String((error as { message?: string }).message) }))
      assert.match(yield* judged(0), /"correct"/)
      assert.match(yield* judged(1), /"correct"/)
      assert.is(yield* opened("a"), "opened")
      yield* eraseUser("t", "u0")
      yield* soon(judged(0), /question q0 is not registered: .*once a user was erased, nothing of them can be asked again/)
      yield* soon(Effect.suspend(() => opened(`b${Date.now()}`)), /question q0 is not registered/)
      assert.match(yield* judged(1), /"correct"/)
    }).pipe(Effect.provide(connection(url)), Effect.provide(configured(model.url, { METAMEM_JUDGE: "lexical", METAMEM_REFLECTOR: "rules" })))
  }), 60_000)

test.run()
