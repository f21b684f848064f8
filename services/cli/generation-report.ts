/** How generations did on judged answers: figures and tables. */
import { isAbstention } from "#shared/metamemory/lexical"
import { meanDifference, shareInterval } from "#shared/metamemory/statistics"
import type { JudgedAnswer } from "./judged-answers.ts"
import { table } from "./root.ts"
import { percent, share } from "./shown.ts"

export interface GenerationReport {
  readonly n: number
  readonly correct: number
  readonly incorrect: number
  readonly error: number
  /** Correct of those judged; errors are in neither. */
  readonly accuracy: number
  /** Accuracy corrected for the judge's measured errors; absent where the run's judge was not calibrated. */
  readonly corrected?: number
  /** 95 %, clustered; of the raw accuracy. From 0 to 1 where all questions are of one cluster. */
  readonly interval: readonly [number, number]
  readonly byType: Readonly<Record<string, { readonly correct: number; readonly total: number; readonly accuracy: number }>>
  /** Correct of the answerable questions that were answered at all; null where none was. */
  readonly answeredAccuracy: number | null
  /** Unanswerable questions that were answered; answerable ones that were not. Shares; null where there are no such questions. */
  readonly falseAnswers: number | null
  readonly falseAbstentions: number | null
  /** Accuracy if every error had been wrong, or right. */
  readonly worstCase: number
  readonly bestCase: number
  /** Paired difference to the empty generation on the same questions, with its standard error over clusters; null where there is only one. */
  readonly difference?: { readonly mean: number; readonly standardError: number | null }
}

const shareOf = (part: number, all: number): number | null => (all === 0 ? null : part / all)
const percentOr = (value: number | null, none: string): string => (value === null ? none : percent(value))

export const reportOf = (n: number, answers: ReadonlyArray<JudgedAnswer>, empty: ReadonlyArray<JudgedAnswer> | undefined): GenerationReport => {
  const judged = answers.filter(({ verdict }) => verdict !== "error")
  const correct = judged.filter(({ verdict }) => verdict === "correct").length
  const error = answers.length - judged.length
  const types = [...new Set(answers.map(({ question }) => question.type))].sort()
  const answerable = judged.filter(({ question }) => !question.abstention)
  const unanswerable = judged.filter(({ question }) => question.abstention)
  const answered = answerable.filter(({ response }) => !isAbstention(response))
  const before = new Map(empty?.map(({ question, verdict }) => [question.id, verdict]))
  const pairs = judged.flatMap(({ question, verdict }) => {
    const base = before.get(question.id)
    return base === undefined || base === "error" ? [] : [{ cluster: question.cluster, value: Number(verdict === "correct") - Number(base === "correct") }]
  })
  const paired = pairs.length === 0 ? undefined : meanDifference(pairs)
  return {
    n,
    correct,
    incorrect: judged.length - correct,
    error,
    accuracy: share(correct, judged.length),
    interval: shareInterval(judged.map(({ question, verdict }) => ({ cluster: question.cluster, value: verdict === "correct" ? 1 : 0 })), `eval ${n}`),
    byType: Object.fromEntries(types.map((type) => {
      const own = judged.filter(({ question }) => question.type === type)
      const right = own.filter(({ verdict }) => verdict === "correct").length
      return [type, { correct: right, total: own.length, accuracy: share(right, own.length) }]
    })),
    answeredAccuracy: shareOf(answered.filter(({ verdict }) => verdict === "correct").length, answered.length),
    falseAnswers: shareOf(unanswerable.filter(({ response }) => !isAbstention(response)).length, unanswerable.length),
    falseAbstentions: shareOf(answerable.length - answered.length, answerable.length),
    worstCase: share(correct, answers.length),
    bestCase: share(correct + error, answers.length),
    ...(paired === undefined || n === 0 ? {} : { difference: { mean: paired.mean, standardError: Number.isFinite(paired.standardError) ? paired.standardError : null } })
  }
}

/** Reports as tables: all questions, and by type. */
export const reportTables = (reports: ReadonlyArray<GenerationReport>): ReadonlyArray<string> => {
  const types = [...new Set(reports.flatMap(({ byType }) => Object.keys(byType)))].sort()
  const someErrors = reports.some(({ error }) => error > 0)
  return [
    table([
      ["generation", "correct", "incorrect", "error", "accuracy", ...(someErrors ? ["if errors were wrong–right"] : []), "95 %", "corrected", "to empty", "answered", "false answers", "false abstentions"],
      ...reports.map((g) => [
        String(g.n),
        String(g.correct),
        String(g.incorrect),
        String(g.error),
        percent(g.accuracy),
        ...(someErrors ? [`${percent(g.worstCase)}–${percent(g.bestCase)}`] : []),
        `${percent(g.interval[0])}–${percent(g.interval[1])}`,
        g.corrected === undefined ? "" : percent(g.corrected),
        g.difference === undefined ? "" : `${g.difference.mean >= 0 ? "+" : ""}${percent(g.difference.mean)} ± ${percentOr(g.difference.standardError, "?")}`,
        percentOr(g.answeredAccuracy, "–"),
        percentOr(g.falseAnswers, "–"),
        percentOr(g.falseAbstentions, "–")
      ])
    ]),
    table([
      ["correct by type", ...reports.map(({ n }) => `generation ${n}`)],
      ...types.map((type) => [type === "" ? "(none)" : type, ...reports.map(({ byType }) => {
        const own = byType[type]
        return own === undefined || own.total === 0 ? "" : `${percent(own.accuracy)} (${own.correct} of ${own.total})`
      })])
    ])
  ]
}
