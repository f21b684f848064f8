/** `metamem blame` and `metamem history`: where a principle came from, down to the attempts, and what became of it. No model and no actor is asked. */
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import type { Principle } from "#shared/domain/principle"
import { isRetirement } from "#shared/metamemory/effect"
import { blame, type DecidedOperation, history, type History, type HistoryEntry } from "#shared/metamemory/generation"
import { attemptsOf } from "#services/reflector/analysis"
import { changeText } from "./change.ts"
import { logLayer } from "./home.ts"
import { onlineEntries } from "./online.ts"
import { CommandFailed, emit, root } from "./root.ts"
import { importedNote, principleArgument, runFlag, smallSample } from "./run-notes.ts"
import { foldRun, type RunResult, runResults, type RunState } from "./runs.ts"
import { kindText, points, some, toSecond } from "./shown.ts"
import { outcomeText, whatIfReports } from "./whatif-report.ts"

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

export interface BlamedOperation extends Pick<DecidedOperation, "id" | "step" | "proposed" | "operation" | "scope" | "decision" | "before" | "after" | "merged"> {
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

/** Kind of what happened; of a merge, of which principles and into which. */
const mergeText = ({ kind, merge }: Pick<HistoryEntry, "kind" | "merge">): string => (merge === undefined ? kind : `${kindText(kind, merge.from)} into ${merge.into}`)

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
  const operations = found.operations.map(({ after, asked, before, decision, difference, id: operation, merged, operation: kind, proposed, reason, scope, sources, step }): BlamedOperation => {
    return {
      id: operation, step, proposed, operation: kind, scope, decision,
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
      ...(merged === undefined ? {} : { merged }),
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

/** An imported record names no judgements, and nothing of it was tested here. */
const countsText = ({ judgements, operations, questions, reflections, rollouts }: BlameReport["counts"], isImported: boolean): string => {
  const from = `${some(operations, "operation")}, from ${some(questions, "question")} with ${some(rollouts, "rollout")}`
  return isImported
    ? `${from}, ${some(reflections, "reflection")}`
    : `${from}, ${some(judgements, "judgement")}, ${some(reflections, "reflection")}; gate figures are selection, not evidence`
}

export const blameCommand = Command.make(
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
          `as of generation ${generation}: ${countsText(counts, state.imported !== undefined)}`,
          ...operations.flatMap(({ after, decision, gate, id, merged, operation, proposed, questions, step }) => [
            `step ${step}: ${kindText(operation, merged?.map((one) => one.id))} ${decision} (${decisionText({ operation: id, step, proposed, ...gate, asked: gate.questions })})${after === undefined ? "" : `: ${after.text}`}`,
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

export const historyCommand = Command.make("history", { run: runFlag, principle: principleArgument }, ({ principle, run }) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const found = historyReport(state, principle)
    if (found === undefined) return yield* noPrinciple(run, state, principle)
    const entries = found.entries.map((entry) => ({ ...entry, retirement: retirementIn(state, entry.kind, entry.sources) }))
    const live = yield* livedThrough(tenant, run, found.generations)
    const whatifs = whatIfReports(run, state).filter(({ change }) => "principle" in change && change.principle === principle)
    yield* emit({ run, principle, ...found, entries, live: live.map(({ event: _, ...one }) => one), whatifs, undersized: state.undersized, modelCalls: 0 }, ({ entries, generations, live, whatifs }) =>
      [
        ...entries.map((entry) =>
          `step ${entry.step}: ${mergeText(entry)} ${entry.decision} (${decisionText(entry)})${entry.retirement ? ", proposed for its measured effect" : ""}: ${entry.text}`
        ),
        generations.length === 0 ? "in no generation" : `in generations ${generations.join(", ")}`,
        ...live.map(({ time, what }) => `${toSecond(time)}: ${what}`),
        ...whatifs.map((one) => `what-if ${one.number}, generation ${one.from} ${changeText(one.change)}: ${outcomeText(one)} (points, ${one.judge} judge)`),
        ...smallSample(state)
      ].join("\n"))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("What became of a principle over a run; no model is asked"))
