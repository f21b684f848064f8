/**
 * The retrieval bench: how much of the gold evidence of a LongMemEval, LoCoMo or BEAM file a ranker finds, without any language model.
 * Gold is read here and compared with rankings; nothing of it reaches the index, the plan or the ranker.
 *
 *     node services/cli/bench/retrieval.ts --data FILE [--ranker metamem|bm25|dense|rrf] [--facts] [--limit N] [--label-errors FILE] --json
 */
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import type { DatasetUser, GoldEvidence } from "#shared/datasets/dataset"
import { readBenchDataset } from "#shared/datasets/read-dataset"
import type { Question } from "#shared/domain/question"
import { indexedText } from "#shared/memoryindex/indexed-text"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import { UserIndex } from "#shared/memoryindex/user-index"
import { type EmbeddingError, Embeddings, layer } from "#shared/model/embeddings"
import { extractFacts } from "#services/compressor/construction/extraction-rules"
import { packEvidence } from "#services/retriever/ranking/evidence"
import { planQuestion } from "#services/retriever/ranking/plan"
import { plainRankers, rankPlainly } from "#services/retriever/ranking/plain"
import { type RankedMemory, rankMemories } from "#services/retriever/ranking/rank"
import { knownMin } from "#shared/model/known-words"
import { tokensOf } from "#shared/model/tokens"
import { bootstrapInterval, figureNames, questionFigures, type QuestionFigures } from "./retrieval-metrics.ts"
import { openVectorCache } from "./vector-cache.ts"

export const rankers = ["metamem", ...plainRankers] as const
export type Ranker = (typeof rankers)[number]

export interface RetrievalBench {
  readonly file: string
  readonly ranker: Ranker
  /** Questions at most, from the start of the file. */
  readonly limit?: number
  /** Index facts taken by rule beside the turns. */
  readonly facts?: boolean
  /** LoCoMo questions to leave out; by default the file beside the data whose name ends in `_label_errors.json`. */
  readonly labelErrors?: string
  /** Folder of vectors kept between runs. */
  readonly cache: string
  readonly onProgress?: (message: string) => void
}

type Figures = { readonly [name in keyof QuestionFigures]: number }
type Intervals = { readonly [name in keyof QuestionFigures]?: readonly [number, number] }
interface Summary {
  readonly questions: number
  readonly figures: Figures
  readonly intervals: Intervals
}

const evidenceTokens = 4_000
/** Tokens a whole turn costs besides speaker and text in the A4k figures. */
const lineTokens = 4

const round = (value: number): number => Math.round(value * 10_000) / 10_000

const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)

const summarise = (rows: ReadonlyArray<{ readonly cluster: string; readonly figures: QuestionFigures }>): Summary => {
  const figures = Object.fromEntries(figureNames.map((name) => [name, round(mean(rows.map((row) => row.figures[name])))])) as unknown as Figures
  const intervals = Object.fromEntries(figureNames.flatMap((name) => {
    const interval = bootstrapInterval(rows.map(({ cluster, figures }) => ({ cluster, value: figures[name] })))
    return interval === undefined ? [] : [[name, interval.map(round)]]
  })) as Intervals
  return { questions: rows.length, figures, intervals }
}

const percentile = (sorted: ReadonlyArray<number>, share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

const memoriesOf = ({ conversations, user }: DatasetUser, withFacts: boolean): ReadonlyArray<IndexedMemory> => {
  const memories: Array<IndexedMemory> = []
  for (const { conversation, turns } of conversations) {
    for (const { clientId, speaker, text, time } of turns) {
      memories.push({ id: clientId, kind: "turn", text, speaker, time, turns: [clientId], user, conversation, sequence: memories.length })
    }
    if (!withFacts) continue
    for (const [at, fact] of extractFacts(turns.map(({ clientId, ...turn }) => ({ id: clientId, ...turn }))).entries()) {
      memories.push({ ...fact, id: `${conversation}#${at}`, kind: "fact", user, conversation, sequence: memories.length })
    }
  }
  return memories
}

/** Ids of whole turns that fit the budget in the order of rank; one that does not fit is passed over. */
const packWhole = (ranked: ReadonlyArray<RankedMemory>): { readonly ids: ReadonlySet<string>; readonly tokens: number } => {
  const ids = new Set<string>()
  let left = evidenceTokens
  for (const { memory } of ranked.slice(0, 400)) {
    const cost = tokensOf(indexedText(memory)) + lineTokens
    if (cost > left) continue
    ids.add(memory.id)
    left -= cost
  }
  return { ids, tokens: evidenceTokens - left }
}

/** Needs the embedding model. Questions without gold turns, abstention questions and mislabelled ones are left out and counted. */
export const benchRetrieval = Effect.fnUntraced(function*(bench: RetrievalBench) {
  const say = bench.onProgress ?? (() => undefined)
  const beside = bench.file.replace(/\.jsonl?(\.gz)?$/, "_label_errors.json")
  const labelErrors = bench.labelErrors ?? (existsSync(beside) ? beside : undefined)
  const { dataset, gold } = yield* readBenchDataset(bench.file, labelErrors)
  const embeddings = yield* Embeddings
  const cache = yield* openVectorCache(bench.cache, (done, of) => say(`${done} of ${of} texts embedded`))
  const asked = new Map<string, Array<{ readonly question: Question; readonly gold: GoldEvidence }>>()
  let left = bench.limit ?? Infinity
  let leftOut = 0
  for (const question of dataset.questions) {
    if (left <= 0) break
    left -= 1
    const evidence = gold.get(question.id)
    if (evidence === undefined || evidence.turns.length === 0 || evidence.mislabelled) leftOut += 1
    else asked.set(question.user, [...(asked.get(question.user) ?? []), { question, gold: evidence }])
  }

  const rows: Array<{ readonly type: string; readonly cluster: string; readonly figures: QuestionFigures }> = []
  const latencies: Array<number> = []
  const askUser = Effect.fnUntraced(function*(user: DatasetUser): Effect.fn.Return<void, EmbeddingError, Embeddings> {
    const questions = asked.get(user.user)
    if (questions === undefined) return
    const memories = memoriesOf(user, bench.facts === true)
    const vectors = yield* cache.embed(memories.map(({ text }) => text))
    const index = new UserIndex(embeddings.dimensions)
    memories.forEach((memory, at) => {
      const vector = vectors[at]
      index.put(vector === undefined ? memory : { ...memory, vector })
    })
    for (const { gold, question } of questions) {
      const started = performance.now()
      const view = index.view()
      const plan = planQuestion(question.text, view.speakers, question.date)
      const isKnown = bench.ranker !== "metamem" || (embeddings.known?.(question.text) ?? 1) >= knownMin
      const asVectors = isKnown ? yield* embeddings.embed(bench.ranker === "metamem" ? plan.vectorQueries : [question.text], { interactive: true }) : []
      const all = bench.ranker === "metamem" ? rankMemories(view, plan, asVectors) : rankPlainly(bench.ranker, view, question.text, asVectors[0] ?? new Float32Array())
      const shown = packEvidence(all, question.text, evidenceTokens)
      latencies.push(performance.now() - started)
      const ranked = all.filter(({ memory }) => memory.kind === "turn")
      const whole = packWhole(ranked)
      const goldTokens = memories.filter(({ id }) => gold.turns.includes(id)).reduce((sum, memory) => sum + tokensOf(indexedText(memory)) + lineTokens, 0)
      rows.push({
        type: question.type,
        cluster: question.cluster,
        figures: questionFigures({
          ranked: ranked.map(({ memory }) => memory),
          goldTurns: new Set(gold.turns),
          goldConversations: new Set(gold.conversations),
          packed: whole.ids,
          shown: new Set(shown.flatMap(({ memory }) => memory.turns)),
          fitsWhole: goldTokens <= evidenceTokens,
          tokens: shown.reduce((sum, { tokens }) => sum + tokens, 0)
        })
      })
    }
    say(`${rows.length} questions asked`)
  })
  yield* Effect.forEach(dataset.users, askUser, { concurrency: 1 })

  latencies.sort((a, b) => a - b)
  const types = [...new Set(rows.map(({ type }) => type))].sort()
  const overall = summarise(rows)
  const byType = types.map((type) => [type, summarise(rows.filter((row) => row.type === type))] as const)
  return {
    set: dataset.set,
    ranker: bench.ranker,
    memories: bench.facts === true ? "turns and facts" : "turns",
    questions: rows.length,
    leftOut,
    /** Turns marked as evidence by the file; conversations as the file names them. */
    overall: overall.figures,
    intervals: overall.intervals,
    byType: Object.fromEntries(byType.map(([type, { figures, intervals, questions }]) => [type, { questions, ...figures, intervals }])),
    latencyMs: { p50: round(percentile(latencies, 0.5)), p95: round(percentile(latencies, 0.95)) }
  }
})

const main = (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      ranker: { type: "string", default: "metamem" },
      limit: { type: "string" },
      facts: { type: "boolean", default: false },
      "label-errors": { type: "string" },
      home: { type: "string", default: ".metamem" },
      json: { type: "boolean", default: false }
    }
  })
  const ranker = rankers.find((name) => name === values.ranker)
  const limit = values.limit === undefined ? undefined : Number(values.limit)
  if (values.data === undefined || ranker === undefined || (limit !== undefined && !(limit > 0))) {
    console.error(`usage: node services/cli/bench/retrieval.ts --data FILE [--ranker ${rankers.join("|")}] [--facts] [--limit N] [--label-errors FILE] [--home DIR] [--json]`)
    process.exitCode = 2
    return Promise.resolve()
  }
  return benchRetrieval({
    file: values.data,
    ranker,
    facts: values.facts,
    cache: join(values.home, "cache"),
    onProgress: (message) => process.stderr.write(`\r${message}   `),
    ...(limit === undefined ? {} : { limit }),
    ...(values["label-errors"] === undefined ? {} : { labelErrors: values["label-errors"] })
  }).pipe(
    Effect.provide(layer({ dir: join(values.home, "models/minilm"), threads: 2 })),
    Effect.match({
      onFailure: (error) => {
        console.error(error.message)
        process.exitCode = 1
      },
      onSuccess: (report) => {
        process.stderr.write("\n")
        if (values.json) console.log(JSON.stringify(report, undefined, 2))
        else {
          const line = (name: string, figures: Figures, questions: number) => console.log(name.padEnd(28), String(questions).padStart(4), figureNames.map((figure) => String(figures[figure]).padStart(7)).join(" "))
          console.log("".padEnd(33), figureNames.map((figure) => figure.padStart(7)).join(" "))
          for (const [type, figures] of Object.entries(report.byType)) line(type, figures, figures.questions)
          line("all", report.overall, report.questions)
        }
      }
    }),
    Effect.runPromise
  )
}

if (import.meta.main) await main()
