import { Effect, Layer, ManagedRuntime, Result, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import { parsePosition } from "#shared/eventlog/position"
import { memoryFilter, memorySubject } from "#shared/eventlog/subjects"
import { memoryActors, settled } from "#test/support/actors"
import { ask, change, memories, ready, receive, retrieve } from "#test/support/memory-client"
import { testServer } from "#test/support/nats"

const test = suite("memories from being said to being found, on real parts")
const actors = ManagedRuntime.make(Layer.unwrap(Effect.map(testServer, ({ home, url }) => memoryActors(url, home))))
test.before(() => actors.runPromise(ready))
test.after(() => actors.dispose())
type Parts = ManagedRuntime.ManagedRuntime.Services<typeof actors>
const it = (name: string, body: () => Effect.Effect<unknown, unknown, Parts>) => test(name, () => actors.runPromise(Effect.asVoid(body().pipe(Effect.timeout("30 seconds")))))

const say = (text: string, more: Record<string, unknown> = {}) => ({ speaker: "user", text, ...more })
const texts = (evidence: ReadonlyArray<{ readonly text: string }>): string => evidence.map(({ text }) => text).join(" | ")
const sequenceOf = (position: string): number => parsePosition(position)?.sequence ?? 0

it("what was said is found by its words as soon as it is acknowledged, and by its meaning soon after", () =>
  Effect.gen(function*() {
    const { lastPosition, turns } = yield* receive({ user: "ada", conversation: "c1", turns: [say("My grandmother's accordion is kept in the attic"), say("The weather is fine today"), say("I have to buy bread")] })
    assert.equal(turns.map(({ status }) => status), ["accepted", "accepted", "accepted"])
    const started = performance.now()
    const found = yield* retrieve({ user: "ada", question: "accordion", after: lastPosition })
    assert.match(texts(found.evidence), "accordion")
    assert.equal(found.behind, [])
    assert.ok(performance.now() - started < 5_000)
    yield* settled({ tenant: "local", user: "ada", conversation: "c1" })
    const meant = yield* retrieve({ user: "ada", question: "Which musical instrument is stored under the roof?", evidenceTokens: 60 })
    assert.match(texts(meant.evidence), "accordion")
  }))

it("turns sent again are known, whether in the same request, later, or one of them alone", () =>
  Effect.gen(function*() {
    const turns = [say("One lamp", { time: "2026-03-02T10:00:00Z" }), say("Two lamps", { time: "2026-03-02T10:01:00Z" }), { ...say("Three lamps"), id: "x-3" }, { ...say("Three lamps"), id: "x-3" }]
    const first = yield* receive({ user: "bob", conversation: "c1", turns })
    assert.equal(first.turns.map(({ status }) => status), ["accepted", "accepted", "accepted", "duplicate"])
    const log = yield* EventLog
    const head = yield* log.load(memorySubject({ tenant: "local", user: "bob", conversation: "c1" }, "ingestor"))
    const again = yield* receive({ user: "bob", conversation: "c1", turns })
    assert.equal(again.turns.map(({ id, status }) => [id, status]), first.turns.map(({ id }) => [id, "duplicate"]))
    const alone = yield* receive({ user: "bob", conversation: "c1", turns: turns.slice(1, 2) })
    assert.equal(alone.turns.map(({ status }) => status), ["duplicate"])
    assert.is((yield* log.load(memorySubject({ tenant: "local", user: "bob", conversation: "c1" }, "ingestor"))).length, head.length)
  }))

it("ids of clients are of one conversation, however they look", () =>
  Effect.gen(function*() {
    const said = [["a", "b", "Zinc spoons"], ["a", "a:b", "Brass spoons"], ["a:b", "c", "Copper spoons"], ["a", "b:c", "Silver spoons"], ["a:b", "a:b:c", "Golden spoons"], ["c1", "1", "Wooden spoons"], ["c2", "1", "Plastic spoons"]] as const
    let last = ""
    for (const [conversation, id, text] of said) {
      const reply = yield* receive({ user: "cleo", conversation, turns: [{ ...say(text), id }] })
      assert.equal(reply.turns.map(({ status }) => status), ["accepted"], text)
      last = reply.lastPosition
    }
    const found = yield* retrieve({ user: "cleo", question: "spoons", after: last })
    for (const [, , text] of said) assert.match(texts(found.evidence), text)
    assert.is(new Set((yield* memories("cleo")).map(({ id }) => id)).size, said.length)
  }))

it("two users of one conversation id, and one user of two tenants, never see each other's memories", () =>
  Effect.gen(function*() {
    const secret = say("The vault's number is 7319")
    yield* receive({ user: "dora", conversation: "shared", turns: [secret] })
    yield* receive({ tenant: "other", user: "emil", conversation: "shared", turns: [say("The vault's number is 2222")] })
    const { lastPosition } = yield* receive({ user: "emil", conversation: "shared", turns: [say("I like gardening"), secret] })
    for (const [tenant, user, wanted, unwanted] of [["local", "dora", "7319", "gardening"], ["local", "emil", "gardening", "2222"], ["other", "emil", "2222", "7319"], ["other", "dora", undefined, "vault"]] as const) {
      const { evidence } = yield* retrieve({ tenant, user, question: "What is the vault's number? I like gardening", after: lastPosition })
      if (wanted === undefined) assert.equal(evidence, [])
      else assert.match(texts(evidence), wanted)
      assert.not.match(texts(evidence), unwanted)
      assert.not.match(texts(yield* memories(user, tenant)), unwanted)
    }
    // Ids are of a user: an equal turn of another is another memory.
    const ids = new Set([...(yield* memories("dora")), ...(yield* memories("emil")), ...(yield* memories("emil", "other"))].map(({ id }) => id))
    assert.is(ids.size, 4)
  }))

it("late turns, in whatever order, stand at their own time", () =>
  Effect.gen(function*() {
    const at = (day: number) => `2026-03-${String(day).padStart(2, "0")}T10:00:00Z`
    for (const day of [9, 3, 6, 1]) yield* receive({ user: "fay", conversation: "c1", turns: [say(`Walk number ${day} along the river`, { time: at(day) })] })
    const { lastPosition } = yield* receive({ user: "fay", conversation: "c1", turns: [say("Walk number 5 along the river", { time: "2026-03-05T12:00:00+02:00" })], close: true })
    const { evidence } = yield* retrieve({ user: "fay", question: "walk along the river", after: lastPosition, kinds: ["turn"] })
    assert.equal(evidence.map(({ time }) => time.slice(8, 10)), ["01", "03", "05", "06", "09"])
    assert.is(evidence[2]?.time, "2026-03-05T10:00:00.000Z")
    const early = yield* retrieve({ user: "fay", question: "walk along the river", kinds: ["turn"], asOf: "2026-03-05T10:00:00Z" })
    assert.equal(early.evidence.map(({ time }) => time.slice(8, 10)), ["01", "03", "05"])
  }))

it("a question can be asked as of a position, of a time, and of a time without a zone, which is UTC", () =>
  Effect.gen(function*() {
    const first = yield* receive({ user: "gus", conversation: "c1", turns: [say("My bicycle is red", { time: "2026-01-01T10:00:00Z" })] })
    const second = yield* receive({ user: "gus", conversation: "c1", turns: [say("My bicycle is green now", { time: "2026-02-01T10:00:00Z" })] })
    yield* retrieve({ user: "gus", question: "bicycle", after: second.lastPosition })
    const as = (asOf: string) => Effect.map(retrieve({ user: "gus", question: "bicycle", asOf, kinds: ["turn"] }), ({ evidence }) => texts(evidence))
    assert.is(yield* as(first.lastPosition), "My bicycle is red")
    assert.is(yield* as("2026-01-15"), "My bicycle is red")
    assert.is(yield* as("2026-02-01T09:59"), "My bicycle is red")
    assert.is(yield* as("2026-02-01T10:00"), "My bicycle is red | My bicycle is green now")
    assert.is(yield* as(second.lastPosition), "My bicycle is red | My bicycle is green now")
    for (const nonsense of ["yesterday-ish", "metamem:0:0:7", "2026-02-30T00:00:00Z"]) {
      const refused = yield* Effect.result(retrieve({ user: "gus", question: "bicycle", asOf: nonsense }))
      assert.ok(Result.isFailure(refused), nonsense)
    }
    for (
      const [asOf, told] of [
        ["memory:0:0:999999", new RegExp(`beyond the end of the memory log, memory:0:0:${yield* (yield* EventLog).head("MEMORY")}$`)],
        ["memory:0:7:3", /in epoch 0 and shard 7; this log has epoch 0 and shard 0 alone, as in memory:0:0:3$/],
        ["memories:0:0:3", /log "memories", which there is not/]
      ] as const
    ) {
      assert.match((yield* Effect.flip(retrieve({ user: "gus", question: "bicycle", asOf }))).message, told)
    }
    for (const nonsense of ["tomorrow", "metamem:0:0:7"]) {
      const refused = yield* Effect.result(retrieve({ user: "gus", question: "bicycle", after: nonsense }))
      assert.ok(Result.isFailure(refused) && /position/.test(String(refused.failure)), nonsense)
    }
  }))

it("a position not reached within the deadline is answered all the same, and said", () =>
  Effect.gen(function*() {
    yield* receive({ user: "gus", conversation: "c1", turns: [say("My bicycle squeaks")] })
    const started = performance.now()
    const { behind } = yield* retrieve({ user: "gus", question: "bicycle", after: "memory:0:0:999999999", deadlineMs: 500 })
    assert.equal(behind.includes("words"), true)
    assert.ok(performance.now() - started < 10_000)
  }))

it("memories are listed the latest first, also those that came together", () =>
  Effect.gen(function*() {
    const said = (texts: ReadonlyArray<string>) => receive({ user: "lou", conversation: "c1", turns: texts.map((text) => ({ speaker: "user", text })) })
    yield* said(["one", "two"])
    const { lastPosition } = yield* said(["three", "four", "five"])
    yield* retrieve({ user: "lou", question: "one", after: lastPosition })
    assert.equal((yield* memories("lou")).map(({ text }) => text), ["five", "four", "three", "two", "one"])
  }))

it("a forgotten memory is left out until it is restored, and stands as of before", () =>
  Effect.gen(function*() {
    const of = { user: "hal", conversation: "c1" }
    const { lastPosition, turns } = yield* receive({ ...of, turns: [say("My locker code is 4417"), say("My locker is in the east wing")] })
    const id = turns[0]?.id ?? ""
    const found = (after: number, asOf?: string) =>
      Effect.map(retrieve({ user: "hal", question: "locker code", kinds: ["turn"], after: `memory:0:0:${after}`, ...(asOf === undefined ? {} : { asOf }) }), ({ evidence }) => evidence.some(({ memoryId }) => memoryId === id))
    assert.ok(yield* found(sequenceOf(lastPosition)))
    const forgotten = yield* change(of, { _tag: "Forget", memory: id }, "f1")
    assert.ok(forgotten.changed)
    assert.not(yield* found(forgotten.position))
    assert.ok(yield* found(forgotten.position, lastPosition))
    assert.not((yield* change(of, { _tag: "Forget", memory: id }, "f2")).changed)
    const restored = yield* change(of, { _tag: "Restore", memory: id }, "r1")
    assert.ok(restored.changed)
    assert.ok(yield* found(restored.position))
    assert.not((yield* change(of, { _tag: "Restore", memory: id }, "r1")).changed)
  }))

it("what was answered is recorded and never becomes memory", () =>
  Effect.gen(function*() {
    const of = { tenant: "local", user: "ida", conversation: "c1" }
    const { lastPosition } = yield* receive({ ...of, turns: [say("My canoe is called Wren"), say("I bought the canoe in Turku")], close: true })
    yield* settled(of)
    const before = (yield* memories("ida")).length
    const reply = yield* ask({ user: "ida", question: "What is my canoe called?", after: lastPosition })
    // There is no reader here: the evidence itself is the answer, and it says so.
    assert.equal(reply.behind, ["reader"])
    assert.match(reply.answer, "Wren")
    const log = yield* EventLog
    const answers = yield* log.load(memorySubject({ tenant: "local", user: "ida", conversation: "answers" }, "retriever"))
    assert.equal(answers.map(({ events }) => events.map(({ type }) => type)), [["AnswerGiven"]])
    yield* receive({ ...of, turns: [say("Goodbye")], close: true })
    yield* settled(of)
    yield* Effect.sleep(300)
    const after = yield* memories("ida")
    assert.equal(after.filter(({ text }) => text !== "Goodbye").length, before)
    const conversations = (yield* Stream.runCollect(log.read([memoryFilter({ tenant: "local", user: "ida", conversation: "answers" })]))).map(({ subject }) => subject)
    assert.equal(conversations, [memorySubject({ tenant: "local", user: "ida", conversation: "answers" }, "retriever")])
  }))

it("a question nothing bears on is answered without a reader", () =>
  Effect.gen(function*() {
    const reply = yield* ask({ user: "nobody at all", question: "Where is my hat?" })
    assert.equal([reply.evidence, reply.behind], [[], []])
    assert.match(reply.answer, /do not know/)
  }))

test.run()
