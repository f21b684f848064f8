/**
 * Rollouts: attempts at a run's questions. They never degrade: each waits for the position its run pinned and for every vector up to it,
 * or fails.
 */
import { Clock, Effect, Schema } from "effect"
import { callFailed, JobFailed } from "#shared/actor/jobs"
import { isAbstention } from "#shared/metamemory/lexical"
import { type Questions, questionFailed } from "#shared/metamemory/questions"
import type { ModelError } from "#shared/model/errors"
import { Models } from "#shared/model/models"
import { answer, answerKey, type AnswerRequest, evidenceHash } from "./answering.ts"
import { makeLookups } from "./evidence-lookups.ts"
import { indexUser, type Projection } from "./projection.ts"
import { answerWords, type RolloutData, RolloutInput, type RolloutKey } from "./protocol.ts"
import type { Retrieving } from "./retrieving.ts"
import type { VectorWait } from "./vectors.ts"

const decodeRollout = Schema.decodeUnknownEffect(RolloutInput)

export interface RolloutParts {
  readonly find: Retrieving["find"]
  readonly models: Models["Service"]
  readonly projection: Pick<Projection, "awaitSequence" | "through">
  readonly questions: Questions
  readonly vectors: Pick<VectorWait, "all">
  /** Whether the reader gets the short prompt of small models. */
  readonly small: boolean
}

export const makeRollouts = Effect.fnUntraced(function*({ find, models, projection, questions, small, vectors }: RolloutParts) {
  const lookups = yield* makeLookups(({ asOfSequence, date, text, tokens, user }) =>
    Effect.andThen(vectors.all(user, asOfSequence), find(user, text, date, { asOfSequence }, tokens, undefined)))

  const rollout = (job: { readonly tenant: string; readonly run: string; readonly step: number; readonly input: unknown; readonly only?: "key" }) =>
    Effect.gen(function*() {
      const started = yield* Clock.currentTimeMillis
      const input = yield* decodeRollout(job.input).pipe(Effect.mapError((error) => new JobFailed({ message: `not a rollout: ${error.message}`, final: true })))
      if (!(yield* projection.awaitSequence(input.memoryPosition, 60_000))) {
        return yield* new JobFailed({ message: `the index has not reached position ${input.memoryPosition} of the memory log; it stands at ${projection.through()}`, final: false })
      }
      const question = yield* questions.load(job.tenant, input.question).pipe(Effect.catch(questionFailed(job.tenant, input.question)))
      const asOfSequence = Math.min(input.memoryPosition, question.asOf ?? input.memoryPosition)
      const { evidence, through } = yield* lookups.get({
        user: indexUser(job.tenant, question.user), text: question.text, date: question.date, asOfSequence, tokens: input.evidenceTokens, through: projection.through()
      }).pipe(
        Effect.mapError((error) => new JobFailed({ message: error.message, ...(error._tag === "EvidenceErased" ? { final: true, erased: true as const } : { final: false }) }))
      )
      if (through < input.memoryPosition) return yield* new JobFailed({ message: "the index was damaged meanwhile and is being filled again", final: false })
      const asked: AnswerRequest = {
        tenant: job.tenant,
        user: question.user,
        ...(input.model === undefined ? {} : { model: input.model }),
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
          answerWords: answerWords(reply.text)
        }
      } satisfies RolloutData
    })

  return { rollout, forget: lookups.forget }
})
