import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { type ImportedTurn, importTurns } from "#shared/importers/import-turns"
import { RejectedTurn } from "#shared/importers/rejected-turn"
import { normaliseTurn } from "#services/ingestor/normalise/turn"

const test = suite("importers")
const bytes = new TextEncoder()

async function* inPieces(content: string | Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  const whole = typeof content === "string" ? bytes.encode(content) : content
  for (let i = 0; i < whole.length; i += size) yield whole.subarray(i, i + size)
}
const read = async (content: string | Uint8Array, size = 7, isLive = false): Promise<ReadonlyArray<ImportedTurn | RejectedTurn>> => {
  const found: Array<ImportedTurn | RejectedTurn> = []
  for await (const one of importTurns(inPieces(content, size), isLive)) found.push(one)
  return found
}
const raws = async (content: string, size = 7): Promise<ReadonlyArray<unknown>> =>
  (await read(content, size)).map((one) => (one instanceof RejectedTurn ? { line: one.line, error: one.error } : one.raw))
const refusal = async (content: string | Uint8Array): Promise<string> => {
  try {
    await read(content)
  } catch (error) {
    assert.is((error as { _tag?: string })._tag, "NotImportable")
    return (error as Error).message
  }
  throw new Error("was imported")
}

const own = `{"user":"mira","conversation":"c1","speaker":"user","time":"2026-03-02T18:04:00Z","text":"Grüße, I fold maps 🗺️"}`

test("metamem lines are read with their places, whatever the pieces they arrive in", async () => {
  const file = `\ufeff\n${own}\r\n\n${own.replace("c1", "c2")}`
  for (const size of [1, 3, 64, 10_000]) {
    const found = await read(file, size) as ReadonlyArray<ImportedTurn>
    assert.equal(found.map(({ line }) => line), [2, 4])
    assert.equal(found[0]?.raw, JSON.parse(own))
  }
})

test("a bad line is rejected in its place and the others are read", async () => {
  const found = await read(`{broken\n${own}\n[1,2]\n"x"\n{"a":1}\n${own}\n`)
  assert.equal(found.map((one) => (one instanceof RejectedTurn ? `${one.line} rejected` : `${one.line}`)), ["1 rejected", "2", "3 rejected", "4 rejected", "5 rejected", "6"])
  assert.match((found[0] as RejectedTurn).error, /not valid JSON/)
  assert.match((found[4] as RejectedTurn).error, /neither a turn nor a conversation.*metamem JSONL/)
})

test("a bad first line costs itself alone where more lines come", async () => {
  const file = `half a line\n${own}\n`
  const places = (found: ReadonlyArray<ImportedTurn | RejectedTurn>) => found.map((one) => (one instanceof RejectedTurn ? `${one.line} rejected` : `${one.line}`))
  assert.equal(places(await read(file, 1_000)), ["1 rejected", "2"])
  assert.equal(places(await read(file, 3, true)), ["1 rejected", "2"])
})

test("a live stream may hold nothing, and a line is given before the next one comes", async () => {
  assert.equal(await read("", 7, true), [])
  let sent = 0
  async function* typing(): AsyncGenerator<Uint8Array> {
    for (; sent < 3; sent++) yield bytes.encode(`${own}\n`)
  }
  const turns = importTurns(typing(), true)
  await turns.next()
  assert.is(sent, 0)
  await turns.next()
  assert.is(sent, 1)
})

test("a line that is still being written is read when the stream ends", async () => {
  assert.is((await read(own)).length, 1)
})

const chat = {
  messages: [
    { role: "system", content: "Be kind." },
    { role: "user", content: "Hi, I'm Mira." },
    { role: "assistant", content: [{ type: "text", text: "Hello" }, { type: "image_url", image_url: {} }, { type: "text", text: "Mira" }] },
    { role: "assistant", content: null, tool_calls: [] },
    { role: "tool", content: "42" }
  ]
}

test("an OpenAI chat is read as JSON over lines, as one line, in a list and as bare messages", async () => {
  for (const content of [JSON.stringify(chat, null, 2), JSON.stringify(chat), JSON.stringify([chat]), `${JSON.stringify(chat)}\n${JSON.stringify(chat)}`]) {
    const found = await raws(content) as ReadonlyArray<{ role: string; text: string; conversation: string }>
    assert.equal(found.slice(0, 2).map(({ role, text }) => [role, text]), [["user", "Hi, I'm Mira."], ["assistant", "Hello\nMira"]])
    assert.match(found[0]?.conversation ?? "", /^openai-[0-9a-f]{16}$/)
  }
  assert.equal(await raws(JSON.stringify(chat.messages)), [{ role: "user", text: "Hi, I'm Mira." }, { role: "assistant", text: "Hello\nMira" }])
})

test("an OpenAI chat keeps its own id, user and time", async () => {
  assert.equal(await raws(JSON.stringify({ id: "chat-9", user: "mira", created: 1_700_000_000, messages: [{ role: "user", content: "x" }] })), [
    { user: "mira", time: 1_700_000_000, role: "user", text: "x", conversation: "chat-9" }
  ])
})

const node = (id: string, parent: string | null, children: ReadonlyArray<string>, role?: string, parts: ReadonlyArray<unknown> = [], more: object = {}) => ({
  id,
  parent,
  children,
  message: role === undefined ? null : { id: `m-${id}`, author: { role }, content: { content_type: "text", parts }, create_time: 1_700_000_000.5, ...more }
})
const exported = {
  title: "Maps",
  conversation_id: "conv-1",
  create_time: 1_700_000_000,
  current_node: "e",
  mapping: {
    root: node("root", null, ["s"]),
    s: node("s", "root", ["a"], "system", ["hidden"]),
    a: node("a", "s", ["b", "c"], "user", ["How old is it?"]),
    b: node("b", "a", [], "assistant", ["An abandoned answer."]),
    c: node("c", "a", ["d"], "assistant", ["1788.", { asset_pointer: "file://x" }]),
    d: node("d", "c", ["t"], "user", ["Thanks, I'm Mira."]),
    t: node("t", "d", ["e"], "tool", ["search result"]),
    e: node("e", "t", [], "assistant", ["You're welcome."], { recipient: "all" })
  }
}

test("a ChatGPT export gives the branch last shown, without system, tool and hidden messages", async () => {
  const wanted = ["How old is it?", "1788.", "Thanks, I'm Mira.", "You're welcome."]
  for (const conversation of [exported, { ...exported, current_node: undefined }, { ...exported, current_node: "gone" }]) {
    const found = await raws(JSON.stringify([conversation, conversation], null, 1), 50) as ReadonlyArray<{ text: string; id: string; conversation: string; time: number }>
    assert.equal(found.map(({ text }) => text), [...wanted, ...wanted])
    assert.equal([found[0]?.id, found[0]?.conversation, found[0]?.time], ["m-a", "conv-1", 1_700_000_000.5])
  }
})

test("what was spoken to ChatGPT is read, and a message without a time stands behind the one before it", async () => {
  const spoken = [{ content_type: "audio_transcription", text: "My dentist is Doctor Okafor.", direction: "in" }, { content_type: "audio_asset_pointer" }]
  const said = {
    conversation_id: "v",
    create_time: 100,
    current_node: "c",
    mapping: {
      a: node("a", null, ["b"], "user", spoken, { create_time: 105 }),
      b: node("b", "a", ["c"], "assistant", ["Noted."], { create_time: null }),
      c: node("c", "b", [], "user", ["Thanks."], { create_time: 110 })
    }
  }
  const found = await raws(JSON.stringify([said])) as ReadonlyArray<{ text: string; time: number }>
  assert.equal(found.map(({ text, time }) => [text, time]), [["My dentist is Doctor Okafor.", 105], ["Noted.", 105], ["Thanks.", 110]])
})

test("a mapping that runs in a circle ends", async () => {
  const circle = { mapping: { a: node("a", "b", ["b"], "user", ["x"]), b: node("b", "a", ["a"], "assistant", ["y"]) }, current_node: "b", id: "c" }
  assert.is((await read(JSON.stringify([circle]))).length, 2)
  assert.is((await read(JSON.stringify([{ ...circle, current_node: null }, exported]))).length, 4)
})

test("a Claude export gives human and assistant with their ids and times", async () => {
  const claude = {
    uuid: "u-1",
    name: "Maps",
    chat_messages: [
      { uuid: "m1", sender: "human", text: "I fold maps.", created_at: "2026-03-02T18:04:00.000000Z" },
      { uuid: "m2", sender: "assistant", text: "", content: [{ type: "thinking", thinking: "hm" }, { type: "text", text: "Nice." }], created_at: "2026-03-02T18:04:05.000000Z" },
      { uuid: "m3", sender: "assistant", text: "" }
    ]
  }
  assert.equal(await raws(JSON.stringify([claude])), [
    { conversation: "u-1", role: "user", text: "I fold maps.", time: "2026-03-02T18:04:00.000000Z", id: "m1" },
    { conversation: "u-1", role: "assistant", text: "Nice.", time: "2026-03-02T18:04:05.000000Z", id: "m2" }
  ])
})

test("of a Claude conversation with edited messages the branch last shown is taken", async () => {
  const message = (uuid: string, parent: string | undefined, text: string) => ({ uuid, sender: "human", text, ...(parent === undefined ? {} : { parent_message_uuid: parent }) })
  const chat_messages = [
    message("a1", "root", "I live in Oslo."),
    message("a2", "a1", "Oslo is cold."),
    message("b1", "root", "I live in Bergen."),
    message("b2", "b1", "Bergen is wet."),
    message("c", "not in the file", "Kept."),
    message("d", undefined, "Kept too.")
  ]
  const ids = async (more: object) => (await raws(JSON.stringify([{ uuid: "u-1", chat_messages, ...more }]))).map((raw) => (raw as { readonly id: string }).id)
  assert.equal(await ids({}), ["b1", "b2", "c", "d"])
  assert.equal(await ids({ current_leaf_message_uuid: "a2" }), ["a1", "a2", "c", "d"])
})

test("what importers give passes the check of raw turns", async () => {
  for (const content of [JSON.stringify([exported]), own, JSON.stringify(chat)]) {
    for (const { raw } of await read(content) as ReadonlyArray<ImportedTurn>) {
      Result.getOrThrow(normaliseTurn(raw, { tenant: "local", user: "mira", conversation: "d" }))
    }
  }
})

for (const [content, wanted] of [
  ["", /empty/],
  [" \n ", /empty/],
  ["[]", /empty list/],
  ["hello world", /begins with "hello/],
  ["[1, 2]", /first element holds neither/],
  ["[{\"a\": 1}]", /first element holds neither.*Claude export/],
  ["{\n  \"a\": 1\n}", /first element holds neither/],
  ["{\n  \"messages\": [\n", /not valid JSON/],
  [`${JSON.stringify({ format: "metamem-bundle", version: 1, label: "user mira of local" })}\n{"subject":"memory.local.mira.c.ingestor"}\n`, /a bundle.*metamem users import.*metamem import/],
  [JSON.stringify([{ haystack_sessions: [] }]), /longmemeval data set.*metamem build/],
  [JSON.stringify([{ conversation: { speaker_a: "A" }, qa: [] }]), /locomo/],
  [JSON.stringify({ chat_id: 1, batches: [] }), /beam/]
] as const) test(`${JSON.stringify(content).slice(0, 50)} is refused with what it is`, async () => assert.match(await refusal(content), wanted))

test("a line with bytes that are no UTF-8 is refused, its neighbours are taken, and a written replacement sign is a sign like any other", async () => {
  const written = own.replace("maps", "m\ufffdps")
  const broken = Buffer.concat([Buffer.from(own.slice(0, -4)), Uint8Array.of(0xe9), Buffer.from(own.slice(-4))])
  for (const size of [1, 2, 3, 400, 10_000]) {
    assert.equal((await read(`${written}\n${own}`, size)).map((one) => one instanceof RejectedTurn), [false, false], `pieces of ${size}`)
    const found = await read(Buffer.concat([Buffer.from(`${written}\n`), broken, Buffer.from(`\n${written}`)]), size)
    assert.equal(found.map((one) => (one instanceof RejectedTurn ? one.error.slice(0, 35) : one.line)), [1, "it holds bytes that are no UTF-8, a", 3])
  }
  const cut = await read(Buffer.concat([Buffer.from(`[${own},`), broken, Buffer.from("]")]))
  assert.equal(cut.map((one) => one instanceof RejectedTurn), [false, true])
})

test("archives and UTF-16 are named with the mend", async () => {
  assert.match(await refusal(Uint8Array.of(0x50, 0x4b, 3, 4, 0)), /zip.*unpack/)
  assert.match(await refusal(Uint8Array.of(0x1f, 0x8b, 8, 0)), /gzip/)
  assert.match(await refusal(Uint8Array.of(0xff, 0xfe, 0x7b, 0)), /UTF-16/)
})

test("an export that was cut off gives what is whole and says where it ends", async () => {
  const whole = JSON.stringify([exported, exported])
  const found = await read(whole.slice(0, -40), 100)
  assert.is(found.filter((one) => !(one instanceof RejectedTurn)).length, 4)
  assert.match((found.at(-1) as RejectedTurn).error, /cut off/)
  assert.is((found.at(-1) as RejectedTurn).line, 2)
})

test("brackets, commas and quotes inside strings do not cut an element", async () => {
  const text = `a ] } , [ { " \\ \\" end`
  assert.equal(await raws(JSON.stringify([{ role: "user", content: text }, { role: "user", content: "b" }]), 1), [{ role: "user", text }, { role: "user", text: "b" }])
})

test("a large export is read in bounded memory", async () => {
  async function* large(): AsyncGenerator<Uint8Array> {
    const one = bytes.encode(JSON.stringify({ uuid: "u", chat_messages: Array.from({ length: 100 }, (_, i) => ({ sender: "human", text: `${i} ${"x".repeat(1000)}` })) }))
    yield bytes.encode("[")
    for (let i = 0; i < 300; i++) {
      if (i > 0) yield bytes.encode(",")
      yield one
    }
    yield bytes.encode("]")
  }
  let count = 0
  let peak = 0
  const before = process.memoryUsage().heapUsed
  for await (const _ of importTurns(large())) {
    count += 1
    if (count % 500 === 0) peak = Math.max(peak, process.memoryUsage().heapUsed - before)
  }
  assert.is(count, 30_000)
  assert.ok(peak < 150e6)
})

test.run()
