/**
 * The published system's folder of a training experiment, written from a run and read into generations. Its folders count from 0 and
 * `step_N/meta_memories.json` holds what step N used, so what our step N sealed stands in `step_N`, and its own artefacts in `step_{N-1}`.
 */
import { readdir, readFile } from "node:fs/promises"
import { basename, join, resolve } from "node:path"
import { Effect, Option, Result, Schema } from "effect"
import type { EvidenceItem } from "#shared/domain/evidence"
import type { Operation, Principle } from "#shared/domain/principle"
import type { Question } from "#shared/domain/question"
import { answerPrompt } from "#shared/metamemory/prompts"
import { inScope } from "#shared/metamemory/router"
import { replySchemas } from "#shared/model/reply-schemas"
import { attemptsOf } from "#services/reflector/analysis"
import type { ImportRequest, RunEvent } from "#services/reflector/protocol"
import { RolloutData } from "#services/retriever/protocol"
import type { RunResult, RunState } from "./runs.ts"

/** A folder cannot be read as an experiment of the published system. */
export class ReferenceUnreadable extends Schema.TaggedError<ReferenceUnreadable>()("ReferenceUnreadable", {
  path: Schema.String,
  /** `foreign`: no such experiment; `damaged`: a file of it cannot be read. */
  reason: Schema.Literals(["missing", "foreign", "damaged"]),
  message: Schema.String
}) {}

/** Everything a run's folder is written from. Texts of users who were erased are absent. */
export interface ExportMaterial {
  readonly run: string
  readonly state: RunState
  readonly events: ReadonlyArray<RunEvent>
  readonly results: ReadonlyArray<RunResult>
  readonly questions: ReadonlyMap<string, Question>
  /** Replies by call key. */
  readonly replies: ReadonlyMap<string, string>
  /** By user and memory id. */
  readonly memories: ReadonlyMap<string, ReadonlyMap<string, Pick<EvidenceItem, "time" | "speaker" | "text">>>
}

export interface ExportedFile {
  /** Below the folder, with `/`. */
  readonly path: string
  readonly content: string
}

const numbered = (principles: ReadonlyArray<Principle>): Readonly<Record<string, string>> => Object.fromEntries(principles.map(({ text }, at) => [`M${at}`, text]))
const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`
const share = (part: number, all: number): number => (all === 0 ? 0 : part / all)

const decodeRollout = Schema.decodeUnknownOption(Schema.Struct({ callKey: RolloutData.fields.callKey, evidenceIds: RolloutData.fields.evidenceIds }))
const decodeVerdict = Schema.decodeUnknownOption(Schema.Struct({ verdict: Schema.Literals(["correct", "incorrect", "error"]) }))
const decodeReflection = Schema.decodeUnknownOption(Schema.Struct({ lesson: Schema.optionalKey(Schema.String), calls: Schema.Array(Schema.String) }))

const dataOf = (result: RunResult | undefined): unknown => (result?.settled.status === "done" ? result.settled.data : undefined)

/** An operation under the numbers of the generation it is about. */
const referenceOperation = ({ content, id, operation }: Operation, used: ReadonlyArray<Principle>) => {
  const at = used.findIndex((principle) => principle.id === id)
  return { operation, ...(id === undefined ? {} : { id: at === -1 ? id : `M${at}` }), ...(content === undefined ? {} : { content }) }
}

const usedIn = (state: RunState, step: number): ReadonlyArray<Principle> => state.generations.filter((generation) => generation.step < step).at(-1)?.principles ?? []

/** Verdicts on the guard questions by generation, as the published system reports an evaluation. */
const evaluation = ({ results, run, state }: ExportMaterial) => {
  const last = state.generations.at(-1)
  const guardStep = (state.parameters?.steps ?? 0) + 1
  const judged = results.filter(({ address }) => address.step === guardStep && address.kind === "judgement")
  const asked = (state.parameters?.guard ?? []).map(({ id, type }) => ({ type, hash: attemptsOf(state, 0, id)[0]?.split("_")[2] ?? "" }))
  const typeOf = new Map(asked.map(({ hash, type }) => [hash, type]))
  const reported = (generation: number, count: number) => {
    const own = judged.flatMap((result) => {
      const [arm, , hash = ""] = result.address.key.split("_")
      const verdict = Option.getOrUndefined(decodeVerdict(dataOf(result)))?.verdict ?? "error"
      return arm === `g${generation}` ? [{ type: typeOf.get(hash) ?? "", verdict }] : []
    })
    const correct = own.filter(({ verdict }) => verdict === "correct").length
    const errors = own.filter(({ verdict }) => verdict === "error").length
    return {
      total: own.length, correct, errors,
      accuracy: share(correct, own.length - errors),
      task_accuracy: Object.fromEntries([...Map.groupBy(own, ({ type }) => type)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([type, some]) => [
        type, share(some.filter(({ verdict }) => verdict === "correct").length, some.filter(({ verdict }) => verdict !== "error").length)
      ])),
      num_meta_memories: count
    }
  }
  const folder = `step_${last?.step ?? 0}`
  const tested = judged.length > 0 && last !== undefined && last.number > 0
  return {
    experiment_dir: run,
    test_dataset_size: new Set(judged.map(({ address }) => address.key.split("_")[2])).size,
    steps: tested
      ? { [folder]: { step_num: last.step, meta_memories_path: `${folder}/meta_memories.json`, meta_memories: numbered(last.principles), results: reported(last.number, last.principles.length) } }
      : {},
    ...(tested ? { baseline: reported(0, state.generations[0]?.principles.length ?? 0) } : {})
  }
}

const stepFiles = (material: ExportMaterial, step: number): ReadonlyArray<ExportedFile> => {
  const { events, memories, questions, replies, results, state } = material
  const folder = `step_${step - 1}`
  const used = usedIn(state, step)
  const attempts = state.steps.find((one) => one.step === step)?.attempts ?? []
  const own = new Map(results.filter(({ address }) => address.step === step).map((result) => [`${result.address.kind}/${result.address.key}`, result]))
  const rows = Array.from({ length: state.parameters?.samples ?? 0 }, (_, sample) =>
    attempts.map(({ dropped, question: id, verdicts }) => {
      const question = questions.get(id)
      const key = attemptsOf(state, step, id)[sample] ?? ""
      const rollout = Option.getOrUndefined(decodeRollout(dataOf(own.get(`rollout/${key}`))))
      const evidence = (rollout?.evidenceIds ?? []).flatMap((memory) => memories.get(question?.user ?? "")?.get(memory) ?? [])
      const questionClass = state.questions.get(id)?.questionClass ?? "single-fact"
      const principles = used.filter((principle) => inScope(principle, questionClass) && !dropped[sample]?.includes(principle.id))
      const judgedAttempts = own.get(`rollout/${key}`)?.settled.attempts ?? 1
      return {
        key,
        row: {
          prompt: question === undefined ? "" : answerPrompt({ question: question.text, date: question.date, evidence, principles }).map(({ content }) => content).join("\n\n"),
          question_id: id,
          problem: question?.text ?? "",
          memories: evidence.map(({ text, time }) => `${time} ${text}`),
          groundtruth: question?.answer ?? "",
          task: question?.type ?? state.questions.get(id)?.type ?? "",
          retry_count: judgedAttempts - 1,
          response: replies.get(rollout?.callKey ?? "") ?? "",
          // What could not be answered or judged is neither right nor wrong.
          reward: verdicts[sample] === "e" ? null : verdicts[sample] === "c" ? 1 : 0
        }
      }
    })).flat()
  const judged = rows.filter(({ row }) => row.reward !== null)
  const summaries: Record<string, Array<object>> = {}
  for (const { key, row } of rows) {
    const reflection = Option.getOrUndefined(decodeReflection(dataOf(own.get(`reflection/${key}`))))
    if (reflection === undefined) continue
    const said = replySchemas.reflect.decode(replies.get(reflection.calls.at(-1) ?? "") ?? "")
    const summary = reflection.lesson ?? (Result.isSuccess(said) ? said.success.lesson : "")
    ;(summaries[row.problem] ??= []).push({ problem: row.problem, response: row.response, reward: row.reward, summary })
  }
  const ofStep = <T extends RunEvent["_tag"]>(tag: T) => events.find((event): event is Extract<RunEvent, { readonly _tag: T }> => event._tag === tag && "step" in event && event.step === step)
  const textOf = (id: string | undefined): string => questions.get(id ?? "")?.text ?? ""
  const proposed = Map.groupBy(ofStep("ProposalsFolded")?.proposals ?? [], ({ sources }) => sources[0] ?? "")
  const started = ofStep("StepStarted")
  const sealed = usedIn(state, step + 1)
  return [
    ...(step === 1 ? [] : [{ path: `${folder}/meta_memories.json`, content: json(numbered(used)) }]),
    { path: `${folder}/rollout.jsonl`, content: rows.map(({ row }, runid) => `${JSON.stringify({ runid, ...row })}\n`).join("") },
    { path: `${folder}/trajectory_summaries.json`, content: json(summaries) },
    { path: `${folder}/proposed_updates.json`, content: json([...proposed].map(([id, some]) => ({ problem: textOf(id), operations: some.map(({ operation }) => referenceOperation(operation, used)), reasoning: "" }))) },
    {
      path: `${folder}/applied_updates.json`,
      content: json({
        all_operations: (ofStep("OperationsConsolidated")?.operations ?? []).map(({ operation, sources }) => ({ ...referenceOperation(operation, used), source_problem: textOf(sources[0]) })),
        new_meta_memories: numbered(sealed)
      })
    },
    {
      path: `${folder}/stats.json`,
      content: json({ epoch: started?.epoch ?? 0, batch: step - 1, rollout: { avg_reward: share(judged.filter(({ row }) => row.reward === 1).length, judged.length), num_samples: rows.length }, complete: true })
    }
  ]
}

/** The files of a run, a step at a time; what was decided on the guard questions comes last. */
export const referenceFiles = function*(material: ExportMaterial): Generator<ExportedFile> {
  const stats: Record<string, unknown> = {}
  const steps = material.state.steps.map(({ step }) => step)
  for (const step of material.state.imported === undefined ? steps : []) {
    for (const file of stepFiles(material, step)) {
      if (file.path.endsWith("/stats.json")) stats[String(step - 1)] = JSON.parse(file.content)
      else yield file
    }
  }
  if (material.state.imported !== undefined || steps.length === 0) {
    // An imported record has generations, and of its attempts the verdicts alone.
    for (const { number, principles, step } of material.state.generations) if (number > 0) yield { path: `step_${step}/meta_memories.json`, content: json(numbered(principles)) }
    return
  }
  const last = steps.at(-1) ?? 0
  yield { path: `step_${last}/meta_memories.json`, content: json(numbered(material.state.generations.at(-1)?.principles ?? [])) }
  yield { path: "stats.json", content: json(stats) }
  yield { path: "eval_results.json", content: json(evaluation(material)) }
}

// Reading -------------------------------------------------------------------------------------------------------------------------------

const decodeGeneration = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Record(Schema.String, Schema.String)))
const decodeApplied = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Struct({ all_operations: Schema.Array(Schema.Struct({ operation: Schema.String, id: Schema.optional(Schema.NullOr(Schema.String)), content: Schema.optional(Schema.NullOr(Schema.String)) })) }))
)

/** A line of `rollout.jsonl`, as far as it is read. What could not be answered has a reward of 0 and says `Error: …`, and is no wrong answer. */
const decodeAttempt = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Struct({
    question_id: Schema.NonEmptyString,
    response: Schema.optional(Schema.NullOr(Schema.String)),
    reward: Schema.optional(Schema.NullOr(Schema.Union([Schema.Boolean, Schema.Finite])))
  }))
)

/** Verdicts by question in the order met, or the number of a line that is none. */
const attemptsIn = (text: string): Result.Result<ReadonlyArray<{ readonly question: string; readonly verdicts: string }>, number> => {
  const verdicts = new Map<string, string>()
  for (const [at, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue
    const row = decodeAttempt(line)
    if (Result.isFailure(row)) return Result.fail(at + 1)
    const { question_id, response, reward } = row.success
    const isError = reward === null || reward === undefined || (response ?? "").trim() === "" || (Number(reward) === 0 && response?.startsWith("Error: ") === true)
    verdicts.set(question_id, `${verdicts.get(question_id) ?? ""}${isError ? "e" : Number(reward) > 0 ? "c" : "i"}`)
  }
  return Result.succeed([...verdicts].map(([question, own]) => ({ question, verdicts: own })))
}

export interface ReferenceRecord extends Pick<ImportRequest, "generations" | "origin"> {
  readonly attempts: NonNullable<ImportRequest["attempts"]>
  /** Files read. */
  readonly files: number
  /** Entries without text, which mean nothing and are left out. */
  readonly empty: number
}

/** Reads generations and attempts of an experiment's folder, in the order of its steps. Fails on a folder without any and on a file that cannot be read. */
export const readReference = (path: string): Effect.Effect<ReferenceRecord, ReferenceUnreadable> => {
  const unreadable = (reason: ReferenceUnreadable["reason"], what: string, file = path) => new ReferenceUnreadable({ path: file, reason, message: `${file} ${what}` })
  const read = (file: string) =>
    Effect.promise(() => readFile(file, "utf8").then((text) => ({ text }) as const, (error: NodeJS.ErrnoException) => ({ error }) as const)).pipe(
      Effect.flatMap((outcome) =>
        "text" in outcome ? Effect.succeed(outcome.text) : outcome.error.code === "ENOENT" ? Effect.succeed(undefined) : Effect.fail(unreadable("damaged", `cannot be read: ${outcome.error.message}`, file)))
    )
  return Effect.gen(function*() {
    const names = yield* Effect.tryPromise({
      try: () => readdir(path),
      catch: (error) => unreadable("missing", `cannot be read: ${(error as Error).message}. Give the folder that holds step_1, step_2 and so on.`)
    })
    const steps = names.flatMap((name) => (/^step_\d+$/.test(name) ? [Number(name.slice(5))] : [])).sort((a, b) => a - b)
    let before: Readonly<Record<string, string>> = {}
    let files = 0
    let empty = 0
    const generations: Array<ImportRequest["generations"][number]> = []
    const attempts: Array<ReferenceRecord["attempts"][number]> = []
    for (const step of steps) {
      const file = join(path, `step_${step}`, "rollout.jsonl")
      const text = yield* read(file)
      if (text === undefined) continue
      const found = attemptsIn(text)
      if (Result.isFailure(found)) return yield* unreadable("damaged", `line ${found.failure} is no attempt: it should be a JSON object with question_id, response and reward.`, file)
      files += 1
      attempts.push({ step: step + 1, questions: found.success })
    }
    for (const step of steps.filter((number) => number > 0)) {
      const file = join(path, `step_${step}`, "meta_memories.json")
      const text = yield* read(file)
      if (text === undefined) continue
      const generation = decodeGeneration(text)
      if (Result.isFailure(generation)) return yield* unreadable("damaged", "does not hold principles: it should be one JSON object of texts, {\"M0\": \"…\"}.", file)
      const appliedFile = join(path, `step_${step - 1}`, "applied_updates.json")
      const appliedText = yield* read(appliedFile)
      const applied = appliedText === undefined ? undefined : decodeApplied(appliedText)
      if (applied !== undefined && Result.isFailure(applied)) return yield* unreadable("damaged", "does not hold operations: it should be a JSON object with a list `all_operations`.", appliedFile)
      files += appliedText === undefined ? 1 : 2
      const texts = Object.values(generation.success).map((entry) => entry.trim())
      empty += texts.filter((entry) => entry === "").length
      generations.push({
        step,
        principles: texts.filter((entry) => entry !== ""),
        updates: (applied?.success.all_operations ?? []).flatMap(({ content, id, operation }) => {
          const old = before[id?.replace(/^\[(.*)\]$/, "$1") ?? ""]?.trim()
          return operation === "update" && old !== undefined && content != null ? [{ before: old, after: content.trim() }] : []
        })
      })
      before = generation.success
    }
    if (generations.length === 0) return yield* unreadable("foreign", "holds no step_N/meta_memories.json with N from 1 on: it is not a training folder of the published system.")
    return { origin: basename(resolve(path)), generations, attempts, files, empty }
  })
}

