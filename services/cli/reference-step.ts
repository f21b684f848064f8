/** What the published system's folder of a step holds: attempts with their verdicts, what they taught, what was proposed, and the operations that were applied. */
import { Effect, Result, Schema } from "effect"
import { Name, nameLimitBytes } from "#shared/domain/name"
import { SingleOperation } from "#shared/domain/principle"
import { trainingAttempt } from "#services/reflector/analysis"
import type { FoundOperations, ImportedRecord } from "#services/reflector/protocol"
import type { SourcedOperation } from "#services/reflector/run-events"
import type { ReferenceFiles, ReferenceUnreadable } from "./reference-files.ts"

/** An entry of a file as it stands there, which holds words of a question's user. */
export interface ReadText {
  readonly kind: "rollout" | "reflection" | "proposal"
  readonly step: number
  readonly key: string
  readonly question: string
  readonly text: string
}

/** Texts by the keys a file gives them. */
export type ReferenceGeneration = Readonly<Record<string, string>>

export interface ReadStep {
  /** Undefined where the folder has no file of it. */
  readonly step: NonNullable<ImportedRecord["steps"]>[number] | undefined
  readonly operations: FoundOperations
  readonly texts: ReadonlyArray<ReadText>
}

const decodeApplied = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct({ all_operations: Schema.Array(Schema.Unknown) })))
const decodeSummaries = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Array(Schema.Unknown))))
const decodeProposed = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Array(Schema.Struct({ problem: Schema.String, operations: Schema.Array(Schema.Unknown), reasoning: Schema.optional(Schema.Unknown) }))))
const text = Schema.optional(Schema.NullOr(Schema.String))
const reward = Schema.optional(Schema.NullOr(Schema.Union([Schema.Boolean, Schema.Finite])))
/** A line of `rollout.jsonl`, as far as it is read. What could not be answered has a reward of 0 and says nothing or `Error: …`, and is no wrong answer. */
const decodeAttempt = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct({ question_id: Name, problem: text, response: text, reward })))
const decodeSummary = Schema.decodeUnknownResult(Schema.Struct({ problem: text, response: text, reward }))
const decodeOperation = Schema.decodeUnknownResult(Schema.Struct({ operation: Schema.String, id: text, content: text, source_problem: text }))
const isKind = Schema.is(SingleOperation.fields.operation)

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
const numbersOf = (generation: ReferenceGeneration): ReadonlyMap<string, string> =>
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

interface StepFiles {
  readonly files: ReferenceFiles
  readonly place: string
  /** Of the generation the step used. */
  readonly numbers: ReadonlyMap<string, string>
}

const readAttempts = Effect.fnUntraced(function*({ files, place }: StepFiles, step: number) {
  const name = `${place}/rollout.jsonl`
  const rollouts = yield* files.read(name)
  const { attempts, broken, cut } = attemptsIn(rollouts ?? "", step)
  if (broken !== undefined) return yield* files.unreadable("damaged", `line ${broken} is no attempt: it should be a JSON object with response, reward and a question_id of at most ${nameLimitBytes} bytes.`, name)
  if (cut !== undefined) files.lose(name, `ends in the middle of line ${cut}: that attempt is lost, and any after it`)
  const byProblem = Map.groupBy(attempts, ({ problem }) => problem)
  const questionOf = (problem: string | undefined): string | undefined => byProblem.get(problem ?? "")?.[0]?.question
  return { isThere: rollouts !== undefined, attempts, byQuestion: Map.groupBy(attempts, ({ question }) => question), byProblem, questionOf }
})
type StepAttempts = Effect.Success<ReturnType<typeof readAttempts>>

/** Summaries by the attempts they are of: each of the attempt that says the same, else of the next that has none. Undefined without the file. */
const readSummaries = Effect.fnUntraced(function*({ files, place }: StepFiles, { byProblem, byQuestion }: StepAttempts) {
  const name = `${place}/trajectory_summaries.json`
  const isMixed = [...byQuestion.values()].some((own) => own.some(({ verdict }) => verdict === "c") && own.some(({ verdict }) => verdict === "i"))
  const summaries = yield* files.readOr(name, decodeSummaries, "what its attempts taught is lost", isMixed)
  if (summaries === undefined) return undefined
  const placed = new Map<Attempt, unknown>()
  let unplaced = 0
  for (const [problem, entries] of Object.entries(summaries)) {
    for (const entry of entries) {
      const about = decodeSummary(entry)
      const open = (byProblem.get(problem) ?? []).filter((attempt) => !placed.has(attempt))
      const said = Result.isSuccess(about) ? open.filter(({ response }) => response === (about.success.response ?? "")) : []
      const attempt = Result.isFailure(about) ? undefined : said.find(({ reward }) => reward === rewardOf(about.success.reward)) ?? said[0] ?? open[0]
      if (attempt === undefined) unplaced += 1
      else placed.set(attempt, entry)
    }
  }
  if (unplaced > 0) files.lose(name, `has ${unplaced} summaries of attempts that rollout.jsonl does not hold: they are left out`)
  return placed
})

/** What was proposed, with the entries of questions that are known. Undefined without the file. */
const readProposals = Effect.fnUntraced(function*({ files, numbers, place }: StepFiles, { questionOf }: StepAttempts, isWanted: boolean) {
  const name = `${place}/proposed_updates.json`
  const proposed = yield* files.readOr(name, decodeProposed, "what was proposed is lost", isWanted)
  if (proposed === undefined) return undefined
  const entries = proposed.map((entry, at) => ({ entry, key: `p_${String(at).padStart(6, "0")}`, question: questionOf(entry.problem) }))
  const operations = merged(entries.map(({ entry, question }) => operationsIn(entry.operations, numbers, () => question)))
  const nobodys = entries.filter(({ question }) => question === undefined).length
  if (nobodys > 0) files.lose(name, `has ${nobodys} entries on questions that rollout.jsonl does not hold: their operations come along, and not their reasoning`)
  if (countIn(operations.discarded) !== "") files.lose(name, `has entries that are no operation, and none here: ${countIn(operations.discarded)}`)
  return { operations, entries }
})

/** What was applied. Merging need not say where an operation comes from; one that was proposed in the same words comes from there. Undefined without the file. */
const readApplied = Effect.fnUntraced(function*({ files, numbers, place }: StepFiles, { questionOf }: StepAttempts, proposed: FoundOperations["found"]) {
  const name = `${place}/applied_updates.json`
  const text = yield* files.read(name)
  if (text === undefined) {
    if (proposed.length > 0) files.lose(name, "is missing: what became of the proposals is not known, and a principle that was reworded counts as another one")
    return undefined
  }
  const list = decodeApplied(text)
  if (Result.isFailure(list)) {
    return yield* files.unreadable("damaged", "does not hold operations: it should be a JSON object with a list `all_operations`. Without that file a principle that was reworded counts as another one.", name)
  }
  const listed = operationsIn(list.success.all_operations, numbers, questionOf)
  const alike = ({ content, id, operation }: SourcedOperation["operation"]): string => JSON.stringify([operation, id, content?.trim()])
  const sourcesOf = new Map(proposed.toReversed().map(({ operation, sources }) => [alike(operation), sources]))
  if (countIn(listed.discarded) !== "") files.lose(name, `has entries that are no operation, and none here: ${countIn(listed.discarded)}`)
  return { ...listed, found: listed.found.map(({ operation, sources }) => ({ operation, sources: sources.length > 0 ? sources : sourcesOf.get(alike(operation)) ?? [] })) }
})

/** Reads a step's folder. @param used the generation the step used */
export const readStep = Effect.fnUntraced(function*(files: ReferenceFiles, place: string, step: number, epoch: number, used: ReferenceGeneration): Effect.fn.Return<ReadStep, ReferenceUnreadable> {
  const of: StepFiles = { files, place, numbers: numbersOf(used) }
  const rollouts = yield* readAttempts(of, step)
  const summaries = yield* readSummaries(of, rollouts)
  const reflected = [...summaries?.keys() ?? []].map(({ key }) => key)
  const proposed = yield* readProposals(of, rollouts, reflected.length > 0)
  const proposals: FoundOperations = proposed?.operations ?? { found: [], discarded: {} }
  const applied = yield* readApplied(of, rollouts, proposals.found)
  const operations: FoundOperations = applied ?? { found: [], discarded: {} }
  const texts: ReadonlyArray<ReadText> = [
    ...rollouts.attempts.map(({ key, line, question }): ReadText => ({ kind: "rollout", step, key, question, text: line })),
    ...[...summaries ?? []].map(([{ key, question }, entry]): ReadText => ({ kind: "reflection", step, key, question, text: JSON.stringify(entry) })),
    ...(proposed?.entries ?? []).flatMap(({ entry, key, question }): ReadonlyArray<ReadText> => (question === undefined ? [] : [{ kind: "proposal", step, key, question, text: JSON.stringify(entry) }]))
  ]
  if (!rollouts.isThere && [summaries, proposed, applied].every((one) => one === undefined)) return { step: undefined, operations, texts }
  if (!rollouts.isThere) files.lose(`${place}/rollout.jsonl`, "is missing: the attempts of that step are lost, and with them what they were about")
  const attempts = [...rollouts.byQuestion].map(([question, own]) => ({ question, verdicts: own.map(({ verdict }) => verdict).join("") }))
  return { step: { step, epoch, reflected, proposals, operations, attempts }, operations, texts }
})
