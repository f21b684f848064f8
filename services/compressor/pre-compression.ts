/**
 * Pre-compression: what a model that extracts facts has to read is made shorter first. By LLMLingua-2 where its classifier is open, else by
 * leaving out function words. Only the prompt is shorter: the raw turn stays as it was said.
 */
import { Config, Effect } from "effect"
import { Share } from "#shared/home/setting-values"
import { compressLexically } from "./construction/lexical-compressor.ts"
import { compress, defaultCompression, strictCompression } from "./construction/llmlingua.ts"
import type { OnnxClassifier } from "./construction/onnx-classifier.ts"

export const settings = Config.all({
  /** How turns are shortened for a model that extracts: `auto` = LLMLingua-2 where its classifier is named, else by words. */
  compression: Config.Literals(["auto", "none", "words", "llmlingua"], "METAMEM_COMPRESSION").pipe(Config.withDefault("auto" as const)),
  /** Share of tokens to keep, (0, 1]. */
  rate: Config.schema(Share, "METAMEM_COMPRESSION_RATE").pipe(Config.withDefault(0.8)),
  /** Exactly the published results: digits, dates, names and negations are not protected. */
  strict: Config.Boolean("METAMEM_COMPRESSION_STRICT").pipe(Config.withDefault(false))
})
export type CompressionChoice = Config.Success<typeof settings>

/** Shortens one text; never to nothing, and never fails: a text that cannot be compressed stays whole. */
export type PreCompressor = (text: string) => Effect.Effect<string>

/** The pre-compressor in force. @param classifier undefined where none is open */
export const preCompressor = ({ compression, rate, strict }: CompressionChoice, classifier: Pick<OnnxClassifier, "classify" | "tokenizer"> | undefined): Effect.Effect<PreCompressor> =>
  Effect.gen(function*() {
    if (compression === "none") return (text: string) => Effect.succeed(text)
    if (compression === "words" || classifier === undefined) {
      if (compression === "llmlingua") yield* Effect.logWarning("METAMEM_COMPRESSION is llmlingua, but no classifier is open (see METAMEM_LLMLINGUA_DIR and METAMEM_LLMLINGUA_URL); words are left out instead")
      return (text: string) => Effect.sync(() => compressLexically(text, rate) || text)
    }
    const { classify, tokenizer } = classifier
    const choice = { ...(strict ? strictCompression : defaultCompression), rate }
    return (text: string) =>
      Effect.tryPromise(() => compress(text, tokenizer, classify, choice)).pipe(
        Effect.map((shorter) => (shorter.trim() === "" ? text : shorter)),
        Effect.catch((error) => Effect.as(Effect.logWarning("a text could not be compressed and stays whole", error), text))
      )
  })
