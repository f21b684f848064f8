/**
 * `metamem effect`: what each principle does. By default from training attempts that went without some of them by lot, at no call;
 * with `--exact` one of them is left out of the generation that holds it and the validation questions in its scope are asked with and without.
 */
import { Effect, Option, Result } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { QuestionClass } from "#shared/domain/scope"
import { effectsByClass, type PrincipleEffect, principleEffects, retirements, wordingOf } from "#shared/metamemory/effect"
import { isMergedFrom } from "#shared/metamemory/generation"
import { differencesOf, estimated } from "#shared/metamemory/what-if"
import { CallStore } from "#shared/model/call-store"
import { droppedRollouts } from "#services/reflector/analysis"
import { gateQuestions, type RunParameters } from "#services/reflector/parameters"
import { answerAll, type Answered } from "./arms.ts"
import { changed, startingPoint } from "./change.ts"
import { logLayer, withActors } from "./home.ts"
import { historyReport, noPrinciple } from "./lineage.ts"
import { CommandFailed, emit, root, table, WrongUsage } from "./root.ts"
import { importedNote, principleArgument, runFlag, smallSample } from "./run-notes.ts"
import { foldRun, type RunState } from "./runs.ts"
import { points } from "./shown.ts"
import { asksOf, outcomesOf } from "./whatif-direct.ts"

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)

interface Estimate {
  /** Shares; null where too few clusters say anything. */
  readonly effect: number
  readonly standardError: number | null
  readonly low: number | null
  readonly high: number | null
  readonly rollouts: number
  readonly steps: number
}

export interface EffectReport {
  /** Attempts that had a principle in scope, and could go without it. */
  readonly rollouts: number
  readonly dropShare: number
  readonly effects: ReadonlyArray<Estimate & {
    readonly id: string
    readonly text: string
    readonly scope: string
    /** In these words. */
    readonly inForce: boolean
    /** The one in force that it was merged into, which has an effect of its own. */
    readonly mergedInto?: string
    readonly byClass: Readonly<Partial<Record<QuestionClass, Estimate>>>
    readonly retire: boolean
  }>
  /** In force, and 90 % sure to bring less than a point after at least seven steps. Only the gate can retire them. */
  readonly retirements: ReadonlyArray<string>
  /** Of these, what the gate made of the deletion where it has been proposed: `open` while it is being tried. */
  readonly tried: Readonly<Record<string, string>>
}

const estimate = ({ effect, high, low, rollouts, standardError, steps }: PrincipleEffect): Estimate => ({
  effect, standardError: finite(standardError), low: finite(low), high: finite(high), rollouts, steps
})

/** Effects of principles from training attempts that went without some of them by lot. */
export const effectReport = (state: RunState): EffectReport => {
  const rollouts = droppedRollouts(state)
  const all = principleEffects(rollouts)
  const byClass = [...effectsByClass(rollouts)]
  const last = state.generations.at(-1)?.principles ?? []
  const inForce = new Set(last.map(wordingOf))
  const known = new Map(state.generations.flatMap(({ principles }) => principles.map((principle) => [wordingOf(principle), principle] as const)))
  const retire = retirements(all).flatMap((wording) => last.filter((principle) => wordingOf(principle) === wording).map(({ id }) => id))
  return {
    rollouts: rollouts.length,
    dropShare: state.parameters?.dropShare ?? 0,
    effects: all.flatMap((one) => {
      const principle = known.get(one.wording)
      const into = principle === undefined ? undefined : last.find((other) => isMergedFrom(other, principle))
      return principle === undefined ? [] : [{
        id: principle.id,
        text: principle.text,
        scope: principle.scope,
        inForce: inForce.has(one.wording),
        ...(into === undefined ? {} : { mergedInto: into.id }),
        ...estimate(one),
        byClass: Object.fromEntries(byClass.flatMap(([questionClass, effects]) => {
          const own = effects.find(({ wording }) => wording === one.wording)
          return own === undefined ? [] : [[questionClass, estimate(own)]]
        })),
        retire: inForce.has(one.wording) && retire.includes(principle.id)
      }]
    }),
    retirements: retire,
    tried: Object.fromEntries(state.trials.trials.flatMap(({ operation, state: outcome }) => (operation.operation === "delete" && operation.id !== undefined && retire.includes(operation.id) ? [[operation.id, outcome]] : [])))
  }
}

/** What is left to happen to a principle that is not worth its place. @param outcome of its deletion in the gate; absent = not proposed yet */
const retirementLine = (id: string, outcome: string | undefined): string =>
  outcome === undefined ? `to be retired, if the gate agrees: ${id}` : outcome === "open" ? `before the gate, to be retired: ${id}` : `not worth its place by these figures, yet stays, since the gate came to \`${outcome}\` on its deletion: ${id}`

/** Standard errors of a 90 % interval, as the estimated effects have. */
const z90 = 1.645
/** Answers a question and arm; a gate's samples are numbered below a hundred. */
const samplesMax = 100

interface LeftOut {
  /** Shares, 90 %, clustered; null with fewer than two clusters. */
  readonly effect: number
  readonly low: number | null
  readonly high: number | null
  /** Judged with and without. */
  readonly questions: number
}

export interface ExactEffect extends LeftOut {
  readonly byClass: Readonly<Partial<Record<QuestionClass, LeftOut>>>
  readonly errors: number
}

/** With the principle less without it, by question, weighted back to the data's mix of types. @param answers arm `before` has it, `after` goes without */
export const exactEffectOf = (answers: ReadonlyArray<Answered>, parameters: Pick<RunParameters, "mix" | "validation">): ExactEffect => {
  const classes = new Map(parameters.validation.map(({ id, questionClass }) => [id, questionClass]))
  const differences = differencesOf(outcomesOf(answers), gateQuestions(parameters.validation, parameters.mix), "after").map((one) => ({ ...one, value: -one.value }))
  const leftOut = (some: typeof differences): LeftOut => {
    const { high, low, mean } = estimated(some, z90)
    return { effect: mean, low, high, questions: some.length }
  }
  const byClass = [...Map.groupBy(differences, ({ question }) => classes.get(question))].flatMap(([questionClass, own]) => (questionClass === undefined ? [] : [[questionClass, leftOut(own)] as const]))
  return { ...leftOut(differences), byClass: Object.fromEntries(byClass), errors: answers.filter(({ verdict }) => verdict === "error").length }
}

/** The generation a principle is left out of: the recommended one where that holds it, else the last that was sealed; undefined when neither does. */
export const generationHolding = ({ generations, recommended }: Pick<RunState, "generations" | "recommended">, id: string): number | undefined =>
  [recommended, generations.at(-1)?.number].find((number) => generations.find((one) => one.number === number)?.principles.some((principle) => principle.id === id))

const leaveOneOut = (run: string, id: string, generation: number, wantedSamples: number | undefined) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const start = yield* startingPoint(tenant, run, generation)
    const samples = wantedSamples ?? start.parameters.validationSamples
    if (samples < 1 || samples > samplesMax) return yield* new WrongUsage({ message: `--samples is a number from 1 to ${samplesMax}` })
    const change = { kind: "drop", principle: id } as const
    const without = changed(start, change)
    if (Result.isFailure(without)) return yield* new WrongUsage({ message: without.failure })
    const asks = asksOf(start, without.success, change, samples).filter(({ arm }) => arm !== "placebo")
    if (asks.length === 0) return yield* new CommandFailed({ message: `no validation question of ${run} is shown ${id}, so leaving it out changes nothing there` })
    const { answers, paid, reused } = yield* answerAll(tenant, run, start.parameters, asks)
    return { generation, samples, judge: start.parameters.judge, validation: start.parameters.validation.length, ...exactEffectOf(answers, start.parameters), reused, paid }
  }).pipe(Effect.provide(CallStore.layerJetStream), withActors(["retriever", "evaluator"]))

const interval = ({ high, low }: Pick<LeftOut, "high" | "low">): string => (low === null || high === null ? "too few clusters" : `${points(low)} to ${points(high)}`)

export const effectCommand = Command.make(
  "effect",
  {
    run: runFlag,
    principle: principleArgument.pipe(Argument.optional),
    exact: Flag.Boolean("exact").pipe(Flag.withDescription("Also leave this principle out and ask the validation questions in scope with and without it; what the log holds is not paid for"), Flag.withDefault(false)),
    samples: Flag.Int("samples").pipe(Flag.withDescription("With --exact: answers a question and arm (default: as the run's validation)"), Flag.optional)
  },
  ({ exact, principle, run, samples }) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const wanted = Option.getOrUndefined(principle)
      if (wanted === undefined && exact) return yield* new WrongUsage({ message: "--exact leaves one principle out: say which" })
      if (!exact && Option.isSome(samples)) return yield* new WrongUsage({ message: "--samples is a matter of --exact; the estimated effects ask nothing" })
      const state = yield* foldRun(tenant, run)
      const report = effectReport(state)
      if (wanted !== undefined && historyReport(state, wanted) === undefined) return yield* noPrinciple(run, state, wanted)
      const effects = wanted === undefined ? report.effects : report.effects.filter(({ id }) => id === wanted)
      const retirements = wanted === undefined ? report.retirements : report.retirements.filter((id) => id === wanted)
      const generation = wanted === undefined ? undefined : generationHolding(state, wanted)
      if (exact && generation === undefined) {
        return yield* new CommandFailed({ message: `neither the recommended generation of ${run} nor its last one holds ${wanted}; \`metamem whatif --run ${run} --from G --pin ${wanted}\` tells what it would add` })
      }
      const leftOut = exact && wanted !== undefined && generation !== undefined ? yield* leaveOneOut(run, wanted, generation, Option.getOrUndefined(samples)) : null
      const inForce = new Set(state.generations.at(-1)?.principles.map(({ id }) => id))
      yield* emit({ run, ...report, effects, retirements, exact: leftOut, undersized: state.undersized, modelCalls: leftOut?.paid.calls ?? 0 }, ({ dropShare, retirements, rollouts, tried }) =>
        state.imported !== undefined ? ["of an imported run no effects can be told: nobody knows which principles its attempts went without", ...importedNote(state)].join("\n") : [
          `effects in points, from ${rollouts} training attempts that had principles in scope, each of which they went without with probability ${dropShare}; 90 % intervals`,
          effects.length === 0
            ? "no attempts at one question differed in what they were shown, so nothing can be told"
            : table([
              ["principle", "effect", "90 %", "steps", "attempts", "", "text"],
              ...effects.flatMap((one) => [
                [one.id, points(one.effect), interval(one), String(one.steps), String(one.rollouts), one.inForce ? "" : one.mergedInto !== undefined ? `merged into ${one.mergedInto}` : inForce.has(one.id) ? "in earlier words" : "gone", `[${one.scope}] ${one.text}`],
                ...(Object.keys(one.byClass).length < 2 ? [] : Object.entries(one.byClass).map(([questionClass, own]) => [`  ${questionClass}`, points(own.effect), interval(own), String(own.steps), String(own.rollouts), "", ""]))
              ])
            ]),
          ...(leftOut === null ? [] : [
            `left out of generation ${leftOut.generation}: ${leftOut.questions} of ${leftOut.validation} validation questions asked with and without it, ${leftOut.samples} answers each, ${leftOut.judge} judge; 90 % intervals`,
            table([
              ["", "effect", "90 %", "questions"],
              ["in scope", points(leftOut.effect), interval(leftOut), String(leftOut.questions)],
              ...(Object.keys(leftOut.byClass).length < 2 ? [] : Object.entries(leftOut.byClass).map(([questionClass, own]) => [`  ${questionClass}`, points(own.effect), interval(own), String(own.questions)]))
            ]),
            `${leftOut.reused.answers} of ${leftOut.reused.ofAnswers} answers were in the log; paid: ${leftOut.paid.answers} answers and ${leftOut.paid.judgements} judgements, ${leftOut.paid.promptTokens} + ${leftOut.paid.completionTokens} tokens; ${leftOut.errors} errors`
          ]),
          ...retirements.map((id) => retirementLine(id, tried[id])),
          ...smallSample(state)
        ].join("\n"))
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("What each principle does, from attempts that went without it by lot (no model is asked), and exactly by leaving it out (--exact)"))
