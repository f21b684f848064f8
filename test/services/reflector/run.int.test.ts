import { Effect, Fiber, Layer, type Scope } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { listDead } from "#shared/actor/dead-letters"
import { makeEntity } from "#shared/actor/entity"
import { Leases } from "#shared/actor/lease"
import { request } from "#shared/actor/requests"
import { Nats } from "#shared/eventlog/nats"
import { adoptedSubject, leaseSubject, requestSubject, runSubject } from "#shared/eventlog/subjects"
import { EventLog } from "#shared/eventlog/event-log"
import { CallStore } from "#shared/model/call-store"
import { Models } from "#shared/model/models"
import * as Evaluator from "#services/evaluator/actor"
import { behaviour } from "#services/reflector/behaviour"
import { drive } from "#services/reflector/driver"
import { replayGeneration } from "#services/reflector/analysis"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"
import { faults, type ScriptedModel } from "#test/support/scripted-model"
import { answering, configured, connection, finished, openRun, questions, reflector, register, runRequest, stateOf, verification, withReflector, withWorkers } from "./stage.ts"

const test = suite("whole runs")
const it = (name: string, settings: Readonly<Record<string, string>>, body: (model: ScriptedModel) => Effect.Effect<unknown, unknown, EventLog | Nats | Scope.Scope>) =>
  effect(test as never, name, () => withReflector(({ model }) => body(model), { settings }), 90_000)

it("rules and the lexical judge: a run is opened, driven to its end, replayed and verified without a model", { METAMEM_JUDGE: "lexical", METAMEM_REFLECTOR: "rules" }, () =>
  Effect.gen(function*() {
    const small = runRequest(questions(117), { validation: part(16, 40) })
    const opened = yield* openRun("a", small)
    assert.is((opened as { judge: string }).judge, "lexical")
    yield* finished("a")
    const state = yield* stateOf("a")
    assert.is(state.steps.length, 2)
    for (const { hash, number } of state.generations) assert.is(replayGeneration(state, number)?.hash, hash)
    const verified = yield* verification("a")
    assert.equal({ differing: verified.differing, missing: verified.missing, extra: verified.extra }, { differing: [], missing: [], extra: [] })
    assert.ok(verified.decisions >= 5)
    // Either would end the connection, as part of a subject.
    const [first, ...more] = small.train
    assert.match(String(yield* Effect.flip(openRun("a".repeat(5_000), small))), /a name of at most 256 bytes/)
    assert.match(String(yield* Effect.flip(openRun("a2", { ...small, train: [{ ...first, user: "u".repeat(5_000) }, ...more] }))), /a name of at most 256 bytes/)
    const refused = yield* Effect.flip(openRun("a", { ...small, seed: 4 }))
    assert.match(String(refused), /seed/)
    const status = yield* request(requestSubject("reflector", "status"), { tenant: "t", run: "a" }, 2_000)
    assert.is((status as { stage: string }).stage, "finished")
  }))

it("model judge and model reflector: generations are sealed with lineage, one is adopted, and no judge waits for the last answer", { METAMEM_ANSWER_CONCURRENCY: "2" }, (model) =>
  Effect.gen(function*() {
    yield* openRun("b", runRequest(questions(117), { steps: 3 }))
    yield* finished("b")
    const state = yield* stateOf("b")
    const { generations } = state
    assert.ok(generations.length >= 2, `sealed ${generations.length}`)
    for (const { hash, number } of state.generations) assert.is(replayGeneration(state, number)?.hash, hash)
    const verified = yield* verification("b")
    assert.equal(verified.differing, [])
    const n = generations.length - 1
    yield* request(requestSubject("reflector", "adopt"), { tenant: "t", run: "b", generation: n }, 2_000)
    yield* request(requestSubject("reflector", "adopt"), { tenant: "t", run: "b", generation: n }, 2_000)
    const log = yield* EventLog
    assert.is((yield* log.load(adoptedSubject("t"))).length, 1)
    const refused = yield* Effect.flip(request(requestSubject("reflector", "adopt"), { tenant: "t", run: "b", generation: 77 }, 2_000))
    assert.match(String(refused), /no 77/)
    const accepted = state.operations.filter(({ decision }) => decision === "accepted")
    assert.ok(accepted.length > 0 && accepted.every(({ sources }) => sources.length > 0), "every operation names the questions it came from")
    const asked = model.requests.map(({ role }) => role)
    const rollouts = asked.slice(0, asked.indexOf("reflect"))
    const judgedAmid = rollouts.slice(0, rollouts.lastIndexOf("answer")).filter((role) => role === "judge").length
    assert.ok(judgedAmid > rollouts.filter((role) => role === "judge").length / 2, `${judgedAmid} judged while answers were still asked for`)
  }))

const part = (from: number, to: number) => {
  const [first, ...more] = questions(117).slice(from, to).map(({ id, user }) => ({ id, user }))
  if (first === undefined) throw new RangeError("a part needs a question")
  return [first, ...more] as const
}

/** Hashes of a run's generations. */
const hashes = (run: string) => Effect.map(stateOf(run), ({ generations }) => generations.map(({ hash }) => hash))

/** A reflector with a connection of its own, as a process has: what it pulled and did not finish ends with it. */
const process = (url: string) => Layer.launch(Layer.fresh(reflector).pipe(Layer.provide(connection(url))))

const opened = (run: string, wanted = runRequest(questions(117))) =>
  Effect.scoped(
    Effect.gen(function*() {
      yield* Layer.build(reflector)
      yield* answering("reflector")
      yield* openRun(run, wanted)
    })
  )

effect(
  test as never,
  "a run whose reflector is killed again and again has the hashes of one that ran through",
  () =>
    Effect.gen(function*() {
      const running = yield* withWorkers(() =>
        Effect.gen(function*() {
          yield* opened("k")
          const whole = yield* Layer.launch(reflector).pipe(Effect.forkScoped)
          yield* finished("k")
          yield* Fiber.interrupt(whole)
          return yield* hashes("k")
        })).pipe(Effect.forkScoped)
      const killed = yield* withWorkers(({ url }) =>
        Effect.gen(function*() {
          yield* opened("k")
          const isOver = yield* finished("k").pipe(Effect.forkScoped)
          let kills = 0
          while (isOver.pollUnsafe() === undefined) {
            const driver = yield* process(url).pipe(Effect.forkScoped)
            yield* Effect.sleep(400 + ((kills * 397) % 1_200)).pipe(Effect.raceFirst(Fiber.join(isOver)))
            yield* Fiber.interrupt(driver)
            kills += 1
          }
          assert.ok(kills > 3, `killed ${kills} times`)
          const verified = yield* verification("k")
          assert.equal(verified.differing, [])
          assert.equal(verified.missing, [])
          return yield* hashes("k")
        }))
      const straight = yield* Fiber.join(running)
      assert.ok(straight.length >= 2)
      assert.equal(killed, straight)
    }),
  180_000
)

effect(
  test as never,
  "on an endpoint that fails, babbles and cuts off, a run ends all the same and counts its errors",
  () =>
    withReflector(({ model }) =>
      Effect.gen(function*() {
        model.setFault(({ draw, repeats, role }) => {
          const drawn = draw(`fault ${repeats}`, 100)
          // One judge in four never replies anything that can be read.
          if (role === "judge" && draw("never", 4) === 0) return faults.prose
          return drawn < 10 ? faults.error500 : drawn < 20 && role !== "answer" ? faults.prose : drawn < 25 && role !== "answer" ? faults.cut : undefined
        })
        yield* openRun("f", runRequest(questions(117), { validation: part(16, 40), steps: 2, reflector: "both" }))
        yield* finished("f")
        const state = yield* stateOf("f")
        const verdicts = state.steps.flatMap(({ attempts }) => attempts.map(({ verdicts }) => verdicts)).join("")
        assert.ok(verdicts.includes("e"), "errors are counted as errors")
        assert.ok(verdicts.includes("c") && verdicts.includes("i"))
        assert.equal((yield* verification("f")).differing, [])
        assert.ok((yield* listDead()).length > 0, "what failed for good is listed")
      })),
  120_000
)

effect(
  test as never,
  "who takes a run over publishes only what was not: the rest is with workers, or reaches them",
  () =>
    Effect.gen(function*() {
      const { url } = yield* testServer
      yield* Effect.gen(function*() {
        yield* Layer.build(Evaluator.layer.pipe(Layer.provide(Models.layer()), Layer.provide(CallStore.layerMemory)))
        yield* answering("evaluator")
        yield* register(questions(117))
        yield* opened("o")
        const { jsm } = yield* Nats
        const filter = "work.retriever.rollout.t.o.>"
        const published = Effect.promise(() => jsm.streams.info("WORK", { subjects_filter: filter }).then(({ state }) => Object.entries(state.subjects ?? {})))
        const drivenFor = (ms: number) => Effect.flatMap(makeEntity(behaviour), (runs) => drive(runs, { tenant: "t", run: "o" }, { done: 0, expected: 0, failed: 0 }).pipe(Effect.timeoutOption(ms)))
        yield* drivenFor(1_500)
        const first = yield* published
        assert.is(first.length, 24)
        yield* Effect.promise(() => jsm.streams.purge("WORK", { filter: first[0]?.[0] ?? "" }))
        yield* drivenFor(1_500)
        assert.equal(new Map(yield* published), new Map(first), "each stands there once, the one that was gone too")
      }).pipe(Effect.provide(connection(url)), Effect.provide(configured("http://127.0.0.1:1/v1", { METAMEM_JUDGE: "lexical", METAMEM_REFLECTOR: "rules" })))
    }),
  60_000
)

effect(
  test as never,
  "two drivers at once without a lease make one run",
  () =>
    withWorkers(() =>
      Effect.gen(function*() {
        yield* opened("d", runRequest(questions(117), { validation: part(16, 40), steps: 2 }))
        // Reflections and proposals still need a worker; its own driver is kept away by a lease in another's name.
        const leases = yield* Leases
        yield* leases.acquire(leaseSubject("reflector", "t/d"), "somebody else")
        const drivers = [yield* makeEntity(behaviour), yield* makeEntity(behaviour)].map((runs) => drive(runs, { tenant: "t", run: "d" }, { done: 0, expected: 0, failed: 0 }))
        yield* Layer.launch(reflector).pipe(Effect.forkScoped)
        assert.equal(yield* Effect.all(drivers, { concurrency: 2 }), ["finished", "finished"])
        const log = yield* EventLog
        const causes = (yield* log.load(runSubject({ tenant: "t", run: "d" }))).map(({ cause }) => cause)
        assert.is(new Set(causes).size, causes.length)
        const verified = yield* verification("d")
        assert.equal(verified.differing, [])
      })),
  120_000
)

test.run()
