import { test } from "uvu"
import * as assert from "uvu/assert"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import { packEvidence } from "#services/retriever/ranking/evidence"

const memory = (id: string, text: string, more: Partial<IndexedMemory> = {}): IndexedMemory => ({
  id, kind: "turn", text, speaker: "user", time: "2023-05-01T10:00:00.000Z", turns: [id], user: "u", conversation: "c", sequence: 1, ...more
})
const ranked = (...memories: ReadonlyArray<IndexedMemory>) => memories.map((one, place) => ({ memory: one, score: 1 - place / 100 }))
const total = (chosen: ReturnType<typeof packEvidence>): number => chosen.reduce((sum, { tokens }) => sum + tokens, 0)

test("evidence stays within its budget, best first", () => {
  const chosen = packEvidence(ranked(...Array.from({ length: 50 }, (_, n) => memory(`m${n}`, `note ${n} about something or other that was said`))), "note", 200)
  assert.ok(total(chosen) <= 200 && chosen.length >= 5)
  assert.equal(chosen.slice(0, 2).map(({ memory }) => memory.id), ["m0", "m1"])
})

test("a turn above its share of the budget is shown by excerpts", () => {
  const long = `${"It rained a lot in those days. ".repeat(200)}My parrot Quillon eats walnuts. ${"We waited for a bus. ".repeat(200)}`
  const [shown] = packEvidence(ranked(memory("a", long)), "What does Quillon eat?", 600)
  assert.match(shown?.text ?? "", "Quillon eats walnuts")
  assert.ok((shown?.tokens ?? 999) <= 110)
})

test("a fact is left out where its turn is shown, and shown where it is not", () => {
  const fact = memory("f", "The user plays the oboe.", { kind: "fact", turns: ["a"] })
  assert.equal(packEvidence(ranked(memory("a", "I play the oboe."), fact), "oboe", 200).map(({ memory }) => memory.id), ["a"])
  assert.equal(packEvidence(ranked(fact, memory("b", "Hello there.")), "oboe", 200).map(({ memory }) => memory.id), ["f", "b"])
})

test("no budget gives no evidence", () => {
  assert.equal(packEvidence(ranked(memory("a", "Hello")), "x", 0), [])
})

test.run()
