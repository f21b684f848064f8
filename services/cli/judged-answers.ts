/** Answers under principles, judged, with the same prompt skeleton with and without principles. */
import { Effect, Option, Schema } from "effect"
import { request } from "#shared/actor/requests"
import type { Principle } from "#shared/domain/principle"
import type { Question, Verdict } from "#shared/domain/question"
import { requestSubject } from "#shared/eventlog/subjects"
import { principlesFor } from "#shared/metamemory/router"
import { CallStore } from "#shared/model/call-store"
import { JudgeKind, JudgeReply } from "#services/evaluator/protocol"
import { RolloutData } from "#services/retriever/protocol"
import { answerDeadlineMs, askedAtOnce } from "./asking.ts"
import { CommandFailed, root } from "./root.ts"
import type { Replayed, RunState } from "./runs.ts"

/** Actors that answer and judge, and note that a run's test was looked at. */
export const judgingActors = ["ingestor", "compressor", "embedder", "retriever", "evaluator", "reflector"] as const

const decodeRollout = Schema.decodeUnknownEffect(RolloutData)
const decodeJudge = Schema.decodeUnknownEffect(JudgeReply)
const decodeInForce = Schema.decodeUnknownEffect(Schema.Struct({ judge: JudgeKind }))

/** The judge of a run; for a run that names none, as an imported one, the one in force where answers are judged now. */
export const judgeOf = ({ parameters }: Pick<RunState, "parameters">) =>
  parameters === undefined
    ? request(requestSubject("evaluator", "ping"), {}, answerDeadlineMs).pipe(Effect.flatMap(decodeInForce), Effect.map(({ judge }) => judge))
    : Effect.succeed(parameters.judge)

export interface JudgedAnswer {
  readonly question: Question
  readonly response: string
  readonly verdict: Verdict
  readonly reason: string
  readonly evidenceIds: ReadonlyArray<string>
  readonly principles: ReadonlyArray<string>
  /** Of the prompt it was answered by; absent where it was not answered. */
  readonly template?: string
  /** Name of the model that answered, and of the one that judged; the latter absent of the lexical judge. */
  readonly reader?: string
  readonly judgedBy?: string
}

/** Who answered and who judged, by name. */
export const playersIn = (answers: ReadonlyArray<Pick<JudgedAnswer, "reader" | "judgedBy">>) => ({
  readers: [...new Set(answers.flatMap(({ reader }) => reader ?? []))],
  judges: [...new Set(answers.flatMap(({ judgedBy }) => judgedBy ?? []))]
})

/** What is said where others answered or judged than in the run, as whatever is set now may be. */
export const otherPlayers = (run: string, { parameters }: Pick<RunState, "parameters">, { judges, readers }: ReturnType<typeof playersIn>): ReadonlyArray<string> => {
  const told = (what: string, now: ReadonlyArray<string>, then: string | undefined) => (then === undefined || now.every((name) => name === then) ? [] : [`${what} by ${now.join(" and ")}, where ${run} was by ${then}`])
  return [...told("answered", readers, parameters?.models["answer"]), ...told("judged", judges, parameters?.models["judge"])]
}

/** One answer under a list of principles, judged. Replies are kept, so asking again after an interruption costs nothing. A failure is an `error`, never a wrong answer. */
export const answerAndJudge = (run: string, state: RunState, judge: JudgeKind, question: Question, principles: ReadonlyArray<Principle>, memoryPosition: number) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const store = yield* CallStore
    const parameters = state.parameters
    const shown = principlesFor(question.text, principles)
    const ref = { id: question.id, user: question.user }
    const failed = (reason: string): JudgedAnswer => ({ question, response: "", verdict: "error", reason, evidenceIds: [], principles: shown.map(({ id }) => id) })
    const rollout = yield* request(
      requestSubject("retriever", "rollout"),
      {
        tenant,
        run,
        step: -1,
        input: {
          question: ref,
          purpose: "report",
          draw: 0,
          sample: 0,
          principles: shown.map(({ id, scope, text }) => ({ id, text, scope })),
          temperature: 0,
          maxTokens: parameters?.maxTokens ?? 1_024,
          evidenceTokens: parameters?.evidenceTokens ?? 4_000,
          memoryPosition,
          runSeed: parameters?.seed ?? 0
        }
      },
      answerDeadlineMs
    ).pipe(Effect.flatMap(decodeRollout), Effect.result)
    if (rollout._tag === "Failure") return failed(rollout.failure.message)
    const kept = yield* store.get(tenant, question.user, rollout.success.callKey)
    if (Option.isNone(kept)) return failed("the reply is not in the call store: it was erased meanwhile")
    const { model: reader, templateVersion: template, text: response } = kept.value
    const judged = yield* request(
      requestSubject("evaluator", "judge"),
      { tenant, judge, answers: [{ question: ref, response }] },
      answerDeadlineMs
    ).pipe(Effect.flatMap(decodeJudge), Effect.result)
    const verdict = judged._tag === "Success" ? judged.success.verdicts[0] : undefined
    if (verdict === undefined) return { ...failed(judged._tag === "Failure" ? judged.failure.message : "the judge gave no verdict"), response, template, reader }
    const judgedBy = judged._tag === "Success" ? judged.success.model : undefined
    return {
      question, response, verdict: verdict.verdict, reason: verdict.reason, evidenceIds: rollout.success.evidenceIds, principles: shown.map(({ id }) => id), template, reader,
      ...(judgedBy === undefined ? {} : { judgedBy })
    } satisfies JudgedAnswer
  })

/**
 * Answers to each question under each generation, in that order. All are asked for together, so that no generation waits for another's
 * last answer; where generations show a question the same principles, it is asked once.
 */
export const answerGenerations = (run: string, state: RunState, judge: JudgeKind, generations: ReadonlyArray<Replayed>, questions: ReadonlyArray<Question>, memoryPosition: number, onProgress: (done: number, of: number) => void) =>
  Effect.gen(function*() {
    const keyed = generations.map(({ principles }) => questions.map((question) => ({
      key: JSON.stringify([question.id, question.user, principlesFor(question.text, principles).map(({ id, text }) => [id, text])]), question, principles
    })))
    const distinct = new Map(keyed.flat().map((ask) => [ask.key, ask]))
    let done = 0
    const answers = yield* Effect.forEach(
      distinct,
      ([key, { principles, question }]) =>
        answerAndJudge(run, state, judge, question, principles, memoryPosition).pipe(
          Effect.tap(() => Effect.sync(() => onProgress(++done, distinct.size))),
          Effect.map((answer) => [key, answer] as const)
        ),
      { concurrency: yield* askedAtOnce }
    )
    const byKey = new Map(answers)
    return keyed.map((asks) => asks.flatMap(({ key }) => byKey.get(key) ?? []))
  })

/** Fails when no answer at all was judged: there is no accuracy then, and most likely nobody to ask. */
export const someJudged = (answers: ReadonlyArray<Pick<JudgedAnswer, "verdict" | "reason">>, then: string): Effect.Effect<void, CommandFailed> =>
  answers.length === 0 || answers.some(({ verdict }) => verdict !== "error")
    ? Effect.void
    : Effect.fail(new CommandFailed({ message: `none of ${answers.length} answers could be had and judged; ${then}. The first: ${answers[0]?.reason}` }))

/** Of answering and judging, without what came before. @param started as `performance.now()` told it */
export const secondsAnswering = (started: number): number => Math.round(performance.now() - started) / 1_000
