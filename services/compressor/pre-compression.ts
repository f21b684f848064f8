/**
 * Pre-compression: what a model that extracts facts has to read is made shorter first. By LLMLingua-2 where its weights are there, else by
 * leaving out function words. Only the prompt is shorter: the raw turn stays as it was said.
 */
import { Config, Effect, Option, type Scope } from "effect"
import { type ClassifierFailed, openClassifier } from "./construction/onnx-classifier.ts"
import { compressLexically } from "./construction/lexical-compressor.ts"
import { compress, defaultCompression, strictCompression } from "./construction/llmlingua.ts"

export const settings = Config.all({
  /** How turns are shortened for a model that extracts: `auto` = LLMLingua-2 where its folder is set, else by words. */
  compression: Config.Literals(["auto", "none", "words", "llmlingua"], "METAMEM_COMPRESSION").pipe(Config.withDefault("auto" as const)),
  /** Folder with `model.onnx` and `tokenizer.json` of the token classifier. */
  classifierDir: Config.String("METAMEM_LLMLINGUA_DIR").pipe(Config.option),
  /** Share of tokens to keep, (0, 1]. */
  rate: Config.Finite("METAMEM_COMPRESSION_RATE").pipe(Config.withDefault(0.8)),
  /** Exactly the published results: digits, dates, names and negations are not protected. */
  strict: Config.Boolean("METAMEM_COMPRESSION_STRICT").pipe(Config.withDefault(false))
})
export type CompressionChoice = Config.Success<typeof settings>

/** Shortens one text; never to nothing, and never fails: a text that cannot be compressed stays whole. */
export type PreCompressor = (text: string) => Effect.Effect<string>

/** Opens the classifier where one is used. A folder that cannot be used is said aloud, and words are left out instead. */
export const preCompressor = ({ classifierDir, compression, rate, strict }: CompressionChoice): Effect.Effect<PreCompressor, never, Scope.Scope> =>
  Effect.gen(function*() {
    const byWords: PreCompressor = (text) => Effect.sync(() => compressLexically(text, rate) || text)
    if (compression === "none") return (text: string) => Effect.succeed(text)
    if (compression === "words" || Option.isNone(classifierDir)) {
      if (compression === "llmlingua") yield* Effect.logWarning("METAMEM_COMPRESSION is llmlingua, but METAMEM_LLMLINGUA_DIR names no folder; words are left out instead")
      return byWords
    }
    const opened = yield* Effect.result(
      Effect.acquireRelease(
        Effect.tryPromise({ try: () => openClassifier(classifierDir.value), catch: (error) => error as ClassifierFailed }),
        (classifier) => Effect.promise(() => classifier.close())
      )
    )
    if (opened._tag === "Failure") {
      yield* Effect.logWarning(`LLMLingua-2 cannot be used, words are left out instead: ${opened.failure.message}`)
      return byWords
    }
    const { classify, tokenizer } = opened.success
    const choice = { ...(strict ? strictCompression : defaultCompression), rate }
    return (text: string) =>
      Effect.tryPromise(() => compress(text, tokenizer, classify, choice)).pipe(
        Effect.map((shorter) => (shorter.trim() === "" ? text : shorter)),
        Effect.catch((error) => Effect.as(Effect.logWarning("a text could not be compressed and stays whole", error), text))
      )
  })
