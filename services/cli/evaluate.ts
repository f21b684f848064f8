/** `metamem eval` and `metamem infer`: answers under generations of a run, judged, with the same prompt skeleton with and without principles. */
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { Effect, Option, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { readDataset } from "#shared/datasets/read-dataset"
import type { Principle } from "#shared/domain/principle"
import type { Question, Verdict } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { requestSubject } from "#shared/eventlog/subjects"
import { isAbstention } from "#shared/metamemory/lexical"
import { principlesFor } from "#shared/metamemory/router"
import { clusterBootstrap, meanDifference } from "#shared/metamemory/statistics"
import { CallStore } from "#shared/model/call-store"
import { JudgeReply } from "#services/evaluator/protocol"
import { RolloutData } from "#services/retriever/protocol"
import { type AnswerLine, standingAnswers } from "./answers-file.ts"
import { answerDeadlineMs, askedAtOnce } from "./asking.ts"
import { dataFlag, limited, limitFlag } from "./build.ts"
import { correctedAccuracy } from "./calibrate.ts"
import { accuracyPlot, plotFlag, writePlot } from "./plot.ts"
import { withActors } from "./home.ts"
import { CommandFailed, emit, progressLine, root, say, table, WrongUsage } from "./root.ts"
import { foldRun, generationMeant, replayAll, type Replayed, type RunState } from "./runs.ts"
import { generationTested, lookText, openLook, outcomesOf, pooledTest, reportLook } from "./test-split.ts"
import { ensureBuilt } from "./train.ts"

const decodeRollout = Schema.decodeUnknownEffect(RolloutData)
const decodeJudge = Schema.decodeUnknownEffect(JudgeReply)

export interface JudgedAnswer {
  readonly question: Question
  readonly response: string
  readonly verdict: Verdict
  readonly reason: string
  readonly evidenceIds: ReadonlyArray<string>
  readonly principles: ReadonlyArray<string>
}

/** One answer under a list of principles, judged. Replies are kept, so asking again after an interruption costs nothing. A failure is an `error`, never a wrong answer. */
export const answerAndJudge = (run: string, state: RunState, question: Question, principles: ReadonlyArray<Principle>, memoryPosition: number) =>
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
    const response = kept.value.text
    const judged = yield* request(
      requestSubject("evaluator", "judge"),
      { tenant, ...(parameters === undefined ? {} : { judge: parameters.judge }), answers: [{ question: ref, response }] },
      answerDeadlineMs
    ).pipe(Effect.flatMap(decodeJudge), Effect.result)
    const verdict = judged._tag === "Success" ? judged.success.verdicts[0] : undefined
    if (verdict === undefined) return { ...failed(judged._tag === "Failure" ? judged.failure.message : "the judge gave no verdict"), response }
    return { question, response, verdict: verdict.verdict, reason: verdict.reason, evidenceIds: rollout.success.evidenceIds, principles: shown.map(({ id }) => id) } satisfies JudgedAnswer
  })

export interface GenerationReport {
  readonly n: number
  readonly correct: number
  readonly incorrect: number
  readonly error: number
  /** Correct of those judged; errors are in neither. */
  readonly accuracy: number
  /** Accuracy corrected for the judge's measured errors; absent where the run's judge was not calibrated. */
  readonly corrected?: number
  /** 95 %, clustered; of the raw accuracy. */
  readonly interval: readonly [number, number]
  readonly byType: Readonly<Record<string, { readonly correct: number; readonly total: number; readonly accuracy: number }>>
  /** Correct of the answerable questions that were answered at all. */
  readonly answeredAccuracy: number
  /** Unanswerable questions that were answered; answerable ones that were not. Shares. */
  readonly falseAnswers: number
  readonly falseAbstentions: number
  /** Accuracy if every error had been wrong, or right. */
  readonly worstCase: number
  readonly bestCase: number
  /** Paired difference to the empty generation on the same questions, with its standard error over clusters. */
  readonly difference?: { readonly mean: number; readonly standardError: number }
}

/** Of answering and judging, without what came before. */
const secondsSince = (started: number): number => Math.round(performance.now() - started) / 1_000

const share = (part: number, all: number): number => (all === 0 ? 0 : part / all)

export const reportOf = (n: number, answers: ReadonlyArray<JudgedAnswer>, empty: ReadonlyArray<JudgedAnswer> | undefined): GenerationReport => {
  const judged = answers.filter(({ verdict }) => verdict !== "error")
  const correct = judged.filter(({ verdict }) => verdict === "correct").length
  const error = answers.length - judged.length
  const types = [...new Set(answers.map(({ question }) => question.type))].sort()
  const answerable = judged.filter(({ question }) => !question.abstention)
  const unanswerable = judged.filter(({ question }) => question.abstention)
  const answered = answerable.filter(({ response }) => !isAbstention(response))
  const interval = clusterBootstrap(judged.map(({ question, verdict }) => ({ cluster: question.cluster, value: verdict === "correct" ? 1 : 0 })), `eval ${n}`)
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
    interval: [interval.low, interval.high],
    byType: Object.fromEntries(types.map((type) => {
      const own = judged.filter(({ question }) => question.type === type)
      const right = own.filter(({ verdict }) => verdict === "correct").length
      return [type, { correct: right, total: own.length, accuracy: share(right, own.length) }]
    })),
    answeredAccuracy: share(answered.filter(({ verdict }) => verdict === "correct").length, answered.length),
    falseAnswers: share(unanswerable.filter(({ response }) => !isAbstention(response)).length, unanswerable.length),
    falseAbstentions: share(answerable.length - answered.length, answerable.length),
    worstCase: share(correct, answers.length),
    bestCase: share(correct + error, answers.length),
    ...(paired === undefined || n === 0 ? {} : { difference: { mean: paired.mean, standardError: paired.standardError } })
  }
}

/**
 * Answers to each question under each generation, in that order. All are asked for together, so that no generation waits for another's
 * last answer; where generations show a question the same principles, it is asked once.
 */
export const answerGenerations = (run: string, state: RunState, generations: ReadonlyArray<Replayed>, questions: ReadonlyArray<Question>, memoryPosition: number, onProgress: (done: number, of: number) => void) =>
  Effect.gen(function*() {
    const keyed = generations.map(({ principles }) => questions.map((question) => ({
      key: JSON.stringify([question.id, question.user, principlesFor(question.text, principles).map(({ id, text }) => [id, text])]), question, principles
    })))
    const distinct = new Map(keyed.flat().map((ask) => [ask.key, ask]))
    let done = 0
    const answers = yield* Effect.forEach(
      distinct,
      ([key, { principles, question }]) =>
        answerAndJudge(run, state, question, principles, memoryPosition).pipe(
          Effect.tap(() => Effect.sync(() => onProgress(++done, distinct.size))),
          Effect.map((answer) => [key, answer] as const)
        ),
      { concurrency: yield* askedAtOnce }
    )
    const byKey = new Map(answers)
    return keyed.map((asks) => asks.flatMap(({ key }) => byKey.get(key) ?? []))
  })

const percent = (value: number) => (value * 100).toFixed(1)

/** Reports as tables: all questions, and by type. */
export const reportTables = (reports: ReadonlyArray<GenerationReport>): ReadonlyArray<string> => {
  const types = [...new Set(reports.flatMap(({ byType }) => Object.keys(byType)))].sort()
  const someErrors = reports.some(({ error }) => error > 0)
  return [
    table([
      ["generation", "correct", "incorrect", "error", "accuracy", ...(someErrors ? ["if errors were wrong–right"] : []), "corrected", "95 %", "to empty", "answered", "false answers", "false abstentions"],
      ...reports.map((g) => [
        String(g.n),
        String(g.correct),
        String(g.incorrect),
        String(g.error),
        percent(g.accuracy),
        ...(someErrors ? [`${percent(g.worstCase)}–${percent(g.bestCase)}`] : []),
        g.corrected === undefined ? "" : percent(g.corrected),
        `${percent(g.interval[0])}–${percent(g.interval[1])}`,
        g.difference === undefined ? "" : `${g.difference.mean >= 0 ? "+" : ""}${percent(g.difference.mean)} ± ${percent(g.difference.standardError)}`,
        percent(g.answeredAccuracy),
        percent(g.falseAnswers),
        percent(g.falseAbstentions)
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

/** Numbers named like `all` or `0,2,3`. */
const wanted = (given: string, all: ReadonlyArray<Replayed>): Effect.Effect<ReadonlyArray<Replayed>, WrongUsage> => {
  if (given === "all") return Effect.succeed(all)
  const named = given.split(",").map((part) => part.trim())
  const found = named.map((name) => all.find(({ generation }) => String(generation) === name))
  const missing = named.filter((_, index) => found[index] === undefined)
  if (missing.length > 0) return Effect.fail(new WrongUsage({ message: `no generation ${missing.join(", ")}; the run has 0 to ${all.length - 1}. Give \`all\` or numbers like 0,2` }))
  return Effect.succeed(found.filter((generation) => generation !== undefined))
}

/** Fails when no answer at all was judged: there is no accuracy then, and most likely nobody to ask. */
const someJudged = (answers: ReadonlyArray<Pick<JudgedAnswer, "verdict" | "reason">>, then: string): Effect.Effect<void, CommandFailed> =>
  answers.length === 0 || answers.some(({ verdict }) => verdict !== "error")
    ? Effect.void
    : Effect.fail(new CommandFailed({ message: `none of ${answers.length} answers could be had and judged; ${then}. The first: ${answers[0]?.reason}` }))

const actorsNeeded = ["ingestor", "compressor", "embedder", "retriever", "evaluator"] as const

export const evaluate = Command.make(
  "eval",
  {
    data: dataFlag.pipe(Flag.optional),
    run: Flag.String("run").pipe(Flag.withDescription("Name of the run"), Flag.optional),
    runs: Flag.String("runs").pipe(Flag.withDescription("Instead of both: runs like fold-1,fold-2, whose reported tests are pooled; no model is asked"), Flag.optional),
    generations: Flag.String("generations").pipe(Flag.withDescription("`all`, or numbers like 0,2 (default: all)"), Flag.withDefault("all")),
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
        yield* ensureBuilt(dataset)
        const look = yield* openLook(run, state, dataset.questions, generationTested(chosen.map(({ generation }) => generation), state.recommended))
        const memoryPosition = look?.memoryPosition ?? (yield* log.head("MEMORY"))
        const progress = progressLine()
        const started = performance.now()
        const answers = yield* answerGenerations(run, state, list, dataset.questions, memoryPosition, (done, of) => progress.update(`${done} of ${of} answered`))
        const seconds = secondsSince(started)
        yield* someJudged(answers.flat(), "nothing is reported, and the same command asks again")
        const [empty] = answers
        const tested = answers[list.findIndex(({ generation }) => generation === look?.generation)] ?? []
        const reports = list.map(({ generation }, at): GenerationReport => {
          const report = reportOf(generation, answers[at] ?? [], empty)
          const corrected = correctedAccuracy(state, report.accuracy)
          return { ...report, ...(corrected === undefined ? {} : { corrected }) }
        })
        progress.end()
        const shown = reports.filter(({ n }) => chosen.some(({ generation }) => generation === n))
        const best = shown.reduce((one, other) => (other.accuracy > one.accuracy ? other : one))
        const test = look === undefined ? null : yield* reportLook(run, state, look, outcomesOf(look.questions, empty ?? [], tested))
        const errors = answers.flat().filter(({ verdict }) => verdict === "error")
        if (errors.length > 0) yield* say(`${errors.length} answers could not be had or judged; the same command asks for them again. The first: ${errors[0]?.reason}`)
        return { best: best.n, judge: state.parameters?.judge ?? "lexical", questions: dataset.questions.length, undersized: state.undersized, generations: shown, test, seconds }
      }).pipe(Effect.provide(CallStore.layerJetStream), withActors([...actorsNeeded, "reflector"]))
      if (Option.isSome(input.plot)) yield* writePlot(input.plot.value, accuracyPlot(result.generations, `Accuracy by generation, ${result.judge} judge`, { axis: "generation", undersized: result.undersized }))
      yield* emit(result, ({ best, generations, judge, test, undersized }) =>
        [
          ...reportTables(generations),
          `best on these questions: ${best}; judged by the ${judge} judge${undersized ? "; the run was too small to mean much" : ""}`,
          test === null ? "none of these questions was announced for the run's test, so nothing here is a claim" : lookText(test)
        ].join("\n"))
    })
).pipe(Command.withDescription("Answer a data set under generations of a run, and compare them with the empty one; on announced questions, the run's test"))

export const infer = Command.make(
  "infer",
  {
    data: dataFlag,
    run: Flag.String("run").pipe(Flag.withDescription("Name of the run")),
    generation: Flag.Int("generation").pipe(Flag.withDescription("Which generation guides the answers (default: the one the run recommends)"), Flag.optional),
    out: Flag.String("out").pipe(Flag.withDescription("JSONL file to write, a line a question; an unfinished one is gone on with")),
    limit: limitFlag
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const whole = yield* readDataset(input.data)
      const dataset = limited(whole, Option.getOrUndefined(input.limit))
      const writing = (write: () => void) => Effect.try({ try: write, catch: (error) => new CommandFailed({ message: `${input.out} cannot be written: ${(error as Error).message}` }) })
      yield* writing(() => mkdirSync(dirname(input.out), { recursive: true }))
      const result = yield* Effect.gen(function*() {
        const state = yield* foldRun(tenant, input.run)
        const meant = yield* generationMeant(state, input.run, input.generation)
        const generation = (yield* replayAll(tenant, input.run)).find((candidate) => candidate.generation === meant)
        if (generation === undefined) return yield* new CommandFailed({ message: `the run ${input.run} has generations 0 to ${state.generations.length - 1}, and no ${meant}` })
        const of = { run: input.run, generation: generation.generation }
        const standing = yield* standingAnswers(input.out, of, whole.questions)
        yield* ensureBuilt(dataset)
        const ids = new Set(dataset.questions.map(({ id }) => id))
        yield* writing(() => writeFileSync(input.out, [...standing.values()].map((line) => `${JSON.stringify(line)}\n`).join("")))
        const due = dataset.questions.filter(({ id }) => !standing.has(id))
        // Whoever reads these answers has seen the test split: it counts as a look, the same that `eval` would take, but for the paired test.
        const look = yield* openLook(input.run, state, dataset.questions, generation.generation)
        const progress = progressLine()
        const log = yield* EventLog
        const memoryPosition = look?.memoryPosition ?? (yield* log.head("MEMORY"))
        let done = 0
        const started = performance.now()
        const answers = yield* Effect.forEach(
          due,
          (question) =>
            Effect.gen(function*() {
              const answer = yield* answerAndJudge(input.run, state, question, generation.principles, memoryPosition)
              const line: AnswerLine = {
                question_id: question.id,
                problem: question.text,
                memories: answer.evidenceIds,
                principles: answer.principles,
                groundtruth: question.answer,
                task: question.type,
                response: answer.response,
                reward: answer.verdict === "error" ? null : answer.verdict === "correct" ? 1 : 0,
                verdict: answer.verdict,
                reason: answer.reason,
                ...of
              }
              yield* writing(() => appendFileSync(input.out, `${JSON.stringify(line)}\n`))
              progress.update(`${++done} of ${due.length} answered`)
              return { verdict: answer.verdict, reason: answer.reason }
            }),
          { concurrency: yield* askedAtOnce }
        )
        const seconds = secondsSince(started)
        progress.end()
        const all = [...[...standing.values()].filter(({ question_id }) => ids.has(question_id)), ...answers]
        const count = (verdict: Verdict) => all.filter((one) => one.verdict === verdict).length
        yield* someJudged(all, `${input.out} holds a line with the reason for each, and the same command asks again`)
        const [correct, incorrect, error] = [count("correct"), count("incorrect"), count("error")]
        return { generation: meant, total: all.length, correct, incorrect, error, accuracy: share(correct, correct + incorrect), judge: state.parameters?.judge ?? "lexical", look: look?.look ?? null, undersized: state.undersized, seconds }
      }).pipe(Effect.provide(CallStore.layerJetStream), withActors([...actorsNeeded, "reflector"]))
      yield* emit(result, ({ accuracy, correct, error, generation, judge, look, total, undersized }) =>
        [
          `generation ${generation} of ${input.run}: ${correct} of ${total} correct (${(accuracy * 100).toFixed(1)} % of those judged, ${judge} judge), ${error} errors; written to ${input.out}`,
          ...(undersized ? ["the run was too small to mean much"] : []),
          ...(look === null ? [] : [`some of these questions were announced for the run's test, so this is look ${look} at them; \`metamem eval --data ${input.data} --run ${input.run} --generations ${generation}\` makes its paired test`])
        ].join("\n"))
    })
).pipe(Command.withDescription("Answer a data set under one generation and write the answers as JSONL; on announced questions, it counts as a look at the run's test"))
