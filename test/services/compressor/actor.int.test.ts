import { ConfigProvider, Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { listDead, retryDead } from "#shared/actor/dead-letters"
import { makeEntity } from "#shared/actor/entity"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { memorySubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import { Models } from "#shared/model/models"
import * as Compressor from "#services/compressor/actor"
import { behaviour } from "#services/compressor/behaviour"
import { Embeddings } from "#shared/model/embeddings"
import { behaviour as ingestorBehaviour } from "#services/ingestor/behaviour"
import { logOn } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { temporaryFolder, testServer } from "#test/support/nats"
import { scriptedModel } from "#test/support/scripted-model"
import { writeClassifier } from "./construction/tiny-classifier.ts"

const test = suite("the compressor on a real log")
const of = { tenant: "local", user: "u", conversation: "c" }
const turn = (id: string, text = `I own ${id} red bicycles in Oslo.`) => ({ id, speaker: "user", text, time: "2026-03-02T18:04:00.000Z" })

const compressor = (environment: Record<string, string> = {}) =>
  Compressor.layer.pipe(
    Layer.provide(Models.layer({ patience: { backoffMs: 5, closedMs: 60 } })),
    Layer.provide(CallStore.layerMemory),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment)))
  )
/** Events of the compressor, once its water mark covers what was received. */
const compressed = Effect.gen(function*() {
  const log = yield* EventLog
  for (;;) {
    const received = yield* log.last(memorySubject(of, "ingestor"))
    const commits = yield* log.load(memorySubject(of, "compressor"))
    if (Math.max(0, ...commits.map(({ inputThrough }) => inputThrough)) >= (received?.sequence ?? 1)) return commits.flatMap(({ events }) => events as ReadonlyArray<{ readonly type: string; readonly data: any }>)
    yield* Effect.sleep(20)
  }
})
const say = (...ids: ReadonlyArray<string>) => ({ _tag: "ReceiveTurns" as const, turns: ids.map((id) => turn(id)) })
const close = { _tag: "CloseConversation" } as const

effect(test, "nothing is lost when another worker, thought dead, commits a lower water mark first", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const conversations = yield* makeEntity(ingestorBehaviour)
      const rival = yield* makeEntity(behaviour)
      const source = memorySubject(of, "ingestor")
      const target = memorySubject(of, "compressor")
      yield* conversations.execute(source, say("one"), { cause: "1" })
      let more = true
      let raced = true
      // Woken for the first commit, it reads three; the rival covers two of them before it commits.
      const slow = Layer.succeed(EventLog, EventLog.of({
        ...log,
        load: (subject, options) =>
          Effect.suspend(() => {
            if (subject !== source || !more) return log.load(subject, options)
            more = false
            return conversations.execute(source, say("two"), { cause: "2" }).pipe(
              Effect.andThen(conversations.execute(source, close, { cause: "3" })),
              Effect.andThen(log.load(subject, options)),
              Effect.orDie
            )
          }),
        append: (draft, expected, checksum) =>
          Effect.suspend(() => {
            if (draft.subject !== target || !raced) return log.append(draft, expected, checksum)
            raced = false
            return rival.execute(target, { _tag: "RecordExtraction", events: [] }, { cause: "rival", inputThrough: 2 }).pipe(Effect.orDie, Effect.andThen(log.append(draft, expected, checksum)))
          })
      }))
      yield* Layer.build(compressor().pipe(Layer.provide(slow)))
      const events = yield* compressed
      assert.not(more || raced)
      assert.equal(events.filter(({ type }) => type === "SegmentClosed").map(({ data }) => data.turns), [["one", "two"]])
      assert.is(events.filter(({ type }) => type === "MemoriesRecorded").flatMap(({ data }) => data.memories).length, 2)
    }).pipe(Effect.provide(logOn(url)))
  }), 30_000)

/** Vectors by the words of a text, so that talk about one thing lies together. */
const byWords = Layer.succeed(Embeddings, Embeddings.of({
  modelHash: "words",
  dimensions: 1024,
  embed: (texts) =>
    Effect.sync(() =>
      texts.map((text) => {
        const vector = new Float32Array(1024)
        for (const word of text.toLowerCase().match(/\p{L}{4,}/gu) ?? []) vector[[...word].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 1024, 7)] = 1
        const length = Math.hypot(...vector) || 1
        return vector.map((value) => value / length)
      }))
}))

for (const [by, settingsOf] of [
  ["words", () => ({ METAMEM_SEGMENTATION: "words" })],
  ["vectors", () => ({ METAMEM_SEGMENTATION: "vectors" })],
  ["attention", (folder: string) => ({ METAMEM_LLMLINGUA_DIR: folder })]
] as const) effect(test, `woken at any place, cold or warm, it cuts by ${by} and extracts the same`, () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const folder = yield* temporaryFolder
    writeClassifier(folder, { garden: 1 })
    const own = compressor(settingsOf(folder)).pipe(Layer.provide(byWords))
    const tale = Array.from({ length: 72 }, (_, n) => {
      const text = n % 12 < 6
        ? `I planted ${n} tomatoes, beans, carrots and onions in the sunny garden bed near the wooden fence with compost and straw this spring.`
        : `My violin teacher gave me ${n} difficult études by Kreutzer, scales and a sonata to practise slowly before the evening concert in the chapel.`
      return { ...turn(`t${n}`, text), speaker: n % 2 === 0 ? "user" : "assistant" }
    })
    const commits = Array.from({ length: 36 }, (_, n) => ({ _tag: "ReceiveTurns" as const, turns: tale.slice(n * 2, n * 2 + 2) }))
    const cut = (conversation: string, restarts: ReadonlySet<number>) =>
      Effect.gen(function*() {
        const conversations = yield* makeEntity(ingestorBehaviour)
        const log = yield* EventLog
        const talk = { ...of, conversation }
        const part = (from: number, to: number) =>
          Effect.gen(function*() {
            for (let n = from; n < to; n++) yield* conversations.execute(memorySubject(talk, "ingestor"), commits[n] ?? close, { cause: String(n) })
            const last = yield* log.last(memorySubject(talk, "ingestor"))
            while (((yield* log.last(memorySubject(talk, "compressor")))?.inputThrough ?? 0) < (last?.sequence ?? 0)) yield* Effect.sleep(10)
          }).pipe(Effect.provide(own))
        let from = 0
        for (const to of [...restarts, commits.length + 1]) {
          yield* part(from, to)
          from = to
        }
        const all = (yield* log.load(memorySubject(talk, "compressor"))).flatMap(({ events }) => events as ReadonlyArray<{ readonly type: string; readonly data: any }>)
        return {
          segments: all.filter(({ type }) => type === "SegmentClosed").map(({ data }) => data.turns as ReadonlyArray<string>),
          facts: all.filter(({ type }) => type === "MemoriesRecorded").flatMap(({ data }) => data.memories.map(({ text }: { text: string }) => text) as ReadonlyArray<string>)
        }
      })
    yield* Effect.gen(function*() {
      const whole = yield* cut("whole", new Set())
      assert.equal(whole.segments.flat(), tale.map(({ id }) => id))
      assert.ok(whole.segments.length > 1 && whole.facts.length > 6, JSON.stringify(whole))
      assert.equal(yield* cut("pieces", new Set([1, 4, 5, 20, 36])), whole)
      assert.equal(yield* cut("halves", new Set([17])), whole)
    }).pipe(Effect.provide(logOn(url)))
  }), 40_000)

for (const [what, reply] of [["no JSON at all", "no JSON at all"], ["only facts of turns it was not shown", "{\"facts\": [{\"turns\": [99], \"fact\": \"The user likes ivy.\"}]}"]] as const) effect(test, `a segment to which the model says ${what} is given up alone, after its tries, and said`, () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const model = yield* scriptedModel()
    model.setFault(({ prompt }) => (prompt.includes("poison") ? { _tag: "Text", change: () => reply } : undefined))
    yield* Effect.gen(function*() {
      const conversations = yield* makeEntity(ingestorBehaviour)
      const source = memorySubject(of, "ingestor")
      yield* conversations.execute(source, { _tag: "ReceiveTurns", turns: [turn("a", "I like poison ivy.")] }, { cause: "1" })
      yield* conversations.execute(source, close, { cause: "2" })
      yield* conversations.execute(source, { _tag: "ReceiveTurns", turns: [turn("b", "I like roses.")] }, { cause: "3" })
      yield* conversations.execute(source, close, { cause: "4" })
      const events = yield* compressed.pipe(Effect.provide(compressor({ METAMEM_LLM_URL: model.url, METAMEM_EXTRACTOR: "model" })))
      const failed = events.filter(({ type }) => type === "ExtractionFailed")
      assert.equal(failed.map(({ data }) => data.turns), [["a"]])
      assert.ok(failed[0]?.data.error.length > 0)
      assert.equal(events.filter(({ type }) => type === "MemoriesRecorded").map(({ data }) => data.memories.map(({ turns }: { turns: unknown }) => turns)), [[["b"]]])
    }).pipe(Effect.provide(logOn(url)))
  }), 30_000)

effect(test, "what was given up is a dead letter; retried it stays while the model fails, and then brings its facts, once", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const model = yield* scriptedModel()
    model.setFault(() => ({ _tag: "Text", change: () => "no JSON at all" }))
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const conversations = yield* makeEntity(ingestorBehaviour)
      const source = memorySubject(of, "ingestor")
      yield* conversations.execute(source, { _tag: "ReceiveTurns", turns: [turn("a", "I like roses."), turn("b", "I like ivy.")] }, { cause: "1" })
      yield* conversations.execute(source, close, { cause: "2" })
      yield* Layer.build(compressor({ METAMEM_LLM_URL: model.url, METAMEM_EXTRACTOR: "model" }))
      const events = yield* compressed
      const [failed] = events.filter(({ type }) => type === "ExtractionFailed")
      const [letter] = yield* listDead()
      assert.ok(letter !== undefined && failed !== undefined)
      assert.equal([letter.actor, letter.kind, letter.error, letter.tries], ["compressor", "extraction", failed.data.error, failed.data.attempts])
      assert.not.match(JSON.stringify(letter), /roses|ivy/)

      assert.match((yield* Effect.flip(retryDead(letter))).message, /extraction failed again/)
      assert.is((yield* listDead()).length, 1)
      model.setFault(undefined)
      assert.is(yield* retryDead(letter), true)
      assert.equal(yield* listDead(), [])
      const recorded = (yield* compressed).filter(({ type }) => type === "MemoriesRecorded")
      assert.equal(recorded.map(({ data }) => [data.segments, data.memories.length > 0]), [[failed.data.segments, true]])
      const head = yield* log.head("MEMORY")
      assert.equal(yield* request(letter.again!.subject, JSON.parse(letter.again!.payload), 10_000), { facts: 0 })
      assert.is(yield* log.head("MEMORY"), head)
    }).pipe(Effect.provide(logOn(url)))
  }), 40_000)

effect(test, "short segments share a call of the model; when the call fails, each is tried alone and only the bad one is given up", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    const run = (poisoned: boolean) =>
      Effect.gen(function*() {
        const model = yield* scriptedModel()
        if (poisoned) model.setFault(({ prompt }) => (prompt.includes("poison") ? { _tag: "Text", change: () => "no JSON at all" } : undefined))
        const conversation = poisoned ? "bad" : "good"
        const source = memorySubject({ ...of, conversation }, "ingestor")
        const target = memorySubject({ ...of, conversation }, "compressor")
        const log = yield* EventLog
        const conversations = yield* makeEntity(ingestorBehaviour)
        // Hours lie between them, so each is a segment of its own.
        const turns = ["I like poison ivy.", "I like roses.", "I like tulips."].map((text, n) => ({ ...turn(`${n}`, text), time: `2026-03-0${n + 2}T18:04:00.000Z` }))
        yield* conversations.execute(source, { _tag: "ReceiveTurns", turns }, { cause: "1" })
        const last = yield* conversations.execute(source, close, { cause: "2" })
        yield* Effect.gen(function*() {
          while (((yield* log.last(target))?.inputThrough ?? 0) < last.folded.sequence) yield* Effect.sleep(20)
        }).pipe(Effect.provide(compressor({ METAMEM_LLM_URL: model.url, METAMEM_EXTRACTOR: "model" })))
        const events = (yield* log.load(target)).flatMap(({ events }) => events as ReadonlyArray<{ readonly type: string; readonly data: any }>)
        const of_ = (type: string) => events.filter((event) => event.type === type)
        return {
          segments: of_("SegmentClosed").map(({ data }) => data.turns as ReadonlyArray<string>),
          facts: of_("MemoriesRecorded").flatMap(({ data }) => data.memories.map(({ turns }: { turns: ReadonlyArray<string> }) => turns.join())) as ReadonlyArray<string>,
          failed: of_("ExtractionFailed").map(({ data }) => data.turns as ReadonlyArray<string>),
          calls: new Set(of_("MemoriesRecorded").map(({ data }) => data.call)).size
        }
      })
    yield* Effect.gen(function*() {
      assert.equal(yield* run(false), { segments: [["0"], ["1"], ["2"]], facts: ["0", "1", "2"], failed: [], calls: 1 })
      assert.equal(yield* run(true), { segments: [["0"], ["1"], ["2"]], facts: ["1", "2"], failed: [["0"]], calls: 2 })
    }).pipe(Effect.provide(logOn(url)))
  }), 40_000)

test.run()
