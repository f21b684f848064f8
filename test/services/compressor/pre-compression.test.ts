import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { preCompressor } from "#services/compressor/pre-compression"
import { effect } from "#test/support/effect"

const test = suite("pre-compression")
const text = "Well, on 4 March I did not really go to the market in Tarn with Ana, you know, because of the rain."
const choice = { compression: "auto", rate: 0.6, strict: false } as const

effect(test, "without weights function words are left out, and digits, names and negations stay", () =>
  Effect.gen(function*() {
    const shorten = yield* preCompressor(choice, undefined)
    const shorter = yield* shorten(text)
    assert.ok(shorter.length < text.length)
    for (const kept of ["4", "March", "not", "Tarn", "Ana"]) assert.ok(shorter.includes(kept), kept)
  }))

effect(test, "a text is never shortened to nothing, and not at all when switched off", () =>
  Effect.gen(function*() {
    const shorten = yield* preCompressor(choice, undefined)
    assert.is(yield* shorten("you"), "you")
    const whole = yield* preCompressor({ ...choice, compression: "none" }, undefined)
    assert.is(yield* whole(text), text)
  }))

/** Keeps every piece of words with an a in them. */
const classifier = {
  tokenizer: { words: (text: string) => (text.match(/\w+|[^\w\s]/g) ?? []).map((source) => ({ source, pieces: [{ id: source.includes("a") ? 1 : 2, piece: source }] })), beginId: 0, endId: 3, special: new Set<string>() },
  classify: (rows: ReadonlyArray<ReadonlyArray<number>>) => Promise.resolve(rows.map((row) => row.map((id) => (id === 1 ? 0.9 : 0.1))))
}

effect(test, "an open classifier decides, unless words are asked for; one that breaks leaves the text whole", () =>
  Effect.gen(function*() {
    const strict = { ...choice, strict: true } as const
    const byClassifier = yield* (yield* preCompressor(strict, classifier))(text)
    const byWords = yield* (yield* preCompressor({ ...strict, compression: "words" }, classifier))(text)
    assert.ok(byClassifier.includes("market") && !byClassifier.includes("did"), byClassifier)
    assert.is.not(byClassifier, byWords)
    assert.is(yield* (yield* preCompressor(strict, { ...classifier, classify: () => Promise.reject(new Error("broken")) }))(text), text)
  }))

test.run()
