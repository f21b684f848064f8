import { test } from "uvu"
import * as assert from "uvu/assert"
import { UserIndex } from "#shared/memoryindex/user-index"

const dimensions = 16

const filled = (count: number, text: (n: number) => string, withVectors = true): UserIndex => {
  const index = new UserIndex(dimensions)
  index.reserve(count)
  for (let n = 0; n < count; n++) {
    index.put({
      id: `m${n}`, kind: n % 2 === 0 ? "turn" : "fact", text: text(n), speaker: "user", time: "2026-01-01T00:00:00.000Z", turns: [`m${n}`],
      user: "u", conversation: "c", sequence: n, ...(withVectors ? { vector: new Float32Array(dimensions).fill(0.25) } : {})
    })
  }
  return index
}

test("what a user takes grows with memories, with their texts and with new words", () => {
  const short = (): string => "a red lamp"
  const some = filled(1_000, short).bytes
  assert.ok(filled(0, short).bytes < some / 10)
  const more = filled(4_000, short).bytes
  assert.ok(more > 3 * some && more < 6 * some, `${more} beside ${some}`)
  const long = (): string => `a red lamp ${"with a shade ".repeat(40)}`
  assert.ok(filled(1_000, long).bytes - some > 1_000 * 400)
  const varied = (n: number): string => `a red lamp${n}x`
  assert.ok(filled(1_000, varied).bytes - some > 1_000 * 80)
})

test("vectors and what a search builds are counted", () => {
  const index = filled(20_000, () => "a red lamp")
  const before = index.bytes
  assert.ok(before > 20_000 * dimensions * 4)
  index.view().turns.nearest(new Float32Array(dimensions).fill(0.25))
  // One byte a number beside the numbers themselves, and a score a row.
  assert.ok(index.bytes - before > 10_000 * (dimensions + 4), String(index.bytes - before))
})

test("changes told twice are told once, also where a memory was restored and replaced again", () => {
  const index = filled(2, () => "a red lamp")
  for (let time = 0; time < 2; time++) {
    index.supersede("m0", "m1", 2)
    index.restore("m0", 3)
    index.supersede("m0", "forgotten", 4)
  }
  assert.is(index.supersededBy("m0"), "forgotten")
  assert.equal([1, 2, 3, 4].map((asOfSequence) => index.view({ asOfSequence }).turns.standingCount), [1, 0, 1, 0])
})

test.run()
