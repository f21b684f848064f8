import { test } from "uvu"
import * as assert from "uvu/assert"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import { UserIndex } from "#shared/memoryindex/user-index"
import { tellsOwnPast } from "#services/retriever/ranking/own-past"
import { planQuestion } from "#services/retriever/ranking/plan"
import { rankTurns } from "#services/retriever/ranking/rank"
import { instructs } from "#services/retriever/ranking/traits"
import { processorMs } from "#test/support/processor-time"

const axis = (at: number): Float32Array => Float32Array.from({ length: 4 }, (_, n) => (n === at ? 1 : 0))
const turn = (id: string, text: string, more: Partial<IndexedMemory> = {}): IndexedMemory => ({
  id, kind: "turn", text, speaker: "user", time: "2023-05-01T10:00:00.000Z", turns: [id], user: "u", conversation: id, sequence: 1, vector: axis(3), ...more
})

test("an instruction for later questions is told from statements and from tasks", () => {
  const texts: ReadonlyArray<readonly [string, boolean]> = [
    ["Always use metric units.", true],
    ["Thanks! And please never call me Bob.", true],
    ["Make sure you always cite a source.", true],
    ["Give two options whenever I ask for a recipe.", true],
    ["From now on, answer in French.", true],
    ["Keep it short in all your future replies, would you?", true],
    ["Never mind, I found it.", false],
    ["I always wanted to see Norway.", false],
    ["Always wanted to see Norway.", false],
    ["He never calls.", false],
    ["From now on I walk to work.", false],
    ["My dog barks when I ask her to sit.", false],
    ["In the future I may move.", false]
  ]
  for (const [text, wanted] of texts) assert.is(instructs(turn("a", text)), wanted, text)
  assert.not(instructs(turn("a", "Always use metric units.", { speaker: "assistant" })))
  assert.not(instructs(turn("a", `Write a play. ${"The king enters. ".repeat(40)} Always use metric units.`)))
})

test("what a speaker did is told from what they ask or want", () => {
  for (const text of ["By the way, I just bought a kayak.", "I've been to Oslo", "Any tips? We finally repaired the roof", "I once learned to swim. Can you help?"]) assert.ok(tellsOwnPast(text), text)
  assert.ok(tellsOwnPast("I only just moved here."))
  for (const text of ["I'm looking for a kayak.", "Have I told you where I went?", "What if I bought one?", "She bought a kayak.", "I need a bed."]) assert.not(tellsOwnPast(text), text)
})

test("a text that says the same word over and over is read at once", () => {
  const spentMs = processorMs(() => {
    for (const word of ["only", "really", "just", "first"]) assert.not(tellsOwnPast(`I ${`${word} `.repeat(26)}x.`), word)
  })
  assert.ok(spentMs < 1_000)
})

test("a turn that tells what the user did is lifted where that is asked, and the assistant's are not", () => {
  const first = (question: string, speaker = "user") => {
    const index = new UserIndex(4)
    for (const one of [turn("a", "a kayak is a small boat"), turn("b", "I bought a small kayak", { speaker })]) index.put(one)
    const view = index.view()
    return rankTurns(view, { ...planQuestion(question, view.speakers), speaker: "user", topic: "" }, [axis(0)])[0]?.memory.id
  }
  assert.is(first("Which boat did I buy?"), "b")
  assert.is(first("Which boat is best?"), "a")
  assert.is(first("Which boat did I buy?", "assistant"), "a")
})

test("instructions are lifted for any question but those about an order or a summary, the nearest few only", () => {
  const talk = Array.from({ length: 30 }, (_, n) => turn(`t${String(n).padStart(2, "0")}`, `some talk ${n}`, { vector: Float32Array.from([0.3, 0, 0, Math.sqrt(0.91)]) }))
  const rules = Array.from({ length: 7 }, (_, n) => turn(`r${n}`, "Always use metric units.", { vector: Float32Array.from([0.25 - n / 100, 0, Math.sqrt(1 - (0.25 - n / 100) ** 2), 0]) }))
  const best = (question: string, speaker = "user") => {
    const index = new UserIndex(4)
    for (const one of [...talk, ...rules, turn("far", "nothing near", { vector: axis(1) })].map((memory) => ({ ...memory, speaker: memory.speaker === "user" ? speaker : memory.speaker }))) index.put(one)
    const view = index.view()
    return rankTurns(view, planQuestion(question, view.speakers), [axis(0)]).slice(0, 5).map(({ memory }) => memory.id)
  }
  assert.equal(best("How long is the route?"), ["r0", "r1", "r2", "r3", "t00"])
  assert.equal(best("In what order did I mention routes?").filter((id) => id.startsWith("r")), [])
  assert.equal(best("Give me a summary of the routes").filter((id) => id.startsWith("r")), [])
  assert.equal(best("How long is the route?", "Ana").filter((id) => id.startsWith("r")), [])
})

test.run()
