import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { turnId } from "#services/ingestor/normalise/identity"
import { type NormalTurn, normaliseRequest, normaliseTurn, textLimitBytes, type TurnDefaults } from "#services/ingestor/normalise/turn"

const test = suite("turns as they come in")
/** Processor time of this process: a busy machine does not make the code slower. */
const cpuMs = (): number => (process.cpuUsage().user + process.cpuUsage().system) / 1000
const defaults: TurnDefaults = { tenant: "local", user: "mira", conversation: "c1" }
const raw = { speaker: "user", text: "I fold maps.", time: "2026-03-02T18:04:00Z" }
const read = (value: unknown, of: TurnDefaults = defaults): NormalTurn => Result.getOrThrow(normaliseTurn(value, of))
const refusal = (value: unknown, of: TurnDefaults = defaults): string => {
  const result = normaliseTurn(value, of)
  if (Result.isSuccess(result)) throw new Error("was taken")
  return `${result.failure.reason}: ${result.failure.error}`
}

test("a turn is read by either name of each field", () => {
  const a = read(raw)
  const b = read({ role: "user", content: "I fold maps.", timestamp: "2026-03-02T18:04:00Z", user: "mira", conversation: "c1" })
  assert.equal(a, b)
  assert.equal(a, { user: "mira", conversation: "c1", id: a.id, ownId: false, speaker: "user", text: "I fold maps.", time: "2026-03-02T18:04:00.000Z" })
})

test("the id depends on every part sent and on nothing else", () => {
  const ids = [
    read(raw).id,
    read(raw, { ...defaults, tenant: "other" }).id,
    read({ ...raw, user: "tom" }).id,
    read({ ...raw, conversation: "c2" }).id,
    read({ ...raw, speaker: "assistant" }).id,
    read({ ...raw, time: "2026-03-02T18:04:01Z" }).id,
    read({ ...raw, text: "I fold maps!" }).id
  ]
  assert.is(new Set(ids).size, ids.length)
  assert.is(read({ ...raw, has_answer: true }).id, ids[0])
  assert.match(ids[0] as string, /^[0-9a-f]{32}$/)
})

test("characters cannot wander from one part of the identity to the next", () => {
  const sent = { speaker: "user", sentTime: "", text: "x", occurrence: 0 }
  assert.is.not(
    turnId({ tenant: "a", user: "bc", conversation: "d" }, sent),
    turnId({ tenant: "ab", user: "c", conversation: "d" }, sent)
  )
})

test("equal turns in one request are told apart, and a repeated request gives the same ids", () => {
  const request = [raw, raw, { ...raw, text: "else" }, raw]
  const first = normaliseRequest(request, defaults).turns.map(({ id }) => id)
  assert.is(new Set(first).size, 4)
  assert.equal(normaliseRequest(request, defaults).turns.map(({ id }) => id), first)
  assert.is(first[0], read(raw).id)
})

test("a client's own id is kept as it is", () => {
  const turn = read({ ...raw, id: "msg.7 * > 🗺️" })
  assert.is(turn.id, "msg.7 * > 🗺️")
  assert.ok(turn.ownId)
  assert.is(read({ ...raw, id: 7 }).id, "7")
})

test("ids with dots, stars, spaces, quotes and emoji are allowed", () => {
  for (const id of ["a.b", "*", ">", "a b", "🗺️", "'; DROP TABLE x; --", "../../etc", "مستخدم"]) assert.is(read({ ...raw, user: id }).user, id)
})

test("a turn without a time is taken and has none", () => {
  const turn = read({ speaker: "user", text: "hi" })
  assert.not("time" in turn)
})

test("roles and speakers are told apart, whatever their case", () => {
  assert.is(read({ ...raw, speaker: "User" }).speaker, "user")
  assert.is(read({ content: "x", role: "ASSISTANT" }).speaker, "assistant")
  assert.is(read({ ...raw, speaker: " Caroline " }).speaker, "Caroline")
  assert.is(read({ role: "user", speaker: "Tom", text: "x" }).speaker, "Tom")
})

for (const [value, wanted] of [
  [null, /^malformed/],
  ["hello", /^malformed.*string/],
  [[raw], /^malformed.*list/],
  [{ ...raw, role: "wizard" }, /^speaker.*wizard.*"user" or "assistant"/],
  [{ text: "x" }, /^speaker: no speaker/],
  [{ ...raw, speaker: 7.5 }, /^speaker/],
  [{ ...raw, speaker: "  " }, /^speaker.*empty/],
  [{ speaker: "user" }, /^text: no text/],
  [{ ...raw, text: "" }, /^text: text is empty/],
  [{ ...raw, text: " \n\t " }, /^text: text holds nothing/],
  [{ ...raw, text: "\u0000\u0007" }, /^text: text holds nothing/],
  [{ ...raw, text: { a: 1 } }, /^text.*object/],
  [{ ...raw, time: "2026-02-30" }, /^time.*does not exist/],
  [{ ...raw, time: "soon" }, /^time.*not a time/],
  [{ ...raw, time: true }, /^time.*boolean/],
  [{ ...raw, user: "" }, /^user.*empty/],
  [{ ...raw, user: "a\nb" }, /^user.*control/],
  [{ ...raw, conversation: "\ud800" }, /^conversation.*surrogate/],
  [{ ...raw, conversation: "🗺".repeat(65) }, /^conversation.*260 bytes; at most 256/],
  [{ ...raw, id: "x".repeat(257) }, /^id.*257 bytes/],
  [{ ...raw, id: {} }, /^id.*object/]
] as const) {
  test(`${JSON.stringify(value)?.slice(0, 60)} is refused with its reason`, () => assert.match(refusal(value), wanted as RegExp))
}

test("a turn without user or conversation is refused and names the field", () => {
  assert.match(refusal(raw, { tenant: "local", conversation: "c" }), /^user: no user/)
  assert.match(refusal(raw, { tenant: "local", user: "u" }), /^conversation: no conversation/)
})

test("a text of just the limit is taken and one byte more is refused", () => {
  assert.is(read({ ...raw, text: "x".repeat(textLimitBytes) }).text.length, textLimitBytes)
  assert.match(refusal({ ...raw, text: "x".repeat(textLimitBytes + 1) }), /^text.*split it/)
  assert.match(refusal({ ...raw, text: "é".repeat(textLimitBytes / 2 + 1) }), /^text/)
})

test("control characters leave a text, line ends and tabs stay, half surrogates are replaced", () => {
  assert.is(read({ ...raw, text: "a\u0000b\u001b[31m\tc\r\nd\u0085\u007f" }).text, "ab[31m\tc\r\nd")
  assert.is(read({ ...raw, text: "x\ud83d" }).text, "x\ufffd")
  assert.is(read({ ...raw, text: "שלום 你好 🗺️ \u202eabc" }).text, "שלום 你好 🗺️ \u202eabc")
})

test("a bad turn is reported with its line and its neighbours pass", () => {
  const { turns, rejected } = normaliseRequest([raw, 5, { ...raw, text: "b" }, { ...raw, time: "never" }], defaults)
  assert.is(turns.length, 2)
  assert.equal(rejected.map(({ line, reason }) => [line, reason]), [[2, "malformed"], [4, "time"]])
})

test("the zone of the conversation is used for times without one", () => {
  assert.is(read({ ...raw, time: "2026-03-02T18:04" }, { ...defaults, zone: "Europe/Berlin" }).time, "2026-03-02T17:04:00.000Z")
})

test("five thousand turns are read within a second", () => {
  const request = Array.from({ length: 5000 }, (_, i) => ({ ...raw, text: `I fold map number ${i}. `.repeat(10) }))
  const started = cpuMs()
  assert.is(normaliseRequest(request, defaults).turns.length, 5000)
  assert.ok(cpuMs() - started < 1000)
})

test.run()
