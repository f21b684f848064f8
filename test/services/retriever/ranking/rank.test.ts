import { test } from "uvu"
import * as assert from "uvu/assert"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import { UserIndex } from "#shared/memoryindex/user-index"
import { planQuestion } from "#services/retriever/ranking/plan"
import { plainRankers, rankPlainly } from "#services/retriever/ranking/plain"
import { rankMemories, rankTurns } from "#services/retriever/ranking/rank"

const axis = (at: number): Float32Array => Float32Array.from({ length: 4 }, (_, n) => (n === at ? 1 : 0))
const memory = (id: string, text: string, more: Partial<IndexedMemory> = {}): IndexedMemory => ({
  id, kind: "turn", text, speaker: "user", time: "2023-05-01T10:00:00.000Z", turns: [id], user: "u", conversation: id, sequence: 1, vector: axis(3), ...more
})
const viewOf = (...memories: ReadonlyArray<IndexedMemory>) => {
  const index = new UserIndex(4)
  for (const one of memories) index.put(one)
  return index.view()
}
const order = (view: ReturnType<typeof viewOf>, question: string, vector: Float32Array | undefined, at?: string) =>
  rankMemories(view, planQuestion(question, view.speakers, at), vector === undefined ? [] : [vector]).map((ranked) => ranked.memory.id)

test("an empty memory gives nothing", () => {
  assert.equal(order(viewOf(), "anything", axis(0)), [])
})

test("words and vectors both count, and words alone do where there is no embedder", () => {
  const view = viewOf(memory("a", "green heron on the lake"), memory("b", "other things", { vector: axis(0) }), memory("c", "nothing here"))
  assert.equal(order(view, "the heron", axis(0)).slice(0, 2).sort(), ["a", "b"])
  assert.is(order(view, "the heron", undefined)[0], "a")
})

test("a turn that has no vector yet is found by its words, however near others come", () => {
  const { vector: _, ...late } = memory("late", "the kingfisher by the weir")
  const others = Array.from({ length: 30 }, (_, n) => memory(`o${String(n).padStart(2, "0")}`, "birds on the river", { vector: axis(0) }))
  assert.is(order(viewOf(...others, memory("far", "paint"), late), "the kingfisher", axis(0))[0], "late")
  // Another's missing vector changes nothing among those that have one.
  const [first, second] = [memory("a", "birds", { vector: axis(1) }), memory("b", "birds", { vector: Float32Array.of(0.6, 0.8, 0, 0) })]
  assert.equal(order(viewOf(first, second, late), "owls", axis(0)).slice(0, 2), ["b", "a"])
  assert.equal(order(viewOf(late), "the kingfisher", axis(0)), ["late"])
})

test("a word said in one turn alone brings that turn among the first ten of hundreds that come nearer", () => {
  const twins = Array.from({ length: 600 }, (_, n) => memory(`t${String(n).padStart(3, "0")}`, "we talked about the weather again", { vector: axis(0) }))
  for (const word of ["Quorvex", "4711", "東京都庁"]) {
    const view = viewOf(...twins, memory("zz", `we talked about the weather again, said ${word}`))
    const found = order(view, word, axis(0))
    assert.ok(found.indexOf("zz") >= 0 && found.indexOf("zz") < 10, `${word} at ${found.indexOf("zz")}`)
    assert.is(found.length, 400)
    assert.is(new Set(found).size, 400)
    // Said in two turns it stands out in neither.
    const twice = viewOf(...twins, memory("zy", `${word} again`), memory("zz", `${word} again`))
    assert.not(order(twice, word, axis(0)).slice(0, 10).includes("zz"))
  }
  // What else the question says is said in other turns too, together in a few of them.
  const kettles = Array.from({ length: 600 }, (_, n) => memory(`k${n}`, `${n % 60 === 0 ? "the bronze kettle" : n % 2 === 0 ? "the bronze one" : "a kettle"} by the window, ${n % 20 === 0 ? "in the workshop" : "as ever"}`, { vector: axis(0) }))
  const among = viewOf(...kettles, memory("zz", "the bronze kettle by the door is Quorvex"))
  assert.ok(order(among, "the bronze kettle in the workshop, Quorvex", axis(0)).slice(0, 10).includes("zz"))
  // A question about the order of many turns gets them in their order.
  const view = viewOf(...twins, memory("zz", "we talked about Quorvex", { speaker: "assistant" }), memory("zx", "good", { speaker: "assistant" }))
  assert.not(order(view, "In what order did I bring up Quorvex and other things in our conversations?", axis(0)).slice(0, 10).includes("zz"))
})

test("the same score gives the order of ids", () => {
  assert.equal(order(viewOf(memory("z", "same"), memory("m", "same"), memory("a", "same")), "unrelated", axis(1)), ["a", "m", "z"])
})

test("the speaker asked about comes first among equals", () => {
  const view = viewOf(memory("1", "we spoke of soup"), memory("2", "we spoke of soup", { speaker: "assistant" }))
  assert.equal(order(view, "What soup do I like?", axis(1)), ["1", "2"])
  assert.equal(order(view, "What soup did you recommend?", axis(1)), ["2", "1"])
  const people = viewOf(memory("1", "I like soup", { speaker: "Ana" }), memory("2", "I like soup", { speaker: "Ben" }))
  assert.is(order(people, "What does Ben like?", axis(1))[0], "2")
})

test("a turn beside a matching one, in the same conversation, is lifted", () => {
  const at = (n: number) => `2023-05-01T10:00:0${n}.000Z`
  const view = viewOf(
    memory("a", "do you play the cello", { conversation: "x", time: at(0), vector: axis(0) }),
    memory("b", "yes since school", { conversation: "x", time: at(1) }),
    memory("c", "yes since school", { conversation: "y", time: at(2) })
  )
  assert.equal(order(view, "cello", axis(0)), ["a", "b", "c"])
})

test("what was said in the time asked about is lifted", () => {
  const view = viewOf(memory("a", "went for a walk"), memory("b", "went for a walk", { time: "2023-05-14T10:00:00.000Z" }))
  assert.is(order(view, "Where was my walk yesterday?", axis(1), "2023-05-15T10:00:00.000Z")[0], "b")
  assert.is(order(view, "Where was my walk?", axis(1), "2023-05-15T10:00:00.000Z")[0], "a")
})

test("where nothing but a time is asked about, all that was said then comes before the rest", () => {
  const view = viewOf(
    memory("a", "what happened to the happening of things that happened", { vector: axis(0) }),
    memory("b", "paid the gas bill", { time: "2023-06-06T10:00:00.000Z" }),
    memory("c", "the heron came", { time: "2023-06-06T11:00:00.000Z" })
  )
  assert.equal(order(view, "What happened last Tuesday?", axis(0), "2023-06-12T10:00:00.000Z").slice(-1), ["a"])
  assert.is(order(view, "Which happening was it last Tuesday, heron aside?", axis(0), "2023-06-12T10:00:00.000Z")[0], "a")
})

test("a question about an order is answered from the user's turns first", () => {
  const view = viewOf(memory("a", "orchard orchard orchard", { speaker: "assistant", vector: axis(0) }), memory("b", "nothing much"))
  assert.is(order(view, "List the order in which I brought up the orchard", axis(0))[0], "b")
})

test("a fact lifts its turn, stands right behind it, and pushes no other turn down", () => {
  const turns = [memory("a", "long talk about many things"), memory("b", "some talk"), memory("c", "and more")]
  const fact = memory("f", "The user plays the oboe", { kind: "fact", turns: ["c"], conversation: "c", vector: axis(0) })
  const ranked = order(viewOf(...turns, fact), "Which instrument do I play?", axis(0))
  assert.equal(ranked.slice(0, 2), ["c", "f"])
  const alone = viewOf(...turns)
  const poor = memory("f", "The user slept", { kind: "fact", turns: ["b"], conversation: "b" })
  const question = "many things"
  assert.equal(
    order(viewOf(...turns, poor), question, axis(1)).filter((id) => id !== "f"),
    rankTurns(alone, planQuestion(question, alone.speakers), [axis(1)]).map((one) => one.memory.id)
  )
})

test("a fact whose turn is not there is ranked by itself", () => {
  const view = viewOf(memory("f", "The user plays the oboe", { kind: "fact", turns: ["gone"], vector: axis(0) }), memory("a", "small talk"))
  assert.equal(order(view, "oboe", axis(0)).sort(), ["a", "f"])
})

test("plain rankers order by words, by vectors and by both ranks", () => {
  const near = (share: number) => Float32Array.from([share, 0, 0, Math.sqrt(1 - share * share)])
  const others = Array.from({ length: 5 }, (_, n) => memory(`z${9 - n}`, "other", { vector: near(0.9 - n / 10) }))
  const view = viewOf(memory("a", "heron"), ...others, memory("c", "heron", { vector: near(0.85) }))
  const first = Object.fromEntries(plainRankers.map((ranker) => [ranker, rankPlainly(ranker, view, "heron", axis(0))[0]?.memory.id]))
  assert.equal(first, { bm25: "a", dense: "z9", rrf: "c" })
})

test.run()
