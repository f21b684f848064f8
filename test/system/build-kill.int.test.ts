import { Effect, Fiber, Schedule, Scope, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, parseMemorySubject, requestSubject } from "#shared/eventlog/subjects"
import { logOn, memoryActors, settled } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { memories, ready, retrieve } from "#test/support/memory-client"
import { testServer } from "#test/support/nats"
import { type ActorProcess, actorProcess, killServer } from "./actor-processes.ts"

const test = suite("actors in processes of their own")

const things = ["bicycle", "violin", "kayak", "telescope", "ferret", "greenhouse", "typewriter", "harmonica", "bookcase", "tent"]
const places = ["Oslo", "Turku", "Porto", "Ghent", "Graz", "Split", "Cork", "Bergen"]
const conversations = Array.from({ length: 20 }, (_, c) => ({ tenant: "local", user: `user ${c % 5}`, conversation: `talk ${c}` }))
/** Turns of one conversation, with times of their own so that ids do not depend on when they are sent. */
const turnsOf = (c: number) =>
  Array.from({ length: 16 }, (_, n) => {
    const thing = things[(c * 3 + Math.floor(n / 4)) % things.length] ?? ""
    const place = places[(c + n) % places.length] ?? ""
    return {
      speaker: n % 2 === 0 ? "user" : "assistant",
      text: n % 2 === 0
        ? `I bought a ${thing} in ${place} for ${20 + c * 7 + n} dollars and paint it before the summer trip.`
        : `A ${thing} from ${place} sounds delightful; let two thin coats dry overnight.`,
      time: new Date(Date.UTC(2026, 2, 1 + c, 9, n)).toISOString()
    }
  })
const requestTurns = 4

/** Sends one conversation piece by piece, again and again until each piece is acknowledged; ids acknowledged. */
const stream = (c: number, pauseMs: number) =>
  Effect.gen(function*() {
    const of = conversations[c]
    const turns = turnsOf(c)
    const acknowledged: Array<string> = []
    for (let from = 0; from < turns.length; from += requestTurns) {
      const payload = { ...of, turns: turns.slice(from, from + requestTurns), close: from + requestTurns >= turns.length }
      const reply = yield* request(requestSubject("ingestor", "receive"), payload, 1_500).pipe(Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 400 }))))
      for (const { id, status } of (reply as { turns: ReadonlyArray<{ id: string; status: string }> }).turns) {
        assert.ok(status === "accepted" || status === "duplicate", status)
        acknowledged.push(id)
      }
      if (pauseMs > 0) yield* Effect.sleep(pauseMs)
    }
    return acknowledged
  })
const streamAll = (pauseMs: number) => Effect.map(Effect.forEach(conversations, (_, c) => stream(c, pauseMs), { concurrency: 5 }), (all) => all.flat())

/** Everything the log says was remembered, and how often: folded from the log alone. */
const remembered = Effect.gen(function*() {
  const log = yield* EventLog
  const seen = { turns: new Map<string, string>(), segments: new Map<string, string>(), facts: new Map<string, string>(), vectors: new Map<string, string>() }
  const doubled: Array<string> = []
  const note = (into: Map<string, string>, key: string, value: string): void => {
    if (into.has(key)) doubled.push(key)
    into.set(key, value)
  }
  yield* Stream.runForEach(log.read([memoryFilter({})]), (commit) =>
    Effect.sync(() => {
      const { conversation, user } = parseMemorySubject(commit.subject)
      const at = (id: string) => `${user}/${conversation}/${id}`
      for (const { data, type } of commit.events as ReadonlyArray<{ type: string; data: any }>) {
        if (type === "TurnsReceived") for (const turn of data.turns) note(seen.turns, at(turn.id), JSON.stringify(turn))
        if (type === "SegmentClosed") note(seen.segments, at(data.segment), JSON.stringify(data.turns))
        if (type === "MemoriesRecorded") for (const memory of data.memories) note(seen.facts, at(memory.id), JSON.stringify(memory))
        if (type === "VectorsRecorded") {
          const width = data.dimensions * 2
          // Two embedders may do the same work; what they record must be the same, bit for bit.
          data.ids.forEach((id: string, row: number) => {
            const bytes = Buffer.from(commit.binary.subarray(row * width, (row + 1) * width)).toString("base64")
            const before = seen.vectors.get(at(id))
            assert.ok(before === undefined || before === bytes, `two vectors of ${id}`)
            seen.vectors.set(at(id), bytes)
          })
        }
      }
    }))
  return { seen, doubled }
})
const allSettled = Effect.forEach(conversations, settled, { concurrency: 8, discard: true })
/** What the retriever finds, with scores, of every user. */
const found = Effect.forEach(["user 0", "user 1", "user 2", "user 3", "user 4"], (user) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const { behind, evidence } = yield* retrieve({ user, question: "What did the violin and the kayak cost in Porto?", after: `memory:0:0:${yield* log.head("MEMORY")}` })
    assert.equal(behind, [])
    const all = yield* memories(user)
    return { evidence: evidence.map(({ memoryId, score, text }) => ({ memoryId, score, text })), memories: all.map(({ id, searchableByVector, text }) => [id, text, searchableByVector]).sort() }
  }))

const undisturbed = Effect.gen(function*() {
  const { home, url } = yield* testServer
  return yield* Effect.gen(function*() {
    yield* ready
    const acknowledged = yield* streamAll(0)
    yield* allSettled
    return { acknowledged, ...(yield* remembered), found: yield* found }
  }).pipe(Effect.provide(memoryActors(url, home)))
}).pipe(Effect.scoped)

effect(test, "a build during which every actor and the server are killed ends equal to one that ran through", () =>
  Effect.gen(function*() {
    const calm = yield* undisturbed
    assert.equal([calm.seen.turns.size, calm.doubled], [320, []])
    assert.ok(calm.seen.facts.size > 100 && calm.seen.segments.size >= 20 && calm.seen.vectors.size === calm.seen.turns.size + calm.seen.facts.size)

    const { home, url } = yield* testServer
    yield* Effect.gen(function*() {
      const scope = yield* Effect.scope
      const start = (actor: ActorProcess["actor"]) => Effect.provideService(actorProcess(actor, url, home), Scope.Scope, scope)
      const running = new Map<string, ActorProcess>()
      yield* Effect.forEach(["ingestor", "compressor", "embedder", "retriever"] as const, (actor) => Effect.map(start(actor), (started) => void running.set(actor, started)), { concurrency: 2 })
      const streaming = yield* Effect.forkChild(streamAll(400))
      yield* Effect.sleep(700)
      for (const actor of ["compressor", "embedder", "ingestor", "retriever"] as const) {
        yield* running.get(actor)?.kill ?? Effect.void
        running.set(actor, yield* start(actor))
        yield* Effect.sleep(200)
      }
      yield* killServer(home)
      yield* Effect.sleep(500)
      // Once more while the server may still be away.
      for (const actor of ["compressor", "ingestor", "embedder"] as const) {
        yield* running.get(actor)?.kill ?? Effect.void
        running.set(actor, yield* start(actor))
      }
      const acknowledged = yield* Fiber.join(streaming)
      yield* allSettled
      const { doubled, seen } = yield* remembered
      assert.equal(new Set(acknowledged), new Set(calm.acknowledged))
      assert.equal(doubled, [])
      for (const part of ["turns", "segments", "facts", "vectors"] as const) {
        const [got, wanted] = [seen[part], calm.seen[part]]
        assert.equal([...got.keys()].sort(), [...wanted.keys()].sort(), part)
        for (const [key, value] of wanted) assert.is(got.get(key), value, `${part} ${key}`)
      }
      assert.equal(yield* found, calm.found)
    }).pipe(Effect.provide(logOn(url)))
  }), 120_000)

effect(test, "two processes of one actor share the work, and no conflict is told to anybody", () =>
  Effect.gen(function*() {
    const { home, url } = yield* testServer
    yield* Effect.gen(function*() {
      const actors = yield* Effect.forEach(["ingestor", "ingestor", "compressor", "compressor", "embedder", "embedder"] as const, (actor) => actorProcess(actor, url, home), { concurrency: 3 })
      yield* streamAll(30)
      yield* allSettled
      const { doubled, seen } = yield* remembered
      assert.equal([seen.turns.size, doubled], [320, []])
      for (const actor of ["ingestor", "compressor", "embedder"]) {
        const [one = 0, two = 0] = actors.filter((process) => process.actor === actor).map((process) => new Set(process.did()).size)
        assert.ok(one >= 3 && two >= 3, `${actor}: ${one} and ${two} conversations`)
      }
      for (const process of actors) assert.not.match(process.output(), /conflict|TooMany|could not|Error/i, process.output().slice(0, 500))
    }).pipe(Effect.provide(logOn(url)))
  }), 120_000)

test.run()
