/** Lengths of texts in o200k tokens, the unit evidence is budgeted in. */
import { countTokens } from "gpt-tokenizer/encoding/o200k_base"

/** Longer pieces are counted in parts: the tokenizer's time grows faster than the text where there are no spaces. */
const pieceCharacters = 20_000

/** Tokens of a text; of a text above 20,000 characters within a few tokens of it. */
export const tokensOf = (text: string): number => {
  let sum = 0
  // Special tokens written out in a text are counted as the text they are.
  for (let at = 0; at < text.length; at += pieceCharacters) sum += countTokens(text.slice(at, at + pieceCharacters), { disallowedSpecial: new Set() })
  return sum
}

const counted = new WeakMap<object, number>()

/** Tokens of a memory's text, counted once for as long as the index holds the memory. */
export const memoryTokens = (memory: { readonly text: string }): number => {
  const known = counted.get(memory)
  if (known !== undefined) return known
  const tokens = tokensOf(memory.text)
  counted.set(memory, tokens)
  return tokens
}
