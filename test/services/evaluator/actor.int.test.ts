import { Effect, Layer, Schema } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { listDead } from "#shared/actor/dead-letters"
import { jobCodec, publishJobs } from "#shared/actor/jobs"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { requestSubject, resultSubject } from "#shared/eventlog/subjects"
import { questionsSubject } from "#shared/metamemory/questions"
import { CallStore } from "#shared/model/call-store"
import type { StoredCall } from "#shared/model/call"
import { JudgeReply } from "#services/evaluator/protocol"
import * as Evaluator from "#services/evaluator/actor"
import { Models } from "#shared/model/models"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"
import { faults, scriptedModel } from "#test/support/scripted-model"
import { answering, configured, connection, makeQuestion, register } from "#test/services/reflector/stage"

const test = suite("the evaluator")
const preference = { ...makeQuestion(1), id: "p", type: "single-session-preference" }
const answer = (key: string, text: string): StoredCall => ({
  version: 1, key, role: "answer", model: "m", schema: "answer@1", templateVersion: "t", inputs: [], tags: {}, text, truncated: false, usage: { promptTokens: 1, completionTokens: 1, estimated: false }, latencyMs: 1, requests: 1
})
const sample = { runSeed: 1, purpose: "rollout", draw: 0, question: "q0", sample: 0 } as const
const job = (key: string, judge: "lexical" | "model", question = makeQuestion(0)) =>
  ({ tenant: "t", run: "r", step: 1, kind: "judgement", key, input: { question: { id: question.id, user: question.user }, callKey: key, judge, sample } })
const outcome = (key: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    for (let tries = 0; tries < 400; tries++) {
      const [event] = (yield* log.last(resultSubject(job(key, "lexical"))))?.events ?? []
      const settled = event === undefined ? undefined : jobCodec.decode(event)
      if (settled?._tag === "Success" && settled.success._tag === "JobSettled") return settled.success
      yield* Effect.sleep(25)
    }
    return yield* Effect.die(new Error(`${key} was not settled`))
  })

effect(
  test as never,
  "questions are registered once, answers judged by words or by the model, and failures are errors",
  () =>
    Effect.gen(function*() {
      const { url } = yield* testServer
      const model = yield* scriptedModel()
      yield* Effect.gen(function*() {
        const calls = Layer.provideMerge(Models.layer({ patience: { backoffMs: 2, closedMs: 50 } }), CallStore.layerJetStream)
        const context = yield* Layer.build(Layer.provideMerge(Evaluator.layer, calls))
        yield* answering("evaluator")
        assert.equal(yield* register([makeQuestion(0), preference]), { registered: 2, known: 0 })
        assert.equal(yield* register([makeQuestion(0), preference]), { registered: 0, known: 2 })
        const refused = yield* Effect.flip(register([{ ...makeQuestion(0), answer: "other" }]))
        assert.match(String(refused), /QuestionChanged|another answer/)
        // A subject as long as this user's would end the connection.
        assert.match(String(yield* Effect.flip(register([{ ...makeQuestion(0), user: "x".repeat(5_000) }]))), /user is a name of at most 256 bytes/)
        const log = yield* EventLog
        assert.is((yield* log.load(questionsSubject("t", "u0"))).length, 1)

        const store = yield* CallStore.pipe(Effect.provide(context))
        yield* Effect.forEach(
          [answer("right", "It is zarquon0."), answer("wrong", "It is blue."), answer("marked", "Something (ref 0000aa-1)"), answer("hung", "x")],
          (call) => store.put("t", "u0", call.key, call)
        )
        yield* store.put("t", preference.user, "taste", answer("taste", "Tea (ref 0000aa-1)"))
        yield* publishJobs("evaluator", [job("right", "lexical"), job("wrong", "lexical"), job("marked", "model"), job("taste", "model", preference)], 0)
        const verdict = (key: string) => Effect.map(outcome(key), ({ data }) => (data as { verdict: string }).verdict)
        assert.is(yield* verdict("right"), "correct")
        assert.is(yield* verdict("wrong"), "incorrect")
        assert.is(yield* verdict("marked"), "correct")
        assert.is(yield* verdict("taste"), "correct")
        assert.is((yield* outcome("taste")).data === null, false)
        assert.is(((yield* outcome("taste")).data as { calls: ReadonlyArray<string> }).calls.length, 3)
        assert.ok(!JSON.stringify((yield* outcome("right")).data).includes("zarquon"), "no words of the reference answer in a run")

        // Two votes that agree decide without the third; one alone decides nothing.
        const silent = new Set<string>()
        const withSilent = (count: number) => {
          silent.clear()
          model.setFault(({ call }) => (silent.has(call) || (silent.size < count && silent.add(call) === silent) ? { _tag: "Status", status: 400 } : undefined))
        }
        yield* store.put("t", preference.user, "other taste", answer("other taste", "Coffee (ref 0000aa-1)"))
        yield* store.put("t", preference.user, "last taste", answer("last taste", "Milk (ref 0000aa-1)"))
        withSilent(1)
        yield* publishJobs("evaluator", [job("other taste", "model", preference)], 0)
        assert.is(yield* verdict("other taste"), "correct")
        assert.is(((yield* outcome("other taste")).data as { calls: ReadonlyArray<string> }).calls.length, 2)
        withSilent(2)
        yield* publishJobs("evaluator", [job("last taste", "model", preference)], 0)
        assert.is((yield* outcome("last taste")).status, "failed")

        model.setFault(() => faults.prose)
        yield* publishJobs("evaluator", [job("hung", "model"), job("gone", "lexical")], 0)
        assert.is((yield* outcome("hung")).status, "failed")
        assert.is((yield* outcome("gone")).status, "failed")
        assert.ok((yield* listDead()).length >= 2)

        const decode = Schema.decodeUnknownSync(JudgeReply)
        const asked = (judge: "lexical" | "model", id: string) =>
          Effect.map(request(requestSubject("evaluator", "judge"), { tenant: "t", judge, answers: [{ question: { id, user: "u0" }, response: "zarquon0" }] }, 10_000), decode)
        assert.is((yield* asked("lexical", "q0")).verdicts[0]?.verdict, "correct")
        assert.is((yield* asked("model", "q0")).verdicts[0]?.verdict, "error", "a judge that cannot be understood is an error, never a no")
        const unknown = yield* Effect.flip(asked("lexical", "nobody"))
        assert.match(String(unknown), /not registered/)
      }).pipe(Effect.provide(connection(url)), Effect.provide(configured(model.url, { METAMEM_JUDGE: "model" })))
    }),
  60_000
)

test.run()
