import { test } from "uvu"
import * as assert from "uvu/assert"
import { VectorIndex } from "#shared/memoryindex/vector-index"

/** Vectors of nearly unit length from a fixed sequence, of float16 numbers as all are. */
const vectors = (count: number, dimensions: number): ReadonlyArray<Float32Array> => {
  let state = 12_345
  const next = () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return state / 0x7fffffff - 0.5
  }
  return Array.from({ length: count }, () => {
    const raw = Float32Array.from({ length: dimensions }, next)
    const length = Math.hypot(...raw)
    return raw.map((value) => Math.f16round(value / length))
  })
}
const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)

const filled = (rows: ReadonlyArray<Float32Array>, dimensions: number): VectorIndex => {
  const index = new VectorIndex(dimensions)
  rows.forEach((row, at) => index.set(at, row))
  return index
}

test("a small store is scored exactly", () => {
  const rows = vectors(50, 16)
  const query = vectors(51, 16)[50] as Float32Array
  const scores = filled(rows, 16).scores(query, new Uint8Array(50).fill(1), 50)
  rows.forEach((row, at) => assert.ok(Math.abs((scores[at] ?? 0) - dot(row, query)) < 1e-6))
})

for (const [dimensions, count] of [[32, 6_000], [40, 6_000], [96, 20_000]] as const) {
  test(`a store of ${count} rows of ${dimensions} numbers gives the exact best rows and near scores for the rest`, () => {
    const rows = vectors(count, dimensions)
    const query = vectors(count + 1, dimensions)[count] as Float32Array
    const scores = filled(rows, dimensions).scores(query, new Uint8Array(count).fill(1), count)
    const exact = Float32Array.from(rows, (row) => dot(row, query))
    const order = [...exact.keys()].sort((a, b) => (exact[b] ?? 0) - (exact[a] ?? 0))
    for (const row of order.slice(0, 250)) assert.ok(Math.abs((scores[row] ?? 0) - (exact[row] ?? 0)) < 1e-6, `the score of row ${row} is not exact`)
    assert.equal([...scores.keys()].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0)).slice(0, 200), order.slice(0, 200))
    for (let row = 0; row < count; row++) assert.ok(Math.abs((scores[row] ?? 0) - (exact[row] ?? 0)) < 0.01)
  })
}

test("rows that do not stand, or have no vector, score nothing", () => {
  const rows = vectors(5_000, 8)
  const index = filled(rows, 8)
  const standing = new Uint8Array(5_001).fill(1)
  standing[3] = 0
  index.set(4, undefined)
  const scores = index.scores(rows[3] as Float32Array, standing, 5_001)
  assert.is(scores[3], 0)
  assert.is(scores[4], 0)
  assert.is(scores[5_000], 0)
  assert.is(index.get(4), undefined)
})

test("a replaced vector counts in the next search, in a large store too", () => {
  const rows = vectors(5_000, 8)
  const index = filled(rows, 8)
  const standing = new Uint8Array(5_000).fill(1)
  const query = rows[0] as Float32Array
  index.scores(query, standing, 5_000)
  index.set(77, query)
  assert.ok(Math.abs((index.scores(query, standing, 5_000)[77] ?? 0) - dot(query, query)) < 1e-6)
})

test("rows that come between searches count in the next one", () => {
  const rows = vectors(12_000, 32)
  const query = rows[11_500] as Float32Array
  const index = filled(rows.slice(0, 5_000), 32)
  for (const size of [5_000, 5_001, 8_000, 12_000]) {
    for (let row = 0; row < size; row++) index.set(row, rows[row])
    const scores = index.scores(query, new Uint8Array(size).fill(1), size)
    for (let row = 0; row < size; row += 7) assert.ok(Math.abs((scores[row] ?? 0) - dot(rows[row] as Float32Array, query)) < 0.01)
    assert.is(scores.indexOf(Math.max(...scores)) === 11_500, size === 12_000)
  }
})

test("a vector or query of another length is a caller's bug", () => {
  const index = new VectorIndex(8)
  assert.throws(() => index.set(0, new Float32Array(7)), /length 7 where 8/)
  assert.throws(() => index.scores(new Float32Array(9), new Uint8Array(0), 0), /length 9 where 8/)
})

test.run()
