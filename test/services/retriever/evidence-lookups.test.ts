/** Lookups kept for further attempts, and what becomes of them when a user is erased. */
import { Deferred, Effect, Fiber } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { makeLookups } from "#services/retriever/evidence-lookups"
import { effect } from "#test/support/effect"

const test = suite("lookups of evidence")
const of = (user: string, text = "where") => ({ user, text, date: undefined, asOfSequence: 3, tokens: 100, through: 7 })

effect(test, "a lookup is taken once for all attempts, and again after its user was forgotten; others keep theirs", () =>
  Effect.gen(function*() {
    const taken: Array<string> = []
    const lookups = yield* makeLookups(({ text, user }) => Effect.sync(() => taken.push(`${user} ${text}`)))
    for (const one of [of("a"), of("a"), of("a", "when"), of("b"), of("b")]) yield* lookups.get(one)
    assert.equal(taken, ["a where", "a when", "b where"])
    lookups.forget("a")
    assert.is(yield* lookups.get(of("b")), 3)
    assert.is(yield* lookups.get(of("a")), 4)
    assert.is(yield* lookups.get(of("a", "when")), 5)
  }))

effect(test, "a lookup under way when its user is forgotten is refused to all who wait for it, and not kept", () =>
  Effect.gen(function*() {
    const gates = [yield* Deferred.make<string>(), yield* Deferred.make<string>()]
    let taken = 0
    const lookups = yield* makeLookups(() => Effect.suspend(() => Deferred.await(gates[taken++]!)))
    const early = yield* Effect.forEach([of("a"), of("a")], (one) => Effect.forkChild(Effect.flip(lookups.get(one))))
    yield* Effect.sleep(0)
    assert.is(taken, 1)
    lookups.forget("a")
    // Who asks after it waits for a lookup of their own, though the other is still under way.
    const late = yield* Effect.forkChild(lookups.get(of("a")))
    yield* Effect.sleep(0)
    assert.is(taken, 2)
    yield* Deferred.succeed(gates[0]!, "what was")
    for (const fiber of early) assert.match((yield* Fiber.join(fiber)).message, /erased while evidence was looked up/)
    yield* Deferred.succeed(gates[1]!, "what is")
    assert.is(yield* Fiber.join(late), "what is")
    assert.is(yield* lookups.get(of("a")), "what is")
  }))

effect(test, "a lookup that fails is taken again", () =>
  Effect.gen(function*() {
    let taken = 0
    const lookups = yield* makeLookups(() => Effect.suspend(() => (++taken === 1 ? Effect.fail("no vectors") : Effect.succeed(taken))))
    assert.is(yield* Effect.flip(lookups.get(of("a"))), "no vectors")
    assert.is(yield* lookups.get(of("a")), 2)
  }))

test.run()
