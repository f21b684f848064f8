/** One verdict on one answer: by comparing words, or by asking the judge's model as often as the question's kind needs. */
import { Effect, Result } from "effect"
import type { Question, Verdict } from "#shared/domain/question"
import { judgementsNeeded, judgePrompt, judgeTemplateHash, majority } from "#shared/metamemory/judging"
import { judgeLexically } from "#shared/metamemory/lexical"
import type { Sample } from "#shared/model/call"
import { Models } from "#shared/model/models"
import type { JudgeKind, JudgementData } from "./protocol.ts"

export interface Judged {
  readonly data: JudgementData
  /** Holds words of the question. */
  readonly reason: string
}

export interface ToJudge {
  readonly tenant: string
  readonly question: Question
  readonly response: string
  readonly judge: JudgeKind
  /** Name of the judge's model; absent = the one that is set. */
  readonly model?: string
  readonly sample: Sample
  readonly run?: string
  readonly step?: number
}

/** Votes of one answer are told apart by their number, above the samples a run can have. */
const voteBase = 1_000

/** Fails when a vote cannot be had that could still decide; an answer that cannot be judged is an `error` verdict and no failure. */
export const judge = Effect.fnUntraced(function*(of: ToJudge) {
  const { question, response } = of
  if (of.judge === "lexical") {
    const { reason, verdict } = judgeLexically(question, response)
    return { data: { verdict, judge: "lexical", calls: [], promptTokens: 0, completionTokens: 0, reused: 0 }, reason } satisfies Judged as Judged
  }
  const models = yield* Models
  const votes = judgementsNeeded(question)
  const asked = yield* Effect.forEach(
    Array.from({ length: votes }, (_, vote) => vote),
    (vote) =>
      models.call({
        role: "judge",
        ...(of.model === undefined ? {} : { model: of.model }),
        messages: judgePrompt(question, response),
        parameters: { temperature: votes === 1 ? 0 : 0.7 },
        tenant: of.tenant,
        scope: question.user,
        templateVersion: judgeTemplateHash([question.type]),
        inputs: [question.id],
        // One vote is the one reply of its prompt, so that equal answers are judged once.
        ...(votes === 1 ? {} : { sample: { ...of.sample, sample: voteBase * (vote + 1) + of.sample.sample } }),
        tags: { ...(of.run === undefined ? {} : { run: of.run }), ...(of.step === undefined ? {} : { step: of.step }) }
      }).pipe(Effect.result),
    { concurrency: votes }
  )
  const replies = asked.flatMap((vote) => (Result.isSuccess(vote) ? [vote.success] : []))
  const verdicts = replies.map(({ value }): Verdict => (value.verdict === "yes" ? "correct" : "incorrect"))
  const isDecided = (["correct", "incorrect"] as const).some((verdict) => verdicts.filter((one) => one === verdict).length > votes / 2)
  const failure = asked.find(Result.isFailure)
  // Two of three that agree are the majority whatever the third would have said.
  if (!isDecided && failure !== undefined) return yield* Effect.fail(failure.failure)
  return {
    data: {
      verdict: majority(verdicts),
      judge: "model",
      calls: replies.map(({ key }) => key),
      promptTokens: replies.reduce((sum, { usage }) => sum + usage.promptTokens, 0),
      completionTokens: replies.reduce((sum, { usage }) => sum + usage.completionTokens, 0),
      reused: replies.filter(({ reused }) => reused).length
    },
    reason: replies.map(({ value }) => value.reason).join(" / ")
  } satisfies Judged as Judged
})
