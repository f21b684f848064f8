/** `metamem curve`: training accuracy step by step. No model and no actor is asked. */
import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import type { Verdict } from "#shared/domain/question"
import { shareInterval } from "#shared/metamemory/statistics"
import { curveOf } from "#services/reflector/analysis"
import { correctedAccuracy, judgedByType } from "./calibrate.ts"
import { logLayer } from "./home.ts"
import { accuracyPlot, plotFlag, type PlotPoint, writePlot } from "./plot.ts"
import { CommandFailed, emit, root, table } from "./root.ts"
import { importedNote, runFlag, smallSample } from "./run-notes.ts"
import { foldRun, replayAll, type RunState } from "./runs.ts"
import { percent } from "./shown.ts"

export interface CurveStep {
  readonly step: number
  /** Generation that guided the step's attempts, and the one it sealed. */
  readonly generation: number
  readonly sealed: number | null
  readonly correct: number
  readonly incorrect: number
  readonly errors: number
  readonly mixed: number
  /** Of the attempts judged; null when none was. */
  readonly accuracy: number | null
  /** Corrected for the judge's measured errors; absent where the run's judge was not calibrated. */
  readonly corrected?: number
  /** 95 %, clustered; of the raw accuracy. From 0 to 1 where all attempts were of one cluster. */
  readonly interval: readonly [number, number]
}

const verdictOfLetter: Readonly<Record<string, Verdict>> = { c: "correct", i: "incorrect" }

/** Training accuracy step by step. Batches differ and hard questions are repeated: something to watch, no evidence. */
export const curveReport = (state: RunState): ReadonlyArray<CurveStep> =>
  curveOf(state).map((point) => {
    const attempts = state.steps.find(({ step }) => step === point.step)?.attempts ?? []
    const values = attempts.flatMap(({ question, verdicts }) =>
      [...verdicts].flatMap((letter) => (letter === "e" ? [] : [{ cluster: state.questions.get(question)?.cluster ?? question, value: letter === "c" ? 1 : 0 }])))
    const judged = point.correct + point.incorrect
    const accuracy = judged === 0 ? null : point.correct / judged
    const answers = attempts.flatMap(({ question: id, verdicts }) => {
      const question = state.questions.get(id)
      return question === undefined ? [] : [...verdicts].map((letter) => ({ question, verdict: verdictOfLetter[letter] ?? "error" }))
    })
    const corrected = correctedAccuracy(state.calibrations, state.parameters?.judge, judgedByType(answers))
    return {
      ...point,
      sealed: state.generations.find(({ step }) => step === point.step)?.number ?? null,
      accuracy,
      ...(corrected === undefined ? {} : { corrected }),
      interval: shareInterval(values, `curve ${point.step}`)
    }
  })

export const curve = Command.make("curve", { run: runFlag, plot: plotFlag("training accuracy by step") }, ({ plot, run }) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const steps = curveReport(state)
    const generations = (yield* replayAll(tenant, run)).map(({ generation, hash, principles, step }) => ({ n: generation, step, hash, principles: principles.length }))
    if (Option.isSome(plot)) {
      if (steps.length === 0) return yield* new CommandFailed({ message: `${run} has no step with judged attempts yet: there is nothing to draw` })
      const shown = steps.flatMap(({ accuracy, interval, step }): ReadonlyArray<PlotPoint> => (accuracy === null ? [] : [{ n: step, accuracy, interval }]))
      yield* writePlot(plot.value, accuracyPlot(shown, `Training accuracy by step, run ${run}${state.parameters === undefined ? "" : `, ${state.parameters.judge} judge`}`, { axis: "step", undersized: state.undersized }))
    }
    const judge = state.parameters?.judge
    yield* emit({ run, judge: judge ?? null, steps, generations, undersized: state.undersized, modelCalls: 0 }, () =>
      [
        table([
          ["step", "generation", "correct", "incorrect", "errors", "accuracy", "95 %", "corrected", "both ways", "sealed"],
          ...steps.map((one) => [
            String(one.step), String(one.generation), String(one.correct), String(one.incorrect), String(one.errors),
            one.accuracy === null ? "?" : percent(one.accuracy),
            `${percent(one.interval[0])}–${percent(one.interval[1])}`,
            one.corrected === undefined ? "" : percent(one.corrected),
            String(one.mixed),
            one.sealed === null ? "" : String(one.sealed)
          ])
        ]),
        ...(judge === undefined ? [] : [`judged by the ${judge} judge`]),
        "training accuracy: batches differ and hard questions are repeated, so this is something to watch and no evidence",
        ...importedNote(state),
        ...smallSample(state)
      ].join("\n"))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("Training accuracy step by step; no model is asked"))
