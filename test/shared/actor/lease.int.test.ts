import { Effect, Fiber, Layer, type Scope } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { Leases, whileHeld } from "#shared/actor/lease"
import { Nats } from "#shared/eventlog/nats"
import * as NatsConnection from "#shared/eventlog/nats"
import { leaseSubject } from "#shared/eventlog/subjects"
import { effect } from "#test/support/effect"
import { natsLayer, testServer } from "#test/support/nats"
import { target } from "./tally.ts"

const test = suite("leases")
const leasesLayer = Layer.provideMerge(Leases.layer, natsLayer)
const it = (name: string, body: Effect.Effect<unknown, unknown, Leases | Nats | Scope.Scope>, limitMs = 20_000) =>
  effect(test as never, name, () => body.pipe(Effect.provide(leasesLayer)), limitMs)

const subject = leaseSubject("compressor", target("a"))

const standing = Effect.flatMap(Nats, ({ jsm }) =>
  Effect.promise(() => jsm.streams.getMessage("LEASE", { last_by_subj: subject }).then((message) => message?.string(), () => undefined)))

it("one holds it, others do not get it, and released it is free at once", Effect.gen(function*() {
  const leases = yield* Leases
  const mine = yield* leases.acquire(subject, "me")
  assert.ok(mine)
  assert.is(yield* leases.acquire(subject, "other"), undefined)
  assert.ok(yield* leases.acquire(leaseSubject("embedder", target("a")), "other"), "another actor's lease is another lease")
  yield* leases.release(mine)
  const other = yield* leases.acquire(subject, "other")
  assert.is(other?.token, "other")
}))

it("it is renewed as long as it is held, also after another's attempt to take it", Effect.gen(function*() {
  const leases = yield* Leases
  const mine = yield* leases.acquire(subject, "me")
  assert.ok(mine)
  for (let i = 0; i < 3; i++) {
    const before = mine.revision
    assert.is(yield* leases.renew(mine), true)
    assert.ok(mine.revision > before)
    assert.is(yield* leases.acquire(subject, "other"), undefined)
  }
  yield* leases.release(mine)
  assert.is(yield* standing, undefined)
}))

it("a holder finds a lease that was taken over lost, and its release leaves the other's alone", Effect.gen(function*() {
  const leases = yield* Leases
  const { jsm } = yield* Nats
  const mine = yield* leases.acquire(subject, "me")
  assert.ok(mine)
  // As if its life had ended while this process was stopped.
  yield* Effect.promise(() => jsm.streams.purge("LEASE", { filter: subject }))
  const other = yield* leases.acquire(subject, "other")
  assert.ok(other)
  assert.is(yield* leases.renew(mine), false)
  yield* leases.release(mine)
  assert.is(yield* standing, "other")
}))

it("what is done under a lease is done by its holder alone, and ends when the lease is lost", Effect.gen(function*() {
  const leases = yield* Leases
  const { jsm } = yield* Nats
  assert.is(yield* whileHeld(leases, subject, Effect.as(standing, "done")), "done")
  assert.is(yield* standing, undefined)
  const other = yield* leases.acquire(subject, "other")
  assert.ok(other)
  assert.is(yield* whileHeld(leases, subject, Effect.succeed("done")), undefined)
  yield* leases.release(other)
  const holding = yield* Effect.forkScoped(whileHeld(leases, subject, Effect.never))
  while ((yield* standing) === undefined) yield* Effect.sleep(10)
  yield* Effect.promise(() => jsm.streams.purge("LEASE", { filter: subject }))
  assert.ok(yield* leases.acquire(subject, "other"))
  assert.is(yield* Fiber.join(holding), undefined)
  assert.is(yield* standing, "other")
}))

it("a lease that is gone while nobody else wants it is taken again", Effect.gen(function*() {
  const leases = yield* Leases
  const { jsm } = yield* Nats
  const mine = yield* leases.acquire(subject, "me")
  assert.ok(mine)
  yield* Effect.promise(() => jsm.streams.purge("LEASE", { filter: subject }))
  assert.is(yield* leases.renew(mine), true)
  assert.is(yield* standing, "me")
}))

it("a process that asks again for what it holds gets it: its first answer may have been lost", Effect.gen(function*() {
  const leases = yield* Leases
  const first = yield* leases.acquire(subject, "me")
  const again = yield* leases.acquire(subject, "me")
  assert.is(again?.token, "me")
  assert.ok(again !== undefined && first !== undefined)
  assert.is(yield* leases.renew(again), true)
}))

effect(test as never, "after a restart of the server leases are made anew", () =>
  Effect.gen(function*() {
    const { url, pid } = yield* testServer
    yield* Effect.gen(function*() {
      const leases = yield* Leases
      const mine = yield* leases.acquire(subject, "me")
      assert.ok(mine)
      process.kill(pid, "SIGKILL")
      assert.is(yield* leases.renew(mine), true, "the holder keeps it")
      assert.is(yield* leases.acquire(subject, "other"), undefined)
      yield* leases.release(mine)
      assert.ok(yield* leases.acquire(subject, "other"))
    }).pipe(Effect.provide(Layer.provideMerge(Leases.layer, NatsConnection.layer({ url }))))
  }), 40_000)

test.run()
