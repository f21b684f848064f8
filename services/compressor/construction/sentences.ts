/** Splits a turn's text into sentences, with markdown and code taken out; the first step of the rule-based extractor. */

/** Text beyond this many characters of one turn is pasted material, not talk, and is left to the verbatim memory. */
const sentenceScanLimit = 20_000

const abbreviations = new Set(
  ["mr", "mrs", "ms", "dr", "prof", "st", "mt", "jr", "sr", "vs", "etc", "e.g", "i.e", "a.m", "p.m", "no", "approx", "dept", "inc", "ltd", "co", "u.s", "u.k", "fig", "vol"]
)

/** Lines without fenced code, headings' and quotes' marks, emphasis, or link targets; list items keep their text. */
const plainLines = (text: string): ReadonlyArray<string> =>
  text
    .slice(0, sentenceScanLimit)
    .replace(/```[\s\S]*?(?:```|$)/g, "\n")
    .replace(/!?\[([^\]\n]{1,300})\]\([^)\s]{1,2000}\)/g, "$1")
    .replace(/https?:\/\/\S+/g, "")
    .replace(/[‘’]/g, "'")
    .replace(/[“”]/g, "\"")
    .replace(/\*\*|__|`/g, "")
    .split(/\r?\n/)
    .map((line) => line.replace(/^\s*(?:#{1,6}\s+|>\s*|[-*•]\s+|\d{1,3}[.)]\s+)/, "").replace(/\s+/g, " ").trim())
    .filter((line) => line !== "" && !line.startsWith("|"))

/**
 * Sentences in order, trimmed. A full stop ends one unless it follows an abbreviation, an initial or stands inside a number; line ends
 * always do. CJK, Arabic and Indic marks end a sentence without a space.
 */
export const sentencesOf = (text: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (const line of plainLines(text)) {
    let start = 0
    for (const match of line.matchAll(/[.!?…]+["')\]]*(?=\s|$)|[。！？؟۔।]["')\]」』”]*/g)) {
      const end = match.index + match[0].length
      if (match[0] === ".") {
        const word = /[\p{L}.]+$/u.exec(line.slice(Math.max(0, match.index - 12), match.index))?.[0] ?? ""
        const initial = word.length === 1 && word !== "I"
        const known = abbreviations.has(word.toLowerCase())
        // "5 p.m. We left" ends a sentence, "5 p.m. on Monday" does not.
        const followed = /^\s+[A-Z]/.test(line.slice(end))
        const closes = /^(?:a\.m|p\.m|etc|u\.s|u\.k)$/i.test(word) && followed
        if ((initial || known) && !closes && end < line.length) continue
      }
      const sentence = line.slice(start, end).trim()
      if (sentence !== "") found.push(sentence)
      start = end
    }
    const rest = line.slice(start).trim()
    if (rest !== "") found.push(rest)
  }
  return found
}
