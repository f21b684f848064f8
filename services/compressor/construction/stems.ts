/** Word stems of a text with their counts, for lexical cohesion: what two stretches of talk have in common without any model. */
import { createRequire } from "node:module"

// The package is CommonJS without types.
const stem = createRequire(import.meta.url)("wink-porter2-stemmer") as (word: string) => string

const stop = new Set(
  ("a about above after again all also am an and any are as at be because been before being below between both but by can could did do does doing down during each even few for from further get got had has have having he her here hers " +
    "him his how i if in into is it its itself just let like make many may me might more most much my myself need no nor not now of off ok okay on once one only or other our out over own please really same she should so some such sure than " +
    "thank thanks that the their them then there these they thing things this those through to too try under until up use used very want was way we well were what when where which while who why will with would yes you your yours " +
    "i'm i've i'd i'll it's that's don't you're can't here's let's great good help know think look consider including recommend suggest option options tips idea ideas").split(" ")
)
const word = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]+|[\p{L}\p{N}][\p{L}\p{M}\p{N}']*/gu
const unspaced = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u
const known = new Map<string, string>()
const knownLimit = 20_000
/** Characters of one text that are looked at. */
const stemScanLimit = 8_000

const stemOf = (raw: string): string => {
  const before = known.get(raw)
  if (before !== undefined) return before
  const stemmed = raw.length > 40 || !/^[a-z']+$/.test(raw) ? raw : stem(raw)
  if (known.size >= knownLimit) known.clear()
  // A word cut out of a text would keep all of the text in memory.
  const own = ` ${raw}`.slice(1)
  known.set(own, stemmed === raw ? own : stemmed)
  return stemmed
}

/** Stems of content words with counts; scripts without spaces give pairs of neighbouring characters. */
export const stemsOf = (text: string): Map<string, number> => {
  const counts = new Map<string, number>()
  const add = (key: string): void => void counts.set(key, (counts.get(key) ?? 0) + 1)
  for (const [raw] of text.slice(0, stemScanLimit).toLowerCase().replaceAll("’", "'").matchAll(word)) {
    if (unspaced.test(raw)) {
      for (let i = 0; i + 1 < raw.length; i++) add(raw.slice(i, i + 2))
    } else if (raw.length > 1 && !stop.has(raw)) add(stemOf(raw))
  }
  return counts
}

/** Adds `more` to `into`. */
export const addStems = (into: Map<string, number>, more: ReadonlyMap<string, number>): void => {
  for (const [key, count] of more) into.set(key, (into.get(key) ?? 0) + count)
}

/** Cosine of two counts with weights 1 + ln(count), in [0, 1]; 0 when either is empty. */
export const cohesion = (a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number => {
  if (a.size > b.size) return cohesion(b, a)
  let dot = 0
  let aa = 0
  let bb = 0
  for (const [key, count] of a) {
    const weight = 1 + Math.log(count)
    aa += weight * weight
    const other = b.get(key)
    if (other !== undefined) dot += weight * (1 + Math.log(other))
  }
  for (const count of b.values()) bb += (1 + Math.log(count)) ** 2
  return aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb)
}
