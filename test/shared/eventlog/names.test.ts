import { suite } from "uvu"
import * as assert from "uvu/assert"
import { matches } from "#shared/eventlog/event-log"
import { formatPosition, parsePosition } from "#shared/eventlog/position"
import { decodeToken, encodeToken, memoryFilter, memorySubject, parseMemorySubject, parseResultSubject, resultFilter, resultSubject, runFilter, runSubject, streamOf } from "#shared/eventlog/subjects"

const test = suite("subjects and positions")

const odd = ["", ".", "*", ">", "a.b", "a b", "ü", "emoji 🙂", "=", "=2e", "\u0000\n", "$JS", "a".repeat(300), "日本"]

test("any text becomes one token and comes back", () => {
  for (const text of [...odd, "plain-Id_9"]) {
    const token = encodeToken(text)
    assert.match(token, /^[A-Za-z0-9_=-]+$/)
    assert.is(decodeToken(token), text)
  }
  assert.is(encodeToken("plain-Id_9"), "plain-Id_9")
  assert.is(new Set(odd.map(encodeToken)).size, odd.length, "two texts never share a token")
})

test("a token nobody encoded is refused", () => {
  for (const token of ["=z", "a=2", "=GG"]) assert.throws(() => decodeToken(token), (error: unknown) => error instanceof RangeError)
})

test("addresses of conversations come back from their subjects", () => {
  for (const text of odd) {
    const of = { tenant: text, user: `${text}u`, conversation: text }
    assert.equal(parseMemorySubject(memorySubject(of, "ingestor")), { ...of, actor: "ingestor" })
    const job = { tenant: text, run: "r", step: 12, kind: "judgement", key: text }
    assert.equal(parseResultSubject(resultSubject(job)), job)
  }
  assert.throws(() => parseMemorySubject("memory.a.b.c"), (error: unknown) => error instanceof RangeError)
  assert.is(parseResultSubject(runSubject({ tenant: "t", run: "r" })), undefined)
})

test("filters match what they are for and nothing else", () => {
  const subject = memorySubject({ tenant: "t", user: "a.b", conversation: "c" }, "ingestor")
  assert.ok(matches(memoryFilter({}), subject))
  assert.ok(matches(memoryFilter({ user: "a.b", actor: "ingestor" }), subject))
  assert.not.ok(matches(memoryFilter({ user: "a" }), subject))
  assert.not.ok(matches(memoryFilter({ actor: "embedder" }), subject))
  const run = { tenant: "t", run: "r" }
  assert.ok(matches(runFilter(run), runSubject(run)))
  assert.not.ok(matches(runFilter(run), runSubject({ tenant: "t", run: "r2" })))
  assert.not.ok(matches(resultFilter(run), runSubject(run)))
  assert.not.ok(matches("memory.>", "memory"))
  assert.ok(matches("a.*.c", "a.b.c"))
  assert.not.ok(matches("a.*", "a.b.c"))
})

test("every subject has its stream, and a foreign one none", () => {
  assert.is(streamOf("memory.t.u.c.ingestor"), "MEMORY")
  assert.is(streamOf("metamem.t.adopted"), "METAMEM")
  assert.throws(() => streamOf("elsewhere.x"), (error: unknown) => error instanceof RangeError)
})

test("a position comes back from its text, and other texts are none", () => {
  assert.is(formatPosition({ log: "memory", sequence: 7 }), "memory:0:0:7")
  assert.equal(parsePosition("metamem:0:0:30"), { log: "metamem", epoch: 0, shard: 0, sequence: 30 })
  // A place of another epoch or shard is a place of a log that is not here.
  for (const text of ["memory:1:0:7", "memory:0:1:7", "", "7", "memory:7", "memory:0:0:-1", "calls:0:0:1", "memory:0:0:1 ", "2026-01-01T00:00:00Z"]) assert.is(parsePosition(text), undefined)
})

test.run()
