/**
 * The retriever: finds evidence, answers guided by the generation in force, and does the rollouts of runs. Live requests degrade within
 * their deadline and say so; jobs never degrade: they wait for the position their run pinned, search exactly, or fail.
 */
import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { Clock, Config, Effect, Layer, Schedule, Schema, Semaphore } from "effect"
import { makeEntity } from "#shared/actor/entity"
import { outageMs, runJobs } from "#shared/actor/jobs"
import { RequestRefused, serve } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import type { Nats } from "#shared/eventlog/nats"
import { parseMemorySubject } from "#shared/eventlog/subjects"
import { Positive } from "#shared/home/setting-values"
import type { MemoryIndex } from "#shared/memoryindex/memory-index"
import { makeQuestions } from "#shared/metamemory/questions"
import { Embeddings } from "#shared/model/embeddings"
import { Models } from "#shared/model/models"
import { settings as answerSettings } from "./answering.ts"
import { answersSubject, makeAsking } from "./asking.ts"
import { behaviour } from "./behaviour.ts"
import { candidatesOf } from "./candidates.ts"
import { verifyUser } from "./index-care.ts"
import { makeListing } from "./listing.ts"
import { indexUser, runProjection } from "./projection.ts"
import {
  AskRequest, AwaitRequest, type CandidatesReply, CandidatesRequest, FeedbackRequest, type IndexRebuildReply, IndexVerifyRequest, MemoriesRequest, type PingReply, RetrieveRequest, RolloutRequest
} from "./protocol.ts"
import { makeRetrieving } from "./retrieving.ts"
import { makeRollouts } from "./rollouts.ts"
import { makeVectorWait } from "./vectors.ts"

export const settings = Config.all({
  /** Interactive questions at once in this process. */
  requests: Config.schema(Positive, "METAMEM_RETRIEVER_REQUESTS").pipe(Config.withDefault(16)),
  /** Evidence shown to the reader of a live answer, in o200k tokens. */
  evidenceTokens: Config.schema(Positive, "METAMEM_EVIDENCE_TOKENS").pipe(Config.withDefault(4_000)),
  /** The same when the reader is the local model, which loses its way in more. */
  localEvidenceTokens: Config.schema(Positive, "METAMEM_LOCAL_EVIDENCE_TOKENS").pipe(Config.withDefault(120)),
  /** Tries of a rollout before it is settled as failed. */
  maxAttempts: Config.schema(Positive, "METAMEM_ROLLOUT_ATTEMPTS").pipe(Config.withDefault(3)),
  heldMaxMs: outageMs
})

export const layer: Layer.Layer<never, Config.ConfigError, EventLog | Nats | MemoryIndex | Embeddings | Models> = Layer.effectDiscard(
  Effect.gen(function*() {
    const { evidenceTokens, heldMaxMs, localEvidenceTokens, maxAttempts, requests } = yield* settings
    const { prompts } = yield* answerSettings
    const log = yield* EventLog
    const embeddings = yield* Embeddings
    const models = yield* Models
    const projection = yield* runProjection
    const answers = yield* makeEntity(behaviour, 1_000)
    const questions = yield* makeQuestions
    const vectors = yield* makeVectorWait(projection, embeddings)
    const reader = models.casting("answer")
    const small = prompts === "small" || (prompts === "auto" && reader?.isLocal === true)
    const liveTokens = reader?.isLocal === true ? localEvidenceTokens : evidenceTokens

    const { asOfFilter, find, retrieve, waitFor } = makeRetrieving({ embeddings, liveTokens, log, projection, vectors })
    const ask = makeAsking({ answers, log, models, projection, retrieve, small })
    const { forget, rollout } = yield* makeRollouts({ find, models, projection, questions, small, vectors })
    projection.onErased(({ tenant, user }) => {
      const holds = (subject: string): boolean => {
        const of = parseMemorySubject(subject)
        return of.tenant === tenant && of.user === user
      }
      forget(indexUser(tenant, user))
      questions.forget({ holds })
      answers.forget(holds)
    })

    yield* runJobs({
      actor: "retriever",
      kind: "rollout",
      concurrency: reader?.concurrency ?? 1,
      maxAttempts,
      heldMaxMs,
      worker: `${hostname()}:${process.pid}`,
      run: rollout
    }).pipe(Effect.retry(Schedule.spaced("1 second")), Effect.forkScoped)

    const answer = <A, E extends { readonly _tag: string; readonly message: string }, R>(verb: string, schema: Schema.Codec<A, unknown>, handle: (request: A, tell: ((part: unknown) => void) | undefined) => Effect.Effect<unknown, E, R>, concurrency = requests) =>
      serve({ actor: "retriever", verb, schema, concurrency, handle })
    yield* answer("ping", Schema.Unknown, () => Effect.sync(() => ({ through: projection.through() }) satisfies PingReply))
    yield* answer("retrieve", RetrieveRequest, (request) => Effect.map(retrieve(request), ({ behind, evidence, latencyMs }) => ({ behind, evidence, latencyMs })))
    yield* answer("ask", AskRequest, ask)
    yield* answer("memories", MemoriesRequest, makeListing({ asOfFilter, projection, waitFor }))
    yield* answer("rollout", RolloutRequest, rollout, Math.max(requests, reader?.concurrency ?? 1))
    const rebuilding = yield* Semaphore.make(1)
    yield* answer("index-rebuild", Schema.Unknown, () =>
      rebuilding.withPermits(1)(Effect.gen(function*() {
        const started = yield* Clock.currentTimeMillis
        const done = yield* projection.rebuild
        return { ...done, seconds: ((yield* Clock.currentTimeMillis) - started) / 1_000 } satisfies IndexRebuildReply
      })))
    yield* answer("index-verify", IndexVerifyRequest, ({ tenant, user }) =>
      verifyUser({ log, projection, embeddings }, tenant, user))
    yield* answer("candidates", CandidatesRequest, ({ after, count, from, tenant, user }) =>
      Effect.gen(function*() {
        yield* waitFor(after, 30_000)
        const seen = projection.through()
        return { ...(yield* candidatesOf(projection, indexUser(tenant, user), from, count)), seen } satisfies CandidatesReply
      }))
    yield* answer("await", AwaitRequest, ({ deadlineMs, position }) =>
      Effect.gen(function*() {
        const behind = yield* waitFor(position, deadlineMs)
        if (behind.length > 0) return yield* new RequestRefused({ tag: "Behind", message: `the index stands at ${projection.through()}, before ${position}` })
        return { through: projection.through() }
      }))
    yield* answer("feedback", FeedbackRequest, (request) =>
      Effect.map(
        answers.execute(
          answersSubject(request.tenant, request.user),
          { _tag: "RecordFeedback", answer: request.answer, verdict: request.verdict, comment: request.comment },
          { cause: `feedback ${request.answer} ${request.verdict} ${randomUUID()}` }
        ),
        ({ fresh }) => ({ recorded: fresh })
      ))
  })
)
