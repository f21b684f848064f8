import { ConfigProvider, Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import { memorySubject } from "#shared/eventlog/subjects"
import * as MemoryIndexInMemory from "#shared/memoryindex/memory-layer"
import { CallStore } from "#shared/model/call-store"
import { Embeddings } from "#shared/model/embeddings"
import { Models } from "#shared/model/models"
import * as Ingestor from "#services/ingestor/actor"
import { answersConversation, retrieverCodec } from "#services/retriever/protocol"
import * as Retriever from "#services/retriever/actor"
import { logOn } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { ask, ready, receive } from "#test/support/memory-client"
import { testServer } from "#test/support/nats"
import { scriptedModel, type ScriptedOptions } from "#test/support/scripted-model"

const test = suite("answers in parts, and what they rest on")

const withReader = (name: string, options: ScriptedOptions, body: (reader: Effect.Success<ReturnType<typeof scriptedModel>>) => Effect.Effect<unknown, unknown, any>) =>
  effect(test, name, () =>
    Effect.gen(function*() {
      const { url } = yield* testServer
      const reader = yield* scriptedModel(options)
      const actors = Layer.mergeAll(Ingestor.layer, Retriever.layer.pipe(Layer.provide(MemoryIndexInMemory.layer(2)))).pipe(
        Layer.provide(Layer.succeed(Embeddings, Embeddings.of({ embed: (texts) => Effect.succeed(texts.map(() => Float32Array.of(1, 0))), modelHash: "m", dimensions: 2 }))),
        Layer.provide(Models.layer({})),
        Layer.provideMerge(CallStore.layerJetStream),
        Layer.provideMerge(logOn(url)),
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ METAMEM_LLM_URL: reader.url })))
      )
      yield* (Effect.andThen(ready, body(reader)).pipe(Effect.provide(actors)) as Effect.Effect<unknown, unknown>)
    }), 40_000)

const told = Effect.map(
  receive({ user: "u", conversation: "c", turns: [{ speaker: "user", text: "The spare key is under the flower pot" }, { speaker: "user", text: "I like tea; the list says key [1] and nothing more" }] }),
  ({ lastPosition }) => lastPosition
)
const question = "Where is the spare key?"
const at = "2026-05-01T10:00:00.000Z"
const textOf = (parts: ReadonlyArray<unknown>) => parts.map((part) => (part as { text?: string }).text ?? "\u0000").join("")

withReader("the reader's words come as they are written, and the reply at the end is recorded, kept and given again at once", { scripts: { answer: () => "It is under the flower pot [1]. You said so yourself [7]." }, pieceMs: 20 }, (reader) =>
  Effect.gen(function*() {
    const after = yield* told
    const parts: Array<unknown> = []
    const reply = yield* ask({ user: "u", question, at, after }, (part) => void parts.push(part))
    assert.ok(parts.length > 2, `${parts.length} parts`)
    assert.is(textOf(parts), "It is under the flower pot [1]. You said so yourself [7].")
    assert.is(reply.answer, "It is under the flower pot. You said so yourself.")
    assert.is(reply.marked, "It is under the flower pot [1]. You said so yourself.")
    assert.equal(reply.citations, [{ number: 1, memoryId: reply.evidence[0]?.memoryId, turns: reply.evidence[0]?.turns, by: "reader" }])

    const again: Array<unknown> = []
    const second = yield* ask({ user: "u", question, at }, (part) => void again.push(part))
    assert.equal([textOf(again), again.length], [textOf(parts), 1])
    const silent = yield* ask({ user: "u", question, at })
    for (const other of [second, silent]) assert.equal({ ...other, latencyMs: 0 }, { ...reply, latencyMs: 0 })
    assert.is(reader.requests.length, 1)

    const commits = yield* (yield* EventLog).load(memorySubject({ tenant: "local", user: "u", conversation: answersConversation }, "retriever"))
    assert.is(commits.length, 1)
    const event = retrieverCodec.decode(commits[0]!.events[0]!)
    if (event._tag !== "Success" || event.success._tag !== "AnswerGiven") throw new Error("no answer was recorded")
    assert.equal([event.success.text, event.success.usage], [reply.answer, reply.usage])
    const kept = yield* (yield* CallStore).get("local", "u", event.success.call)
    assert.is(kept._tag === "Some" ? kept.value.text : undefined, textOf(parts))
  }))

withReader("words that come too slowly are cut at the deadline, and the reply is as honest as without them", { scripts: { answer: () => "It is under the flower pot, as you have said a long time ago, and more than once at that." }, pieceMs: 700 }, () =>
  Effect.gen(function*() {
    const after = yield* told
    const started = performance.now()
    const parts: Array<unknown> = []
    const reply = yield* ask({ user: "u", question, at, after, deadlineMs: 1_500 }, (part) => void parts.push(part))
    assert.ok(performance.now() - started < 8_000)
    assert.ok(textOf(parts).startsWith("It is under") && !textOf(parts).includes("at that"))
    assert.match(reply.answer, /^\(no reader: .*flower pot/)
    assert.ok(reply.behind.includes("reader"))
    assert.equal(reply.citations.map(({ by, number }) => [by, number]), [["words", 1]])
  }))

withReader("a stream that breaks begins again, and what came before is void", { scripts: { answer: () => "Under the flower pot, as was said in the morning [1]" } }, (reader) =>
  Effect.gen(function*() {
    const after = yield* told
    reader.setFault(({ repeats }) => (repeats === 0 ? { _tag: "Status", status: 503 } : undefined))
    const parts: Array<unknown> = []
    const reply = yield* ask({ user: "u", question, at, after }, (part) => void parts.push(part))
    assert.is(textOf(parts).split("\u0000").at(-1), reply.marked)
  }))

withReader("a reader that repeats a memory with brackets in it, or does not know, is credited with nothing it did not say", {
  scripts: { answer: ({ prompt }) => (prompt.includes("kite") ? "I do not know who that was [1]." : "You wrote that the list says key [1] and nothing more.") }
}, (reader) =>
  Effect.gen(function*() {
    const after = yield* told
    const repeated = yield* ask({ user: "u", question: "What does the list say about the key?", at, after })
    assert.match(repeated.answer, "the list says key [1] and nothing more")
    assert.equal(repeated.citations.map(({ by, number }) => [by, number]), [["words", 2]])
    // Neither does the reader see such a number.
    assert.not.match(reader.requests.at(-1)?.prompt ?? "", "key [1]")
    const unknown = yield* ask({ user: "u", question: "Who repaired my kite?", at })
    assert.equal([unknown.answer, unknown.citations], ["I do not know who that was.", []])
  }))

test.run()
