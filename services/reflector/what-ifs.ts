/** What-ifs about one generation of a run: each is recorded with how every answer came out, and the same one again is no further one. */
import { Result } from "effect"
import { canonicalJson } from "#shared/domain/canonical-json"
import { whatIfArms, whatIfFigures, type WhatIfArm, type WhatIfOutcome } from "#shared/metamemory/what-if"
import { gateQuestions } from "./parameters.ts"
import { type WhatIfFound, WhatIfRefused } from "./protocol.ts"
import type { AnswersPaid, RunEvent } from "./run-events.ts"
import type { RunState, WhatIf } from "./state.ts"

type Asked = Pick<WhatIfFound, "generation" | "change" | "principles" | "samples">

const askedText = ({ change, generation, principles, samples }: Asked): string => canonicalJson({ generation, change, principles, samples })

/**
 * What-ifs that ask the same, whatever they found: of the same generation, with the same change and as many samples. There is more than one
 * where the answers have other keys than those of before, or another model judged.
 *
 * @param judge name of the model that judges after the change; absent = whichever did
 */
export const whatIfsAsking = ({ whatIfs }: Pick<RunState, "whatIfs">, asked: Asked, judge?: string): ReadonlyArray<WhatIf> =>
  whatIfs.filter((one) => askedText(one) === askedText(asked) && (judge === undefined || one.by.after.judge === judge))

/** The what-if that rests on the same answers to the same, judged by the same, when there was one. */
export const whatIfLike = (state: Pick<RunState, "whatIfs">, found: Asked & Pick<WhatIfFound, "answers" | "by">): WhatIf | undefined =>
  whatIfsAsking(state, found).find(({ answers, by }) => answers === found.answers && canonicalJson(by) === canonicalJson(found.by))

export const nothingPaid: AnswersPaid = { calls: 0, answers: 0, judgements: 0, promptTokens: 0, completionTokens: 0 }
export const paidTogether = (a: AnswersPaid, b: AnswersPaid): AnswersPaid => ({
  calls: a.calls + b.calls, answers: a.answers + b.answers, judgements: a.judgements + b.judgements,
  promptTokens: a.promptTokens + b.promptTokens, completionTokens: a.completionTokens + b.completionTokens
})

/** Only errors may be made good: how an answer came out first stands. */
const madeGood = (before: WhatIfOutcome, now: WhatIfOutcome): WhatIfOutcome => {
  const letters = (arm: WhatIfArm): string => [...before[arm]].map((letter, sample) => (letter === "e" ? (now[arm][sample] ?? "e") : letter)).join("")
  return { question: before.question, before: letters("before"), after: letters("after"), placebo: letters("placebo") }
}

const errorsIn = (outcomes: ReadonlyArray<WhatIfOutcome>): number => outcomes.reduce((sum, outcome) => sum + whatIfArms.reduce((all, arm) => all + outcome[arm].split("e").length - 1, 0), 0)

export const recordWhatIf = (state: RunState, { answers, by, change, generation, outcomes, paid, principles, reused, samples }: WhatIfFound): Result.Result<ReadonlyArray<RunEvent>, WhatIfRefused> => {
  const refuse = (message: string) => Result.fail(new WhatIfRefused({ message }))
  const { parameters } = state
  if (parameters === undefined) return refuse("the record of an imported run has no validation questions to ask")
  if (!state.generations.some(({ number }) => number === generation)) return refuse(`the run has generations 0 to ${state.generations.length - 1}, and no ${generation}`)
  const place = new Map(parameters.validation.map(({ id }, at) => [id, at]))
  const byQuestion = new Map(outcomes.map((outcome) => [outcome.question, outcome]))
  if (outcomes.length === 0 || byQuestion.size < outcomes.length || outcomes.some(({ question }) => !place.has(question))) return refuse("a what-if is about validation questions of the run, each once")
  if (outcomes.some((outcome) => whatIfArms.some((arm) => outcome[arm].length !== samples))) return refuse(`every question has ${samples} answers before, after and as placebo`)
  const standing = whatIfLike(state, { generation, change, principles, samples, answers, by })
  const own = standing === undefined ? outcomes : standing.outcomes.map((before) => madeGood(before, byQuestion.get(before.question) ?? before))
  if (standing !== undefined && errorsIn(own) >= errorsIn(standing.outcomes)) return Result.succeed([])
  const ordered = own.toSorted((a, b) => (place.get(a.question) ?? 0) - (place.get(b.question) ?? 0))
  return Result.succeed([{
    _tag: "WhatIfAnswered", number: standing?.number ?? state.whatIfs.length + 1, generation, change, principles, samples, by: standing?.by ?? by, outcomes: ordered, answers, reused, paid,
    ...whatIfFigures(ordered, gateQuestions(parameters.validation, parameters.mix), change.kind === "judge" ? "judge" : "answers")
  }])
}
