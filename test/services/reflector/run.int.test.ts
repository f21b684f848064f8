import { Effect, type Scope } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { request } from "#shared/actor/requests"
import type { EventLog } from "#shared/eventlog/event-log"
import type { Nats } from "#shared/eventlog/nats"
import { adoptedSubject, requestSubject } from "#shared/eventlog/subjects"
import { EventLog as Log } from "#shared/eventlog/event-log"
import { Layer } from "effect"
import { generationsOf, replayGeneration } from "#services/reflector/analysis"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"
import { scriptedModel } from "#test/support/scripted-model"
import { answering, configured, connection, finished, gold, openRun, questions, reflector, register, runRequest, stateOf, verification, workers } from "./stage.ts"

const test = suite("whole runs")
const it = (name: string, settings: Readonly<Record<string, string>>, body: () => Effect.Effect<unknown, unknown, EventLog | Nats | Scope.Scope>) =>
  effect(
    test as never,
    name,
    () =>
      Effect.gen(function*() {
        const { url } = yield* testServer
        const model = yield* scriptedModel({ gold })
        yield* Effect.gen(function*() {
          yield* Layer.build(Layer.mergeAll(workers, reflector))
          yield* answering("evaluator")
          yield* answering("reflector")
          yield* register(questions(54))
          yield* body()
        }).pipe(Effect.provide(connection(url)), Effect.provide(configured(model.url, settings)))
      }),
    90_000
  )

it("rules and the lexical judge: a run is opened, driven to its end, replayed and verified without a model", { METAMEM_JUDGE: "lexical", METAMEM_REFLECTOR: "rules" }, () =>
  Effect.gen(function*() {
    const opened = yield* openRun("a", runRequest(questions(54)))
    assert.is((opened as { judge: string }).judge, "lexical")
    yield* finished("a")
    const state = yield* stateOf("a")
    assert.is(state.steps.length, 2)
    for (const { hash, number } of state.generations) assert.is(replayGeneration(state, number)?.hash, hash)
    const verified = yield* verification("a")
    assert.equal({ differing: verified.differing, missing: verified.missing, extra: verified.extra }, { differing: [], missing: [], extra: [] })
    assert.ok(verified.decisions >= 5)
    const refused = yield* Effect.flip(openRun("a", runRequest(questions(54), { seed: 4 })))
    assert.match(String(refused), /seed/)
    const status = yield* request(requestSubject("reflector", "status"), { tenant: "t", run: "a" }, 2_000)
    assert.is((status as { stage: string }).stage, "finished")
  }))

it("model judge and model reflector: generations are sealed with lineage, one is adopted", {}, () =>
  Effect.gen(function*() {
    yield* openRun("b", runRequest(questions(54), { steps: 3 }))
    yield* finished("b")
    const state = yield* stateOf("b")
    const { generations } = generationsOf(state)
    assert.ok(generations.length >= 2, `sealed ${generations.length}`)
    for (const { hash, number } of state.generations) assert.is(replayGeneration(state, number)?.hash, hash)
    const verified = yield* verification("b")
    assert.equal(verified.differing, [])
    const n = generations.length - 1
    yield* request(requestSubject("reflector", "adopt"), { tenant: "t", run: "b", generation: n }, 2_000)
    yield* request(requestSubject("reflector", "adopt"), { tenant: "t", run: "b", generation: n }, 2_000)
    const log = yield* Log
    assert.is((yield* log.load(adoptedSubject("t"))).length, 1)
    const refused = yield* Effect.flip(request(requestSubject("reflector", "adopt"), { tenant: "t", run: "b", generation: 77 }, 2_000))
    assert.match(String(refused), /no 77/)
    console.log(state.operations.map(({ decision, scope, after, sources }) => [decision, scope, after?.text, sources.length]))
  }))

test.run()
