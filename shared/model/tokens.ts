/** Lengths of texts in o200k tokens: the unit that evidence, segments and prompts are budgeted in. */
import { countTokens, setMergeCacheSize } from "gpt-tokenizer/encoding/o200k_base"
import { O200K_TOKEN_SPLIT_REGEX as pieces } from "gpt-tokenizer/encodingParams/constants"

/** The tokenizer's time grows with the square of what it takes as one word, and a text without spaces is one word: it is cut here. */
const pieceCharacters = 256
/** What stands beyond is reckoned from what stands before: no budget is anywhere near so large. */
const countedCharacters = 100_000
/** Special tokens written out in a text are counted as the text they are. */
const asText = { disallowedSpecial: new Set<string>() }

/** Tokens of words with what goes before them: most texts are made of the same ones, and looking them up takes a fourth of counting them. */
const known = new Map<string, number>()
const knownMax = 20_000
/** The tokenizer keeps words too: of those that are too long for here a few are enough, where a hundred thousand took twenty megabytes. */
setMergeCacheSize(1_000)
/** A longer part of a text is no copy, and would keep the whole of it in memory. */
const knownCharacters = 12

const tokensIn = (piece: string): number => {
  const found = known.get(piece)
  if (found !== undefined) return found
  let sum = 0
  for (let from = 0; from < piece.length; from += pieceCharacters) sum += countTokens(piece.slice(from, from + pieceCharacters), asText)
  if (piece.length <= knownCharacters) {
    if (known.size === knownMax) known.clear()
    known.set(piece, sum)
  }
  return sum
}

const counted = (text: string): number => {
  let sum = 0
  for (const piece of text.match(pieces) ?? []) sum += tokensIn(piece)
  return sum
}

/** Tokens of a text: exact but for words above 256 characters, within a few of a hundred there, and above 100,000 characters. */
export const tokensOf = (text: string): number =>
  text.length <= countedCharacters ? counted(text) : Math.round((counted(text.slice(0, countedCharacters)) / countedCharacters) * text.length)
