/**
 * What evolution comes to from a changed generation: branches in the log under several seeds, each beside one with nothing changed, and how
 * their last generations answer questions that none of them was trained or gated on.
 */
import { Effect, Result, Schema } from "effect"
import { verdictLetters } from "#shared/domain/question"
import { request } from "#shared/actor/requests"
import { canonicalJson } from "#shared/domain/canonical-json"
import { requestSubject } from "#shared/eventlog/subjects"
import { digest } from "#shared/metamemory/random"
import { inScope } from "#shared/metamemory/router"
import { runBudget } from "#services/reflector/behaviour"
import type { RunParameters, RunQuestion, RunRequest } from "#services/reflector/parameters"
import { CompareReply, type Comparison } from "#services/reflector/protocol"
import type { BranchEnd, RerunChange } from "#services/reflector/run-events"
import { verdictCount } from "#services/reflector/stages"
import { some } from "./shown.ts"
import { answerAll, type Ask } from "./arms.ts"
import { changed, changeText, reflectingRoles, type StartingPoint, startingPoint } from "./change.ts"
import { refuseOtherMemory } from "./memory-here.ts"
import { CommandFailed, root, say, WrongUsage } from "./root.ts"
import { foldRun } from "./runs.ts"
import { openLook } from "./test-split.ts"
import { openRun, runToEnd } from "./run-to-end.ts"

/** Branches at once; each keeps the models as busy as a run does. */
const atOnce = 2
const reseedsMax = 50

interface Planned {
  readonly run: string
  readonly seed: number
  readonly request: RunRequest
}

const refs = (questions: ReadonlyArray<RunQuestion>) => questions.map(({ id, user }) => ({ id, user }))
const nonEmptyRefs = ([first, ...more]: RunParameters["train"]) => [{ id: first.id, user: first.user }, ...refs(more)] as const

/** Who judges, reflects and answers in a branch: by name as in the run it comes from, whatever is set now, but for what is changed. */
const playersOf = ({ judge, models, reflector }: RunParameters, change: RerunChange | undefined): Pick<RunRequest, "judge" | "models" | "reflector"> => {
  if (change?.kind === "reader") return { judge, reflector, models: { ...models, answer: change.model } }
  if (change?.kind === "judge") return { judge: change.judge, reflector, models: { ...models, ...(change.model === undefined ? {} : { judge: change.model }) } }
  if (change?.kind !== "reflector") return { judge, reflector, models }
  const { model } = change
  // Rules stay beside a model where they were.
  const kind = change.reflector === "model" && reflector === "both" ? reflector : change.reflector
  return { judge, reflector: kind, models: { ...models, ...(model === undefined ? {} : Object.fromEntries(reflectingRoles.map((role) => [role, model]))) } }
}

/**
 * One branch. Its name says what it is, so asking for the same again goes on with it or reads it.
 *
 * @param change absent = the placebo @param last number of its last step
 */
export const plannedBranch = (of: { readonly run: string; readonly from: number; readonly start: StartingPoint; readonly principles: StartingPoint["principles"]; readonly change?: RerunChange; readonly last: number; readonly seed: number }): Planned => {
  const { change, from, last, principles, run, seed, start } = of
  const { algorithm, branch, guard, memoryPosition, models, templates, test, tokenLimits, train, validation, ...chosen } = start.parameters
  const what = change === undefined ? "same" : `${change.kind}-${digest(canonicalJson(change)).slice(0, 8)}`
  return {
    run: `${run}-g${from}-${what}-${last}-s${seed}`,
    seed,
    request: {
      ...chosen,
      ledger: start.ledger,
      seed,
      steps: last,
      // The run it comes from was allowed to run; what its size says is said of both.
      anyway: true,
      train: nonEmptyRefs(train), validation: nonEmptyRefs(validation), guard: refs(guard), test: refs(test),
      ...playersOf(start.parameters, change),
      ...(change?.kind === "gate" ? { gate: change.policy } : {}),
      branch: { run, generation: from, step: start.step, change: change === undefined ? "nothing changed" : changeText(change), principles, memoryPosition }
    }
  }
}

export interface BranchOutcome {
  readonly run: string
  readonly generations: number
  readonly principles: number
  /** Of the last generation, on questions judged; null when none was. */
  readonly accuracy: number | null
}

export interface Reseeded {
  readonly seed: number
  readonly changed: BranchOutcome
  readonly placebo: BranchOutcome
  readonly difference: number | null
}

export interface Spread {
  /** In ascending order; shares. */
  readonly values: ReadonlyArray<number>
  readonly mean: number | null
  readonly low: number | null
  readonly high: number | null
}

export const spreadOf = (values: ReadonlyArray<number | null>): Spread => {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b)
  return { values: known, mean: known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length, low: known[0] ?? null, high: known.at(-1) ?? null }
}

const outcomeOf = ({ generation, outcomes, principles, run }: BranchEnd): BranchOutcome => {
  const [right, judged] = [verdictCount(outcomes, "c"), outcomes.replaceAll("e", "").length]
  return { run, generations: generation + 1, principles, accuracy: judged === 0 ? null : right / judged }
}

/** Figures of branches compared: each pair, and over all seeds. */
export const comparisonFigures = ({ pairs }: Pick<Comparison, "pairs">) => {
  const reseeds = pairs.map(({ changed, placebo, seed }): Reseeded => {
    const [now, same] = [outcomeOf(changed), outcomeOf(placebo)]
    return { seed, changed: now, placebo: same, difference: now.accuracy === null || same.accuracy === null ? null : now.accuracy - same.accuracy }
  })
  return { reseeds, difference: spreadOf(reseeds.map(({ difference }) => difference)), placebo: spreadOf(reseeds.map(({ placebo }) => placebo.accuracy)) }
}

const decodeReply = Schema.decodeUnknownEffect(CompareReply)

/** What is said before branches are asked questions whose one test is still to be made. */
export const firstLookText = (questions: number): string =>
  `they are compared on the ${some(questions, "question")} announced for the run's test, which is a look at them: where that test is still to be made, stop here and give \`metamem eval\` on them first`

/** Runs branches and placebos to their end, or reads those that stand, and compares their last generations. */
export const rerun = (run: string, from: number, change: RerunChange, steps: number | undefined, reseeds: number) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    if (reseeds < 1 || reseeds > reseedsMax) return yield* new WrongUsage({ message: `--reseeds is a number from 1 to ${reseedsMax}; below five a distribution cannot be seen` })
    if (steps !== undefined && steps < 1) return yield* new WrongUsage({ message: "--steps is at least 1" })
    const start = yield* startingPoint(tenant, run, from)
    const after = changed(start, change)
    if (Result.isFailure(after)) return yield* new WrongUsage({ message: after.failure })
    const { parameters } = start
    const [part, questions] = parameters.test.length > 0 ? ["test", parameters.test] as const : ["guard", parameters.guard] as const
    if (questions.length === 0) return yield* new CommandFailed({ message: `${run} has neither test nor guard questions: there is nothing to compare branches by` })
    yield* refuseOtherMemory(tenant, run, parameters.memoryPosition)
    const last = start.step + (steps ?? Math.max(1, parameters.steps - start.step))
    const seeds = Array.from({ length: reseeds }, (_, at) => parameters.seed + at)
    const pairs = seeds.map((seed) => ({
      changed: plannedBranch({ run, from, start, principles: after.success, change, last, seed }),
      placebo: plannedBranch({ run, from, start, principles: start.principles, last, seed })
    }))
    const planned = pairs.flatMap((pair) => [pair.changed, pair.placebo])
    const expected = planned.reduce((sum, { request: { branch, gate, steps } }) => sum + runBudget({ ...parameters, steps, gate, ...(branch === undefined ? {} : { branch }) }, start.mixedShare).calls, 0)
    yield* say(`${planned.length} branches of ${some(last - start.step, "step")}, about ${Math.round(expected).toLocaleString("en")} calls if nothing of them stands in the log; kill it at any time, the same command goes on`)
    if (part === "test" && !start.isTested) yield* say(firstLookText(questions.length))
    // The first, a changed one, before any other: where it is refused, an unchanged one that was opened would go on by itself, and be paid for.
    const opened = yield* openRun(pairs[0]!.changed.run, pairs[0]!.changed.request)
    const results = yield* Effect.forEach(planned, (one, at) => runToEnd(one.run, one.request, (line) => say(`${one.run}: ${line}`), at === 0 ? opened : undefined), { concurrency: atOnce })
    const states = new Map(yield* Effect.forEach(planned, (one) => Effect.map(foldRun(tenant, one.run), (state) => [one.run, state] as const)))
    const readerOf = ({ run }: Planned): string | undefined => states.get(run)?.parameters?.models["answer"]
    const asks = planned.flatMap((one) => {
      const reader = readerOf(one)
      const principles = states.get(one.run)?.generations.at(-1)?.principles ?? []
      return questions.map((question): Ask => ({
        question, arm: one.run, purpose: "report", sample: 0, draw: 0,
        principles: principles.filter((principle) => inScope(principle, question.questionClass)),
        ...(reader === undefined ? {} : { reader }),
        // One yardstick for all branches, whoever judged within them.
        judge: parameters.judge
      }))
    })
    // Whoever reads what this finds has seen the test split: a look at the run it comes from, and at each branch.
    const look = part === "test" ? yield* openLook(run, { parameters }, questions, from) : undefined
    for (const [branch, state] of part === "test" ? states : []) yield* openLook(branch, state, questions, state.generations.length - 1)
    const { answers, judgeSet, paid, reused } = yield* answerAll(tenant, run, parameters, asks)
    const byArm = Map.groupBy(answers, ({ ask }) => ask.arm)
    const end = (one: Planned): BranchEnd => {
      const last = states.get(one.run)?.generations.at(-1)
      return {
        run: one.run, generation: last?.number ?? 0, hash: last?.hash ?? "", principles: last?.principles.length ?? 0, reader: readerOf(one) ?? "",
        outcomes: (byArm.get(one.run) ?? []).map(({ verdict }) => verdictLetters[verdict]).join("")
      }
    }
    const found: Comparison = {
      generation: from, change, last, part, questions: questions.map(({ id }) => id),
      judge: parameters.judge === "lexical" ? "lexical" : (parameters.models["judge"] ?? judgeSet ?? parameters.judge),
      pairs: pairs.map((pair) => ({ seed: pair.changed.seed, changed: end(pair.changed), placebo: end(pair.placebo) })),
      reused, paid
    }
    const { position } = yield* request(requestSubject("reflector", "compare"), { tenant, run, found }, 30_000).pipe(Effect.flatMap(decodeReply))
    const figures = comparisonFigures(found)
    const sum = (pick: (result: (typeof results)[number]) => number) => results.reduce((total, result) => total + pick(result), 0)
    return {
      run, from, change, mode: "rerun", judge: parameters.judge,
      /** Of the comparison in the log. */
      position,
      /** Who answers in the branches, and by whom they are compared. */
      reader: { changed: found.pairs[0]?.changed.reader ?? "", placebo: found.pairs[0]?.placebo.reader ?? "" },
      questions: { part, count: questions.length },
      /** Number of the look at the test split; null = other questions were asked. */
      look: look?.look ?? null,
      ...figures,
      errors: answers.filter(({ verdict }) => verdict === "error").length + sum(({ errors }) => errors),
      /** Replies in branches, and answers to compare them by, that stood in the log. */
      reused: { calls: sum(({ cost }) => cost.reusedCalls), ...reused },
      calls: paid.calls + sum(({ calls }) => calls),
      promptTokens: paid.promptTokens + sum(({ cost }) => cost.promptTokens),
      completionTokens: paid.completionTokens + sum(({ cost }) => cost.completionTokens),
      undersized: start.undersized
    }
  })
