import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Turn } from "#shared/domain/turn"
import { numberBatch, turnsOf } from "#services/compressor/construction/numbering"
import { emptyShortTerm, flushSegments, pushSegment, type ShortTermState } from "#services/compressor/construction/short-term-buffer"
import { normaliseTime, type SessionTimes, spaceTime } from "#shared/domain/time"
import { Result } from "effect"

const test = suite("short-term buffer and numbering")

const fill = (sizes: ReadonlyArray<number>, budget: number) => {
  let state: ShortTermState<number> = emptyShortTerm
  const batches: Array<ReadonlyArray<number>> = []
  for (const size of sizes) {
    const step = pushSegment(state, size, size, budget)
    state = step.state
    batches.push(...step.batches)
  }
  return { state, batches }
}

test("a budget of ten releases four and five, then thirty, and keeps one", () => {
  const { state, batches } = fill([4, 5, 30, 1], 10)
  assert.equal(batches, [[4, 5], [30]])
  assert.equal(state, { segments: [1], tokens: 1 })
})

test("a flush releases the rest once and an empty buffer nothing", () => {
  const step = flushSegments(fill([4, 5], 10).state)
  assert.equal(step.batches, [[4, 5]])
  assert.equal(flushSegments(step.state).batches, [])
})

test("segments that fill the budget exactly stay together", () => assert.equal(fill([4, 6, 1], 10).batches, [[4, 6]]))

const turns = (n: number, from: number): ReadonlyArray<Turn> =>
  Array.from({ length: n }, (_, i) => ({ id: `t${from + i}`, speaker: i % 2 === 0 ? "user" : "assistant", text: "x", time: "2026-05-20T18:00:00.000Z" }))

test("every batch is numbered from one, and topics count on", () => {
  const first = numberBatch([turns(4, 0)], 0)
  const second = numberBatch([turns(2, 4), turns(4, 6)], 1)
  assert.equal(first.map(({ number }) => number), [1, 2, 3, 4])
  assert.equal(second.map(({ number, topic }) => [number, topic]), [[1, 1], [2, 1], [3, 2], [4, 2], [5, 2], [6, 2]])
  assert.equal(turnsOf(second, [1, 3]).turns.map(({ turn }) => turn.id), ["t4", "t6"])
})

test("facts of a later batch keep their time and topic, whatever the batch before gave", () => {
  // Two batches of one session, of two and three rounds, half a second between messages.
  const seen: SessionTimes = new Map()
  const base = Result.getOrThrow(normaliseTime("2023/05/20 (Sat) 02:21"))
  const all = turns(10, 0).map((turn) => ({ ...turn, time: spaceTime(seen, base) }))
  const [first, second] = [numberBatch([all.slice(0, 4)], 0), numberBatch([all.slice(4)], 1)]
  const after = (numbers: ReadonlyArray<number>) => turnsOf(second, numbers).turns.map(({ topic, turn }) => [(Date.parse(turn.time) - Date.parse(base)) / 1_000, topic])
  assert.equal(turnsOf(first, [9]), { turns: [], refused: [9] })
  // The user's messages of the second batch, which are rounds 2, 3 and 4 of the session.
  assert.equal(after([1, 3, 5]), [[2, 1], [3, 1], [4, 1]])
  assert.equal([...first, ...second].map(({ topic }) => topic), [0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
})

test("a number of no turn is refused and never moved to another turn", () => {
  const batch = numberBatch([turns(4, 0)], 0)
  const { turns: found, refused } = turnsOf(batch, [9, 0, -1, 1.5, "2", "x", null, 2, 4])
  assert.equal(found.map(({ turn }) => turn.id), ["t1", "t3"])
  assert.equal(refused, [9, 0, -1, 1.5, "x", null])
})

test("a session's ten messages in two requests are half a second apart throughout", () => {
  const seen: SessionTimes = new Map()
  const base = Result.getOrThrow(normaliseTime("2023/05/20 (Sat) 02:21"))
  const times = [4, 6].flatMap((n) => Array.from({ length: n }, () => spaceTime(seen, base)))
  assert.equal(times.map((time) => Date.parse(time) - Date.parse(base)), [0, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500])
})

test.run()
