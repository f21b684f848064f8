import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { Effect, Layer, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import { memoryFilter, parseMemorySubject } from "#shared/eventlog/subjects"
import { ingest, numberRepeats, refusalLines, requestsOf } from "#services/cli/ingest"
import * as Ingestor from "#services/ingestor/actor"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("metamem ingest")

const withIngestor = (name: string, body: (tools: { readonly file: (name: string, content: string | Uint8Array) => string; readonly run: ReturnType<typeof commandRunner> }) => Effect.Effect<void, unknown, EventLog>) =>
  effect(test, name, () =>
    Effect.gen(function*() {
      const { home, url } = yield* testServer
      const log = JetStreamLog.layer.pipe(Layer.provideMerge(NatsConnection.layer({ url })))
      const file = (name: string, content: string | Uint8Array) => {
        writeFileSync(join(home, name), content)
        return join(home, name)
      }
      yield* body({ file, run: commandRunner([ingest], home, url) }).pipe(Effect.provide(Ingestor.layer.pipe(Layer.provideMerge(log))))
    }), 60_000)

const received = Effect.gen(function*() {
  const log = yield* EventLog
  const commits = yield* Stream.runCollect(log.read([memoryFilter({ actor: "ingestor" })]))
  return commits.flatMap(({ events, subject }) => {
    const { conversation, user } = parseMemorySubject(subject)
    return events.flatMap(({ data, type }) =>
      type === "TurnsReceived" ? (data as { turns: ReadonlyArray<{ speaker: string; text: string }> }).turns.map(({ speaker, text }) => `${user}/${conversation} ${speaker}: ${text}`) : [])
  })
})

const openai = { id: "chat-9", messages: [{ role: "system", content: "Be kind." }, { role: "user", content: "I fold maps." }, { role: "assistant", content: "Nice." }] }
const claude = { uuid: "u-1", chat_messages: [{ uuid: "m1", sender: "human", text: "I keep bees.", created_at: "2026-03-02T18:04:00Z" }] }
const locomo = [{
  sample_id: "s1",
  conversation: {
    speaker_a: "Mira",
    speaker_b: "Tom",
    session_1_date_time: "1:56 pm on 8 May, 2023",
    session_1: [{ speaker: "Mira", dia_id: "D1:1", text: "My kiln arrived." }, { speaker: "Tom", dia_id: "D1:2", text: "What will you fire first?" }]
  },
  qa: [{ question: "What arrived?", answer: "a kiln", evidence: ["D1:1"], category: 1 }]
}]

withIngestor("chats and exports are taken by their content, and taking them again adds nothing", ({ file, run }) =>
  Effect.gen(function*() {
    const chat = file("chat.json", JSON.stringify(openai, null, 2))
    const first = yield* run("ingest", chat, "--user", "mira")
    assert.equal([first.error, first.json.received, first.json.duplicates, first.json.rejected], ["", 2, 0, []])
    assert.match(first.json.lastPosition, /^memory:0:0:\d+$/)
    assert.is((yield* run("ingest", chat, "--user", "mira")).json.duplicates, 2)
    assert.is((yield* run("ingest", file("export.json.gz", gzipSync(JSON.stringify([claude]))), "--user", "mira")).json.received, 1)
    assert.equal([...(yield* received)].sort(), ["mira/chat-9 assistant: Nice.", "mira/chat-9 user: I fold maps.", "mira/u-1 user: I keep bees."])
  }))

withIngestor("a data set gives its conversations and nothing of its questions", ({ file, run }) =>
  Effect.gen(function*() {
    const taken = yield* run("ingest", file("set.json", JSON.stringify(locomo)), "--close")
    assert.equal([taken.error, taken.json.received], ["", 2])
    const turns = yield* received
    assert.is(turns.length, 2)
    assert.ok(turns.every((turn) => /Mira: My kiln|Tom: What will/.test(turn) && !turn.includes("D1:1")))
  }))

withIngestor("bad lines are told by number and do not hold the others back", ({ file, run }) =>
  Effect.gen(function*() {
    const turn = (text: string) => JSON.stringify({ user: "mira", conversation: "c", speaker: "user", text })
    const taken = yield* run("ingest", file("turns.jsonl", ["no json", turn("a"), "", JSON.stringify({ user: "mira", speaker: "user", text: "x", time: "yesterday" }), turn("b")].join("\n")))
    assert.match(taken.error, /refused: 2; the other 2 are in the log/)
    assert.equal([taken.json.received, taken.json.rejected.map(({ line }: { line: number }) => line)], [2, [1, 4]])
    const nobody = yield* run("ingest", file("nobody.jsonl", JSON.stringify({ speaker: "user", text: "whose?" })))
    assert.match(nobody.error, /no turn was taken/)
    assert.match(nobody.json.rejected[0].error, /no user; .*--user/)
    assert.match((yield* run("ingest", file("empty.json", "[]"))).error, /empty list/)
    assert.match((yield* run("ingest", "/nowhere/at-all.json")).error, /cannot be read/)
  }))

withIngestor("turns that nobody is named for are refused with the flag that names somebody, others beside them are taken", ({ file, run }) =>
  Effect.gen(function*() {
    for (const content of [openai, [claude]]) {
      const path = file("export.json", JSON.stringify(content))
      const { error, json } = yield* run("ingest", path)
      assert.equal([error, json.received, new Set(json.rejected.map(({ error }: { error: string }) => error)).size], ["no turn was taken", 0, 1])
      assert.match(refusalLines(json.rejected).join("\n"), /^  (?:2 times, first in )?line 1: no user; say with --user NAME/)
      assert.is((yield* run("ingest", path, "--user", "tom")).error, "")
    }
    const mixed = file("mixed.jsonl", [JSON.stringify({ speaker: "user", text: "a" }), JSON.stringify({ user: "mira", speaker: "user", text: "b" }), JSON.stringify({ user: null, speaker: "user", text: "c" })].join("\n"))
    const { json } = yield* run("ingest", mixed)
    assert.equal([json.received, json.rejected.map(({ line }: { line: number }) => line)], [1, [1, 3]])
    assert.equal((yield* run("ingest", mixed, "--user", "ada")).json.received, 2)
  }))

test("equal refusals are one line, and a few kinds are shown", () => {
  const rejected = [{ line: 1, error: "a" }, { line: 2, error: "b" }, { line: 4, error: "a" }]
  assert.equal(refusalLines(rejected), ["  2 times, first in line 1: a", "  line 2: b"])
  const many = refusalLines(Array.from({ length: 60 }, (_, line) => ({ line, error: `e${line % 30}` })))
  assert.equal([many.length, many.at(-1)], [21, "  … and 20 more; --json shows all"])
  assert.equal(refusalLines([]), [])
})

withIngestor("fields of turns that nothing reads are told with the number of turns that had them, those of exports are not", ({ file, run }) =>
  Effect.gen(function*() {
    const turn = (fields: object) => ({ user: "mira", conversation: "c", speaker: "user", ...fields })
    const turns = [turn({ text: "I keep bees.", said_at: "2025-03-01T09:09:00Z", mood: "calm" }), turn({ text: "I fold maps.", said_at: "2025-03-01T09:10:00Z", reply_to: null })]
    const ignored = [{ field: "said_at", turns: 2, meant: "time" }, { field: "mood", turns: 1 }]
    assert.equal((yield* run("ingest", file("lines.jsonl", turns.map((one) => JSON.stringify(one)).join("\n")))).json.ignored, ignored)
    assert.equal((yield* run("ingest", file("list.json", JSON.stringify(turns)))).json.ignored, ignored)
    assert.equal((yield* run("ingest", file("chat.json", JSON.stringify({ ...openai, model: "m" })), "--user", "mira")).json.ignored, [])
    assert.equal((yield* run("ingest", file("export.json", JSON.stringify([{ ...claude, name: "Bees" }])), "--user", "mira")).json.ignored, [])
  }))

withIngestor("what is said twice in one file is kept twice, however the file is cut, and once again is nothing new", ({ file, run }) =>
  Effect.gen(function*() {
    const lines = Array.from({ length: 1_203 }, (_, i) => JSON.stringify({ user: "mira", conversation: "c", speaker: "user", text: i % 400 === 0 ? "yes" : `turn ${i}` }))
    const path = file("repeats.jsonl", lines.join("\n"))
    assert.is((yield* run("ingest", path)).json.received, 1_203)
    assert.equal((yield* run("ingest", path)).json, { received: 0, duplicates: 1_203, rejected: [], lastPosition: (yield* run("ingest", path)).json.lastPosition, ignored: [] })
    assert.is((yield* received).filter((turn) => turn.endsWith(": yes")).length, 4)
  }))

test("requests are cut by number and by size, and a turn larger than one goes alone", () => {
  const turn = (text: string) => ({ line: 1, turn: { text } })
  assert.equal(requestsOf([]).length, 0)
  assert.equal(requestsOf(Array.from({ length: 1_001 }, () => turn("x"))).map(({ length }) => length), [500, 500, 1])
  assert.equal(requestsOf([turn("a"), turn("b".repeat(7_000_000)), turn("c"), turn("d".repeat(3_100_000)), turn("e".repeat(3_000_000))]).map(({ length }) => length), [1, 1, 2, 1])
})

test("turns with an id of their own are not numbered", () => {
  const number = numberRepeats()
  const own = { line: 1, turn: { id: "x", text: "a" } }
  assert.equal([number(own), number(own)], [own, own])
})

test.run()
