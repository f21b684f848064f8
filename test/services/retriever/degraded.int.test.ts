import { ConfigProvider, Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import * as MemoryIndexInMemory from "#shared/memoryindex/memory-layer"
import { CallStore } from "#shared/model/call-store"
import { Embeddings } from "#shared/model/embeddings"
import { Models } from "#shared/model/models"
import * as Ingestor from "#services/ingestor/actor"
import * as Retriever from "#services/retriever/actor"
import { logOn } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { ask, ready, receive, retrieve } from "#test/support/memory-client"
import { testServer } from "#test/support/nats"
import { scriptedModel } from "#test/support/scripted-model"

const test = suite("answers when parts are missing or slow")

/** Ingestor and retriever, without compressor and embedder, with what embeds questions and a reader as given. */
const partly = (url: string, embed: Embeddings["Service"]["embed"], environment: Record<string, string>) =>
  Layer.mergeAll(Ingestor.layer, Retriever.layer.pipe(Layer.provide(MemoryIndexInMemory.layer(2)))).pipe(
    Layer.provide(Layer.succeed(Embeddings, Embeddings.of({ embed, modelHash: "m", dimensions: 2 }))),
    Layer.provide(Models.layer({})),
    Layer.provide(CallStore.layerMemory),
    Layer.provideMerge(logOn(url)),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment)))
  )
const told = receive({ user: "u", conversation: "c", turns: [{ speaker: "user", text: "The spare key is under the flower pot" }, { speaker: "user", text: "I like tea" }] })
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.map(effect, (value) => [value, performance.now() - started] as const)
  })

effect(test, "when the question cannot be embedded in time and the reader hangs, words alone decide, the deadline holds, and both are said", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const reader = yield* scriptedModel()
    reader.setFault(() => ({ _tag: "Hang" }))
    yield* Effect.gen(function*() {
      yield* ready
      const { lastPosition } = yield* told
      const [found, foundMs] = yield* timed(retrieve({ user: "u", question: "Where is the spare key?", deadlineMs: 800 }))
      assert.match(found.evidence.map(({ text }) => text).join(), "flower pot")
      assert.equal(found.behind, ["vectors"])
      assert.ok(foundMs < 5_000, `${foundMs} ms`)
      const [reply, askedMs] = yield* timed(ask({ user: "u", question: "Where is the spare key?", deadlineMs: 1_500, after: lastPosition }))
      assert.match(reply.answer, "flower pot")
      assert.equal([...reply.behind].sort(), ["reader", "vectors"])
      assert.ok(askedMs < 8_000, `${askedMs} ms`)
    }).pipe(Effect.provide(partly(url, () => Effect.never, { METAMEM_LLM_URL: reader.url })))
  }), 30_000)

effect(test, "while no embedder runs, what was said is found by words and the missing vectors are said", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const reader = yield* scriptedModel()
    yield* Effect.gen(function*() {
      yield* ready
      const { lastPosition } = yield* told
      yield* retrieve({ user: "u", question: "key", after: lastPosition, deadlineMs: 500 })
      const reply = yield* ask({ user: "u", question: "Where is the spare key?" })
      assert.equal(reply.behind, ["vectors"])
      assert.ok(reply.evidence.length > 0 && reader.requests.some(({ role }) => role === "answer"))
    }).pipe(Effect.provide(partly(url, (texts) => Effect.succeed(texts.map(() => Float32Array.of(1, 0))), { METAMEM_LLM_URL: reader.url })))
  }), 30_000)

test.run()
