/** Ranking among many turns: the fast computation gives what the plain one gives, up to the 1,000 turns whose form is looked at. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Filter, IndexedMemory } from "#shared/memoryindex/shelf"
import { UserIndex } from "#shared/memoryindex/user-index"
import { stream } from "#shared/metamemory/random"
import { bestRows, leastOfBest } from "#services/retriever/ranking/best-rows"
import { planQuestion } from "#services/retriever/ranking/plan"
import { rankedMax, rankMemories, rankTurns } from "#services/retriever/ranking/rank"
import { plainTurns } from "#test/support/plain-ranking"

const dimensions = 16
const draw = stream("large ranking", 7)
const words = Array.from({ length: 400 }, (_, n) => `topic${n}`)
const text = (): string => `${draw() < 0.02 ? "Always answer " : ""}${Array.from({ length: 1 + Math.floor(draw() ** 3 * 260) }, () => words[Math.floor(draw() ** 2 * words.length)] ?? "").join(" ")}${draw() < 0.3 ? "?" : draw() < 0.2 ? " last week." : "."}`
const unit = (): Float32Array => {
  const raw = Float32Array.from({ length: dimensions }, () => draw() - 0.5)
  const length = Math.hypot(...raw)
  return raw.map((value) => value / length)
}
const turn = (n: number, speakers: ReadonlyArray<string>, conversations: number): IndexedMemory => ({
  id: `m${n}`,
  kind: "turn",
  text: text(),
  speaker: speakers[Math.floor(draw() * speakers.length)] ?? "",
  time: new Date(Date.UTC(2025, 0, 1) + Math.floor(draw() * 150) * 86_400_000).toISOString(),
  turns: [`m${n}`],
  user: "u",
  conversation: `c${Math.floor(draw() * conversations)}`,
  sequence: n,
  ...(draw() < 0.9 ? { vector: unit() } : {})
})
const questions = ["What did Ana say about topic3 and topic17?", "When did I mention topic250?", "In which order did I bring up topic9 and topic2?", "Remind me what you recommended for topic40 two months ago", "Give me a summary of topic8 and topic1"]
const filters: ReadonlyArray<Filter> = [{}, { conversation: "c1" }, { asOfSequence: 850 }, { from: "2025-02-01T00:00:00.000Z", to: "2025-03-20T00:00:00.000Z" }]

for (const speakers of [["user", "assistant"], ["Ana", "Ben", "Chloé"]]) {
  test(`the best of many turns are those of the plain computation, among ${speakers.join(", ")}`, () => {
    const index = new UserIndex(dimensions)
    for (let n = 0; n < 1_000; n++) index.put(turn(n, speakers, 150))
    for (let n = 0; n < 20; n++) index.remove(`m${n * 11}`)
    for (const filter of filters) {
      for (const question of questions) {
        const view = index.view(filter)
        const plan = planQuestion(question, view.speakers, "2025-05-20T00:00:00.000Z")
        for (const vector of [unit(), undefined]) {
          const found = rankTurns(view, plan, vector === undefined ? [] : [vector])
          const wanted = plainTurns(view, plan, vector)
          assert.is(found.length, Math.min(rankedMax, view.turns.standingCount))
          const scoreOf = new Map(wanted.map(({ memory, score }) => [memory.id, score]))
          // Numbers of 32 bits round; beyond that every rank holds the score it is due.
          found.forEach(({ memory, score }, at) => {
            assert.ok(Math.abs(score - (scoreOf.get(memory.id) ?? NaN)) < 1e-5, `${question}: ${memory.id}`)
            assert.ok(Math.abs(score - (wanted[at]?.score ?? NaN)) < 1e-5, `${question}: rank ${at}`)
          })
        }
      }
    }
  })
}

test("facts that lie nowhere near the question leave the order of many turns as it is", () => {
  const index = new UserIndex(dimensions)
  for (let n = 0; n < 900; n++) index.put(turn(n, ["user", "assistant"], 40))
  const plan = planQuestion("topic3 and topic17", index.view().speakers)
  const vector = unit()
  const alone = rankTurns(index.view(), plan, [vector]).map(({ memory }) => memory.id)
  const away = vector.map((value) => -value)
  for (let n = 0; n < 50; n++) index.put({ ...turn(n, ["user"], 40), id: `f${n}`, kind: "fact", text: "nothing of it", turns: [`m${n * 3}`], vector: away })
  assert.equal(rankMemories(index.view(), plan, [vector]).filter(({ memory }) => memory.kind === "turn").map(({ memory }) => memory.id), alone)
})

test("the best rows are found without sorting, equal scores kept together", () => {
  for (const size of [0, 1, 5, 900, 20_000]) {
    const scores = Float32Array.from({ length: size }, () => Math.floor(draw() * 500) / 100 - 1)
    const standing = Uint8Array.from(scores, () => (draw() < 0.8 ? 1 : 0))
    const rows = [...standing.keys()].filter((row) => standing[row] === 1)
    for (const count of [1, 7, 400]) {
      const floor = rows.map((row) => scores[row] ?? 0).sort((a, b) => b - a)[count - 1] ?? -Infinity
      const wanted = rows.filter((row) => (scores[row] ?? 0) >= floor)
      assert.equal(bestRows(scores, standing, count), wanted)
      assert.is(leastOfBest(rows, scores, count), rows.length > count ? floor : -Infinity)
    }
  }
  assert.equal(bestRows(new Float32Array(3).fill(2), Uint8Array.of(1, 0, 1), 1), [0, 2])
})

test.run()
