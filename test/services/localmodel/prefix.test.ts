/** Only what would be evaluated in just the same chunks is used again. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { chunkEnd, chunkTokens, reusableTokens } from "#services/localmodel/prefix"

const prompt = (length: number, differsAt = length) => Array.from({ length }, (_, at) => (at < differsAt ? at : at + 10_000))
const held = (length: number, evaluated = length - 1) => ({ tokens: prompt(length), evaluated })

test("the same prompt needs its last token alone", () => {
  assert.is(reusableTokens(held(100), prompt(100)), 99)
})

test("a prompt that differs in its last token alone is as good as the same", () => {
  assert.is(reusableTokens(held(100), prompt(100, 99)), 99)
})

test("a shared beginning is used in whole chunks", () => {
  assert.is(reusableTokens(held(200), prompt(200, 150)), 2 * chunkTokens)
  assert.is(reusableTokens(held(200), prompt(200, chunkTokens - 1)), 0)
  assert.is(reusableTokens(held(200), prompt(200, chunkTokens)), chunkTokens)
})

test("a longer or shorter prompt does not use the chunk that an end cuts short", () => {
  assert.is(reusableTokens(held(100), prompt(101)), chunkTokens)
  assert.is(reusableTokens(held(101), prompt(100)), chunkTokens)
})

test("what was not evaluated before a client left is not used", () => {
  assert.is(reusableTokens(held(200, 64), prompt(200)), 64)
  assert.is(reusableTokens(held(200, 0), prompt(200)), 0)
})

test("prompts of one token reuse nothing", () => {
  assert.is(reusableTokens(held(1), prompt(1)), 0)
  assert.is(reusableTokens({ tokens: [], evaluated: 0 }, prompt(5)), 0)
})

test("chunks begin at multiples and end before the last token", () => {
  assert.equal([0, 64, 128].map((from) => chunkEnd(from, prompt(150))), [64, 128, 149])
  assert.is(chunkEnd(0, prompt(10)), 9)
})

test.run()
