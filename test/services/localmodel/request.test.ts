/** Chat requests are checked at the edge: what cannot be served is refused with a reason, never served differently in silence. */
import { Result } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { readChatRequest, samplerSeed } from "#services/localmodel/request"

const plain = { model: "local", messages: [{ role: "user", content: "Hello" }] }
const read = (body: unknown) => readChatRequest(typeof body === "string" ? body : JSON.stringify(body))
const accepted = (body: unknown) => Result.getOrThrow(read(body))
const refusal = (body: unknown) => {
  const result = read(body)
  if (Result.isSuccess(result)) throw new Error(`accepted: ${JSON.stringify(result.success)}`)
  return result.failure
}

test("a request without settings gets the usual ones", () => {
  const { messages, ...rest } = accepted(plain)
  assert.equal(messages, [{ role: "user", text: "Hello" }])
  assert.equal(rest, { model: "local", temperature: 1, topP: 1, maxTokens: 512, seed: undefined, stops: [], grammar: undefined, stream: false, includeUsage: false })
})

test("null counts as left out, as clients send it", () => {
  assert.is(accepted({ ...plain, temperature: null, seed: null, stop: null, max_tokens: null, tools: null }).temperature, 1)
})

test("parts of text become one text, and a developer speaks as the system", () => {
  const { messages } = accepted({ model: "local", messages: [{ role: "developer", content: [{ type: "text", text: "Be " }, { type: "text", text: "brief." }] }] })
  assert.equal(messages, [{ role: "system", text: "Be brief." }])
})

test("max_completion_tokens goes before max_tokens", () => {
  assert.is(accepted({ ...plain, max_tokens: 5, max_completion_tokens: 7 }).maxTokens, 7)
  assert.is(accepted({ ...plain, max_tokens: 5 }).maxTokens, 5)
})

test("fields of no concern here are let through", () => {
  assert.is(accepted({ ...plain, user: "u", chat_template_kwargs: { enable_thinking: false } }).model, "local")
})

test("what is not JSON is named so", () => {
  for (const body of ["", "{", "{\"model\": \"local\",", "<html>"]) assert.is(refusal(body).code, "invalid_json", body)
})

const refused: ReadonlyArray<readonly [string, object | null]> = [
  ["no object", null],
  ["no messages", { model: "local" }],
  ["empty messages", { ...plain, messages: [] }],
  ["no model", { messages: plain.messages }],
  ["an unknown role", { ...plain, messages: [{ role: "judge", content: "x" }] }],
  ["an image", { ...plain, messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] }],
  ["a negative temperature", { ...plain, temperature: -0.1 }],
  ["a temperature as text", { ...plain, temperature: "0.7" }],
  ["top_p above one", { ...plain, top_p: 1.01 }],
  ["no tokens", { ...plain, max_tokens: 0 }],
  ["half a token", { ...plain, max_tokens: 1.5 }],
  ["a seed with a fraction", { ...plain, seed: 0.5 }],
  ["an empty stop text", { ...plain, stop: "" }],
  ["too many stop texts", { ...plain, stop: Array.from({ length: 17 }, String) }],
  ["two choices", { ...plain, n: 2 }],
  ["tools", { ...plain, tools: [{ type: "function", function: { name: "f" } }] }],
  ["log probabilities", { ...plain, logprobs: true }],
  ["a penalty", { ...plain, presence_penalty: 1 }],
  ["an unknown format", { ...plain, response_format: { type: "yaml" } }],
  ["a schema left out", { ...plain, response_format: { type: "json_schema" } }]
]
for (const [what, body] of refused) {
  test(`${what} is refused with status 400`, () => {
    const { code, message, status } = refusal(body)
    assert.is(status, 400)
    assert.is(code, "invalid_request")
    assert.ok(message.length > 20)
  })
}

test("the refusal names the field", () => {
  assert.match(refusal({ ...plain, temperature: 9 }).message, /temperature/)
  assert.match(refusal({ ...plain, messages: [{ role: "judge", content: "x" }] }).message, /messages.*role/)
})

test("formats become grammars", () => {
  assert.match(accepted({ ...plain, response_format: { type: "json_object" } }).grammar ?? "", /^root ::= anyobject/)
  assert.is(accepted({ ...plain, response_format: { type: "text" } }).grammar, undefined)
  const schema = { type: "object", properties: { verdict: { enum: ["yes", "no"] } }, required: ["verdict"] }
  assert.match(accepted({ ...plain, response_format: { type: "json_schema", json_schema: { name: "judge", schema } } }).grammar ?? "", /verdict/)
})

test("a schema that is none is refused by its own code", () => {
  assert.is(refusal({ ...plain, response_format: { type: "json_schema", json_schema: { schema: 5 } } }).code, "invalid_schema")
})

test("seeds of any size differ and never become the sampler's own draw", () => {
  const seeds = [0, 1, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER, 0xffffffff]
  const bits = seeds.map(samplerSeed)
  assert.is(new Set(bits).size, seeds.length)
  for (const value of bits) assert.ok(Number.isInteger(value) && value >= 0 && value < 0xffffffff)
})

test.run()
