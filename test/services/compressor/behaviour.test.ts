import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Memory } from "#shared/domain/memory"
import { behaviour } from "#services/compressor/behaviour"
import { compressorCodec, type CompressorEvent } from "#services/compressor/protocol"
import { spec } from "#test/support/behaviour"
import { goldenEvents } from "#test/support/golden-events"

const { fold, given, survivesRestart } = spec(behaviour)
const fact = (id: string): Memory => ({ id, kind: "fact", text: `The user has ${id}`, speaker: "user", time: "2026-03-02T18:04:00.000Z", turns: ["t1"] })
const closed = (segment: string): CompressorEvent => ({ _tag: "SegmentClosed", segment, turns: [`${segment} t1`, `${segment} t2`] })
const recorded = (segment: string, ...memories: ReadonlyArray<Memory>): CompressorEvent => ({ _tag: "MemoriesRecorded", segments: [segment], memories, extractor: "rules", template: "rules/1" })
const failed = (segment: string): CompressorEvent => ({ _tag: "ExtractionFailed", segments: [segment], turns: [`${segment} t1`], attempts: 3, error: "the model refused" })
const record = (...events: ReadonlyArray<CompressorEvent>) => ({ _tag: "RecordExtraction" as const, events })
const forget = { _tag: "Forget", memory: "t1" } as const
const restore = { _tag: "Restore", memory: "t1" } as const
const supersede = { _tag: "Supersede", memory: "t1", by: "m2", reason: "newer" } as const
const superseded: CompressorEvent = { _tag: "MemorySuperseded", memory: "t1", by: "m2", reason: "newer" }

test("a segment and its facts are recorded once", () => given().when(record(closed("s1"), recorded("s1", fact("m1")))).then(closed("s1"), recorded("s1", fact("m1"))))
test("of segments some of which stand, the others are recorded", () =>
  given(closed("s1"), recorded("s1")).when(record(closed("s1"), recorded("s1"), closed("s2"), recorded("s2"))).then(closed("s2"), recorded("s2")))
test("extraction that was given up is settled and not recorded over", () => given(closed("s1"), failed("s1")).when(record(closed("s1"), recorded("s1", fact("m1")))).then())
test("a second try records its facts where extraction was given up, once, and nowhere else", () => {
  const again = { _tag: "RecordSecondTry", event: recorded("s1", fact("m1")) as Extract<CompressorEvent, { _tag: "MemoriesRecorded" }> } as const
  given(closed("s1"), failed("s1")).when(again).then(recorded("s1", fact("m1")))
  given(closed("s1"), failed("s1"), recorded("s1")).when(again).then()
  given(closed("s1"), recorded("s1")).when(again).then()
  given().when(again).then()
  assert.equal([...fold([closed("s1"), failed("s1"), closed("s2"), failed("s2"), recorded("s1")]).failedSegments.keys()], ["s2"])
})
test("no facts are a result", () => given().when(record(closed("s1"), recorded("s1"))).then(closed("s1"), recorded("s1")))

test("a memory is replaced once", () => given().when(supersede).then(superseded))
test("a memory cannot replace itself", () => given().when({ ...supersede, by: "t1" }).thenFails("UnknownMemory"))
test("a memory is forgotten once", () => given().when(forget).then({ _tag: "MemoryForgotten", memory: "t1" }))
test("what was forgotten or replaced is restored", () => {
  given({ _tag: "MemoryForgotten", memory: "t1" }).when(restore).then({ _tag: "MemoryRestored", memory: "t1" })
  given(superseded).when(restore).then({ _tag: "MemoryRestored", memory: "t1" })
})
test("what stands needs no restoring", () => {
  given().when(restore).then()
  given({ _tag: "MemoryForgotten", memory: "t1" }, { _tag: "MemoryRestored", memory: "t1" }).when(restore).then()
})

test("wordings are merged into one memory once, and never into themselves", () => {
  const merge = { _tag: "Merge", memory: fact("m3"), replaces: ["m1", "m2"], extractor: "rules", template: "r/1", reason: "same", call: undefined } as const
  given(recorded("s1", fact("m1"), fact("m2"))).when(merge).then(
    { _tag: "MemoriesRecorded", segments: ["merged m3"], memories: [fact("m3")], extractor: "rules", template: "r/1" },
    { _tag: "MemorySuperseded", memory: "m1", by: "m3", reason: "same" },
    { _tag: "MemorySuperseded", memory: "m2", by: "m3", reason: "same" }
  )
  given().when({ ...merge, replaces: ["m3"] }).thenFails("UnknownMemory")
})

test("a restart changes nothing", () => {
  const events = survivesRestart(record(closed("s1"), recorded("s1", fact("m1"))), forget, forget, restore, supersede, record(closed("s2"), failed("s2")), restore)
  assert.equal(events.map(({ _tag }) => _tag), [
    "SegmentClosed", "MemoriesRecorded", "MemoryForgotten", "MemoryRestored", "MemorySuperseded", "SegmentClosed", "ExtractionFailed", "MemoryRestored"
  ])
  const state = fold(events)
  assert.equal([...state.settledSegments], ["s1", "s2"])
  assert.equal([state.supersededBy.size, state.forgotten.size], [0, 0])
})

goldenEvents(test, "services/compressor", compressorCodec, [
  closed("s1"),
  {
    _tag: "MemoriesRecorded",
    segments: ["s1", "s2"],
    memories: [fact("m1"), { ...fact("m2"), meant: "2026-03-01/2026-03-31", turns: ["t1", "t2"] }],
    extractor: "qwen3-30b",
    template: "extract/1 flat",
    call: "0123456789abcdef"
  },
  failed("s1"),
  superseded,
  { _tag: "MemoryForgotten", memory: "t1" },
  { _tag: "MemoryRestored", memory: "t1" }
])

test.run()
