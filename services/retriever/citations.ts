/**
 * Which evidence an answer rests on. A reader shown numbered memories may put their numbers behind what it says; a number counts only
 * where such a memory was shown and the reader did not merely repeat what a memory says. Where it gave none, memories that hold
 * the answer's own words stand in, and are labelled so.
 */
import type { EvidenceItem } from "#shared/domain/evidence"
import { terms } from "#shared/memoryindex/words"
import { isAbstention } from "#shared/metamemory/lexical"
import type { Citation } from "./protocol.ts"

/** `[3]` or `[1, 4]`, with the blanks before it; of at most three digits, so that a year in brackets is none. */
const marks = /[ \t\u00a0]*\[([1-9]\d{0,2}(?:\s*[,;]\s*[1-9]\d{0,2})*)\]/g
/** What stands between backquotes is code, where brackets mean something else. */
const code = /```[\s\S]*?(?:```|$)|`[^`\n]*`/g
/** Letters before a mark that agree with a memory's when the mark is a repetition. */
const repeatedLetters = 6

const squeezed = (text: string): string => text.toLowerCase().replace(/\s+/g, "")

export interface ReadAnswer {
  /** Without marks. */
  readonly answer: string
  /** With the marks of memories that were shown, each as `[n]`. */
  readonly marked: string
  /** Places in the evidence from 1, in order of first mention. */
  readonly numbers: ReadonlyArray<number>
}

/** Reads and takes out the marks of a reply to a prompt with numbered evidence. Numbers of nothing are dropped. */
export const readMarks = (reply: string, evidence: ReadonlyArray<Pick<EvidenceItem, "text">>): ReadAnswer => {
  const said = evidence.map(({ text }) => squeezed(text))
  const blocks = [...reply.matchAll(code)].map((block) => [block.index, block.index + block[0].length] as const)
  const numbers = new Set<number>()
  const isText = (mark: string, at: number): boolean => {
    if (blocks.some(([start, end]) => at >= start && at < end)) return true
    const before = squeezed(reply.slice(0, at)).slice(-repeatedLetters)
    return before.length === repeatedLetters && said.some((text) => text.includes(`${before}${squeezed(mark)}`))
  }
  const known = (list: string): ReadonlyArray<number> => list.split(/[,;]/).map(Number).filter((number) => number <= evidence.length)
  const written = (keep: boolean): string =>
    reply.replace(marks, (mark: string, list: string, at: number) => {
      if (isText(mark, at)) return mark
      const found = known(list)
      for (const number of found) numbers.add(number)
      return keep && found.length > 0 ? `${/^\s/.test(mark) ? " " : ""}${found.map((number) => `[${number}]`).join("")}` : ""
    }).replace(/^[ \t]+(?=\S)/, "")
  return { answer: written(false).trim(), marked: written(true).trim(), numbers: [...numbers] }
}

const monthNames = "January February March April May June July August September October November December".split(" ")
/** A memory's own time, as people write it. */
const dayOf = (time: string): string => {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)/.exec(time) ?? []
  return year === undefined ? "" : `${year} ${monthNames[Number(month) - 1] ?? ""} ${Number(day)}`
}

/** Words that answers begin or excuse themselves with; no memory supports them. */
const filler = new Set(terms("yes no not never okay sure answer question according based memory memories mentioned said know"))
/** Memories named for one answer by its words, at most. */
const supportsMax = 3
/** Share of the answer's words, weighed by rarity, that all named memories have to hold, and that each has to add. */
const coverageMin = 0.5
const gainMin = 0.25

/**
 * Places (from 1) of memories that together hold the words an answer adds to its question. None where they hold less than half of them:
 * an answer made up must not look supported. Words count by their rarity in the evidence.
 */
export const supportedBy = (question: string, answer: string, evidence: ReadonlyArray<EvidenceItem>): ReadonlyArray<number> => {
  const asked = new Set(terms(question))
  const own = new Set(terms(answer).filter((term) => !filler.has(term)))
  const added = [...own].filter((term) => !asked.has(term))
  // "Red or green?" – "Green": all that it says was in the question.
  const wanted = added.length > 0 ? added : [...own]
  if (wanted.length === 0) return []
  const held = evidence.map(({ speaker, text, time }) => {
    const found = new Set(terms(`${text} ${speaker} ${dayOf(time)}`))
    return new Set(wanted.filter((term) => found.has(term)))
  })
  const weights = new Map(wanted.map((term) => [term, Math.log(1 + evidence.length / Math.max(1, held.filter((terms) => terms.has(term)).length))]))
  const weigh = (terms: Iterable<string>): number => [...terms].reduce((sum, term) => sum + (weights.get(term) ?? 0), 0)
  const all = weigh(wanted)
  const open = new Set(wanted)
  const chosen: Array<number> = []
  while (chosen.length < supportsMax) {
    const gains = held.map((terms, place) => (chosen.includes(place + 1) ? 0 : weigh([...terms].filter((term) => open.has(term)))))
    let best = 0
    gains.forEach((gain, place) => {
      const least = gains[best] ?? 0
      if (gain > least || (gain === least && (evidence[place]?.score ?? 0) > (evidence[best]?.score ?? 0))) best = place
    })
    const gain = gains[best] ?? 0
    if (gain === 0 || gain < gainMin * all) break
    chosen.push(best + 1)
    for (const term of held[best] ?? []) open.delete(term)
  }
  return all - weigh(open) >= coverageMin * all ? chosen.sort((a, b) => a - b) : []
}

/** What an answer rests on; nothing when it says that the answer is not known. @param numbers the reader's own, if any */
export const citationsOf = (question: string, answer: string, numbers: ReadonlyArray<number>, evidence: ReadonlyArray<EvidenceItem>): ReadonlyArray<Citation> => {
  if (isAbstention(answer)) return []
  const by = numbers.length > 0 ? "reader" : "words"
  return (numbers.length > 0 ? numbers : supportedBy(question, answer, evidence)).flatMap((number) => {
    const item = evidence[number - 1]
    return item === undefined ? [] : [{ number, memoryId: item.memoryId, turns: item.turns, by }]
  })
}
