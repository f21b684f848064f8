/** Tokens of memories, counted once: a budget is filled from the same memories over and over. */
import { tokensOf } from "#shared/model/tokens"

/** Tokens an item of evidence costs besides its text: date, speaker, line. */
export const itemTokens = 12

const counted = new WeakMap<object, number>()

/** Tokens of a memory's text, counted once for as long as the index holds the memory. */
export const memoryTokens = (memory: { readonly text: string }): number => {
  const known = counted.get(memory)
  if (known !== undefined) return known
  const tokens = tokensOf(memory.text)
  counted.set(memory, tokens)
  return tokens
}
