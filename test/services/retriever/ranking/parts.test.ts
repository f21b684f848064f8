import { test } from "uvu"
import * as assert from "uvu/assert"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import { UserIndex } from "#shared/memoryindex/user-index"
import { partsOf } from "#services/retriever/ranking/parts"
import { planQuestion } from "#services/retriever/ranking/plan"
import { rankMemories } from "#services/retriever/ranking/rank"

const roles = new Set(["user", "assistant"])

for (const [question, parts] of [
  ["How many days passed between the day I bought the loom and the day I sold my kayak?", ["the day I bought the loom", "the day I sold my kayak"]],
  ["How long was it between when I applied for the grant and when I heard back from the board?", ["when I applied for the grant", "when I heard back from the board"]],
  ["Between the kiln repair and the glaze order, which one cost more?", ["the kiln repair", "the glaze order"]],
  ["How many weeks had passed since I broke my wrist when I rowed the regatta?", ["I broke my wrist", "I rowed the regatta"]],
  ["Which did I do first, painting the shed or planting the plum tree?", ["painting the shed", "planting the plum tree"]],
  ["Which came last: the roof repair, the boiler service or the tax letter?", ["the roof repair", "the boiler service", "the tax letter"]],
  ["Considering the roof repair, my tax letter and the boiler service, how should I plan my autumn?", ["the roof repair", "my tax letter", "the boiler service"]],
  ["Given my sore wrist and the icy roads, can I still ride to work?", ["my sore wrist", "the icy roads"]],
  ["What is my sister's boat called? And where did she buy the anchor?", ["What is my sister's boat called", "And where did she buy the anchor"]],
  ["What did the vet say about the goat, and when do I have to call her again?", ["What did the vet say about the goat", "when do I have to call her again"]]
] as const) test(`"${question}" is about several things`, () => assert.equal(partsOf(question), parts))

for (const question of [
  "What is my cat called?",
  "What colour are the boots and the hat that I bought?",
  "Is the bakery open on Monday or Tuesday?",
  "What did I say about salt and pepper, flour and sugar?",
  "Considering my budget for salt and pepper, what should I buy?",
  "Should I buy it now, or wait?",
  "",
  "between and or?",
  "?".repeat(5_000),
  `between ${"the a and ".repeat(2_000)}`,
  `${"which, a or b ".repeat(2_000)}?x`
]) test(`"${question.slice(0, 60)}" is about one thing`, () => assert.equal(partsOf(question), []))

test("every part is embedded beside the question, with names as pronouns; dates and orders have no parts", () => {
  assert.equal(planQuestion("How long was it between Ana adopting a dog and her moving house?", new Set(["Ana", "Ben"])).vectorQueries, [
    "How long was it between they adopting a dog and her moving house?", "they adopting a dog", "her moving house"
  ])
  const queries = (question: string) => planQuestion(question, roles, "2026-04-05T10:00:00.000Z").vectorQueries.length
  assert.is(queries("What did I plant between March 3 2026 and March 9 2026?"), 1)
  assert.is(queries("In what order did I mention the plum tree, painting the shed or the tax letter?"), 1)
})

const axis = (at: number): Float32Array => Float32Array.from({ length: 4 }, (_, n) => (n === at ? 1 : 0))
const memory = (id: string, vector: Float32Array, more: Partial<IndexedMemory> = {}): IndexedMemory => ({
  id, kind: "turn", text: `words of ${id}`, speaker: "user", time: "2026-03-01T10:00:00.000Z", turns: [id], user: "u", conversation: id, sequence: 1, vector, ...more
})

test("what is near to a part comes before what is near to the whole of the question alone", () => {
  const index = new UserIndex(4)
  for (let n = 0; n < 8; n++) index.put(memory(`whole${n}`, Float32Array.of(0.6, 0.1 * (n % 2), 0, 0.79)))
  index.put(memory("loom", axis(1)))
  index.put(memory("kayak", axis(2)))
  for (const [id, vector] of [["fact whole", Float32Array.of(0.6, 0, 0, 0.8)], ["fact loom", axis(1)], ["fact kayak", axis(2)]] as const) index.put(memory(id, vector, { kind: "fact", turns: ["gone"] }))
  const plan = planQuestion("How many days passed between the day I bought the loom and the day I sold my kayak?", roles)
  const first = (kind: "turn" | "fact", ...vectors: ReadonlyArray<Float32Array>) =>
    rankMemories(index.view({ kinds: [kind] }), { ...plan, topic: "nothing" }, vectors).slice(0, 2).map(({ memory }) => memory.id).sort()
  assert.equal(first("turn", axis(0), axis(1), axis(2)), ["kayak", "loom"])
  assert.not(first("turn", axis(0)).some((id) => ["kayak", "loom"].includes(id)))
  assert.ok(first("fact", axis(0)).includes("fact whole"))
  assert.equal(first("fact", Float32Array.of(0.1, 0, 0, 1), axis(1), axis(2)), ["fact kayak", "fact loom"])
})

test.run()
