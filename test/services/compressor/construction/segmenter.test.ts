import { suite } from "uvu"
import * as assert from "uvu/assert"
import {
  defaultSegmenterSettings,
  flushSegmenter,
  initialSegmenter,
  pushTurn,
  type Segment,
  type SegmenterState,
  type SizedTurn
} from "#services/compressor/construction/segmenter"
import { cohesion, stemsOf } from "#services/compressor/construction/stems"

const test = suite("the live segmenter")
/** Processor time of this process: a busy machine does not make the code slower. */
const cpuMs = (): number => (process.cpuUsage().user + process.cpuUsage().system) / 1000
const start = Date.parse("2026-05-20T18:00:00.000Z")
const turn = (i: number, speaker: string, text: string, minutes = i): SizedTurn => ({
  id: `t${i}`,
  speaker,
  text,
  time: new Date(start + minutes * 60_000).toISOString(),
  tokens: Math.ceil(text.length / 4)
})

const maps = (i: number): string =>
  `The harbour chart number ${i} has old tape and brown glue in its fibres, so the solvent must soften glue slowly while blotting paper draws the stains out of the chart and the harbour drawing keeps its ink.`
const bread = (i: number): string =>
  `For loaf ${i} the sourdough starter wants rye flour and warm water, then the dough rests overnight, the oven heats with a steel plate, and the crust of the loaf crackles when steam leaves the dough.`

const run = (turns: ReadonlyArray<SizedTurn>, settings = defaultSegmenterSettings, wakes: (i: number) => boolean = () => false): ReadonlyArray<Segment> => {
  let state: SegmenterState = initialSegmenter
  const segments: Array<Segment> = []
  turns.forEach((one, i) => {
    // A worker that wakes anew has only what was written down.
    if (wakes(i)) state = JSON.parse(JSON.stringify(state)) as SegmenterState
    const step = pushTurn(state, one, settings)
    state = step.state
    segments.push(...step.segments)
  })
  return [...segments, ...flushSegmenter(state).segments]
}
const ids = (segments: ReadonlyArray<Segment>): ReadonlyArray<ReadonlyArray<string>> => segments.map(({ turns }) => turns.map(({ id }) => id))

test("a new topic opens a segment, which closes a round later", () => {
  const turns = [maps(1), maps(2), maps(3), bread(1), bread(2), bread(3)].flatMap((text, i) => [turn(2 * i, "user", text), turn(2 * i + 1, "assistant", text)])
  const segments = run(turns)
  assert.equal(ids(segments), [["t0", "t1", "t2", "t3", "t4", "t5"], ["t6", "t7", "t8", "t9", "t10", "t11"]])
  assert.equal(segments.map(({ reason }) => reason), ["topic", "closed"])
})

test("a short follow-up is no new topic", () => {
  const turns = [maps(1), "Thanks! And then?", maps(2), "Fine, what else?", maps(3)].flatMap((text, i) => [turn(2 * i, "user", text), turn(2 * i + 1, "assistant", "All right.")])
  assert.is(run(turns).length, 1)
})

test("a long silence closes a segment", () => {
  const segments = run([turn(0, "user", maps(1)), turn(1, "assistant", maps(1)), turn(2, "user", maps(2), 500)])
  assert.equal(ids(segments), [["t0", "t1"], ["t2"]])
  assert.is(segments[0]?.reason, "gap")
})

test("a late turn opens no gap", () => {
  assert.is(run([turn(0, "user", maps(1), 900), turn(1, "assistant", maps(1), 901), turn(2, "user", maps(2), 0)]).length, 1)
})

test("no segment exceeds the token limit unless one turn does", () => {
  const settings = { ...defaultSegmenterSettings, tokensMax: 150 }
  const turns = Array.from({ length: 30 }, (_, i) => turn(i, i % 2 === 0 ? "user" : "assistant", maps(i)))
  const segments = run(turns, settings)
  assert.equal(ids(segments).flat(), turns.map(({ id }) => id))
  for (const { turns: of } of segments) assert.ok(of.reduce((sum, { tokens }) => sum + tokens, 0) <= 150)
  assert.equal(ids(run([turn(0, "user", maps(0)), turn(1, "user", maps(1).repeat(9)), turn(2, "user", maps(2))], settings)), [["t0"], ["t1"], ["t2"]])
})

test("a monologue without replies is bounded too", () => {
  const segments = run(Array.from({ length: 200 }, (_, i) => turn(i, "user", maps(i))), { ...defaultSegmenterSettings, tokensMax: 500 })
  assert.ok(segments.length >= 20)
})

test("nothing pushed, nothing flushed", () => assert.equal(run([]), []))

test("an assistant that begins and a chat of two names are cut too", () => {
  const named = [maps(1), maps(2), maps(3), bread(1), bread(2), bread(3)].flatMap((text, i) => [turn(2 * i, "Nora", text), turn(2 * i + 1, "Ivo", text)])
  assert.is(run(named).length, 2)
  const led = [turn(100, "assistant", "Hello there.", -1), ...named.map((one) => ({ ...one, speaker: one.speaker === "Nora" ? "user" : "assistant" }))]
  assert.is(run(led).length, 2)
})

test("vectors decide where both sides of a gap have them", () => {
  let state = initialSegmenter
  const closed: Array<Segment> = []
  for (const [i, vector] of ([[1, 0], [1, 0], [0, 1], [0, 1]] as const).entries()) {
    for (const speaker of ["user", "assistant"]) {
      const step = pushTurn(state, { ...turn(i, speaker, "ok"), id: `${speaker}${i}` }, defaultSegmenterSettings, vector)
      state = step.state
      closed.push(...step.segments)
    }
  }
  assert.equal(ids(closed), [["user0", "assistant0", "user1", "assistant1"]])
})

test("boundaries do not depend on when a worker wakes", () => {
  let seed = 11
  const random = (n: number): number => (seed = (seed * 1103515245 + 12345) % 2147483648) % n
  for (let round = 0; round < 60; round++) {
    let minutes = 0
    const turns = Array.from({ length: 40 }, (_, i) => {
      minutes += random(12) === 0 ? 400 : 1
      return turn(i, random(2) === 0 ? "user" : "assistant", random(3) === 0 ? "Yes." : random(2) === 0 ? maps(i) : bread(i), minutes)
    })
    const settings = { ...defaultSegmenterSettings, tokensMax: 400 }
    const whole = JSON.stringify(run(turns, settings))
    assert.is(JSON.stringify(run(turns, settings, () => random(3) === 0)), whole)
    assert.is(JSON.stringify(run(turns, settings, () => true)), whole)
    assert.equal((JSON.parse(whole) as Array<Segment>).flatMap(({ turns: of }) => of.map(({ id }) => id)), turns.map(({ id }) => id))
  }
})

test("cohesion is one with itself, nothing with another tongue, and blind to endings", () => {
  assert.ok(Math.abs(cohesion(stemsOf(maps(1)), stemsOf(maps(1))) - 1) < 1e-12)
  assert.is(cohesion(stemsOf("restoring charts"), stemsOf("我有一只猫")), 0)
  assert.ok(cohesion(stemsOf("restoring charts"), stemsOf("restored chart")) > 0.99)
  assert.is(cohesion(stemsOf(""), stemsOf("a")), 0)
  assert.ok(cohesion(stemsOf("我有一只猫"), stemsOf("一只猫")) > 0.5)
})

test("two thousand turns are cut within two seconds", () => {
  const turns = Array.from({ length: 2000 }, (_, i) => turn(i, i % 2 === 0 ? "user" : "assistant", i % 40 < 20 ? maps(i) : bread(i)))
  const started = cpuMs()
  run(turns)
  assert.ok(cpuMs() - started < 2000)
})

test.run()
