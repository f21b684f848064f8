import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Turn } from "#shared/domain/turn"
import {
  agreedBoundaries,
  coarseBoundaries,
  emptySensory,
  fineBoundaries,
  flushSensory,
  pushSensory,
  sentenceAttention,
  type SensoryState,
  type SensoryTools,
  similarityThresholds
} from "#services/compressor/construction/segmentation"

const test = suite("segmentation of the sensory buffer")
const turn = (id: string, speaker: string, text: string): Turn => ({ id, speaker, text, time: "2026-05-20T18:00:00.000Z" })
const words = (n: number, of = "w"): string => Array.from({ length: n }, () => of).join(" ")
/** A token a word plus two special ones; the first letter of a round decides its vector; no attention. */
const tools: SensoryTools = {
  tokenCount: (text) => text.split(" ").length + 2,
  embed: async (texts) => texts.map((text) => (text.startsWith("a") ? [1, 0] : [0, 1]))
}

const run = async (turns: ReadonlyArray<Turn>, of: SensoryTools = tools, budget = 512): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
  let state: SensoryState = emptySensory
  const segments: Array<ReadonlyArray<string>> = []
  const take = (step: { state: SensoryState; segments: ReadonlyArray<ReadonlyArray<Turn>> }): void => {
    state = JSON.parse(JSON.stringify(step.state)) as SensoryState
    segments.push(...step.segments.map((segment) => segment.map(({ id }) => id)))
  }
  for (const one of turns) take(await pushSensory(state, one, of, budget))
  take(await flushSensory(state, of))
  return segments
}

test("the thresholds tried are the floating sums from a fifth to a half", () => {
  assert.equal(similarityThresholds, [0.2, 0.25, 0.3, 0.35, 0.39999999999999997, 0.44999999999999996, 0.49999999999999994])
})

test("a flush gives back every turn when the last one did not fit", async () => {
  const turns = [0, 1, 2, 3].flatMap((i) => [turn(`u${i}`, "user", words(i === 3 ? 400 : 50)), turn(`r${i}`, "assistant", "ok")])
  assert.equal((await run(turns)).flat(), turns.map(({ id }) => id))
})

test("attention of each message on those before sums to one", () => {
  const size = 14
  const values = Array.from({ length: size * size }, (_, i) => 1 + (i % 7))
  const rows = sentenceAttention({ size, values }, [[1, 5], [5, 8], [8, 13]])
  assert.equal(rows[0], [])
  assert.equal(rows[1], [1])
  assert.ok(Math.abs((rows[2] as Array<number>).reduce((a, b) => a + b, 0) - 1) < 1e-12)
})

/** Each message is two positions long between margins of three; `peak[i]` is the attention of message i + 1 on message i. */
const matrix = (peaks: ReadonlyArray<number>) => {
  const n = peaks.length + 1
  const size = n * 2 + 6
  const values = new Float64Array(size * size).fill(0.01)
  const spans = Array.from({ length: n }, (_, i) => [3 + 2 * i, 5 + 2 * i] as const)
  peaks.forEach((peak, i) => {
    for (const p of [0, 1]) for (const q of [0, 1]) values[(5 + 2 * i + p) * size + 3 + 2 * i + q] = peak
  })
  return { attention: { size, values }, spans }
}

test("a boundary is a strict local maximum of attention on the message before", () => {
  const { attention, spans } = matrix([0.1, 0.05, 0.9, 0.05, 0.05])
  assert.equal(coarseBoundaries(attention, spans), [2])
})

test("the first message pair can never be a boundary, and four messages have none", () => {
  for (const peaks of [[], [0.9], [0.1, 0.9], [0.1, 0.9, 0.1]]) {
    const { attention, spans } = matrix(peaks)
    assert.equal(coarseBoundaries(attention, spans), [])
  }
  const five = matrix([0.1, 0.02, 0.9, 0.02])
  assert.equal(coarseBoundaries(five.attention, five.spans), [2])
})

test("a tie is no maximum", () => {
  const { attention, spans } = matrix([0.1, 0.02, 0.5, 0.5, 0.02])
  const rows = sentenceAttention(attention, spans)
  assert.ok(rows.length === 6)
  assert.equal(coarseBoundaries({ size: attention.size, values: new Float64Array(attention.size ** 2).fill(1) }, spans).length, 0)
})

test("an input too short to trim still has attention between its messages", () => {
  assert.equal(sentenceAttention({ size: 5, values: new Array(25).fill(0.2) }, [[1, 2], [2, 4]])[1], [1])
})

test("vector boundaries come from the first threshold that finds any", () => {
  const at = (cosine: number): ReadonlyArray<number> => [cosine, Math.sqrt(1 - cosine * cosine)]
  assert.equal(fineBoundaries([[1, 0], at(0.1), [1, 0]]), [1, 2])
  assert.equal(fineBoundaries([[1, 0], at(0.42), at(0.9)]), [1])
  assert.equal(fineBoundaries([[1, 0], at(0.5)]), [])
  assert.equal(fineBoundaries([[1, 0]]), [])
  assert.equal(fineBoundaries([]), [])
})

test("vector boundaries need an attention boundary within three rounds, else all stand", () => {
  assert.equal(agreedBoundaries([1, 9], [5, 11]), [9])
  assert.equal(agreedBoundaries([2, 8], [5]), [2, 8])
  assert.equal(agreedBoundaries([1, 20], [10]), [1, 20])
})

test("a full buffer is cut where vectors dip and its last segment stays open", async () => {
  const turns = ["a1", "a2", "b1", "b2", "b3"].flatMap((id) => [
    turn(id, "user", words(3, id[0])),
    turn(`${id}r`, "assistant", "yes")
  ])
  // Five tokens each: the fourth and fifth do not fit into 16.
  assert.equal(await run(turns, tools, 16), [["a1", "a1r", "a2", "a2r"], ["b1", "b1r", "b2", "b2r", "b3", "b3r"]])
})

test("attention that finds nothing makes the buffer one segment without asking for vectors", async () => {
  let asked = 0
  const segments = await run(
    [turn("a", "user", "a a"), turn("b", "user", "b b"), turn("c", "user", words(9))],
    { ...tools, coarse: async () => [], embed: async (texts) => { asked += 1; return texts.map(() => [1]) } },
    9
  )
  assert.equal(segments, [["a", "b"], ["c"]])
  assert.is(asked, 0)
})

test("a message larger than the buffer goes alone with its reply", async () => {
  const turns = [turn("s", "user", "a"), turn("sr", "assistant", "a"), turn("big", "user", words(40)), turn("bigr", "assistant", "fine"), turn("t", "user", "b")]
  assert.equal(await run(turns, tools, 12), [["s", "sr"], ["big", "bigr"], ["t"]])
})

test("a message larger than the buffer without a reply goes alone", async () => {
  assert.equal(await run([turn("big", "user", words(40)), turn("t", "user", "b")], tools, 12), [["big"], ["t"]])
  assert.equal(await run([turn("big", "user", words(40))], tools, 12), [["big"]])
})

test("an assistant that speaks first is kept", async () => {
  assert.equal(await run([turn("r", "assistant", "hello")], tools), [["r"]])
  assert.equal((await run([turn("r", "assistant", "hello"), turn("big", "user", words(40)), turn("u", "user", "a")], tools, 12)).flat(), ["r", "big", "u"])
})

test("an empty buffer flushes nothing", async () => assert.equal(await run([]), []))

test("no turn is lost, doubled or moved, whatever comes", async () => {
  let seed = 7
  const random = (n: number): number => (seed = (seed * 1103515245 + 12345) % 2147483648) % n
  for (let round = 0; round < 200; round++) {
    const turns = Array.from({ length: random(25) }, (_, i) =>
      turn(`${i}`, random(3) === 0 ? "assistant" : "user", words(1 + random(15), random(2) === 0 ? "a" : "b")))
    const coarse = random(2) === 0 ? { coarse: async () => (random(2) === 0 ? [] : [1 + random(4)]) } : {}
    const segments = await run(turns, { ...tools, ...coarse }, 14)
    assert.equal(segments.flat(), turns.map(({ id }) => id))
    assert.ok(segments.every((segment) => segment.length > 0))
  }
})

test.run()
