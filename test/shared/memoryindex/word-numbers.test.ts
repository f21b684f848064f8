import { test } from "uvu"
import * as assert from "uvu/assert"
import { WordNumbers } from "#shared/memoryindex/word-numbers"
import { words } from "#shared/memoryindex/words"
import { stream } from "#shared/metamemory/random"

const make = () => {
  const seen: Array<string> = []
  return { seen, numbers: new WordNumbers((word) => seen.push(word) - 1) }
}

test("the words of a text are those that are searched for", () => {
  const { numbers, seen } = make()
  const texts = [
    "", "...", "a", "I'm 2nd-best, said BEN_3; ben_3!", "ends in a word", "x".repeat(25_000), `${"Y".repeat(45)} ${"y".repeat(40)} ${"y".repeat(41)}`,
    "Straße, Ünïcode and İstanbul", "BeeMax™ is not beemaxtm", "東京で日本語 and tea", "9z\u212a", "tab\tnew\nline\u0000nul"
  ]
  for (const text of texts) assert.equal(Array.from(numbers.of(text), (number) => seen[number]), words(text))
})

test("a word is told once, however often and in whatever case it is written, among many too", () => {
  const { numbers, seen } = make()
  const draw = stream("word numbers", 1)
  const all = Array.from({ length: 20_000 }, (_, n) => `w${n.toString(36)}x`)
  for (let n = 0; n < 60_000; n++) {
    const word = all[Math.floor(draw() * all.length)] ?? ""
    assert.is(seen[numbers.of(n % 2 === 0 ? word : word.toUpperCase())[0] ?? -1], word)
  }
  assert.is(new Set(seen).size, seen.length)
})

test.run()
