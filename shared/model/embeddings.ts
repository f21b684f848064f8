/**
 * Sentence embeddings as a service: texts in, unit vectors out, the same bit for bit whatever else is in the batch.
 * Layers: `layer` runs an ONNX encoder in worker threads (`embeddings-pool.ts`, `embeddings-worker.ts`); `layerDeterministic`
 * makes vectors by hashing words, for pure tests. Every vector is rounded to float16 values before anything sees it, so what is
 * searched equals what the log keeps.
 */
import { Context, Effect, Exit, Layer, Schema, Semaphore } from "effect"
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { words } from "#shared/memoryindex/words"
import { EmbeddingPool } from "./embeddings-pool.ts"
import { roundedUnit } from "./embeddings-vector.ts"
import { knownShare } from "./known-words.ts"

/** Texts could not be embedded, or the model in a folder cannot be used. The message says which and how to mend it. */
export class EmbeddingError extends Schema.TaggedError<EmbeddingError>()("EmbeddingError", {
  reason: Schema.Literals(["ModelMissing", "ModelUnsuitable", "WorkerFailed", "BadVector", "Closed"]),
  message: Schema.String
}) {}

export interface EmbedOptions {
  /** Goes before everything that waits; for questions somebody waits for. Default false. */
  readonly interactive?: boolean
}

export class Embeddings extends Context.Service<Embeddings, {
  /**
   * One vector a text, in the order given, each of `dimensions` float16-rounded values and of unit length before rounding. Only the first
   * 256 tokens of a text count. Calls share batches; an interrupted call gives back its place in the queue.
   */
  readonly embed: (texts: ReadonlyArray<string>, options?: EmbedOptions) => Effect.Effect<ReadonlyArray<Float32Array>, EmbeddingError>
  /** Hash of everything the vectors depend on; vectors of different hashes are never compared. */
  readonly modelHash: string
  readonly dimensions: number
  /** Share of a text's words that the model has tokens for, from 0 to 1; absent = all. A vector of what it does not know says nothing. */
  readonly known?: (text: string) => number
}>()("metamem/model/Embeddings") {}

export interface EmbeddingSettings {
  /** Folder with `model.onnx` and `tokenizer.json`. */
  readonly dir: string
  /** Processor threads: as many workers for texts that many wait for together, which stand back where others want the processor, and half as many, of two threads each, for questions. */
  readonly threads: number
  /** What the first worker is for, since each holds a model of its own; absent = other texts. */
  readonly first?: "questions"
}

/** Texts of all callers that may wait at once; further callers wait for room. */
const waitingTextsMax = 4_096
/** Texts a caller queues at a time, so that a large caller leaves room for others. */
const sliceSize = 256
/** Bytes of vectors kept in memory by the hash of their text: some 2,500 of 384 numbers. */
const cachedBytesMax = 4 * 2 ** 20

const readModelFile = (dir: string, name: string) =>
  Effect.tryPromise({
    try: () => readFile(join(dir, name)),
    catch: () => new EmbeddingError({ reason: "ModelMissing", message: `no ${name} in ${dir}; run \`npm run setup\` or set METAMEM_MINILM_DIR to a folder with model.onnx and tokenizer.json` })
  })

/** The model is refused unless a text's vector is the same alone and beside a longer one. */
const probe = ["The quick test.", `A longer text that pads the first one ${"again and ".repeat(20)}once more.`] as const

export const layer = (settings: EmbeddingSettings): Layer.Layer<Embeddings, EmbeddingError> =>
  Layer.effect(
    Embeddings,
    Effect.gen(function*() {
      const tokenizer = yield* readModelFile(settings.dir, "tokenizer.json")
      const modelHash = createHash("sha256")
        .update(yield* readModelFile(settings.dir, "model.onnx"))
        .update(tokenizer)
        .digest("hex")
        .slice(0, 32)
      const pool = yield* Effect.acquireRelease(
        Effect.sync(() => new EmbeddingPool({ dir: settings.dir, threads: settings.threads, cachedBytesMax })),
        // A worker is never ended in the middle of a run: that would abort the whole process.
        (pool) => Effect.promise(() => pool.close())
      )
      const room = yield* Semaphore.make(waitingTextsMax)

      const submit = (texts: ReadonlyArray<string>, interactive: boolean): Effect.Effect<ReadonlyArray<Float32Array>, EmbeddingError> =>
        Effect.callback((resume) => {
          const cancel = pool.submit(texts, interactive, (outcome) =>
            resume(outcome.ok ? Exit.succeed(outcome.vectors) : Exit.fail(new EmbeddingError({ reason: outcome.reason, message: outcome.message }))))
          return Effect.sync(cancel)
        })

      const [alone] = yield* submit([probe[0]], settings.first === "questions")
      pool.forget()
      const [beside] = yield* submit(probe, settings.first === "questions")
      const dimensions = alone?.length ?? 0
      if (dimensions === 0 || alone === undefined || beside === undefined || alone.some((value, at) => value !== beside[at])) {
        return yield* new EmbeddingError({
          reason: "ModelUnsuitable",
          message: `${join(settings.dir, "model.onnx")} gives a text another vector when it is in a batch (dynamically quantised?); a rebuild would not equal the original, so use a model quantised in storage only`
        })
      }

      const embed = Effect.fnUntraced(function*(texts: ReadonlyArray<string>, options?: EmbedOptions): Effect.fn.Return<ReadonlyArray<Float32Array>, EmbeddingError> {
        if (options?.interactive === true) return yield* submit(texts, true)
        const slices = Array.from({ length: Math.ceil(texts.length / sliceSize) }, (_, n) => texts.slice(n * sliceSize, (n + 1) * sliceSize))
        const parts = yield* Effect.forEach(slices, (slice) => room.withPermits(slice.length)(submit(slice, false)), { concurrency: 4 })
        return parts.flat()
      })
      return Embeddings.of({ embed, modelHash, dimensions, known: knownShare(() => tokenizer.toString("utf8")) })
    })
  )

/** Vector of a text as the normalised sum of one pseudo-random direction per word: texts that share words are near, and no model is needed. */
const hashedVector = (text: string, dimensions: number): Float32Array => {
  const sum = new Float32Array(dimensions)
  for (const word of ["", ...words(text)]) {
    let seed = createHash("sha256").update(word).digest()
    for (let at = 0; at < dimensions; at++) {
      if (at > 0 && at % 32 === 0) seed = createHash("sha256").update(seed).digest()
      // The empty word keeps texts without words from being zero, and counts little in the others.
      sum[at] = (sum[at] ?? 0) + ((seed[at % 32] ?? 0) - 127.5) * (word === "" ? 0.1 : 1)
    }
  }
  return roundedUnit(sum, dimensions) ?? sum
}

/** Vectors by hashing words: instant, the same everywhere, related only through shared words. For pure tests. */
export const layerDeterministic: Layer.Layer<Embeddings> = Layer.succeed(
  Embeddings,
  Embeddings.of({
    embed: (texts) => Effect.sync(() => texts.map((text) => hashedVector(text, 64))),
    modelHash: "hashed-words-64",
    dimensions: 64
  })
)
