import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { paced } from "#services/cli/bench/ingest"
import { percentile, syntheticDataset, syntheticText, syntheticVector } from "#services/cli/bench/load"
import { idealSeconds } from "#services/cli/bench/train"
import { stream } from "#shared/metamemory/random"
import { effect } from "#test/support/effect"

const test = suite("bench load")

test("percentiles are values that were measured, by the nearest rank", () => {
  assert.is(percentile([5, 1, 4, 2, 3], 0.5), 3)
  assert.is(percentile([5, 1, 4, 2, 3], 0.99), 5)
  assert.is(percentile([7], 0.01), 7)
  assert.is(percentile([], 0.5), 0)
})

test("the ideal counts whole rounds of each stage", () => {
  assert.is(idealSeconds([100, 100, 70, 14, 1], 64, 300), 2.4)
  assert.is(idealSeconds([64], 64, 300), 0.3)
  assert.is(idealSeconds([], 64, 300), 0)
})

test("the same seed gives the same load, and another seed another", () => {
  const load = (seed: number) => syntheticDataset(stream("test", seed), "d", 3)
  assert.equal(load(1), load(1))
  assert.not.equal(load(1), load(2))
  assert.is(new Set(load(1).questions.map(({ user }) => user)).size, 3)
})

test("synthetic text has the words asked for, and frequent words are frequent", () => {
  const text = syntheticText(stream("test", 1), 4_000)
  const words = text.toLowerCase().split(/\W+/).filter((word) => word !== "")
  assert.is(words.length, 4_000)
  assert.ok(words.filter((word) => word === "the").length > 100)
  assert.ok(new Set(words).size > 1_000)
})

test("synthetic vectors have unit length and crowd around their centres", () => {
  const draw = stream("test", 1)
  const vectors = Array.from({ length: 200 }, () => syntheticVector(draw, 384, 4))
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)
  for (const vector of vectors) assert.ok(Math.abs(dot(vector, vector) - 1) < 1e-3)
  const first = vectors[0] ?? new Float32Array()
  const near = vectors.slice(1).filter((vector) => dot(first, vector) > 0.3).length
  assert.ok(near > 20 && near < 120, String(near))
})

effect(test, "paced work starts on its ticks, whatever earlier work still waits for", () =>
  Effect.gen(function*() {
    const from = performance.now()
    const starts: Array<number> = []
    const took = yield* paced(100, 20, () => Effect.andThen(Effect.sync(() => starts.push(performance.now() - from)), Effect.sleep(300)))
    assert.is(took.length, 20)
    assert.ok(Math.min(...took) >= 295)
    // One after another it would be six seconds.
    assert.ok(performance.now() - from < 3_000)
    assert.ok((starts[19] ?? 0) >= 185)
  }))

test.run()
