/**
 * Evolution from live feedback whose reflector is killed at every stage, beside one that is left alone: the same batch, the same run, the same
 * looks at the same figures, each adoption once.
 */
import { Effect, Layer, type Scope, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { resultFilter, runSubject } from "#shared/eventlog/subjects"
import { shadowAddress } from "#services/reflector/online-protocol"
import { effect } from "#test/support/effect"
import { temporaryFolder, testServer } from "#test/support/nats"
import { scriptedModel } from "#test/support/scripted-model"
import { actorProcess } from "../../system/actor-processes.ts"
import { adopted, adoptions, makeLive, none, onlineEvents, onlineModel, people, standing, until } from "./online-stage.ts"
import { answering, configured, connection, stateOf, verification, workers } from "./stage.ts"

const test = suite("evolution from live feedback under kills")

const run = "online-1"

/** What is the same in both: without places in the log and the time of day. */
const told = (events: ReadonlyArray<{ readonly _tag: string }>) =>
  events.map((event) => {
    const { adoptedAfter: _, after: __, startedAt: ___, through: ____, ...rest } = event as Readonly<Record<string, unknown>>
    return rest
  })

/** From feedback to what is rolled back; the reflector is killed and started again at each of the moments where `isKilled`. */
const story = (isKilled: boolean) =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const home = yield* temporaryFolder
    const model = yield* scriptedModel({ ...onlineModel, latencyMs: 20 })
    return yield* Effect.gen(function*() {
      yield* Layer.build(workers)
      yield* answering("evaluator")
      const live = yield* makeLive
      const { jsm } = yield* Nats
      const start = actorProcess("reflector", url, home, {
        METAMEM_LLM_URL: model.url, METAMEM_LLM_MODEL: "scripted", METAMEM_JUDGE: "model", METAMEM_REFLECTOR: "model", METAMEM_REFLECTOR_SCAN_SECONDS: "1", METAMEM_ONLINE_SHADOW_SHARE: "1"
      })
      // One after another, so that both stories have them in the same order; all before anybody looks, so that both begin with the same batch.
      yield* Effect.forEach(people(90), (at) => live("a", at, none, at % 4 !== 0))
      let reflector = yield* start
      let kills = 0
      const kill = (moment: Effect.Effect<unknown, unknown, EventLog | Scope.Scope>) =>
        Effect.gen(function*() {
          if (!isKilled) return
          yield* moment
          yield* reflector.kill
          // Its leases would end within seconds.
          yield* attempt("end its leases", () => jsm.streams.purge("LEASE"))
          reflector = yield* start
          kills += 1
        })

      yield* kill(standing(runSubject({ tenant: "t", run }), 1))
      yield* kill(standing(resultFilter({ tenant: "t", run }), 60))
      yield* kill(Effect.flatMap(EventLog, (log) => log.follow([runSubject({ tenant: "t", run })]).pipe(Stream.takeUntil(({ events }) => events.some(({ type }) => type === "RunFinished")), Stream.runDrain)))
      yield* until("ShadowStarted")
      yield* Effect.forEach(people(30), (at) => live("b", at, none, at % 4 !== 0))
      yield* kill(standing(resultFilter(shadowAddress("t", run)), 5))
      yield* kill(until("ShadowEnded"))
      yield* adopted(1)
      const [first] = yield* adoptions
      const now = { run: first?.run ?? "", generation: first?.generation ?? 0 }
      // As many as the first look needs: later ones might come before the next batch or after it.
      yield* Effect.forEach(people(20), (at) => live("c", at, now, at % 6 === 0))
      yield* kill(until("RolledBack"))
      yield* adopted(2)
      // What was told since is the next batch: nothing of the first is in it.
      yield* standing(runSubject({ tenant: "t", run: "online-2" }), 1)
      while ((yield* onlineEvents).at(-1)?._tag !== "OnlineRunOpened") yield* Effect.sleep(50)
      const parts = Effect.map(stateOf("online-2"), ({ parameters }) => [parameters?.train, parameters?.validation, parameters?.guard])

      const { differing, extra, missing } = yield* verification(run)
      assert.equal({ differing, extra, missing }, { differing: [], extra: [], missing: [] })
      const { generations, recommended } = yield* stateOf(run)
      const sent = new Map<string, number>()
      for (const { call } of model.requests) sent.set(call, (sent.get(call) ?? 0) + 1)
      return {
        kills,
        events: told(yield* onlineEvents),
        adoptions: told(yield* adoptions),
        hashes: generations.map(({ hash }) => hash),
        recommended,
        runs: yield* Effect.map(attempt("list runs", () => jsm.streams.info("METAMEM", { subjects_filter: "metamem.t.*.reflector" })), ({ state }) => Object.keys(state.subjects ?? {})),
        next: yield* parts,
        again: [...sent].filter(([, count]) => count > 1).map(([call]) => model.requests.find((request) => request.call === call)?.role)
      }
    }).pipe(Effect.scoped, Effect.provide(connection(url)), Effect.provide(configured(model.url)))
  }).pipe(Effect.scoped)

effect(
  test as never,
  "killed while collecting, running, in shadow and before what it decided is carried out, it comes to the same and counts nothing twice",
  () =>
    Effect.gen(function*() {
      const [calm, killed] = yield* Effect.all([story(false), story(true)], { concurrency: 2 })
      assert.is(killed.kills, 6)
      assert.equal(killed.hashes, calm.hashes)
      assert.equal(killed.events, calm.events)
      assert.equal(killed.events.map(({ _tag }) => _tag), ["OnlineRunOpened", "OnlineRunEnded", "ShadowStarted", "ShadowLooked", "ShadowEnded", "WatchLooked", "RolledBack", "OnlineRunOpened"])
      assert.equal(killed.adoptions, calm.adoptions)
      assert.is(killed.adoptions.length, 2)
      assert.equal([killed.recommended, killed.runs], [calm.recommended, calm.runs])
      assert.equal(killed.next, calm.next)
      assert.equal(calm.again, [])
      assert.equal(killed.again.filter((role) => role === "answer" || role === "judge"), [], "those who answer and judge were left alone, and asked once")
    }),
  300_000
)

test.run()
