import { Context, Effect, Exit, Layer, Scope } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { Nats } from "#shared/eventlog/nats"
import { callsSubject } from "#shared/eventlog/subjects"
import { CallStore, claimSeconds } from "#shared/model/call-store"
import { callStoreConformance } from "#test/conformance/call-store"
import { callsOf } from "#test/support/calls"
import { effect } from "#test/support/effect"
import { natsLayer } from "#test/support/nats"

const test = suite("call store on JetStream")
const layer = Layer.provideMerge(CallStore.layerJetStream, natsLayer)
callStoreConformance(test as never, layer)

effect(test, "what is no call under a key is a typed error, not a missing call", () =>
  Effect.gen(function*() {
    const store = yield* CallStore
    const { js } = yield* Nats
    for (const [key, payload] of [["a", "not json"], ["b", "{}"], ["c", '{"version": 2}']] as const) {
      yield* Effect.promise(() => js.publish(callsSubject("local", "u", key), payload))
      const error = yield* Effect.flip(store.get("local", "u", key))
      assert.is(error._tag, "CorruptCall")
      assert.match(error.message, callsSubject("local", "u", key))
    }
    assert.is((yield* Effect.flip(callsOf("local", "u")))._tag, "CorruptCall")
  }).pipe(Effect.provide(layer)))

effect(test, "what is being asked stays claimed while its process lives, and is free soon after it ended without a word", () =>
  Effect.gen(function*() {
    const here = yield* CallStore
    const scope = yield* Scope.make()
    const { claim } = Context.get(yield* Layer.buildWithScope(Layer.fresh(CallStore.layerJetStream), scope), CallStore)
    const claimed = Effect.map(here.claim("local", "u", "k"), (end) => end === undefined)
    assert.ok((yield* claim("local", "u", "k")) !== undefined)
    const ended = yield* claim("local", "u", "ended")
    yield* Effect.sleep(`${claimSeconds + 2} seconds`)
    assert.is(yield* claimed, true)
    assert.ok(ended !== undefined)
    yield* ended(false)
    assert.is((yield* here.claim("local", "u", "ended")) === undefined, false)
    yield* Scope.close(scope, Exit.void)
    assert.is(yield* claimed, true)
    yield* Effect.sleep(`${claimSeconds + 2} seconds`)
    assert.is(yield* claimed, false)
  }).pipe(Effect.provide(layer)), 60_000)

test.run()
