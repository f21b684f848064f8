import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { Nats } from "#shared/eventlog/nats"
import { callsSubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
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

test.run()
