/** Lengths of texts in o200k tokens: the unit that evidence, segments and prompts are budgeted in. */
import { countTokens } from "gpt-tokenizer/encoding/o200k_base"

/** The tokenizer's time grows with the square of what it takes as one word, and a text without spaces is one word: it is cut here. */
const windowCharacters = 256
const cutCharacters = 128
/** What stands beyond is reckoned from what stands before: no budget is anywhere near so large. */
const countedCharacters = 100_000

/** A space between two letters or digits: the tokenizer always begins a new word there, so counting in parts changes nothing. */
const isBetweenWords = (text: string, at: number): boolean => text[at] === " " && wordCharacter.test(text[at - 1] ?? "") && wordCharacter.test(text[at + 1] ?? "")
const wordCharacter = /[\p{L}\p{N}]/u

/** Special tokens written out in a text are counted as the text they are. */
const asText = { disallowedSpecial: new Set<string>() }
const whole = (text: string): number => countTokens(text, asText)

/** A text without a long run of spaces or of other characters has no long word, and is counted best as it is; most texts are so. */
const longRun = 128
const hasLongRun = (text: string): boolean => {
  let from = 0
  let isOfSpaces = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    // Either kind, to be sure.
    if (code > 0x7f) continue
    if (at - from >= longRun) return true
    if (code <= 0x20 === isOfSpaces) continue
    from = at
    isOfSpaces = code <= 0x20
  }
  return text.length - from >= longRun
}

const counted = (text: string): number => {
  if (!hasLongRun(text)) return whole(text)
  let sum = 0
  for (let from = 0; from < text.length;) {
    let to = text.length
    if (to - from > windowCharacters) {
      to = from + windowCharacters
      while (to > from && !isBetweenWords(text, to)) to -= 1
      if (to === from) to = from + cutCharacters
    }
    sum += whole(text.slice(from, to))
    from = to
  }
  return sum
}

/** Tokens of a text: exact where words are parted by spaces, within a few of a hundred elsewhere and above 100,000 characters. */
export const tokensOf = (text: string): number =>
  text.length <= countedCharacters ? counted(text) : Math.round((counted(text.slice(0, countedCharacters)) / countedCharacters) * text.length)
