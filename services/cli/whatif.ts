/**
 * `metamem whatif`: how a generation would have answered with one thing changed (`--direct`), or what evolution would have come to from
 * there (`--rerun`). Directly, the same validation questions are asked with the same sample identities, so what the change does not touch
 * is read from the log, and a placebo (nothing changed, other samples) shows how much of a difference is chance.
 */
import { Effect, Option, Result } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { Principle } from "#shared/domain/principle"
import type { GatePolicy } from "#shared/metamemory/gate"
import { inScope } from "#shared/metamemory/router"
import { type Difference, meanDifference } from "#shared/metamemory/statistics"
import { CallStore } from "#shared/model/call-store"
import { shareInPercent } from "#services/reflector/online-words"
import { gateQuestions, type RunParameters } from "#services/reflector/parameters"
import { answerAll, type Answered, type Ask } from "./arms.ts"
import { rerun } from "./branches.ts"
import { type Change, changed, changeText, type StartingPoint, startingPoint } from "./change.ts"
import { withActors } from "./home.ts"
import { CommandFailed, emit, root, table, WrongUsage } from "./root.ts"
import { runFlag } from "./run-notes.ts"
import { points, some } from "./shown.ts"

/** Most samples a question and arm. */
const samplesMax = 100

const same = (a: ReadonlyArray<Principle>, b: ReadonlyArray<Principle>): boolean => a.length === b.length && a.every(({ id, text }, at) => b[at]?.id === id && b[at].text === text)

type Arm = "before" | "after" | "placebo"

/** Answers that tell what a change does; the placebo's are the samples after those of the arms, which the gate may have asked for. Questions that are shown the same before and after would be answered alike and are not asked. */
export const asksOf = ({ draws, parameters, principles }: StartingPoint, after: ReadonlyArray<Principle>, change: Change, samples: number): ReadonlyArray<Ask> =>
  parameters.validation.flatMap((question) => {
    const shown = (list: ReadonlyArray<Principle>) => list.filter((principle) => inScope(principle, question.questionClass))
    const [old, now] = [shown(principles), shown(after)]
    if (change.kind !== "judge" && same(old, now)) return []
    const ask = (arm: Arm, list: ReadonlyArray<Principle>, from: number, judge = parameters.judge) =>
      Array.from({ length: samples }, (_, sample): Ask => ({ question, arm, purpose: "gate", sample: from + sample, draw: draws[question.questionClass] ?? 0, principles: list, judge }))
    return [...ask("before", old, 0), ...ask("after", now, 0, change.kind === "judge" ? change.judge : parameters.judge), ...ask("placebo", old, samples)]
  })

export interface Estimated {
  /** Shares, 95 %; null with fewer than two clusters. */
  readonly mean: number
  readonly low: number | null
  readonly high: number | null
}

/** @param z standard errors on either side of the mean: 1.96 for 95 % */
export const estimated = (differences: ReadonlyArray<Difference>, z = 1.96): Estimated => {
  const { mean, standardError } = meanDifference(differences)
  const half = z * standardError
  return Number.isFinite(half) ? { mean, low: mean - half, high: mean + half } : { mean, low: null, high: null }
}

export interface Compared {
  readonly inScope: number
  /** Of the answers as asked, not weighted. */
  readonly accuracy: { readonly before: number | null; readonly after: number | null; readonly placebo: number | null }
  /** After less before, over the questions asked. */
  readonly difference: Estimated
  /** The same over all validation questions, those out of scope unchanged. */
  readonly overall: Estimated
  /** Placebo less before: what chance alone does. */
  readonly placebo: Estimated
  readonly errors: number
}

const shareOf = (some: ReadonlyArray<Answered>): number | null => (some.length === 0 ? null : some.filter(({ verdict }) => verdict === "correct").length / some.length)

/** One arm less `before` by validation question, weighted back to the data's mix of types; answers that could not be judged are in none. */
export const differencesOf = (answers: ReadonlyArray<Answered>, { mix, validation }: Pick<RunParameters, "mix" | "validation">, arm: "after" | "placebo"): ReadonlyArray<Difference & { readonly question: string }> => {
  const byQuestion = Map.groupBy(answers.filter(({ verdict }) => verdict !== "error"), ({ ask }) => ask.question.id)
  return gateQuestions(validation, mix).flatMap(({ cluster, id, weight }) => {
    const own = byQuestion.get(id) ?? []
    const [old, now] = [shareOf(own.filter(({ ask }) => ask.arm === "before")), shareOf(own.filter(({ ask }) => ask.arm === arm))]
    return old === null || now === null ? [] : [{ question: id, value: now - old, cluster, ...(weight === undefined ? {} : { weight }) }]
  })
}

/** Differences by question, paired, clusters as the unit. */
export const compare = (answers: ReadonlyArray<Answered>, parameters: Pick<RunParameters, "mix" | "validation">): Compared => {
  const judged = answers.filter(({ verdict }) => verdict !== "error")
  const byArm = (arm: Arm) => judged.filter(({ ask }) => ask.arm === arm)
  const asked = new Set(answers.map(({ ask }) => ask.question.id))
  const found = differencesOf(answers, parameters, "after")
  const unchanged = gateQuestions(parameters.validation, parameters.mix).filter(({ id }) => !asked.has(id)).map((question) => ({ ...question, value: 0 }))
  return {
    inScope: asked.size,
    accuracy: { before: shareOf(byArm("before")), after: shareOf(byArm("after")), placebo: shareOf(byArm("placebo")) },
    difference: estimated(found),
    overall: estimated([...found, ...unchanged]),
    placebo: estimated(differencesOf(answers, parameters, "placebo")),
    errors: answers.length - judged.length
  }
}

interface ChangeFlags extends Record<"drop" | "pin" | "reword" | "text" | "role", Option.Option<string>> {
  readonly gate: Option.Option<GatePolicy>
}

const readChange = (input: ChangeFlags): Effect.Effect<Change, WrongUsage> => {
  const wrong = (message: string) => Effect.fail(new WrongUsage({ message }))
  const changes: ReadonlyArray<Change> = [
    ...Option.toArray(Option.map(input.drop, (principle): Change => ({ kind: "drop", principle }))),
    ...Option.toArray(Option.map(input.pin, (principle): Change => ({ kind: "pin", principle }))),
    ...Option.toArray(Option.map(input.reword, (principle): Change => ({ kind: "reword", principle, text: Option.getOrElse(input.text, () => "") }))),
    ...Option.toArray(Option.map(input.role, (role): Change => ({ kind: "judge", judge: role === "judge=model" ? "model" : "lexical" }))),
    ...Option.toArray(Option.map(input.gate, (policy): Change => ({ kind: "gate", policy })))
  ]
  const [change] = changes
  if (change === undefined || changes.length > 1) return wrong("say what is changed, one thing at a time: --drop P, --pin P, --reword P \"…\", --gate POLICY or --role judge=lexical|model")
  if (Option.isSome(input.text) !== (change.kind === "reword")) return wrong("--reword P needs the new text after it, and nothing else does")
  return Effect.succeed(change)
}

const interval = ({ high, low, mean }: Estimated): ReadonlyArray<string> => [points(mean), low === null ? "too few clusters" : `${points(low)} to ${points(high)}`]

const direct = (run: string, from: number, change: Change, wantedSamples: Option.Option<number>) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    if (change.kind === "gate") return yield* new WrongUsage({ message: "a policy changes what comes after a generation, not how it answers: give --rerun" })
    const result = yield* Effect.gen(function*() {
      const start = yield* startingPoint(tenant, run, from)
      const samples = Option.getOrElse(wantedSamples, () => start.parameters.validationSamples)
      if (samples < 1 || samples > samplesMax) return yield* new WrongUsage({ message: `--samples is a number from 1 to ${samplesMax}` })
      const after = changed(start, change)
      if (Result.isFailure(after)) return yield* new WrongUsage({ message: after.failure })
      const asks = asksOf(start, after.success, change, samples)
      if (asks.length === 0) return yield* new CommandFailed({ message: `no validation question of ${run} is shown a principle of that scope, so nothing can be told` })
      const { answers, paid, reused } = yield* answerAll(tenant, run, start.parameters, asks)
      return {
        run, from, change, mode: "direct", judge: start.parameters.judge, samples,
        validation: start.parameters.validation.length,
        ...compare(answers, start.parameters),
        reused, paid, undersized: start.undersized
      }
    }).pipe(Effect.provide(CallStore.layerJetStream), withActors(["retriever", "evaluator"]))
    yield* emit(result, ({ accuracy, difference, errors, inScope, overall, paid, placebo, reused, samples, undersized, validation }) =>
      [
        `generation ${from} of ${run} ${changeText(change)}: ${inScope} of ${validation} validation questions are ${change.kind === "judge" ? "judged anew" : "shown something else"}, ${samples} answers each`,
        table([
          ["in points", "", "95 %"],
          ["difference", ...interval(difference)],
          ["  over all questions", ...interval(overall)],
          ["placebo: nothing changed, other samples", ...interval(placebo)]
        ]),
        `right, every answer counted alike (differences count types as often as the data set has them): ${shareInPercent(accuracy.before)} before, ${shareInPercent(accuracy.after)} after, ${shareInPercent(accuracy.placebo)} placebo; ${errors} errors`,
        `${reused.answers} of ${reused.ofAnswers} answers were in the log; paid: ${paid.answers} answers and ${paid.judgements} judgements, ${paid.promptTokens} + ${paid.completionTokens} tokens`,
        ...(undersized ? ["the run was too small for such differences to mean much"] : [])
      ].join("\n"))
  })

const again = (run: string, from: number, change: Change, steps: Option.Option<number>, reseeds: number) =>
  Effect.gen(function*() {
    const result = yield* rerun(run, from, change, Option.getOrUndefined(steps), reseeds).pipe(Effect.provide(CallStore.layerJetStream), withActors(["retriever", "evaluator", "reflector"]))
    yield* emit(result, ({ calls, completionTokens, difference, errors, judge, look, placebo, promptTokens, questions, reseeds, reused, undersized }) =>
      [
        `evolution from generation ${from} of ${run} ${changeText(change)}, beside branches with nothing changed; last generations on ${questions.count} ${questions.part} questions, ${judge} judge`,
        table([
          ["seed", "changed", "unchanged", "difference", "principles", "run"],
          ...reseeds.map((one) => [String(one.seed), shareInPercent(one.changed.accuracy), shareInPercent(one.placebo.accuracy), points(one.difference), `${one.changed.principles} and ${one.placebo.principles}`, one.changed.run])
        ]),
        `difference ${points(difference.mean)} points, from ${points(difference.low)} to ${points(difference.high)} over ${some(reseeds.length, "seed")}; the unchanged branches themselves lie between ${shareInPercent(placebo.low)} and ${shareInPercent(placebo.high)}`,
        ...(look === null ? [] : [`these questions were announced for the run's test, so this is look ${look} at them: a test of any generation but ${from} is a later one`]),
        `${calls} calls, ${promptTokens} + ${completionTokens} tokens in all branches and their answers; ${reused.calls} replies in branches and ${reused.answers} of ${reused.ofAnswers} answers were in the log; ${errors} errors`,
        ...(undersized ? ["the run was too small for such differences to mean much"] : [])
      ].join("\n"))
  })

export const whatif = Command.make(
  "whatif",
  {
    run: runFlag,
    from: Flag.Int("from").pipe(Flag.withDescription("Generation to change")),
    drop: Flag.String("drop").pipe(Flag.withDescription("Leave this principle out"), Flag.optional),
    pin: Flag.String("pin").pipe(Flag.withDescription("Put this one in: of another generation, or one the gate refused"), Flag.optional),
    reword: Flag.String("reword").pipe(Flag.withDescription("Give this one the text that follows"), Flag.optional),
    text: Argument.String("text").pipe(Argument.withDescription("The new text for --reword"), Argument.optional),
    role: Flag.Literals("role", ["judge=lexical", "judge=model"]).pipe(Flag.withDescription("Let the other judge judge"), Flag.optional),
    gate: Flag.Literals("gate", ["likely", "proven", "always"]).pipe(Flag.withDescription("Let another policy decide; with --rerun"), Flag.optional),
    direct: Flag.Boolean("direct").pipe(Flag.withDescription("Compare this generation alone (the default)"), Flag.withDefault(false)),
    rerun: Flag.Boolean("rerun").pipe(Flag.withDescription("Let evolution go on from there, under several seeds: many times the calls of a run"), Flag.withDefault(false)),
    samples: Flag.Int("samples").pipe(Flag.withDescription("Directly: answers a question and arm (default: as the run's validation)"), Flag.optional),
    steps: Flag.Int("steps").pipe(Flag.withDescription("Rerun: steps of each branch (default: what is left of the run, at least one)"), Flag.optional),
    reseeds: Flag.Int("reseeds").pipe(Flag.withDescription("Rerun: how many seeds, each with a branch and its placebo (default 5)"), Flag.withDefault(5))
  },
  (input) =>
    Effect.gen(function*() {
      const change = yield* readChange(input)
      if (input.direct && input.rerun) return yield* new WrongUsage({ message: "--direct or --rerun, not both" })
      if (input.rerun) return yield* again(input.run, input.from, change, input.steps, input.reseeds)
      return yield* direct(input.run, input.from, change, input.samples)
    })
).pipe(Command.withDescription("How a generation would have answered, or evolution gone on, with one thing changed, beside what chance alone does"))
