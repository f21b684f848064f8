import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { type ExtractionSettings, extractorOf } from "#services/compressor/extraction"
import { preCompressor } from "#services/compressor/pre-compression"
import { withModel } from "#test/support/models"
import type { ScriptedOptions, ScriptedRequest } from "#test/support/scripted-model"

const test = suite("facts by a model")
const of = { tenant: "local", user: "u", conversation: "c" }
const time = "2026-05-20T18:00:00.000Z"
const segment = [
  { id: "t1", speaker: "user", text: "I moved to Oslo on 3 May because the new job is there.", time },
  { id: "t2", speaker: "assistant", text: "Good luck with it!", time }
]
const settings: ExtractionSettings = { extractor: "model", mode: "event", prompts: "auto", attempts: 1, batchTokens: 512 }
const asksRelations = ({ prompt }: ScriptedRequest): boolean => prompt.includes("what connects them")
const moved = { turns: [1], fact: "The user moved to Oslo.", time: "2026-05-03" }
const because = { turns: [1], fact: "The user moved to Oslo because of a new job there.", time: "2026-05-03" }
const scripts: ScriptedOptions = { scripts: { extract: (request) => ({ facts: asksRelations(request) ? [because, moved] : [moved] }) } }

withModel(test, "event mode finds facts and relations, what both say once, and flat mode facts alone", (model) =>
  Effect.gen(function*() {
    const event = yield* (yield* extractorOf(settings)).extract(of, [segment])
    assert.ok(event._tag === "Done")
    assert.equal(event.facts.map(({ meant, text, time, turns }) => [text, time, meant, turns]), [[moved.fact, time, "2026-05-03", ["t1"]], [because.fact, time, "2026-05-03", ["t1"]]])
    assert.match(event.template, / event$/)
    assert.equal(model.requests.map(asksRelations), [false, true])
    const flat = yield* (yield* extractorOf({ ...settings, mode: "flat" })).extract({ ...of, user: "v" }, [segment])
    assert.ok(flat._tag === "Done")
    assert.equal(flat.facts.map(({ text }) => text), [moved.fact])
    assert.is(model.requests.length, 3)
  }), scripts)

withModel(test, "without its relations a batch of event mode has failed, and its facts are not asked for twice", (model) =>
  Effect.gen(function*() {
    const { extract } = yield* extractorOf(settings)
    model.setFault((request) => (asksRelations(request) ? { _tag: "Text", change: () => "none" } : undefined))
    assert.is((yield* extract(of, [segment]))._tag, "Failed")
    model.setFault(undefined)
    assert.is((yield* extract(of, [segment]))._tag, "Done")
    assert.is(model.requests.filter((request) => !asksRelations(request)).length, 1)
  }), scripts)

withModel(test, "the model reads the turns shortened, and what it is not shown stays as it was said", (model) =>
  Effect.gen(function*() {
    const shorten = yield* preCompressor({ compression: "words", rate: 0.7, strict: false }, undefined)
    yield* (yield* extractorOf({ ...settings, mode: "flat" }, shorten)).extract(of, [segment])
    const [asked] = model.requests
    for (const word of ["moved", "Oslo", "3 May", "job"]) assert.ok(asked?.prompt.includes(word), word)
    assert.not(asked?.prompt.includes(segment[0]?.text ?? ""))
    assert.is(segment[0]?.text, "I moved to Oslo on 3 May because the new job is there.")
  }), scripts)

withModel(test, "a small model behind an endpoint is asked by example where that is set, and any other by rules", (model) =>
  Effect.gen(function*() {
    const roles = Effect.fnUntraced(function*(prompts: ExtractionSettings["prompts"]) {
      yield* (yield* extractorOf({ ...settings, mode: "flat", prompts })).extract({ ...of, user: prompts }, [segment])
      return (model.requests.at(-1)?.body["messages"] as ReadonlyArray<{ readonly role: string }>).map(({ role }) => role)
    })
    assert.equal(yield* roles("small"), ["user"])
    assert.equal(yield* roles("auto"), ["system", "user"])
    assert.equal(yield* roles("large"), ["system", "user"])
  }), scripts)

withModel(test, "of a turn too long for one call every part is read, and a part that failed is the one asked again", (model) =>
  Effect.gen(function*() {
    const text = `${"Rain fell on the hills. ".repeat(1_200)}I moved to Oslo. ${"Rain fell on the hills. ".repeat(1_200)}`
    const { extract } = yield* extractorOf({ ...settings, mode: "flat" })
    const long = [{ id: "t9", speaker: "user", text, time }]
    model.setFault(({ prompt }) => (prompt.includes("Oslo") ? { _tag: "Text", change: () => "none" } : undefined))
    assert.is((yield* extract(of, [long]))._tag, "Failed")
    model.setFault(undefined)
    const done = yield* extract(of, [long])
    assert.ok(done._tag === "Done")
    assert.equal(done.facts.map(({ text, turns }) => [text, turns]), [["The user moved to Oslo.", ["t9"]]])
    const calls = new Set(model.requests.filter(({ prompt }) => !prompt.includes("Oslo")).map(({ call }) => call.replace(/\.\d+$/, "")))
    assert.equal([calls.size, model.requests.filter(({ prompt }) => !prompt.includes("Oslo")).length], [2, 2])
    assert.is(model.requests.map(({ prompt }) => prompt.split("Rain fell").length - 1).reduce((most, one) => Math.max(most, one), 0) < 1_100, true)
  }), { scripts: { extract: ({ prompt }) => ({ facts: prompt.includes("Oslo") ? [moved] : [] }) } })

test.run()
