import { Effect, Result } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { embedEach } from "#shared/model/embed-each"
import { EmbeddingError, Embeddings, layerDeterministic } from "#shared/model/embeddings"
import { effect } from "#test/support/effect"

/** An embedder by hashing that fails on some texts; counts its calls. */
const failing = (fails: (text: string) => boolean, reason: EmbeddingError["reason"] = "BadVector") =>
  Effect.map(Embeddings, (real) => {
    const calls: Array<number> = []
    const embed: Embeddings["Service"]["embed"] = (texts) =>
      Effect.suspend(() => {
        calls.push(texts.length)
        return texts.some(fails) ? Effect.fail(new EmbeddingError({ reason, message: "no" })) : real.embed(texts)
      })
    return { real, calls, embeddings: { ...real, embed } }
  }).pipe(Effect.provide(layerDeterministic))

effect(test, "texts without a vector are told apart, and the others have theirs", () =>
  Effect.gen(function*() {
    const texts = Array.from({ length: 33 }, (_, n) => (n === 4 || n === 32 ? `bad ${n}` : `good ${n}`))
    const { calls, embeddings, real } = yield* failing((text) => text.startsWith("bad"))
    const wanted = yield* real.embed(texts)
    assert.equal(yield* embedEach(embeddings, texts), texts.map((text, at) => (text.startsWith("bad") ? undefined : wanted[at])))
    assert.ok(calls.length < 30, `${calls.length} calls`)
    assert.equal(yield* embedEach(embeddings, []), [])
  }))

effect(test, "a failure that passes costs no text its vector", () =>
  Effect.gen(function*() {
    let failures = 0
    const { embeddings, real } = yield* failing((text) => text === "one" && ++failures < 3, "WorkerFailed")
    assert.equal(yield* embedEach(embeddings, ["one", "two"]), yield* real.embed(["one", "two"]))
    assert.is(failures, 3)
  }))

effect(test, "a model that embeds nothing at all is a failure, and so is one that is closed", () =>
  Effect.gen(function*() {
    const none = yield* failing(() => true, "WorkerFailed")
    assert.is(Result.getFailure(yield* Effect.result(embedEach(none.embeddings, ["one", "two"])))._tag, "Some")
    const closed = yield* failing((text) => text === "one", "Closed")
    assert.ok(Result.isFailure(yield* Effect.result(embedEach(closed.embeddings, ["one", "two"]))))
    assert.is(closed.calls.length, 1)
  }))

test.run()
