/** What every call store must do, run against each layer. */
import { Effect, type Layer, Option } from "effect"
import type { Test } from "uvu"
import * as assert from "uvu/assert"
import type { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { callsOf } from "#test/support/calls"
import { effect } from "#test/support/effect"

const keyOf = (n: number): string => n.toString(16).padStart(64, "0")
const call = (n: number, text: string): StoredCall => ({
  version: 1,
  key: keyOf(n),
  role: "answer",
  model: "m",
  schema: "answer@1",
  templateVersion: "a1",
  inputs: ["memory 1"],
  sample: { runSeed: 1, purpose: "gate", draw: 0, question: "q", sample: n },
  tags: { run: "r", step: 2 },
  text,
  truncated: false,
  usage: { promptTokens: 12, completionTokens: 3, estimated: false },
  latencyMs: 31,
  requests: 1
})

export const callStoreConformance = (test: Test, layer: Layer.Layer<CallStore, unknown>): void => {
  const it = (name: string, body: Effect.Effect<unknown, unknown, CallStore>) => effect(test, name, () => body.pipe(Effect.provide(layer)))

  it("a call that was not kept is not found", Effect.gen(function*() {
    const store = yield* CallStore
    assert.ok(Option.isNone(yield* store.get("local", "u", keyOf(1))))
    assert.is((yield* callsOf("local", "u")).size, 0)
  }))

  it("a call comes back as it was kept, for its tenant and scope alone", Effect.gen(function*() {
    const store = yield* CallStore
    const kept = yield* store.put("local", "user with . * > and ü", keyOf(1), call(1, "Größe: \"1\"\n"))
    assert.equal(kept, call(1, "Größe: \"1\"\n"))
    assert.equal(Option.getOrThrow(yield* store.get("local", "user with . * > and ü", keyOf(1))), kept)
    assert.ok(Option.isNone(yield* store.get("local", "user", keyOf(1))))
    assert.ok(Option.isNone(yield* store.get("other", "user with . * > and ü", keyOf(1))))
    assert.ok(Option.isNone(yield* store.get("local", "user with . * > and ü", keyOf(2))))
  }))

  it("the first reply stays, and who comes later gets it", Effect.gen(function*() {
    const store = yield* CallStore
    yield* store.put("local", "u", keyOf(1), call(1, "first"))
    assert.is((yield* store.put("local", "u", keyOf(1), call(1, "second"))).text, "first")
    assert.is(Option.getOrThrow(yield* store.get("local", "u", keyOf(1))).text, "first")
  }))

  it("of many at once one is kept and all get that one", Effect.gen(function*() {
    const store = yield* CallStore
    const got = yield* Effect.all(
      Array.from({ length: 20 }, (_, n) => store.put("local", "u", keyOf(7), call(7, `reply ${n}`))),
      { concurrency: "unbounded" }
    )
    assert.is(new Set(got.map(({ text }) => text)).size, 1)
    assert.is(Option.getOrThrow(yield* store.get("local", "u", keyOf(7))).text, got[0]?.text)
  }))

  it("all calls of a scope are read in one pass, and no other's", Effect.gen(function*() {
    const store = yield* CallStore
    yield* Effect.all(Array.from({ length: 300 }, (_, n) => store.put("local", "run 1", keyOf(n), call(n, `reply ${n}`))), { concurrency: 32 })
    yield* store.put("local", "run 12", keyOf(1), call(1, "another run's"))
    const all = yield* callsOf("local", "run 1")
    assert.is(all.size, 300)
    assert.is(all.get(keyOf(299))?.text, "reply 299")
  }))

  it("the calls of many scopes are told, each once, and no other's", Effect.gen(function*() {
    const store = yield* CallStore
    const scopes = Array.from({ length: 1_100 }, (_, n) => `user ${n}`)
    yield* Effect.forEach(scopes, (scope, n) => store.put("local", scope, keyOf(n), call(n, `reply ${n}`)), { concurrency: 32, discard: true })
    const wanted = [...scopes.slice(0, 1_050), "user 7", "nobody"]
    const told: Array<string> = []
    yield* store.each("local", wanted, ({ text }, scope) => void told.push(`${scope}: ${text}`))
    assert.equal(told.toSorted(), Array.from({ length: 1_050 }, (_, n) => `user ${n}: reply ${n}`).toSorted())
  }))

  it("what is being asked is claimed once, for its tenant and scope alone, until it is taken back", Effect.gen(function*() {
    const store = yield* CallStore
    const first = yield* store.claim("local", "u", keyOf(9))
    assert.ok(first !== undefined)
    assert.is(yield* store.claim("local", "u", keyOf(9)), undefined)
    for (const [tenant, scope, key] of [["local", "v", 9], ["other", "u", 9], ["local", "u", 8]] as const) assert.ok((yield* store.claim(tenant, scope, keyOf(key))) !== undefined)
    yield* first(false)
    assert.ok((yield* store.claim("local", "u", keyOf(9))) !== undefined)
  }))
}
