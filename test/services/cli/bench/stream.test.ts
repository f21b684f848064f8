import { suite } from "uvu"
import * as assert from "uvu/assert"
import { slopeOf, watchGrowth } from "#services/cli/bench/growth"
import { spread } from "#services/cli/bench/stream-check"
import { conversationTurns, markerOf, markersMax, streamTurns, vectorQuestion } from "#services/cli/bench/stream-turns"
import { terms } from "#shared/memoryindex/words"
import { stream } from "#shared/metamemory/random"

const test = suite("turns of the stream bench")

test("every turn has a word that stands in no other, as the index counts words", () => {
  const found = new Set<string>()
  for (let place = 0; place < 60_000; place++) found.add(terms(markerOf(place)).join(" "))
  assert.is(found.size, 60_000)
  assert.is(new Set([0, 1, markersMax - 1].map(markerOf)).size, 3)
})

test("the same seed streams the same turns, speakers take turns, and a conversation has one user", () => {
  const turns = (seed: number) => {
    const next = streamTurns(stream("test", seed), 10)
    return Array.from({ length: 400 }, next)
  }
  assert.equal(turns(1), turns(1))
  assert.not.equal(turns(1), turns(2))
  for (const own of Map.groupBy(turns(1), ({ conversation }) => conversation).values()) {
    assert.is(new Set(own.map(({ user }) => user)).size, 1)
    own.forEach(({ speaker }, n) => assert.is(speaker, n % 2 === 0 ? "user" : "assistant"))
  }
})

test("a conversation ends after a hundred turns and one of another user follows, not all at once", () => {
  const next = streamTurns(stream("test", 1), 10)
  const turns = Array.from({ length: 3_000 }, next)
  const lengths = [...Map.groupBy(turns, ({ conversation }) => conversation).values()].map((own) => own.length)
  assert.is(Math.max(...lengths), conversationTurns)
  assert.ok(lengths.length >= 35 && lengths.length <= 45, String(lengths.length))
  for (const own of Map.groupBy(turns, ({ user }) => user).values()) assert.ok(new Set(own.map(({ conversation }) => conversation)).size <= 5)
  // The first ten are of ten lengths, from whole to a tenth.
  const first = lengths.slice(0, 10).sort((one, two) => one - two)
  assert.equal(first, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
})

test("a question by vector shares no term with its turn, and reads the same without its soft hyphens", () => {
  const next = streamTurns(stream("test", 1), 50)
  for (let n = 0; n < 5_000; n++) {
    const { text } = next()
    const question = vectorQuestion(text)
    const own = new Set(terms(text))
    assert.equal(terms(question).filter((term) => own.has(term)), [])
    assert.is(question.replaceAll("\u00ad", ""), text)
  }
})

test("a word that cannot be cut without a word of its turn is refused", () => {
  assert.throws(() => vectorQuestion("no o to"), /cannot do without/)
})

test("growth is a slope by the hour of the second half", () => {
  assert.is(slopeOf([{ at: 1, value: 5 }]), 0)
  assert.is(slopeOf([]), 0)
  assert.is(slopeOf([{ at: 0, value: 1 }, { at: 1, value: 3 }, { at: 2, value: 5 }]), 2)
  const { growth, look } = watchGrowth([{ name: "this", pid: () => process.pid }, { name: "nobody", pid: () => 0 }])
  look()
  look()
  const [own, nobody] = growth()
  assert.ok((own?.startMb ?? 0) > 10 && (own?.endMb ?? 0) > 10)
  assert.equal([nobody?.startMb, nobody?.slopeMbPerHour], [0, 0])
})

test("growth is told by the turn that came in too", () => {
  let turns = 0
  const held: Array<Uint8Array> = []
  const { growth, look } = watchGrowth([{ name: "this", pid: () => process.pid }], () => turns)
  for (let n = 0; n < 8; n++) {
    look()
    held.push(new Uint8Array(16 * 2 ** 20).fill(n))
    turns += 1_000
  }
  const { bytesPerTurn = 0 } = growth()[0] ?? {}
  assert.ok(bytesPerTurn > 10_000 && bytesPerTurn < 30_000, String(bytesPerTurn))
  assert.is(held.length, 8)
})

test("questions are spread over the whole stream", () => {
  assert.equal(spread([1, 2, 3], 5), [1, 2, 3])
  assert.equal(spread(Array.from({ length: 100 }, (_, n) => n), 4), [0, 25, 50, 75])
})

test.run()
