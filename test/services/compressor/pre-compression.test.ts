import { Effect, Option } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { preCompressor } from "#services/compressor/pre-compression"
import { effect } from "#test/support/effect"

const test = suite("pre-compression")
const text = "Well, on 4 March I did not really go to the market in Tarn with Ana, you know, because of the rain."
const choice = { compression: "auto", classifierDir: Option.none<string>(), rate: 0.6, strict: false } as const

effect(test, "without weights function words are left out, and digits, names and negations stay", () =>
  Effect.gen(function*() {
    const shorten = yield* preCompressor(choice)
    const shorter = yield* shorten(text)
    assert.ok(shorter.length < text.length)
    for (const kept of ["4", "March", "not", "Tarn", "Ana"]) assert.ok(shorter.includes(kept), kept)
  }))

effect(test, "a text is never shortened to nothing, and not at all when switched off", () =>
  Effect.gen(function*() {
    const shorten = yield* preCompressor(choice)
    assert.is(yield* shorten("you"), "you")
    const whole = yield* preCompressor({ ...choice, compression: "none" })
    assert.is(yield* whole(text), text)
  }))

effect(test, "a folder without a classifier falls back to words", () =>
  Effect.gen(function*() {
    const shorten = yield* preCompressor({ ...choice, classifierDir: Option.some("/nonexistent") })
    assert.ok((yield* shorten(text)).length < text.length)
  }))

test.run()
