import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Commit } from "#shared/eventlog/envelope"
import type { StoredEvent } from "#shared/eventlog/event"
import { type ActorName, memorySubject } from "#shared/eventlog/subjects"
import { compressorCodec } from "#services/compressor/protocol"
import { embedderCodec, noVectorAbout, packVectors } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { totalsOf, turnFold, withLetters } from "#services/cli/status"

const test = suite("status of turns")

const time = "2026-03-02T18:04:00.000Z"
const commit = (sequence: number, actor: ActorName, events: ReadonlyArray<StoredEvent>, conversation = "c", inputThrough = 0): Commit => ({
  id: String(sequence), subject: memorySubject({ tenant: "local", user: "mira", conversation }, actor), sequence, time, cause: "", correlation: "", inputThrough, checksum: "", previousChecksum: "", events, binary: new Uint8Array()
})
const received = (...ids: [string, ...Array<string>]) => ingestorCodec.encode({ _tag: "TurnsReceived", turns: ids.map((id) => ({ id, speaker: "user", text: id, time })) as never })
const closed = (segment: string, ...turns: [string, ...Array<string>]) => compressorCodec.encode({ _tag: "SegmentClosed", segment, turns })
const recorded = (segment: string) => compressorCodec.encode({ _tag: "MemoriesRecorded", segments: [segment], memories: [], extractor: "rules", template: "rules/1" })
const givenUp = (segment: string, ...turns: [string, ...Array<string>]) => compressorCodec.encode({ _tag: "ExtractionFailed", segments: [segment], turns, attempts: 3, error: "the model is away" })
const vectors = (...ids: [string, ...Array<string>]) => embedderCodec.encode({ _tag: "VectorsRecorded", model: "m", dimensions: 4, ids })

const statusesOf = (commits: ReadonlyArray<Commit>, words: number) => {
  const fold = turnFold()
  for (const one of commits) assert.is(fold.add(one)._tag, "Success")
  return fold.statuses("local", words)
}
const marks = (turns: ReturnType<typeof statusesOf>) => turns.map(({ extracted, failed, id, vectors, words }) => [id, words, vectors, extracted, failed])

test("each turn goes its own way from received to extracted", () => {
  const turns = statusesOf([
    commit(1, "ingestor", [received("a", "b")]),
    commit(2, "ingestor", [received("x")]),
    commit(3, "compressor", [closed("s1", "a"), recorded("s1"), closed("s2", "b"), givenUp("s2", "b")]),
    commit(4, "embedder", [vectors("a")]),
    commit(5, "embedder", [vectors("b")])
  ], 4)
  assert.equal(marks(turns), [["a", true, true, true, false], ["b", true, false, false, true], ["x", true, false, false, false]])
  assert.is(turns[1]?.error, "the model is away")
  assert.equal(totalsOf(turns), { received: 3, words: 3, vectors: 1, extracted: 1, failed: 1 })
})

test("turns stand by conversation in the order they were said, though they came in another; the conversation of the newest is the last", () => {
  const said = (sequence: number, conversation: string, ...turns: ReadonlyArray<readonly [id: string, minute: number]>) =>
    commit(sequence, "ingestor", [ingestorCodec.encode({ _tag: "TurnsReceived", turns: turns.map(([id, minute]) => ({ id, speaker: "user", text: id, time: `2026-03-02T18:0${minute}:00.000Z` })) as never })], conversation)
  const turns = statusesOf([said(1, "k", ["tent", 9], ["oar", 9]), said(2, "other", ["boat", 5]), said(3, "k", ["kayak", 1]), said(4, "ended", ["a", 1]), said(5, "k", ["mast", 9], ["rope", 3])], 9)
  assert.equal(turns.map(({ conversation, id }) => `${conversation} ${id}`), ["other boat", "ended a", "k kayak", "k rope", "k tent", "k oar", "k mast"])
})

test("a turn the index has not folded is found by nothing, vector or not", () => {
  assert.equal(marks(statusesOf([commit(7, "ingestor", [received("a")]), commit(8, "embedder", [vectors("a")])], 6)), [["a", false, false, false, false]])
})

test("a segment extracted after it had been given up is failed no more", () => {
  assert.equal(marks(statusesOf([commit(1, "ingestor", [received("a")]), commit(2, "compressor", [closed("s", "a"), givenUp("s", "a")]), commit(3, "compressor", [recorded("s")])], 9)), [["a", true, false, true, false]])
})

test("equal segment names of two conversations are not taken for one", () => {
  const turns = statusesOf([
    commit(1, "ingestor", [received("a")], "c1"),
    commit(2, "ingestor", [received("b")], "c2"),
    commit(3, "compressor", [closed("s", "a")], "c1"),
    commit(4, "compressor", [closed("s", "b"), recorded("s")], "c2")
  ], 9)
  assert.equal(turns.map(({ extracted }) => extracted), [false, true])
})

test("a turn that the embedder passed over gets no vector, and its dead letter is named while it stands", () => {
  const turns = statusesOf([
    commit(1, "ingestor", [received("a", "b")]),
    commit(2, "ingestor", [received("b")], "other"),
    commit(3, "embedder", [vectors("a")], "c", 1),
    commit(4, "ingestor", [received("later")])
  ], 9)
  assert.equal(turns.map(({ id, noVector, vectors }) => [id, vectors, noVector]), [["b", false, false], ["a", true, false], ["b", false, true], ["later", false, false]])
  assert.equal(turns.map(({ failed }) => failed), [false, false, true, false])
  assert.match(turns[2]?.error ?? "", /words find it$/)
  const letter = { actor: "embedder", kind: "text", error: "", tries: 1, mend: "", time, sequence: 7, about: noVectorAbout(memorySubject({ tenant: "local", user: "mira", conversation: "c" }, "embedder"), "b") }
  assert.match(withLetters("local", turns, [letter])[2]?.error ?? "", /metamem dead show 7/)
  assert.equal(withLetters("local", turns, [{ ...letter, about: "b" }]), turns)
})

test("a vector with a value that is no number is none, until another one comes", () => {
  const bad = { ...commit(2, "embedder", [vectors("a", "b")], "c", 1), binary: packVectors([Float32Array.of(1, 0, 0, 0), Float32Array.of(NaN, 0, 0, 0)], 4) }
  const read = (...more: ReadonlyArray<Commit>) => statusesOf([commit(1, "ingestor", [received("a", "b")]), bad, ...more], 9).map(({ noVector, vectors }) => [vectors, noVector])
  assert.equal([read(), read(commit(3, "embedder", [vectors("b")], "c", 3))], [[[true, false], [false, true]], [[true, false], [true, false]]])
})

test("an event from the future stops the reading", () => {
  assert.is(turnFold().add(commit(1, "compressor", [{ type: "MemoryDreamt", version: 1, data: {} }]))._tag, "Failure")
})

test.run()
