import { Effect, Fiber, Layer, Ref, Schema, type Scope } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { request, RequestRefused, respond, serve } from "#shared/actor/requests"
import { Nats } from "#shared/eventlog/nats"
import * as NatsConnection from "#shared/eventlog/nats"
import { requestSubject } from "#shared/eventlog/subjects"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("requests")
const on = (url: string) => Layer.fresh(NatsConnection.layer({ url }))
const it = (name: string, body: Effect.Effect<unknown, unknown, Nats | Scope.Scope>, limitMs = 20_000) =>
  effect(test as never, name, () => Effect.flatMap(testServer, ({ url }) => body.pipe(Effect.provide(on(url)))), limitMs)

const subject = requestSubject("retriever", "ask")
const failure = (payload: unknown, deadlineMs = 2_000) => Effect.flip(request(subject, payload, deadlineMs))

/** Answers in a fiber of the test's scope; ready when it returns. */
const responding = <E extends { readonly _tag: string; readonly message: string }>(
  handle: (payload: unknown, tell: ((part: unknown) => void) | undefined) => Effect.Effect<unknown, E>,
  concurrency = 4
) =>
  Effect.gen(function*() {
    const { nc } = yield* Nats
    yield* respond({ subject, queue: "retriever", concurrency, handle }).pipe(Effect.forkScoped)
    yield* Effect.sleep(20)
    yield* Effect.promise(() => nc.flush())
  })

class NoSuchUser extends Schema.TaggedError<NoSuchUser>()("NoSuchUser", { message: Schema.String }) {}

it("a question is answered", Effect.gen(function*() {
  yield* responding((payload) => Effect.succeed({ heard: payload }))
  assert.equal(yield* request(subject, { text: "where · ü" }, 2_000), { heard: { text: "where · ü" } })
}))

it("an actor is given requests that fit their schema, others are refused as such, and a refusal of its own keeps its tag", Effect.gen(function*() {
  const { nc } = yield* Nats
  yield* serve({
    actor: "retriever", verb: "ask", schema: Schema.Struct({ user: Schema.NonEmptyString }), concurrency: 4,
    handle: ({ user }) => (user === "amy" ? Effect.succeed({ user }) : Effect.fail(user === "ben" ? new RequestRefused({ tag: "Behind", message: "wait" }) : new NoSuchUser({ message: user })))
  })
  yield* Effect.sleep(20)
  yield* Effect.promise(() => nc.flush())
  assert.equal(yield* request(subject, { user: "amy" }, 2_000), { user: "amy" })
  for (const [payload, tag] of [[{ user: "" }, "BadRequest"], [null, "BadRequest"], [{ user: "ben" }, "Behind"], [{ user: "cleo" }, "NoSuchUser"]] as const) {
    assert.is(((yield* failure(payload)) as RequestRefused).tag, tag)
  }
}))

it("without a responder the asker is told at once which actor to start", Effect.gen(function*() {
  const started = performance.now()
  const error = yield* failure({}, 20_000)
  assert.is(error._tag, "NobodyAnswers")
  assert.match(error.message, /metamem up/)
  assert.ok(performance.now() - started < 10_000)
}))

/** A responder that can be ended before the test is. */
const endable = (handle: (payload: unknown) => Effect.Effect<unknown, never>, concurrency: number) =>
  Effect.gen(function*() {
    const { nc } = yield* Nats
    const fiber = yield* Effect.forkScoped(respond({ subject, queue: "retriever", concurrency, handle }))
    yield* Effect.sleep(20)
    yield* Effect.promise(() => nc.flush())
    return fiber
  })

it("what a responder that ends has not answered is asked of another, whether it was begun or not", Effect.gen(function*() {
  const begun = yield* Ref.make(0)
  const first = yield* endable(() => Effect.andThen(Ref.update(begun, (count) => count + 1), Effect.never), 1)
  const replies = yield* Effect.forkScoped(Effect.forEach([1, 2, 3], (at) => request(subject, at, 10_000), { concurrency: 3 }))
  yield* Effect.sleep(200)
  assert.is(yield* Ref.get(begun), 1)
  yield* responding((payload) => Effect.succeed(payload))
  yield* Fiber.interrupt(first)
  assert.equal(yield* Fiber.join(replies), [1, 2, 3])
}))

it("where nobody takes over from a responder that ends, the asker is told at once", Effect.gen(function*() {
  const only = yield* endable(() => Effect.never, 1)
  const asker = yield* Effect.forkScoped(failure({}, 15_000))
  yield* Effect.sleep(200)
  const started = performance.now()
  yield* Fiber.interrupt(only)
  assert.is((yield* Fiber.join(asker))._tag, "NobodyAnswers")
  assert.ok(performance.now() - started < 8_000)
}))

it("an answer after the deadline is a typed failure at the deadline", Effect.gen(function*() {
  yield* responding(() => Effect.as(Effect.sleep(10_000), "late"))
  const started = performance.now()
  const error = yield* failure({}, 300)
  const waited = performance.now() - started
  assert.is(error._tag, "DeadlinePassed")
  assert.ok(waited >= 290 && waited < 5_000, `${waited} ms`)
}))

it("a refusal comes with its tag and message", Effect.gen(function*() {
  yield* responding(() => Effect.fail(new NoSuchUser({ message: "no user of that name: see `metamem memories`" })))
  const error = yield* failure({})
  assert.instance(error, RequestRefused)
  assert.is((error as RequestRefused).tag, "NoSuchUser")
  assert.match(error.message, /no user of that name/)
}))

it("a handler that breaks fails its own request only", Effect.gen(function*() {
  yield* responding((payload) => (payload === "bug" ? Effect.die(new TypeError("x is undefined")) : Effect.succeed("well")))
  const error = yield* failure("bug")
  assert.is((error as RequestRefused).tag, "Defect")
  assert.not.match(error.message, /x is undefined/)
  assert.is(yield* request(subject, "next", 2_000), "well")
}))

it("an asker who wants parts gets them in order before the reply; who does not gets the reply alone", Effect.gen(function*() {
  yield* responding((_, tell) =>
    Effect.gen(function*() {
      for (let n = 0; n < 50; n++) {
        tell?.({ n, ok: true })
        if (n % 10 === 0) yield* Effect.sleep(1)
      }
      return { isTelling: tell !== undefined }
    }))
  const parts: Array<unknown> = []
  assert.equal(yield* request(subject, {}, 2_000, (part) => void parts.push(part)), { isTelling: true })
  assert.equal(parts, Array.from({ length: 50 }, (_, n) => ({ n, ok: true })))
  assert.equal(yield* request(subject, {}, 2_000), { isTelling: false })
}))

it("whatever comes after some parts is the end: a refusal, a defect, or the deadline", Effect.gen(function*() {
  yield* responding((payload, tell) =>
    Effect.suspend((): Effect.Effect<unknown, NoSuchUser> => {
      tell?.("part")
      // Too large to send, which loses the part and nothing else.
      tell?.("x".repeat(9_000_000))
      return payload === "refused" ? Effect.fail(new NoSuchUser({ message: "no user" })) : payload === "bug" ? Effect.die(new TypeError("x")) : Effect.as(Effect.sleep(10_000), "late")
    }))
  for (const [payload, tag] of [["refused", "NoSuchUser"], ["bug", "Defect"]] as const) {
    const parts: Array<unknown> = []
    const error = yield* Effect.flip(request(subject, payload, 2_000, (part) => void parts.push(part)))
    assert.equal([(error as RequestRefused).tag, parts], [tag, ["part"]])
  }
  const started = performance.now()
  const late = yield* Effect.flip(request(subject, "late", 300, () => undefined))
  assert.is(late._tag, "DeadlinePassed")
  assert.ok(performance.now() - started < 5_000)
}))

it("an asker who wants parts is told at once that nobody answers", Effect.gen(function*() {
  const started = performance.now()
  const error = yield* Effect.flip(request(subject, {}, 20_000, () => undefined))
  assert.is(error._tag, "NobodyAnswers")
  assert.ok(performance.now() - started < 10_000)
}))

it("a request that is not JSON is refused, and the responder lives", Effect.gen(function*() {
  const { nc } = yield* Nats
  yield* responding(() => Effect.succeed("well"))
  const reply = yield* Effect.promise(() => nc.request(subject, "{half", { timeout: 2_000 }))
  assert.is((reply.json() as { tag: string }).tag, "BadRequest")
  assert.is(yield* request(subject, "next", 2_000), "well")
}))

it("an answer of nothing is null", Effect.gen(function*() {
  yield* responding(() => Effect.void)
  assert.is(yield* request(subject, {}, 2_000), null)
}))

it("an answer that cannot be sent is refused, and the responder lives", Effect.gen(function*() {
  yield* responding((payload) => Effect.succeed(payload === "large" ? "x".repeat(9_000_000) : payload === "odd" ? { n: 1n } : "well"))
  const large = yield* failure("large")
  assert.is((large as RequestRefused).tag, "AnswerTooLarge")
  assert.match(large.message, /less at once/)
  assert.is(((yield* failure("odd")) as RequestRefused).tag, "Defect")
  assert.is(yield* request(subject, "next", 2_000), "well")
}))

it("a question too large to send is a typed failure", Effect.gen(function*() {
  yield* responding(() => Effect.succeed("well"))
  const error = yield* failure("x".repeat(9_000_000))
  assert.is(error._tag, "RequestRefused")
  assert.match(error.message, /less at once/)
}))

it("an answer of a foreign responder is a typed failure", Effect.gen(function*() {
  const { nc } = yield* Nats
  nc.subscribe(subject, { callback: (_, message) => void message.respond("hello") })
  const error = yield* failure({})
  assert.is(error._tag, "RequestRefused")
  assert.is((error as RequestRefused).tag, "ForeignAnswer")
}))

it("requests beyond the concurrency wait their turn", Effect.gen(function*() {
  const running = yield* Ref.make(0)
  let most = 0
  yield* responding(() =>
    Effect.gen(function*() {
      most = Math.max(most, yield* Ref.updateAndGet(running, (n) => n + 1))
      yield* Effect.sleep(20)
      yield* Ref.update(running, (n) => n - 1)
    }), 3)
  yield* Effect.forEach(Array.from({ length: 20 }), () => request(subject, {}, 5_000), { concurrency: 20 })
  assert.is(most, 3)
}))

it("two responders share the requests, and each request is answered once", Effect.gen(function*() {
  const { nc, url } = yield* Nats
  const by = { a: 0, b: 0 }
  for (const name of ["a", "b"] as const) {
    yield* respond({ subject, queue: "retriever", concurrency: 4, handle: () => Effect.sync(() => void (by[name] += 1)) }).pipe(
      Effect.provide(on(url)),
      Effect.forkScoped
    )
  }
  yield* Effect.sleep(300)
  yield* Effect.promise(() => nc.flush())
  yield* Effect.forEach(Array.from({ length: 100 }), () => request(subject, {}, 2_000), { concurrency: 10 })
  assert.is(by.a + by.b, 100)
  assert.ok(by.a > 20 && by.b > 20, JSON.stringify(by))
}))

test.run()
