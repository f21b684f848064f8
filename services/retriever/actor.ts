/**
 * The retriever: finds evidence, answers guided by the generation in force, and does the rollouts of runs. Live requests degrade within
 * their deadline and say so; jobs never degrade: they wait for the position their run pinned, search exactly, or fail.
 */
import { createHash, randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { Clock, Config, Effect, Layer, Result, Schedule, Schema, Semaphore } from "effect"
import { makeEntity } from "#shared/actor/entity"
import { callFailed, JobFailed, outageMs, runJobs } from "#shared/actor/jobs"
import { RequestRefused, respond } from "#shared/actor/requests"
import type { EvidenceItem } from "#shared/domain/evidence"
import type { Principle } from "#shared/domain/principle"
import { normaliseTime } from "#shared/domain/time"
import { EventLog } from "#shared/eventlog/event-log"
import type { LogUnavailable, Nats } from "#shared/eventlog/nats"
import { parsePosition } from "#shared/eventlog/position"
import { adoptedSubject, memorySubject, parseMemorySubject, requestSubject } from "#shared/eventlog/subjects"
import { Positive } from "#shared/home/setting-values"
import type { MemoryIndex } from "#shared/memoryindex/memory-index"
import type { Filter } from "#shared/memoryindex/user-index"
import { adoptionCodec, type GenerationAdopted } from "#shared/metamemory/events"
import { isAbstention } from "#shared/metamemory/lexical"
import { makeQuestions, questionFailed } from "#shared/metamemory/questions"
import { principlesFor } from "#shared/metamemory/router"
import { Embeddings } from "#shared/model/embeddings"
import type { ModelError } from "#shared/model/errors"
import { knownMin } from "#shared/model/known-words"
import { Models } from "#shared/model/models"
import { answer, answerKey, type AnswerRequest, evidenceHash, readAnswer, settings as answerSettings } from "./answering.ts"
import { behaviour } from "./behaviour.ts"
import { candidatesOf } from "./candidates.ts"
import { verifyUser } from "./index-care.ts"
import { makeLooks } from "./looks.ts"
import { indexUser, runProjection } from "./projection.ts"
import {
  answersConversation,
  type AskPart,
  type AskReply,
  AskRequest,
  AwaitRequest,
  type CandidatesReply,
  CandidatesRequest,
  FeedbackRequest,
  type IndexRebuildReply,
  IndexVerifyRequest,
  type MemoriesReply,
  MemoriesRequest,
  type PingReply,
  type RetrieveReply,
  RetrieveRequest,
  type RolloutData,
  RolloutInput,
  type RolloutKey,
  RolloutRequest
} from "./protocol.ts"
import { selectEvidence } from "./ranking/evidence.ts"
import { planQuestion } from "./ranking/plan.ts"
import { makeVectorWait } from "./vectors.ts"

export const settings = Config.all({
  /** Interactive questions at once in this process. */
  requests: Config.schema(Positive, "METAMEM_RETRIEVER_REQUESTS").pipe(Config.withDefault(16)),
  /** Evidence shown to the reader of a live answer, in o200k tokens. */
  evidenceTokens: Config.schema(Positive, "METAMEM_EVIDENCE_TOKENS").pipe(Config.withDefault(4_000)),
  /** The same when the reader is the local model, whose context is short. */
  localEvidenceTokens: Config.schema(Positive, "METAMEM_LOCAL_EVIDENCE_TOKENS").pipe(Config.withDefault(600)),
  /** Tries of a rollout before it is settled as failed. */
  maxAttempts: Config.schema(Positive, "METAMEM_ROLLOUT_ATTEMPTS").pipe(Config.withDefault(3)),
  heldMaxMs: outageMs
})

/** Longest wait for a live question's vector, milliseconds. */
const embedMsMax = 3_000

const bad = (message: string) => new RequestRefused({ tag: "BadRequest", message })

/** What a position or time in `asOf` filters by. */
const asOfFilter = (asOf: string | undefined): Result.Result<Filter, RequestRefused> => {
  if (asOf === undefined) return Result.succeed({})
  const position = parsePosition(asOf)
  if (position !== undefined) {
    return position.log === "memory" ? Result.succeed({ asOfSequence: position.sequence }) : Result.fail(bad(`${asOf} is a position of the metamem log; memories are folded by positions of the memory log`))
  }
  return Result.mapBoth(normaliseTime(asOf), {
    onSuccess: (asOfTime) => ({ asOfTime }),
    onFailure: ({ message }) => bad(`"${asOf}" is neither a position nor a time: ${message}`)
  })
}

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

    /** The generation in force for each tenant, followed from the log. */
    const adopted = new Map<string, { readonly event: GenerationAdopted; readonly sequence: number }>()
    const adoptedOf = Effect.fnUntraced(function*(tenant: string) {
      const last = yield* log.last(adoptedSubject(tenant))
      if (last === undefined) return undefined
      const known = adopted.get(tenant)
      if (known?.sequence === last.sequence) return known.event
      for (const stored of last.events) {
        const event = adoptionCodec.decode(stored)
        if (Result.isFailure(event)) return yield* event.failure
        adopted.set(tenant, { event: event.success, sequence: last.sequence })
      }
      return adopted.get(tenant)?.event
    })

    /** @param embedMs time for the question's vector, after which words alone decide; undefined = evidence without vectors is a failure */
    const find = Effect.fnUntraced(function*(user: string, question: string, at: string | undefined, filter: Filter, tokens: number, embedMs: number | undefined) {
      const speakers = (yield* projection.view(user, filter)).speakers
      const plan = planQuestion(question, speakers, at)
      // A vector of words that the model has no tokens for is near to any; such a question is answered by its words.
      const queries = (embeddings.known?.(question) ?? 1) >= knownMin ? plan.vectorQueries : []
      const embedded = yield* Effect.result(embeddings.embed(queries, { interactive: true }).pipe(embedMs === undefined ? (self) => self : Effect.timeout(embedMs)))
      if (Result.isFailure(embedded) && embedMs === undefined) return yield* new RequestRefused({ tag: "EmbeddingError", message: embedded.failure.message })
      // Taken after the wait: a view is valid only until the next change.
      const view = yield* projection.view(user, filter)
      const through = projection.through()
      const evidence: ReadonlyArray<EvidenceItem> = selectEvidence({ view, plan, vectors: Result.isSuccess(embedded) ? embedded.success : [], question, tokens })
      // Asked last, since it may look into the log.
      const stand = yield* vectors.stand(view.turns, through)
      return { evidence, behind: Result.isSuccess(embedded) && stand ? [] : ["vectors"], through }
    })

    /** Also waits for an index that is being filled again: what was found before must be found. */
    const waitFor = Effect.fnUntraced(function*(after: string | undefined, deadlineMs: number) {
      const position = after === undefined ? undefined : parsePosition(after)
      if (after !== undefined && position?.log !== "memory") return yield* bad(`"${after}" is not a position of the memory log`)
      return (yield* projection.awaitSequence(Math.max(position?.sequence ?? 0, projection.goal()), deadlineMs)) ? [] : ["words"]
    })

    const retrieve = Effect.fnUntraced(function*(request: RetrieveRequest) {
      const started = yield* Clock.currentTimeMillis
      const asOf = asOfFilter(request.asOf)
      if (Result.isFailure(asOf)) return yield* asOf.failure
      const user = indexUser(request.tenant, request.user)
      const words = yield* waitFor(request.after, request.deadlineMs * 0.4)
      const unvectored = yield* vectors.ofTurns(user, request.after, request.deadlineMs * 0.3)
      const filter: Filter = {
        ...asOf.success,
        ...(request.conversation === undefined ? {} : { conversation: request.conversation }),
        ...(request.kinds === undefined ? {} : { kinds: request.kinds }),
        ...(request.from === undefined ? {} : { from: request.from }),
        ...(request.to === undefined ? {} : { to: request.to })
      }
      const at = request.at ?? new Date(started).toISOString()
      const left = request.deadlineMs - ((yield* Clock.currentTimeMillis) - started)
      const { behind, evidence } = yield* find(user, request.question, at, filter, request.evidenceTokens ?? liveTokens, Math.min(Math.max(left, 50), embedMsMax))
      return { evidence, behind: [...new Set([...words, ...unvectored, ...behind])], latencyMs: (yield* Clock.currentTimeMillis) - started, at } satisfies RetrieveReply & { at: string }
    })

    const principlesOf = Effect.fnUntraced(function*(request: AskRequest) {
      if (request.principles !== undefined && request.generation !== undefined) return { principles: request.principles as ReadonlyArray<Principle>, generation: request.generation }
      const event = yield* adoptedOf(request.tenant)
      return event === undefined
        ? { principles: [], generation: { run: "", generation: 0 } }
        : { principles: event.principles, generation: { run: event.run, generation: event.generation } }
    })

    const ask = Effect.fnUntraced(function*(request: AskRequest, tell: ((part: AskPart) => void) | undefined) {
      const started = yield* Clock.currentTimeMillis
      // What the index shows is of this place in the log or later: an answer from before an erasure is not recorded.
      const seen = projection.through()
      const { at, behind, evidence } = yield* retrieve(request)
      const { generation, principles } = yield* principlesOf(request)
      const shown = principlesFor(request.question, principles)
      // The same question, asked for the same moment with the same evidence and guidance, is the same answer: asking again records nothing new.
      const answerId = createHash("sha256")
        .update(JSON.stringify([request.tenant, request.user, request.question, at, evidenceHash(evidence), generation]))
        .digest("hex")
        .slice(0, 32)
      const left = Math.max(request.deadlineMs - ((yield* Clock.currentTimeMillis) - started), 50)
      const reply = evidence.length === 0
        ? undefined
        : yield* Effect.result(
          answer({
            tenant: request.tenant,
            user: request.user,
            question: request.question,
            date: at,
            evidence,
            principles: shown,
            temperature: 0,
            maxTokens: small ? 48 : 1_024,
            sample: { runSeed: 0, purpose: "live", draw: 0, question: request.question, sample: 0 },
            small,
            isCited: true
          }, tell).pipe(Effect.provideService(Models, models), Effect.timeout(left))
        )
      const { answer: text, citations, marked } = readAnswer(request.question, evidence, reply, small)
      const late = reply !== undefined && Result.isFailure(reply) ? ["reader"] : []
      const usage = reply !== undefined && Result.isSuccess(reply) ? reply.success.usage : { promptTokens: 0, completionTokens: 0, estimated: false }
      const latencyMs = (yield* Clock.currentTimeMillis) - started
      yield* answers.execute(
        memorySubject({ tenant: request.tenant, user: request.user, conversation: answersConversation }, "retriever"),
        {
          _tag: "RecordAnswer",
          event: {
            _tag: "AnswerGiven",
            answer: answerId,
            question: request.question,
            askedAt: at,
            text,
            evidence: evidence.map(({ memoryId, score }) => ({ memory: memoryId, score })),
            generation,
            principles: shown.map(({ id }) => id),
            model: reply !== undefined && Result.isSuccess(reply) ? reply.success.model : "",
            call: reply !== undefined && Result.isSuccess(reply) ? reply.success.key : "",
            usage,
            behind: [...behind, ...late]
          }
        },
        { cause: answerId, seen }
      )
      return { answerId, answer: text, marked, citations, evidence, generation, latencyMs, usage, behind: [...behind, ...late] } satisfies AskReply
    })

    const listMemories = Effect.fnUntraced(function*(request: typeof MemoriesRequest.Type) {
      const asOf = asOfFilter(request.asOf)
      if (Result.isFailure(asOf)) return yield* asOf.failure
      yield* waitFor(request.after, 5_000)
      const user = indexUser(request.tenant, request.user)
      const view = yield* projection.view(user, asOf.success)
      const { conversation, from, kinds, to } = request
      const all = [view.turns, view.facts]
        .flatMap(({ memories, standing }) => (request.asOf === undefined ? memories : memories.filter((_, row) => standing[row] === 1)))
        .filter((memory) =>
          (conversation === undefined || memory.conversation === conversation) && (kinds === undefined || kinds.includes(memory.kind)) &&
          (from === undefined || memory.time >= from) && (to === undefined || memory.time <= to))
        // Of those that came in one commit at one time the last stays first, as in all the list.
        .toReversed()
        .sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : b.sequence - a.sequence))
        .slice(0, request.limit)
      const full = new Map((yield* projection.get(user, all.map(({ id }) => id))).map((memory) => [memory.id, memory]))
      return {
        memories: all.map(({ conversation, id, kind, meant, speaker, text, time, turns }) => {
          const supersededBy = request.asOf === undefined ? full.get(id)?.supersededBy : undefined
          return {
            id,
            kind,
            text: request.textMax === undefined ? text : text.slice(0, request.textMax).toWellFormed(),
            speaker,
            time,
            ...(meant === undefined ? {} : { meant }),
            conversation,
            turns,
            ...(supersededBy === undefined ? {} : { supersededBy }),
            searchableByVector: full.get(id)?.vector !== undefined
          }
        })
      } satisfies MemoriesReply
    })

    const looks = yield* makeLooks(({ asOfSequence, date, text, tokens, user }) =>
      Effect.andThen(vectors.all(user, asOfSequence), find(user, text, date, { asOfSequence }, tokens, undefined)))
    projection.onErased(({ tenant, user }) => {
      const holds = (subject: string): boolean => {
        const of = parseMemorySubject(subject)
        return of.tenant === tenant && of.user === user
      }
      looks.forget(indexUser(tenant, user))
      questions.forget({ holds })
      answers.forget(holds)
    })

    const decodeRollout = Schema.decodeUnknownEffect(RolloutInput)
    const rollout = (job: { readonly tenant: string; readonly run: string; readonly step: number; readonly input: unknown; readonly only?: "key" }) =>
      Effect.gen(function*() {
        const started = yield* Clock.currentTimeMillis
        const input = yield* decodeRollout(job.input).pipe(Effect.mapError((error) => new JobFailed({ message: `not a rollout: ${error.message}`, final: true })))
        if (!(yield* projection.awaitSequence(input.memoryPosition, 60_000))) {
          return yield* new JobFailed({ message: `the index has not reached position ${input.memoryPosition} of the memory log; it stands at ${projection.through()}`, final: false })
        }
        const question = yield* questions.load(job.tenant, input.question).pipe(Effect.catch(questionFailed(job.tenant, input.question)))
        const asOfSequence = Math.min(input.memoryPosition, question.asOf ?? input.memoryPosition)
        const { evidence, through } = yield* looks.get({
          user: indexUser(job.tenant, question.user), text: question.text, date: question.date, asOfSequence, tokens: input.evidenceTokens, through: projection.through()
        }).pipe(
          Effect.mapError((error) => new JobFailed({ message: error.message, ...(error._tag === "EvidenceErased" ? { final: true, erased: true as const } : { final: false }) }))
        )
        if (through < input.memoryPosition) return yield* new JobFailed({ message: "the index was damaged meanwhile and is being filled again", final: false })
        const asked: AnswerRequest = {
          tenant: job.tenant,
          user: question.user,
          question: question.text,
          date: question.date,
          evidence,
          principles: input.principles,
          temperature: input.temperature,
          maxTokens: input.maxTokens,
          sample: { runSeed: input.runSeed, purpose: input.purpose, draw: input.draw, question: question.id, sample: input.sample },
          tags: { run: job.run, step: job.step },
          small
        }
        const withReader = <A>(call: Effect.Effect<A, ModelError, Models>) =>
          call.pipe(Effect.provideService(Models, models), Effect.mapError((error) => callFailed(error)))
        if (job.only === "key") return { callKey: yield* withReader(answerKey(asked)) } satisfies typeof RolloutKey.Type
        const reply = yield* withReader(answer(asked))
        const times = evidence.map(({ time }) => Date.parse(time)).sort((a, b) => a - b)
        return {
          user: question.user,
          callKey: reply.key,
          evidenceHash: evidenceHash(evidence),
          evidenceIds: evidence.map(({ memoryId }) => memoryId),
          usage: reply.usage,
          reused: reply.reused,
          abstained: isAbstention(reply.text),
          latencyMs: (yield* Clock.currentTimeMillis) - started,
          features: {
            evidenceCount: evidence.length,
            conversations: new Set(evidence.map(({ conversation }) => conversation)).size,
            spanDays: times.length < 2 ? 0 : Math.round(((times.at(-1) ?? 0) - (times[0] ?? 0)) / 86_400_000),
            answerWords: reply.text.split(/\s+/).filter((word) => word !== "").length
          }
        } satisfies RolloutData
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

    const serve = <A, R>(verb: string, schema: Schema.Codec<A, unknown>, handle: (request: A, tell: ((part: unknown) => void) | undefined) => Effect.Effect<unknown, { readonly _tag: string; readonly message?: string }, R>, atOnce = requests) => {
      const decode = Schema.decodeUnknownEffect(schema)
      return respond<RequestRefused | LogUnavailable, R>({
        subject: requestSubject("retriever", verb),
        queue: "retriever",
        concurrency: atOnce,
        handle: (payload, tell) =>
          decode(payload).pipe(
            Effect.mapError((error) => bad(error.message)),
            Effect.flatMap((request) => handle(request, tell)),
            Effect.mapError((error) => new RequestRefused({ tag: error._tag, message: error.message ?? `${error._tag}` }))
          )
      }).pipe(Effect.forkScoped)
    }
    yield* serve("ping", Schema.Unknown, () => Effect.sync(() => ({ through: projection.through() }) satisfies PingReply))
    yield* serve("retrieve", RetrieveRequest, (request) => Effect.map(retrieve(request), ({ behind, evidence, latencyMs }) => ({ behind, evidence, latencyMs })))
    yield* serve("ask", AskRequest, ask)
    yield* serve("memories", MemoriesRequest, listMemories)
    yield* serve("rollout", RolloutRequest, rollout, Math.max(requests, reader?.concurrency ?? 1))
    const rebuilding = yield* Semaphore.make(1)
    yield* serve("index-rebuild", Schema.Unknown, () =>
      rebuilding.withPermits(1)(Effect.gen(function*() {
        const started = yield* Clock.currentTimeMillis
        const done = yield* projection.rebuild
        return { ...done, seconds: ((yield* Clock.currentTimeMillis) - started) / 1_000 } satisfies IndexRebuildReply
      })))
    yield* serve("index-verify", IndexVerifyRequest, ({ tenant, user }) =>
      verifyUser({ log, projection, embeddings }, tenant, user))
    yield* serve("candidates", CandidatesRequest, ({ after, count, from, tenant, user }) =>
      Effect.gen(function*() {
        yield* waitFor(after, 30_000)
        const seen = projection.through()
        return { ...(yield* candidatesOf(projection, indexUser(tenant, user), from, count)), seen } satisfies CandidatesReply
      }))
    yield* serve("await", AwaitRequest, ({ deadlineMs, position }) =>
      Effect.gen(function*() {
        const behind = yield* waitFor(position, deadlineMs)
        if (behind.length > 0) return yield* new RequestRefused({ tag: "Behind", message: `the index stands at ${projection.through()}, before ${position}` })
        return { through: projection.through() }
      }))
    yield* serve("feedback", FeedbackRequest, (request) =>
      Effect.map(
        answers.execute(
          memorySubject({ tenant: request.tenant, user: request.user, conversation: answersConversation }, "retriever"),
          { _tag: "RecordFeedback", answer: request.answer, verdict: request.verdict, comment: request.comment },
          { cause: `feedback ${request.answer} ${request.verdict} ${randomUUID()}` }
        ),
        ({ fresh }) => ({ recorded: fresh })
      ))
  })
)
