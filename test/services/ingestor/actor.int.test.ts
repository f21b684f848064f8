import { ConfigProvider, Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import { memorySubject } from "#shared/eventlog/subjects"
import { Ingestor } from "#services/ingestor/actor"
import { logOn } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("the ingestor on a real log")
const ingestor = (environment: Record<string, string> = {}) => Ingestor.layer.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment))))
const receive = (request: Partial<Parameters<Ingestor["Service"]["receive"]>[0]>) => Effect.flatMap(Ingestor, ({ receive }) => receive({ tenant: "local", user: "u", turns: [], ...request }))
const say = (text: string) => ({ speaker: "user", text })
const events = (conversation: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    return (yield* log.load(memorySubject({ tenant: "local", user: "u", conversation }, "ingestor"))).flatMap((commit) => commit.events.map(({ data, type }) => ({ type, data: data as any })))
  })
const types = (conversation: string) => Effect.map(events(conversation), (all) => all.map(({ type }) => type))

effect(test, "silence is noted once, also for conversations that an ingestor left open when it ended", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    yield* Effect.gen(function*() {
      yield* Effect.gen(function*() {
        yield* receive({ conversation: "left open", turns: [say("first"), say("second")] })
        yield* receive({ conversation: "closed", turns: [say("first")], close: true })
        yield* receive({ conversation: "sent again", turns: [say("first"), say("second")] })
        // What came before is sent again after what came last: the last turn stays the last.
        yield* receive({ conversation: "sent again", turns: [say("first")] })
      }).pipe(Effect.provide(ingestor()))
      yield* Effect.gen(function*() {
        while ((yield* types("left open")).length < 2 || (yield* types("sent again")).length < 2) yield* Effect.sleep(200)
        yield* receive({ conversation: "left open", turns: [say("second")] })
        yield* Effect.sleep(6_000)
      }).pipe(Effect.provide(ingestor({ METAMEM_INGESTOR_IDLE_SECONDS: "1" })))
      assert.equal(yield* types("left open"), ["TurnsReceived", "ConversationIdle"])
      assert.equal(yield* types("sent again"), ["TurnsReceived", "ConversationIdle"])
      assert.equal(yield* types("closed"), ["TurnsReceived", "ConversationClosed"])
    }).pipe(Effect.provide(logOn(url)))
  }), 40_000)

effect(test, "fields that nothing reads are told, with what is likely meant; the turns are taken", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    yield* Effect.gen(function*() {
      const sent = { ...say("first"), said_at: "2026-03-02T10:00:00Z", mood: "calm", thread: "c9", note: null }
      const { ignored, turns } = yield* receive({ conversation: "told", turns: [sent, { ...say("second"), time: "2026-03-02T10:00:00Z", said_at: "x" }] })
      assert.equal(turns.map(({ status }) => status), ["accepted", "accepted"])
      // The request names the conversation, so that none is missing.
      assert.equal(ignored, [{ field: "said_at", turns: 2, meant: "time" }, { field: "mood", turns: 1 }, { field: "thread", turns: 1 }])
      assert.is("ignored" in (yield* receive({ conversation: "told", turns: [say("third")] })), false)
    }).pipe(Effect.provide(ingestor()), Effect.provide(logOn(url)))
  }))

effect(test, "a request larger than one commit becomes several, and is a no-op when sent again", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    yield* Effect.gen(function*() {
      // Twice as large once escaped, as JSON writes quotes.
      const turns = Array.from({ length: 40 }, (_, n) => say(`${n} ${"\"".repeat(300_000)}`))
      const first = yield* receive({ conversation: "big", turns })
      assert.equal(new Set(first.turns.map(({ status }) => status)), new Set(["accepted"]))
      const stored = yield* events("big")
      assert.ok(stored.length > 2 && stored.length < 8, `${stored.length} commits`)
      assert.equal(stored.flatMap(({ data }) => data.turns.map(({ text }: { text: string }) => text.split(" ")[0])), turns.map((_, n) => String(n)))
      const again = yield* receive({ conversation: "big", turns })
      assert.equal(new Set(again.turns.map(({ status }) => status)), new Set(["duplicate"]))
      assert.is((yield* events("big")).length, stored.length)
    }).pipe(Effect.provide(ingestor()), Effect.provide(logOn(url)))
  }), 40_000)

effect(test, "another text under an id that is taken is refused, never passed over in silence", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    yield* Effect.gen(function*() {
      const own = (id: string, text: string) => ({ speaker: "Ana", id, text, time: "2026-03-02T18:04:00Z" })
      const first = yield* receive({ conversation: "c", turns: [own("1", "At noon."), own("2", "Bring the drill."), own("2", "Bring the saw."), own("1", "At noon.")] })
      assert.equal(first.turns.map(({ status }) => status), ["accepted", "accepted", "rejected", "duplicate"])
      assert.match(first.turns[2]?.error ?? "", /id "2" is that of another turn.*id of its own/)
      const later = yield* receive({ conversation: "c", turns: [own("1", "At one."), { ...own("2", "Bring the drill."), time: undefined }, own("3", "Fine.")] })
      assert.equal(later.turns.map(({ status }) => status), ["rejected", "duplicate", "accepted"])
      assert.equal((yield* receive({ conversation: "other", turns: [own("1", "At one.")] })).turns.map(({ status }) => status), ["accepted"])
      assert.equal((yield* events("c")).flatMap(({ data }) => data.turns.map(({ text }: { text: string }) => text)), ["At noon.", "Bring the drill.", "Fine."])
    }).pipe(Effect.provide(ingestor()), Effect.provide(logOn(url)))
  }), 20_000)

effect(test, "two ingestors at once take each turn once and keep the order of each request", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    yield* Effect.gen(function*() {
      const send = (from: number) => receive({ conversation: "c", turns: Array.from({ length: 5 }, (_, n) => say(`number ${from * 5 + n}`)) })
      const all = Effect.forEach(Array.from({ length: 20 }, (_, n) => n), send, { concurrency: 4 })
      const [one, two] = yield* Effect.all([all.pipe(Effect.provide(ingestor())), all.pipe(Effect.provide(ingestor()))], { concurrency: 2 })
      const accepted = [...one, ...two].flatMap(({ turns }) => turns).filter(({ status }) => status === "accepted").map(({ id }) => id)
      const stored = (yield* events("c")).flatMap(({ data }) => data.turns as ReadonlyArray<{ id: string; text: string }>)
      assert.equal(stored.length, 100)
      assert.equal(new Set(accepted), new Set(stored.map(({ id }) => id)))
      assert.is(accepted.length, 100)
    }).pipe(Effect.provide(logOn(url)))
  }), 40_000)

effect(test, "the reply's position is behind everything it acknowledges", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const { lastPosition } = yield* receive({ turns: ["a", "b", "c"].map((conversation) => ({ ...say("hello"), conversation })), close: true })
      assert.is(lastPosition, `memory:0:0:${yield* log.head("MEMORY")}`)
      const empty = yield* receive({ turns: [{ nonsense: true }] })
      assert.is(empty.lastPosition, "memory:0:0:0")
    }).pipe(Effect.provide(ingestor()), Effect.provide(logOn(url)))
  }), 20_000)

test.run()
