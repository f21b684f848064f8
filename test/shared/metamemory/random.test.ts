import { test } from "uvu"
import * as assert from "uvu/assert"
import { chosen, digest, droppedPrinciples, shuffled, stream, uniform, wholeNumber } from "#shared/metamemory/random"

test("the same parts give the same draw, and parts do not run into each other", () => {
  assert.is(uniform("a", 1), uniform("a", 1))
  assert.is.not(digest("a", "bc"), digest("ab", "c"))
  assert.is.not(digest("1"), digest(1))
})

test("draws are uniform", () => {
  const draws = Array.from({ length: 4000 }, (_, i) => uniform("test", i))
  const mean = draws.reduce((a, b) => a + b, 0) / draws.length
  assert.ok(Math.abs(mean - 0.5) < 0.02, String(mean))
  assert.ok(draws.every((draw) => draw >= 0 && draw < 1))
})

test("a draw from nothing is refused", () => assert.throws(() => wholeNumber(0, "x"), RangeError))

test("a shuffle keeps every item and leaves its input", () => {
  const items = Array.from({ length: 50 }, (_, i) => i)
  const mixed = shuffled(items, "s")
  assert.equal([...mixed].sort((a, b) => a - b), items)
  assert.not.equal(mixed, items)
  assert.equal(shuffled(items, "s"), mixed)
  assert.is(chosen(items, 7, "c").length, 7)
  assert.is(chosen([1, 2], 7, "c").length, 2)
})

test("a fifth of the principles is dropped, each by its own draw", () => {
  const ids = Array.from({ length: 10 }, (_, i) => `P${i}`)
  let dropped = 0
  for (let sample = 0; sample < 400; sample++) {
    const key = { runSeed: "r", step: 3, question: "q", sample }
    const mask = droppedPrinciples(key, ids)
    dropped += mask.size
    assert.equal([...droppedPrinciples(key, [...ids, "new"])].filter((id) => id !== "new"), [...mask])
  }
  assert.ok(Math.abs(dropped / 4000 - 0.2) < 0.02, String(dropped))
})

test("a stream depends on its seed alone", () => {
  const [a, b, c] = [stream("s"), stream("s"), stream("t")]
  const first = Array.from({ length: 5 }, a)
  assert.equal(Array.from({ length: 5 }, b), first)
  assert.not.equal(Array.from({ length: 5 }, c), first)
})

test.run()
