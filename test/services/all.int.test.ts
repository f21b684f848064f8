/** Which parts a process of some actors stands on. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { actorsLayer } from "#services/all"
import { logOn } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("actors in one process")

effect(test, "only a process with a retriever takes a slot of the index", () =>
  Effect.gen(function*() {
    const { home, url } = yield* testServer
    const started = (...names: Parameters<typeof actorsLayer>[1] & {}) =>
      Effect.sync(() => existsSync(join(home, "index"))).pipe(Effect.provide(actorsLayer(home, names).pipe(Layer.provide(logOn(url)))))
    assert.is(yield* started("embedder"), false)
    assert.is(yield* started("embedder", "retriever"), true)
  }), 60_000)

test.run()
