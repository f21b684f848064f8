/**
 * Compression for machines without classifier weights: drops the words that carry least, by a fixed table, until a share of the words
 * is left. Digits, dates, names and negations always stay. The compressed text only feeds prompts; the raw turn is never replaced.
 */
import { protectedWords } from "./protection.ts"

/** Class of words that say where and when, and say it of the word behind them. */
const placing = 2
/**
 * Classes of droppable words, emptiest first. A word's class is the first that lists it. What makes a sentence a plan, a guess, a condition
 * or a liking is in none: "I move to Oslo" is no short form of "I might move to Oslo".
 */
const classes: ReadonlyArray<ReadonlySet<string>> = [
  "um uh er hmm well oh ah wow haha lol basically literally actually really very quite just simply honestly obviously please thanks thank anyway so okay ok yeah yes sure great",
  "the a an",
  "of to in on at for with by from as into onto upon over about up down out off through",
  "is are was were be been being am do does did has have had can",
  "that this these those which who whom whose it its they them their he she him her his i me my mine we us our you your there here",
  "and or but while when where then than too also"
].map((words) => new Set(words.split(" ")))

/** Words looked at; the rest of a longer text is left out with a mark, as no prompt would hold it. */
const lexicalWordLimit = 20_000

const rank = (word: string): number => {
  const core = word.toLowerCase().replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "")
  if (core === "") return -1
  const at = classes.findIndex((set) => set.has(core))
  return at < 0 ? classes.length : at
}

/**
 * Keeps at least a share `rate` of the words, (0, 1], dropping function words and fillers class by class and, in a class, from the end
 * backwards evenly; content words are never dropped, so a dense text stays longer than asked, nor is "from" in "from Bergen" or "until" a
 * date. Line breaks become spaces.
 */
export const compressLexically = (text: string, rate: number): string => {
  const all = text.split(/\s+/).filter((word) => word !== "")
  const words = all.slice(0, lexicalWordLimit)
  if (rate >= 1 || words.length < 2) return text.trim()
  const kept = protectedWords(words)
  const ranks = words.map(rank)
  let toDrop = Math.floor(words.length * (1 - rate))
  const dropped = new Set<number>()
  for (let level = 0; level < classes.length && toDrop > 0; level++) {
    const candidates = words.flatMap((_, i) => (ranks[i] === level && !kept[i] && !(level === placing && kept[i + 1]) ? [i] : []))
    const take = Math.min(toDrop, candidates.length)
    // Evenly over the text, so that no part of it is squeezed more than another.
    for (let n = 0; n < take; n++) dropped.add(candidates[Math.floor(((n + 0.5) * candidates.length) / take)] as number)
    toDrop -= take
  }
  const sentence = words.flatMap((word, i) => {
    if (!dropped.has(i)) return [word]
    const mark = /[.!?]["')\]]*$/.exec(word)?.[0]
    return mark === undefined ? [] : [mark]
  }).join(" ").replace(/ ([.!?]["')\]]*)(?= |$)/g, "$1")
  const left = all.length > words.length ? `${sentence} […]` : sentence
  return left.trim() === "" ? text.trim() : left
}
