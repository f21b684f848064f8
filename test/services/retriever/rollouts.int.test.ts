/** What the attempts of a run are shown: the memories as they stood when it was opened, whatever is said, forgotten or replaced since. */
import { join } from "node:path"
import { ConfigProvider, Effect, Fiber, Layer, Result, Schema, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { listDead } from "#shared/actor/dead-letters"
import { makeEntity } from "#shared/actor/entity"
import { isErasedOutcome, jobCodec, publishJobs } from "#shared/actor/jobs"
import { request } from "#shared/actor/requests"
import type { Question } from "#shared/domain/question"
import { eraseUser } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { memorySubject, requestSubject, resultSubject } from "#shared/eventlog/subjects"
import * as MemoryIndexInMemory from "#shared/memoryindex/memory-layer"
import { questionsSubject } from "#shared/metamemory/questions"
import { CallStore } from "#shared/model/call-store"
import * as EmbeddingModel from "#shared/model/embeddings"
import { Models } from "#shared/model/models"
import * as Embedder from "#services/embedder/actor"
import { behaviour as embedderBehaviour } from "#services/embedder/behaviour"
import { packVectors } from "#services/embedder/protocol"
import { behaviour as evaluatorBehaviour } from "#services/evaluator/behaviour"
import * as Ingestor from "#services/ingestor/actor"
import * as Retriever from "#services/retriever/actor"
import { MemoriesReply, type RolloutData, type RolloutInput } from "#services/retriever/protocol"
import { logOn, memoryActors, settled } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { change, ready, receive, retrieve } from "#test/support/memory-client"
import { setUpHome, testServer } from "#test/support/nats"
import { scriptedModel } from "#test/support/scripted-model"

const test = suite("what attempts are shown")

const of = { tenant: "local", user: "ivy", conversation: "c" }
const question: Question = { id: "q", text: "Where does Ivy keep the spare key?", type: "single-session-user", answer: "under the flower pot", abstention: false, user: of.user, cluster: "c" }
const say = (texts: ReadonlyArray<string>, hour: number) =>
  receive({ ...of, turns: texts.map((text, at) => ({ speaker: "user", text, time: new Date(Date.UTC(2026, 2, 1, hour, at)).toISOString() })) })
const known = Effect.gen(function*() {
  const entity = yield* makeEntity(evaluatorBehaviour)
  yield* entity.execute(questionsSubject("local", of.user), { _tag: "RegisterQuestions", questions: [question] }, { cause: "q" })
})

const minilm = EmbeddingModel.layer({ dir: join(setUpHome, "models/minilm"), threads: 1 })
/** Ingestor and retriever with an index in memory; the question is registered. What nobody embeds has no vector. */
const begin = (modelUrl: string) =>
  Effect.gen(function*() {
    yield* Layer.build(
      Layer.merge(Ingestor.layer, Retriever.layer.pipe(Layer.provide(MemoryIndexInMemory.layer(384)))).pipe(
        Layer.provide(Models.layer({})),
        Layer.provide(CallStore.layerJetStream),
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ METAMEM_LLM_URL: modelUrl, METAMEM_LLM_MODEL: "scripted" })))
      )
    )
    yield* ready
    yield* known
  })

const inputAt = (memoryPosition: number): RolloutInput => ({
  question: { id: question.id, user: question.user }, purpose: "rollout", draw: 1, sample: 0, principles: [], temperature: 0.7, maxTokens: 64, evidenceTokens: 600, memoryPosition, runSeed: 1
})

/** Publishes the attempt under a key of its own; waits for how it is settled. */
const outcome = (key: string, memoryPosition: number) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const job = { tenant: "local", run: "r", step: 1, kind: "rollout", key, input: inputAt(memoryPosition) }
    yield* publishJobs("retriever", [job], 0)
    const [commit] = yield* log.follow([resultSubject(job)]).pipe(Stream.take(1), Stream.runCollect)
    const event = commit?.events[0] === undefined ? undefined : Result.getOrThrow(jobCodec.decode(commit.events[0]))
    assert.ok(event?._tag === "JobSettled", JSON.stringify(event))
    return event
  })
/** What an attempt that is done was shown and said. */
const attempted = (key: string, memoryPosition: number) =>
  Effect.map(outcome(key, memoryPosition), (event) => {
    assert.is(event.status, "done", event.error)
    const { callKey, evidenceHash, evidenceIds, reused } = event.data as RolloutData
    return { callKey, evidenceHash, evidenceIds, reused }
  })
/** Erases the user and waits until the retriever knows. */
const erased = Effect.gen(function*() {
  const { sequence } = yield* eraseUser("local", of.user)
  yield* request(requestSubject("retriever", "await"), { position: formatPosition({ log: "memory", sequence }), deadlineMs: 10_000 }, 12_000)
})
const head = Effect.flatMap(EventLog, (log) => log.head("MEMORY"))

effect(test, "what is said, forgotten and replaced after a run was opened changes nothing of what its attempts are shown", () =>
  Effect.gen(function*() {
    const { home, url } = yield* testServer
    const model = yield* scriptedModel()
    yield* Effect.gen(function*() {
      yield* ready
      yield* known
      const told = yield* say(["Ivy keeps the spare key under the flower pot", "The spare key opens the back door", "Tea is best at four"], 9)
      yield* settled(of)
      const opened = yield* head
      const foretold = yield* request(requestSubject("retriever", "rollout"), { tenant: "local", run: "r", step: 1, input: inputAt(opened), only: "key" }, 10_000)
      assert.is(model.requests.length, 0, "the key alone is told without asking")
      const before = yield* attempted("before", opened)
      assert.equal([before.reused, foretold], [false, { callKey: before.callKey }])

      // Another model by name is asked the same and answers under a key of its own; the one that is set, by its name, under the same.
      const askedOf = (model: string) => request(requestSubject("retriever", "rollout"), { tenant: "local", run: "r", step: 1, input: { ...inputAt(opened), model } }, 10_000)
      assert.is((yield* askedOf("scripted") as Effect.Effect<RolloutData>).callKey, before.callKey)
      const other = yield* askedOf("other") as Effect.Effect<RolloutData>
      assert.equal([other.reused, other.callKey === before.callKey, other.evidenceHash], [false, false, before.evidenceHash])
      assert.equal(model.requests.splice(1).map(({ body }) => body["model"]), ["other"])

      const [first, second] = told.turns.map(({ id }) => id)
      assert.ok(first !== undefined && second !== undefined && before.evidenceIds.includes(first) && before.evidenceIds.includes(second))
      const later = yield* say(["Ivy keeps the spare key on a hook in the shed now", "The old flower pot and the spare key are gone"], 10)
      yield* change(of, { _tag: "Forget", memory: second }, "forget")
      yield* change(of, { _tag: "Supersede", memory: first, by: later.turns[0]?.id ?? "", reason: "moved" }, "supersede")
      yield* settled(of)

      const after = yield* attempted("after", opened)
      assert.equal(after, { ...before, reused: true })
      assert.is(model.requests.length, 1, "the same call, and so the same answer at no cost")
      const now = yield* attempted("now", yield* head)
      assert.ok(now.evidenceIds.includes(later.turns[0]?.id ?? "") && !now.evidenceIds.includes(first) && !now.evidenceIds.includes(second), "a run opened now is shown what stands now")
    }).pipe(Effect.provide(memoryActors(url, home, { METAMEM_LLM_URL: model.url, METAMEM_LLM_MODEL: "scripted" })))
  }), 60_000)

effect(test, "an attempt waits for the vectors of what its run knows, so that a later one is shown the same", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const model = yield* scriptedModel()
    yield* Effect.gen(function*() {
      yield* begin(model.url)
      yield* say(["Ivy keeps the spare key under the flower pot", "What opens the back door hangs nowhere", "Tea is best at four"], 9)
      const opened = yield* head
      const waiting = yield* attempted("early", opened).pipe(Effect.forkScoped)
      yield* Effect.sleep("1500 millis")
      assert.is(waiting.pollUnsafe(), undefined)
      assert.is(model.requests.length, 0)
      yield* Layer.build(Embedder.layer)
      const early = yield* Fiber.join(waiting)
      assert.equal(yield* attempted("late", opened), { ...early, reused: true })
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(minilm, logOn(url))))
  }), 60_000)

effect(test, "a memory that the model cannot embed keeps neither its neighbours from their vectors nor attempts from going on", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const model = yield* scriptedModel()
    // The real model, but for one text.
    const poisoned = Layer.effect(
      EmbeddingModel.Embeddings,
      Effect.map(EmbeddingModel.Embeddings, (real) => ({
        ...real,
        embed: (texts: ReadonlyArray<string>, options?: EmbeddingModel.EmbedOptions) =>
          texts.some((text) => text.includes("zyxwv"))
            ? Effect.fail(new EmbeddingModel.EmbeddingError({ reason: "BadVector", message: "no usable vector" }))
            : real.embed(texts, options)
      }))
    ).pipe(Layer.provide(minilm))
    yield* Effect.gen(function*() {
      yield* begin(model.url)
      yield* Layer.build(Embedder.layer)
      const told = yield* say(["Tea is best at four", "The spare key of Ivy zyxwv hangs in the shed", "What opens the back door hangs nowhere"], 9)
      const [first, poison, third] = told.turns.map(({ id }) => id)
      const opened = yield* head
      const shown = yield* attempted("one", opened).pipe(Effect.timeout("20 seconds"))
      assert.ok(poison !== undefined && shown.evidenceIds.includes(poison), "found by its words")
      assert.equal(yield* attempted("two", opened), { ...shown, reused: true })
      const { memories } = yield* Effect.flatMap(request(requestSubject("retriever", "memories"), { tenant: of.tenant, user: of.user, limit: 10 }, 10_000), Schema.decodeUnknownEffect(MemoriesReply))
      const byVector = new Map(memories.map(({ id, searchableByVector }) => [id, searchableByVector]))
      assert.equal([first, poison, third].map((id) => byVector.get(id ?? "")), [true, false, true])
      const letters = yield* listDead()
      assert.equal(letters.map(({ about, actor, kind }) => ({ about, actor, kind })), [{ about: `${memorySubject(of, "embedder")} memory ${poison}`, actor: "embedder", kind: "text" }])
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(poisoned, logOn(url))))
  }), 60_000)

effect(test, "a vector in the log that nobody can use keeps no attempt from going on, and no answer from being whole", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const model = yield* scriptedModel()
    yield* Effect.gen(function*() {
      yield* begin(model.url)
      const told = yield* say(["The spare key of Ivy hangs in the shed"], 9)
      const opened = yield* head
      const { modelHash } = yield* EmbeddingModel.Embeddings
      const entity = yield* makeEntity(embedderBehaviour)
      const row = new Float32Array(384).fill(0.05).fill(NaN, 7, 8)
      const { folded } = yield* entity.execute(
        memorySubject(of, "embedder"),
        { _tag: "RecordVectors", model: modelHash, dimensions: 384, ids: told.turns.map(({ id = "" }) => id), bytes: 768 },
        { cause: "bad", binary: packVectors([row], 384), inputThrough: opened }
      )
      const after = formatPosition({ log: "memory", sequence: folded.sequence })
      const { behind, evidence } = yield* retrieve({ user: of.user, question: question.text, after, deadlineMs: 5_000 })
      assert.equal([evidence.length, behind], [1, []])
      const shown = yield* attempted("one", opened).pipe(Effect.timeout("10 seconds"))
      assert.equal(shown.evidenceIds, told.turns.map(({ id }) => id))
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(minilm, logOn(url))))
  }), 60_000)

effect(test, "after an erasure no attempt at a question of the user is made, though evidence and question were just looked up", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const model = yield* scriptedModel()
    yield* Effect.gen(function*() {
      yield* begin(model.url)
      yield* Layer.build(Embedder.layer)
      yield* say(["Ivy keeps the spare key under the flower pot", "Tea is best at four"], 9)
      const opened = yield* head
      yield* attempted("before", opened)
      yield* erased
      const after = yield* outcome("after", opened)
      assert.is(after.status, "failed")
      assert.match(after.error, /question q is not registered/)
      assert.is(model.requests.length, 1)
      assert.ok(isErasedOutcome(after.data), JSON.stringify(after))
      assert.equal(yield* listDead(), [], "nobody can mend it, and so nothing names the user")
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(minilm, logOn(url))))
  }), 60_000)

effect(test, "an erasure while evidence is looked up ends the attempt before a model is asked", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const model = yield* scriptedModel()
    yield* Effect.gen(function*() {
      yield* begin(model.url)
      yield* say(["Ivy keeps the spare key under the flower pot", "Tea is best at four"], 9)
      const waiting = yield* outcome("early", yield* head).pipe(Effect.forkScoped)
      yield* Effect.sleep("1 second")
      assert.is(waiting.pollUnsafe(), undefined, "it waits for vectors")
      yield* erased
      const ended = yield* Fiber.join(waiting)
      assert.equal([ended.status, ended.attempts, isErasedOutcome(ended.data)], ["failed", 1, true])
      assert.match(ended.error, /erased while evidence was looked up/)
      assert.is(model.requests.length, 0)
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(minilm, logOn(url))))
  }), 60_000)

test.run()
