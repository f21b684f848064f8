/**
 * The claim of a run: one generation against the empty one on the questions its opening announced for a test. `metamem eval` records each
 * look at them before it answers and what it found after, and pools the first looks of the runs of several folds.
 */
import { Effect, Schema } from "effect"
import { verdictLetters } from "#shared/domain/question"
import { request } from "#shared/actor/requests"
import { requestSubject } from "#shared/eventlog/subjects"
import { pairedTest, type TestFigures, type TestOutcome } from "#shared/metamemory/paired-test"
import { lookFor } from "#services/reflector/looks"
import { ReportReply, TestReply } from "#services/reflector/protocol"
import { logLayer } from "./home.ts"
import { refuseElsewhere } from "./memory-here.ts"
import { CommandFailed, emit, root, table, WrongUsage } from "./root.ts"
import { foldRun, type RunState } from "./runs.ts"
import { points } from "./shown.ts"

const decodeTest = Schema.decodeUnknownEffect(TestReply)
const decodeReport = Schema.decodeUnknownEffect(ReportReply)

export interface Look {
  readonly look: number
  readonly generation: number
  readonly questions: ReadonlyArray<string>
  /** Evidence is taken up to here, at every repetition of the look. */
  readonly memoryPosition: number
}

/** Which generation a look is about: the recommended one where it is among those shown, else the last of them. */
export const generationTested = (shown: ReadonlyArray<number>, recommended: number | undefined): number =>
  recommended !== undefined && shown.includes(recommended) ? recommended : Math.max(...shown)

/** Records that announced questions are about to be answered; undefined when none of these is one. */
export const openLook = (run: string, state: Pick<RunState, "parameters">, questions: ReadonlyArray<{ readonly id: string; readonly user: string }>, generation: number) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const given = new Set(questions.map(({ id, user }) => JSON.stringify([id, user])))
    const asked = (state.parameters?.test ?? []).filter(({ id, user }) => given.has(JSON.stringify([id, user]))).map(({ id }) => id)
    if (asked.length === 0) return undefined
    const { look, memoryPosition } = yield* request(requestSubject("reflector", "test"), { tenant, run, generation, questions: asked }, 30_000).pipe(Effect.flatMap(decodeTest))
    return { look, generation, questions: asked, memoryPosition } satisfies Look as Look
  })

/**
 * Fails where a look that stands took its evidence from conversations that are elsewhere, before those of the data set are remembered here:
 * afterwards this log may be as long as the other one was.
 */
export const refuseLookElsewhere = (run: string, state: RunState, questions: ReadonlyArray<{ readonly id: string }>, generation: number) => {
  const look = lookFor(state, { generation, questions: questions.map(({ id }) => id) })
  return look === undefined ? Effect.void : refuseElsewhere(run, look.memoryPosition)
}

interface Judged {
  readonly question: { readonly id: string }
  readonly verdict: "correct" | "incorrect" | "error"
}

/** How each question of a look came out on both sides; one that was not answered is an error. */
export const outcomesOf = (questions: ReadonlyArray<string>, empty: ReadonlyArray<Judged>, tested: ReadonlyArray<Judged>): ReadonlyArray<TestOutcome> => {
  const [before, now] = [empty, tested].map((answers) => new Map(answers.map(({ question, verdict }) => [question.id, verdictLetters[verdict]])))
  return questions.map((question) => ({ question, empty: before?.get(question) ?? "e", tested: now?.get(question) ?? "e" }))
}

export interface TestedLook extends TestFigures {
  readonly look: number
  /** True for the one test that the run announced. */
  readonly first: boolean
  readonly generation: number
  /** Announced questions, and of them those asked in this look. */
  readonly announced: number
  readonly asked: number
}

/** Records what a look found, and gives the report that stands. */
export const reportLook = (run: string, state: RunState, { generation, look, questions }: Look, outcomes: ReadonlyArray<TestOutcome>) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const { counts, difference, high, low, p } = yield* request(requestSubject("reflector", "report"), { tenant, run, look, outcomes }, 30_000).pipe(Effect.flatMap(decodeReport))
    return { look, first: look === 1, generation, announced: state.parameters?.test.length ?? 0, asked: questions.length, counts, difference, low, high, p } satisfies TestedLook as TestedLook
  })

const figureText = ({ counts, difference, high, low, p }: TestFigures): string => {
  const interval = low === null || high === null ? "unknown: too few clusters" : `${points(low)} to ${points(high)}`
  return `${points(difference)} points (95 % ${interval}), one-sided p = ${p.toFixed(3)}; ${counts.gained} gained, ${counts.lost} lost, ${counts.errors} not judged`
}

/** One look in one line. */
export const lookText = (tested: TestedLook): string =>
  [
    `look ${tested.look} at the test split${tested.first ? ", the test that was announced" : ": no longer a first test"}: `,
    tested.generation === 0 ? "the empty generation, so there is nothing to claim; " : `generation ${tested.generation} against the empty one `,
    `on ${tested.asked} of ${tested.announced} announced questions: ${figureText(tested)}`
  ].join("")

/** A run's part of a pooled test: the first look at the generation it recommends. */
export const foldOf = (run: string, state: RunState): Effect.Effect<TestedLook & { readonly run: string; readonly outcomes: ReadonlyArray<TestOutcome & { readonly cluster: string; readonly user: string }> }, CommandFailed> => {
  const { parameters, recommended, tests } = state
  if (parameters === undefined || recommended === undefined) return Effect.fail(new CommandFailed({ message: `${run} is not finished, so it recommends nothing that could be pooled` }))
  const found = tests.find(({ generation, report }) => generation === recommended && report !== undefined)
  if (found?.report === undefined) {
    return Effect.fail(new CommandFailed({
      message: parameters.test.length === 0
        ? `${run} announced no questions for a test; \`metamem train --test FILE\` does, before anything is learnt`
        : `${run} has no reported test of generation ${recommended}, the one it recommends; \`metamem eval --data FILE --run ${run}\` on its test questions makes it`
    }))
  }
  const { counts, difference, high, low, outcomes, p } = found.report
  return Effect.succeed({
    run, look: found.look, first: found.look === 1, generation: recommended, announced: parameters.test.length, asked: found.questions.length, counts, difference, low, high, p,
    outcomes: outcomes.map((outcome) => {
      const { cluster, user } = state.questions.get(outcome.question) ?? { cluster: outcome.question, user: "" }
      return { ...outcome, cluster, user }
    })
  })
}

/** The runs of several folds tested together, each by what it recommends: a claim about the procedure, not about one generation. */
export const pooledTest = (runs: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    if (runs.length < 2 || new Set(runs).size < runs.length) return yield* new WrongUsage({ message: "--runs names two runs or more, each once, like fold-1,fold-2" })
    const states = yield* Effect.forEach(runs, (run) => foldRun(tenant, run))
    const folds = yield* Effect.forEach(runs, (run, at) => foldOf(run, states[at] as RunState))
    const judges = new Set(states.map(({ parameters }) => parameters?.judge))
    if (judges.size > 1) return yield* new CommandFailed({ message: `the runs were judged by different judges (${[...judges].join(", ")}), and figures of one do not stand beside those of another` })
    const seen = new Map<string, string>()
    for (const { outcomes, run } of folds) {
      for (const { question, user } of outcomes) {
        const before = seen.get(JSON.stringify([question, user]))
        if (before !== undefined) return yield* new CommandFailed({ message: `question ${question} was tested in ${before} and in ${run}: the test parts of folds may not overlap` })
        seen.set(JSON.stringify([question, user]), run)
      }
    }
    const result = {
      judge: [...judges][0] ?? "lexical",
      runs: folds.map(({ outcomes: _, ...fold }) => fold),
      pooled: pairedTest(folds.flatMap(({ outcomes }) => outcomes), "pooled"),
      first: folds.every(({ first }) => first),
      undersized: states.some(({ undersized }) => undersized)
    }
    yield* emit(result, ({ first, judge, pooled, runs, undersized }) =>
      [
        table([
          ["run", "recommends", "look", "questions", "to empty", "95 %", "p"],
          ...runs.map(({ announced, asked, difference, generation, high, look, low, p, run }) => [
            run, String(generation), String(look), `${asked} of ${announced}`, points(difference), low === null || high === null ? "?" : `${points(low)} to ${points(high)}`, p.toFixed(3)
          ])
        ]),
        `pooled over ${pooled.counts.questions} questions, what each run recommends against the empty generation: ${figureText(pooled)}; ${judge} judge`,
        ...(first ? [] : ["not every run is at its first look, so this is no longer a first test"]),
        ...(undersized ? ["a run among them was too small to mean much"] : [])
      ].join("\n"))
  }).pipe(Effect.provide(logLayer))
