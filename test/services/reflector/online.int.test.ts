/** From what people say of answers to a generation that guides them, and back again when it does worse; every part is real but the reader's memories. */
import { Effect, Layer, Result, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { makeEntity } from "#shared/actor/entity"
import { request } from "#shared/actor/requests"
import type { GenerationRef } from "#shared/domain/evidence"
import { eraseUser } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { adoptedSubject, memorySubject, onlineSubject, requestSubject } from "#shared/eventlog/subjects"
import { adoptionCodec } from "#shared/metamemory/events"
import { onlineCodec, type OnlineEvent, type OnlineStatus } from "#services/reflector/online-protocol"
import { behaviour as retrieverBehaviour } from "#services/retriever/behaviour"
import { answersConversation } from "#services/retriever/protocol"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"
import { scriptedModel } from "#test/support/scripted-model"
import { answering, configured, connection, gold, makeQuestion, reflector, stateOf, verification, workers } from "./stage.ts"

const test = suite("evolution from live feedback, whole")

/** The one sentence that helps; whoever reads it is right nearly always. */
const good = "List every matching memory before counting."
const none = { run: "", generation: 0 }

const eventsOf = (tenant = "t") =>
  Effect.gen(function*() {
    const log = yield* EventLog
    return (yield* log.load(onlineSubject(tenant))).flatMap(({ events }) => events.map((event): OnlineEvent => Result.getOrThrow(onlineCodec.decode(event))))
  })
const until = (tag: OnlineEvent["_tag"]) =>
  Effect.flatMap(EventLog, (log) =>
    log.follow([onlineSubject("t")]).pipe(
      Stream.flatMap((commit) => Stream.fromIterable(commit.events.map((event) => Result.getOrThrow(onlineCodec.decode(event))))),
      Stream.takeUntil(({ _tag }) => _tag === tag),
      Stream.runDrain
    ))
const adoptions = Effect.gen(function*() {
  const log = yield* EventLog
  return (yield* log.load(adoptedSubject("t"))).flatMap(({ events }) => events.map((event) => Result.getOrThrow(adoptionCodec.decode(event))))
})
const status = Effect.map(request(requestSubject("reflector", "online"), { tenant: "t" }, 20_000), (reply) => reply as OnlineStatus)

effect(
  test as never,
  "feedback opens a run, its candidate answers in shadow, is adopted, does worse, and is rolled back, all by itself",
  () =>
    Effect.gen(function*() {
      const { url } = yield* testServer
      const model = yield* scriptedModel({
        gold,
        scripts: {
          answer: ({ draw, prompt }) => {
            const question = /^Question: (.*)$/m.exec(prompt)?.[1]?.trim() ?? ""
            // Questions differ in how hard they are, or the gate would not believe the judge.
            const ease = [5, 45, 85][Math.floor(Number(/(\d+)\?$/.exec(question)?.[1]) / 3) % 3] ?? 0
            const isRight = draw("answer", 100) < (prompt.includes(good) ? 95 : ease)
            return isRight ? `${gold.get(question) ?? "So it was"} (ref 000000-1)` : "Something else (ref 000000-0)"
          },
          propose: () => ({ operations: [{ operation: "add", id: null, content: good, scope: "all" }] })
        }
      })
      yield* Effect.gen(function*() {
        yield* Layer.build(Layer.mergeAll(workers, reflector))
        yield* answering("evaluator")
        yield* answering("reflector")
        const answers = yield* makeEntity(retrieverBehaviour)
        /** One live answer and what its user says of it. */
        const live = (name: string, at: number, generation: GenerationRef, isRight: boolean) =>
          Effect.gen(function*() {
            const { answer, text } = makeQuestion(at)
            const subject = memorySubject({ tenant: "t", user: `person${at}`, conversation: answersConversation }, "retriever")
            const id = `${name}${at}`
            yield* answers.execute(subject, {
              _tag: "RecordAnswer",
              event: {
                _tag: "AnswerGiven", answer: id, question: text, askedAt: "2026-03-02T18:04:00.000Z", text: isRight ? answer : "Something else", evidence: [], generation,
                principles: [], model: "scripted", call: "k", usage: { promptTokens: 1, completionTokens: 1, estimated: false }, behind: []
              }
            }, { cause: id })
            yield* answers.execute(subject, { _tag: "RecordFeedback", answer: id, verdict: isRight ? "correct" : "incorrect", comment: isRight ? "" : answer }, { cause: `feedback ${id}` })
          })
        const people = (count: number) => Array.from({ length: count }, (_, at) => at)

        yield* Effect.forEach(people(29), (at) => live("a", at, none, at % 4 !== 0), { concurrency: 8 })
        yield* Effect.sleep("2500 millis")
        const early = yield* status
        assert.equal([early.on, early.stage, early.feedback.conversations], [true, "collecting", 29])
        assert.match(early.needed.lacks ?? "", /29 of 30/)
        assert.equal(yield* eventsOf(), [], "twenty-nine conversations open nothing")

        // What comes by the next look is the batch; erased users are not in it.
        yield* live("a", 100, none, true)
        yield* request(requestSubject("reflector", "online-switch"), { tenant: "t", on: false }, 20_000)
        yield* Effect.forEach(people(90).slice(29), (at) => live("a", at, none, at % 4 !== 0), { concurrency: 8 })
        yield* eraseUser("t", "person100")
        const off = yield* status
        assert.equal([off.on, off.stage, off.feedback.standing, off.needed.lacks], [false, "collecting", 90, undefined])
        yield* request(requestSubject("reflector", "online-switch"), { tenant: "t", on: true }, 20_000)

        yield* until("ShadowStarted")
        const run = yield* stateOf("online-1")
        assert.equal([run.parameters?.preset, run.parameters?.train.length, run.parameters?.validation.length, run.parameters?.guard.length], ["online", 30, 30, 30])
        assert.ok((run.recommended ?? 0) > 0 && run.generations[run.recommended ?? 0]?.principles.some(({ text }) => text === good))
        assert.equal((yield* verification("online-1")).differing, [])
        assert.equal(yield* adoptions, [], "a run adopts nothing")
        assert.is((yield* status).stage, "shadow")

        yield* Effect.forEach(people(30), (at) => live("b", at, none, at % 4 !== 0), { concurrency: 8 })
        yield* until("ShadowEnded")
        const after = yield* eventsOf()
        const looked = after.find(({ _tag }) => _tag === "ShadowLooked")
        assert.ok(looked?._tag === "ShadowLooked" && looked.decision === "accepted" && looked.pairs >= 20 && looked.candidateCorrect > looked.incumbentCorrect, JSON.stringify(looked))
        yield* Effect.flatMap(EventLog, (log) => log.follow([adoptedSubject("t")]).pipe(Stream.take(1), Stream.runDrain))
        const now: GenerationRef = { run: "online-1", generation: run.recommended ?? 0 }
        assert.equal((yield* adoptions).map(({ generation, run }) => ({ run, generation })), [now])

        yield* Effect.forEach(people(24), (at) => live("c", at, now, at % 6 === 0), { concurrency: 8 })
        yield* until("RolledBack")
        yield* Effect.flatMap(EventLog, (log) => log.follow([adoptedSubject("t")]).pipe(Stream.take(2), Stream.runDrain))
        assert.equal((yield* adoptions).map(({ generation, principles, run }) => ({ run, generation, principles: principles.length > 0 })), [{ ...now, principles: true }, { run: "online-1", generation: 0, principles: false }])
        const end = yield* status
        assert.equal([end.adopted, end.watch, end.rollbacks.length], [{ run: "online-1", generation: 0 }, null, 1])

        const log = yield* EventLog
        const written = JSON.stringify((yield* log.load(onlineSubject("t"))).map(({ events }) => events))
        assert.not.match(written, /zarquon|person\d|colour|Something else/)
      }).pipe(Effect.provide(connection(url)), Effect.provide(configured(model.url, { METAMEM_ONLINE_SHADOW_SHARE: "1" })))
    }),
  180_000
)

test.run()
