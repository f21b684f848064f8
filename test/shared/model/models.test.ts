import { ConfigProvider, Effect, Fiber, Layer, Option, Result, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { CallRequest } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import type { ModelError } from "#shared/model/errors"
import { total } from "#shared/model/ledger"
import { Models } from "#shared/model/models"
import { callsOf } from "#test/support/calls"
import { effect } from "#test/support/effect"
import { always, answer, call, callJudge, layerFor, once, secret, usage, withModel } from "#test/support/models"
import { faults, scriptedModel } from "#test/support/scripted-model"

const test = suite("models")

withModel(test, "a call is answered, checked and kept with what it took", (model) =>
  Effect.gen(function*() {
    const reply = yield* call(answer("when?", { inputs: ["m1"], tags: { run: "r", step: 3 }, parameters: { temperature: 0.7, topP: 0.9, stop: ["\n\n"] } }))
    assert.match(reply.value, /\(ref [0-9a-f]{6}-[01]\)/)
    assert.is(reply.model, "scripted")
    assert.is(reply.reused, false)
    assert.is(reply.requests, 1)
    assert.is(reply.usage.estimated, false)
    const sent = model.requests[0]!
    assert.is(sent.headers["x-metamem-role"], "answer")
    assert.is(sent.headers["x-metamem-call"], reply.key)
    assert.is(sent.headers["authorization"], `Bearer ${secret}`)
    assert.is(sent.body["seed"], Number.parseInt(reply.key.slice(0, 8), 16) & 0x7fffffff)
    assert.is(sent.body["temperature"], 0.7)
    assert.is(sent.body["top_p"], 0.9)
    assert.equal(sent.body["stop"], ["\n\n"])
    assert.is(sent.body["max_tokens"], 1_024)
    assert.equal(sent.body["chat_template_kwargs"], { enable_thinking: false })
    assert.is(sent.body["response_format"], undefined)
    const kept = Option.getOrThrow(yield* Effect.flatMap(CallStore, (store) => store.get("local", "u1", reply.key)))
    assert.is(kept.text, reply.text)
    assert.equal(kept.inputs, ["m1"])
    assert.is(kept.templateVersion, "t1")
    assert.equal(kept.tags, { run: "r", step: 3 })
  }))

effect(test, "nothing in the environment of another client changes where a request goes, with which key, or what it carries", () =>
  Effect.gen(function*() {
    const foreign = { OPENAI_CUSTOM_HEADERS: "Authorization: Bearer of-others\nX-Team: others", OPENAI_BASE_URL: "http://127.0.0.1:9/v1", OPENAI_API_KEY: "of-others", OPENAI_ORG_ID: "others", OPENAI_PROJECT_ID: "others" }
    const before = { ...process.env }
    yield* Effect.acquireRelease(Effect.sync(() => Object.assign(process.env, foreign)), () => Effect.sync(() => {
      for (const name of Object.keys(foreign)) if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
    }))
    for (const key of [secret, ""]) {
      const model = yield* scriptedModel()
      yield* call(answer("when?")).pipe(Effect.provide(layerFor({ METAMEM_LLM_URL: model.url, METAMEM_LLM_KEY: key })))
      for (const { headers } of model.requests) {
        assert.is(headers["authorization"], `Bearer ${key === "" ? "none" : key}`)
        assert.not.match(JSON.stringify(headers), /others/)
      }
      assert.ok(model.requests.length > 0)
    }
  }))

withModel(test, "the same call again is read from the store and costs nothing", (model) =>
  Effect.gen(function*() {
    const first = yield* call(answer("when?", { tags: { run: "r" } }))
    const again = yield* call(answer("when?", { tags: { run: "r" } }))
    assert.is(again.reused, true)
    assert.is(again.value, first.value)
    assert.is(again.cost, 0)
    assert.equal(again.usage, first.usage)
    assert.is(model.requests.length, 1)
    const sum = total(yield* usage)
    assert.equal([sum.calls, sum.reused, sum.requests], [1, 1, 1])
    assert.is(sum.cost, (first.usage.promptTokens * 2 + first.usage.completionTokens * 10) / 1_000_000)
    assert.ok(first.cost > 0)
  }), { environment: { METAMEM_LLM_PRICE_IN: "2", METAMEM_LLM_PRICE_OUT: "10" } })

withModel(test, "samples of one prompt are calls of their own, alike whenever they are asked for", (model) =>
  Effect.gen(function*() {
    const sample = (n: number) => answer("how many cats?", { sample: { runSeed: 1, purpose: "rollout", draw: 0, question: "q", sample: n } })
    const replies = yield* Effect.forEach(Array.from({ length: 12 }, (_, n) => n), (n) => call(sample(n)), { concurrency: 4 })
    assert.is(new Set(replies.map(({ key }) => key)).size, 12)
    assert.ok(new Set(replies.map(({ text }) => text)).size > 6)
    const elsewhere = yield* Effect.forEach([3, 7], (n) => call({ ...sample(n), scope: "another" }))
    assert.equal(elsewhere.map(({ text }) => text), [replies[3]!.text, replies[7]!.text])
    assert.is(model.requests.length, 14)
  }))

withModel(test, "another model of the endpoint may be named for a call, whose reply is one of its own", (model) =>
  Effect.gen(function*() {
    const set = yield* call(answer("which?"))
    const named = yield* call(answer("which?", { model: "other" }))
    assert.equal([set.model, named.model, named.reused], ["scripted", "other", false])
    assert.is.not(named.key, set.key)
    assert.equal(model.requests.map(({ body }) => body["model"]), ["scripted", "other"])
    const models = yield* Models
    // What is set, named, is the same call.
    assert.equal([yield* models.keyOf(answer("which?", { model: "scripted" })), yield* models.keyOf(answer("which?", { model: "other" }))], [set.key, named.key])
    assert.is((yield* call(answer("which?", { model: "other" }))).reused, true)
    model.setFault(({ body }) => (body["model"] === "absent" ? { _tag: "Status", status: 404, message: "The model `absent` does not exist" } : undefined))
    const refused = yield* Effect.flip(call(answer("which?", { model: "absent" })))
    assert.match(refused.message, /model "absent".*does not exist/)
    assert.is((yield* call(answer("what else?"))).requests, 1, "what one model was refused for is nothing to the other")
  }))

const numbered = () => {
  let n = 0
  return { answer: () => `reply ${n++}` }
}

withModel(test, "who asks the same at once waits for the first and gets its reply", (model) =>
  Effect.gen(function*() {
    const replies = yield* Effect.all(["race?", "race?", "another?", "race?"].map((text) => call(answer(text))), { concurrency: "unbounded" })
    assert.is(model.requests.length, 2)
    assert.equal(replies.map(({ reused }) => reused), [false, true, false, true])
    assert.is(new Set(replies.map(({ text }) => text)).size, 2)
  }), { scripts: numbered() })

withModel(test, "of equal calls at once, the next is made when the first gets no usable reply or is given up", (model) =>
  Effect.gen(function*() {
    model.setFault(({ seed }) => (model.requests.filter((one) => one.seed === seed).length === 1 ? faults.empty : undefined))
    const [first, second] = yield* Effect.all([Effect.result(call(answer("race?"))), Effect.result(call(answer("race?")))], { concurrency: 2 })
    assert.equal([first._tag, second._tag], ["Failure", "Success"])
    const given = call(answer("never mind?")).pipe(Effect.timeoutOption(0))
    const [none, kept] = yield* Effect.all([given, call(answer("never mind?"))], { concurrency: 2 })
    assert.equal([none._tag, kept.reused], ["None", false])
  }), { scripts: numbered() })

withModel(test, "equal calls at once fail together where the endpoint does, after one patience and not one each; later ones are made", (model) =>
  Effect.gen(function*() {
    for (const [fault, reason, sent] of [[faults.error500, "EndpointUnavailable", 4], [{ _tag: "Status", status: 401 }, "Unauthorised", 1]] as const) {
      model.requests.length = 0
      model.setFault(always(fault))
      const errors = yield* Effect.forEach(Array.from({ length: 6 }), () => Effect.flip(call(answer(reason))), { concurrency: "unbounded" })
      assert.equal(errors.map(({ reason }) => reason._tag), Array.from({ length: 6 }, () => reason))
      assert.equal([model.requests.length, ...errors.map(({ requests }) => requests)], [sent, sent, 0, 0, 0, 0, 0])
      model.setFault(undefined)
      yield* Effect.sleep(1_000)
      assert.is((yield* call(answer(reason))).reused, false)
    }
    assert.equal([total(yield* usage).failed, total(yield* usage).calls], [12, 2])
  }), { environment: { METAMEM_LLM_TRIES: "4" } })

withModel(test, "who gives up a call ends nobody else's: those who wait go on and share how the next fails", (model) =>
  Effect.gen(function*() {
    model.setFault(always({ _tag: "Hang" }))
    const given = yield* Effect.forkChild(call(answer("x")))
    while (model.requests.length === 0) yield* Effect.sleep(5)
    const waiting = yield* Effect.forEach([1, 2], () => Effect.forkChild(Effect.flip(call(answer("x")))))
    yield* Effect.sleep(20)
    model.setFault(always({ _tag: "Status", status: 401 }))
    yield* Fiber.interrupt(given)
    const errors = yield* Effect.forEach(waiting, Fiber.join)
    assert.equal(errors.map(({ reason, requests }) => [reason._tag, requests]), [["Unauthorised", 1], ["Unauthorised", 0]])
  }), { environment: { METAMEM_LLM_TIMEOUT_MS: "10000" } })

/** As another process would ask. */
const elsewhere = (model: { readonly url: string }, request: Parameters<typeof call>[0], environment: Record<string, string> = {}) =>
  call(request).pipe(Effect.provide(Layer.fresh(Models.layer())), Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ METAMEM_LLM_URL: model.url, ...environment }))))

effect(test, "two processes that ask the same at once pay for one reply", () =>
  Effect.gen(function*() {
    const model = yield* scriptedModel({ scripts: numbered(), latencyMs: 50 })
    const [a, b] = yield* Effect.all([elsewhere(model, answer("race?")), elsewhere(model, answer("race?"))], { concurrency: 2 })
    assert.is(model.requests.length, 1)
    assert.is(a.text, b.text)
    assert.equal([a.reused, b.reused].sort(), [false, true])
    assert.is((yield* callsOf("local", "u1")).size, 1)
    // Samples are asked by one job each.
    const sampled = answer("race?", { sample: { runSeed: 1, purpose: "rollout", draw: 0, question: "q", sample: 0 } })
    yield* Effect.all([elsewhere(model, sampled), elsewhere(model, sampled)], { concurrency: 2 })
    assert.is(model.requests.length, 3)
  }).pipe(Effect.provide(CallStore.layerMemory)))

effect(test, "who waits for another process's reply asks itself once the other has failed", () =>
  Effect.gen(function*() {
    const model = yield* scriptedModel({ scripts: numbered() })
    model.setFault(({ headers }) => (headers["authorization"] === "Bearer slow" ? { _tag: "Hang" } : undefined))
    const failing = yield* Effect.forkChild(Effect.flip(elsewhere(model, answer("x"), { METAMEM_LLM_KEY: "slow", METAMEM_LLM_TIMEOUT_MS: "300", METAMEM_LLM_TRIES: "1" })))
    while (model.requests.length === 0) yield* Effect.sleep(5)
    const reply = yield* elsewhere(model, answer("x"))
    assert.is((yield* Fiber.join(failing))._tag, "ModelError")
    assert.equal([reply.reused, reply.requests, model.requests.length], [false, 1, 2])
  }).pipe(Effect.provide(CallStore.layerMemory)))

for (const fault of ["fenced", "reasoned"] as const) {
  withModel(test, `a ${fault} reply is read`, (model) =>
    Effect.gen(function*() {
      model.setFault(always(faults[fault]))
      const reply = yield* callJudge()
      assert.is(reply.value.verdict, "yes")
      assert.is(reply.requests, 1)
      assert.not.match(reply.text, /think/)
    }))
}

withModel(test, "a reply filed under reasoning is read", (model) =>
  Effect.gen(function*() {
    model.setFault(always({ _tag: "Misfiled" }))
    assert.is((yield* callJudge()).value.verdict, "yes")
  }))

for (const fault of ["prose", "cut", "empty", "spaces", "endlessReasoning"] as const) {
  withModel(test, `after a reply that is ${fault} the model is told why, once`, (model) =>
    Effect.gen(function*() {
      model.setFault(once(faults[fault]))
      const reply = yield* callJudge()
      assert.is(reply.value.verdict, "yes")
      assert.is(reply.requests, 2)
      const [first, second] = model.requests
      assert.match(second!.prompt, /could not be used/)
      assert.match(second!.prompt, /"verdict"/)
      assert.is(second!.call, `${first!.call}.1`)
      assert.is.not(second!.seed, first!.seed)
      assert.is(reply.usage.promptTokens, Math.ceil(first!.prompt.length / 4) + Math.ceil(second!.prompt.length / 4))
    }))

  withModel(test, `a reply that stays ${fault} is a failure after two requests, and is not kept`, (model) =>
    Effect.gen(function*() {
      model.setFault(always(faults[fault]))
      const error = yield* Effect.flip(callJudge())
      assert.is(error.reason._tag, "BadReply")
      assert.match(error.message, /METAMEM_JUDGE_MAX_TOKENS/)
      assert.is(model.requests.length, 2)
      assert.is((yield* callsOf("local", "u1")).size, 0)
      const sum = total(yield* usage)
      assert.equal([sum.calls, sum.failed, sum.requests], [0, 1, 2])
      assert.ok(sum.promptTokens > 0, "what was paid in vain is counted")
    }))
}

withModel(test, "a reply cut on its way is asked for again with more room, white space is not", (model) =>
  Effect.gen(function*() {
    model.setFault(once(faults.cut))
    yield* callJudge("Question: a")
    model.setFault(once(faults.spaces))
    yield* callJudge("Question: b")
    assert.equal(model.requests.map(({ body }) => body["max_tokens"]), [512, 1_024, 512, 512])
  }))

withModel(test, "an answer that ends at the token limit is kept as such", (model) =>
  Effect.gen(function*() {
    model.setFault(always({ _tag: "Text", change: () => "It was in", finish: "length" }))
    const reply = yield* call(answer("when?"))
    assert.is(reply.value, "It was in")
    assert.is(reply.truncated, true)
  }))

effect(test, "a role that nothing plays says how to set it", () =>
  Effect.gen(function*() {
    const models = yield* Models
    assert.is(models.casting("answer"), undefined)
    const error = yield* Effect.flip(call(answer("x")))
    assert.is(error.reason._tag, "NoEndpoint")
    assert.match(error.message, /METAMEM_ANSWER_URL/)
  }).pipe(Effect.provide(layerFor({}))))

effect(test, "the local model plays the roles without an endpoint, and no key reaches it", () =>
  Effect.gen(function*() {
    const local = yield* scriptedModel({ models: ["something else"] })
    const remote = yield* scriptedModel()
    let asked = 0
    const url = Effect.sync(() => {
      asked += 1
      return local.url
    })
    yield* Effect.gen(function*() {
      const models = yield* Models
      const cast = { role: "answer", urlSetting: "METAMEM_ANSWER_URL", sameAs: "extract", model: "small", isLocal: true, concurrency: 2, maxTokens: 1_024 }
      assert.equal(models.casting("answer"), { ...cast, urls: [] })
      assert.is(models.casting("judge")?.isLocal, false)
      assert.is(yield* models.identity("answer"), "small")
      assert.is(asked, 0)
      assert.is((yield* call(answer("x"))).model, "small")
      assert.is(asked, 1)
      assert.equal(models.casting("answer"), { ...cast, urls: [local.url] })
      assert.is(local.requests[0]?.headers["authorization"], "Bearer none")
      yield* callJudge()
      assert.is(remote.requests.length, 1)
    }).pipe(Effect.provide(layerFor({ METAMEM_JUDGE_URL: remote.url }, { local: { url, model: "small", concurrency: 2 } })))
  }))

effect(test, "a local model that does not load is nobody, and the reason is said", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(call(answer("x")))
    assert.is(error.reason._tag, "NoEndpoint")
    assert.match(error.message, /no model plays this role: the file is torn\. Set METAMEM_ANSWER_URL/)
  }).pipe(Effect.provide(layerFor({}, { local: { url: Effect.fail({ message: "the file is torn." }), model: "small", concurrency: 2 } }))))

withModel(test, "an endpoint without json_schema is asked in JSON mode, and without that in words; what helped is remembered", (model) =>
  Effect.gen(function*() {
    yield* callJudge("Question: one")
    yield* callJudge("Question: two")
    assert.equal(
      model.requests.map(({ body }) => [(body["response_format"] as { type: string } | undefined)?.type, "chat_template_kwargs" in body]),
      [["json_schema", true], ["json_object", true], [undefined, true], [undefined, false], [undefined, false]]
    )
    assert.match(model.requests[4]!.prompt, /JSON schema/)
    assert.not.match(model.requests[0]!.prompt, /JSON schema/)
  }), { unknown: ["json_schema", "json_object", "chat_template_kwargs"] })

withModel(test, "the newer name of the token limit is found", (model) =>
  Effect.gen(function*() {
    yield* call(answer("x"))
    assert.is(model.requests[1]!.body["max_completion_tokens"], 1_024)
  }), { unknown: ["max_tokens"] })

withModel(test, "a request turned down for another reason leaves what is known of the endpoint alone", (model) =>
  Effect.gen(function*() {
    model.setFault(always({ _tag: "Status", status: 400, message: "bad luck" }))
    assert.is((yield* Effect.flip(callJudge("Question: one"))).reason._tag, "BadRequest")
    model.setFault(undefined)
    yield* callJudge("Question: two")
    assert.is((model.requests.at(-1)!.body["response_format"] as { type: string }).type, "json_schema")
    assert.ok("chat_template_kwargs" in model.requests.at(-1)!.body)
  }))

withModel(test, "an endpoint that takes a schema and does not follow it gets it in the prompt from then on", (model) =>
  Effect.gen(function*() {
    model.setFault((request) => (/JSON schema/.test(request.prompt) ? undefined : faults.prose))
    for (let n = 0; n < 9; n++) yield* callJudge(`Question: ${n}`)
    assert.is(model.requests.length, 17)
    assert.is(model.requests.at(-1)!.body["response_format"], undefined)
  }))

withModel(test, "a probe says what the endpoint does", () =>
  Effect.gen(function*() {
    const models = yield* Models
    const [probe] = yield* models.probe("judge")
    assert.equal({ ...probe, latencyMs: 0, url: "" }, { url: "", models: ["scripted", "other"], model: "scripted", jsonSchema: false, thinkingSwitch: true, usage: false, latencyMs: 0 })
  }), { unknown: ["json_schema"], models: ["scripted", "other"], countsTokens: false })

withModel(test, "tokens are estimated where the endpoint counts none, and marked so", () =>
  Effect.gen(function*() {
    const reply = yield* call(answer("x"))
    assert.is(reply.usage.estimated, true)
    assert.ok(reply.usage.promptTokens > 0 && reply.usage.completionTokens > 0)
  }), { countsTokens: false })

const parts = (request: CallRequest<"answer">) => Effect.flatMap(Models, (models) => Stream.runCollect(models.stream(request)))

withModel(test, "an answer is shown as it comes, without reasoning, and kept like any other", (model) =>
  Effect.gen(function*() {
    model.setFault(always(faults.reasoned))
    const shown = yield* parts(answer("when was it said, and by whom?"))
    const done = shown.at(-1)
    if (done?._tag !== "Done") throw new Error("the last part is not Done")
    assert.is(shown.map((part) => (part._tag === "Text" ? part.text : "")).join("").trimEnd(), done.reply.text)
    assert.ok(shown.filter(({ _tag }) => _tag === "Text").length > 1)
    assert.is(done.reply.usage.estimated, false)
    const again = yield* parts(answer("when was it said, and by whom?"))
    assert.equal(again.map(({ _tag }) => _tag), ["Text", "Done"])
    assert.is((yield* call(answer("when was it said, and by whom?"))).reused, true)
    assert.is(model.requests.length, 1)
  }))

withModel(test, "an answer that has to be asked for again restarts what is shown", (model) =>
  Effect.gen(function*() {
    model.setFault(once(faults.error500))
    assert.is((yield* parts(answer("a"))).filter(({ _tag }) => _tag === "Done").length, 1)
    model.setFault(always(faults.error500))
    const outcome = yield* Effect.result(parts(answer("b")))
    assert.ok(Result.isFailure(outcome) && (outcome.failure as ModelError)._tag === "ModelError")
  }))

for (const [what, options] of [["counts no streamed tokens", { unknown: ["stream_options"] }], ["refuses to stream", { unknown: ["stream"] }], ["answers whole to a wish for a stream", { neverStreams: true }]] as const) {
  withModel(test, `an endpoint that ${what} is found out once, and its answer is shown all the same`, (model) =>
    Effect.gen(function*() {
      for (const prompt of ["first", "second"]) {
        const shown = yield* parts(answer(prompt))
        const done = shown.at(-1)
        if (done?._tag !== "Done") throw new Error("the last part is not Done")
        assert.is(shown.map((part) => (part._tag === "Text" ? part.text : "")).join(""), done.reply.text)
        assert.is(done.reply.requests <= (prompt === "first" ? 3 : 1), true, `${prompt}: ${done.reply.requests} requests`)
      }
      assert.is(model.requests.at(-1)?.body["stream_options"], undefined)
    }), options)
}

test.run()
