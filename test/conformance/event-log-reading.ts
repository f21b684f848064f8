/** What every log must do that can be read, run against each layer with the same commits in it. */
import { Effect, Fiber, Layer, Stream } from "effect"
import * as assert from "uvu/assert"
import type { Test } from "uvu"
import { type CommitDraft, header } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { effect } from "#test/support/effect"

const subjects = ["memory.t.u1.a.ingestor", "memory.t.u2.b.ingestor", "memory.t.u1.a.compressor", "metamem.t.r.reflector"] as const
const draft = (n: number): CommitDraft => ({
  subject: subjects[n % 4] ?? "",
  cause: `cause ${n} · ü`,
  correlation: "c",
  inputThrough: n,
  events: [{ type: "Counted", version: 1, data: { n, text: "a line\nand another" } }],
  ...(n % 3 === 0 ? { binary: Uint8Array.from([0, 1, 254, n]) } : {})
})
const count = 24

/** Fills an empty log with what the reading tests expect. */
export const fillForReading: Effect.Effect<void, unknown, EventLog> = Effect.gen(function*() {
  const log = yield* EventLog
  const last = new Map<string, { readonly sequence: number; readonly checksum: string }>()
  for (let n = 0; n < count; n++) {
    const one = draft(n)
    const at = last.get(one.subject)
    last.set(one.subject, yield* log.append(one, at?.sequence ?? 0, at?.checksum ?? ""))
  }
})

/** An empty log with what the reading tests expect put into it. */
export const filledForReading = <E>(empty: Layer.Layer<EventLog, E>): Layer.Layer<EventLog, unknown> =>
  Layer.effect(EventLog, Effect.andThen(fillForReading, EventLog)).pipe(Layer.provide(empty))

const numbersOf = (subject: string): ReadonlyArray<number> => Array.from({ length: count }, (_, n) => n).filter((n) => subjects[n % 4] === subject)

/** @param layer a log that `fillForReading` was run on */
export const eventLogReadingConformance = (test: Test, layer: Layer.Layer<EventLog, unknown>): void => {
  const it = (name: string, body: Effect.Effect<unknown, unknown, EventLog>) => effect(test as never, name, () => body.pipe(Effect.provide(layer)))
  const numbers = (commits: ReadonlyArray<{ readonly inputThrough: number }>) => commits.map(({ inputThrough }) => inputThrough)

  it("a load gives one subject whole, in order, as it was appended", Effect.gen(function*() {
    const log = yield* EventLog
    const commits = yield* log.load(subjects[0])
    assert.equal(numbers(commits), numbersOf(subjects[0]))
    const [first, second] = commits
    assert.equal(first?.events, draft(0).events)
    assert.equal([...(first?.binary ?? [])], [0, 1, 254, 0])
    assert.equal([first?.cause, first?.correlation, first?.previousChecksum], ["cause 0 · ü", "c", ""])
    assert.is(second?.previousChecksum, first?.checksum)
    assert.match(first?.time ?? "", /^\d{4}-.*Z$/)
  }))

  it("a load after a sequence, with a minimum, gives the rest", Effect.gen(function*() {
    const log = yield* EventLog
    const all = yield* log.load(subjects[2])
    const rest = yield* log.load(subjects[2], { after: all[2]?.sequence ?? 0, minimum: all.at(-1)?.sequence ?? 0 })
    assert.equal(numbers(rest), numbersOf(subjects[2]).slice(3))
    assert.equal(yield* log.load(subjects[2], { after: all.at(-1)?.sequence ?? 0 }), [])
    assert.equal(yield* log.load("memory.t.u1.nothing.ingestor"), [])
  }))

  it("the last commit of a subject, and none where there is none", Effect.gen(function*() {
    const log = yield* EventLog
    assert.is((yield* log.last(subjects[3]))?.inputThrough, 23)
    assert.is(yield* log.last("metamem.t.nothing.reflector"), undefined)
  }))

  it("a read gives what matches in the order of the stream and ends", Effect.gen(function*() {
    const log = yield* EventLog
    const of = (filters: ReadonlyArray<string>, after = 0) => Effect.map(Stream.runCollect(log.read(filters, { after })), numbers)
    const memory = Array.from({ length: count }, (_, n) => n).filter((n) => n % 4 !== 3)
    assert.equal(yield* of(["memory.>"]), memory)
    assert.equal(yield* of(["memory.*.*.*.compressor", "memory.t.u2.>"]), memory.filter((n) => n % 4 !== 0))
    assert.equal(yield* of(["metamem.t.r.*"]), numbersOf(subjects[3]))
    assert.equal(yield* of(["memory.>"], yield* log.head("MEMORY")), [])
    assert.equal(yield* of(["memory.nobody.>"]), [])
  }))

  it("raw messages carry subject, sequence, time, headers and payload", Effect.gen(function*() {
    const log = yield* EventLog
    const raws = yield* Stream.runCollect(log.readRaw(["metamem.>"]))
    const commits = yield* log.load(subjects[3])
    assert.equal(raws.map(({ sequence }) => sequence), commits.map(({ sequence }) => sequence))
    assert.equal(raws.map(({ headers }) => headers[header.checksum]), commits.map(({ checksum }) => checksum))
    assert.equal(raws.map(({ time }) => time), commits.map(({ time }) => time))
    assert.ok(raws.every(({ payload, subject }) => payload.length > 0 && subject === subjects[3]))
  }))

  it("a follow gives what is there and then waits", Effect.gen(function*() {
    const log = yield* EventLog
    const seen: Array<number> = []
    const follower = yield* log.follow(["metamem.>"]).pipe(
      Stream.runForEach((commit) => Effect.sync(() => void seen.push(commit.inputThrough))),
      Effect.forkChild
    )
    for (let waited = 0; waited < 100 && seen.length < numbersOf(subjects[3]).length; waited++) yield* Effect.sleep(20)
    assert.equal(seen, numbersOf(subjects[3]))
    assert.is(follower.pollUnsafe(), undefined, "it goes on")
    yield* Fiber.interrupt(follower)
  }))
}
