/** From what people say of answers to a generation that guides them, and back again when it does worse; every part is real but the reader's memories. */
import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { request } from "#shared/actor/requests"
import type { GenerationRef } from "#shared/domain/evidence"
import { eraseUser } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { Nats } from "#shared/eventlog/nats"
import { heldSubject, onlineSubject, requestSubject, runSubject } from "#shared/eventlog/subjects"
import { trialLedger } from "#shared/metamemory/trial"
import type { OnlineStatus } from "#services/reflector/online-protocol"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"
import { type ScriptedOptions, scriptedModel } from "#test/support/scripted-model"
import { adopted, adoptions, good, makeLive, none, onlineEvents, onlineModel, people, standing, until } from "./online-stage.ts"
import { configured, connection, finished, openRun, questions, reflector, runRequest, stateOf, verification, withReflector, withWorkers, workers } from "./stage.ts"

const test = suite("evolution from live feedback, whole")

const harmful = "Whatever was asked, say what bears least on it."
const harmfulModel: ScriptedOptions = {
  ...onlineModel,
  scripts: {
    answer: (call) => (call.prompt.includes(harmful) ? "Something else (ref 000000-0)" : onlineModel.scripts.answer(call)),
    propose: () => ({ operations: [{ operation: "add", id: null, content: harmful, scope: "all" }] })
  }
}

const status = Effect.map(request(requestSubject("reflector", "online"), { tenant: "t" }, 20_000), (reply) => reply as OnlineStatus)

effect(
  test as never,
  "feedback opens a run, its candidate answers in shadow, is adopted, does worse, and is rolled back, all by itself",
  () =>
    withReflector(() =>
      Effect.gen(function*() {
        const live = yield* makeLive

        yield* Effect.forEach(people(29), (at) => live("a", at, none, at % 4 !== 0), { concurrency: 8 })
        yield* Effect.sleep("2500 millis")
        const early = yield* status
        assert.equal([early.on, early.stage, early.feedback.conversations], [true, "collecting", 29])
        assert.match(early.needed.lacks ?? "", /29 of 30/)
        assert.equal(yield* onlineEvents, [], "twenty-nine conversations open nothing")

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
        const { nc } = yield* Nats
        nc.publish(heldSubject("evaluator", "judgement"), JSON.stringify({ kind: "judgement", hold: "away", message: "the judge is away" }))
        while ((yield* status).held.length === 0) yield* Effect.sleep(50)
        assert.equal((yield* status).held, [{ kind: "judgement", message: "the judge is away" }])

        yield* Effect.forEach(people(30), (at) => live("b", at, none, at % 4 !== 0), { concurrency: 8 })
        yield* until("ShadowEnded")
        const after = yield* onlineEvents
        const looked = after.find(({ _tag }) => _tag === "ShadowLooked")
        assert.ok(looked?._tag === "ShadowLooked" && looked.decision === "accepted" && looked.pairs === 20 && looked.candidateCorrect > looked.incumbentCorrect, JSON.stringify(looked))
        yield* adopted(1)
        const now: GenerationRef = { run: "online-1", generation: run.recommended ?? 0 }
        assert.equal((yield* adoptions).map(({ generation, run }) => ({ run, generation })), [now])

        yield* Effect.forEach(people(24), (at) => live("c", at, now, at % 6 === 0), { concurrency: 8 })
        yield* until("RolledBack")
        yield* adopted(2)
        assert.equal((yield* adoptions).map(({ generation, principles, run }) => ({ run, generation, principles: principles.length > 0 })), [{ ...now, principles: true }, { run: "online-1", generation: 0, principles: false }])
        const end = yield* status
        assert.equal([end.adopted, end.principles, end.watch, end.held, end.rollbacks.length], [{ run: "online-1", generation: 0 }, 0, null, [], 1])

        const log = yield* EventLog
        const written = JSON.stringify((yield* log.load(onlineSubject("t"))).map(({ events }) => events))
        assert.not.match(written, /zarquon|person\d|colour|Something else/)
      }), { known: 0, model: onlineModel, settings: { METAMEM_ONLINE_SHADOW_SHARE: "1" } }),
  180_000
)

effect(
  test as never,
  "what a run left out is offered to the next, also by a reflector that was started since, and nothing that was in a run",
  () =>
    withWorkers(() =>
      Effect.gen(function*() {
        const live = yield* makeLive
        const inRun = (run: string) => Effect.map(stateOf(run), ({ parameters }) => [...(parameters?.train ?? []), ...(parameters?.validation ?? []), ...(parameters?.guard ?? [])].map(({ id }) => id))

        // Of a tenth of one part, one person's twelve are one.
        yield* Effect.forEach(people(30), (at) => live("a", at, none, true), { concurrency: 8 })
        yield* Effect.forEach(people(11), (at) => live(`more${at}-`, 0, none, true))
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Layer.build(reflector)
          yield* until("OnlineRunEnded")
          const ended = yield* status
          assert.is(ended.feedback.fresh, 11)
          assert.is(ended.lastOutcome, "online-1: the run recommends what it began with: nothing was accepted; of 1 changes tried 1 rejected")
        }))
        const first = yield* inRun("online-1")
        assert.is(first.length, 30)

        yield* Effect.forEach(people(60).slice(30), (at) => live("b", at, none, true), { concurrency: 8 })
        yield* Layer.build(reflector)
        yield* standing(runSubject({ tenant: "t", run: "online-2" }), 1)
        const second = yield* inRun("online-2")
        assert.is(second.length, 31)
        assert.is(second.filter((id) => /^live-(more\d+-|a)0-/.test(id)).length, 1)
        assert.equal(second.filter((id) => first.includes(id)), [])
        while ((yield* status).stage !== "run") yield* Effect.sleep(50)
        assert.is((yield* status).feedback.fresh, 10)
        // What the first run found to harm is not tried again by the second.
        const rejected = trialLedger((yield* stateOf("online-1")).trials).filter(({ outcome }) => outcome === "rejected")
        assert.ok(rejected.length > 0 && rejected.every(({ text }) => text === harmful), JSON.stringify(rejected))
        assert.equal((yield* stateOf("online-2")).parameters?.ledger, rejected)
      }), { known: 0, model: harmfulModel, settings: { METAMEM_JUDGE: "model" } }),
  120_000
)

effect(
  test as never,
  "feedback of a run that errors kept from deciding is taken by one more run, and is used up then",
  () =>
    Effect.gen(function*() {
      const { url } = yield* testServer
      const model = yield* scriptedModel(onlineModel)
      model.setFault(({ role }) => (role === "judge" ? { _tag: "Status", status: 400 } : undefined))
      yield* Effect.gen(function*() {
        const live = yield* makeLive
        yield* Effect.forEach(people(30), (at) => live("a", at, none, true), { concurrency: 8 })
        yield* Layer.build(Layer.mergeAll(workers, reflector))
        while (!(yield* onlineEvents).some((event) => event._tag === "OnlineRunEnded" && event.run === "online-2")) yield* Effect.sleep(100)
        const events = yield* onlineEvents
        assert.equal(events.map((event) => event._tag === "OnlineRunOpened" && [event.run, event.questions]).filter((one) => one), [["online-1", 30], ["online-2", 30]])
        const [ended] = events.flatMap((event) => (event._tag === "OnlineRunEnded" ? [event.reason] : []))
        assert.match(ended ?? "", /errors kept it from deciding/)
        const end = yield* status
        assert.equal([end.feedback.fresh, end.stage], [0, "collecting"])
      }).pipe(Effect.provide(connection(url)), Effect.provide(configured(model.url, { METAMEM_JUDGE: "model" })))
    }),
  120_000
)

effect(
  test as never,
  "a run that was brought here under the next name rests on nobody's feedback here: it is tried by nobody, and its name is passed over",
  () =>
    withReflector(() =>
      Effect.gen(function*() {
        yield* openRun("online-1", runRequest(questions(117), { preset: "online", steps: 1 }))
        yield* finished("online-1")
        const live = yield* makeLive
        yield* live("a", 0, none, true)
        yield* Effect.sleep("2500 millis")
        assert.equal(yield* onlineEvents, [])
        yield* Effect.forEach(people(30).slice(1), (at) => live("a", at, none, true), { concurrency: 8 })
        yield* until("OnlineRunOpened")
        assert.equal((yield* onlineEvents).map((event) => event._tag === "OnlineRunOpened" && [event.run, event.questions]), [["online-2", 30]])
      }), { model: onlineModel, settings: { METAMEM_JUDGE: "model" } }),
  120_000
)

effect(
  test as never,
  "where it is off by default, one tenant whose log cannot be read keeps no other from learning",
  () =>
    withReflector(() =>
      Effect.gen(function*() {
        yield* (yield* EventLog).append({ subject: onlineSubject("unreadable"), cause: "test", events: [{ type: "FromAnotherVersion", version: 9, data: {} }] } as never, 0, "")
        yield* request(requestSubject("reflector", "online-switch"), { tenant: "t", on: true }, 20_000)
        const live = yield* makeLive
        yield* Effect.forEach(people(90), (at) => live("a", at, none, at % 4 !== 0), { concurrency: 8 })
        yield* until("OnlineRunOpened")
      }), { known: 0, model: onlineModel, settings: { METAMEM_JUDGE: "lexical" } }),
  120_000
)

test.run()
