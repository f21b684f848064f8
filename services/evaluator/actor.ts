/**
 * The evaluator: keeps the questions of data sets, and judges answers to them, as jobs of a run or on request. Which judge it uses is
 * named with every verdict.
 */
import { createHash } from "node:crypto"
import { hostname } from "node:os"
import { Config, Effect, Layer, Option, Schedule, Schema } from "effect"
import { makeEntity } from "#shared/actor/entity"
import { callFailed, JobFailed, outageMs, runJobs } from "#shared/actor/jobs"
import { serve } from "#shared/actor/requests"
import { canonicalJson } from "#shared/domain/canonical-json"
import { onErasure } from "#shared/eventlog/erasure"
import type { EventLog } from "#shared/eventlog/event-log"
import type { Nats } from "#shared/eventlog/nats"
import { Positive } from "#shared/home/setting-values"
import { makeQuestions, questionFailed, questionsSubject } from "#shared/metamemory/questions"
import { CallStore } from "#shared/model/call-store"
import { Models } from "#shared/model/models"
import { behaviour } from "./behaviour.ts"
import { judge } from "./judge.ts"
import { JudgementInput, type JudgeKind, type JudgeReply, JudgeRequest, RegisterRequest, type RegisterReply } from "./protocol.ts"

export const settings = Config.all({
  /** `lexical` asks no model; `auto` = the model where an endpoint is set for the judge, else lexical. */
  judge: Config.Literals(["auto", "lexical", "model"], "METAMEM_JUDGE").pipe(Config.withDefault("auto" as const)),
  /** Tries of a judgement before it is settled as failed; a failed one counts as an error, never as wrong. */
  maxAttempts: Config.schema(Positive, "METAMEM_JUDGEMENT_ATTEMPTS").pipe(Config.withDefault(3)),
  heldMaxMs: outageMs,
  /** Lexical judgements at once in this process. */
  lexicalConcurrency: Config.schema(Positive, "METAMEM_JUDGE_LEXICAL_CONCURRENCY").pipe(Config.withDefault(16))
})

/** The judge in force where a request or run names none. */
const judgeInForce: Effect.Effect<JudgeKind, Config.ConfigError, Models> = Effect.gen(function*() {
  const { judge } = yield* settings
  const casting = (yield* Models).casting("judge")
  return judge === "auto" ? (casting === undefined || casting.isLocal ? "lexical" : "model") : judge
})

/** Runs until the scope closes. */
export const layer: Layer.Layer<never, Config.ConfigError, EventLog | Nats | Models | CallStore> = Layer.effectDiscard(
  Effect.gen(function*() {
    const { heldMaxMs, lexicalConcurrency, maxAttempts } = yield* settings
    const models = yield* Models
    const calls = yield* CallStore
    const entity = yield* makeEntity(behaviour, 2_000)
    const questions = yield* makeQuestions
    yield* onErasure((erased) => {
      entity.forget(erased.holds)
      questions.forget(erased)
    })
    const inForce = yield* judgeInForce

    const register = Effect.fnUntraced(function*({ questions, tenant }: RegisterRequest) {
      const users = Map.groupBy(questions, ({ user }) => user)
      const fresh = yield* Effect.forEach(
        users,
        ([user, own]) => {
          const cause = createHash("sha256").update(canonicalJson(own)).digest("base64url")
          return entity.execute(questionsSubject(tenant, user), { _tag: "RegisterQuestions", questions: own }, { cause }).pipe(Effect.map(({ events }) => events.length))
        },
        { concurrency: 16 }
      )
      const registered = fresh.reduce((sum, n) => sum + n, 0)
      return { registered, known: questions.length - registered } satisfies RegisterReply
    })

    const judgeAll = Effect.fnUntraced(function*(request: JudgeRequest) {
      const kind = request.judge ?? inForce
      const verdicts = yield* Effect.forEach(
        request.answers,
        (answer) =>
          Effect.gen(function*() {
            const question = yield* questions.load(request.tenant, answer.question)
            return yield* judge({
              tenant: request.tenant,
              question,
              response: answer.response,
              judge: kind,
              ...(request.model === undefined ? {} : { model: request.model }),
              sample: { runSeed: 0, purpose: "report", draw: 0, question: question.id, sample: 0 }
            }).pipe(
              Effect.map(({ data, reason }) => ({ verdict: data.verdict, reason })),
              // Could not be judged: said so, and never counted as wrong.
              Effect.catchTag("ModelError", (error) => Effect.succeed({ verdict: "error" as const, reason: error.message })),
              Effect.provideService(Models, models)
            )
          }),
        { concurrency: 32 }
      )
      const model = kind === "lexical" ? undefined : (request.model ?? Option.getOrUndefined(yield* Effect.option(models.identity("judge"))))
      return { judge: kind, ...(model === undefined ? {} : { model }), verdicts } satisfies JudgeReply
    })

    const decodeJudgement = Schema.decodeUnknownEffect(JudgementInput)
    const judgement = (job: { readonly tenant: string; readonly run: string; readonly step: number; readonly input: unknown }) =>
      Effect.gen(function*() {
        const input = yield* decodeJudgement(job.input).pipe(Effect.mapError((error) => new JobFailed({ message: `not a judgement: ${error.message}`, final: true })))
        const question = yield* questions.load(job.tenant, input.question).pipe(Effect.catch(questionFailed(job.tenant, input.question)))
        const call = yield* calls.get(job.tenant, question.user, input.callKey).pipe(Effect.mapError((error) => new JobFailed({ message: error.message, final: false })))
        if (Option.isNone(call)) {
          return yield* new JobFailed({ message: `the answer ${input.callKey} is not in the call store; was the user erased?`, final: false })
        }
        const { data } = yield* judge({ tenant: job.tenant, question, response: call.value.text, judge: input.judge, ...(input.model === undefined ? {} : { model: input.model }), sample: input.sample, run: job.run, step: job.step }).pipe(
          Effect.provideService(Models, models),
          Effect.mapError((error) => callFailed(error))
        )
        if (data.verdict === "error") return yield* new JobFailed({ message: "no verdict could be read from the judge's replies", final: input.judge === "lexical" })
        return data
      })

    const casting = models.casting("judge")
    const atOnce = inForce === "model" && casting !== undefined ? casting.concurrency : lexicalConcurrency
    yield* runJobs({
      actor: "evaluator",
      kind: "judgement",
      concurrency: atOnce,
      maxAttempts,
      heldMaxMs,
      worker: `${hostname()}:${process.pid}`,
      run: judgement
    }).pipe(Effect.retry(Schedule.spaced("1 second")), Effect.forkScoped)

    const answer = { actor: "evaluator", concurrency: 16 } as const
    yield* serve({ ...answer, verb: "ping", schema: Schema.Unknown, handle: () => Effect.succeed({ judge: inForce }) })
    yield* serve({ ...answer, verb: "register", schema: RegisterRequest, handle: register })
    yield* serve({ ...answer, verb: "judge", schema: JudgeRequest, handle: judgeAll, concurrency: Math.max(16, atOnce) })
  })
)
