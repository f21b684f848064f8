/**
 * `metamem whatif`: how a generation would have answered with one thing changed. The same validation questions are asked with the same
 * sample identities, so what the change does not touch is read from the log, and a placebo (nothing changed, other samples) shows how
 * much of a difference is chance.
 */
import { Effect, Option, Result, Schema, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import type { Principle } from "#shared/domain/principle"
import type { Verdict } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { callsFilter, requestSubject, runSubject } from "#shared/eventlog/subjects"
import { applyOperations, refusalText } from "#shared/metamemory/operations"
import { inScope } from "#shared/metamemory/router"
import { type Difference, meanDifference } from "#shared/metamemory/statistics"
import { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { JudgeReply, type JudgeKind } from "#services/evaluator/protocol"
import { behaviour } from "#services/reflector/behaviour"
import type { RunParameters, RunQuestion } from "#services/reflector/parameters"
import { RolloutData, type RolloutInput } from "#services/retriever/protocol"
import { withActors } from "./home.ts"
import { CommandFailed, emit, progressLine, root, table, WrongUsage } from "./root.ts"
import type { RunState } from "./runs.ts"

export type Change =
  | { readonly kind: "drop"; readonly principle: string }
  | { readonly kind: "pin"; readonly principle: string }
  | { readonly kind: "reword"; readonly principle: string; readonly text: string }
  | { readonly kind: "judge"; readonly judge: JudgeKind }

export const changeText = (change: Change): string => {
  switch (change.kind) {
    case "drop":
      return `without ${change.principle}`
    case "pin":
      return `with ${change.principle}`
    case "reword":
      return `with ${change.principle} reworded`
    case "judge":
      return `judged by the ${change.judge} judge`
  }
}

/** A generation as it stood when it was sealed, and how often each class of question had been drawn anew by then. */
export interface StartingPoint {
  readonly parameters: RunParameters
  readonly principles: ReadonlyArray<Principle>
  readonly draws: Readonly<Record<string, number>>
  /** Every principle the run knows of, the refused ones too, in their last wording. */
  readonly known: ReadonlyMap<string, Principle>
  readonly undersized: boolean
}

/** The run at one of its generations. */
export const startingPoint = (tenant: string, run: string, generation: number) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const commits = yield* log.load(runSubject({ tenant, run }))
    if (commits.length === 0) return yield* new CommandFailed({ message: `there is no run ${run}` })
    let state: RunState = behaviour.initial()
    let found: Pick<StartingPoint, "principles" | "draws"> | undefined
    for (const commit of commits) {
      for (const stored of commit.events) {
        const event = behaviour.codec.decode(stored)
        if (Result.isFailure(event)) return yield* event.failure
        state = behaviour.evolve(state, event.success, commit)
        if (event.success._tag === "GenerationSealed" && event.success.generation === generation) found = { principles: state.trials.principles, draws: state.trials.draws }
      }
    }
    const { generations, operations, parameters, undersized } = state
    if (found === undefined) return yield* new CommandFailed({ message: `the run ${run} has generations 0 to ${generations.length - 1}, and no ${generation}` })
    if (parameters === undefined) return yield* new CommandFailed({ message: `${run} is the record of an imported run: it has no validation questions to ask` })
    const known = new Map([...operations.flatMap(({ after, before }) => [before, after].filter((one) => one !== undefined)), ...generations.flatMap(({ principles }) => principles)].map((principle) => [principle.id, principle]))
    return { ...found, parameters, known, undersized } satisfies StartingPoint as StartingPoint
  })

/** The principles with the change made. A change that cannot be made, or changes nothing, is refused with what to do. */
export const changed = ({ known, parameters, principles }: Pick<StartingPoint, "known" | "parameters" | "principles">, change: Change): Result.Result<ReadonlyArray<Principle>, string> => {
  if (change.kind === "judge") {
    return change.judge === parameters.judge ? Result.fail(`the run was judged by the ${change.judge} judge: name the other one`) : Result.succeed(principles)
  }
  if (change.kind === "pin") {
    const principle = known.get(change.principle)
    if (principles.some(({ id }) => id === change.principle)) return Result.fail(`${change.principle} is in this generation already; --drop tells what it does there`)
    return principle === undefined ? Result.fail(`the run knows of no principle ${change.principle}`) : Result.succeed([...principles, principle])
  }
  const operation = change.kind === "drop"
    ? { operation: "delete" as const, id: change.principle }
    : { operation: "update" as const, id: change.principle, content: change.text }
  const applied = applyOperations(principles, [operation], { runSeed: "what-if", step: 0, generation: 0, maxInScope: Number.POSITIVE_INFINITY })
  const [refused] = applied.refused
  return refused === undefined ? Result.succeed(applied.principles) : Result.fail(refusalText(refused.refusal))
}

/** One answer to get: under which principles, and as which sample. */
export interface Ask {
  readonly question: RunQuestion
  readonly arm: "before" | "after" | "placebo"
  readonly sample: number
  readonly draw: number
  readonly principles: ReadonlyArray<Principle>
  readonly judge: JudgeKind
}

/** Samples of the placebo are numbered from here, above those that any gate asks. */
const placeboFrom = 100

const same = (a: ReadonlyArray<Principle>, b: ReadonlyArray<Principle>): boolean => a.length === b.length && a.every(({ id, text }, at) => b[at]?.id === id && b[at].text === text)

/** Answers that tell what a change does. Questions that are shown the same before and after would be answered alike and are not asked. */
export const asksOf = ({ draws, parameters, principles }: StartingPoint, after: ReadonlyArray<Principle>, change: Change, samples: number): ReadonlyArray<Ask> =>
  parameters.validation.flatMap((question) => {
    const shown = (list: ReadonlyArray<Principle>) => list.filter((principle) => inScope(principle, question.questionClass))
    const [old, now] = [shown(principles), shown(after)]
    if (change.kind !== "judge" && same(old, now)) return []
    const ask = (arm: Ask["arm"], list: ReadonlyArray<Principle>, from: number, judge = parameters.judge) =>
      Array.from({ length: samples }, (_, sample): Ask => ({ question, arm, sample: from + sample, draw: draws[question.questionClass] ?? 0, principles: list, judge }))
    return [...ask("before", old, 0), ...ask("after", now, 0, change.kind === "judge" ? change.judge : parameters.judge), ...ask("placebo", old, placeboFrom)]
  })

export interface Answered {
  readonly ask: Ask
  readonly verdict: Verdict
}

export interface Estimated {
  /** Shares, 95 %; null with fewer than two clusters. */
  readonly mean: number
  readonly low: number | null
  readonly high: number | null
}

const estimated = (differences: ReadonlyArray<Difference>): Estimated => {
  const { mean, standardError } = meanDifference(differences)
  const half = 1.96 * standardError
  return Number.isFinite(half) ? { mean, low: mean - half, high: mean + half } : { mean, low: null, high: null }
}

export interface Compared {
  readonly inScope: number
  readonly accuracy: { readonly before: number | null; readonly after: number | null; readonly placebo: number | null }
  /** After less before, over the questions asked. */
  readonly difference: Estimated
  /** The same over all validation questions, those out of scope unchanged. */
  readonly overall: Estimated
  /** Placebo less before: what chance alone does. */
  readonly placebo: Estimated
  readonly errors: number
}

/** Differences by question, paired, clusters as the unit; answers that could not be judged are in none. */
export const compare = (answers: ReadonlyArray<Answered>, validation: ReadonlyArray<RunQuestion>): Compared => {
  const judged = answers.filter(({ verdict }) => verdict !== "error")
  const shareOf = (some: ReadonlyArray<Answered>): number | null => (some.length === 0 ? null : some.filter(({ verdict }) => verdict === "correct").length / some.length)
  const byArm = (arm: Ask["arm"]) => judged.filter(({ ask }) => ask.arm === arm)
  const byQuestion = Map.groupBy(judged, ({ ask }) => ask.question.id)
  const asked = new Set(answers.map(({ ask }) => ask.question.id))
  const differences = (arm: "after" | "placebo") =>
    validation.flatMap((question): ReadonlyArray<Difference> => {
      const own = byQuestion.get(question.id) ?? []
      const [old, now] = [shareOf(own.filter(({ ask }) => ask.arm === "before")), shareOf(own.filter(({ ask }) => ask.arm === arm))]
      return old === null || now === null ? [] : [{ value: now - old, cluster: question.cluster }]
    })
  const found = differences("after")
  const unchanged = validation.filter(({ id }) => !asked.has(id)).map(({ cluster }) => ({ value: 0, cluster }))
  return {
    inScope: asked.size,
    accuracy: { before: shareOf(byArm("before")), after: shareOf(byArm("after")), placebo: shareOf(byArm("placebo")) },
    difference: estimated(found),
    overall: estimated([...found, ...unchanged]),
    placebo: estimated(differences("placebo")),
    errors: answers.length - judged.length
  }
}

const decodeRollout = Schema.decodeUnknownEffect(Schema.Struct({ callKey: RolloutData.fields.callKey }))
const decodeJudge = Schema.decodeUnknownEffect(JudgeReply)
const decodeCall = Schema.decodeUnknownOption(Schema.fromJsonString(StoredCall))

/** Longest wait for one answer: it may stand behind many others at a small model. */
const answerDeadlineMs = 600_000
const atOnce = 16

/** Kept calls of users after a place of the store's stream, in one pass, with the last place. */
const keptCalls = (tenant: string, users: ReadonlyArray<string>, after: number) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const calls: Array<StoredCall> = []
    let through = after
    if (users.length === 0) return { calls, through }
    yield* log.readRaw(users.map((user) => callsFilter(tenant, user)), { after }).pipe(Stream.runForEach(({ payload, sequence }) =>
      Effect.sync(() => {
        const call = Option.getOrUndefined(decodeCall(new TextDecoder().decode(payload)))
        if (call !== undefined) calls.push(call)
        through = sequence
      })))
    return { calls, through }
  })

/** Gets and judges answers; what the log holds is read from it. */
const answerAll = (tenant: string, run: string, parameters: RunParameters, asks: ReadonlyArray<Ask>) =>
  Effect.gen(function*() {
    const store = yield* CallStore
    const users = [...new Set(asks.map(({ question }) => question.user))]
    const before = yield* keptCalls(tenant, users, 0)
    const texts = new Map(before.calls.map(({ key, text }) => [key, text]))
    const progress = progressLine()
    let done = 0
    let reused = 0
    /** Verdicts asked for, by judge and answer: the same answer is judged once. */
    const verdicts = new Map<string, Verdict>()
    const answers = yield* Effect.forEach(asks, (ask) =>
      Effect.gen(function*() {
        const { draw, judge, principles, question: { id, user }, sample } = ask
        const input: RolloutInput = {
          question: { id, user }, purpose: "gate", draw, sample,
          principles: principles.map(({ id, scope, text }) => ({ id, text, scope })),
          temperature: parameters.gateTemperature, maxTokens: parameters.maxTokens, evidenceTokens: parameters.evidenceTokens,
          memoryPosition: parameters.memoryPosition, runSeed: parameters.seed
        }
        const { callKey } = yield* request(requestSubject("retriever", "rollout"), { tenant, run, step: -1, input }, answerDeadlineMs).pipe(Effect.flatMap(decodeRollout))
        if (texts.has(callKey)) reused += 1
        const text = texts.get(callKey) ?? Option.getOrUndefined(Option.map(yield* store.get(tenant, user, callKey), ({ text }) => text))
        if (text === undefined) return { ask, verdict: "error" } satisfies Answered as Answered
        const known = verdicts.get(`${judge}/${callKey}`)
        if (known !== undefined) return { ask, verdict: known } satisfies Answered as Answered
        const reply = yield* request(requestSubject("evaluator", "judge"), { tenant, judge, answers: [{ question: { id, user }, response: text }] }, answerDeadlineMs).pipe(Effect.flatMap(decodeJudge))
        const verdict = reply.verdicts[0]?.verdict ?? "error"
        verdicts.set(`${judge}/${callKey}`, verdict)
        return { ask, verdict } satisfies Answered as Answered
      }).pipe(
        // Could not be answered or judged: an error, never wrong.
        Effect.catchTag(["RequestRefused", "DeadlinePassed", "SchemaError"], () => Effect.succeed<Answered>({ ask, verdict: "error" })),
        Effect.tap(() => Effect.sync(() => progress.update(`${++done} of ${asks.length} answered`)))
      ), { concurrency: atOnce })
    progress.end()
    const paid = (yield* keptCalls(tenant, users, before.through)).calls
    const sum = (pick: (call: StoredCall) => number) => paid.reduce((total, call) => total + pick(call), 0)
    return {
      answers,
      reused: { answers: reused, ofAnswers: asks.length },
      paid: {
        calls: paid.length,
        answers: paid.filter(({ role }) => role === "answer").length,
        judgements: paid.filter(({ role }) => role === "judge").length,
        promptTokens: sum(({ usage }) => usage.promptTokens),
        completionTokens: sum(({ usage }) => usage.completionTokens)
      }
    }
  })

const readChange = (input: { readonly drop: Option.Option<string>; readonly pin: Option.Option<string>; readonly reword: Option.Option<string>; readonly text: Option.Option<string>; readonly role: Option.Option<string> }): Effect.Effect<Change, WrongUsage> => {
  const wrong = (message: string) => Effect.fail(new WrongUsage({ message }))
  const changes: ReadonlyArray<Change> = [
    ...Option.toArray(Option.map(input.drop, (principle): Change => ({ kind: "drop", principle }))),
    ...Option.toArray(Option.map(input.pin, (principle): Change => ({ kind: "pin", principle }))),
    ...Option.toArray(Option.map(input.reword, (principle): Change => ({ kind: "reword", principle, text: Option.getOrElse(input.text, () => "") }))),
    ...Option.toArray(Option.map(input.role, (role): Change => ({ kind: "judge", judge: role === "judge=model" ? "model" : "lexical" })))
  ]
  const [change] = changes
  if (change === undefined || changes.length > 1) return wrong("say what is changed, one thing at a time: --drop P, --pin P, --reword P \"…\" or --role judge=lexical|model")
  if (Option.isSome(input.text) !== (change.kind === "reword")) return wrong("--reword P needs the new text after it, and nothing else does")
  return Effect.succeed(change)
}

const points = (share: number | null): string => (share === null ? "?" : `${share >= 0 ? "+" : ""}${(share * 100).toFixed(1)}`)
const interval = ({ high, low, mean }: Estimated): ReadonlyArray<string> => [points(mean), low === null ? "too few clusters" : `${points(low)} to ${points(high)}`]
const percent = (share: number | null): string => (share === null ? "?" : `${(share * 100).toFixed(1)} %`)

export const whatif = Command.make(
  "whatif",
  {
    run: Flag.String("run").pipe(Flag.withDescription("Name of the run")),
    from: Flag.Int("from").pipe(Flag.withDescription("Generation to change")),
    drop: Flag.String("drop").pipe(Flag.withDescription("Leave this principle out"), Flag.optional),
    pin: Flag.String("pin").pipe(Flag.withDescription("Put this one in: of another generation, or one the gate refused"), Flag.optional),
    reword: Flag.String("reword").pipe(Flag.withDescription("Give this one the text that follows"), Flag.optional),
    text: Argument.String("text").pipe(Argument.withDescription("The new text for --reword"), Argument.optional),
    role: Flag.Literals("role", ["judge=lexical", "judge=model"]).pipe(Flag.withDescription("Let the other judge judge"), Flag.optional),
    samples: Flag.Int("samples").pipe(Flag.withDescription("Answers a question and arm (default: as the run's validation)"), Flag.optional)
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const { from, run } = input
      const change = yield* readChange(input)
      const result = yield* Effect.gen(function*() {
        const start = yield* startingPoint(tenant, run, from)
        const samples = Option.getOrElse(input.samples, () => start.parameters.validationSamples)
        if (samples < 1 || samples > placeboFrom) return yield* new WrongUsage({ message: `--samples is a number from 1 to ${placeboFrom}` })
        const after = changed(start, change)
        if (Result.isFailure(after)) return yield* new WrongUsage({ message: after.failure })
        const asks = asksOf(start, after.success, change, samples)
        if (asks.length === 0) return yield* new CommandFailed({ message: `no validation question of ${run} is shown a principle of that scope, so nothing can be told` })
        const { answers, paid, reused } = yield* answerAll(tenant, run, start.parameters, asks)
        return {
          run, from, change, mode: "direct", judge: start.parameters.judge, samples,
          validation: start.parameters.validation.length,
          ...compare(answers, start.parameters.validation),
          reused, paid, undersized: start.undersized
        }
      }).pipe(Effect.provide(CallStore.layerJetStream), withActors(["retriever", "evaluator"]))
      yield* emit(result, ({ accuracy, difference, errors, inScope, overall, paid, placebo, reused, samples, undersized, validation }) =>
        [
          `generation ${from} of ${run} ${changeText(change)}: ${inScope} of ${validation} validation questions are shown something else, ${samples} answers each`,
          table([
            ["in points", "", "95 %"],
            ["difference", ...interval(difference)],
            ["  over all questions", ...interval(overall)],
            ["placebo: nothing changed, other samples", ...interval(placebo)]
          ]),
          `right: ${percent(accuracy.before)} before, ${percent(accuracy.after)} after, ${percent(accuracy.placebo)} placebo; ${errors} errors`,
          `${reused.answers} of ${reused.ofAnswers} answers were in the log; paid: ${paid.answers} answers and ${paid.judgements} judgements, ${paid.promptTokens} + ${paid.completionTokens} tokens`,
          ...(undersized ? ["the run was too small for such differences to mean much"] : [])
        ].join("\n"))
    })
).pipe(Command.withDescription("How a generation would have answered with one thing changed, beside what chance alone does"))
