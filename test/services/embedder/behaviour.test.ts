import { Result } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { behaviour, sourceOf } from "#services/embedder/behaviour"
import { embedderCodec, packVectors, unpackVectors } from "#services/embedder/protocol"
import { spec } from "#test/support/behaviour"
import { goldenEvents } from "#test/support/golden-events"

const { fold, given, survivesRestart } = spec(behaviour)
const record = (model: string, ...ids: ReadonlyArray<string>) => ({ _tag: "RecordVectors" as const, model, dimensions: 384, ids, bytes: ids.length * 384 * 2 })
const recorded = (model: string, first: string, ...rest: ReadonlyArray<string>) => ({ _tag: "VectorsRecorded" as const, model, dimensions: 384, ids: [first, ...rest] as const })

test("vectors are recorded once", () => given().when(record("m", "a", "b")).then(recorded("m", "a", "b")))
test("no memories are nothing", () => given().when(record("m")).then())
test("vectors that stand, all of them, are not recorded again", () => given(recorded("m", "a", "b", "c")).when(record("m", "c", "a")).then())
test("another model's vectors are new", () => given(recorded("old", "a")).when(record("new", "a")).then(recorded("new", "a")))
test("vectors of another number or length than said are refused", () => {
  given().when({ ...record("m", "a", "b"), bytes: 384 * 2 }).thenFails("VectorMismatch")
  given().when({ ...record("m", "a"), dimensions: 383 }).thenFails("VectorMismatch")
})
test("a restart changes nothing", () => {
  const events = survivesRestart(record("m", "a"), record("m", "a", "b"), record("n", "a"), record("m", "b"))
  assert.equal(fold(events).sources, new Map([["a", sourceOf("n", 384)], ["b", sourceOf("m", 384)]]))
})

test("a vector with a value that is no number counts as none, and another length as another model's", () => {
  const rows = [Float32Array.of(0.5, 1), Float32Array.of(NaN, 0), Float32Array.of(0, -Infinity), Float32Array.of(65_504, 0)]
  const event = { _tag: "VectorsRecorded" as const, model: "m", dimensions: 2, ids: ["a", "b", "c", "d"] as const }
  const state = behaviour.evolve(behaviour.initial(), event, { id: "", sequence: 1, cause: "", inputThrough: 1, binary: packVectors(rows, 2) })
  assert.equal([...state.sources.values()], [sourceOf("m", 2), "", "", sourceOf("m", 2)])
  const record = (dimensions: number, ...ids: ReadonlyArray<string>) => Result.getOrThrow(behaviour.decide(state, { _tag: "RecordVectors", model: "m", dimensions, ids, bytes: ids.length * dimensions * 2 })).length
  assert.equal([record(2, "a", "d"), record(2, "b"), record(3, "a")], [0, 1, 1])
})

test("vectors are packed as float16 and come back row by row, wherever the bytes stand", () => {
  const rows = [Float32Array.of(0.5, -0.25, 1), Float32Array.of(0.1, 0, -1)]
  const packed = packVectors(rows, 3)
  assert.is(packed.length, 12)
  const shifted = new Uint8Array(13)
  shifted.set(packed, 1)
  const back = unpackVectors(shifted.subarray(1), 2, 3)
  assert.equal([...(back[0] ?? [])], [0.5, -0.25, 1])
  assert.equal([...packVectors(back, 3)], [...packed])
  assert.throws(() => packVectors([Float32Array.of(1)], 3), /length 1 where 3/)
  assert.throws(() => unpackVectors(packed, 3, 3), /12 bytes/)
})

goldenEvents(test, "services/embedder", embedderCodec, [recorded("0123456789abcdef0123456789abcdef", "a", "c:7")])

test.run()
