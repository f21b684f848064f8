/** What the log alone says of a run: `diff`, `blame`, `history`, `cost`, `curve`. No model and no actor is asked. */
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { Principle } from "#shared/domain/principle"
import { isRetirement } from "#shared/metamemory/effect"
import { blame, type DecidedOperation, diffGenerations, history, type History, type HistoryEntry } from "#shared/metamemory/generation"
import { inScope } from "#shared/metamemory/router"
import { clusterBootstrap } from "#shared/metamemory/statistics"
import { CallStore } from "#shared/model/call-store"
import { settings as roleSettings } from "#shared/model/roles"
import { attemptsOf, type CostRow, curveOf } from "#services/reflector/analysis"
import { correctedAccuracy } from "./calibrate.ts"
import { logLayer } from "./home.ts"
import { onlineEntries } from "./online.ts"
import { accuracyPlot, plotFlag, type PlotPoint, writePlot } from "./plot.ts"
import { repeatedLines, repeatedRequests } from "./repeated.ts"
import { CommandFailed, emit, root, table } from "./root.ts"
import { moneyOf, roleOf } from "./run-progress.ts"
import { costOfRun, foldRun, replayAll, replayRun, type RunResult, runResults, type RunState } from "./runs.ts"

export const runFlag = Flag.String("run").pipe(Flag.withDescription("Name of the run"))
export const principleArgument = Argument.String("principle").pipe(Argument.withDescription("Id of the principle, as `generations` shows it"))

/** With a sign; what rounds to nothing is `+0.0`. */
export const points = (share: number | null): string => {
  if (share === null) return "?"
  const rounded = Number((share * 100).toFixed(1))
  return `${rounded < 0 ? "" : "+"}${Math.abs(rounded) === 0 ? "0.0" : rounded.toFixed(1)}`
}
const percent = (share: number): string => (share * 100).toFixed(1)
/** A number of things in words. */
export const some = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`
/** What an imported record cannot tell. */
export const importedNote = (state: RunState): ReadonlyArray<string> =>
  state.imported === undefined ? [] : [`an imported record: it holds ${state.imported.contents !== undefined ? "generations, attempts and proposals, and neither who judged, which principles an attempt went without, nor" : state.steps.length === 0 ? "generations, and neither attempts nor" : "generations and the verdicts on its attempts, and not"} what they cost`]
export const smallSample = (state: RunState): ReadonlyArray<string> => (state.undersized ? ["the run was too small to mean much"] : [])

// diff ----------------------------------------------------------------------------------------------------------------------------------

const diff = Command.make(
  "diff",
  { run: runFlag, from: Argument.Int("from").pipe(Argument.withDescription("Generation to start from")), to: Argument.Int("to").pipe(Argument.withDescription("Generation to get to")) },
  ({ from, run, to }) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const [old, now] = [yield* replayRun(tenant, run, from), yield* replayRun(tenant, run, to)]
      yield* emit({ run, from, to, ...diffGenerations(old.principles, now.principles), modelCalls: 0 }, ({ added, changed, kept, removed }) =>
        [
          `generation ${from} → ${to} of ${run}: ${added.length} added, ${removed.length} removed, ${changed.length} changed, ${kept} kept`,
          ...removed.map(({ id, scope, text }) => `- ${id} [${scope}] ${text}`),
          ...added.map(({ id, scope, text }) => `+ ${id} [${scope}] ${text}`),
          ...changed.map(({ after, before, id }) => `~ ${id} [${after.scope}] ${before.text}\n  → ${after.text}`)
        ].join("\n"))
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("What two generations of a run differ in; no model is asked"))

// blame and history ---------------------------------------------------------------------------------------------------------------------

/** Operations under the ids that principles name as parents: one that spread to further classes has an id of its own in each. */
const operationsOf = (state: RunState): ReadonlyArray<DecidedOperation> =>
  state.operations.map((operation) => ({ ...operation, id: operation.operation === "delete" ? operation.id : (operation.after?.parents.at(-1) ?? operation.id) }))

export interface BlamedAttempt {
  /** Under which its rollout, judgement and reflection stand in the step's results. */
  readonly key: string
  readonly verdict: "correct" | "incorrect" | "error"
  /** Calls of the answer, the judge and the reflector. */
  readonly calls: ReadonlyArray<string>
}

export interface BlamedOperation extends Pick<DecidedOperation, "id" | "step" | "proposed" | "operation" | "scope" | "decision" | "before" | "after"> {
  /** Mean difference to the incumbent as a share, over questions; selection, not evidence. The arms may differ in samples. */
  readonly gate: { readonly difference: number | null; readonly questions: number; readonly reason: string }
  readonly questions: ReadonlyArray<{ readonly id: string; readonly type: string; readonly attempts: ReadonlyArray<BlamedAttempt> }>
}

export interface BlameReport {
  readonly principle: Principle
  readonly generation: number
  readonly operations: ReadonlyArray<BlamedOperation>
  /** Operations in its lineage that the run does not hold. */
  readonly unknown: ReadonlyArray<string>
  readonly counts: { readonly operations: number; readonly questions: number; readonly rollouts: number; readonly judgements: number; readonly reflections: number }
}

/** A deletion by the measured effect. An imported record names questions where the folder does, so nothing tells one from another there. */
export const retirementIn = (state: RunState, kind: DecidedOperation["operation"], sources: ReadonlyArray<string>): boolean => state.imported === undefined && isRetirement(kind, sources)

/** An operation's id, where it comes from and what the gate went by. */
const decisionText = ({ asked, difference, operation, proposed, reason, step }: Pick<HistoryEntry, "asked" | "difference" | "operation" | "proposed" | "reason" | "step">): string =>
  [`${operation}${proposed === step ? "" : `, proposed in step ${proposed}`}`, reason, ...(difference === null ? [] : [`${points(difference)} points on ${some(asked, "question")}`])].join("; ")

const verdicts = { c: "correct", i: "incorrect", e: "error" } as const

const callsOf = ({ data }: RunResult["settled"]): ReadonlyArray<string> => {
  const { callKey, calls } = (data ?? {}) as { readonly callKey?: unknown; readonly calls?: unknown }
  return [callKey, ...(Array.isArray(calls) ? calls : [])].filter((key) => typeof key === "string")
}

/** Where a principle came from, down to the attempts. Undefined when no generation, or not this one, holds it. @param generation absent = the last that holds it */
export const blameReport = (state: RunState, results: ReadonlyArray<RunResult>, id: string, generation?: number): BlameReport | undefined => {
  const holding = state.generations.filter(({ number, principles }) => principles.some((principle) => principle.id === id) && (generation === undefined || number === generation))
  const last = holding.at(-1)
  const found = last === undefined ? undefined : blame(last, operationsOf(state), id)
  if (last === undefined || found === undefined) return undefined
  const byKey = Map.groupBy(results, ({ address }) => `${address.step}/${address.key}`)
  const kinds = { rollout: 0, judgement: 0, reflection: 0 }
  const operations = found.operations.map(({ after, asked, before, decision, difference, id: operation, operation: kind, proposed, reason, scope, sources, step }): BlamedOperation => {
    return {
      id: operation, step, proposed, operation: kind, scope, decision,
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
      gate: { difference, questions: asked, reason },
      questions: sources.map((question) => {
        const letters = state.steps.find((one) => one.step === proposed)?.attempts.find((one) => one.question === question)?.verdicts ?? ""
        return {
          id: question,
          type: state.questions.get(question)?.type ?? "",
          attempts: attemptsOf(state, proposed, question).map((key, sample): BlamedAttempt => {
            const own = byKey.get(`${proposed}/${key}`) ?? []
            for (const { address } of own) if (address.kind in kinds) kinds[address.kind as keyof typeof kinds] += 1
            return { key, verdict: verdicts[letters[sample] as keyof typeof verdicts] ?? "error", calls: own.flatMap(({ settled }) => callsOf(settled)) }
          })
        }
      })
    }
  })
  return {
    principle: found.principle,
    generation: last.number,
    operations,
    unknown: found.unknown,
    counts: {
      operations: operations.length,
      questions: new Set(operations.flatMap(({ questions }) => questions.map((question) => question.id))).size,
      rollouts: kinds.rollout, judgements: kinds.judgement, reflections: kinds.reflection
    }
  }
}

/** Why a principle is not found, and what is there instead. @param generation the one asked for, if one was */
export const noPrinciple = (run: string, state: RunState, id: string, generation?: number): CommandFailed => {
  const last = state.generations.length - 1
  const refusal = (message: string) => new CommandFailed({ message })
  if (generation !== undefined && (generation < 0 || generation > last)) return refusal(`the run ${run} has generations 0 to ${last}, and no ${generation}`)
  const found = historyReport(state, id)
  if (found !== undefined && found.generations.length > 0) return refusal(`generation ${generation} of ${run} does not hold ${id}; it is in ${found.generations.join(", ")}`)
  if (found !== undefined) return refusal(`${id} never came to be in force: the gate accepted nothing of it; \`metamem history ${id} --run ${run}\` tells why`)
  const known = [...new Set(state.generations.flatMap(({ principles }) => principles.map((principle) => principle.id)))]
  return refusal(`${run} knows of no principle ${id}; ${known.length === 0 ? "none ever came to be in force there" : `in force were ${known.join(", ")}`}; \`metamem generations --run ${run}\` shows them, and what was turned down`)
}

const blameCommand = Command.make(
  "blame",
  { run: runFlag, principle: principleArgument, generation: Flag.Int("generation").pipe(Flag.withDescription("As it stands in this generation (default: the last that holds it)"), Flag.optional) },
  ({ generation, principle, run }) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const at = Option.getOrUndefined(generation)
      const state = yield* foldRun(tenant, run)
      const report = blameReport(state, yield* runResults(tenant, run), principle, at)
      if (report === undefined) return yield* noPrinciple(run, state, principle, at)
      yield* emit({ run, ...report, undersized: state.undersized, modelCalls: 0 }, ({ counts, generation, operations, principle: { id, scope, text }, unknown }) =>
        [
          `${id} [${scope}] ${text}`,
          `as of generation ${generation}: ${some(counts.operations, "operation")}, from ${some(counts.questions, "question")} with ${some(counts.rollouts, "rollout")}, ${state.imported === undefined ? `${some(counts.judgements, "judgement")}, ` : ""}${some(counts.reflections, "reflection")}${state.imported === undefined ? "; gate figures are selection, not evidence" : ""}`,
          ...operations.flatMap(({ after, decision, gate, id, operation, proposed, questions, step }) => [
            `step ${step}: ${operation} ${decision} (${decisionText({ operation: id, step, proposed, ...gate, asked: gate.questions })})${after === undefined ? "" : `: ${after.text}`}`,
            ...questions.map(({ attempts, id, type }) => `  ${id}${type === "" ? "" : ` (${type})`}: ${attempts.map(({ verdict }) => verdict).join(", ")}`)
          ]),
          ...(unknown.length === 0 ? [] : [`not in this run: ${unknown.join(", ")}`]),
          ...importedNote(state),
          ...smallSample(state)
        ].join("\n"))
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("Which operations, questions and attempts led to a principle; no model is asked"))

/** What became of a principle, in order. Undefined when the run never heard of it. */
export const historyReport = (state: RunState, id: string): History | undefined => {
  const found = history(state.generations, operationsOf(state), id)
  return found.entries.length === 0 && found.generations.length === 0 ? undefined : found
}

/** What became of live answers under some generations of a run: shadows, adoptions, whoever asked for them, and rollbacks. */
const livedThrough = (tenant: string, run: string, generations: ReadonlyArray<number>) =>
  Effect.map(onlineEntries(tenant), (entries) => entries.filter(({ event }) => "generation" in event && event.run === run && generations.includes(event.generation)))

const historyCommand = Command.make("history", { run: runFlag, principle: principleArgument }, ({ principle, run }) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const found = historyReport(state, principle)
    if (found === undefined) return yield* noPrinciple(run, state, principle)
    const entries = found.entries.map((entry) => ({ ...entry, retirement: retirementIn(state, entry.kind, entry.sources) }))
    const live = yield* livedThrough(tenant, run, found.generations)
    yield* emit({ run, principle, ...found, entries, live: live.map(({ event: _, ...one }) => one), undersized: state.undersized, modelCalls: 0 }, ({ entries, generations, live }) =>
      [
        ...entries.map((entry) =>
          `step ${entry.step}: ${entry.kind} ${entry.decision} (${decisionText(entry)})${entry.retirement ? ", proposed for its measured effect" : ""}: ${entry.text}`
        ),
        generations.length === 0 ? "in no generation" : `in generations ${generations.join(", ")}`,
        ...live.map(({ time, what }) => `${time.slice(0, 19).replace("T", " ")}: ${what}`),
        ...smallSample(state)
      ].join("\n"))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("What became of a principle over a run; no model is asked"))

// cost ----------------------------------------------------------------------------------------------------------------------------------

type Spent = Pick<CostRow, "jobs" | "failed" | "calls" | "reused" | "promptTokens" | "completionTokens">

const summed = (rows: ReadonlyArray<Spent>): Spent => ({
  jobs: rows.reduce((sum, row) => sum + row.jobs, 0),
  failed: rows.reduce((sum, row) => sum + row.failed, 0),
  calls: rows.reduce((sum, row) => sum + row.calls, 0),
  reused: rows.reduce((sum, row) => sum + row.reused, 0),
  promptTokens: rows.reduce((sum, row) => sum + row.promptTokens, 0),
  completionTokens: rows.reduce((sum, row) => sum + row.completionTokens, 0)
})

export interface PrincipleCost {
  readonly id: string
  readonly text: string
  readonly scope: string
  /** o200k tokens it takes in a prompt that shows it. */
  readonly tokens: number
  /** Share of the run's training and validation questions that are shown it. */
  readonly share: number
  /** Prompt tokens a question more, on average over questions. */
  readonly tokensPerAnswer: number
}

/** What the principles of the last generation add to each answer. @param tokensOf counts o200k tokens */
export const principleCosts = (state: RunState, tokensOf: (text: string) => number): ReadonlyArray<PrincipleCost> => {
  const asked = [...(state.parameters?.train ?? []), ...(state.parameters?.validation ?? [])]
  return (state.generations.at(-1)?.principles ?? []).map((principle) => {
    const tokens = tokensOf(`[${principle.id}] ${principle.text}\n`)
    const share = asked.length === 0 ? 1 : asked.filter(({ questionClass }) => inScope(principle, questionClass)).length / asked.length
    return { id: principle.id, text: principle.text, scope: principle.scope, tokens, share, tokensPerAnswer: tokens * share }
  })
}

const cost = Command.make("cost", { run: runFlag }, ({ run }) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const all = yield* costOfRun(tenant, run)
    // The results of an imported run hold texts; what they cost elsewhere nobody knows.
    const rows = state.imported === undefined ? all : all.filter(({ purpose }) => purpose === "shadow")
    const repeated = yield* repeatedRequests(tenant, run, state)
    // Loaded only here: the tokenizer's vocabulary takes most of a second.
    const { tokensOf } = yield* Effect.promise(() => import("#shared/model/tokens"))
    const grouped = (by: (row: CostRow) => string) => [...Map.groupBy(rows, by)].map(([name, own]) => ({ name, ...summed(own) }))
    const result = {
      run,
      total: summed(rows),
      repeated,
      // At the prices set now; the log keeps tokens.
      money: moneyOf(rows, yield* roleSettings),
      byRole: grouped(({ kind, purpose }) => `${roleOf[kind] ?? kind}${purpose === "learning" ? "" : `, ${purpose}`}`).map(({ name, ...spent }) => ({ role: name, ...spent })),
      bySteps: [...Map.groupBy(rows, ({ purpose, step }) => (purpose === "shadow" ? purpose : step))].map(([step, own]) => ({
        step: step === "shadow" ? null : step, guard: step !== "shadow" && step > (state.parameters?.steps ?? 0), ...summed(own)
      })),
      rows,
      principles: principleCosts(state, tokensOf),
      imported: state.imported !== undefined,
      modelCalls: 0
    }
    const line = (name: string, { calls, completionTokens, failed, jobs, promptTokens, reused }: Spent) => [name, ...[jobs, calls, reused, promptTokens, completionTokens, failed].map(String)]
    yield* emit(result, ({ byRole, bySteps, money, principles, repeated, total }) =>
      [
        ...(state.imported !== undefined && rows.length === 0 ? [] : [table([
          ["", "jobs", "calls paid", "from the log", "prompt tokens", "completion tokens", "failed"],
          ...byRole.map((row) => line(row.role, row)),
          ...bySteps.map((row) => line(row.step === null ? "shadow" : row.guard ? "guard test" : `step ${row.step}`, row)),
          line("all", total)
        ])]),
        ...repeatedLines(repeated),
        ...(money > 0 ? [`${money.toFixed(2)} at the prices set`] : []),
        principles.length === 0
          ? "no principle adds anything to an answer"
          : table([["principle", "tokens", "questions", "per answer", "text"], ...principles.map(({ id, scope, share, text, tokens, tokensPerAnswer }) => [id, String(tokens), `${percent(share)} %`, tokensPerAnswer.toFixed(1), `[${scope}] ${text}`])]),
        ...importedNote(state)
      ].join("\n"))
  }).pipe(Effect.provide(CallStore.layerJetStream), Effect.provide(logLayer))).pipe(Command.withDescription("What a run cost by role and step, and what its principles add to each answer; no model is asked"))

// curve ---------------------------------------------------------------------------------------------------------------------------------

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
  /** 95 %, clustered; of the raw accuracy. */
  readonly interval: readonly [number, number]
}

/** Training accuracy step by step. Batches differ and hard questions are repeated: something to watch, no evidence. */
export const curveReport = (state: RunState): ReadonlyArray<CurveStep> =>
  curveOf(state).map((point) => {
    const attempts = state.steps.find(({ step }) => step === point.step)?.attempts ?? []
    const values = attempts.flatMap(({ question, verdicts }) =>
      [...verdicts].flatMap((letter) => (letter === "e" ? [] : [{ cluster: state.questions.get(question)?.cluster ?? question, value: letter === "c" ? 1 : 0 }])))
    const { high, low } = clusterBootstrap(values, `curve ${point.step}`)
    const judged = point.correct + point.incorrect
    const accuracy = judged === 0 ? null : point.correct / judged
    const corrected = accuracy === null ? undefined : correctedAccuracy(state, accuracy)
    return {
      ...point,
      sealed: state.generations.find(({ step }) => step === point.step)?.number ?? null,
      accuracy,
      ...(corrected === undefined ? {} : { corrected }),
      interval: [low, high]
    }
  })

const curve = Command.make("curve", { run: runFlag, plot: plotFlag("training accuracy by step") }, ({ plot, run }) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const steps = curveReport(state)
    const generations = (yield* replayAll(tenant, run)).map(({ generation, hash, principles, step }) => ({ n: generation, step, hash, principles: principles.length }))
    if (Option.isSome(plot)) {
      if (steps.length === 0) return yield* new CommandFailed({ message: `${run} has no step with judged attempts yet: there is nothing to draw` })
      const shown = steps.flatMap(({ accuracy, interval, step }): ReadonlyArray<PlotPoint> => (accuracy === null ? [] : [{ n: step, accuracy, interval }]))
      yield* writePlot(plot.value, accuracyPlot(shown, `Training accuracy by step, run ${run}`, { axis: "step", undersized: state.undersized }))
    }
    const judge = state.parameters?.judge
    yield* emit({ run, judge: judge ?? null, steps, generations, undersized: state.undersized, modelCalls: 0 }, () =>
      [
        table([
          ["step", "generation", "correct", "incorrect", "errors", "accuracy", "corrected", "95 %", "both ways", "sealed"],
          ...steps.map((one) => [
            String(one.step), String(one.generation), String(one.correct), String(one.incorrect), String(one.errors),
            one.accuracy === null ? "?" : percent(one.accuracy), one.corrected === undefined ? "" : percent(one.corrected), `${percent(one.interval[0])}–${percent(one.interval[1])}`, String(one.mixed), one.sealed === null ? "" : String(one.sealed)
          ])
        ]),
        ...(judge === undefined ? [] : [`judged by the ${judge} judge`]),
        "training accuracy: batches differ and hard questions are repeated, so this is something to watch and no evidence",
        ...importedNote(state),
        ...smallSample(state)
      ].join("\n"))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("Training accuracy step by step; no model is asked"))

export const analysisCommands = [diff, blameCommand, historyCommand, cost, curve] as const
