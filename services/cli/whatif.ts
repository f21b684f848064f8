/**
 * `metamem whatif`: how a generation would have answered with one thing changed (`--direct`), or what evolution would have come to from
 * there (`--rerun`), each beside a placebo that shows how much of a difference is chance. Both stand in the log afterwards: `--list`.
 */
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { GatePolicy } from "#shared/metamemory/gate"
import { CallStore } from "#shared/model/call-store"
import { shareInPercent } from "#services/reflector/online-words"
import type { RerunChange } from "#services/reflector/run-events"
import { rerun } from "./branches.ts"
import { changeText } from "./change.ts"
import { withActors } from "./home.ts"
import { emit, table, WrongUsage } from "./root.ts"
import { runFlag } from "./run-notes.ts"
import { points, some } from "./shown.ts"
import { direct } from "./whatif-direct.ts"
import { listWhatIfs, showWhatIf } from "./whatif-list.ts"

const wrong = (message: string) => Effect.fail(new WrongUsage({ message }))

/** Who answers, judges or reflects instead: another judge, rules, or another model of the role's endpoint by its name. */
const readRole = (text: string): Effect.Effect<RerunChange, WrongUsage> => {
  const [, role = "", name = ""] = /^(\w+)=(.+)$/s.exec(text.trim()) ?? []
  if (role === "answer") return Effect.succeed({ kind: "reader", model: name })
  if (role === "reflect") return Effect.succeed(name === "rules" || name === "model" ? { kind: "reflector", reflector: name } : { kind: "reflector", reflector: "model", model: name })
  if (role !== "judge") return wrong(`--role ${text} is not understood: judge=lexical, judge=model, judge=MODEL, answer=MODEL, reflect=rules, reflect=model or reflect=MODEL, which proposes and consolidates too`)
  return Effect.succeed(name === "lexical" || name === "model" ? { kind: "judge", judge: name } : { kind: "judge", judge: "model", model: name })
}

interface ChangeFlags extends Record<"drop" | "pin" | "reword" | "text" | "role", Option.Option<string>> {
  readonly gate: Option.Option<GatePolicy>
}

const readChange = (input: ChangeFlags): Effect.Effect<RerunChange, WrongUsage> =>
  Effect.gen(function*() {
    const role = Option.isSome(input.role) ? [yield* readRole(input.role.value)] : []
    const changes: ReadonlyArray<RerunChange> = [
      ...Option.toArray(Option.map(input.drop, (principle): RerunChange => ({ kind: "drop", principle }))),
      ...Option.toArray(Option.map(input.pin, (principle): RerunChange => ({ kind: "pin", principle }))),
      ...Option.toArray(Option.map(input.reword, (principle): RerunChange => ({ kind: "reword", principle, text: Option.getOrElse(input.text, () => "") }))),
      ...role,
      ...Option.toArray(Option.map(input.gate, (policy): RerunChange => ({ kind: "gate", policy })))
    ]
    const [change] = changes
    if (change === undefined || changes.length > 1) {
      return yield* wrong("say what is changed, one thing at a time: --drop P, --pin P, --reword P \"…\", --gate POLICY, --role judge=lexical|model|MODEL, answer=MODEL or reflect=rules|model|MODEL; --list shows what was asked before")
    }
    if (Option.isSome(input.text) !== (change.kind === "reword")) return yield* wrong("--reword P needs the new text after it, and nothing else does")
    return change
  })

const again = (run: string, from: number, change: RerunChange, steps: Option.Option<number>, reseeds: number) =>
  Effect.gen(function*() {
    const result = yield* rerun(run, from, change, Option.getOrUndefined(steps), reseeds).pipe(Effect.provide(CallStore.layerJetStream), withActors(["retriever", "evaluator", "reflector"]))
    yield* emit(result, ({ calls, completionTokens, difference, errors, judge, look, placebo, position, promptTokens, questions, reader, reseeds, reused, undersized }) =>
      [
        `evolution from generation ${from} of ${run} ${changeText(change)}, beside branches with nothing changed; last generations on ${questions.count} ${questions.part} questions, ${judge} judge`,
        table([
          ["seed", "changed", "unchanged", "difference", "principles", "run"],
          ...reseeds.map((one) => [String(one.seed), shareInPercent(one.changed.accuracy), shareInPercent(one.placebo.accuracy), points(one.difference), `${one.changed.principles} and ${one.placebo.principles}`, one.changed.run])
        ]),
        `difference ${points(difference.mean)} points, from ${points(difference.low)} to ${points(difference.high)} over ${some(reseeds.length, "seed")}; the unchanged branches themselves lie between ${shareInPercent(placebo.low)} and ${shareInPercent(placebo.high)}`,
        ...(reader.changed === reader.placebo ? [] : [`the changed branches are answered by ${reader.changed}, the unchanged ones by ${reader.placebo}: what the reader alone does is told without --rerun`]),
        ...(look === null ? [] : [`these questions were announced for the run's test, so this is look ${look} at them: a test of any generation but ${from} is a later one`]),
        `${calls} calls, ${promptTokens} + ${completionTokens} tokens in all branches and their answers; ${reused.calls} replies in branches and ${reused.answers} of ${reused.ofAnswers} answers were in the log; ${errors} errors; the comparison stands in the log (${position})`,
        ...(undersized ? ["the run was too small for such differences to mean much"] : [])
      ].join("\n"))
  })

const reseedsUsual = 5

export const whatif = Command.make(
  "whatif",
  {
    run: runFlag,
    from: Flag.Int("from").pipe(Flag.withDescription("Generation to change"), Flag.optional),
    drop: Flag.String("drop").pipe(Flag.withDescription("Leave this principle out"), Flag.optional),
    pin: Flag.String("pin").pipe(Flag.withDescription("Put this one in: of another generation, or one the gate refused"), Flag.optional),
    reword: Flag.String("reword").pipe(Flag.withDescription("Give this one the text that follows"), Flag.optional),
    text: Argument.String("text").pipe(Argument.withDescription("The new text for --reword"), Argument.optional),
    role: Flag.String("role").pipe(Flag.withDescription("Another judge (judge=lexical, judge=model), or another model of the role's endpoint that judges or answers (judge=MODEL, answer=MODEL) or, with --rerun, reflects, proposes and consolidates (reflect=MODEL, reflect=rules)"), Flag.optional),
    gate: Flag.Literals("gate", ["likely", "proven", "always"]).pipe(Flag.withDescription("Let another policy decide; with --rerun"), Flag.optional),
    direct: Flag.Boolean("direct").pipe(Flag.withDescription("Compare this generation alone (the default)"), Flag.withDefault(false)),
    rerun: Flag.Boolean("rerun").pipe(Flag.withDescription("Let evolution go on from there, under several seeds: many times the calls of a run"), Flag.withDefault(false)),
    samples: Flag.Int("samples").pipe(Flag.withDescription("Directly: answers a question and arm (default: as the run's validation)"), Flag.optional),
    steps: Flag.Int("steps").pipe(Flag.withDescription("Rerun: steps of each branch (default: what is left of the run, at least one)"), Flag.optional),
    reseeds: Flag.Int("reseeds").pipe(Flag.withDescription("Rerun: how many seeds, each with a branch and its placebo (default 5)"), Flag.optional),
    list: Flag.Boolean("list").pipe(Flag.withDescription("Show what was asked before of this run, and its branches; no model is asked"), Flag.withDefault(false)),
    show: Flag.Int("show").pipe(Flag.withDescription("Show the what-if of this number, as --list has it; no model is asked"), Flag.optional)
  },
  (input) =>
    Effect.gen(function*() {
      if (input.list || Option.isSome(input.show)) {
        const others = [input.from, input.drop, input.pin, input.reword, input.text, input.role, input.gate, input.samples, input.steps, input.reseeds].some((given) => Option.isSome<unknown>(given))
        if (others || input.direct || input.rerun || (input.list && Option.isSome(input.show))) return yield* wrong("--list and --show read what was asked before: give one of them, with --run alone")
        return yield* Option.isSome(input.show) ? showWhatIf(input.run, input.show.value) : listWhatIfs(input.run)
      }
      const change = yield* readChange(input)
      if (Option.isNone(input.from)) return yield* wrong("--from says which generation is changed")
      if (input.direct && input.rerun) return yield* wrong("--direct or --rerun, not both")
      if (input.rerun && Option.isSome(input.samples)) return yield* wrong("--samples is a matter of one generation asked directly; branches take what their run took")
      if (!input.rerun) {
        if (Option.isSome(input.steps) || Option.isSome(input.reseeds)) return yield* wrong("--steps and --reseeds are a matter of --rerun; directly, one generation is asked")
        if (change.kind === "gate" || change.kind === "reflector") return yield* wrong(`${change.kind === "gate" ? "a policy" : "who reflects"} changes what comes after a generation, not how it answers: give --rerun`)
        return yield* direct(input.run, input.from.value, change, input.samples)
      }
      return yield* again(input.run, input.from.value, change, input.steps, Option.getOrElse(input.reseeds, () => reseedsUsual))
    })
).pipe(Command.withDescription("How a generation would have answered, or evolution gone on, with one thing changed, beside what chance alone does; it stands in the log afterwards"))
