/** `metamem whatif --list` and `--show N`: what-ifs about a run that stand in the log, and branches of it. No model and no actor is asked. */
import { Effect, Option, Stream } from "effect"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { runSubject } from "#shared/eventlog/subjects"
import { reflectorCodec } from "#services/reflector/run-events"
import { shareInPercent } from "#services/reflector/online-words"
import { comparisonFigures } from "./branches.ts"
import { changeText } from "./change.ts"
import { logLayer } from "./home.ts"
import { CommandFailed, emit, root, table } from "./root.ts"
import { importedNote, smallSample } from "./run-notes.ts"
import { foldRun, runCommits, runNames, type RunState } from "./runs.ts"
import { points, some, toSecond } from "./shown.ts"
import { outcomeText, whatIfReports, whatIfText } from "./whatif-report.ts"

/** A run that goes on from a generation of another. */
interface BranchOf {
  readonly run: string
  readonly generation: number
  readonly change: string
  readonly seed: number
  readonly steps: number
  /** Of its generations, the last; null = it is not finished. */
  readonly last: number | null
  readonly principles: number
}

/** Where a run begins; undefined where it was not opened here. */
const openingOf = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const first = yield* (yield* EventLog).read([runSubject({ tenant, run })]).pipe(Stream.runHead)
    const [stored] = Option.isSome(first) ? first.value.events : []
    if (stored === undefined) return undefined
    const event = yield* Effect.fromResult(reflectorCodec.decode(stored))
    return event._tag === "RunOpened" ? event.parameters : undefined
  })

/** Branches of a run, those that are placebos too. */
const branchesOf = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const names = (yield* runNames(tenant)).filter((name) => name !== run)
    const found = yield* Effect.forEach(names, (name) =>
      Effect.gen(function*() {
        const branch = (yield* openingOf(tenant, name))?.branch
        if (branch?.run !== run) return []
        const { generations, parameters, phase } = yield* foldRun(tenant, name)
        return [{
          run: name, generation: branch.generation, change: branch.change, seed: parameters?.seed ?? 0, steps: parameters?.steps ?? 0,
          last: phase._tag === "Finished" ? generations.length - 1 : null, principles: generations.at(-1)?.principles.length ?? 0
        } satisfies BranchOf as BranchOf]
      }), { concurrency: 8 })
    return found.flat()
  })

/** When each was last recorded, by its position. */
const recordedAt = (tenant: string, run: string) => Effect.map(runCommits(tenant, run), (commits) => new Map(commits.map(({ sequence, time }) => [formatPosition({ log: "metamem", sequence }), time])))

const branchLines = (branches: ReadonlyArray<BranchOf>): ReadonlyArray<string> =>
  branches.length === 0 ? [] : [
    "branches, with those where nothing changed:",
    table([
      ["  run", "from", "change", "seed", "to step", "generations", "principles"],
      ...branches.map(({ change, generation, last, principles, run, seed, steps }) => [`  ${run}`, String(generation), change, String(seed), String(steps), last === null ? "not finished" : String(last + 1), String(principles)])
    ])
  ]

/** Comparisons of branches, without their answers. */
const comparisonsOf = ({ comparisons }: RunState, times: ReadonlyMap<string, string>) =>
  comparisons.map(({ change, generation, judge, last, paid, pairs, part, questions, reused, sequence }) => {
    const position = formatPosition({ log: "metamem", sequence })
    return { position, time: times.get(position) ?? "", from: generation, change, last, questions: { part, count: questions.length }, judge, ...comparisonFigures({ pairs }), reused, paid }
  })

const comparisonLines = (comparisons: ReturnType<typeof comparisonsOf>): ReadonlyArray<string> =>
  comparisons.length === 0 ? [] : [
    "evolution gone on from a generation, in branches beside unchanged ones, differences of their last generations in points:",
    table([
      ["  in this log since", "from", "change", "to step", "seeds", "questions", "judge", "difference", "unchanged"],
      ...comparisons.map(({ change, difference, from, judge, last, placebo, questions, reseeds, time }) => [
        `  ${toSecond(time)}`, String(from), changeText(change), String(last), String(reseeds.length), `${questions.count} ${questions.part}`, judge,
        `${points(difference.mean)}, from ${points(difference.low)} to ${points(difference.high)}`, `${shareInPercent(placebo.low)} to ${shareInPercent(placebo.high)}`
      ])
    ])
  ]

export const listWhatIfs = (run: string) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const times = yield* recordedAt(tenant, run)
    const found = whatIfReports(run, state).map((report) => ({ ...report, time: times.get(report.position) ?? "" }))
    const branches = yield* branchesOf(tenant, run)
    const comparisons = comparisonsOf(state, times)
    yield* emit({ run, whatifs: found, comparisons, branches, undersized: state.undersized, modelCalls: 0 }, ({ whatifs }) => {
      const rows = (some: typeof whatifs) => some.map((one) => [`  ${one.number}`, toSecond(one.time), String(one.from), changeText(one.change), `${one.inScope} × ${one.samples}`, outcomeText(one), String(one.paid.calls)])
      const [ofAnswers, ofJudges] = [whatifs.filter(({ change }) => change.kind !== "judge"), whatifs.filter(({ change }) => change.kind === "judge")]
      return [
        ...(ofAnswers.length === 0 ? [] : [`what-ifs about generations of ${run}, differences in points, ${ofAnswers[0]?.judge} judge:`, table([["  number", "in this log since", "from", "change", "questions × answers", "difference", "calls paid"], ...rows(ofAnswers)])]),
        ...(ofJudges.length === 0 ? [] : ["two judges on the same answers:", table([["  number", "in this log since", "from", "change", "questions × answers", "agreement", "calls paid"], ...rows(ofJudges)])]),
        ...(whatifs.length === 0 ? [] : [`\`metamem whatif --run ${run} --show N\` tells one in full`]),
        ...comparisonLines(comparisons),
        ...branchLines(branches),
        ...(whatifs.length + branches.length > 0 ? [] : state.imported === undefined ? [`nobody has asked yet: \`metamem whatif --run ${run} --from G --drop P\` does`] : importedNote(state)),
        ...smallSample(state)
      ].join("\n")
    })
  }).pipe(Effect.provide(logLayer))

export const showWhatIf = (run: string, number: number) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const found = whatIfReports(run, state).find((one) => one.number === number)
    const recorded = state.whatIfs.find((one) => one.number === number)
    if (found === undefined || recorded === undefined) {
      const count = state.whatIfs.length
      return yield* new CommandFailed({ message: count === 0 ? `nobody has asked what would have been of ${run}` : `${run} has ${some(count, "what-if")}, numbered from 1, and no ${number}` })
    }
    const { outcomes, principles } = recorded
    const time = (yield* recordedAt(tenant, run)).get(found.position) ?? ""
    yield* emit({ ...found, time, principles, outcomes, modelCalls: 0 }, (shown) => whatIfText(shown))
  }).pipe(Effect.provide(logLayer))
