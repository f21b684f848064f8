import { Effect, Layer, Ref, type Scope } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { listDead } from "#shared/actor/dead-letters"
import { Leases, leaseSeconds } from "#shared/actor/lease"
import { runSignals } from "#shared/actor/signals"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import { Nats } from "#shared/eventlog/nats"
import * as NatsConnection from "#shared/eventlog/nats"
import { leaseSubject } from "#shared/eventlog/subjects"
import { effect } from "#test/support/effect"
import { begun } from "#test/support/begun"
import { natsLayer, testServer } from "#test/support/nats"
import { workerProcess } from "./process.ts"
import { collected, say, tallyWorker, target, until } from "./tally.ts"

const test = suite("signals")

const on = (url: string) => Layer.fresh(Layer.provideMerge(Layer.merge(JetStreamLog.layer, Leases.layer), NatsConnection.layer({ url })))
type Kit = EventLog | Leases | Nats
const it = (name: string, body: Effect.Effect<unknown, unknown, Kit | Scope.Scope>, limitMs = 20_000) =>
  effect(test as never, name, () => Effect.flatMap(testServer, ({ url }) => body.pipe(Effect.provide(on(url)))), limitMs)

const conversations = (count: number) => Array.from({ length: count }, (_, i) => `c${i}`)
/** True when everything said in these conversations was collected, however often. */
const done = (names: ReadonlyArray<string>, each: number) =>
  Effect.map(Effect.forEach(names, collected, { concurrency: 16 }), (all) => all.every(({ numbers }) => numbers.length >= each))
/** Each number once and in the order it was said. */
const exactly = (names: ReadonlyArray<string>, each: number) =>
  Effect.gen(function*() {
    for (const name of names) assert.equal((yield* collected(name)).numbers, Array.from({ length: each }, (_, i) => i + 1), name)
  })
const sayAll = (names: ReadonlyArray<string>, each: number) =>
  Effect.forEach(names, (name) => Effect.forEach(Array.from({ length: each }, (_, i) => i + 1), (n) => say(name, n)), { concurrency: 8 })
/** A small seeded source of chance. */
const chance = (seed: number) => () => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648
const pendingAcks = Effect.flatMap(Nats, ({ jsm }) => Effect.promise(() => jsm.consumers.info("MEMORY", "compressor")))

// Started first, since they wait for leases and deliveries to time out.

const life = begun(Effect.gen(function*() {
  const leases = yield* Leases
  const subject = leaseSubject("compressor", target("a"))
  assert.ok(yield* leases.acquire(subject, "dead"))
  const started = performance.now()
  let taken = yield* leases.acquire(subject, "other")
  while (taken === undefined && performance.now() - started < 25_000) {
    yield* Effect.sleep(200)
    taken = yield* leases.acquire(subject, "other")
  }
  const seconds = (performance.now() - started) / 1_000
  assert.is(taken?.token, "other")
  assert.ok(seconds > leaseSeconds - 2 && seconds < leaseSeconds + 3, `taken over after ${seconds.toFixed(1)} s`)
}).pipe(Effect.provide(Layer.provideMerge(Leases.layer, natsLayer))), 30_000)

const killed = begun(
  Effect.gen(function*() {
    const { url } = yield* testServer
    return yield* Effect.gen(function*() {
      const names = conversations(6)
      const victim = yield* workerProcess(url, "victim", "signals", 60_000)
      yield* sayAll(names, 2)
      yield* victim.working(4)
      victim.kill("SIGKILL")
      const started = performance.now()
      yield* workerProcess(url, "heir", "signals", 0)
      yield* until(done(names, 2), 50_000, "the heir does the work of the killed")
      yield* exactly(names, 2)
      assert.ok((yield* Effect.forEach(names, collected)).every(({ by }) => by.every((name) => name === "heir")))
      return (performance.now() - started) / 1_000
    }).pipe(Effect.provide(on(url)))
  }),
  70_000
)

const zombie = begun(
  Effect.gen(function*() {
    const { url } = yield* testServer
    return yield* Effect.gen(function*() {
      const names = conversations(3)
      const stopped = yield* workerProcess(url, "stopped", "signals", 700)
      yield* sayAll(names, 2)
      yield* stopped.working(3)
      stopped.kill("SIGSTOP")
      yield* workerProcess(url, "other", "signals", 0)
      yield* until(done(names, 2), 50_000, "another takes over from the stopped")
      stopped.kill("SIGCONT")
      // Its late commits come now, and must conflict; what is new is done by either.
      yield* Effect.sleep(1_500)
      yield* exactly(names, 2)
      yield* Effect.forEach(names, (name) => say(name, 3))
      yield* until(done(names, 3), 20_000, "both go on")
      yield* exactly(names, 3)
      const firstBy = yield* Effect.forEach(names, (name) => Effect.map(collected(name), ({ by }) => by[0]))
      assert.ok(firstBy.includes("other"), "the stopped one had nothing committed for some")
    }).pipe(Effect.provide(on(url)))
  }),
  70_000
)

const serverKilled = begun(
  Effect.gen(function*() {
    const { pid, url } = yield* testServer
    return yield* Effect.gen(function*() {
      const names = conversations(20)
      const random = chance(3)
      for (const by of ["a", "b"]) {
        const worker = yield* tallyWorker(by, 4, () => (random() < 0.1 ? Effect.die(new Error("thrown at random")) : Effect.sleep(5 + 20 * random())))
        yield* runSignals(worker).pipe(Effect.provide(on(url)), Effect.forkScoped)
      }
      yield* sayAll(names, 3)
      process.kill(pid, "SIGKILL")
      yield* Effect.forEach(names, (name) => Effect.forEach([4, 5], (n) => say(name, n)), { concurrency: 8 })
      yield* until(done(names, 5), 45_000, "everything is collected after the server was killed")
      yield* exactly(names, 5)
    }).pipe(Effect.provide(on(url)))
  }),
  70_000
)

for (const workers of [2, 4]) {
  it(`${workers} workers, handlers that throw at random: nothing lost, doubled or out of order, and everything acknowledged`, Effect.gen(function*() {
    const names = conversations(60)
    const random = chance(workers)
    const { url } = yield* Nats
    let thrown = 0
    for (let w = 0; w < workers; w++) {
      const worker = yield* tallyWorker(`w${w}`, 4, () =>
        Effect.suspend(() => {
          if (random() > 0.15) return Effect.sleep(10 * random())
          thrown += 1
          return random() < 0.5 ? Effect.fail("refused at random") : Effect.die(new Error("thrown at random"))
        }))
      yield* runSignals(worker).pipe(Effect.provide(on(url)), Effect.forkScoped)
    }
    yield* sayAll(names, 5)
    yield* until(done(names, 5), 25_000, "everything is collected")
    yield* exactly(names, 5)
    assert.ok(thrown > 5, `handlers threw ${thrown} times`)
    const all = yield* Effect.forEach(names, collected)
    assert.is(new Set(all.flatMap(({ by }) => by)).size, workers, "every worker did some of it")
    yield* until(Effect.map(pendingAcks, (info) => info.num_ack_pending + info.num_pending === 0), 25_000, "everything is acknowledged")
  }), 60_000)
}

it("signals that come while an entity is in work are covered by its next commits, without a failure", Effect.gen(function*() {
  let passes = 0
  let failures = 0
  const worker = yield* tallyWorker("w", 4, () => Effect.andThen(Effect.sync(() => void passes++), Effect.sleep(400)))
  yield* runSignals({
    ...worker,
    handle: (subject, minimum) => Effect.tapCause(worker.handle(subject, minimum), () => Effect.sync(() => void failures++))
  }).pipe(Effect.forkScoped)
  for (let n = 1; n <= 20; n++) {
    yield* say("c0", n)
    yield* Effect.sleep(20)
  }
  yield* until(done(["c0"], 20), 10_000, "all twenty are collected")
  yield* exactly(["c0"], 20)
  assert.is(failures, 0)
  assert.ok(passes < 12, `${passes} passes for 20 signals`)
}))

it("a worker takes no more entities than it can soon do: one that comes later gets its share", Effect.gen(function*() {
  const { url } = yield* Nats
  const names = conversations(200)
  yield* sayAll(names, 1)
  const first = yield* tallyWorker("first", 2, () => Effect.sleep(40))
  yield* runSignals(first).pipe(Effect.provide(on(url)), Effect.forkScoped)
  yield* Effect.sleep(500)
  const second = yield* tallyWorker("second", 2, () => Effect.sleep(40))
  yield* runSignals(second).pipe(Effect.provide(on(url)), Effect.forkScoped)
  yield* until(done(names, 1), 15_000, "all is collected")
  yield* exactly(names, 1)
  const by = (yield* Effect.forEach(names, collected)).map((one) => one.by[0])
  const share = by.filter((name) => name === "second").length
  assert.ok(share >= 40, `the second did ${share} of 200`)
}))

it("a handler that always fails is tried again ever more slowly and holds nobody up", Effect.gen(function*() {
  let tries = 0
  const worker = yield* tallyWorker("w", 1, (subject) =>
    subject === target("bad") ? Effect.andThen(Effect.sync(() => void tries++), Effect.fail("never works")) : Effect.void)
  yield* runSignals(worker).pipe(Effect.forkScoped)
  yield* say("bad", 1)
  yield* sayAll(conversations(10), 1)
  yield* until(done(conversations(10), 1), 5_000, "the others are done")
  yield* Effect.sleep(3_000)
  assert.ok(tries >= 2 && tries <= 4, `${tries} tries in three seconds`)
}))

it("a worker that ends hands back what it holds at once", Effect.gen(function*() {
  const { url } = yield* Nats
  const held = yield* Ref.make(false)
  const leaving = yield* tallyWorker("leaving", 4, () => Effect.andThen(Ref.set(held, true), Effect.never))
  yield* say("c0", 1)
  yield* Effect.raceFirst(runSignals(leaving).pipe(Effect.provide(on(url))), until(Ref.get(held), 5_000, "it holds the entity"))
  const started = performance.now()
  const heir = yield* tallyWorker("heir", 4, () => Effect.void)
  yield* runSignals(heir).pipe(Effect.provide(on(url)), Effect.forkScoped)
  yield* until(done(["c0"], 1), 9_000, "the heir does it")
  assert.ok(performance.now() - started < 3_000, "neither the lease nor the delivery had to time out")
}))

it("a consumer that was lost is made again, and nothing is done twice", Effect.gen(function*() {
  const { jsm } = yield* Nats
  const worker = yield* tallyWorker("w", 4, () => Effect.void)
  yield* runSignals(worker).pipe(Effect.forkScoped)
  yield* sayAll(["c0", "c1"], 2)
  yield* until(done(["c0", "c1"], 2), 5_000, "before")
  yield* Effect.promise(() => jsm.consumers.delete("MEMORY", "compressor"))
  yield* say("c0", 3)
  yield* say("c1", 3)
  yield* until(done(["c0", "c1"], 3), 15_000, "after")
  yield* exactly(["c0", "c1"], 3)
}))

it("a message on a foreign subject becomes a dead letter, and the worker goes on", Effect.gen(function*() {
  const { js } = yield* Nats
  yield* Effect.promise(() => js.publish("memory.t.=zz.c.ingestor", "not from here"))
  const worker = yield* tallyWorker("w", 4, () => Effect.void)
  yield* runSignals(worker).pipe(Effect.forkScoped)
  yield* say("c0", 1)
  yield* until(done(["c0"], 1), 5_000, "the rest is done")
  const dead = yield* listDead()
  assert.is(dead[0]?.about, "memory.t.=zz.c.ingestor")
  assert.is(dead.length, 1)
}))

effect(test as never, "a lease not renewed ends by itself after its life, and not before", () => life, 40_000)
effect(test as never, "a worker killed in the middle is taken over when its lease has ended", () =>
  Effect.map(killed, (seconds) => assert.ok(seconds < leaseSeconds * 2, `taken over after ${seconds.toFixed(1)} s`)), 70_000)
effect(test as never, "a worker stopped for longer than its lease conflicts when it goes on: nothing is doubled", () => zombie, 70_000)
effect(test as never, "work goes on after the server was killed, nothing lost or doubled", () => serverKilled, 70_000)

test.run()
