import { Effect, Fiber, Layer, Stream } from "effect"
import { headers, type Msg } from "@nats-io/transport-node"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import { readStream } from "#shared/eventlog/jetstream-reading"
import * as NatsConnection from "#shared/eventlog/nats"
import { effect } from "#test/support/effect"
import { jetStreamLayer, testServer } from "#test/support/nats"

const test = suite("faults of the event log on JetStream")
const it = (name: string, body: Effect.Effect<unknown, unknown, EventLog>, limitMs = 30_000) =>
  effect(test as never, name, () => body.pipe(Effect.provide(jetStreamLayer)), limitMs)
const subject = "memory.t.u.c.ingestor"

/** Appends `count` commits with increasing `inputThrough`; returns the place of the last. */
const appendMany = (count: number, from = { sequence: 0, checksum: "" }, binary?: Uint8Array) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    let at: { readonly sequence: number; readonly checksum: string } = from
    for (let n = 1; n <= count; n++) {
      const inputThrough = at.sequence + 1
      at = yield* log.append({ subject, cause: `after ${at.sequence}`, inputThrough, events: [], ...(binary === undefined ? {} : { binary }) }, at.sequence, at.checksum)
    }
    return at
  })

it("a subject with more bytes than one answer may have is loaded whole", Effect.gen(function*() {
  const log = yield* EventLog
  yield* appendMany(12, undefined, new Uint8Array(6_000_000))
  assert.is((yield* log.load(subject)).length, 12)
}))

it("a subject with more commits than one page is loaded whole and in order", Effect.gen(function*() {
  const log = yield* EventLog
  yield* appendMany(1_050)
  const commits = yield* log.load(subject)
  assert.equal(commits.map(({ sequence }) => sequence), Array.from({ length: 1_050 }, (_, i) => i + 1))
}))

it("a read ends although others go on writing", Effect.gen(function*() {
  const log = yield* EventLog
  const at = yield* appendMany(100)
  const writer = yield* appendMany(20_000, at).pipe(Effect.forkChild)
  const commits = yield* Stream.runCollect(log.read(["memory.>"]).pipe(Stream.tap(() => Effect.sleep(1))))
  yield* Fiber.interrupt(writer)
  assert.ok(commits.length >= 100 && commits.length < 120, `${commits.length} commits read`)
}))

/** On a server of the test's own, with the connection to it. */
const onServer = (name: string, body: Effect.Effect<unknown, unknown, EventLog | NatsConnection.Nats>, limitMs = 60_000) =>
  effect(test as never, name, () =>
    Effect.gen(function*() {
      const { url } = yield* testServer
      yield* body.pipe(Effect.provide(JetStreamLog.layer.pipe(Layer.provideMerge(NatsConnection.layer({ url })))))
    }), limitMs)

/** As a server does that was started anew, or that was not asked for a minute. */
const forgetConsumers = Effect.gen(function*() {
  const { jsm } = yield* NatsConnection.Nats
  yield* Effect.promise(async () => {
    for await (const { name } of jsm.consumers.list("MEMORY")) await jsm.consumers.delete("MEMORY", name)
  })
})

onServer("a read whose consumer is forgotten goes on where it was", Effect.gen(function*() {
  const log = yield* EventLog
  yield* appendMany(2_000)
  let read = 0
  const commits = yield* Stream.runCollect(log.read(["memory.>"]).pipe(Stream.tap(() => (++read === 700 ? forgetConsumers : Effect.void))))
  assert.equal(commits.map(({ sequence }) => sequence), Array.from({ length: 2_000 }, (_, i) => i + 1))
}))

onServer("a follow whose consumer is forgotten goes on where it was", Effect.gen(function*() {
  const log = yield* EventLog
  const before = yield* appendMany(20)
  const follower = yield* log.follow(["memory.>"]).pipe(Stream.take(40), Stream.runCollect, Effect.forkChild)
  yield* Effect.sleep(300)
  yield* forgetConsumers
  yield* appendMany(20, before)
  assert.equal((yield* Fiber.join(follower)).map(({ sequence }) => sequence), Array.from({ length: 40 }, (_, i) => i + 1))
}))

onServer("a follow gets what was lost on its way though nothing comes after it", Effect.gen(function*() {
  const nats = yield* NatsConnection.Nats
  let lost = 0
  // As where a connection ends after the server has sent: the request lives on when it is made anew in time.
  const nc = new Proxy(nats.nc, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name)
      if (name !== "subscribe") return typeof member === "function" ? member.bind(target) : member
      return (subject: string, { callback }: { readonly callback: (error: Error | null, message: Msg) => void }) =>
        target.subscribe(subject, {
          callback: (error, message) => {
            if (message.subject !== subject && lost++ === 0) return
            callback(error, message)
          }
        })
    }
  })
  const follower = yield* readStream({ ...nats, nc }, "MEMORY", ["memory.>"], 0, true).pipe(Stream.take(1), Stream.runCollect, Effect.forkChild)
  yield* Effect.sleep(300)
  yield* appendMany(1)
  assert.equal((yield* Fiber.join(follower).pipe(Effect.timeout(5_000))).map(({ sequence }) => sequence), [1])
  assert.is(lost, 2)
}))

onServer("a read ends although what it had not come to was purged meanwhile", Effect.gen(function*() {
  const log = yield* EventLog
  const { jsm } = yield* NatsConnection.Nats
  const { sequence } = yield* appendMany(2_000)
  let read = 0
  const commits = yield* Stream.runCollect(
    log.read(["memory.>"]).pipe(Stream.tap(() => (++read === 1 ? Effect.promise(() => jsm.streams.purge("MEMORY", { filter: subject })) : Effect.void)))
  )
  assert.ok(commits.length >= 1 && commits.length < sequence, `${commits.length} commits read`)
  assert.equal(commits.map((commit) => commit.sequence), commits.map((_, i) => i + 1))
}))

it("large commits are read whole and in order, however many are asked for at once", Effect.gen(function*() {
  const log = yield* EventLog
  yield* appendMany(12, undefined, new Uint8Array(6_000_000))
  const sequences = yield* Stream.runCollect(log.read(["memory.>"]).pipe(Stream.map(({ sequence }) => sequence)))
  assert.equal(sequences, Array.from({ length: 12 }, (_, i) => i + 1))
}))

onServer("headers read from their bytes are those the client reads", Effect.gen(function*() {
  const log = yield* EventLog
  const { js, jsm, nc } = yield* NatsConnection.Nats
  yield* appendMany(1)
  const foreign = headers()
  foreign.append("Twice", "first: of two")
  foreign.append("Twice", "second")
  foreign.append("Empty", "")
  yield* Effect.promise(() => js.publish(subject, "x", { headers: foreign }))
  yield* Effect.promise(() => js.publish(subject, "no headers"))
  yield* Effect.promise(() => nc.flush())
  const raws = yield* Stream.runCollect(log.readRaw(["memory.>"]))
  for (const { headers: read, sequence } of raws) {
    const stored = yield* Effect.promise(() => jsm.streams.getMessage("MEMORY", { seq: sequence }))
    assert.equal(read, Object.fromEntries([...(stored?.header ?? [])].map(([name, [value]]) => [name, value])))
  }
  assert.is(raws[1]?.headers["Twice"], "first: of two")
  assert.equal(raws[2]?.headers, {})
}))

onServer("what stands before a damaged commit is read before it fails the reader", Effect.gen(function*() {
  const log = yield* EventLog
  const { js } = yield* NatsConnection.Nats
  const before = yield* appendMany(3)
  yield* Effect.promise(() => js.publish("memory.t.u.other.ingestor", "no commit"))
  yield* appendMany(2, before)
  for (const commits of [log.read(["memory.>"]), log.follow(["memory.>"])]) {
    const seen: Array<number> = []
    const error = yield* commits.pipe(Stream.runForEach(({ sequence }) => Effect.sync(() => seen.push(sequence))), Effect.flip, Effect.timeout(5_000))
    assert.is(error._tag, "CorruptCommit")
    assert.equal(seen, [1, 2, 3])
  }
}))

effect(test as never, "a follow goes on over a killed server, without loss or repetition", () =>
  Effect.gen(function*() {
    const { pid, url } = yield* testServer
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const before = yield* appendMany(20)
      const follower = yield* log.follow(["memory.>"]).pipe(Stream.take(40), Stream.runCollect, Effect.forkChild)
      yield* Effect.sleep(200)
      process.kill(pid, "SIGKILL")
      const started = performance.now()
      yield* appendMany(20, before)
      const commits = yield* Fiber.join(follower)
      assert.equal(commits.map(({ sequence }) => sequence), Array.from({ length: 40 }, (_, i) => i + 1))
      const seconds = (performance.now() - started) / 1_000
      assert.ok(seconds < 25, `it went on after ${seconds.toFixed(1)} s`)
    }).pipe(Effect.provide(Layer.provide(JetStreamLog.layer, NatsConnection.layer({ url }))))
  }), 60_000)

effect(test as never, "where no server answers the failure names the address", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Effect.provide(EventLog, Layer.provide(JetStreamLog.layer, NatsConnection.layer({ url: "nats://127.0.0.1:1" }))))
    assert.is(error._tag, "LogUnavailable")
    assert.match(error.message, /127\.0\.0\.1:1/)
  }))

test.run()
