/** `metamem cost`: what a run cost, and what its principles add to each answer. No model and no actor is asked. */
import { Effect } from "effect"
import { Command } from "effect/cli"
import { inScope } from "#shared/metamemory/router"
import { CallStore } from "#shared/model/call-store"
import { settings as roleSettings } from "#shared/model/roles"
import type { CostRow } from "#services/reflector/analysis"
import { nothingPaid, paidTogether } from "#services/reflector/what-ifs"
import { logLayer } from "./home.ts"
import { repeatedLines, spentOf } from "./repeated.ts"
import { emit, root, table } from "./root.ts"
import { importedNote, runFlag } from "./run-notes.ts"
import { moneyOf, roleOf } from "./run-progress.ts"
import { foldRun, type RunState } from "./runs.ts"
import { percent, some } from "./shown.ts"

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

export const cost = Command.make("cost", { run: runFlag }, ({ run }) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const { repeated, rows: all } = yield* spentOf(tenant, run, state)
    // The results of an imported run hold texts; what they cost elsewhere nobody knows.
    const rows = state.imported === undefined ? all : all.filter(({ purpose }) => purpose === "shadow")
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
      // Asked beside the run, and in no sum.
      whatifs: { count: state.whatIfs.length, ...state.whatIfs.reduce((sum, { paid }) => paidTogether(sum, paid), nothingPaid) },
      imported: state.imported !== undefined,
      modelCalls: 0
    }
    const line = (name: string, { calls, completionTokens, failed, jobs, promptTokens, reused }: Spent) => [name, ...[jobs, calls, reused, promptTokens, completionTokens, failed].map(String)]
    yield* emit(result, ({ byRole, bySteps, money, principles, repeated, total, whatifs }) =>
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
          : table([
            ["principle", "tokens", "questions", "per answer", "text"],
            ...principles.map(({ id, scope, share, text, tokens, tokensPerAnswer }) => [id, String(tokens), `${percent(share)} %`, tokensPerAnswer.toFixed(1), `[${scope}] ${text}`])
          ]),
        ...(whatifs.count === 0 ? [] : [`beside the run, ${some(whatifs.count, "what-if")}: ${some(whatifs.calls, "call")} paid, ${whatifs.promptTokens} + ${whatifs.completionTokens} tokens`]),
        ...importedNote(state)
      ].join("\n"))
  }).pipe(Effect.provide(CallStore.layerJetStream), Effect.provide(logLayer))).pipe(Command.withDescription("What a run cost by role and step, and what its principles add to each answer; no model is asked"))
