import { Effect, Fiber } from "effect"
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { getPriority, tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { Embeddings, layer } from "#shared/model/embeddings"
import { encoderModel, tokenizerOf } from "#test/services/compressor/construction/tiny-classifier"
import { effect } from "#test/support/effect"

const dir = join(import.meta.dirname, "../../../.metamem/models/minilm")
const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)

effect(test, "paraphrases are nearer than unrelated texts, and vectors have 384 unit-length float16 values", () =>
  Effect.gen(function*() {
    const { dimensions, embed } = yield* Embeddings
    const [a, b, c] = (yield* embed(["My cat sleeps all day.", "The cat naps for the whole day.", "Interest rates rose again."])) as [Float32Array, Float32Array, Float32Array]
    assert.is(dimensions, 384)
    assert.ok(dot(a, b) > dot(a, c) + 0.3)
    assert.ok(Math.abs(dot(a, a) - 1) < 0.002)
    assert.equal([...a], [...Float16Array.from(a)])
  }).pipe(Effect.provide(layer({ dir, threads: 1 }))), 60_000)

effect(test, "a text has the same vector alone, in any company and from any worker", () =>
  Effect.gen(function*() {
    const { embed } = yield* Embeddings
    const texts = Array.from({ length: 40 }, (_, n) => `Turn ${n}: ${"we talked about the garden and the weather ".repeat(n % 9)}and number ${n * 7}.`)
    const together = yield* embed(texts)
    const alone = yield* Effect.provide(Effect.flatMap(Embeddings, ({ embed }) => Effect.forEach(texts.slice(0, 6), (text) => embed([text]))), layer({ dir, threads: 1 }))
    const asked = yield* Effect.provide(Effect.flatMap(Embeddings, ({ embed }) => Effect.forEach(texts.slice(3, 9), (text) => embed([text], { interactive: true }))), layer({ dir, threads: 3 }))
    asked.forEach(([vector], at) => assert.equal([...(vector ?? [])], [...(together[at + 3] ?? [])]))
    alone.forEach(([vector], at) => assert.equal([...(vector ?? [])], [...(together[at] ?? [])]))
  }).pipe(Effect.provide(layer({ dir, threads: 2 }))), 60_000)

effect(test, "the model knows English and European words, and few Chinese ones", () =>
  Effect.gen(function*() {
    const { known } = yield* Embeddings
    for (const text of ["Where do I live?", "Wie heißt unser Hund?", "Où habite ma sœur ?", "Где я живу?", "איפה גרתי?", "أين ذهبت أمس", "東京タワーの高さは？"]) assert.ok((known?.(text) ?? 0) > 0.7, text)
    for (const text of ["我给妈妈买了什么礼物？", "我在哪里工作？", "今晚吃什么菜好？"]) assert.ok((known?.(text) ?? 1) < 0.5, text)
  }).pipe(Effect.provide(layer({ dir, threads: 1 }))), 60_000)

effect(test, "empty, emoji, surrogate halves and very long texts are embedded; only the first 256 tokens count", () =>
  Effect.gen(function*() {
    const { embed } = yield* Embeddings
    const long = "alpha beta gamma delta ".repeat(2_000)
    const vectors = yield* embed(["", "🎉", "\ud800", "昨日は京都に行きました", long, `${long} and then something else`])
    for (const vector of vectors) assert.ok(vector.every(Number.isFinite))
    assert.equal([...(vectors[4] ?? [])], [...(vectors[5] ?? [])])
  }).pipe(Effect.provide(layer({ dir, threads: 1 }))), 60_000)

effect(test, "a question passes the bulk that waits", () =>
  Effect.gen(function*() {
    const { embed } = yield* Embeddings
    let bulkDone = false
    const bulk = yield* embed(Array.from({ length: 120 }, (_, n) => `${n} ${"some longer text of the bulk ".repeat(12)}`)).pipe(
      Effect.tap(() => Effect.sync(() => { bulkDone = true })),
      Effect.forkChild
    )
    yield* Effect.sleep(100)
    yield* embed(["Who asked this?"], { interactive: true })
    assert.is(bulkDone, false)
    yield* Fiber.interrupt(bulk)
  }).pipe(Effect.provide(layer({ dir, threads: 1 }))), 60_000)

/** Threads of this process that stand back where others want the processor. */
const threadsInBackground = (): number =>
  readdirSync("/proc/self/task").filter((thread) => {
    const stat = readFileSync(join("/proc/self/task", thread, "stat"), "utf8")
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]) > getPriority()
  }).length

if (process.platform === "linux") {
  effect(test, "texts that many wait for together are embedded in the background, questions are not", () =>
    Effect.gen(function*() {
      const before = threadsInBackground()
      const { embed } = yield* Embeddings
      yield* embed(["Who asked this?"], { interactive: true })
      assert.is(threadsInBackground(), before)
      yield* embed(["Somebody told this."])
      assert.is(threadsInBackground(), before + 1)
    }).pipe(Effect.provide(layer({ dir, threads: 2, first: "questions" }))), 60_000)
}

effect(test, "closing in the midst of a batch ends soon and fails nobody else", () =>
  Effect.gen(function*() {
    const other = yield* Embeddings
    const before = yield* other.embed(["Who asked this?"])
    let begun = false
    const fiber = yield* Effect.gen(function*() {
      const { embed } = yield* Embeddings
      begun = true
      yield* embed(Array.from({ length: 2_000 }, (_, n) => `${n} ${"busy ".repeat(200)}`))
    }).pipe(Effect.provide(layer({ dir, threads: 2 })), Effect.forkChild)
    while (!begun) yield* Effect.sleep(50)
    yield* Effect.sleep(500)
    assert.is(fiber.pollUnsafe(), undefined, "the batch is under way")
    const closing = performance.now()
    yield* Fiber.interrupt(fiber)
    assert.ok(performance.now() - closing < 10_000)
    assert.equal(yield* other.embed(["Who asked this?"]), before)
  }).pipe(Effect.provide(layer({ dir, threads: 1 }))), 60_000)

effect(test, "a model that gives a text another vector in company is refused with the reason, its like that does not is taken", () =>
  Effect.gen(function*() {
    const folder = mkdtempSync(join(tmpdir(), "metamem-model-"))
    try {
      writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizerOf(["quick", "test", "longer"])))
      const opened = (isShared: boolean) => {
        writeFileSync(join(folder, "model.onnx"), encoderModel(isShared))
        return Effect.provide(Embeddings, layer({ dir: folder, threads: 1 }))
      }
      const error = yield* Effect.flip(opened(true))
      assert.is(error.reason, "ModelUnsuitable")
      assert.match(error.message, /another vector when it is in a batch/)
      assert.is((yield* opened(false)).dimensions, 2)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }), 60_000)

effect(test, "a model cut short is refused with a message, and the process lives", () =>
  Effect.gen(function*() {
    const folder = mkdtempSync(join(tmpdir(), "metamem-model-"))
    try {
      copyFileSync(join(dir, "tokenizer.json"), join(folder, "tokenizer.json"))
      writeFileSync(join(folder, "model.onnx"), "not a model")
      const error = yield* Effect.flip(Effect.provide(Embeddings, layer({ dir: folder, threads: 1 })))
      assert.is(error.reason, "ModelUnsuitable")
      assert.match(error.message, /cannot be opened/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }), 60_000)

test.run()
