import { Result, Schema } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { defineEvent, eventCodec, type StoredEvent, upcast } from "#shared/eventlog/event"

const test = suite("events")

const V1 = Schema.Struct({ text: Schema.String })
const V2 = Schema.Struct({ text: Schema.String, words: Schema.Int })
const Noted = defineEvent("Noted", {
  version: 3,
  payload: Schema.Struct({ text: Schema.String, wordCount: Schema.Int }),
  upcasts: {
    1: upcast(V1, (old) => ({ ...old, words: old.text.split(" ").length })),
    2: upcast(V2, ({ text, words }) => ({ text, wordCount: words }))
  }
})
const codec = eventCodec([Noted])
const failureOf = (stored: StoredEvent) => {
  const result = codec.decode(stored)
  return Result.isFailure(result) ? result.failure.message : "no failure"
}

test("an event comes back as it was", () => {
  const event = { _tag: "Noted", text: "two words", wordCount: 2 } as const
  assert.equal(codec.encode(event), { type: "Noted", version: 3, data: { text: "two words", wordCount: 2 } })
  assert.equal(Result.getOrThrow(codec.decode(codec.encode(event))), event)
})

test("older versions are lifted step by step", () => {
  const wanted = { _tag: "Noted", text: "two words", wordCount: 2 }
  assert.equal(Result.getOrThrow(codec.decode({ type: "Noted", version: 1, data: { text: "two words" } })), wanted)
  assert.equal(Result.getOrThrow(codec.decode({ type: "Noted", version: 2, data: { text: "two words", words: 2 } })), wanted)
})

test("what this code cannot read is named: unknown, newer, or not fitting its own schema", () => {
  assert.match(failureOf({ type: "Forgotten", version: 1, data: {} }), /unknown event type Forgotten/)
  assert.match(failureOf({ type: "Noted", version: 4, data: {} }), /newer than this code knows/)
  assert.match(failureOf({ type: "Noted", version: 3, data: { text: 1 } }), /Noted version 3/)
  assert.match(failureOf({ type: "Noted", version: 1, data: { words: 2 } }), /Noted version 1 does not fit its own schema/)
  assert.match(failureOf({ type: "Noted", version: 0, data: {} }), /Noted version 0/)
})

test("a missing step up is found when the code starts", () => {
  assert.throws(
    () => eventCodec([defineEvent("Gap", { version: 3, payload: V1, upcasts: { 1: (old) => old } })]),
    /Gap has no step up from version 2/
  )
})

test("an event nobody defined, or one with a wrong payload, cannot be written", () => {
  assert.throws(() => codec.encode({ _tag: "Other" } as never), /no definition/)
  assert.throws(() => codec.encode({ _tag: "Noted", text: "x" } as never))
})

test.run()
