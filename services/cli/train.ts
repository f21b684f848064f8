/** `metamem train`: opens a run and shows it through to its end. Kill it at any moment; the same command goes on where it was. */
import { Clock, Effect, Option, Result, Schema, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { emptyFold, foldCommits } from "#shared/actor/entity"
import { heldJobs } from "#shared/actor/jobs"
import { request } from "#shared/actor/requests"
import type { Dataset } from "#shared/datasets/dataset"
import { readDataset } from "#shared/datasets/read-dataset"
import type { Question } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { memorySubject, requestSubject, resultFilter, runSubject } from "#shared/eventlog/subjects"
import { isRetirement } from "#shared/metamemory/effect"
import { chosen } from "#shared/metamemory/random"
import { drawByType, mixOf, type SimilarPairs, typeOf } from "#shared/metamemory/split"
import { CallStore } from "#shared/model/call-store"
import { settings as roleSettings } from "#shared/model/roles"
import { JudgeKind } from "#services/evaluator/protocol"
import { type CostRow, curveOf, makeCost } from "#services/reflector/analysis"
import { behaviour, tooSmall } from "#services/reflector/behaviour"
import { differencesText, differingRequest, presets, ReflectorKind, runQuestionOf, type RunRequest, twoPartsText } from "#services/reflector/parameters"
import { OpenReply, RunStatus } from "#services/reflector/protocol"
import { reflectorCodec, type RunEvent } from "#services/reflector/run-events"
import { buildMemory, dataFlag, limited, registerQuestions } from "./build.ts"
import { withActors } from "./home.ts"
import { repeatedLines, type Repeated, repeatedRequests } from "./repeated.ts"
import { makePace, moneyOf } from "./run-progress.ts"
import { costOfRun, type Failures, failuresOf, foldRun } from "./runs.ts"
import { CommandFailed, emit, progressLine, root, say, WrongUsage } from "./root.ts"
import { similarPairs } from "./similar.ts"
import { chainedText, defaultSplit } from "./split.ts"
import { absent, watchActors } from "./watch-actors.ts"
import { watchModels } from "./watch-models.ts"
import { chosenParameters, parameterLines, runFlags, setElsewhere, validationSizes } from "./train-options.ts"

const decodeOpen = Schema.decodeUnknownEffect(OpenReply)
const decodeStatus = Schema.decodeUnknownEffect(RunStatus)

/** Makes sure that the data set's conversations are remembered and its questions known; what is there already is not sent again. */
export const ensureBuilt = (dataset: Dataset) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const log = yield* EventLog
    const missing = yield* Effect.filter(
      dataset.users,
      ({ conversations, user }) =>
        Effect.gen(function*() {
          for (const { conversation } of conversations) {
            if ((yield* log.last(memorySubject({ tenant, user, conversation }, "embedder"))) === undefined) return true
          }
          return false
        }),
      { concurrency: 32 }
    )
    if (missing.length === 0) return yield* registerQuestions(tenant, dataset.questions)
    yield* say(`remembering the conversations of ${missing.length} users first`)
    const built = yield* buildMemory({ ...dataset, users: missing })
    if (built.failed.length > 0) return yield* new CommandFailed({ message: `${built.failed.length} conversations could not be remembered, e.g. ${built.failed[0]?.error}` })
  })

export interface Parts {
  readonly train: ReadonlyArray<Question>
  readonly validation: ReadonlyArray<Question>
  readonly guard: ReadonlyArray<Question>
  readonly test: ReadonlyArray<Question>
  /** Could have validated, and are more than was asked for: they are in no part. */
  readonly left: ReadonlyArray<Question>
  /** Questions that share some evidence sessions may stand in two parts. */
  readonly chained: boolean
}

/**
 * Which questions a run trains on, gates with, guards with and is tested by. Without a validation file the data is split 50/30/20 and half of the
 * last part guards; with one, a fifth of the training questions is held back to guard, unless a guard file is given.
 *
 * @param size most validation questions; drawn so that rare types are told from each other too, when there are more
 * @param similar questions of the data that ask nearly the same; only a split keeps them together
 */
export const partsOf = (
  data: Dataset, given: { readonly val?: Dataset | undefined; readonly guard?: Dataset | undefined; readonly test?: Dataset | undefined }, seed: number, size: number, similar: SimilarPairs = []
): Parts => {
  const drawnFrom = (pool: ReadonlyArray<Question>) => {
    const validation = drawByType(pool.map((question) => ({ type: typeOf(question), question })), size, String(seed)).map(({ question }) => question)
    const taken = new Set(validation)
    return { validation, left: pool.filter((question) => !taken.has(question)) }
  }
  if (given.val === undefined) {
    const { chained, test, train, val } = defaultSplit(data, String(seed), similar)
    const guard = given.guard?.questions ?? chosen(test, Math.ceil(test.length / 2), "guard", seed)
    const guarding = new Set(guard.map(({ id }) => id))
    return { train, ...drawnFrom(val), guard, test: given.test?.questions ?? test.filter(({ id }) => !guarding.has(id)), chained }
  }
  const guard = given.guard?.questions ?? chosen(data.questions, Math.floor(data.questions.length / 5), "guard", seed)
  const guarding = new Set(guard.map(({ id }) => id))
  return { train: data.questions.filter(({ id }) => !guarding.has(id)), ...drawnFrom(given.val.questions), guard, test: given.test?.questions ?? [], chained: false }
}

const refs = (questions: ReadonlyArray<Question>) => questions.map(({ id, user }) => ({ id, user }))

const percent = (share: number | null | undefined): string => (share === null || share === undefined ? "?" : `${(share * 100).toFixed(1)} points`)

const gateLine = ({ after, before, counts, decision, figures, kind, operation, policy, reason, scope, sources }: Extract<RunEvent, { readonly _tag: "GateDecided" }>): string => {
  const answers = counts.questions * counts.samples
  const [so, otherwise] = ({ add: ["with it", "without"], update: ["reworded", "before"], delete: ["without it", "with it"] } as const)[kind]
  return `  gate (${policy}) ${decision}: ${isRetirement(kind, sources) ? "retire" : kind} [${scope}] ${after?.text ?? before?.text ?? operation} — ${
    answers === 0 ? "asked of no question" : `${counts.candidateCorrect} of ${answers} correct ${so}, difference to ${otherwise} ${percent(figures.mean)} (selection, not evidence): ${reason}`
  }`
}

/** Operations as they were submitted, each with why it went no further where it did not. */
const consolidatedLines = ({ discarded, operations, refused }: Extract<RunEvent, { readonly _tag: "OperationsConsolidated" }>): ReadonlyArray<string> => {
  const reasons = new Map(refused.map(({ index, reason }) => [index, reason]))
  const thrown = Object.entries(discarded).map(([reason, n]) => `${n} ${reason}`).join(", ")
  return [...(thrown === "" ? [] : [`  thrown away of what was consolidated: ${thrown}`]), ...operations.map(({ index, operation: { content, id, operation, scope }, sources }) => {
    const reason = reasons.get(index)
    const what = isRetirement(operation, sources) ? `retire ${id}, which by its measured effect brings less than a point` : [operation, ...(id === undefined ? [] : [id]), ...(scope === undefined ? [] : [`[${scope}]`]), ...(content === undefined ? [] : [content])].join(" ")
    return reason === undefined ? `  in line for the gate: ${what}` : `  not to the gate: ${what} — ${reason}`
  })]
}

/**
 * What the run's own alarms leave unsaid: of its attempts some were errors, and all that were judged came out alike. Undefined where they did not.
 *
 * @param verdicts a letter an attempt
 */
export const alikeBesideErrors = (step: number, verdicts: string): string | undefined => {
  const judged = new Set(verdicts.replaceAll("e", ""))
  return judged.size !== 1 || !verdicts.includes("e")
    ? undefined
    : `every attempt of step ${step} that was judged was ${judged.has("c") ? "correct" : "incorrect"}, beside ${verdicts.split("e").length - 1} errors: nothing can be learnt. See whether the judge tells answers apart.`
}

const lettersOf = (attempts: Extract<RunEvent, { readonly _tag: "RolloutsFolded" }>["attempts"]): string => attempts.map(({ verdicts }) => verdicts).join("")

/** A run's event as one line for people; undefined for what is not worth one. */
export const runLine = (event: RunEvent): string | undefined => {
  switch (event._tag) {
    case "RunOpened":
      return [`run opened: ${event.parameters.train.length} training, ${event.parameters.validation.length} validation, ${event.parameters.guard.length} guard, ${event.parameters.test.length} test questions; judge: ${event.parameters.judge}; reflector: ${event.parameters.reflector}${event.parameters.reflector === "rules" ? " (rule-based: no model proposes)" : ""}`, ...[...parameterLines(event.parameters), ...event.budget].map((line) => `  ${line}`), ...(event.undersized ? ["  too small to mean much: every figure below shows the machinery, not the method"] : [])].join("\n")
    case "StepStarted":
      return `step ${event.step}: ${event.questions.length} questions, ${event.repeated} of them partly right before`
    case "RolloutsFolded": {
      const all = lettersOf(event.attempts)
      const alarm = alikeBesideErrors(event.step, all)
      const count = (letter: string) => [...all].filter((verdict) => verdict === letter).length
      const mixed = event.attempts.filter(({ verdicts }) => verdicts.includes("c") && verdicts.includes("i")).length
      return `  ${all.length} rollouts judged: ${count("c")} correct, ${count("i")} incorrect, ${event.errors} errors; ${mixed} questions came out both ways${alarm === undefined ? "" : `\n  ALARM: ${alarm}`}`
    }
    case "AlarmRaised":
      return `  ALARM: ${event.message}`
    case "ReflectionsFolded":
      return `  ${event.done.length} reflections (${Object.entries(event.by).map(([by, n]) => `${n} ${by}`).join(", ") || "none"})${event.failed > 0 ? `, ${event.failed} failed` : ""}`
    case "ProposalsFolded":
      return `  ${event.proposals.length} proposals (${Object.entries(event.by).map(([by, n]) => `${n} ${by}`).join(", ") || "none"})${Object.keys(event.discarded).length > 0 ? `; thrown away: ${Object.entries(event.discarded).map(([reason, n]) => `${n} ${reason}`).join(", ")}` : ""}`
    case "OperationsConsolidated":
      return [...consolidatedLines(event), ...(event.operations.length === 0 ? ["  nothing to put to the gate"] : [])].join("\n")
    case "GateDecided":
      return gateLine(event)
    case "GenerationSealed":
      return `  sealed generation ${event.generation}: ${event.principles.length} principles, hash ${event.hash.slice(0, 16)}`
    case "StepEnded":
      return event.outcome === "sealed" ? undefined : `  step ${event.step} ended: ${event.outcome}`
    case "GuardTested":
      return `guard test of generation ${event.generation} against generation 0: ${event.decision} — ${event.reason}`
    case "RunFinished":
      return `finished${event.stopped === undefined ? "" : ` early, after step ${event.stopped.step} (${event.stopped.reason})`}: ${event.generations} generations, recommended ${event.recommended} — ${event.reason}`
    default:
      return undefined
  }
}

export interface TrainResult {
  readonly run: string
  /** Number of the last step taken. */
  readonly steps: number
  readonly generations: number
  readonly incumbent: number
  readonly recommended: number
  readonly calls: number
  readonly cost: { readonly promptTokens: number; readonly completionTokens: number; readonly reusedCalls: number; readonly repeated: Repeated }
  readonly errors: number
  /** What the errors were, by kind of work, with the last one's message. */
  readonly failures: ReadonlyArray<Failures>
  readonly alarms: ReadonlyArray<string>
  /** Training attempts that were judged. */
  readonly judged: number
  readonly undersized: boolean
}

const decodeInForce = Schema.decodeUnknownEffect(Schema.Struct({ judge: JudgeKind, reflector: ReflectorKind }))

/** Refuses what the reflector would refuse, before conversations are remembered for it. */
const refuseEarly = (run: string, open: RunRequest, parts: Parts) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const log = yield* EventLog
    const { state: { parameters } } = yield* foldCommits(behaviour, emptyFold(behaviour.initial()), yield* log.load(runSubject({ tenant, run })))
    const differs = parameters === undefined ? [] : differingRequest(parameters, open)
    if (parameters !== undefined && differs.length > 0) return yield* new CommandFailed({ message: differencesText(differs, parameters, open) })
    const seen = new Set<string>()
    for (const { id } of [...open.train, ...open.validation, ...open.guard, ...open.test]) {
      if (seen.has(id)) return yield* new CommandFailed({ message: twoPartsText(id) })
      seen.add(id)
    }
    if (parameters !== undefined) return
    const inForce = yield* request(requestSubject("reflector", "ping"), {}, 10_000).pipe(Effect.flatMap(decodeInForce))
    const [firstTrain, ...train] = parts.train.map(runQuestionOf)
    const [firstValidation, ...validation] = parts.validation.map(runQuestionOf)
    if (firstTrain === undefined || firstValidation === undefined) return
    const refused = tooSmall({ ...inForce, ...open, train: [firstTrain, ...train], validation: [firstValidation, ...validation], guard: parts.guard.map(runQuestionOf), test: [] })
    if (refused !== undefined) return yield* refused
  })

/** Opens a run, or goes on with it, and follows it until it is finished; each event is told as it is recorded. */
export const runToEnd = (run: string, open: RunRequest, tell: (line: string) => Effect.Effect<void>) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const log = yield* EventLog
    const reply = yield* request(requestSubject("reflector", "open"), { tenant, run, request: open }, 120_000).pipe(Effect.flatMap(decodeOpen))
    if (!reply.opened) yield* tell(`the run ${run} stands in the log and goes on where it was`)
    const progress = progressLine()
    let shown = ""
    let movedMs = yield* Clock.currentTimeMillis
    const prices = yield* roleSettings
    const spent = makeCost()
    const paceOf = makePace()
    const counting = log.follow([resultFilter({ tenant, run })]).pipe(Stream.runForEach((commit) => Effect.sync(() => spent.add(commit))), Effect.ignore, Effect.andThen(Effect.never))
    const showing = Effect.gen(function*() {
      const status = yield* request(requestSubject("reflector", "status"), { tenant, run }, 10_000).pipe(Effect.flatMap(decodeStatus))
      const now = [status.step, status.stage, status.done].join()
      if (now !== shown) movedMs = yield* Clock.currentTimeMillis
      shown = now
      if (status.stage === "finished") return
      const rows = spent.rows()
      const sum = (pick: (row: CostRow) => number): number => rows.reduce((total, row) => total + pick(row), 0)
      const pace = paceOf({
        calls: sum(({ calls, reused }) => calls + reused), promptTokens: sum(({ promptTokens }) => promptTokens), completionTokens: sum(({ completionTokens }) => completionTokens),
        money: moneyOf(rows, prices), expectedCalls: reply.expectedCalls, step: status.step, steps: status.steps
      }, yield* Clock.currentTimeMillis)
      progress.update(`step ${status.step} of ${status.steps}, ${status.stage}${status.expected > 0 ? `: ${status.done} of ${status.expected} done` : ""}${status.failed > 0 ? `, ${status.failed} failed` : ""}; ${pace}`)
    }).pipe(Effect.ignore, Effect.andThen(Effect.sleep("500 millis")), Effect.forever)
    const following = log.follow([runSubject({ tenant, run })]).pipe(
      Stream.takeUntil((commit) => commit.events.some(({ type }) => type === "RunFinished")),
      Stream.runForEach((commit) =>
        Effect.gen(function*() {
          progress.end()
          for (const stored of commit.events) {
            const event = reflectorCodec.decode(stored)
            const line = Result.isSuccess(event) ? runLine(event.success) : undefined
            if (line !== undefined) yield* tell(line)
          }
        })
      )
    )
    const watching = watchActors({ missing: absent(["reflector", "retriever", "evaluator"]), tell, everyMs: 10_000, limitMs: 120_000 })
    const waiting = watchModels({ held: heldJobs, movedMs: () => movedMs, tell, limitMs: { away: 120_000, rejected: 10_000 } })
    yield* following.pipe(Effect.raceFirst(showing), Effect.raceFirst(counting), Effect.raceFirst(watching), Effect.raceFirst(waiting), Effect.ensuring(Effect.sync(() => progress.end())))
    progress.end()
    return yield* resultOf(run)
  })

/** The result of a finished run, from the log. */
export const resultOf = (run: string) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const rows = yield* costOfRun(tenant, run)
    const sum = (pick: (row: CostRow) => number): number => rows.reduce((total, row) => total + pick(row), 0)
    const errors = sum(({ failed }) => failed)
    return {
      run,
      steps: state.stopped?.step ?? state.parameters?.steps ?? 0,
      generations: state.generations.length,
      incumbent: state.trials.generation,
      recommended: state.recommended ?? 0,
      calls: sum(({ calls }) => calls),
      cost: { promptTokens: sum(({ promptTokens }) => promptTokens), completionTokens: sum(({ completionTokens }) => completionTokens), reusedCalls: sum(({ reused }) => reused), repeated: yield* repeatedRequests(tenant, run, state) },
      errors,
      failures: errors === 0 ? [] : yield* failuresOf(tenant, run),
      alarms: [...state.alarms, ...state.steps.flatMap(({ attempts, step }) => alikeBesideErrors(step, lettersOf(attempts)) ?? [])],
      judged: curveOf(state).reduce((total, { correct, incorrect }) => total + correct + incorrect, 0),
      undersized: state.undersized
    } satisfies TrainResult
  }).pipe(Effect.provide(CallStore.layerJetStream))

const file = (name: string, description: string) => Flag.String(name).pipe(Flag.withDescription(description), Flag.optional)

export const train = Command.make(
  "train",
  {
    data: dataFlag,
    val: file("val", "Validation questions for the gate (without it the data is split 50/30/20)"),
    guard: file("guard", "Questions no step and no gate touches, for the guard test before a generation is recommended"),
    test: file("test", "Questions for the one paired test at the end"),
    run: Flag.String("run").pipe(Flag.withDescription("Name of the run; the same name again goes on where it was")),
    limit: Flag.Int("limit").pipe(Flag.withDescription("Only the first N questions of the data, the original's dataset_truncate"), Flag.optional),
    ...runFlags
  },
  (input) =>
    Effect.gen(function*() {
      const cast = yield* roleSettings
      const preset = presets[Option.getOrElse(input.preset, () => (cast.answer.urls.length === 0 ? "laptop" : "metamem"))]
      const wrong = (message: string) => new WrongUsage({ message })
      if (input.run.trim() === "") return yield* wrong("--run needs a name")
      // Before any file is read: what makes no sense makes none whatever the data is.
      yield* Effect.fromResult(Result.mapError(chosenParameters(input, preset, preset.batch), wrong))
      if (Option.isSome(input.validation) && input.validation.value < 1) return yield* wrong(`--validation is a whole number from 1 on, not ${input.validation.value}`)
      if (Option.isSome(input.limit) && input.limit.value < 1) return yield* wrong(`--limit is a whole number from 1 on, not ${input.limit.value}`)
      const data = limited(yield* readDataset(input.data), Option.getOrUndefined(input.limit))
      const read = (path: Option.Option<string>) => (Option.isSome(path) ? readDataset(path.value) : Effect.succeed(undefined))
      const [val, guard, test] = yield* Effect.all([read(input.val), read(input.guard), read(input.test)])
      const similar = val === undefined ? yield* similarPairs(data.questions) : []
      const parts = partsOf(data, { val, guard, test }, input.seed, Option.getOrElse(input.validation, () => validationSizes[preset.preset]), similar)
      if (parts.left.length > 0) yield* say(`${parts.validation.length} of ${parts.validation.length + parts.left.length} validation questions are drawn by type, and the others are left out; --validation N takes more`)
      if (parts.chained) yield* say(chainedText)
      const [firstTrain, ...train] = refs(parts.train)
      const [firstValidation, ...validation] = refs(parts.validation)
      if (firstTrain === undefined || firstValidation === undefined) {
        return yield* new CommandFailed({ message: `${input.data} has too few questions for a run: ${parts.train.length} to train on, ${parts.validation.length} to validate on${val === undefined ? "; questions of one user or one conversation stay together, --val FILE names others to validate on" : ""}` })
      }
      const open: RunRequest = {
        ...(yield* Effect.fromResult(Result.mapError(chosenParameters(input, preset, parts.train.length), wrong))),
        datasetHash: data.hash,
        // The data as given is the natural mix, before anything is drawn from it.
        mix: mixOf(data.questions.map(typeOf)),
        train: [firstTrain, ...train],
        validation: [firstValidation, ...validation],
        guard: refs(parts.guard),
        test: refs(parts.test)
      }
      const result = yield* Effect.gen(function*() {
        yield* refuseEarly(input.run, open, parts)
        for (const dataset of [data, val, guard, test]) if (dataset !== undefined) yield* ensureBuilt(dataset)
        return yield* runToEnd(input.run, open, say)
      }).pipe(withActors(["ingestor", "compressor", "embedder", "retriever", "evaluator", "reflector"]))
      yield* emit(result, (result) =>
        [
          `run ${result.run}: ${result.steps} steps, ${result.generations} generations, incumbent ${result.incumbent}, recommended ${result.recommended}${result.undersized ? " (too small a sample to mean much)" : ""}`,
          `${result.calls} calls, ${result.cost.promptTokens} + ${result.cost.completionTokens} tokens, ${result.cost.reusedCalls} replies taken from the log, ${result.errors} errors`,
          ...repeatedLines(result.cost.repeated),
          ...result.failures.map(({ count, error, kind }) => `  ${count} of kind ${kind}, the last: ${error}`)
        ].join("\n"))
      if (result.judged === 0) return yield* new CommandFailed({ message: `no attempt of ${result.run} could be answered and judged, so that nothing was learnt; see the errors above, mend their cause, and start a run under another name` })
    })
).pipe(
  Command.withShortDescription("Evolve principles on how to use memories, over a data set's questions"),
  Command.withDescription(`Evolve principles on how to use memories, over a data set's questions. ${setElsewhere}`)
)
