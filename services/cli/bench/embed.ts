/**
 * Texts a second of the embedding service beside what onnxruntime alone gives on as many threads: the same model and texts, already
 * tokenised and sorted by length, in the batches that suit it best. Both take turns on slices of the texts, so that neither has the quieter machine.
 */
import { Tokenizer } from "@huggingface/tokenizers"
import * as ort from "onnxruntime-node"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { stream } from "#shared/metamemory/random"
import * as EmbeddingModel from "#shared/model/embeddings"
import { CommandFailed, progressLine } from "../root.ts"
import { type BenchResult, modelFolder, percentile, rounded, secondsSince, syntheticText } from "./load.ts"

export interface EmbedOptions {
  readonly texts: number
  readonly threads: number
  readonly seed: number
}

const tokensMax = 256
const slices = 8
/** Sizes tried on the first slice; the fastest is what the service is compared with. */
const batchSizes = [4, 8, 16, 32]

/** The encoder as a plain program would run it. */
const plainEncoder = async (dir: string, threads: number) => {
  const tokenizer = new Tokenizer(JSON.parse(readFileSync(join(dir, "tokenizer.json"), "utf8")), {})
  const session = await ort.InferenceSession.create(join(dir, "model.onnx"), { intraOpNumThreads: threads, interOpNumThreads: 1 })
  const tokenise = (texts: ReadonlyArray<string>) => texts.map((text) => tokenizer.encode(text).ids.slice(0, tokensMax)).sort((a, b) => a.length - b.length)
  const run = async (rows: ReadonlyArray<ReadonlyArray<number>>, batch: number): Promise<void> => {
    for (let from = 0; from < rows.length; from += batch) {
      const group = rows.slice(from, from + batch)
      const width = Math.max(...group.map((ids) => ids.length))
      const ids = new BigInt64Array(group.length * width)
      const mask = new BigInt64Array(group.length * width)
      group.forEach((row, at) =>
        row.forEach((id, column) => {
          ids[at * width + column] = BigInt(id)
          mask[at * width + column] = 1n
        })
      )
      const shape = [group.length, width]
      const feeds: Record<string, ort.Tensor> = { input_ids: new ort.Tensor("int64", ids, shape), attention_mask: new ort.Tensor("int64", mask, shape) }
      if (session.inputNames.includes("token_type_ids")) feeds["token_type_ids"] = new ort.Tensor("int64", new BigInt64Array(ids.length), shape)
      await session.run(feeds)
    }
  }
  return { run, tokenise, release: () => session.release() }
}

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const from = performance.now()
    return Effect.map(effect, () => (performance.now() - from) / 1_000)
  })

export const benchEmbed = (options: EmbedOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const dir = yield* modelFolder
      const started = performance.now()
      const progress = progressLine()
      const draw = stream("bench embed", options.seed)
      const size = Math.max(1, Math.ceil(options.texts / slices))
      const all = Array.from({ length: slices }, () => Array.from({ length: size }, () => syntheticText(draw, 8 + Math.floor(draw() ** 2 * 180))))
      const warm = Array.from({ length: 32 }, () => syntheticText(draw, 30))

      return yield* Effect.gen(function*() {
        const embeddings = yield* EmbeddingModel.Embeddings
        const plain = yield* Effect.acquireRelease(
          Effect.tryPromise({ try: () => plainEncoder(dir, options.threads), catch: (error) => new CommandFailed({ message: `onnxruntime cannot open the model in ${dir}: ${String(error)}` }) }),
          ({ release }) => Effect.promise(release)
        )
        const runPlain = (texts: ReadonlyArray<string>, batch: number) => {
          const rows = plain.tokenise(texts)
          return timed(Effect.promise(() => plain.run(rows, batch)))
        }
        yield* embeddings.embed(warm)
        yield* runPlain(warm, 8)
        const tried = yield* Effect.forEach(batchSizes, (batch) => Effect.map(runPlain(all[0] ?? [], batch), (seconds) => ({ batch, seconds })))
        const { batch } = tried.reduce((best, one) => (one.seconds < best.seconds ? one : best))
        const service: Array<number> = []
        const alone: Array<number> = []
        for (const [at, texts] of all.entries()) {
          progress.update(`${at * size} of ${slices * size} texts`)
          const own = timed(embeddings.embed(texts))
          const other = runPlain(texts, batch)
          if (at % 2 === 0) {
            service.push(yield* own)
            alone.push(yield* other)
          } else {
            alone.push(yield* other)
            service.push(yield* own)
          }
        }
        progress.end()
        const total = (seconds: ReadonlyArray<number>) => seconds.reduce((sum, one) => sum + one, 0)
        return {
          figures: {
            serviceTextsPerSecond: rounded((slices * size) / total(service)),
            onnxruntimeTextsPerSecond: rounded((slices * size) / total(alone)),
            ratio: rounded(total(alone) / total(service), 3),
            ratioMedianOfSlices: rounded(percentile(service.map((seconds, at) => (alone[at] ?? 0) / seconds), 0.5), 3),
            onnxruntimeBatch: batch,
            threads: options.threads,
            texts: slices * size,
            seed: options.seed
          },
          unit: "texts/s; ratio = service ÷ onnxruntime alone, which is spared the tokenising and pooling",
          seconds: secondsSince(started)
        } satisfies BenchResult
      }).pipe(Effect.provide(EmbeddingModel.layer({ dir, threads: options.threads })))
    })
  )
