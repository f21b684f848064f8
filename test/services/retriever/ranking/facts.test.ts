/** What facts may do to turns, whatever the facts are: order the head, and take nothing from the evidence. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { indexedText } from "#shared/memoryindex/indexed-text"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import { UserIndex } from "#shared/memoryindex/user-index"
import { stream } from "#shared/metamemory/random"
import { tokensOf } from "#shared/model/tokens"
import { packEvidence } from "#services/retriever/ranking/evidence"
import { planQuestion } from "#services/retriever/ranking/plan"
import { type RankedMemory, rankMemories, rankTurns } from "#services/retriever/ranking/rank"

const dimensions = 12
const draw = stream("facts and turns", 3)
const pick = <A>(values: ReadonlyArray<A>): A => values[Math.floor(draw() * values.length)] as A
const unit = (): Float32Array => {
  const raw = Float32Array.from({ length: dimensions }, () => draw() - 0.5)
  const length = Math.hypot(...raw)
  return raw.map((value) => value / length)
}
const prose = (words: number): string => Array.from({ length: words }, () => `topic${Math.floor(draw() ** 2 * 90)}`).join(" ")

/** Turns of any length, and up to three facts of each: near or far, with a vector or without, of one turn or of two. */
const store = (speakers: ReadonlyArray<string>, longest: number) => {
  const turns = Array.from({ length: 150 }, (_, n): IndexedMemory => ({
    id: `m${n}`, kind: "turn", text: prose(2 + Math.floor(draw() ** 2 * longest)), speaker: pick(speakers), time: new Date(Date.UTC(2025, 0, 1, n)).toISOString(),
    turns: [`m${n}`], user: "u", conversation: `c${n % 9}`, sequence: n, vector: unit()
  }))
  const facts = turns.flatMap((turn, n) => Array.from({ length: Math.floor(draw() * 4) }, (_, at): IndexedMemory => ({
    id: `f${n}-${at}`, kind: "fact", text: prose(6), speaker: turn.speaker, time: turn.time, turns: draw() < 0.1 ? [turn.id, `m${(n + 1) % 150}`] : [turn.id],
    user: "u", conversation: turn.conversation, sequence: 200 + n, ...(draw() < 0.9 ? { vector: unit() } : {})
  })))
  const alone = new UserIndex(dimensions)
  const together = new UserIndex(dimensions)
  for (const turn of turns) for (const index of [alone, together]) index.put(turn)
  for (const fact of facts) together.put(fact)
  return { alone: alone.view(), together: together.view() }
}
const ids = (ranked: ReadonlyArray<RankedMemory>): ReadonlyArray<string> => ranked.flatMap(({ memory }) => (memory.kind === "turn" ? [memory.id] : []))
const sorted = (values: ReadonlyArray<string>): ReadonlyArray<string> => [...values].sort()

/** Whole turns that fit a budget in the order of rank; one that does not fit is passed over. */
const packed = (ranked: ReadonlyArray<RankedMemory>, budget: number): ReadonlyArray<string> => {
  let left = budget
  return ranked.flatMap(({ memory }) => {
    const cost = tokensOf(indexedText(memory)) + 4
    if (memory.kind !== "turn" || cost > left) return []
    left -= cost
    return [memory.id]
  })
}

test("with facts the first 20 turns, those within 4,000 tokens and those shown are what they are without", () => {
  let reordered = 0
  for (const speakers of [["user", "assistant"], ["Ana", "Ben"]]) {
    for (const longest of [20, 200, 1_500]) {
      const { alone, together } = store(speakers, longest)
      for (const question of ["What did Ana say about topic3?", "Which topic5 did you recommend?", "When was topic7?", "topic1 topic2"]) {
        const plan = planQuestion(question, alone.speakers)
        for (const vectors of [[unit()], []]) {
          const without = rankTurns(alone, plan, vectors)
          const ranked = rankMemories(together, plan, vectors)
          assert.ok(ranked.some(({ memory }) => memory.kind === "fact"))
          assert.equal(ids(ranked).slice(20), ids(without).slice(20))
          assert.equal(sorted(ids(ranked).slice(0, 20)), sorted(ids(without).slice(0, 20)))
          assert.equal(sorted(packed(ranked, 4_000)), sorted(packed(without, 4_000)))
          const shown = packEvidence(ranked, question, 4_000)
          const shownWithout = packEvidence(without, question, 4_000)
          assert.equal(sorted(ids(shown)), sorted(ids(shownWithout)))
          assert.equal(shown.flatMap(({ memory, text }) => (memory.kind === "turn" ? [text] : [])).sort(), shownWithout.map(({ text }) => text).sort())
          if (ids(ranked).join() !== ids(without).join()) reordered += 1
        }
      }
    }
  }
  assert.ok(reordered > 10, `facts changed the order ${reordered} times`)
})

test("a fact lifts its turn only when it was said by the one asked about", () => {
  const axis = (at: number): Float32Array => Float32Array.from({ length: 4 }, (_, n) => (n === at ? 1 : 0))
  const turn = (id: string, speaker: string): IndexedMemory => ({
    id, kind: "turn", text: `many things ${id}`, speaker, time: "2025-01-01T00:00:00.000Z", turns: [id], user: "u", conversation: id, sequence: 1, vector: axis(1)
  })
  const first = (speaker: string, question: string) => {
    const index = new UserIndex(4)
    for (const one of [turn("a", speaker), turn("b", speaker)]) index.put(one)
    index.put({ ...turn("b", speaker), id: "f", kind: "fact", text: "it is green", vector: axis(0) })
    // Another fact, so that facts are not nearer on the whole.
    for (let n = 0; n < 9; n++) index.put({ ...turn("a", speaker), id: `g${n}`, kind: "fact", text: "it is old", vector: axis(2) })
    const view = index.view()
    return rankMemories(view, planQuestion(question, view.speakers), [axis(0)])[0]?.memory.id
  }
  assert.is(first("user", "Which colour is it?"), "b")
  assert.is(first("assistant", "Which colour is it?"), "a")
  assert.is(first("assistant", "Which colour did you recommend?"), "b")
})

test("facts by themselves: those said in the time asked about, or that speak of it, come first", () => {
  const index = new UserIndex(4)
  const put = (id: string, said: string, meant?: string) =>
    index.put({ id, kind: "fact", text: `went on trip ${id}`, speaker: "user", time: `${said}T10:00:00.000Z`, turns: ["t"], user: "u", conversation: "c", sequence: 1, vector: Float32Array.of(1, 0, 0, 0), ...(meant === undefined ? {} : { meant }) })
  put("a", "2026-02-01")
  put("b", "2026-02-01", "2026-03-01/2026-03-31")
  put("c", "2026-02-01", "2026-04-30")
  put("d", "2026-03-10")
  put("e", "2026-05-10", "2025-03-12")
  const first = (question: string, count: number) =>
    rankMemories(index.view({ kinds: ["fact"] }), planQuestion(question, new Set(), "2026-06-01T00:00:00.000Z"), [Float32Array.of(1, 0, 0, 0)]).slice(0, count).map(({ memory }) => memory.id).sort()
  assert.equal(first("Which trip was in March 2026?", 2), ["b", "d"])
  assert.equal(first("What happened on April 30 2026?", 1), ["c"])
})

test.run()
