/** `metamem eval`: a data set answered under generations of a run and judged, beside the empty one. */
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { readDataset } from "#shared/datasets/read-dataset"
import { EventLog } from "#shared/eventlog/event-log"
import { CallStore } from "#shared/model/call-store"
import { dataFlag, ensureBuilt, limited, limitFlag } from "./build.ts"
import { correctedAccuracy, judgedByType } from "./calibrate.ts"
import { type GenerationReport, reportOf, reportTables } from "./generation-report.ts"
import { withActors } from "./home.ts"
import { answerGenerations, judgeOf, judgingActors, otherPlayers, playersIn, secondsAnswering, someJudged } from "./judged-answers.ts"
import { accuracyPlot, plotFlag, writePlot } from "./plot.ts"
import { refuseElsewhere } from "./memory-here.ts"
import { emit, progressLine, root, say, WrongUsage } from "./root.ts"
import { runFlag, seenNote } from "./run-notes.ts"
import { foldRun, replayAll, type Replayed } from "./runs.ts"
import { generationTested, lookText, openLook, outcomesOf, pooledTest, refuseLookElsewhere, reportLook } from "./test-split.ts"

/** Numbers named like `all` or `0,2,3`. */
const wanted = (given: string, all: ReadonlyArray<Replayed>): Effect.Effect<ReadonlyArray<Replayed>, WrongUsage> => {
  if (given === "all") return Effect.succeed(all)
  const named = given.split(",").map((part) => part.trim())
  const found = named.map((name) => all.find(({ generation }) => String(generation) === name))
  const missing = named.filter((_, index) => found[index] === undefined)
  if (missing.length > 0) return Effect.fail(new WrongUsage({ message: `no generation ${missing.join(", ")}; the run has 0 to ${all.length - 1}. Give \`all\` or numbers like 0,2` }))
  return Effect.succeed(found.filter((generation) => generation !== undefined))
}

export const evaluate = Command.make(
  "eval",
  {
    data: dataFlag.pipe(Flag.optional),
    run: runFlag.pipe(Flag.optional),
    runs: Flag.String("runs").pipe(Flag.withDescription("Instead of both: runs like fold-1,fold-2, whose reported tests are pooled; no model is asked"), Flag.optional),
    generations: Flag.String("generations").pipe(Flag.withDescription("`all`, or numbers like 1,2, beside the empty one (default: all)"), Flag.withDefault("all")),
    limit: limitFlag,
    plot: plotFlag("accuracy by generation")
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      if (Option.isSome(input.runs)) {
        if (Option.isSome(input.data) || Option.isSome(input.run)) return yield* new WrongUsage({ message: "--runs pools tests that are reported already: give it without --data and --run" })
        return yield* pooledTest(input.runs.value.split(",").map((name) => name.trim()))
      }
      if (Option.isNone(input.data) || Option.isNone(input.run)) return yield* new WrongUsage({ message: "give --data FILE and --run R, or --runs A,B,… to pool tests that are reported already" })
      const run = input.run.value
      const dataset = limited(yield* readDataset(input.data.value), Option.getOrUndefined(input.limit))
      const result = yield* Effect.gen(function*() {
        const log = yield* EventLog
        const state = yield* foldRun(tenant, run)
        const all = yield* replayAll(tenant, run)
        // The empty generation is always answered too: every difference is to it.
        const chosen = yield* wanted(input.generations, all)
        const list = [...all.filter(({ generation }) => generation === 0), ...chosen.filter(({ generation }) => generation !== 0)]
        const judge = yield* judgeOf(state)
        const meant = generationTested(chosen.map(({ generation }) => generation), state.recommended)
        yield* refuseLookElsewhere(run, state, dataset.questions, meant)
        yield* ensureBuilt(dataset)
        const look = yield* openLook(run, state, dataset.questions, meant)
        const memoryPosition = look?.memoryPosition ?? (yield* log.head("MEMORY"))
        if (look !== undefined) yield* refuseElsewhere(run, memoryPosition)
        const progress = progressLine()
        const started = performance.now()
        const answers = yield* answerGenerations(run, state, judge, list, dataset.questions, memoryPosition, (done, of) => progress.update(`${done} of ${of} answered`))
        const seconds = secondsAnswering(started)
        yield* someJudged(answers.flat(), "nothing is reported, and the same command asks again")
        const [empty] = answers
        const tested = answers[list.findIndex(({ generation }) => generation === look?.generation)] ?? []
        const reports = list.map(({ generation }, at): GenerationReport => {
          const report = reportOf(generation, answers[at] ?? [], empty)
          const corrected = correctedAccuracy(state.calibrations, judge, judgedByType(answers[at] ?? []))
          return { ...report, ...(corrected === undefined ? {} : { corrected }) }
        })
        progress.end()
        const best = reports.reduce((one, other) => (other.accuracy > one.accuracy ? other : one))
        const test = look === undefined ? null : yield* reportLook(run, state, look, outcomesOf(look.questions, empty ?? [], tested))
        const errors = answers.flat().filter(({ verdict }) => verdict === "error")
        if (errors.length > 0) yield* say(`${errors.length} answers could not be had or judged; the same command asks for them again. The first: ${errors[0]?.reason}`)
        const by = playersIn(answers.flat())
        return { best: best.n, judge, by, notes: [...otherPlayers(run, state, by), ...seenNote(state, dataset.questions)], questions: dataset.questions.length, undersized: state.undersized, generations: reports, test, seconds }
      }).pipe(Effect.provide(CallStore.layerJetStream), withActors(judgingActors))
      if (Option.isSome(input.plot)) yield* writePlot(input.plot.value, accuracyPlot(result.generations, `Accuracy by generation, ${result.judge} judge`, { axis: "generation", undersized: result.undersized }))
      yield* emit(result, ({ best, generations, judge, notes, test, undersized }) =>
        [
          ...reportTables(generations),
          ...notes,
          `best on these questions: ${best}${test === null ? "" : ", which is no choice: what is best is chosen on the validation questions, and tested once"}; judged by the ${judge} judge${undersized ? "; the run was too small to mean much" : ""}`,
          test === null ? "none of these questions was announced for the run's test, so nothing here is a claim" : lookText(test)
        ].join("\n"))
    })
).pipe(Command.withDescription("Answer a data set under generations of a run, and compare them with the empty one; on announced questions, the run's test"))
