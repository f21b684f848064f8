import { test } from "uvu"
import * as assert from "uvu/assert"
import { knownShare as shareFrom } from "#shared/model/known-words"
import { processorMs } from "#test/support/processor-time"

const knownShare = (tokenizer: string) => shareFrom(() => tokenizer)
const pieces = (vocab: unknown, more: object = {}): string => JSON.stringify({ model: { type: "WordPiece", vocab }, ...more })
const english = knownShare(pieces({ "[UNK]": 0, where: 1, "##abcdefghijklmnopqrstuvwxyz": 2, 我: 3, "0123456789": 4 }))

test("words of which the vocabulary lacks a letter are not known", () => {
  assert.is(english("Where is the Café 42?"), 1)
  assert.is(english("我在哪里"), 0.25)
  assert.is(english("Где я"), 0)
  // A sign of a script without blanks counts as much as a word.
  assert.is(english("where is 北京"), 0.5)
  assert.is(english("😀 … !?"), 1)
  assert.is(english(""), 1)
  assert.ok(processorMs(() => english("字".repeat(500_000))) < 2_000)
})

test("vocabularies in lists are read; bytes, and what cannot be read, know everything", () => {
  assert.is(knownShare(pieces([["▁where", -1], ["北", -2]]))("北京"), 0.5)
  assert.is(knownShare(pieces({ a: 0 }, { pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "ByteLevel" }] } }))("北京"), 1)
  assert.is(knownShare(JSON.stringify({ model: { vocab: { a: 0 }, byte_fallback: true } }))("北京"), 1)
  for (const broken of ["", "{}", "[]", "no json", JSON.stringify({ model: { vocab: 7 } })]) assert.is(knownShare(broken)("北京"), 1)
})

test.run()
