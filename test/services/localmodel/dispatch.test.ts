/** The line before the lanes: bounded, fair, and aware of who has a prompt already. */
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { makeDispatch, type Place } from "#services/localmodel/dispatch"
import { effect } from "#test/support/effect"

interface Named extends Place {
  readonly name: string
}
const place = (name: string, reusable = 0): Named => ({ name, reusable: () => reusable })
const prompt = [1, 2, 3]

/** Takes a place and keeps it until `release`. */
const hold = (dispatch: ReturnType<typeof makeDispatch<Named>>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const taken = yield* dispatch.take(prompt).pipe(Scope.provide(scope))
    return { name: taken.name, release: Scope.close(scope, Exit.void) }
  })

effect(test, "one more than may wait is refused with 429 and a time to come again", () =>
  Effect.gen(function*() {
    const dispatch = makeDispatch([place("a")], 1)
    yield* hold(dispatch)
    const waiting = yield* Effect.forkChild(hold(dispatch), { startImmediately: true })
    const error = yield* Effect.flip(hold(dispatch))
    assert.is(error.status, 429)
    assert.ok((error.retryAfterSeconds ?? 0) > 0)
    assert.equal(dispatch.load(), { busy: 1, waiting: 1 })
    yield* Fiber.interrupt(waiting)
  }))

effect(test, "those who wait are served in order", () =>
  Effect.gen(function*() {
    const dispatch = makeDispatch([place("a")], 10)
    const first = yield* hold(dispatch)
    const order: Array<number> = []
    const later = yield* Effect.forEach([1, 2, 3], (n) =>
      Effect.forkChild(Effect.scoped(Effect.andThen(dispatch.take(prompt), Effect.sync(() => order.push(n)))), { startImmediately: true }))
    yield* first.release
    yield* Effect.forEach(later, Fiber.join)
    assert.equal(order, [1, 2, 3])
    assert.equal(dispatch.load(), { busy: 0, waiting: 0 })
  }))

effect(test, "who leaves the line holds nobody up", () =>
  Effect.gen(function*() {
    const dispatch = makeDispatch([place("a")], 10)
    const first = yield* hold(dispatch)
    const leaving = yield* Effect.forkChild(hold(dispatch), { startImmediately: true })
    const staying = yield* Effect.forkChild(hold(dispatch), { startImmediately: true })
    yield* Fiber.interrupt(leaving)
    yield* first.release
    assert.is((yield* Fiber.join(staying)).name, "a")
  }))

effect(test, "a free lane that has the prompt goes before one that has not", () =>
  Effect.gen(function*() {
    const dispatch = makeDispatch([place("cold"), place("warm", 500)], 10)
    assert.is((yield* hold(dispatch)).name, "warm")
  }))

effect(test, "a long prompt waits for the lane that is at it, a short one does not", () =>
  Effect.gen(function*() {
    for (const [reusable, expected] of [[500, "warm"], [100, "cold"]] as const) {
      const dispatch = makeDispatch([place("cold"), place("warm", reusable)], 10)
      const first = yield* hold(dispatch)
      const got = yield* Deferred.make<string>()
      yield* Effect.forkChild(Effect.flatMap(hold(dispatch), ({ name }) => Deferred.succeed(got, name)), { startImmediately: true })
      if (expected === "warm") assert.equal(dispatch.load(), { busy: 1, waiting: 1 })
      yield* first.release
      assert.is(yield* Deferred.await(got), expected)
    }
  }))

test.run()
