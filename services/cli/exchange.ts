/** `metamem export` and `metamem import`: a run as one portable bundle, or in the published system's folder layout, both ways. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { Effect, Option, Result, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { requestSubject, runSubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import { attemptsOf } from "#services/reflector/analysis"
import { ImportReply } from "#services/reflector/protocol"
import { reflectorCodec, type RunEvent } from "#services/reflector/run-events"
import { logLayer, withActors } from "./home.ts"
import { type ExportMaterial, referenceFiles } from "./reference-format.ts"
import { readReference } from "./reference-reading.ts"
import { keepTexts } from "./reference-texts.ts"
import { bundleRun, goesOn, restoreRun } from "./restore.ts"
import { callKeysOf, questionsOf, repliesOf, usersOfRun } from "./run-references.ts"
import { CommandFailed, emit, root, WrongUsage } from "./root.ts"
import { runFlag } from "./run-notes.ts"
import { foldRun, replayAll, runResults } from "./runs.ts"
import { some } from "./shown.ts"
import { shownMemories } from "./shown-memories.ts"

/** Everything of a run that its folder is written from. */
const materialOf = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const state = yield* foldRun(tenant, run)
    const events: Array<RunEvent> = []
    for (const commit of yield* log.load(runSubject({ tenant, run }))) {
      for (const stored of commit.events) {
        const event = reflectorCodec.decode(stored)
        if (Result.isFailure(event)) return yield* event.failure
        events.push(event.success)
      }
    }
    const results = yield* runResults(tenant, run)
    const users = usersOfRun(state, results)
    const questions = new Map((yield* questionsOf(tenant, users)).map((question) => [question.id, question]))
    const replies = yield* repliesOf(tenant, users, callKeysOf(results))
    const shown = new Map<string, Set<string>>()
    for (const { settled } of results) {
      const { evidenceIds, user } = (settled.data ?? {}) as { readonly evidenceIds?: ReadonlyArray<string>; readonly user?: string }
      if (user === undefined || evidenceIds === undefined) continue
      const ids = shown.get(user) ?? new Set<string>()
      for (const id of evidenceIds) ids.add(id)
      shown.set(user, ids)
    }
    const memories = new Map(yield* Effect.forEach(shown, ([user, ids]) => Effect.map(shownMemories(tenant, user, ids), (found) => [user, found] as const), { concurrency: 8 }))
    return { run, state, events, results, questions, replies, memories } satisfies ExportMaterial as ExportMaterial
  })

/** How many questions have no text left. */
const withoutTexts = ({ questions, replies, results, state }: ExportMaterial): number => {
  if (state.imported === undefined) return [...state.questions.keys()].filter((id) => !questions.has(id)).length
  const gone = new Set(results.flatMap((result) => (result.address.kind === "rollout" && [...callKeysOf([result])].some((key) => !replies.has(key)) ? [`${result.address.step}/${result.address.key}`] : [])))
  return new Set(state.steps.flatMap(({ attempts, step }) => attempts.flatMap(({ question }) => (attemptsOf(state, step, question).some((key) => gone.has(`${step}/${key}`)) ? [question] : [])))).size
}

const writing = <A>(path: string, write: () => A) =>
  Effect.try({ try: write, catch: (error) => new CommandFailed({ message: `${path} cannot be written: ${(error as Error).message}` }) })

const exportCommand = Command.make(
  "export",
  {
    run: runFlag,
    out: Flag.String("out").pipe(Flag.withDescription("Folder (reference) or file (bundle) to write")),
    format: Flag.Literals("format", ["bundle", "reference"]).pipe(Flag.withDescription("bundle: one file that another home can import; reference: the published system's folders (default: bundle)"), Flag.withDefault("bundle" as const)),
    force: Flag.Boolean("force").pipe(Flag.withDescription("Replace what stands there"), Flag.withDefault(false))
  },
  ({ force, format, out, run }) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const path = resolve(out)
      if (existsSync(path) && !force) return yield* new CommandFailed({ message: `${path} is there already; give another name, or --force to replace it` })
      if (format === "bundle") {
        const state = yield* foldRun(tenant, run)
        if (goesOn(state)) {
          const steps = state.parameters?.steps ?? 0
          return yield* new CommandFailed({
            message: `the run ${run} goes on (step ${Math.min(Math.max(1, state.steps.length), steps)} of ${steps}), and a bundle is taken in of a run that is over: elsewhere its memories are not there to go on from. ` +
              "Export it when it is over, the same `metamem train` brings it there; --format reference writes what there is of it now"
          })
        }
        const { digest, messages, streams } = yield* bundleRun({ tenant, run }, path)
        return yield* emit({ run, format, file: path, messages, streams, digest, modelCalls: 0 }, () =>
          `${path} has ${some(messages, "message")} of ${run}: ${Object.entries(streams).map(([name, { messages }]) => `${messages} of ${name}`).join(", ")}. It holds its questions and what was answered, in plain text.`)
      }
      const material = yield* materialOf(tenant, run)
      let files = 0
      for (const file of referenceFiles(material)) {
        const target = join(path, file.path)
        yield* writing(target, () => {
          mkdirSync(dirname(target), { recursive: true })
          writeFileSync(target, file.content)
        })
        files += 1
      }
      const erased = withoutTexts(material)
      yield* emit({ run, format, folder: path, files, steps: material.state.steps.length, generations: material.state.generations.length, erased, modelCalls: 0 }, () =>
        `${files} files of ${run} are in ${path}${erased === 0 ? "" : `; ${some(erased, "question")} without texts, since their users were erased`}. The layout has no scopes: every principle there is for all questions.`)
    }).pipe(Effect.provide(CallStore.layerJetStream), Effect.provide(logLayer))
).pipe(Command.withDescription("Write a run into one bundle, or into the published system's folders; no model is asked"))

/** Most lines on what is lost. */
const lostShown = 12

const decodeReply = Schema.decodeUnknownEffect(ImportReply)

const importCommand = Command.make(
  "import",
  {
    file: Argument.String("file").pipe(Argument.withDescription("Bundle written by `export`"), Argument.optional),
    reference: Flag.String("reference").pipe(Flag.withDescription("Training folder of the published system, instead of a bundle"), Flag.optional),
    run: Flag.String("run").pipe(Flag.withDescription("Name of the record made from a training folder"), Flag.optional)
  },
  ({ file, reference, run }) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      if (Option.isSome(file) === Option.isSome(reference)) return yield* new WrongUsage({ message: "give a bundle, or --reference with a training folder, and not both" })
      if (Option.isSome(file)) {
        if (Option.isSome(run)) return yield* new WrongUsage({ message: "a bundled run keeps its name; --run is for --reference" })
        const restored = yield* restoreRun(resolve(file.value), tenant).pipe(Effect.provide(CallStore.layerJetStream), Effect.provide(logLayer))
        return yield* emit({ ...restored, modelCalls: 0 }, ({ calls, commits, generations, questions, run, standing }) =>
          [
            `run ${run}: ${some(commits, "commit")}${standing === 0 ? "" : ` (${standing} stood here already)`}, ${some(calls, "reply", "replies")}, ${some(questions, "question")}; ${some(generations.length, "generation")}, each replayed to its hash`,
            ...generations.map((hash, n) => `  generation ${n}  ${hash.slice(0, 16)}`)
          ].join("\n"))
      }
      if (Option.isNone(run)) return yield* new WrongUsage({ message: "--reference needs --run NAME for the record it becomes" })
      const name = run.value
      const { empty, files, lost, texts, ...record } = yield* readReference(resolve(Option.getOrThrow(reference)))
      const { origin, steps } = record
      const sealed = yield* Effect.gen(function*() {
        const log = yield* EventLog
        const address = { tenant, run: name }
        // Whatever stands under the name is the reflector's to tell.
        if ((yield* log.last(runSubject(address))) === undefined) {
          const known = new Map((yield* questionsOf(tenant, undefined)).map(({ id, user }) => [id, user]))
          yield* keepTexts(address, texts, (question) => known.get(question) ?? question)
        }
        const reply = yield* request(requestSubject("reflector", "import"), { tenant, run: name, ...record }, 60_000).pipe(Effect.flatMap(decodeReply))
        const replayed = yield* replayAll(tenant, name)
        const differing = replayed.find(({ identical }) => !identical)
        if (differing !== undefined) return yield* new CommandFailed({ message: `generation ${differing.generation} of ${name} does not replay to what was sealed: the log is damaged` })
        return {
          fresh: reply.fresh,
          hasTexts: (yield* foldRun(tenant, name)).imported?.contents !== undefined,
          generations: replayed.map(({ generation, hash, principles, step }) => ({ n: generation, step, hash, principles: principles.length }))
        }
      }).pipe(Effect.provide(CallStore.layerJetStream), withActors(["reflector"]))
      const counts = {
        attempts: texts.filter(({ kind }) => kind === "rollout").length,
        reflections: texts.filter(({ kind }) => kind === "reflection").length,
        proposals: steps.reduce((sum, { proposals }) => sum + proposals.found.length, 0),
        evaluated: Object.keys(record.evaluation?.steps ?? {}).length
      }
      yield* emit({ run: name, origin, files, empty, lost, ...counts, ...sealed, modelCalls: 0 }, ({ attempts, evaluated, fresh, generations, hasTexts, proposals, reflections }) =>
        [
          `${fresh ? "" : "already imported; "}run ${name}: ${some(generations.length, "generation")} from ${some(files, "file")} of ${origin}${empty === 0 ? "" : `, ${empty} empty entries left out`}`,
          ...generations.map(({ hash, n, principles, step }) => `  generation ${n}${step < 0 ? " (empty)" : ` of step_${step}`}: ${some(principles, "principle")}  ${hash.slice(0, 16)}`),
          ...lost.slice(0, lostShown).map(({ file, what }) => `${file} ${what}`),
          ...(lost.length > lostShown ? [`and ${lost.length - lostShown} more files of which something is lost; --json names them all`] : []),
          hasTexts
            ? `a record to read, evaluate and adopt from: ${some(attempts, "attempt")}, ${some(reflections, "reflection")}, ${some(proposals, "proposed operation")}, evaluations of ${some(evaluated, "generation")}. ` +
              "Texts stand under the users of their questions; a question that is not known here counts as a user of its name. " +
              "What was asked at what cost, and which principles an attempt went without, the folder does not say"
            : "a record of generations and verdicts, imported before texts were kept: import the folder under another name to have them"
        ].join("\n"))
    })
).pipe(Command.withDescription("Take in a run: from a bundle, or from the published system's training folder"))

export const exchangeCommands = [exportCommand, importCommand] as const
