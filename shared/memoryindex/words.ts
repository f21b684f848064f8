/**
 * The words of a text as the index counts them: lower case, without diacritics, English stems, no stop words; Chinese, Japanese
 * and Korean runs, which have no spaces, as pairs of neighbouring characters, and Chinese characters by themselves too.
 */
import { createRequire } from "node:module"

const stem = createRequire(import.meta.url)("wink-porter2-stemmer") as (word: string) => string

/** Words too frequent in talk to tell memories apart. Short forms are listed as the pieces an apostrophe leaves. */
const stopWords = new Set(
  (
    "a about am an and any are as at be because been being both but by can could d did do does doing don each few for from had has have having he her here hers " +
    "him his how i if in into is it its just ll m me more most my of off on once or other our out own re s same she should so some such t than that the their " +
    "them then there these they this those through to too up us ve very was we were what when where which while who whom why will with would you your yours"
  ).split(" ")
)

const han = /\p{Script=Han}/u
const cjk = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u
// Bounded, because the engine's stack grows with the length of a run and a text may be one run of millions.
const runs = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}ー]{1,10000}|[\p{L}\p{N}]{1,10000}/gu
const ascii = /^[a-z0-9]*$/
/** Most texts: the same runs, found several times as fast. */
const onlyAscii = /^[\x00-\x7f]*$/
export const isAscii = (text: string): boolean => onlyAscii.test(text)
/** A run of letters and digits beyond this is another word, as in the patterns here. */
export const runLengthMax = 10_000
const asciiRuns = /[a-z0-9]{1,10000}/g

/** Longer runs are no words; a hash or a key is cut so that it cannot fill the index. */
export const wordLengthMax = 40
/** Stems kept; a store's vocabulary is some ten thousand words. */
const stemsMax = 100_000
const stems = new Map<string, string>()

const stemOf = (word: string): string => {
  const known = stems.get(word)
  if (known !== undefined) return known
  const found = stem(word)
  if (stems.size >= stemsMax) stems.clear()
  stems.set(word, found)
  return found
}

/** Every word of a text in order, unstemmed, stop words included; of CJK runs the Chinese characters, then the character pairs. */
export const words = (text: string): Array<string> => {
  const plain = text.toLowerCase()
  const found: Array<string> = []
  if (isAscii(plain)) {
    for (const run of plain.match(asciiRuns) ?? []) found.push(run.length > wordLengthMax ? run.slice(0, wordLengthMax) : run)
    return found
  }
  const folded = plain.normalize("NFKD").replace(/\p{M}+/gu, "").normalize("NFC")
  for (const run of folded.match(runs) ?? []) {
    if (!ascii.test(run) && cjk.test(run)) {
      const characters = [...run]
      for (const character of characters) if (characters.length === 1 || han.test(character)) found.push(character)
      for (let at = 0; at + 1 < characters.length; at++) found.push(`${characters[at] ?? ""}${characters[at + 1] ?? ""}`)
    } else found.push(run.slice(0, wordLengthMax))
  }
  return found
}

/** Short names of months; "mar" is left out, a word of other languages. */
const months = new Map(Object.entries({ jan: "january", feb: "february", apr: "april", jun: "june", jul: "july", aug: "august", sep: "september", sept: "september", oct: "october", nov: "november", dec: "december" }))
const ordinal = /^\d{1,2}(?=(?:st|nd|rd|th)$)/

/** One way of writing a date's parts: "Jan 13th" is found by "13 January". */
const plainWord = (word: string): string => months.get(word) ?? ordinal.exec(word)?.[0] ?? word

/** The term a word is indexed and searched by; nothing for stop words. */
export const termOf = (word: string): string | undefined => (stopWords.has(word) ? undefined : ascii.test(word) ? stemOf(plainWord(word)) : word)

/** The terms a text is indexed and searched by, in order, repeated as often as they occur. */
export const terms = (text: string): Array<string> => {
  const found: Array<string> = []
  for (const word of words(text)) {
    const term = termOf(word)
    if (term !== undefined) found.push(term)
  }
  return found
}
