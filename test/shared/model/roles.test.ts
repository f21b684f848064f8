import { ConfigProvider, Effect, Redacted } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { settingList, settings } from "#shared/model/roles"
import { effect } from "#test/support/effect"

const test = suite("model roles")
const read = (environment: Record<string, string>) => settings.parse(ConfigProvider.fromUnknown(environment))

effect(test, "with nothing set no role has an endpoint, and limits have their defaults", () =>
  Effect.gen(function*() {
    const roles = yield* read({})
    assert.equal(roles.answer.urls, [])
    assert.is(roles.answer.model, undefined)
    assert.is(roles.judge.concurrency, 32)
    assert.is(roles.judge.timeoutMs, 120_000)
    assert.is(roles.consolidate.maxTokens, 4_096)
    assert.equal(roles.judge.price, { in: 0, out: 0 })
  }))

effect(test, "propose and consolidate follow reflect, reconcile follows extract, all others LLM", () =>
  Effect.gen(function*() {
    const roles = yield* read({
      METAMEM_LLM_URL: "http://llm:1",
      METAMEM_REFLECT_URL: "http://reflect:1/v1/",
      METAMEM_EXTRACT_URL: "https://extract/openai/v1",
      METAMEM_CONSOLIDATE_URL: "http://own:1"
    })
    assert.equal(roles.answer.urls, ["http://llm:1/v1"])
    assert.equal(roles.judge.urls, ["http://llm:1/v1"])
    assert.equal(roles.propose.urls, ["http://reflect:1/v1"])
    assert.equal(roles.reconcile.urls, ["https://extract/openai/v1"])
    assert.equal(roles.consolidate.urls, ["http://own:1/v1"])
  }))

effect(test, "a key and a model never travel to an endpoint they were not set for; limits do", () =>
  Effect.gen(function*() {
    const roles = yield* read({
      METAMEM_LLM_URL: "http://llm:1",
      METAMEM_LLM_KEY: "secret-of-llm",
      METAMEM_LLM_MODEL: "big",
      METAMEM_LLM_TIMEOUT_MS: "5000",
      METAMEM_LLM_PRICE_IN: "3",
      METAMEM_ANSWER_URL: "http://other:1",
      METAMEM_JUDGE_MODEL: "strict"
    })
    assert.is(roles.answer.key, undefined)
    assert.is(roles.answer.model, undefined)
    assert.is(roles.answer.price.in, 0)
    assert.is(roles.answer.timeoutMs, 5_000)
    assert.is(roles.judge.model, "strict")
    assert.is(roles.judge.price.in, 3)
    assert.is(Redacted.value(roles.judge.key!), "secret-of-llm")
    assert.not.match(JSON.stringify(roles), /secret-of-llm/)
    assert.not.match(String(roles.judge.key), /secret-of-llm/)
  }))

effect(test, "replicas are separated by commas, and a blank setting is none", () =>
  Effect.gen(function*() {
    const roles = yield* read({ METAMEM_ANSWER_URL: "http://a:1, http://b:2/v1", METAMEM_JUDGE_URL: " ", METAMEM_JUDGE_CONCURRENCY: "", METAMEM_ANSWER_CONCURRENCY: "64" })
    assert.equal(roles.answer.urls, ["http://a:1/v1", "http://b:2/v1"])
    assert.is(roles.answer.concurrency, 64)
    assert.equal(roles.judge.urls, [])
    assert.is(roles.judge.concurrency, 32)
  }))

for (const [name, value] of [
  ["METAMEM_ANSWER_URL", "localhost:80"],
  ["METAMEM_ANSWER_URL", "http://me:hidden@host/v1"],
  ["METAMEM_ANSWER_URL", "http://a:1,"],
  ["METAMEM_JUDGE_CONCURRENCY", "0"],
  ["METAMEM_JUDGE_CONCURRENCY", "2.5"],
  ["METAMEM_LLM_TIMEOUT_MS", "soon"],
  ["METAMEM_LLM_PRICE_OUT", "-1"]
] as const) {
  effect(test, `${name}=${value} is refused`, () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(read({ [name]: value }))
      assert.is(error._tag, "ConfigError")
      assert.match(error.message, name)
    }))
}

test("every setting is listed once, with its unit", () => {
  const names = settingList.map(({ name }) => name)
  assert.is(new Set(names).size, names.length)
  assert.ok(names.includes("METAMEM_PROPOSE_URL") && names.includes("METAMEM_LLM_PRICE_OUT"))
  assert.ok(settingList.every(({ meaning, unit }) => unit !== "" && meaning !== ""))
})

test.run()
