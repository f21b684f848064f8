/** A what-if in figures and in lines for people. */
import { formatPosition } from "#shared/eventlog/position"
import type { Agreement, ArmCounts, Estimate } from "#shared/metamemory/what-if"
import { shareInPercent } from "#services/reflector/online-words"
import type { AnswersPaid } from "#services/reflector/run-events"
import { changeText, type StartingPoint } from "./change.ts"
import { table } from "./root.ts"
import type { RunState } from "./runs.ts"
import { percent, points, some } from "./shown.ts"

type Recorded = RunState["whatIfs"][number]
type Taken = Pick<Recorded, "reused" | "paid">

/** What a command took; absent parts are those of the record. */
interface Now extends Taken {
  /** True = it stood in the log, and nothing was asked. */
  readonly fromLog: boolean
}

const accuracyOf = ({ correct, incorrect }: ArmCounts): number | null => (correct + incorrect === 0 ? null : correct / (correct + incorrect))

/** A judge by name: `lexical`, or a model's. */
const judgeName = (name: string): string => (name === "lexical" ? "the lexical judge" : name)

/** Figures of answers under a change: all of one judge. */
const answersChanged = ({ counts, difference, overall, placebo }: Recorded) => ({
  /** Of the answers as asked, not weighted. */
  accuracy: { before: accuracyOf(counts.before), after: accuracyOf(counts.after), placebo: accuracyOf(counts.placebo) },
  difference: difference ?? null,
  overall: overall ?? null,
  placebo
})

/** Figures of two judges, each by itself; what is told of both is how far they agree. */
const judgeChanged = ({ agreement, by, counts, placebo }: Recorded) => ({
  judges: [
    { judge: by.before.judge, counts: counts.before, accuracy: accuracyOf(counts.before), placebo: { counts: counts.placebo, accuracy: accuracyOf(counts.placebo), difference: placebo } },
    { judge: by.after.judge, counts: counts.after, accuracy: accuracyOf(counts.after) }
  ],
  agreement: agreement ?? null
})

/** @param now what the command took that tells it; absent = the record alone is told */
export const reportOf = (run: string, { parameters, undersized }: Pick<StartingPoint, "parameters" | "undersized">, recorded: Recorded, now?: Now) => {
  const { answers, by, change, counts, generation, number, outcomes, paid, reused, samples, sequence } = recorded
  return {
    run, number, position: formatPosition({ log: "metamem", sequence }),
    from: generation, change, mode: "direct" as const, judge: parameters.judge, by, samples,
    validation: parameters.validation.length,
    inScope: outcomes.length,
    ...(change.kind === "judge" ? judgeChanged(recorded) : answersChanged(recorded)),
    errors: counts.before.errors + counts.after.errors + counts.placebo.errors,
    answers,
    fromLog: now?.fromLog ?? true,
    reused: now?.reused ?? reused, paid: now?.paid ?? paid,
    /** In all since it was first asked. */
    first: { reused, paid },
    undersized
  }
}
export type WhatIfReport = ReturnType<typeof reportOf>

const interval = ({ high, low, mean }: Estimate): ReadonlyArray<string> => [points(mean), low === null || high === null ? "too few clusters" : `${points(low)} to ${points(high)}`]

const paidText = ({ answers, completionTokens, judgements, promptTokens }: AnswersPaid): string => `${some(answers, "answer")} and ${some(judgements, "judgement")}, ${promptTokens} + ${completionTokens} tokens`

const takenText = ({ first, fromLog, number, paid, position, reused, run }: WhatIfReport): string =>
  fromLog
    ? `what-if ${number} of ${run} stands in the log (${position}), so nothing was asked; it took ${paidText(first.paid)}, with ${first.reused.answers} of ${first.reused.ofAnswers} answers from the log`
    : `${reused.answers} of ${reused.ofAnswers} answers were in the log; paid: ${paidText(paid)}; recorded as what-if ${number} of ${run} (${position})`

/** Two judges on the same answers. */
const agreementLines = ({ afterOnly, agreed, beforeOnly, bothRight, kappa, neither }: Agreement, before: string, after: string): ReadonlyArray<string> => [
  `both on the same ${bothRight + beforeOnly + afterOnly + neither} answers: they agree on ${percent(agreed.mean)} %${agreed.low === null || agreed.high === null ? "" : ` (95 % ${percent(Math.max(0, agreed.low))} to ${percent(Math.min(1, agreed.high))})`}, kappa ${kappa.toFixed(2)}`,
  table([["  right by both", String(bothRight)], [`  by ${before} only`, String(beforeOnly)], [`  by ${after} only`, String(afterOnly)], ["  by neither", String(neither)]])
]

const rightText = ({ correct, incorrect }: ArmCounts): string => `${correct} of ${correct + incorrect} answers right, ${shareInPercent(accuracyOf({ correct, incorrect, errors: 0 }))}`

const figureLines = (report: WhatIfReport): ReadonlyArray<string> => {
  if ("judges" in report) {
    const [before, after] = report.judges
    if (before === undefined || after === undefined) return []
    const [first, second] = [judgeName(before.judge), judgeName(after.judge)]
    return [
      `${first}, who judged the run: ${rightText(before.counts)}`,
      ...(before.placebo === undefined ? [] : [`  placebo, other samples: ${rightText(before.placebo.counts)}; difference, types counted as often as the data set has them, ${interval(before.placebo.difference).join(" points, 95 % ")}`]),
      `${second}: ${rightText(after.counts)}`,
      ...(report.agreement === null ? [] : agreementLines(report.agreement, first, second)),
      "figures of one judge say nothing beside those of another"
    ]
  }
  const { accuracy, difference, overall, placebo } = report
  return [
    table([
      ["in points", "", "95 %"],
      ...(difference === null ? [] : [["difference", ...interval(difference)]]),
      ...(overall === null ? [] : [["  over all questions", ...interval(overall)]]),
      ["placebo: nothing changed, other samples", ...interval(placebo)]
    ]),
    `right, every answer counted alike (differences count types as often as the data set has them): ${shareInPercent(accuracy.before)} before, ${shareInPercent(accuracy.after)} after, ${shareInPercent(accuracy.placebo)} placebo`
  ]
}

const happens = { drop: "shown something else", pin: "shown something else", reword: "shown something else", reader: "answered anew", judge: "judged anew" } as const

export const whatIfText = (report: WhatIfReport): string =>
  [
    `generation ${report.from} of ${report.run} ${changeText(report.change)}: ${report.inScope} of ${report.validation} validation questions are ${happens[report.change.kind]}, ${some(report.samples, "answer")} each; ${some(report.errors, "error")}`,
    ...figureLines(report),
    takenText(report),
    ...(report.undersized ? ["the run was too small for such figures to mean much"] : [])
  ].join("\n")

/** The what-ifs about a run that stand in its log, in order of number; none of an imported record, which cannot be asked. */
export const whatIfReports = (run: string, { parameters, undersized, whatIfs }: Pick<RunState, "parameters" | "undersized" | "whatIfs">): ReadonlyArray<WhatIfReport> =>
  parameters === undefined ? [] : whatIfs.map((recorded) => reportOf(run, { parameters, undersized }, recorded))

/** The outcome of one in a few words, for lists. */
export const outcomeText = (report: WhatIfReport): string => {
  if ("judges" in report) return report.agreement === null ? "" : `${percent(report.agreement.agreed.mean)} % agreed, kappa ${report.agreement.kappa.toFixed(2)}`
  return report.difference === null ? "" : `${interval(report.difference).join(", 95 % ")}; placebo ${points(report.placebo.mean)}`
}
