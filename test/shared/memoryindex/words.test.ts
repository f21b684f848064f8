import { test } from "uvu"
import * as assert from "uvu/assert"
import { terms, words } from "#shared/memoryindex/words"

test("English words are stemmed and stop words dropped", () => {
  assert.equal(terms("I was running the marathons, and you?"), ["run", "marathon"])
  assert.equal(terms("Don't we've it's"), [])
})

test("diacritics do not tell words apart", () => {
  assert.equal(terms("Café naïve"), terms("cafe naive"))
})

test("digits stay, also within words", () => {
  assert.equal(words("room 12b at 7:30"), ["room", "12b", "at", "7", "30"])
})

test("a date's parts are one word each, however they are written", () => {
  assert.equal(terms("Jan 13th"), terms("January 13"))
  assert.equal(terms("the 3rd of Sept"), terms("3 September"))
  assert.not.equal(terms("marathon"), terms("mar"))
  assert.equal(terms("constructor __proto__ toString 100th"), ["constructor", "proto", "tostr", "100th"])
})

test("CJK runs become character pairs, beside each Chinese character, which may be a word of its own", () => {
  assert.equal(words("京都に行く"), ["京", "都", "行", "京都", "都に", "に行", "行く"])
  assert.equal(words("猫 ok 東京"), ["猫", "ok", "東", "京", "東京"])
  assert.ok(terms("我养了一只橘猫").some((term) => terms("猫叫什么").includes(term)))
  assert.equal(words("김치 を"), ["김치", "を"])
})

test("right-to-left words are found", () => {
  assert.equal(words("مرحبا بالعالم"), ["مرحبا", "بالعالم"])
  assert.equal(words("שלום עולם").length, 2)
})

test("texts without words give none", () => {
  assert.equal(words("🎉 … !?"), [])
  assert.equal(terms(""), [])
})

test("a run without spaces is cut, so that a hash cannot fill the index", () => {
  assert.is(words("x".repeat(5_000))[0]?.length, 40)
})

test("millions of characters without a space are read", () => {
  assert.ok(words("我喜欢在北京的公园散步".repeat(400_000)).length > 4_000_000)
  assert.ok(words("𝐀".repeat(2_000_000)).length > 0)
})

test.run()
