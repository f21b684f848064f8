/**
 * Reads the published system's folder of a training experiment. `step_N` holds the generation that step N + 1 of ours used and what that
 * step found. What ids and lineage rest on has to be whole; anything else that is missing or damaged is told, and the rest is read.
 */
import { basename, resolve } from "node:path"
import { Effect, Result, Schema } from "effect"
import type { FoundOperations, ImportedRecord } from "#services/reflector/protocol"
import { ReferenceEvaluation } from "#services/reflector/run-events"
import { openReference, type ReferenceFiles, type ReferenceUnreadable } from "./reference-files.ts"
import { type ReadStep, readStep, type ReadText, type ReferenceGeneration } from "./reference-step.ts"

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
const decodeStats = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Struct({ epoch: Schema.Int }))))
const decodeEvaluation = Schema.decodeUnknownResult(Schema.fromJsonString(ReferenceEvaluation))
const decodeResults = Schema.decodeUnknownResult(Schema.fromJsonString(ReferenceEvaluation.fields.steps.value.fields.results))

/** Generations by the numbers of their folders. */
const readGenerations = Effect.fnUntraced(function*(files: ReferenceFiles, folders: ReadonlyArray<number>): Effect.fn.Return<ReadonlyMap<number, ReferenceGeneration>, ReferenceUnreadable> {
  const generations = new Map<number, ReferenceGeneration>()
  for (const folder of folders.filter((number) => number > 0)) {
    const name = `step_${folder}/meta_memories.json`
    const text = yield* files.read(name)
    if (text === undefined) continue
    const generation = decodeGeneration(text)
    if (Result.isFailure(generation)) return yield* files.unreadable("damaged", "does not hold principles: it should be one JSON object of texts, {\"M0\": \"…\"}.", name)
    generations.set(folder, generation.success)
  }
  return generations
})

const principlesOf = (generation: ReferenceGeneration): ReadonlyArray<string> => Object.values(generation).map((entry) => entry.trim()).filter((entry) => entry !== "")

/** Principles of the generation before that a step reworded. */
const rewordings = (before: ReadonlyArray<string>, { found }: FoundOperations) =>
  found.flatMap(({ operation: { content, id, operation } }) => {
    const from = before[Number(/^M(\d+)$/.exec(id ?? "")?.[1] ?? -1)]
    return operation === "update" && from !== undefined && content !== undefined ? [{ before: from, after: content.trim() }] : []
  })

/** How generations did on other questions: all together, or as far as the evaluation got. */
const readEvaluation = Effect.fnUntraced(function*(files: ReferenceFiles, origin: string, generations: ReadonlyMap<number, ReferenceGeneration>): Effect.fn.Return<ReferenceEvaluation | undefined, ReferenceUnreadable> {
  const whole = "eval_results.json"
  if (files.names.includes(whole)) return yield* files.readOr(whole, decodeEvaluation, "how generations did on other questions is lost")
  const evaluated: Record<string, ReferenceEvaluation["steps"][string]> = {}
  const without = "how it did on other questions is lost"
  for (const [number, entries] of generations) {
    const place = `step_${number}`
    const results = yield* files.readOr(`${place}/${whole}`, decodeResults, without, false)
    if (results !== undefined) evaluated[place] = { step_num: number, meta_memories_path: `${place}/meta_memories.json`, meta_memories: entries, results }
  }
  const baseline = yield* files.readOr(`baseline/${whole}`, decodeResults, without, false)
  if (Object.keys(evaluated).length === 0 && baseline === undefined) {
    files.lose(whole, "is missing: how generations did on other questions is not known")
    return undefined
  }
  const sizes = [...Object.values(evaluated).map(({ results }) => results.total), baseline?.total ?? 0]
  return { experiment_dir: origin, test_dataset_size: Math.max(...sizes), steps: evaluated, ...(baseline === undefined ? {} : { baseline }) }
})

/** Reads an experiment's folder in the order of its steps. Fails on a folder without generations, and on a damaged file that ids or lineage rest on. */
export const readReference = Effect.fnUntraced(function*(path: string): Effect.fn.Return<ReferenceFolder, ReferenceUnreadable> {
  const files = yield* openReference(path)
  const folders = files.names.flatMap((name) => (/^step_\d+$/.test(name) ? [Number(name.slice(5))] : [])).sort((a, b) => a - b)
  const known = yield* readGenerations(files, folders)
  const stats = (yield* files.readOr("stats.json", decodeStats, "in which epoch a step was is not known")) ?? {}
  const generations: Array<ImportedRecord["generations"][number]> = []
  const read: Array<ReadStep> = []
  let empty = 0
  let before: ReferenceGeneration = {}
  for (const folder of [...new Set([...folders, ...[...known.keys()].map((number) => number - 1)])].sort((a, b) => a - b)) {
    const step = folder + 1
    const found = yield* readStep(files, `step_${folder}`, step, stats[String(folder)]?.epoch ?? 0, before)
    read.push(found)
    const next = known.get(step)
    if (next === undefined) continue
    const principles = principlesOf(next)
    empty += Object.keys(next).length - principles.length
    generations.push({ step, principles, updates: rewordings(principlesOf(before), found.operations) })
    before = next
  }
  if (generations.length === 0) return yield* files.unreadable("foreign", "holds no step_N/meta_memories.json with N from 1 on: it is not a training folder of the published system.")
  const origin = basename(resolve(path))
  const evaluation = yield* readEvaluation(files, origin, known)
  return { origin, generations, steps: read.flatMap(({ step }) => step ?? []), ...(evaluation === undefined ? {} : { evaluation }), ...files.all(), texts: read.flatMap(({ texts }) => texts), empty }
})
