/**
 * Reads a benchmark file, telling LongMemEval, LoCoMo and BEAM apart by the shape of their rows, from `.json`, `.jsonl` and either
 * gzipped. A row that does not fit stops the reading with its number and the mend; nothing is skipped silently.
 */
import { Effect, Result } from "effect"
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { gunzipSync } from "node:zlib"
import { readChat } from "./beam.ts"
import { type BenchDataset, type Dataset, DatasetError, type DatasetRow, type GoldEvidence, type RowRefusal } from "./dataset.ts"
import { decodeLabelErrors, type LabelErrors, readConversation } from "./locomo.ts"
import { readQuestion, readSession, type Sessions } from "./longmemeval.ts"

const readBytes = (file: string) =>
  Effect.tryPromise({
    try: () => readFile(file),
    catch: (error) =>
      new DatasetError({ file, row: 0, reason: "FileMissing", message: `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown"}); check the path` })
  })

const unknownFormat = (file: string, row: number, message: string) => new DatasetError({ file, row, reason: "FormatUnknown", message })

/** Rows of the file: the elements of one JSON array, or one document a line. */
const parseRows = (file: string, bytes: Buffer) =>
  Effect.gen(function*() {
    const text = yield* Effect.try({
      try: () => (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString("utf8"),
      catch: (error) => unknownFormat(file, 0, `${file} is a damaged gzip file (${(error as Error).message}); fetch it anew`)
    })
    const parse = (part: string, row: number) =>
      Effect.try({
        try: (): unknown => JSON.parse(part),
        catch: (error) => unknownFormat(file, row, `${file} ${row === 0 ? "" : `line ${row} `}is not JSON: ${(error as Error).message}`)
      })
    if (text.trimStart().startsWith("[")) {
      const rows = yield* parse(text, 0)
      return Array.isArray(rows) ? (rows as ReadonlyArray<unknown>) : []
    }
    const lines = text.split("\n").map((line, at) => ({ line, row: at + 1 })).filter(({ line }) => line.trim() !== "")
    return yield* Effect.forEach(lines, ({ line, row }) => parse(line, row))
  })

const has = (raw: unknown, ...names: ReadonlyArray<string>): boolean => typeof raw === "object" && raw !== null && names.every((name) => name in raw)

const setOf = (row: unknown): Dataset["set"] | undefined => {
  if (has(row, "question_id") || has(row, "kind", "ref")) return "longmemeval"
  if (has(row, "conversation", "qa")) return "locomo"
  return has(row, "chat_id", "probing_questions") ? "beam" : undefined
}

const readLabelErrors = (file: string) =>
  Effect.gen(function*() {
    const rows = yield* parseRows(file, yield* readBytes(file))
    const decoded = decodeLabelErrors(rows)
    if (Result.isFailure(decoded)) return yield* unknownFormat(file, 0, `${file} is no list of label errors with question and golden_answer: ${decoded.failure}`)
    return decoded.success
  })

const readAll = Effect.fnUntraced(function*(file: string, labelErrors: LabelErrors): Effect.fn.Return<BenchDataset, DatasetError> {
  const bytes = yield* readBytes(file)
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 12)
  const raws = yield* parseRows(file, bytes)
  if (raws.length === 0) return yield* unknownFormat(file, 0, `${file} is empty: it holds no row`)
  const set = setOf(raws[0])
  if (set === undefined) {
    return yield* unknownFormat(file, 1, `${file} is neither LongMemEval (question_id, haystack_sessions), LoCoMo (conversation, qa) nor BEAM (chat_id, batches, probing_questions)`)
  }
  const sessions: Sessions = new Map()
  const users: Array<Dataset["users"][number]> = []
  const questions: Array<Dataset["questions"][number]> = []
  const gold = new Map<string, GoldEvidence>()
  const bonds = new Map<string, ReadonlyArray<string>>()
  for (const [at, raw] of raws.entries()) {
    const refuse = ({ message, reason }: RowRefusal) => new DatasetError({ file, row: at + 1, reason, message: `${file} row ${at + 1}: ${message}` })
    if (set === "longmemeval" && has(raw, "kind", "ref")) {
      const read = readSession(raw, sessions)
      if (Result.isFailure(read)) return yield* refuse(read.failure)
      continue
    }
    const read: Result.Result<DatasetRow, RowRefusal> = set === "longmemeval"
      ? readQuestion(raw, hash, sessions)
      : set === "locomo" ? readConversation(raw, hash, labelErrors) : readChat(raw, hash)
    if (Result.isFailure(read)) return yield* refuse(read.failure)
    users.push(read.success.user)
    for (const question of read.success.questions) {
      if (gold.has(question.id)) return yield* new DatasetError({ file, row: at + 1, reason: "RowInvalid", message: `${file} row ${at + 1}: question id ${question.id} stands twice; ids must be unique` })
      questions.push(question)
      gold.set(question.id, { turns: [], conversations: [], mislabelled: false })
    }
    for (const [id, evidence] of read.success.gold) gold.set(id, evidence)
    for (const [id, shared] of read.success.bonds ?? []) bonds.set(id, shared)
  }
  return { dataset: { set, hash, users, questions, bonds }, gold }
})

/** Conversations and questions of a file, without a trace of where the answers stand. */
export const readDataset = (file: string): Effect.Effect<Dataset, DatasetError> => Effect.map(readAll(file, new Set()), ({ dataset }) => dataset)

/**
 * A file with its gold evidence, for benches only.
 *
 * @param labelErrors file of questions known to be labelled wrongly (LoCoMo); their gold is marked `mislabelled`
 */
export const readBenchDataset = Effect.fnUntraced(function*(file: string, labelErrors?: string): Effect.fn.Return<BenchDataset, DatasetError> {
  return yield* readAll(file, labelErrors === undefined ? new Set() : yield* readLabelErrors(labelErrors))
})
