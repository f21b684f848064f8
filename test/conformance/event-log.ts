/** What every event log must do, run against each layer. */
import { Effect, Fiber, type Layer, Stream } from "effect"
import * as assert from "uvu/assert"
import type { Test } from "uvu"
import { EventLog } from "#shared/eventlog/event-log"
import { effect } from "#test/support/effect"

const draft = (subject: string, cause: string, n = 1) => ({
  subject,
  cause,
  inputThrough: n,
  events: [{ type: "Counted", version: 1, data: { n } }]
})
const subject = (entity: string) => `memory.local.u1.${entity}.ingestor`

export const eventLogConformance = (test: Test, layer: Layer.Layer<EventLog, unknown>): void => {
  const it = (name: string, body: Effect.Effect<unknown, unknown, EventLog>) =>
    effect(test, name, () => body.pipe(Effect.provide(layer)))

  it("a commit comes back as it was appended, with its place and checksum", Effect.gen(function*() {
    const log = yield* EventLog
    const binary = Uint8Array.from([1, 2, 3, 255])
    const appended = yield* log.append({ ...draft(subject("a"), "cause 1 · ü"), correlation: "c", binary }, 0, "")
    const [commit] = yield* log.load(subject("a"))
    assert.is(commit?.sequence, appended.sequence)
    assert.is(commit?.checksum, appended.checksum)
    assert.is(commit?.cause, "cause 1 · ü")
    assert.is(commit?.correlation, "c")
    assert.is(commit?.inputThrough, 1)
    assert.equal(commit?.events, [{ type: "Counted", version: 1, data: { n: 1 } }])
    assert.equal([...(commit?.binary ?? [])], [...binary])
    assert.match(commit?.time ?? "", /^\d{4}-.*Z$/)
  }))

  it("an append with a stale sequence fails with SequenceConflict and stores nothing", Effect.gen(function*() {
    const log = yield* EventLog
    const first = yield* log.append(draft(subject("b"), "1"), 0, "")
    const conflict = yield* Effect.flip(log.append(draft(subject("b"), "2"), 0, ""))
    assert.is(conflict._tag, "SequenceConflict")
    assert.match(conflict.message, /decide anew/)
    assert.is((conflict as { actual: number }).actual, first.sequence)
    assert.is((yield* log.load(subject("b"))).length, 1)
  }))

  it("the same decision appended twice is one commit", Effect.gen(function*() {
    const log = yield* EventLog
    const first = yield* log.append(draft(subject("c"), "1"), 0, "")
    const again = yield* log.append(draft(subject("c"), "1"), 0, "")
    assert.is(again.sequence, first.sequence)
    assert.is(again.already, true)
    yield* log.append(draft(subject("c"), "2"), first.sequence, first.checksum)
    const late = yield* log.append(draft(subject("c"), "1"), 0, "")
    assert.is(late.sequence, first.sequence)
    assert.is((yield* log.load(subject("c"))).length, 2)
  }))

  it("checksums are chained per subject", Effect.gen(function*() {
    const log = yield* EventLog
    const first = yield* log.append(draft(subject("d"), "1"), 0, "")
    yield* log.append(draft(subject("e"), "1"), 0, "")
    yield* log.append(draft(subject("d"), "2"), first.sequence, first.checksum)
    const commits = yield* log.load(subject("d"))
    assert.is(commits[1]?.previousChecksum, commits[0]?.checksum)
    assert.is((yield* log.last(subject("d")))?.cause, "2")
    assert.is(yield* log.last(subject("nothing")), undefined)
  }))

  it("a load starts after a sequence and keeps the order", Effect.gen(function*() {
    const log = yield* EventLog
    let at = { sequence: 0, checksum: "" }
    const sequences: Array<number> = []
    for (let i = 1; i <= 5; i++) {
      at = yield* log.append(draft(subject("f"), String(i), i), at.sequence, at.checksum)
      sequences.push(at.sequence)
    }
    const rest = yield* log.load(subject("f"), { after: sequences[2] ?? 0, minimum: sequences[4] ?? 0 })
    assert.equal(rest.map((commit) => commit.inputThrough), [4, 5])
  }))

  it("a read sees all matching subjects in the order of the stream and ends", Effect.gen(function*() {
    const log = yield* EventLog
    const a = yield* log.append(draft(subject("g"), "1", 1), 0, "")
    yield* log.append(draft("memory.local.u2.g.ingestor", "1", 2), 0, "")
    yield* log.append(draft("memory.local.u1.g.embedder", "1", 3), 0, "")
    yield* log.append(draft(subject("g"), "2", 4), a.sequence, a.checksum)
    const of = (filter: string) => Effect.map(Stream.runCollect(log.read([filter])), (commits) => [...commits].map((commit) => commit.inputThrough))
    assert.equal(yield* of("memory.local.u1.g.*"), [1, 3, 4])
    assert.equal(yield* of("memory.local.*.g.ingestor"), [1, 2, 4])
    assert.equal(yield* of("memory.nobody.>"), [])
    assert.is((yield* Stream.runCollect(log.read(["memory.>"], { after: yield* log.head("MEMORY") }))).length, 0)
  }))

  it("a follow gives what is there and then what comes, once each", Effect.gen(function*() {
    const log = yield* EventLog
    const first = yield* log.append(draft(subject("h"), "1", 1), 0, "")
    const follower = yield* log.follow(["memory.local.u1.h.*"]).pipe(Stream.take(3), Stream.runCollect, Effect.forkChild)
    yield* Effect.sleep(50)
    const second = yield* log.append(draft(subject("h"), "2", 2), first.sequence, first.checksum)
    yield* log.append(draft(subject("h"), "3", 3), second.sequence, second.checksum)
    const commits = yield* Fiber.join(follower)
    assert.equal([...commits].map((commit) => commit.inputThrough), [1, 2, 3])
  }))

  it("a commit above the size limit is refused with its size", Effect.gen(function*() {
    const log = yield* EventLog
    const refused = yield* Effect.flip(log.append({ ...draft(subject("i"), "1"), binary: new Uint8Array(9_000_000) }, 0, ""))
    assert.is(refused._tag, "CommitTooLarge")
    assert.match(refused.message, /9\d{6} bytes.*split/)
    assert.is((yield* log.load(subject("i"))).length, 0)
  }))

  it("many writers of one subject: every commit once, conflicts typed", Effect.gen(function*() {
    const log = yield* EventLog
    const write = (writer: number) =>
      Effect.gen(function*() {
        for (let tries = 0; tries < 100; tries++) {
          const last = yield* log.last(subject("j"))
          const outcome = yield* Effect.result(log.append(draft(subject("j"), `w${writer}`, writer), last?.sequence ?? 0, last?.checksum ?? ""))
          if (outcome._tag === "Success") return
          assert.is(outcome.failure._tag, "SequenceConflict")
        }
        assert.unreachable("a writer never got in")
      })
    yield* Effect.all([1, 2, 3, 4, 5, 6].map(write), { concurrency: 6 })
    const commits = yield* log.load(subject("j"))
    assert.equal(commits.map((commit) => commit.cause).sort(), ["w1", "w2", "w3", "w4", "w5", "w6"])
    for (const [i, commit] of commits.entries()) assert.is(commit.previousChecksum, commits[i - 1]?.checksum ?? "")
  }))
}
