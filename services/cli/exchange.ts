/** `metamem export` and `metamem import`: a run as one portable bundle, or in the published system's folder layout, both ways. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { Effect, Option, Result, Schema, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import type { EvidenceItem } from "#shared/domain/evidence"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, requestSubject, runSubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import { ImportReply, reflectorCodec, type RunEvent } from "#services/reflector/protocol"
import { livesFold } from "./history.ts"
import { logLayer, withActors } from "./home.ts"
import { type ExportMaterial, readReference, referenceFiles } from "./reference-format.ts"
import { bundleRun, callKeysOf, questionsOf, repliesOf, restoreRun } from "./restore.ts"
import { CommandFailed, emit, root, WrongUsage } from "./root.ts"
import { foldRun, replayAll, runResults } from "./runs.ts"

/** Memories that attempts were shown, of one user. */
const shownMemories = (tenant: string, user: string, ids: ReadonlySet<string>) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const fold = livesFold()
    yield* log.read([memoryFilter({ tenant, user, actor: "ingestor" }), memoryFilter({ tenant, user, actor: "compressor" })]).pipe(
      Stream.runForEach((commit) => Effect.fromResult(fold.add(commit)))
    )
    const found = new Map<string, Pick<EvidenceItem, "time" | "speaker" | "text">>()
    for (const [id, { memory }] of fold.lives) if (memory !== undefined && ids.has(id)) found.set(id, memory)
    return found
  })

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
    const users = new Set([...state.questions.values()].map(({ user }) => user))
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

const writing = <A>(path: string, write: () => A) =>
  Effect.try({ try: write, catch: (error) => new CommandFailed({ message: `${path} cannot be written: ${(error as Error).message}` }) })

const exportCommand = Command.make(
  "export",
  {
    run: Flag.String("run").pipe(Flag.withDescription("Name of the run")),
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
        const { digest, messages, streams } = yield* bundleRun({ tenant, run }, path)
        return yield* emit({ run, format, file: path, messages, streams, digest, modelCalls: 0 }, () =>
          `${messages} messages of ${run} are in ${path}: ${Object.entries(streams).map(([name, { messages }]) => `${messages} of ${name}`).join(", ")}. It holds its questions and what was answered, in plain text.`)
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
      const erased = [...material.state.questions.keys()].filter((id) => !material.questions.has(id)).length
      yield* emit({ run, format, folder: path, files, steps: material.state.steps.length, generations: material.state.generations.length, erased, modelCalls: 0 }, () =>
        `${files} files of ${run} are in ${path}${erased === 0 ? "" : `; ${erased} questions are without texts, since their users were erased`}. The layout has no scopes: every principle there is for all questions.`)
    }).pipe(Effect.provide(CallStore.layerJetStream), Effect.provide(logLayer))
).pipe(Command.withDescription("Write a run into one bundle, or into the published system's folders; no model is asked"))

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
            `run ${run}: ${commits} commits${standing === 0 ? "" : ` (${standing} stood here already)`}, ${calls} replies, ${questions} questions; all ${generations.length} generations replay to their hashes`,
            ...generations.map((hash, n) => `  generation ${n}  ${hash.slice(0, 16)}`)
          ].join("\n"))
      }
      if (Option.isNone(run)) return yield* new WrongUsage({ message: "--reference needs --run NAME for the record it becomes" })
      const name = run.value
      const { attempts, empty, files, generations, origin } = yield* readReference(resolve(Option.getOrThrow(reference)))
      const sealed = yield* Effect.gen(function*() {
        const reply = yield* request(requestSubject("reflector", "import"), { tenant, run: name, origin, generations, attempts }, 60_000).pipe(Effect.flatMap(decodeReply))
        const replayed = yield* replayAll(tenant, name)
        const differing = replayed.find(({ identical }) => !identical)
        if (differing !== undefined) return yield* new CommandFailed({ message: `generation ${differing.generation} of ${name} does not replay to what was sealed: the log is damaged` })
        return { fresh: reply.fresh, generations: replayed.map(({ generation, hash, principles, step }) => ({ n: generation, step, hash, principles: principles.length })) }
      }).pipe(withActors(["reflector"]))
      const tried = attempts.reduce((sum, { questions }) => sum + questions.reduce((own, { verdicts }) => own + verdicts.length, 0), 0)
      yield* emit({ run: name, origin, files, empty, attempts: tried, ...sealed, modelCalls: 0 }, ({ fresh, generations }) =>
        [
          `${fresh ? "" : "already imported; "}run ${name}: ${generations.length} generations from ${files} files of ${origin}${empty === 0 ? "" : `, ${empty} empty entries left out`}`,
          ...generations.map(({ hash, n, principles, step }) => `  generation ${n}${step < 0 ? " (empty)" : ` of step_${step}`}: ${principles} principles  ${hash.slice(0, 16)}`),
          `a record to read, evaluate and adopt from; of ${tried} attempts it holds the verdicts, and not what was shown and said`
        ].join("\n"))
    })
).pipe(Command.withDescription("Take in a run: from a bundle, or the generations of the published system's training folder"))

export const exchangeCommands = [exportCommand, importCommand] as const
