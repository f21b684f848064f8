/** Real parts for whole runs: a nats-server of its own, the scripted model, the evaluator and reflector as they are, and a reader without an index. */
import { ConfigProvider, Effect, Layer, Schema, type Scope, Stream } from "effect"
import { JobFailed, runJobs } from "#shared/actor/jobs"
import { Leases } from "#shared/actor/lease"
import { request, RequestRefused, respond } from "#shared/actor/requests"
import type { Question } from "#shared/domain/question"
import { onErasure } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import type { Nats } from "#shared/eventlog/nats"
import * as NatsConnection from "#shared/eventlog/nats"
import { requestSubject, runFilter, runSubject } from "#shared/eventlog/subjects"
import { isAbstention } from "#shared/metamemory/lexical"
import { answerPrompt } from "#shared/metamemory/prompts"
import { makeQuestions, questionFailed } from "#shared/metamemory/questions"
import type { CallRequest } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { Models } from "#shared/model/models"
import * as Evaluator from "#services/evaluator/actor"
import * as Reflector from "#services/reflector/actor"
import { foldRun, makeVerifier } from "#services/reflector/analysis"
import { presets, type RunRequest } from "#services/reflector/parameters"
import { answerWords, type RolloutData, RolloutInput, RolloutRequest } from "#services/retriever/protocol"
import { testServer } from "#test/support/nats"
import { type ScriptedModel, scriptedModel, type ScriptedOptions } from "#test/support/scripted-model"

const subjects = ["kayak", "bicycle", "garden", "piano", "kitchen", "camera", "novel", "tent", "lamp", "carpet"]
const forms = [
  (thing: string, at: number) => `What colour is the ${thing} number ${at}?`,
  (thing: string, at: number) => `How many days ago did I clean the ${thing} number ${at}?`,
  (thing: string, at: number) => `What did you recommend for the ${thing} number ${at}?`
]

export const makeQuestion = (at: number): Question => ({
  id: `q${at}`,
  text: forms[at % 3]?.(subjects[at % 10] ?? "", at) ?? "",
  type: "single-session-user",
  answer: `zarquon${at}`,
  abstention: false,
  user: `u${at}`,
  cluster: `c${at}`
})

export const questions = (count: number): ReadonlyArray<Question> => Array.from({ length: count }, (_, at) => makeQuestion(at))
export const gold = new Map(questions(200).map(({ answer, text }) => [text, answer]))

export const runRequest = (all: ReadonlyArray<Question>, changed: Partial<RunRequest> = {}): RunRequest => {
  const refs = all.map(({ id, user }) => ({ id, user }))
  const part = (from: number, to: number) => {
    const [first, ...more] = refs.slice(from, to)
    if (first === undefined) throw new RangeError("too few questions")
    return [first, ...more] as const
  }
  return {
    ...presets.laptop, datasetHash: "d", seed: 3, steps: 2, batch: 8, samples: 3,
    train: part(0, 16), validation: part(16, 91), guard: part(91, 115), test: part(115, 117),
    ...changed
  }
}

const makeReader = Effect.gen(function*() {
  const models = yield* Models
  const known = yield* makeQuestions
  yield* onErasure(known.forget)
  /** Answers as the retriever would, from no evidence. */
  const read = (of: { readonly tenant: string; readonly run: string; readonly step: number; readonly only?: "key" }, input: RolloutInput) =>
    Effect.gen(function*() {
      const question = yield* known.load(of.tenant, input.question)
      const asked: CallRequest<"answer"> = {
        role: "answer",
        ...(input.model === undefined ? {} : { model: input.model }),
        messages: answerPrompt({ question: question.text, evidence: [], principles: input.principles }),
        parameters: { temperature: input.temperature, maxTokens: input.maxTokens },
        tenant: of.tenant, scope: question.user, templateVersion: "t",
        sample: { runSeed: input.runSeed, purpose: input.purpose, draw: input.draw, question: question.id, sample: input.sample },
        tags: { run: of.run, step: of.step }
      }
      if (of.only === "key") return { callKey: yield* models.keyOf(asked) }
      const reply = yield* models.call(asked)
      return {
        user: question.user, callKey: reply.key, evidenceHash: "", evidenceIds: [], usage: reply.usage, reused: reply.reused, abstained: isAbstention(reply.text), latencyMs: 0,
        features: { evidenceCount: 0, conversations: 0, spanDays: 0, answerWords: answerWords(reply.text) }
      } satisfies RolloutData
    })
  return { concurrency: models.casting("answer")?.concurrency ?? 16, read }
})

const reader = Effect.gen(function*() {
  const { concurrency, read } = yield* makeReader
  const decode = Schema.decodeUnknownEffect(RolloutInput)
  yield* runJobs({
    actor: "retriever", kind: "rollout", concurrency, maxAttempts: 3, heldMaxMs: 60_000, worker: "reader",
    run: (job) =>
      Effect.gen(function*() {
        const input = yield* decode(job.input).pipe(Effect.mapError((error) => new JobFailed({ message: error.message, final: true })))
        return yield* read(job, input)
      }).pipe(
        Effect.catchTag("UnknownQuestion", (error) => questionFailed(job.tenant, (job.input as RolloutInput).question)(error)),
        Effect.mapError((error) => (error._tag === "JobFailed" ? error : new JobFailed({ message: error.message, final: false })))
      )
  }).pipe(Effect.forkScoped)
})

/** Answers requests for rollouts as the reader answers jobs. */
const requestReader = Effect.gen(function*() {
  const { read } = yield* makeReader
  const decode = Schema.decodeUnknownEffect(RolloutRequest)
  const serve = (verb: string, handle: (payload: unknown) => Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>) =>
    respond<RequestRefused, never>({ subject: requestSubject("retriever", verb), queue: "retriever", concurrency: 8, handle: (payload) => Effect.mapError(handle(payload), ({ _tag, message }) => new RequestRefused({ tag: _tag, message })) }).pipe(Effect.forkScoped)
  yield* serve("ping", () => Effect.succeed({ through: 0 }))
  yield* serve("rollout", (payload) => Effect.flatMap(decode(payload), (asked) => read(asked, asked.input)))
})

export const connection = (url: string) => Layer.fresh(Layer.mergeAll(JetStreamLog.layer, Leases.layer).pipe(Layer.provideMerge(NatsConnection.layer({ url }))))

/** Settings under which the actors read the scripted model. */
export const configured = (modelUrl: string, more: Readonly<Record<string, string>> = {}) =>
  ConfigProvider.layer(ConfigProvider.fromUnknown({ METAMEM_LLM_URL: modelUrl, METAMEM_LLM_MODEL: "scripted", METAMEM_REFLECTOR_SCAN_SECONDS: "1", ...more }))

const models = Layer.provideMerge(Models.layer({ patience: { backoffMs: 5, closedMs: 100 } }), CallStore.layerJetStream)

/** Evaluator and reader. */
export const workers = Layer.mergeAll(Evaluator.layer, Layer.effectDiscard(reader)).pipe(Layer.provide(models))
/** What commands ask for single answers. */
export const answersOnRequest = Layer.effectDiscard(requestReader).pipe(Layer.provide(models))
export const reflector = Reflector.layer.pipe(Layer.provide(models))

export const register = (all: ReadonlyArray<Question>) => request(requestSubject("evaluator", "register"), { tenant: "t", questions: all }, 10_000)
export const openRun = (run: string, wanted: RunRequest) => request(requestSubject("reflector", "open"), { tenant: "t", run, request: wanted }, 10_000)

/** Waits until the actor answers. */
export const answering = (actor: "evaluator" | "reflector"): Effect.Effect<unknown, never, Nats> =>
  request(requestSubject(actor, "ping"), {}, 500).pipe(Effect.catch(() => Effect.andThen(Effect.sleep(30), answering(actor))))

export const finished = (run: string) =>
  Effect.flatMap(EventLog, (log) =>
    log.follow([runSubject({ tenant: "t", run })]).pipe(Stream.takeUntil((commit) => commit.events.some(({ type }) => type === "RunFinished")), Stream.runDrain))

export const stateOf = (run: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    return (yield* foldRun(yield* log.load(runSubject({ tenant: "t", run })))).state
  })

export const verification = (run: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const verifier = makeVerifier({ tenant: "t", run })
    yield* log.read([runFilter({ tenant: "t", run })]).pipe(Stream.runForEach(verifier.next))
    return verifier.end()
  })

export interface Stage {
  readonly url: string
  readonly home: string
  readonly model: ScriptedModel
}

export interface StageOptions {
  /** Of the actors. */
  readonly settings?: Readonly<Record<string, string>>
  readonly model?: ScriptedOptions
  /** Questions that are registered. */
  readonly known?: number
}

/** A server of its own, the scripted model and the workers, without a reflector. */
export const withWorkers = <A, E>(
  body: (stage: Stage) => Effect.Effect<A, E, EventLog | Nats | Leases | Scope.Scope>, { known = 117, model: scripted = { gold, models: ["scripted", "other"] }, settings = {} }: StageOptions = {}
) =>
  Effect.gen(function*() {
    const { home, url } = yield* testServer
    const model = yield* scriptedModel(scripted)
    return yield* Effect.gen(function*() {
      yield* Layer.build(workers)
      yield* answering("evaluator")
      if (known > 0) yield* register(questions(known))
      return yield* body({ url, home, model })
    }).pipe(Effect.provide(connection(url)), Effect.provide(configured(model.url, settings)))
  })

/** The same with a reflector. */
export const withReflector = <A, E>(body: (stage: Stage) => Effect.Effect<A, E, EventLog | Nats | Leases | Scope.Scope>, options: StageOptions = {}) =>
  withWorkers((stage) =>
    Effect.gen(function*() {
      yield* Layer.build(reflector)
      yield* answering("reflector")
      return yield* body(stage)
    }), options)
