import { Effect } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { Embeddings, layer, layerDeterministic } from "#shared/model/embeddings"
import { roundedUnit, VectorCache } from "#shared/model/embeddings-vector"
import { effect } from "#test/support/effect"

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)

test("a vector is scaled to unit length and rounded to float16 values", () => {
  const unit = roundedUnit(Float32Array.from([3, 4]), 2) as Float32Array
  assert.equal([...unit], [...Float16Array.from([0.6, 0.8])])
})

test("a vector of another length, with a value that is no number, or of no length is refused", () => {
  assert.is(roundedUnit(new Float32Array(3), 2), undefined)
  assert.is(roundedUnit(Float32Array.from([NaN, 1]), 2), undefined)
  assert.is(roundedUnit(Float32Array.from([Infinity, 1]), 2), undefined)
  assert.is(roundedUnit(new Float32Array(2), 2), undefined)
})

test("kept vectors are bounded by their bytes; the first that came leave first, and a key set twice counts once", () => {
  const cache = new VectorCache(3 * 8)
  const kept = (...keys: ReadonlyArray<string>) => keys.filter((key) => cache.get(key) !== undefined)
  for (const key of ["a", "b", "b", "c"]) cache.set(key, new Float32Array(2))
  assert.equal(kept("a", "b", "c"), ["a", "b", "c"])
  cache.set("d", new Float32Array(4))
  assert.equal(kept("a", "b", "c", "d"), ["c", "d"])
  cache.set("e", new Float32Array(7))
  assert.equal(kept("a", "b", "c", "d", "e"), [])
  cache.set("f", new Float32Array(6))
  assert.equal(kept("f"), ["f"])
  cache.clear()
  assert.equal(kept("f"), [])
})

effect(test, "hashed vectors are the same each time and near for texts that share words", () =>
  Effect.gen(function*() {
    const { dimensions, embed } = yield* Embeddings
    const [a, again, near, far, empty] = (yield* embed(["red boat sails", "red boat sails", "a red boat", "quantum tax law", ""])) as [Float32Array, Float32Array, Float32Array, Float32Array, Float32Array]
    assert.equal([...a], [...again])
    assert.is(a.length, dimensions)
    assert.ok(dot(a, near) > dot(a, far) + 0.2)
    assert.ok(Math.abs(dot(empty, empty) - 1) < 0.01)
  }).pipe(Effect.provide(layerDeterministic)))

effect(test, "a folder without a model is refused with the mend", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Effect.provide(Embeddings, layer({ dir: "no-such-folder", threads: 1 })))
    assert.is(error.reason, "ModelMissing")
    assert.match(error.message, /npm run setup/)
  }))

test.run()
