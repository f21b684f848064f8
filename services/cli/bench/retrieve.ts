/**
 * How long a question waits for its evidence, the embedding of the question included, among many memories of one user and many more of
 * others. The index is filled directly, which is the rebuild's business; the retriever itself runs in a process of its own and is asked by
 * request, as anybody asks it.
 */
import { Effect, Schema } from "effect"
import { request } from "#shared/actor/requests"
import { requestSubject } from "#shared/eventlog/subjects"
import { type IndexChange, MemoryIndex } from "#shared/memoryindex/memory-index"
import { stream } from "#shared/metamemory/random"
import * as EmbeddingModel from "#shared/model/embeddings"
import { homeIndex } from "#services/retriever/home-index"
import { indexUser } from "#services/retriever/projection"
import { RetrieveReply } from "#services/retriever/protocol"
import { progressLine, root } from "../root.ts"
import { actorProcess, benchHome, type BenchResult, type Draw, logOn, modelFolder, percentile, rounded, secondsSince, syntheticText, syntheticVector, untilAnswers } from "./load.ts"

export interface RetrieveOptions {
  /** Memories of the users asked, one user a size. */
  readonly sizes: ReadonlyArray<number>
  /** In the index in all. */
  readonly rows: number
  readonly questions: number
  readonly seed: number
}

/** Memories of a user who is never asked. */
const othersSize = 1_000
const applySize = 4_000
const decodeReply = Schema.decodeUnknownEffect(RetrieveReply)

/** One user's turns with vectors, in conversations of 20. Texts and vectors are drawn from `pool`, so that a million rows are made in seconds. */
function* memoriesOf(draw: Draw, user: string, count: number, pool: { readonly texts: ReadonlyArray<string>; readonly vectors: ReadonlyArray<Float32Array> }): Generator<IndexChange> {
  for (let at = 0; at < count; at++) {
    yield {
      _tag: "Put",
      memory: {
        id: `${user}/${at}`,
        kind: "turn",
        text: pool.texts[Math.floor(draw() * pool.texts.length)] ?? "",
        speaker: at % 2 === 0 ? "user" : "assistant",
        time: new Date(Date.UTC(2024, 0, 1) + at * 600_000).toISOString(),
        turns: [`${user}/${at}`],
        user,
        conversation: `c${Math.floor(at / 20)}`,
        sequence: 1,
        vector: pool.vectors[Math.floor(draw() * pool.vectors.length)] ?? new Float32Array()
      }
    }
  }
}

export const benchRetrieve = (options: RetrieveOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const { env, home, url } = yield* benchHome
      const { tenant } = yield* root
      const started = performance.now()
      const progress = progressLine()
      const draw = stream("bench retrieve", options.seed)
      const asked = options.sizes.map((size) => ({ size, name: `asked-${size}` }))
      const others = Math.max(0, Math.ceil((options.rows - options.sizes.reduce((sum, size) => sum + size, 0)) / othersSize))

      const filledFrom = performance.now()
      const dimensions = yield* Effect.scoped(
        Effect.gen(function*() {
          const { dimensions } = yield* EmbeddingModel.Embeddings
          const pool = {
            texts: Array.from({ length: 20_000 }, () => syntheticText(draw, 8 + Math.floor(draw() ** 2 * 120))),
            vectors: Array.from({ length: 20_000 }, () => syntheticVector(draw, dimensions))
          }
          yield* Effect.gen(function*() {
            const index = yield* MemoryIndex
            let rows = 0
            const fill = (changes: Iterable<IndexChange>) =>
              Effect.gen(function*() {
                let some: Array<IndexChange> = []
                for (const change of changes) {
                  some.push(change)
                  if (some.length === applySize) {
                    yield* index.apply(some, 0)
                    rows += some.length
                    some = []
                    progress.update(`${rows} of ${options.rows} rows written`)
                  }
                }
                yield* index.apply(some, 0)
                rows += some.length
              })
            for (const { name, size } of asked) yield* fill(memoriesOf(draw, indexUser(tenant, name), size, pool))
            for (let n = 0; n < others; n++) yield* fill(memoriesOf(draw, indexUser(tenant, `other-${n}`), othersSize, pool))
          }).pipe(Effect.provide(homeIndex(home)))
          return dimensions
        }).pipe(Effect.provide(EmbeddingModel.layer({ dir: yield* modelFolder, threads: 1 })), Effect.provide(logOn(url)))
      )
      const fillSeconds = (performance.now() - filledFrom) / 1_000

      const retriever = yield* actorProcess({ home, url, actors: ["retriever"], settings: env })
      return yield* Effect.gen(function*() {
        yield* untilAnswers("retriever")
        const idle = yield* retriever.usage
        const figures: Record<string, number> = { rows: options.sizes.reduce((sum, size) => sum + size, 0) + others * othersSize, dimensions }
        for (const { name, size } of asked) {
          const ask = Effect.gen(function*() {
            const question = `What did I say about ${syntheticText(draw, 7).slice(0, -1).toLowerCase()}?`
            const from = performance.now()
            yield* decodeReply(yield* request(requestSubject("retriever", "retrieve"), { tenant, user: name, question, deadlineMs: 60_000 }, 60_000))
            return performance.now() - from
          })
          progress.update(`asking the user with ${size} memories`)
          const label = size % 1_000 === 0 ? `${size / 1_000}k` : String(size)
          figures[`coldMs${label}`] = rounded(yield* ask)
          for (let n = 0; n < 10; n++) yield* ask
          const before = yield* retriever.usage
          const took: Array<number> = []
          for (let n = 0; n < options.questions; n++) took.push(yield* ask)
          figures[`p50Ms${label}`] = rounded(percentile(took, 0.5))
          figures[`p95Ms${label}`] = rounded(percentile(took, 0.95))
          const after = yield* retriever.usage
          figures[`cpuMs${label}`] = rounded((after.cpuMs - before.cpuMs) / Math.max(1, took.length))
          figures[`rssMb${label}`] = after.rssMb
        }
        progress.end()
        return {
          figures: { ...figures, rssMbBefore: idle.rssMb, questions: options.questions, fillRowsPerSecond: Math.round((figures["rows"] ?? 0) / fillSeconds), seed: options.seed },
          unit: "milliseconds from request to evidence; processor milliseconds of the retriever a question; resident megabytes of the retriever's process, its embedding model included",
          seconds: secondsSince(started)
        } satisfies BenchResult
      }).pipe(Effect.provide(logOn(url)))
    })
  )
