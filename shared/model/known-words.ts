/**
 * How much of a text a model has tokens for. A vector made of "unknown" says nothing, and a model for one language knows few signs of
 * another: the default one reads two of three Chinese characters as the same token.
 */
import { Result, Schema } from "effect"

const Parts = Schema.Struct({
  model: Schema.Struct({
    type: Schema.optionalKey(Schema.String),
    byte_fallback: Schema.optionalKey(Schema.NullOr(Schema.Boolean)),
    vocab: Schema.Union([Schema.Record(Schema.String, Schema.Unknown), Schema.Array(Schema.Tuple([Schema.String, Schema.Unknown]))])
  }),
  pre_tokenizer: Schema.optionalKey(Schema.Unknown),
  decoder: Schema.optionalKey(Schema.Unknown)
})

/** Scripts that put no blanks between words: a sign of theirs counts as much as a word of another. */
const unspaced = "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}"
const units = new RegExp(`[${unspaced}]|[[\\p{L}\\p{N}]--[${unspaced}]]+`, "vg")

const letters = (text: string): string => text.normalize("NFKD").toLowerCase().replace(/\p{M}+/gu, "")

/** Least share of a question's words that a model has to know for its vector to count. */
export const knownMin = 0.5

/** Letters of all pieces; undefined where everything counts as known. */
const lettersOf = (tokenizer: string): ReadonlySet<string> | undefined => {
  const parsed = Schema.decodeUnknownResult(Schema.fromJsonString(Parts))(tokenizer)
  if (Result.isFailure(parsed)) return undefined
  const { decoder, model, pre_tokenizer: before } = parsed.success
  if (model.byte_fallback === true || /"Byte(?:Level|Fallback)"/.test(JSON.stringify([before, decoder]))) return undefined
  const known = new Set<string>()
  const pieces = Array.isArray(model.vocab) ? model.vocab.map(([piece]) => piece) : Object.keys(model.vocab)
  for (const piece of pieces) for (const sign of letters(piece)) known.add(sign)
  return known
}

/**
 * From the content of a `tokenizer.json`, read when first asked: share, from 0 to 1, of a text's words of which the vocabulary has all
 * letters; 1 for a text without words. Of a tokenizer that falls back on bytes, or cannot be read, everything counts as known.
 */
export const knownShare = (tokenizer: () => string): (text: string) => number => {
  let read: { readonly known: ReadonlySet<string> | undefined } | undefined
  return (text) => {
    const known = (read ??= { known: lettersOf(tokenizer()) }).known
    const found = known === undefined ? [] : (text.normalize("NFC").match(units) ?? [])
    return found.length === 0 ? 1 : found.filter((unit) => [...letters(unit)].every((sign) => known?.has(sign))).length / found.length
  }
}
