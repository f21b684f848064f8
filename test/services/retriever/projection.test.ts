import { Effect, Layer, Logger, Result } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { decodeCommit, encodeCommit } from "#shared/eventlog/envelope"
import { type ActorName, memorySubject } from "#shared/eventlog/subjects"
import { compressorCodec } from "#services/compressor/protocol"
import { embedderCodec, packVectors } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { changesOf, foldInto, indexUser, runProjection } from "#services/retriever/projection"
import { EventLog } from "#shared/eventlog/event-log"
import type { StoredEvent } from "#shared/eventlog/event"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { MemoryIndex, MemoryIndexError } from "#shared/memoryindex/memory-index"
import * as MemoryLayer from "#shared/memoryindex/memory-layer"
import { layerDeterministic } from "#shared/model/embeddings"
import { effect } from "#test/support/effect"

const of = { tenant: "t", user: "u.1 *", conversation: "c > d" }
const commit = (actor: ActorName, events: ReadonlyArray<StoredEvent>, binary?: Uint8Array) => {
  const subject = memorySubject(of, actor)
  const { headers, payload } = encodeCommit({ subject, cause: "because", events, ...(binary === undefined ? {} : { binary }) }, "")
  return decodeCommit({ subject, sequence: 7, time: "2026-03-02T18:04:00.000Z", headers, payload })
}
const vectors = (model: string) => embedderCodec.encode({ _tag: "VectorsRecorded", model, dimensions: 2, ids: ["a", "b"] })
const packed = packVectors([Float32Array.of(1, 0), Float32Array.of(0, -1)], 2)
const user = indexUser("t", "u.1 *")

test("turns become memories of their user, with their place in the log", () => {
  const turn = { id: "a", speaker: "user", text: "It's; DROP TABLE", time: "2026-03-02T18:04:00.000Z" }
  const changes = Result.getOrThrow(changesOf(commit("ingestor", [ingestorCodec.encode({ _tag: "TurnsReceived", turns: [turn] }), ingestorCodec.encode({ _tag: "ConversationClosed" })]), "m"))
  assert.equal(changes, [{ _tag: "Put", memory: { ...turn, kind: "turn", turns: ["a"], user, conversation: "c > d", sequence: 7 } }])
})

test("vectors of the model in use are taken, row by row", () => {
  const changes = Result.getOrThrow(changesOf(commit("embedder", [vectors("m")], packed), "m"))
  assert.equal(changes, [{ _tag: "SetVector", user, id: "a", vector: Float32Array.of(1, 0) }, { _tag: "SetVector", user, id: "b", vector: Float32Array.of(0, -1) }])
})

test("vectors of another model are left out", () => {
  assert.equal(Result.getOrThrow(changesOf(commit("embedder", [vectors("other")], packed), "m")), [])
})

test("vectors that are not as many as said are refused", () => {
  const refused = changesOf(commit("embedder", [vectors("m")], packed.subarray(0, 6)), "m")
  assert.ok(Result.isFailure(refused))
  assert.match(refused.failure.message, "6 bytes")
})

effect(test, "a vector of another length or with a value that is no number costs its memory alone, and is said", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const index = yield* MemoryIndex
    const said: Array<string> = []
    const place = { through: 0 }
    const turns = ["a", "b", "c"].map((id) => ({ id, speaker: "user", text: `lamp ${id}`, time: "2026-03-02T18:04:00.000Z" }))
    const recorded = (dimensions: number, ids: readonly [string, ...Array<string>]) => embedderCodec.encode({ _tag: "VectorsRecorded", model: "m", dimensions, ids })
    const commits = [
      commit("ingestor", [ingestorCodec.encode({ _tag: "TurnsReceived", turns: turns as never })]),
      commit("embedder", [recorded(2, ["a", "b"])], packVectors([Float32Array.of(NaN, 1), Float32Array.of(0, 1)], 2)),
      commit("embedder", [recorded(3, ["c"])], packVectors([Float32Array.of(0, 0, 1)], 3))
    ]
    yield* foldInto(log, index, "m", place)(commits).pipe(
      Effect.provide(Logger.layer([Logger.make(({ message }) => void said.push([message].flat().map(String).join(" ")))]))
    )
    assert.equal((yield* index.get(user, ["a", "b", "c"])).map(({ vector }) => vector), [undefined, Float32Array.of(0, 1), undefined])
    assert.is((yield* index.search(user, { by: { text: "lamp" }, limit: 9 })).length, 3)
    assert.is(place.through, 7)
    assert.equal(said.map((line) => /memory ([abc]) .*found by its words/.exec(line)?.[1]), ["a", "c"])
  }).pipe(Effect.provide(Layer.merge(MemoryLayer.layer(2), MemoryLog.layer))))

effect(test, "what the index cannot give for now is asked for once more, and nobody waits for the log", () =>
  Effect.gen(function*() {
    const held = yield* MemoryIndex
    yield* held.apply([], 7)
    let asked = 0
    const index = MemoryIndex.of({
      ...held,
      view: (user, filter) => Effect.suspend(() => (asked++ === 0 ? Effect.fail(new MemoryIndexError({ reason: "Damaged", message: "not now" })) : held.view(user, filter)))
    })
    const projection = yield* Effect.provideService(runProjection, MemoryIndex, index)
    // The log is followed by then.
    yield* Effect.sleep(50)
    yield* projection.view("u", {})
    assert.equal([asked, projection.through()], [2, 7])
  }).pipe(Effect.scoped, Effect.provide(Layer.mergeAll(MemoryLayer.layer(64), MemoryLog.layer, layerDeterministic))))

test("an event this code does not know is refused", () => {
  assert.ok(Result.isFailure(changesOf(commit("compressor", [{ type: "MemoryDreamt", version: 1, data: {} }]), "m")))
})

test("forgetting, replacing and restoring keep their place in the log", () => {
  const events = [
    compressorCodec.encode({ _tag: "MemoryForgotten", memory: "a" }),
    compressorCodec.encode({ _tag: "MemoryRestored", memory: "a" }),
    compressorCodec.encode({ _tag: "MemorySuperseded", memory: "a", by: "b", reason: "newer" })
  ]
  assert.equal(Result.getOrThrow(changesOf(commit("compressor", events), "m")), [
    { _tag: "Supersede", user, id: "a", by: "forgotten", sequence: 7 },
    { _tag: "Restore", user, id: "a", sequence: 7 },
    { _tag: "Supersede", user, id: "a", by: "b", sequence: 7 }
  ])
})

test("users of two tenants have parts of their own, whatever their names", () => {
  assert.is.not(indexUser("a", "b/c"), indexUser("a/b", "c"))
})

test.run()
