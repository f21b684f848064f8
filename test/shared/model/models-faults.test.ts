import { ConfigProvider, Effect, Fiber, Layer, Option } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { LogUnavailable } from "#shared/eventlog/nats"
import { CallStore } from "#shared/model/call-store"
import { isPassingFailure } from "#shared/model/errors"
import { total } from "#shared/model/ledger"
import { Models } from "#shared/model/models"
import { effect } from "#test/support/effect"
import { always, answer, call, layerFor, quick, secret, usage, withModel } from "#test/support/models"
import { faults, type ScriptedModel, scriptedModel } from "#test/support/scripted-model"

const test = suite("models and failing endpoints")

for (const [name, fault, reason] of [
  ["failing with status 500", faults.error500, "EndpointUnavailable"],
  ["cutting connections", { _tag: "Disconnect" }, "EndpointUnavailable"],
  ["answering with web pages", { _tag: "Html" }, "EndpointUnavailable"],
  ["answering with half a JSON", { _tag: "HalfJson" }, "EndpointUnavailable"]
] as const) {
  withModel(test, `an endpoint ${name} is asked again, and given up after a bound`, (model) =>
    Effect.gen(function*() {
      model.setFault((request) => (request.repeats < 2 ? fault : undefined))
      assert.is((yield* call(answer("first"))).requests, 3)
      model.setFault(always(fault))
      const error = yield* Effect.flip(call(answer("second")))
      assert.is(error.reason._tag, reason)
      assert.is(error.requests, 4)
      assert.is(model.requests.length, 7)
      assert.match(error.message, model.url)
      assert.match(error.message, "METAMEM_LLM_URL")
      assert.ok(isPassingFailure(error))
    }), { environment: { METAMEM_LLM_TRIES: "4" } })
}

withModel(test, "a web page makes the message ask for the address", (model) =>
  Effect.gen(function*() {
    model.setFault(always({ _tag: "Html" }))
    assert.match((yield* Effect.flip(call(answer("x")))).message, /web page; does the address end in \/v1/)
  }))

withModel(test, "a hanging endpoint is cut off at the time limit, and asked three times at most", (model) =>
  Effect.gen(function*() {
    model.setFault((request) => (request.repeats === 0 ? { _tag: "Hang" } : undefined))
    assert.is((yield* call(answer("first"))).requests, 2)
    model.setFault(always({ _tag: "Hang" }))
    const error = yield* Effect.flip(call(answer("second")))
    assert.is(error.reason._tag, "TimedOut")
    assert.is(error.requests, 3)
    assert.match(error.message, /METAMEM_ANSWER_TIMEOUT_MS/)
  }), { environment: { METAMEM_LLM_TIMEOUT_MS: "60" } })

withModel(test, "Retry-After is waited for, and rate limits have a bound of their own", (model) =>
  Effect.gen(function*() {
    model.setFault((request) => (request.repeats < 2 ? { _tag: "Status", status: 429, retryAfter: "0.1" } : undefined))
    const started = performance.now()
    assert.is((yield* call(answer("first"))).requests, 3)
    assert.ok(performance.now() - started >= 200)
    model.setFault(always({ _tag: "Status", status: 429, retryAfter: "0" }))
    const error = yield* Effect.flip(call(answer("second")))
    assert.is(error.reason._tag, "RateLimited")
    assert.is(error.requests, 9)
    assert.match(error.message, /METAMEM_ANSWER_CONCURRENCY/)
  }), { environment: { METAMEM_LLM_TRIES: "2" } })

for (const [name, fault, reason, says] of [
  ["a wrong key", { _tag: "Status", status: 401, message: `Incorrect API key provided: ${secret}` }, "Unauthorised", /METAMEM_ANSWER_KEY/],
  ["a model that is not there", { _tag: "Status", status: 404, message: "The model `x` does not exist" }, "BadRequest", /METAMEM_ANSWER_MODEL/],
  ["a prompt beyond the context", { _tag: "Status", status: 400, code: "context_length_exceeded", message: "too long" }, "ContextTooLong", /evidence budget/],
  ["a prompt beyond the context, said in words", { _tag: "Status", status: 400, message: "Requested tokens (9000) exceed context window of 8192" }, "ContextTooLong", /evidence budget/],
  ["a content filter", { _tag: "Status", status: 400, code: "content_filter", message: "filtered" }, "Refused", /another|Change/],
  ["a refusal", { _tag: "Refusal" }, "Refused", /Change the text/]
] as const) {
  withModel(test, `${name} is not tried again as if it would pass`, (model) =>
    Effect.gen(function*() {
      model.setFault(always(fault))
      const error = yield* Effect.flip(call(answer("x")))
      assert.is(error.reason._tag, reason)
      assert.match(error.message, says)
      assert.not(isPassingFailure(error))
      assert.ok(model.requests.length <= 2)
      assert.not.match(JSON.stringify(error) + String(error) + error.stack, secret)
    }))
}

effect(test, "an address where nothing listens is said plainly", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(call(answer("x")))
    assert.is(error.reason._tag, "Unreachable")
    assert.match(error.message, /http:\/\/127\.0\.0\.1:9\/v1/)
    assert.match(error.message, /ECONNREFUSED/)
  }).pipe(Effect.provide(layerFor({ METAMEM_ANSWER_URL: "http://127.0.0.1:9", METAMEM_ANSWER_MODEL: "m" }))))

withModel(test, "no more requests are in flight than the role may have", (model) =>
  Effect.gen(function*() {
    yield* Effect.forEach(Array.from({ length: 30 }, (_, n) => n), (n) => call(answer(`q${n}`)), { concurrency: "unbounded" })
    assert.is(model.inFlight.most, 3)
  }), { latencyMs: 60, environment: { METAMEM_ANSWER_CONCURRENCY: "3" } })

effect(test, "work is spread over replicas, and one that fails is left alone while the others answer", () =>
  Effect.gen(function*() {
    const [a, b] = [yield* scriptedModel({ latencyMs: 5 }), yield* scriptedModel({ latencyMs: 5 })]
    yield* Effect.gen(function*() {
      yield* Effect.forEach(Array.from({ length: 40 }, (_, n) => n), (n) => call(answer(`q${n}`)), { concurrency: 10 })
      assert.ok(a.requests.length >= 15 && b.requests.length >= 15, `${a.requests.length} and ${b.requests.length}`)
      a.requests.length = 0
      a.setFault(always(faults.error500))
      yield* Effect.forEach(Array.from({ length: 40 }, (_, n) => n), (n) => call(answer(`r${n}`)), { concurrency: 4 })
      assert.ok(a.requests.length < 12, `${a.requests.length} requests went to the failing one`)
    }).pipe(Effect.provide(layerFor({ METAMEM_LLM_URL: `${a.url},${b.url}` })))
  }))

withModel(test, "a failing endpoint is left alone for a while, then tried again and used", (model) =>
  Effect.gen(function*() {
    model.setFault(always(faults.error500))
    yield* Effect.flip(call(answer("one")))
    const before = model.requests.length
    assert.is(before, 5)
    const error = yield* Effect.flip(call(answer("two")))
    assert.is(error.reason._tag, "EndpointUnavailable")
    assert.match(error.message, /keeps failing/)
    assert.is(model.requests.length, before)
    model.setFault(undefined)
    yield* Effect.sleep(1_000)
    assert.is((yield* call(answer("three"))).requests, 1)
  }))

/** Fails where an endpoint has not as many calls after 5 s; a busy machine takes its time. */
const untilInFlight = (model: ScriptedModel, count: number) =>
  Effect.gen(function*() {
    for (let left = 500; model.inFlight.now !== count; left--) {
      if (left === 0) assert.is(model.inFlight.now, count)
      yield* Effect.sleep(10)
    }
  })

withModel(test, "a call given up by its caller is cut off at the endpoint and frees its place", (model) =>
  Effect.gen(function*() {
    model.setFault(always({ _tag: "Hang" }))
    const fiber = yield* Effect.forkChild(call(answer("x")))
    yield* untilInFlight(model, 1)
    yield* Fiber.interrupt(fiber)
    yield* untilInFlight(model, 0)
    model.setFault(undefined)
    yield* call(answer("y"))
    assert.is(total(yield* usage).requests, 2)
  }), { environment: { METAMEM_ANSWER_CONCURRENCY: "1", METAMEM_LLM_TIMEOUT_MS: "10000" } })

effect(test, "a store that fails is told apart from a model that does", () =>
  Effect.gen(function*() {
    const model = yield* scriptedModel()
    const broken = Layer.succeed(CallStore, CallStore.of({
      get: () => Effect.succeed(Option.none()),
      put: () => Effect.fail(new LogUnavailable({ operation: "keep", message: "no server" })),
      claim: () => Effect.succeed(() => Effect.void),
      each: () => Effect.void
    }))
    const error = yield* Effect.flip(call(answer("x"))).pipe(
      Effect.provide(Layer.provide(Models.layer({ patience: quick }), broken).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ METAMEM_LLM_URL: model.url })))))
    )
    assert.is(error.reason._tag, "StoreUnavailable")
    assert.match(error.message, /no server/)
  }))

test.run()
