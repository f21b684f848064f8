import { Clock, Deferred, Effect, Fiber, Layer, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { emptyFold, foldedBytes, makeEntity } from "#shared/actor/entity"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import { effect } from "#test/support/effect"
import { jetStreamLayer, testServer } from "#test/support/nats"
import { tally, target } from "./tally.ts"

const test = suite("entities on JetStream")
const it = (name: string, body: Effect.Effect<unknown, unknown, EventLog>) => effect(test as never, name, () => body.pipe(Effect.provide(jetStreamLayer)))

const collect = (...numbers: ReadonlyArray<number>) => ({ _tag: "Collect", numbers, by: "test" }) as const
const a = target("a")

it("a command's events are committed and folded, one commit a decision", Effect.gen(function*() {
  const entity = yield* makeEntity(tally)
  const first = yield* entity.execute(a, collect(1, 2), { cause: "1" })
  const second = yield* entity.execute(a, collect(3), { cause: "2", inputThrough: 7 })
  assert.is(first.fresh, true)
  assert.equal(second.events, [{ _tag: "Collected", numbers: [3], by: "test" }])
  const folded = yield* entity.load(a)
  assert.equal(folded.state.numbers, [1, 2, 3])
  assert.is(folded.inputThrough, 7)
  assert.is(folded.sequence, second.folded.sequence)
  assert.is((yield* (yield* EventLog).load(a)).length, 2)
}))

it("the same cause decided twice is one commit, in one process and in two", Effect.gen(function*() {
  const [one, two] = [yield* makeEntity(tally), yield* makeEntity(tally)]
  yield* two.load(a)
  yield* one.execute(a, collect(1), { cause: "same" })
  assert.is((yield* one.execute(a, collect(1), { cause: "same" })).fresh, false)
  const other = yield* two.execute(a, collect(1), { cause: "same" })
  assert.is(other.fresh, false)
  assert.equal(other.folded.state.numbers, [1])
  yield* one.execute(a, collect(2), { cause: "next" })
  assert.is((yield* two.execute(a, collect(1), { cause: "same" })).fresh, false)
  assert.equal((yield* two.load(a)).state.numbers, [1, 2])
}))

it("a commit about something else carries the water mark on", Effect.gen(function*() {
  const entity = yield* makeEntity(tally)
  yield* entity.execute(a, collect(1), { cause: "1", inputThrough: 7 })
  yield* entity.execute(a, collect(2), { cause: "2" })
  assert.is((yield* (yield* EventLog).last(a))?.inputThrough, 7)
}))

it("a decision that covers no new input adds nothing", Effect.gen(function*() {
  const entity = yield* makeEntity(tally)
  yield* entity.execute(a, collect(1), { cause: "1", inputThrough: 5 })
  assert.is((yield* entity.execute(a, collect(1), { cause: "other", inputThrough: 5 })).fresh, false)
  assert.is((yield* entity.execute(a, { _tag: "Open" }, { cause: "nothing to open", inputThrough: 6 })).folded.inputThrough, 6)
  assert.equal((yield* entity.load(a)).state.numbers, [1])
}))

it("a conflict loads again and decides on what the other wrote", Effect.gen(function*() {
  const [one, two] = [yield* makeEntity(tally), yield* makeEntity(tally)]
  yield* one.execute(a, collect(1), { cause: "1" })
  yield* two.load(a)
  yield* one.execute(a, { _tag: "Close" }, { cause: "2" })
  const refused = yield* Effect.flip(two.execute(a, collect(2), { cause: "3" }))
  assert.is(refused._tag, "IsClosed")
  yield* one.execute(a, { _tag: "Open" }, { cause: "4" })
  assert.is((yield* two.execute(a, collect(2), { cause: "5" })).fresh, true)
  assert.equal((yield* one.load(a)).state.numbers, [1, 2])
}))

it("a refusal out of an outdated cache is decided again on the log", Effect.gen(function*() {
  const [one, two] = [yield* makeEntity(tally), yield* makeEntity(tally)]
  yield* one.execute(a, { _tag: "Close" }, { cause: "1" })
  yield* two.load(a)
  yield* one.execute(a, { _tag: "Open" }, { cause: "2" })
  assert.is((yield* two.execute(a, collect(1), { cause: "3" })).fresh, true)
}))

it("a decision for nothing out of an outdated cache is decided again on the log", Effect.gen(function*() {
  const [one, two] = [yield* makeEntity(tally), yield* makeEntity(tally)]
  yield* one.execute(a, { _tag: "Close" }, { cause: "1" })
  yield* two.load(a)
  yield* one.execute(a, { _tag: "Open" }, { cause: "2" })
  const closed = yield* two.execute(a, { _tag: "Close" }, { cause: "3" })
  assert.is(closed.fresh, true, "it was open again, so closing it is news")
  assert.is((yield* one.load(a)).state.closed, true)
}))

it("many at once on one entity, in two processes: every command once, none lost", Effect.gen(function*() {
  const entities = [yield* makeEntity(tally), yield* makeEntity(tally)] as const
  const wanted = Array.from({ length: 24 }, (_, i) => i)
  yield* Effect.forEach(wanted, (n) => entities[n % 2 as 0 | 1].execute(a, collect(n), { cause: `n${n}` }), { concurrency: 24 })
  const { state } = yield* entities[0].load(a)
  assert.equal([...state.numbers].sort((x, y) => x - y), wanted)
  // The order in both is the log's.
  assert.equal((yield* entities[1].load(a)).state.numbers, state.numbers)
}))

it("when others are always first the tries are bounded", Effect.gen(function*() {
  const log = yield* EventLog
  let others = 0
  const contended = EventLog.of({
    ...log,
    append: (draft, expected, previous) =>
      Effect.gen(function*() {
        const other = yield* log.append({ ...draft, cause: `other ${others++}` }, expected, previous)
        assert.ok(other.sequence > expected)
        return yield* log.append(draft, expected, previous)
      })
  })
  const entity = yield* makeEntity(tally).pipe(Effect.provideService(EventLog, contended))
  const failed = yield* Effect.flip(entity.execute(a, collect(1), { cause: "mine" }))
  assert.is(failed._tag, "TooManyConflicts")
  assert.is(others, 16)
  assert.match((failed as Error).message, /again/)
}))

it("an unreadable event stops the reader and is never skipped", Effect.gen(function*() {
  const log = yield* EventLog
  const first = yield* log.append({ subject: a, cause: "1", events: [tally.codec.encode({ _tag: "Collected", numbers: [1], by: "x" })] }, 0, "")
  yield* log.append({ subject: a, cause: "2", events: [{ type: "FromTheFuture", version: 1, data: {} }] }, first.sequence, first.checksum)
  const entity = yield* makeEntity(tally)
  assert.is((yield* Effect.flip(entity.load(a)))._tag, "UnreadableEvent")
  const failed = yield* Effect.flip(entity.execute(a, collect(2), { cause: "3" }))
  assert.is(failed._tag, "UnreadableEvent")
  assert.is((yield* log.load(a)).length, 2)
}))

it("the cache keeps what was used last and forgets without harm", Effect.gen(function*() {
  const entity = yield* makeEntity(tally, 2)
  for (const n of [1, 2, 3, 4, 1, 2, 3, 4]) yield* entity.execute(target(`c${n}`), collect(n), { cause: String(Math.floor(n)) })
  for (const n of [1, 2, 3, 4]) assert.equal((yield* entity.load(target(`c${n}`))).state.numbers, [n])
}))

test("what an entity takes is told by the members of its state's parts", () => {
  const none = foldedBytes(emptyFold({ ids: new Set(), names: new Map(), list: [], last: "x" }))
  const some = foldedBytes({ ...emptyFold({ ids: new Set([1, 2]), names: new Map([[1, 2]]), list: [1, 2, 3], last: "x" }), commitIds: new Set(["a", "b"]) })
  assert.is(some - none, 8 * 120)
  assert.is(foldedBytes(emptyFold(7)), none)
})

/** The log, and the subjects that were folded from their first commit, in order. */
const watchedLog = Effect.map(EventLog, (log) => {
  const begun: Array<string> = []
  const watched = EventLog.of({
    ...log,
    load: (subject, options) => {
      if ((options?.after ?? 0) === 0) begun.push(subject)
      return log.load(subject, options)
    }
  })
  return { begun, watched }
})

it("the cache is bounded by bytes: what does not fit beside the entity used last is folded from its first commit again", Effect.gen(function*() {
  const { begun, watched } = yield* watchedLog
  const small = 3_000
  const entity = yield* makeEntity(tally, 100, small).pipe(Effect.provideService(EventLog, watched))
  const [large, other] = [target("large"), target("other")]
  yield* entity.execute(large, collect(...Array.from({ length: 100 }, (_, n) => n)), { cause: "1" })
  yield* entity.execute(large, collect(200), { cause: "2" })
  // Larger than the whole cache, and still there, since it was used last.
  assert.equal(begun, [large])
  yield* entity.execute(other, collect(1), { cause: "1" })
  yield* entity.execute(other, collect(2), { cause: "2" })
  yield* entity.execute(large, collect(300), { cause: "3" })
  assert.equal(begun, [large, other, large])
  assert.is((yield* entity.load(large)).state.numbers.length, 102)
  assert.equal((yield* entity.load(other)).state.numbers, [1, 2])
}))

it("what was not used for five minutes leaves the cache, and what is used stays", Effect.gen(function*() {
  const { begun, watched } = yield* watchedLog
  const real = yield* Clock.Clock
  let ahead = 0
  const shifted: Clock.Clock = {
    currentTimeMillisUnsafe: () => real.currentTimeMillisUnsafe() + ahead,
    currentTimeMillis: Effect.sync(() => real.currentTimeMillisUnsafe() + ahead),
    currentTimeNanosUnsafe: () => real.currentTimeNanosUnsafe(),
    currentTimeNanos: real.currentTimeNanos,
    monotonicTimeNanosUnsafe: () => real.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: real.monotonicTimeNanos,
    sleep: (duration) => real.sleep(duration)
  }
  yield* Effect.gen(function*() {
    const entity = yield* makeEntity(tally)
    const [over, live] = [target("over"), target("live")]
    yield* entity.execute(over, collect(1), { cause: "1" })
    for (const n of [1, 2, 3]) {
      yield* entity.execute(live, collect(n), { cause: String(n) })
      ahead += 2 * 60_000
    }
    yield* entity.load(live)
    assert.equal(begun, [over, live])
    assert.equal((yield* entity.execute(over, collect(2), { cause: "2" })).folded.state.numbers, [1, 2])
    assert.equal(begun, [over, live, over])
  }).pipe(Effect.provideService(EventLog, watched), Effect.provideService(Clock.Clock, shifted))
}))

it("what is let go is folded from its first commit again, also when it was being folded, and nothing else", Effect.gen(function*() {
  const log = yield* EventLog
  const begun: Array<string> = []
  const gate = yield* Deferred.make<void>()
  let isHeld = false
  const watched = EventLog.of({
    ...log,
    load: (subject, options) => {
      if ((options?.after ?? 0) === 0) begun.push(subject)
      return Effect.tap(log.load(subject, options), () => (isHeld ? Deferred.await(gate) : Effect.void))
    }
  })
  yield* Effect.gen(function*() {
    const entity = yield* makeEntity(tally)
    const [gone, other] = [target("gone"), target("other")]
    for (const one of [gone, other]) yield* entity.execute(one, collect(1), { cause: "1" })
    assert.equal(begun, [gone, other])
    entity.forget((subject) => subject === gone)
    yield* entity.load(other)
    assert.equal(begun, [gone, other])
    isHeld = true
    const underWay = yield* Effect.forkChild(entity.load(gone))
    yield* Effect.sleep(20)
    entity.forget((subject) => subject === gone)
    yield* Deferred.succeed(gate, undefined)
    assert.equal((yield* Fiber.join(underWay)).state.numbers, [1])
    yield* entity.load(gone)
    yield* entity.load(gone)
    assert.equal(begun, [gone, other, gone, gone])
  }).pipe(Effect.provideService(EventLog, watched))
}))

it("an evolve that breaks leaves no half-folded state behind", Effect.gen(function*() {
  let broken = true
  const fragile = {
    ...tally,
    evolve: (...[state, event, place]: Parameters<typeof tally.evolve>) => {
      const next = tally.evolve(state, event, place)
      if (broken && event._tag === "Collected" && event.numbers.includes(2)) throw new Error("a bug")
      return next
    }
  }
  const entity = yield* makeEntity(fragile)
  yield* entity.execute(a, collect(1), { cause: "1" })
  const exit = yield* Effect.exit(entity.execute(a, collect(2), { cause: "2" }))
  assert.is(exit._tag, "Failure")
  broken = false
  assert.equal((yield* entity.load(a)).state.numbers, [1, 2])
}))

effect(test as never, "state survives a restart of process and server", () =>
  Effect.gen(function*() {
    const { url, pid } = yield* testServer
    // A process of its own each time: connection, log and cache are made anew.
    const fresh = <A, E>(body: Effect.Effect<A, E, EventLog>) => body.pipe(Effect.provide(Layer.fresh(Layer.provide(JetStreamLog.layer, NatsConnection.layer({ url })))))
    yield* fresh(Effect.flatMap(makeEntity(tally), (entity) => entity.execute(a, collect(1), { cause: "1", inputThrough: 9 })))
    process.kill(pid, "SIGKILL")
    yield* Effect.sleep(400)
    const folded = yield* fresh(Effect.flatMap(makeEntity(tally), (entity) => entity.execute(a, collect(2), { cause: "2" })))
    assert.equal(folded.folded.state.numbers, [1, 2])
    assert.is(folded.folded.inputThrough, 9)
  }))

effect(test as never, "a command under way when the server is killed is committed once after it is back", () =>
  Effect.gen(function*() {
    const { url, pid } = yield* testServer
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const entity = yield* makeEntity(tally)
      yield* entity.execute(a, collect(0), { cause: "0" })
      process.kill(pid, "SIGKILL")
      yield* Effect.forEach([1, 2, 3, 4], (n) => entity.execute(a, collect(n), { cause: String(n) }), { concurrency: 4 })
      const numbers = (yield* log.load(a)).flatMap((commit) => commit.events.map((event) => Result.getOrThrow(tally.codec.decode(event))))
      assert.is(numbers.length, 5)
    }).pipe(Effect.provide(Layer.provide(JetStreamLog.layer, NatsConnection.layer({ url }))))
  }))

test.run()
