/**
 * Reads the published system's folder of a training experiment. `step_N` holds the generation that step N + 1 of ours used and what that
 * step found. What ids and lineage rest on has to be whole; anything else that is missing or damaged is told, and the rest is read.
 */
import { createHash } from "node:crypto"
import { readdir, readFile } from "node:fs/promises"
import { basename, join, resolve } from "node:path"
import { Effect, Result, Schema } from "effect"
import { Name, nameLimitBytes } from "#shared/domain/name"
import { OperationKind } from "#shared/domain/principle"
import { trainingAttempt } from "#services/reflector/analysis"
import type { FoundOperations, ImportedRecord } from "#services/reflector/protocol"
import { ReferenceEvaluation, type SourcedOperation } from "#services/reflector/run-events"

/** A folder cannot be read as an experiment of the published system. */
export class ReferenceUnreadable extends Schema.TaggedError<ReferenceUnreadable>()("ReferenceUnreadable", {
  path: Schema.String,
  /** `foreign`: no such experiment; `damaged`: a file of it cannot be read. */
  reason: Schema.Literals(["missing", "foreign", "damaged"]),
  message: Schema.String
}) {}

/** An entry of a file as it stands there, which holds words of a question's user. */
export interface ReadText {
  readonly kind: "rollout" | "reflection" | "proposal"
  readonly step: number
  readonly key: string
  readonly question: string
  readonly text: string
}

export interface ReferenceFolder extends Omit<ImportedRecord, "contents" | "steps"> {
  readonly steps: NonNullable<ImportedRecord["steps"]>
  readonly contents: string
  readonly texts: ReadonlyArray<ReadText>
  /** Files read. */
  readonly files: number
  /** Entries without text, which mean nothing and are left out. */
  readonly empty: number
  /** What is missing or could not be read, and what is lost by it. */
  readonly lost: ReadonlyArray<{ readonly file: string; readonly what: string }>
}

const decodeGeneration = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Record(Schema.String, Schema.String)))
const decodeApplied = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct({ all_operations: Schema.Array(Schema.Unknown) })))
const decodeSummaries = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Array(Schema.Unknown))))
const decodeProposed = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Array(Schema.Struct({ problem: Schema.String, operations: Schema.Array(Schema.Unknown), reasoning: Schema.optional(Schema.Unknown) }))))
const decodeStats = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Struct({ epoch: Schema.Int }))))
const decodeEvaluation = Schema.decodeUnknownResult(Schema.fromJsonString(ReferenceEvaluation))
const decodeResults = Schema.decodeUnknownResult(Schema.fromJsonString(ReferenceEvaluation.fields.steps.value.fields.results))
const text = Schema.optional(Schema.NullOr(Schema.String))
const reward = Schema.optional(Schema.NullOr(Schema.Union([Schema.Boolean, Schema.Finite])))
/** A line of `rollout.jsonl`, as far as it is read. What could not be answered has a reward of 0 and says nothing or `Error: …`, and is no wrong answer. */
const decodeAttempt = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct({ question_id: Name, problem: text, response: text, reward })))
const decodeSummary = Schema.decodeUnknownResult(Schema.Struct({ problem: text, response: text, reward }))
const decodeOperation = Schema.decodeUnknownResult(Schema.Struct({ operation: Schema.String, id: text, content: text, source_problem: text }))
const isKind = Schema.is(OperationKind)

interface Attempt {
  readonly question: string
  readonly key: string
  readonly problem: string
  readonly response: string
  readonly reward: number | undefined
  readonly verdict: "c" | "i" | "e"
  readonly line: string
}

const rewardOf = (given: boolean | number | null | undefined): number | undefined => (given === null || given === undefined ? undefined : Number(given))

/** Attempts in their order. `cut`: the last line, which ends in the middle; `broken`: another line that is no attempt. */
const attemptsIn = (text: string, step: number): { readonly attempts: ReadonlyArray<Attempt>; readonly cut?: number; readonly broken?: number } => {
  const samples = new Map<string, number>()
  const attempts: Array<Attempt> = []
  const lines = text.split("\n")
  for (const [at, line] of lines.entries()) {
    if (line.trim() === "") continue
    const row = decodeAttempt(line)
    if (Result.isFailure(row)) return at === lines.length - 1 ? { attempts, cut: at + 1 } : { attempts, broken: at + 1 }
    const { problem, question_id: question, response } = row.success
    const reward = rewardOf(row.success.reward)
    const isError = reward === undefined || (reward === 0 && /^(Error: |\s*$)/.test(response ?? ""))
    const sample = samples.get(question) ?? 0
    samples.set(question, sample + 1)
    attempts.push({ question, key: trainingAttempt(step, question, sample), problem: problem ?? "", response: response ?? "", reward, verdict: isError ? "e" : reward > 0 ? "c" : "i", line })
  }
  return { attempts }
}

/** Numbers of a generation's entries by the keys its file gives them; entries without text have none. */
const numbersOf = (generation: Readonly<Record<string, string>>): ReadonlyMap<string, string> =>
  new Map(Object.entries(generation).filter(([, entry]) => entry.trim() !== "").map(([key], at) => [key, `M${at}`]))

const bare = (id: string): string => id.trim().replace(/^\[(.*)\]$/, "$1")

/** @param sourceOf question whose attempts an operation was made from; undefined = not known */
const operationsIn = (entries: ReadonlyArray<unknown>, numbers: ReadonlyMap<string, string>, sourceOf: (problem: string | undefined) => string | undefined): FoundOperations => {
  const found: Array<SourcedOperation> = []
  const taken = new Set(numbers.values())
  const discarded: Record<string, number> = {}
  const discard = (reason: string): void => void (discarded[reason] = (discarded[reason] ?? 0) + 1)
  for (const entry of entries) {
    const read = decodeOperation(entry)
    const { content, id, operation, source_problem: problem } = Result.isSuccess(read) ? read.success : { operation: "" }
    if (!isKind(operation)) discard("no operation that is known")
    else if (operation !== "add" && (id ?? "").trim() === "") discard("without an id")
    else if (operation !== "delete" && (content ?? "").trim() === "") discard("without content")
    else if (id !== undefined && id !== null && !numbers.has(bare(id)) && taken.has(bare(id))) discard("on an entry without text")
    else {
      const source = sourceOf(problem ?? undefined)
      const of = id === undefined || id === null ? undefined : numbers.get(bare(id)) ?? bare(id)
      found.push({ operation: { operation, ...(of === undefined ? {} : { id: of }), ...(content === undefined || content === null ? {} : { content }) }, sources: source === undefined ? [] : [source] })
    }
  }
  return { found, discarded }
}

const countIn = (discarded: FoundOperations["discarded"]): string => Object.entries(discarded).map(([reason, count]) => `${count} ${reason}`).join(", ")
const merged = (some: ReadonlyArray<FoundOperations>): FoundOperations => {
  const discarded: Record<string, number> = {}
  for (const one of some) for (const [reason, count] of Object.entries(one.discarded)) discarded[reason] = (discarded[reason] ?? 0) + count
  return { found: some.flatMap(({ found }) => found), discarded }
}

/** Reads an experiment's folder in the order of its steps. Fails on a folder without generations, and on a damaged file that ids or lineage rest on. */
export const readReference = (path: string): Effect.Effect<ReferenceFolder, ReferenceUnreadable> => {
  const unreadable = (reason: ReferenceUnreadable["reason"], what: string, file = path) => new ReferenceUnreadable({ path: file, reason, message: `${file} ${what}` })
  const hashed = createHash("sha256")
  let files = 0
  const lost: Array<ReferenceFolder["lost"][number]> = []
  const lose = (file: string, what: string): void => void lost.push({ file, what })
  const read = (name: string) => {
    const file = join(path, name)
    return Effect.promise(() => readFile(file, "utf8").then((text) => ({ text }) as const, (error: NodeJS.ErrnoException) => ({ error }) as const)).pipe(
      Effect.flatMap((outcome) => {
        if ("error" in outcome) return outcome.error.code === "ENOENT" ? Effect.succeed(undefined) : Effect.fail(unreadable("damaged", `cannot be read: ${outcome.error.message}`, file))
        hashed.update(JSON.stringify([name, outcome.text]))
        files += 1
        return Effect.succeed(outcome.text)
      })
    )
  }
  /** A file that can be done without. */
  const readOr = <A>(name: string, decode: (text: string) => Result.Result<A, unknown>, without: string, isWanted = true) =>
    Effect.map(read(name), (text): A | undefined => {
      const value = text === undefined ? undefined : decode(text)
      if (value !== undefined && Result.isSuccess(value)) return value.success
      if (value !== undefined || isWanted) lose(name, `${value === undefined ? "is missing" : "is cut off or has another form"}: ${without}`)
      return undefined
    })

  return Effect.gen(function*() {
    const names = yield* Effect.tryPromise({
      try: () => readdir(path),
      catch: (error) => unreadable("missing", `cannot be read: ${(error as Error).message}. Give the folder that holds step_1, step_2 and so on.`)
    })
    const folders = names.flatMap((name) => (/^step_\d+$/.test(name) ? [Number(name.slice(5))] : [])).sort((a, b) => a - b)
    const raw = new Map<number, Readonly<Record<string, string>>>()
    const generations: Array<ImportedRecord["generations"][number]> = []
    let empty = 0
    let before: Readonly<Record<string, string>> = {}
    for (const folder of folders.filter((number) => number > 0)) {
      const text = yield* read(`step_${folder}/meta_memories.json`)
      if (text === undefined) continue
      const generation = decodeGeneration(text)
      if (Result.isFailure(generation)) return yield* unreadable("damaged", "does not hold principles: it should be one JSON object of texts, {\"M0\": \"…\"}.", join(path, `step_${folder}/meta_memories.json`))
      raw.set(folder, generation.success)
    }
    const steps: Array<ReferenceFolder["steps"][number]> = []
    const texts: Array<ReadText> = []
    const stats = (yield* readOr("stats.json", decodeStats, "in which epoch a step was is not known")) ?? {}
    for (const folder of [...new Set([...folders, ...[...raw.keys()].map((number) => number - 1)])].sort((a, b) => a - b)) {
      const [step, place] = [folder + 1, `step_${folder}`]
      const numbers = numbersOf(before)
      const rollouts = yield* read(`${place}/rollout.jsonl`)
      const { attempts, broken, cut } = attemptsIn(rollouts ?? "", step)
      if (broken !== undefined) return yield* unreadable("damaged", `line ${broken} is no attempt: it should be a JSON object with response, reward and a question_id of at most ${nameLimitBytes} bytes.`, join(path, place, "rollout.jsonl"))
      if (cut !== undefined) lose(`${place}/rollout.jsonl`, `ends in the middle of line ${cut}: that attempt is lost, and any after it`)
      const byQuestion = Map.groupBy(attempts, ({ question }) => question)
      const byProblem = Map.groupBy(attempts, ({ problem }) => problem)
      const isMixed = [...byQuestion.values()].some((own) => own.some(({ verdict }) => verdict === "c") && own.some(({ verdict }) => verdict === "i"))
      for (const { key, line, question } of attempts) texts.push({ kind: "rollout", step, key, question, text: line })

      const summaries = yield* readOr(`${place}/trajectory_summaries.json`, decodeSummaries, "what its attempts taught is lost", isMixed)
      const reflected = new Set<string>()
      let unplaced = 0
      for (const [problem, entries] of Object.entries(summaries ?? {})) {
        for (const entry of entries) {
          const about = decodeSummary(entry)
          const open = (byProblem.get(problem) ?? []).filter(({ key }) => !reflected.has(key))
          const said = Result.isSuccess(about) ? open.filter(({ response }) => response === (about.success.response ?? "")) : []
          const attempt = Result.isFailure(about) ? undefined : said.find(({ reward }) => reward === rewardOf(about.success.reward)) ?? said[0] ?? open[0]
          if (attempt === undefined) {
            unplaced += 1
            continue
          }
          reflected.add(attempt.key)
          texts.push({ kind: "reflection", step, key: attempt.key, question: attempt.question, text: JSON.stringify(entry) })
        }
      }
      if (unplaced > 0) lose(`${place}/trajectory_summaries.json`, `has ${unplaced} summaries of attempts that rollout.jsonl does not hold: they are left out`)

      const proposed = yield* readOr(`${place}/proposed_updates.json`, decodeProposed, "what was proposed is lost", reflected.size > 0)
      const proposals: Array<FoundOperations> = []
      let nobodys = 0
      for (const [at, entry] of (proposed ?? []).entries()) {
        const question = byProblem.get(entry.problem)?.[0]?.question
        proposals.push(operationsIn(entry.operations, numbers, () => question))
        if (question === undefined) nobodys += 1
        else texts.push({ kind: "proposal", step, key: `p_${String(at).padStart(6, "0")}`, question, text: JSON.stringify(entry) })
      }
      if (nobodys > 0) lose(`${place}/proposed_updates.json`, `has ${nobodys} entries on questions that rollout.jsonl does not hold: their operations come along, and not their reasoning`)
      const proposedHere = merged(proposals)
      if (countIn(proposedHere.discarded) !== "") lose(`${place}/proposed_updates.json`, `has entries that are no operation, and none here: ${countIn(proposedHere.discarded)}`)

      const appliedText = yield* read(`${place}/applied_updates.json`)
      const list = appliedText === undefined ? undefined : decodeApplied(appliedText)
      if (list !== undefined && Result.isFailure(list)) {
        return yield* unreadable("damaged", "does not hold operations: it should be a JSON object with a list `all_operations`. Without that file a principle that was reworded counts as another one.", join(path, place, "applied_updates.json"))
      }
      if (list === undefined && proposedHere.found.length > 0) lose(`${place}/applied_updates.json`, "is missing: what became of the proposals is not known, and a principle that was reworded counts as another one")
      const listed = operationsIn(list?.success.all_operations ?? [], numbers, (problem) => byProblem.get(problem ?? "")?.[0]?.question)
      // Merging need not say where an operation comes from; one that was proposed in the same words comes from there.
      const alike = ({ content, id, operation }: SourcedOperation["operation"]): string => JSON.stringify([operation, id, content?.trim()])
      const sourcesOf = new Map(proposedHere.found.toReversed().map(({ operation, sources }) => [alike(operation), sources]))
      const operations = { ...listed, found: listed.found.map(({ operation, sources }) => ({ operation, sources: sources.length > 0 ? sources : sourcesOf.get(alike(operation)) ?? [] })) }
      if (countIn(operations.discarded) !== "") lose(`${place}/applied_updates.json`, `has entries that are no operation, and none here: ${countIn(operations.discarded)}`)

      if ([rollouts, summaries, proposed, list].some((one) => one !== undefined)) {
        if (rollouts === undefined) lose(`${place}/rollout.jsonl`, "is missing: the attempts of that step are lost, and with them what they were about")
        steps.push({
          step, epoch: stats[String(folder)]?.epoch ?? 0, reflected: [...reflected], proposals: proposedHere, operations,
          attempts: [...byQuestion].map(([question, own]) => ({ question, verdicts: own.map(({ verdict }) => verdict).join("") }))
        })
      }

      const next = raw.get(step)
      if (next === undefined) continue
      const entries = Object.values(next).map((entry) => entry.trim())
      empty += entries.filter((entry) => entry === "").length
      const principles = entries.filter((entry) => entry !== "")
      const old = Object.values(before).map((entry) => entry.trim()).filter((entry) => entry !== "")
      generations.push({
        step, principles,
        updates: operations.found.flatMap(({ operation: { content, id, operation } }) => {
          const from = old[Number(/^M(\d+)$/.exec(id ?? "")?.[1] ?? -1)]
          return operation === "update" && from !== undefined && content !== undefined ? [{ before: from, after: content.trim() }] : []
        })
      })
      before = next
    }
    if (generations.length === 0) return yield* unreadable("foreign", "holds no step_N/meta_memories.json with N from 1 on: it is not a training folder of the published system.")

    const origin = basename(resolve(path))
    const isWhole = names.includes("eval_results.json")
    const evaluation = isWhole ? yield* readOr("eval_results.json", decodeEvaluation, "how generations did on other questions is lost") : yield* Effect.gen(function*() {
      const evaluated: Record<string, ReferenceEvaluation["steps"][string]> = {}
      const without = "how it did on other questions is lost"
      for (const [number, entries] of raw) {
        const place = `step_${number}`
        const results = yield* readOr(`${place}/eval_results.json`, decodeResults, without, false)
        if (results !== undefined) evaluated[place] = { step_num: number, meta_memories_path: `${place}/meta_memories.json`, meta_memories: entries, results }
      }
      const baseline = yield* readOr("baseline/eval_results.json", decodeResults, without, false)
      if (Object.keys(evaluated).length === 0 && baseline === undefined) {
        lose("eval_results.json", "is missing: how generations did on other questions is not known")
        return undefined
      }
      const sizes = [...Object.values(evaluated).map(({ results }) => results.total), baseline?.total ?? 0]
      return { experiment_dir: origin, test_dataset_size: Math.max(...sizes), steps: evaluated, ...(baseline === undefined ? {} : { baseline }) }
    })
    return { origin, generations, steps, ...(evaluation === undefined ? {} : { evaluation }), contents: hashed.digest("hex"), texts, files, empty, lost }
  })
}
