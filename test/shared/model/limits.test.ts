import { Effect, Fiber, Latch } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { adaptiveLimit, breaker } from "#shared/model/limits"
import { makeLedger, total } from "#shared/model/ledger"
import { effect } from "#test/support/effect"

const test = suite("limits and ledger")

effect(test, "no more run at once than the limit, also after it was lowered", () =>
  Effect.gen(function*() {
    const limit = adaptiveLimit(4)
    let now = 0
    let most = 0
    const work = limit.run(
      Effect.gen(function*() {
        now += 1
        most = Math.max(most, now)
        yield* Effect.sleep(2)
        now -= 1
      })
    )
    yield* Effect.all(Array.from({ length: 12 }, () => work), { concurrency: "unbounded" })
    assert.is(most, 4)
    yield* limit.settled("overloaded", 0)
    most = 0
    yield* Effect.all(Array.from({ length: 12 }, () => work), { concurrency: "unbounded" })
    assert.is(most, 2)
  }))

effect(test, "one overload is one decrease, and answers raise the limit to its bound and no further", () =>
  Effect.gen(function*() {
    const limit = adaptiveLimit(10)
    for (let i = 0; i < 20; i++) yield* limit.settled("overloaded", 100)
    assert.is(limit.current(), 7)
    yield* limit.settled("overloaded", 5_000)
    assert.is(limit.current(), 4)
    for (let i = 0; i < 4; i++) yield* limit.settled("answered", 5_000)
    assert.is(limit.current(), 5)
    for (let i = 0; i < 500; i++) yield* limit.settled("answered", 5_000)
    assert.is(limit.current(), 10)
    for (let i = 0; i < 20; i++) yield* limit.settled("overloaded", 10_000 * i)
    assert.is(limit.current(), 1)
  }))

effect(test, "who waits can be interrupted without losing a place for others", () =>
  Effect.gen(function*() {
    const limit = adaptiveLimit(1)
    const latch = Latch.makeUnsafe()
    const holder = yield* Effect.forkChild(limit.run(latch.await))
    const waiter = yield* Effect.forkChild(limit.run(Effect.void))
    yield* Effect.sleep(5)
    yield* Fiber.interrupt(waiter)
    yield* latch.open
    yield* Fiber.join(holder)
    yield* limit.run(Effect.void)
  }))

test("a breaker opens after five failures in a row and lets one request try again", () => {
  const b = breaker()
  for (let i = 0; i < 4; i++) {
    b.sent()
    b.failed(0)
  }
  assert.is(b.waitMs(0), 0)
  b.sent()
  b.failed(0)
  assert.is(b.waitMs(0), 1_000)
  assert.is(b.waitMs(1_000), 0)
  b.sent()
  assert.ok(b.waitMs(1_000) > 0, "only one tries")
  b.failed(1_000)
  assert.is(b.waitMs(1_000), 2_000)
  b.sent()
  b.succeeded()
  assert.is(b.waitMs(3_000), 0)
})

test("a success in between keeps a breaker closed, and a trial given up makes room for another", () => {
  const b = breaker()
  for (let i = 0; i < 50; i++) {
    b.sent()
    if (i % 4 === 3) b.succeeded()
    else b.failed(0)
  }
  assert.is(b.waitMs(0), 0)
  for (let i = 0; i < 5; i++) b.failed(0)
  b.sent()
  b.abandoned()
  assert.is(b.waitMs(2_000), 0)
})

test("failures of requests sent before it opened do not keep a breaker open longer", () => {
  const b = breaker()
  for (let i = 0; i < 64; i++) b.sent()
  for (let i = 0; i < 64; i++) b.failed(10)
  assert.is(b.waitMs(10), 1_000)
})

test("the ledger counts by role, run, step and principle", () => {
  const ledger = makeLedger()
  ledger.add("answer", { run: "r", step: 1 }, { calls: 1, promptTokens: 10, cost: 0.5 })
  ledger.add("answer", { run: "r", step: 1 }, { reused: 1 })
  ledger.add("answer", { run: "r", step: 2 }, { calls: 1, promptTokens: 7 })
  ledger.add("judge", undefined, { failed: 1, requests: 5 })
  assert.is(ledger.rows().length, 3)
  assert.equal(ledger.rows()[0], { role: "answer", tags: { run: "r", step: 1 }, calls: 1, reused: 1, failed: 0, requests: 0, promptTokens: 10, completionTokens: 0, cost: 0.5, latencyMs: 0 })
  assert.is(total(ledger.rows()).promptTokens, 17)
  assert.is(total(ledger.rows()).requests, 5)
})

test("beyond its rows the ledger still counts everything", () => {
  const ledger = makeLedger()
  for (let step = 0; step < 20_500; step++) ledger.add("judge", { run: "r", step }, { calls: 1 })
  assert.ok(ledger.rows().length <= 20_001)
  assert.is(total(ledger.rows()).calls, 20_500)
})

test.run()
