/** `metamem train`: opens a run and shows it through to its end. Kill it at any moment; the same command goes on where it was. */
import { Effect, Option, Result, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { emptyFold, foldCommits } from "#shared/actor/entity"
import { request } from "#shared/actor/requests"
import { readDataset } from "#shared/datasets/read-dataset"
import type { Question } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { requestSubject, runSubject } from "#shared/eventlog/subjects"
import { mixOf, typeOf } from "#shared/metamemory/split"
import { settings as roleSettings } from "#shared/model/roles"
import { JudgeKind } from "#services/evaluator/protocol"
import { behaviour, takenByImport, tooSmall } from "#services/reflector/behaviour"
import { differencesText, differingRequest, presets, ReflectorKind, runQuestionOf, type RunRequest, twoPartsText } from "#services/reflector/parameters"
import { dataFlag, ensureBuilt, limited } from "./build.ts"
import { withActors } from "./home.ts"
import { type Parts, partsOf } from "./question-parts.ts"
import { repeatedLines } from "./repeated.ts"
import { CommandFailed, emit, root, say, WrongUsage } from "./root.ts"
import { openRun, runToEnd } from "./run-to-end.ts"
import { some } from "./shown.ts"
import { similarPairs } from "./similar.ts"
import { chainedText } from "./split.ts"
import { chosenParameters, runFlags, setElsewhere, validationSizes } from "./train-options.ts"

const refs = (questions: ReadonlyArray<Question>) => questions.map(({ id, user }) => ({ id, user }))

const decodeInForce = Schema.decodeUnknownEffect(Schema.Struct({ judge: JudgeKind, reflector: ReflectorKind }))

/** Refuses what the reflector would refuse, before conversations are remembered for it. */
const refuseEarly = (run: string, open: RunRequest, parts: Parts) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const log = yield* EventLog
    const { state } = yield* foldCommits(behaviour, emptyFold(behaviour.initial()), yield* log.load(runSubject({ tenant, run })))
    const imported = takenByImport(state)
    if (imported !== undefined) return yield* imported
    const { parameters } = state
    const differs = parameters === undefined ? [] : differingRequest(parameters, open)
    if (parameters !== undefined && differs.length > 0) return yield* new CommandFailed({ message: differencesText(differs, parameters, open) })
    const seen = new Set<string>()
    for (const { id } of [...open.train, ...open.validation, ...open.guard, ...open.test]) {
      if (seen.has(id)) return yield* new CommandFailed({ message: twoPartsText(id) })
      seen.add(id)
    }
    // Its questions are known since it was opened, so the reflector can say now whether models and prompts are still those it was opened with.
    if (parameters !== undefined) return void (yield* openRun(run, open))
    const inForce = yield* request(requestSubject("reflector", "ping"), {}, 10_000).pipe(Effect.flatMap(decodeInForce))
    const [firstTrain, ...train] = parts.train.map(runQuestionOf)
    const [firstValidation, ...validation] = parts.validation.map(runQuestionOf)
    if (firstTrain === undefined || firstValidation === undefined) return
    const refused = tooSmall({ ...inForce, ...open, train: [firstTrain, ...train], validation: [firstValidation, ...validation], guard: parts.guard.map(runQuestionOf), test: [] })
    if (refused !== undefined) return yield* refused
  })

const file = (name: string, description: string) => Flag.String(name).pipe(Flag.withDescription(description), Flag.optional)

export const train = Command.make(
  "train",
  {
    data: dataFlag,
    val: file("val", "Validation questions for the gate (without it the data is split 50/30/20)"),
    guard: file("guard", "Questions no step and no gate touches, for the guard test before a generation is recommended (default: with --val about a fifth of the training questions, else half of the last 20 %)"),
    test: file("test", "Questions for the one paired test at the end (default: with --val none, else the other half of the last 20 %)"),
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
      const similar = val === undefined || guard === undefined ? yield* similarPairs(data.questions) : []
      const parts = partsOf(data, { val, guard, test }, input.seed, Option.getOrElse(input.validation, () => validationSizes[preset.preset]), similar)
      if (parts.left.length > 0) yield* say(`${parts.validation.length} of ${parts.validation.length + parts.left.length} validation questions are drawn by type, and the others are left out; --validation N takes more`)
      if (parts.chained) yield* say(chainedText)
      const [firstTrain, ...train] = refs(parts.train)
      const [firstValidation, ...validation] = refs(parts.validation)
      if (firstTrain === undefined || firstValidation === undefined) {
        const found = `${parts.train.length} to train on, ${parts.validation.length} to validate on`
        const hint = val === undefined ? "; questions of one user or one conversation stay together, --val FILE names others to validate on" : ""
        return yield* new CommandFailed({ message: `${input.data} has too few questions for a run: ${found}${hint}` })
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
          `run ${result.run}: ${some(result.steps, "step")}, ${some(result.generations, "generation")}, incumbent ${result.incumbent}, recommended ${result.recommended}${result.undersized ? " (too small a sample to mean much)" : ""}`,
          `${some(result.calls, "call")}, ${result.cost.promptTokens} + ${result.cost.completionTokens} tokens, ${some(result.cost.reusedCalls, "reply", "replies")} taken from the log, ${some(result.errors, "error")}`,
          ...repeatedLines(result.cost.repeated),
          ...result.failures.map(({ count, error, kind }) => `  ${count} of kind ${kind}, the last: ${error}`)
        ].join("\n"))
      if (result.judged === 0) return yield* new CommandFailed({ message: `no attempt of ${result.run} could be answered and judged, so that nothing was learnt; see the errors above, mend their cause, and start a run under another name` })
    })
).pipe(
  Command.withShortDescription("Evolve principles on how to use memories, over a data set's questions"),
  Command.withDescription(`Evolve principles on how to use memories, over a data set's questions. ${setElsewhere}`)
)
