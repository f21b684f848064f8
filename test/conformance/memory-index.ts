/** What every memory index must do, run against each layer. */
import { Effect, type Layer } from "effect"
import * as assert from "uvu/assert"
import type { Test } from "uvu"
import { type IndexChange, MemoryIndex } from "#shared/memoryindex/memory-index"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import { effect } from "#test/support/effect"

const dimensions = 8
const axis = (at: number): Float32Array => Float32Array.from({ length: dimensions }, (_, n) => (n === at ? 1 : 0))

let sequence = 0
const memory = (id: string, text: string, more: Partial<IndexedMemory> = {}): IndexedMemory => ({
  id,
  kind: "turn",
  text,
  speaker: "user",
  time: "2026-03-01T10:00:00.000Z",
  turns: [id],
  user: "u1",
  conversation: "c1",
  sequence: ++sequence,
  ...more
})
const put = (id: string, text: string, more: Partial<IndexedMemory> = {}): IndexChange => ({ _tag: "Put", memory: memory(id, text, more) })

export const memoryIndexConformance = (test: Test, layer: () => Layer.Layer<MemoryIndex, unknown>): void => {
  const it = (name: string, body: Effect.Effect<unknown, unknown, MemoryIndex>) => effect(test, name, () => body.pipe(Effect.provide(layer())))
  const ids = Effect.fnUntraced(function*(user: string, text: string, filter = {}) {
    return (yield* (yield* MemoryIndex).search(user, { by: { text }, limit: 10, filter })).map((found) => found.memory.id)
  })

  it("a memory is found by its words at once, and by its vector when that comes", Effect.gen(function*() {
    const index = yield* MemoryIndex
    yield* index.apply([put("a", "The piano stands in the hall"), put("b", "Soup for dinner")], 2)
    assert.equal(yield* ids("u1", "where is the piano"), ["a"])
    assert.equal(yield* index.search("u1", { by: { vector: axis(1) }, limit: 5 }), [])
    yield* index.apply([{ _tag: "SetVector", user: "u1", id: "b", vector: axis(1) }], 3)
    assert.equal((yield* index.search("u1", { by: { vector: axis(1) }, limit: 5 })).map((found) => [found.memory.id, found.score]), [["b", 1]])
    assert.is(yield* index.checkpoint, 3)
  }))

  it("changes applied twice are applied once", Effect.gen(function*() {
    const index = yield* MemoryIndex
    const changes = [put("a", "blue boat"), put("b", "red boat")]
    yield* index.apply(changes, 2)
    const once = yield* index.search("u1", { by: { text: "boat" }, limit: 10 })
    yield* index.apply(changes, 2)
    assert.equal(yield* index.search("u1", { by: { text: "boat" }, limit: 10 }), once)
  }))

  it("another user's memories are neither found nor counted", Effect.gen(function*() {
    const index = yield* MemoryIndex
    yield* index.apply([put("a", "rare orchid"), put("b", "plain tulip")], 2)
    const before = yield* index.search("u1", { by: { text: "orchid tulip" }, limit: 10 })
    yield* index.apply(Array.from({ length: 50 }, (_, n) => put(`x${n}`, "orchid orchid", { user: "u'2\" OR 1=1", conversation: "c1" })), 52)
    assert.equal(yield* index.search("u1", { by: { text: "orchid tulip" }, limit: 10 }), before)
    assert.is((yield* ids("u'2\" OR 1=1", "orchid")).length, 10)
    assert.equal(yield* ids("nobody", "orchid"), [])
  }))

  it("a wrong vector is refused with nothing applied", Effect.gen(function*() {
    const index = yield* MemoryIndex
    for (const vector of [new Float32Array(7), new Float32Array(9), Float32Array.from(axis(0), (value, at) => (at === 3 ? NaN : value))]) {
      const refused = yield* Effect.flip(index.apply([put("a", "fine"), put("b", "not fine", { vector })], 2))
      assert.is(refused.reason, "BadVector")
    }
    assert.equal(yield* ids("u1", "fine"), [])
    assert.is(yield* index.checkpoint, 0)
  }))

  it("a superseded memory is left out, found as of before, and back when restored", Effect.gen(function*() {
    const index = yield* MemoryIndex
    const old = memory("old", "lives in Oslo", { kind: "fact", time: "2026-01-01T00:00:00.000Z" })
    const young = memory("young", "lives in Bergen", { kind: "fact", time: "2026-02-01T00:00:00.000Z" })
    yield* index.apply([{ _tag: "Put", memory: old }, { _tag: "Put", memory: young }, { _tag: "Supersede", user: "u1", id: "old", by: "young", sequence: 1_000 }], 1_000)
    assert.equal(yield* ids("u1", "lives"), ["young"])
    assert.equal(yield* ids("u1", "lives", { asOfSequence: 999 }), ["old", "young"])
    assert.equal(yield* ids("u1", "lives", { asOfTime: "2026-01-15T00:00:00.000Z" }), ["old"])
    assert.equal((yield* index.get("u1", ["old"])).map((found) => found.supersededBy), ["young"])
    yield* index.apply([{ _tag: "Restore", user: "u1", id: "old", sequence: 1_001 }], 1_001)
    assert.equal(yield* ids("u1", "lives"), ["old", "young"])
    assert.equal(yield* ids("u1", "lives", { asOfSequence: 1_000 }), ["young"])
  }))

  it("a fact goes with the last of its turns that is forgotten, and comes back with any", Effect.gen(function*() {
    const index = yield* MemoryIndex
    const both = memory("both", "owns a kayak", { kind: "fact", turns: ["a", "b"] })
    yield* index.apply([put("a", "my kayak"), put("b", "kayak again"), put("of a", "kayak is red", { kind: "fact", turns: ["a"] }), { _tag: "Put", memory: both }], 1)
    const facts = (filter = {}) => Effect.map(ids("u1", "kayak", { ...filter, kinds: ["fact"] }), (found) => found.toSorted())
    const change = (_tag: "Supersede" | "Restore", id: string, sequence: number) => index.apply([_tag === "Restore" ? { _tag, user: "u1", id, sequence } : { _tag, user: "u1", id, by: "forgotten", sequence }], sequence)
    yield* change("Supersede", "a", 1_000)
    assert.equal(yield* facts(), ["both"])
    assert.equal((yield* index.get("u1", ["of a", "both"])).map((found) => found.supersededBy), ["forgotten", undefined])
    yield* change("Supersede", "b", 1_001)
    assert.equal(yield* facts(), [])
    assert.equal(yield* facts({ asOfSequence: 1_000 }), ["both"])
    assert.equal(yield* facts({ asOfSequence: 999 }), ["both", "of a"])
    yield* change("Restore", "a", 1_002)
    assert.equal(yield* facts(), ["both", "of a"])
    // What replaces a turn is not its forgetting.
    yield* index.apply([{ _tag: "Supersede", user: "u1", id: "a", by: "other", sequence: 1_003 }], 1_003)
    assert.equal(yield* facts(), ["both", "of a"])
  }))

  it("filters by conversation, kind, time and position hold together", Effect.gen(function*() {
    const index = yield* MemoryIndex
    const first = memory("a", "garden", { conversation: "it's", time: "2026-01-01T00:00:00.000Z" })
    yield* index.apply([
      { _tag: "Put", memory: first },
      put("b", "garden", { time: "2026-02-01T00:00:00.000Z" }),
      put("c", "garden", { kind: "fact", turns: ["b"], time: "2026-03-01T00:00:00.000Z" })
    ], 3)
    assert.equal(yield* ids("u1", "garden", { conversation: "it's" }), ["a"])
    assert.equal(yield* ids("u1", "garden", { kinds: ["fact"] }), ["c"])
    assert.equal(yield* ids("u1", "garden", { from: "2026-01-15T00:00:00.000Z", to: "2026-02-15T00:00:00.000Z" }), ["b"])
    assert.equal(yield* ids("u1", "garden", { asOfSequence: first.sequence }), ["a"])
    assert.equal(yield* ids("u1", "garden", { asOfTime: "2026-02-01T00:00:00.000Z" }), ["a", "b"])
  }))

  it("words count as of the point asked for, so later writing changes no earlier score", Effect.gen(function*() {
    const index = yield* MemoryIndex
    yield* index.apply([put("a", "kayak trip"), put("b", "kayak paint and trip")], 2)
    const at = sequence
    const before = yield* index.search("u1", { by: { text: "kayak trip" }, limit: 10, filter: { asOfSequence: at } })
    yield* index.apply(Array.from({ length: 20 }, (_, n) => put(`late${n}`, "kayak kayak and some more words")), 22)
    assert.equal(yield* index.search("u1", { by: { text: "kayak trip" }, limit: 10, filter: { asOfSequence: at } }), before)
  }))

  it("equal scores come in the order of ids", Effect.gen(function*() {
    yield* (yield* MemoryIndex).apply([put("c", "equal words"), put("a", "equal words"), put("b", "equal words")], 3)
    assert.equal(yield* ids("u1", "equal"), ["a", "b", "c"])
  }))

  it("a removed memory and a removed user are gone, and can come back", Effect.gen(function*() {
    const index = yield* MemoryIndex
    const kept = put("a", "violin", { vector: axis(2) })
    yield* index.apply([kept, put("b", "violin case")], 2)
    yield* index.apply([{ _tag: "Remove", user: "u1", id: "a" }], 3)
    assert.equal(yield* ids("u1", "violin"), ["b"])
    assert.equal(yield* index.search("u1", { by: { vector: axis(2) }, limit: 5 }), [])
    assert.equal(yield* index.get("u1", ["a"]), [])
    yield* index.apply([kept], 4)
    assert.equal((yield* ids("u1", "violin")).length, 2)
    yield* index.removeUser("u1")
    assert.equal(yield* ids("u1", "violin"), [])
    yield* index.apply([put("n", "violin anew")], 5)
    assert.equal(yield* ids("u1", "violin"), ["n"])
  }))

  it("a new index takes the place of this one when it is filled, and answers for it", Effect.gen(function*() {
    const index = yield* MemoryIndex
    yield* index.apply([put("old", "The piano stands in the hall")], 1)
    const failed = yield* Effect.flip(index.replace((next) => Effect.andThen(next.apply([put("half", "half a piano")], 1), Effect.fail("the log is away" as const))))
    assert.is(failed, "the log is away")
    assert.equal(yield* ids("u1", "piano"), ["old"])
    yield* index.replace((next) =>
      Effect.gen(function*() {
        yield* next.apply([put("new", "The piano was sold", { vector: axis(2) }), put("other", "Soup", { user: "u2" })], 7)
        assert.equal(yield* ids("u1", "piano"), ["old"])
      }))
    assert.equal([yield* ids("u1", "piano"), yield* ids("u2", "soup"), yield* index.checkpoint], [["new"], ["other"], 7])
    yield* index.apply([put("later", "A new piano came")], 8)
    assert.equal([...(yield* ids("u1", "piano"))].sort(), ["later", "new"])
    assert.equal((yield* index.get("u1", ["new"]))[0]?.vector, axis(2))
  }))

  it("emoji, right-to-left, CJK and very long texts are taken", Effect.gen(function*() {
    yield* (yield* MemoryIndex).apply([put("e", "🎉"), put("r", "אני גר בחיפה"), put("j", "昨日は京都に行きました"), put("l", "word ".repeat(100_000))], 4)
    assert.equal(yield* ids("u1", "京都"), ["j"])
    assert.equal(yield* ids("u1", "בחיפה"), ["r"])
    assert.equal(yield* ids("u1", "🎉"), [])
    assert.equal(yield* ids("u1", "word"), ["l"])
  }))

  it("memories come back by id as they were put, with their vector", Effect.gen(function*() {
    const index = yield* MemoryIndex
    const whole = memory("w", "with everything", { kind: "fact", meant: "2026-03-04", turns: ["t1", "t2"], vector: axis(5), speaker: "Zoë" })
    yield* index.apply([{ _tag: "Put", memory: whole }], 1)
    const [found] = yield* index.get("u1", ["none", "w"])
    assert.equal({ ...found, vector: [...(found?.vector ?? [])] }, { ...whole, vector: [...axis(5)] })
  }))

  it("turns of a conversation stand in the order of time however they came", Effect.gen(function*() {
    const index = yield* MemoryIndex
    yield* index.apply([put("3", "x", { time: "2026-03-03T00:00:00.000Z" }), put("1", "x", { time: "2026-03-01T00:00:00.000Z" }), put("2", "x", { time: "2026-03-02T00:00:00.000Z" })], 3)
    const { turns } = yield* index.view("u1")
    const row = (id: string): number => turns.rowOf(id) ?? -1
    assert.equal(["1", "2", "3"].map((id) => [turns.before[row(id)], turns.after[row(id)]]), [[0, row("2") + 1], [row("1") + 1, row("3") + 1], [row("2") + 1, 0]])
    assert.equal(new Set(["1", "2", "3"].map((id) => turns.conversationCodes[row(id)])).size, 1)
  }))
}
