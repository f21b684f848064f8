/**
 * Words that compression never drops: what carries digits, dates, names and negations. A sentence that loses "not" or "14 March" says
 * something else, and a memory made of it would be wrong.
 */
import { termOf } from "#shared/memoryindex/words"

const dateWords = new Set(
  ("january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday " +
    "mon tue wed thu fri sat sun today tonight yesterday tomorrow ago last next day days week weeks weekend month months year years hour hours minute minutes morning noon afternoon evening night midnight " +
    "am pm since until before after during daily weekly monthly yearly once twice spring summer autumn winter christmas easter birthday anniversary").split(" ")
)
const numberWords = new Set(
  ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion " +
    "dozen half quarter double first second third fourth fifth percent").split(" ")
)
const negations = new Set(
  ("not no never none nobody nothing nowhere neither nor cannot without hardly barely scarcely unless except stopped quit nicht kein keine ne pas non sin nunca").split(" ")
)
const units = /^[$€£¥%°#@]$/
const bare = /^[^\p{L}\p{N}$€£¥%°#@]+|[^\p{L}\p{N}$€£¥%°#@]+$/gu
const sentenceEnd = /[.!?…:;"\n]$/
const commonCapitals = new Set(["I", "I'm", "I've", "I'd", "I'll", "A", "OK"])

const isCapitalised = (word: string): boolean => /^\p{Lu}/u.test(word) && !commonCapitals.has(word)
const isCarrying = (word: string): boolean => {
  const lower = word.toLowerCase()
  return /\p{N}/u.test(word) || dateWords.has(lower) || numberWords.has(lower) || negations.has(lower) || lower.endsWith("n't") || lower.endsWith("n’t") || units.test(word)
}

/**
 * One flag per word, in order. Works on words with punctuation attached ("Brennick,") and on words split at punctuation ("don", "'",
 * "t"). A capitalised word is a name unless it opens a sentence and is a function word or seen small elsewhere; in doubt it stays.
 */
export const protectedWords = (words: ReadonlyArray<string>): ReadonlyArray<boolean> => {
  const cores = words.map((word) => word.replace(bare, "") || word)
  const namesInside = new Set<string>()
  const small = new Set(cores.filter((core) => !/^\p{Lu}/u.test(core)))
  const opens = words.map((_, i) => i === 0 || sentenceEnd.test(words[i - 1] as string))
  cores.forEach((core, i) => {
    if (!opens[i] && isCapitalised(core)) namesInside.add(core)
  })
  const flags = cores.map((core, i) => isCarrying(core) || (isCapitalised(core) && (!opens[i] || namesInside.has(core) || /^\p{Lu}{2,}$/u.test(core) || (termOf(core.toLowerCase()) !== undefined && !small.has(core.toLowerCase())))))
  words.forEach((word, i) => {
    // "don ' t", "10 : 30", "3 . 5", "5 - 7": marks between parts of one token belong to it.
    if (word.length !== 1 || i === 0 || i + 1 >= words.length) return
    const before = words[i - 1] as string
    const after = words[i + 1] as string
    if (/['’]/.test(word) && /n$/i.test(before) && /^t$/i.test(after)) flags[i - 1] = flags[i] = flags[i + 1] = true
    else if (/[:.,/-]/.test(word) && /\d$/.test(before) && /^\d/.test(after)) flags[i] = true
  })
  return flags
}
