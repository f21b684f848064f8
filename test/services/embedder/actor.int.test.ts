import { ConfigProvider, Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { makeEntity } from "#shared/actor/entity"
import type { Leases } from "#shared/actor/lease"
import { EventLog } from "#shared/eventlog/event-log"
import type { Nats } from "#shared/eventlog/nats"
import { memorySubject } from "#shared/eventlog/subjects"
import { EmbeddingError, Embeddings } from "#shared/model/embeddings"
import { behaviour as compressorBehaviour } from "#services/compressor/behaviour"
import * as Embedder from "#services/embedder/actor"
import { behaviour } from "#services/embedder/behaviour"
import { embedderCodec, packVectors, unpackVectors } from "#services/embedder/protocol"
import { behaviour as ingestorBehaviour } from "#services/ingestor/behaviour"
import { logOn } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("the embedder on a real log")
const of = { tenant: "local", user: "u", conversation: "c" }
const source = memorySubject(of, "ingestor")
const target = memorySubject(of, "embedder")
const time = "2026-03-02T18:04:00.000Z"
const say = (...ids: ReadonlyArray<string>) => ({ _tag: "ReceiveTurns" as const, turns: ids.map((id) => ({ id, speaker: "user", text: `text of ${id}`, time })) })
const fact = (id: string) => ({ _tag: "RecordExtraction" as const, events: [{ _tag: "MemoriesRecorded" as const, segments: [id] as const, memories: [{ id, kind: "fact" as const, text: `fact ${id}`, speaker: "user", time, turns: ["a"] as const }], extractor: "rules", template: "rules/1" }] })

/** A model whose vectors tell its name and the text's length. */
const modelNamed = (modelHash: string, embed: (text: string) => void = () => undefined) =>
  Layer.succeed(Embeddings, Embeddings.of({ modelHash, dimensions: 2, embed: (texts) => Effect.sync(() => texts.map((text) => (embed(text), Float32Array.of(modelHash.length, text.length)))) }))
const embedder = (model: Layer.Layer<Embeddings>, environment: Record<string, string> = {}) =>
  Embedder.layer.pipe(Layer.provide(model), Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment))))

const reaches = (minimum: number) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    while (((yield* log.last(target))?.inputThrough ?? 0) < minimum) yield* Effect.sleep(10)
  })
/** Model and vector of every memory, the last recorded counting; how many vectors were recorded in all. */
const recorded = Effect.gen(function*() {
  const log = yield* EventLog
  const vectors = new Map<string, [model: string, ...vector: Array<number>]>()
  let count = 0
  for (const commit of yield* log.load(target)) {
    for (const stored of commit.events) {
      const decoded = embedderCodec.decode(stored)
      if (decoded._tag === "Failure") throw decoded.failure
      const { dimensions, ids, model } = decoded.success
      unpackVectors(commit.binary, ids.length, dimensions).forEach((vector, row) => vectors.set(ids[row] ?? "", [model, ...vector]))
      count += ids.length
    }
  }
  return { vectors: Object.fromEntries(vectors), count }
})
const it = (name: string, body: () => Effect.Effect<unknown, unknown, EventLog | Leases | Nats>) =>
  effect(test, name, () => Effect.flatMap(testServer, ({ url }) => body().pipe(Effect.provide(logOn(url)))), 30_000)

it("turns and facts get one vector each, in commits of bounded size, also over restarts", () =>
  Effect.gen(function*() {
    const conversations = yield* makeEntity(ingestorBehaviour)
    const facts = yield* makeEntity(compressorBehaviour)
    const ids = Array.from({ length: 7 }, (_, n) => `turn ${n}`)
    const first = yield* conversations.execute(source, say(...ids), { cause: "1" })
    yield* reaches(first.folded.sequence).pipe(Effect.provide(embedder(modelNamed("m"), { METAMEM_EMBEDDER_COMMIT_SIZE: "3" })))
    const log = yield* EventLog
    assert.equal((yield* log.load(target)).map(({ binary }) => binary.length / 4), [3, 3, 1])
    yield* facts.execute(memorySubject(of, "compressor"), fact("f1"), { cause: "f" })
    const last = yield* conversations.execute(source, say("turn 0", "late"), { cause: "2" })
    yield* reaches(last.folded.sequence).pipe(Effect.provide(embedder(modelNamed("m"))))
    const { count, vectors } = yield* recorded
    assert.is(count, 9)
    assert.equal(vectors["late"], ["m", 1, 12])
    assert.equal(vectors["f1"], ["m", 1, 7])
  }))

it("another model gives every memory of a conversation a new vector when the conversation goes on", () =>
  Effect.gen(function*() {
    const conversations = yield* makeEntity(ingestorBehaviour)
    const first = yield* conversations.execute(source, say("a", "b"), { cause: "1" })
    yield* reaches(first.folded.sequence).pipe(Effect.provide(embedder(modelNamed("old"))))
    const second = yield* conversations.execute(source, say("c"), { cause: "2" })
    yield* reaches(second.folded.sequence).pipe(Effect.provide(embedder(modelNamed("newer"))))
    assert.equal(yield* recorded, { vectors: { a: ["newer", 5, 9], b: ["newer", 5, 9], c: ["newer", 5, 9] }, count: 5 })
  }))

it("after a change of the model, conversations that do not go on get new vectors too, once", () =>
  Effect.gen(function*() {
    const conversations = yield* makeEntity(ingestorBehaviour)
    yield* conversations.execute(source, say("a"), { cause: "1" })
    const first = yield* conversations.execute(source, say("b"), { cause: "2" })
    yield* reaches(first.folded.sequence).pipe(Effect.provide(embedder(modelNamed("old"))))
    const anew = Effect.gen(function*() {
      while ((yield* recorded).count < 4) yield* Effect.sleep(10)
      // Whatever is signalled beyond that must find its work done.
      yield* Effect.sleep(300)
    })
    yield* anew.pipe(Effect.provide(embedder(modelNamed("newer"))))
    assert.equal(yield* recorded, { vectors: { a: ["newer", 5, 9], b: ["newer", 5, 9] }, count: 4 })
    const again = yield* conversations.execute(source, say("c"), { cause: "3" })
    yield* reaches(again.folded.sequence).pipe(Effect.provide(embedder(modelNamed("newer"))))
    assert.is((yield* recorded).count, 5)
    assert.is((yield* (yield* EventLog).last(target))?.inputThrough, again.folded.sequence)
  }))

it("what has a vector that nobody can use gets another one when the conversation goes on", () =>
  Effect.gen(function*() {
    const conversations = yield* makeEntity(ingestorBehaviour)
    const bad = yield* makeEntity(behaviour)
    const first = yield* conversations.execute(source, say("a", "b"), { cause: "1" })
    yield* bad.execute(target, { _tag: "RecordVectors", model: "m", dimensions: 2, ids: ["a", "b"], bytes: 8 }, { cause: "bad", binary: packVectors([Float32Array.of(1, 9), Float32Array.of(NaN, 9)], 2), inputThrough: first.folded.sequence })
    const second = yield* conversations.execute(source, say("c"), { cause: "2" })
    yield* reaches(second.folded.sequence).pipe(Effect.provide(embedder(modelNamed("m"))))
    assert.equal(yield* recorded, { vectors: { a: ["m", 1, 9], b: ["m", 1, 9], c: ["m", 1, 9] }, count: 4 })
  }))

it("what has a vector that nobody can use, and a text of which the model gives none, is tried anew once", () =>
  Effect.gen(function*() {
    const conversations = yield* makeEntity(ingestorBehaviour)
    const bad = yield* makeEntity(behaviour)
    const first = yield* conversations.execute(source, say("a", "odd"), { cause: "1" })
    yield* bad.execute(target, { _tag: "RecordVectors", model: "m", dimensions: 2, ids: ["a", "odd"], bytes: 8 }, { cause: "bad", binary: packVectors([Float32Array.of(1, 9), Float32Array.of(NaN, 9)], 2), inputThrough: first.folded.sequence })
    const texts: Array<string> = []
    const model = Layer.succeed(Embeddings, Embeddings.of({
      modelHash: "m", dimensions: 2,
      embed: (given) => {
        texts.push(...given)
        return given.includes("text of odd") ? Effect.fail(new EmbeddingError({ reason: "BadVector", message: "no number" })) : Effect.succeed(given.map((text) => Float32Array.of(1, text.length)))
      }
    }))
    yield* Effect.gen(function*() {
      for (const [at, id] of ["c", "d", "e"].entries()) yield* reaches((yield* conversations.execute(source, say(id), { cause: `more ${at}` })).folded.sequence)
    }).pipe(Effect.provide(embedder(model)))
    assert.equal(Object.keys((yield* recorded).vectors).sort(), ["a", "c", "d", "e", "odd"])
    assert.is(texts.filter((text) => text.startsWith("Does it work?")).length, 1)
  }))

it("an embedder killed between two commits leaves no memory without a vector and none with two", () =>
  Effect.gen(function*() {
    const conversations = yield* makeEntity(ingestorBehaviour)
    const first = yield* conversations.execute(source, say("a", "b", "c", "d"), { cause: "1" })
    const log = yield* EventLog
    let embedded = 0
    const dying = Effect.gen(function*() {
      while ((yield* log.last(target)) === undefined) yield* Effect.sleep(1)
    }).pipe(Effect.provide(embedder(modelNamed("m", () => void embedded++), { METAMEM_EMBEDDER_COMMIT_SIZE: "1" })))
    yield* dying
    yield* reaches(first.folded.sequence).pipe(Effect.provide(embedder(modelNamed("m"), { METAMEM_EMBEDDER_COMMIT_SIZE: "1" })))
    const { count, vectors } = yield* recorded
    assert.equal([count, Object.keys(vectors).sort()], [4, ["a", "b", "c", "d"]])
  }))

it("two embedders on one conversation record every vector, and equal ones", () =>
  Effect.gen(function*() {
    const conversations = yield* makeEntity(ingestorBehaviour)
    const rival = yield* makeEntity(behaviour)
    const ids = Array.from({ length: 40 }, (_, n) => `turn ${n}`)
    yield* Effect.gen(function*() {
      let last = 0
      for (const [n, id] of ids.entries()) last = (yield* conversations.execute(source, say(id), { cause: String(n) })).folded.sequence
      yield* reaches(last)
    }).pipe(Effect.provide(embedder(modelNamed("m"))), Effect.provide(embedder(modelNamed("m"))))
    const { vectors } = yield* recorded
    assert.equal(Object.keys(vectors).sort(), ids.toSorted())
    assert.is((yield* rival.load(target)).state.sources.size, 40)
  }))

test.run()
