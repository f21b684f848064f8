/**
 * Which date a sentence speaks of, resolved against the time it was said. Dates and relative phrases are found by chrono-node; this file
 * decides what they mean for a memory: a day, or the week, month or year a looser phrase stands for. All in UTC.
 */
import { type DateParts, datesIn } from "#shared/domain/dates-in-text"
import { pattern } from "#shared/domain/pattern"
import { irregularPast } from "./third-person.ts"

/** `meant` is a date `2026-03-04` or an interval `2026-03-01/2026-03-31`, both ends included; `phrase` stands at `index` in the sentence. */
export interface MeantTime {
  readonly meant: string
  readonly phrase: string
  readonly index: number
}

const dayMs = 86_400_000
const written = /^\d{4}-\d{2}-\d{2}(?:\/\d{4}-\d{2}-\d{2})?$/
const day = (at: number): string => new Date(at).toISOString().slice(0, 10)
const interval = (from: number, to: number): string => `${day(from)}/${day(to)}`
const monthOf = (at: number): string => {
  const date = new Date(at)
  return interval(Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1), Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0))
}
const yearOf = (year: number): string => `${year}-01-01/${year}-12-31`
const mondayOf = (at: number): number => at - ((new Date(at).getUTCDay() + 6) % 7) * dayMs

/** Cheap test that leaves out most sentences; chrono-node costs about a tenth of a millisecond. */
const mayHoldDate = pattern("i")`
  \b(?:yesterday|tomorrow|tonight|ago|last|next|past|previous|coming|this (?:week|weekend|month|year|mon|tue|wed|thu|fri|sat|sun)|weekend
  |(?:mon|tues|wednes|thurs|fri|satur|sun)day|jan(?:uary)?|feb(?:ruary)?|march|april|may|june|july|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?
  |nov(?:ember)?|dec(?:ember)?|mar|apr|jun|jul)\b|\d{1,2}[/.]\d{1,2}|\d{4}-\d{1,2}|\d(?:st|nd|rd|th)\b|\b(?:19|20)\d\d\b
  |\bin (?:a|an|two|three|four|\d+) (?:days?|weeks?|months?|years?)
`

const futureCue = pattern("i")`
  \b(?:will|won't|shall|gonna|going to|plan(?:s|ning)?|planned|next|tomorrow|upcoming|hop(?:e|ing)|scheduled|booked|appointment|deadline|due|about to
  |can't wait|looking forward)\b|'ll\b
`
const pastCue = new RegExp(String.raw`\b(?:${[...irregularPast].join("|")}|ago|yesterday|since|(?!married\b)\p{L}{3,}ed|(?<!(?:get|getting|be) )married)\b`, "giu")
/** "I'm preparing for the market on December 1st" looks ahead when nothing after it looks back. */
const progressive = /(?:'m|'re|\b(?:he|she|it)'s|\b(?:am|are|is)) (?:\w+ly )?(?!(?:amaz|excit|interest|bor|charm|stunn|miss|disappoint)ing\b)\w{2,}ing\b/gi
/** Words chrono-node reads as weekdays or months that are usually something else when written small and bare. */
const oftenOtherwise = /^(?:sat|sun|mar|may|march|mon|wed|dec|jan|now|second)$/
const unitOf = (phrase: string): "week" | "month" | "year" | undefined =>
  /\bweeks?\b/i.test(phrase) ? "week" : /\bmonths?\b/i.test(phrase) ? "month" : /\byears?\b/i.test(phrase) ? "year" : undefined

/** Short months that are people's names too, alone. */
const nameOrMonth = /^(?:Jan|April|May|June|August)$/
const beforeMonth = /\b(?:in|of|since|until|till|by|from|for|during|this|last|next|early|mid|late|before|after|around|the end of)[ -]$/

const lastPlace = (of: RegExp, sentence: string): number => [...sentence.matchAll(of)].at(-1)?.index ?? -1

type Tense = "past" | "future" | "unknown"
const tense = (sentence: string): Tense => {
  if (futureCue.test(sentence)) return "future"
  const [past, going] = [lastPlace(pastCue, sentence), lastPlace(progressive, sentence)]
  return past < 0 && going < 0 ? "unknown" : going > past ? "future" : "past"
}

const bareYear = /\b(?:in|since|of|during|until|till|by|around|early|late|mid|year|summer|winter|spring|autumn|fall)[ -]((?:19|20)\d\d)\b(?![-/]\d)/i
const dayOfMonth = /\bon the (\d{1,2})(?:st|nd|rd|th)\b(?! (?:floor|street|page|century|of\b))/i

const lastNight = (sentence: string, said: number): MeantTime | undefined => {
  const found = /\blast night\b/i.exec(sentence)
  return found === null ? undefined : { meant: day(said - dayMs), phrase: found[0], index: found.index }
}

const numberedDay = (sentence: string, said: number): MeantTime | undefined => {
  const found = dayOfMonth.exec(sentence)
  const number = Number(found?.[1])
  if (found === null || number < 1 || number > 31) return undefined
  const now = new Date(said)
  const direction = tense(sentence)
  const shift = direction === "past" && number > now.getUTCDate() ? -1 : direction === "future" && number < now.getUTCDate() ? 1 : 0
  const at = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + shift, number))
  return at.getUTCDate() === number ? { meant: day(at.getTime()), phrase: found[0].slice(3), index: found.index + 3 } : undefined
}

const yearAlone = (sentence: string): MeantTime | undefined => {
  const found = bareYear.exec(sentence)
  if (found?.[1] === undefined) return undefined
  return { meant: yearOf(Number(found[1])), phrase: found[1], index: found.index + found[0].length - 4 }
}

/** Moves a date that names no year (or, for a weekday, no week) to the side of the saying that `direction` asks for. */
const towards = (direction: Tense, at: number, said: number, certain: (part: "year" | "month" | "day" | "weekday") => boolean): number => {
  if (certain("year")) return at
  const date = new Date(at)
  if (certain("month")) {
    const days = certain("day") ? 0 : 31
    const shift = direction === "past" && at > said ? -1 : direction === "future" && at + days * dayMs < said - dayMs ? 1 : 0
    return Date.UTC(date.getUTCFullYear() + shift, date.getUTCMonth(), date.getUTCDate())
  }
  if (certain("weekday")) {
    if (direction === "past" && at > said) return at - 7 * dayMs
    if (direction === "future" && at < said) return at + 7 * dayMs
  }
  return at
}

const midnight = (parts: DateParts): number =>
  Date.UTC(parts.get("year") ?? 1970, (parts.get("month") ?? 1) - 1, parts.get("day") ?? 1)

const fromChrono = (sentence: string, said: number): MeantTime | undefined => {
  const direction = tense(sentence)
  for (const found of datesIn(sentence, said, { forwardDate: direction === "future" })) {
    const phrase = found.text.replace(/[\s,;.:]+$/, "")
    const before = sentence.slice(Math.max(0, found.index - 12), found.index).toLowerCase()
    if (oftenOtherwise.test(phrase) || (nameOrMonth.test(phrase) && !beforeMonth.test(before))) continue
    // Habits and durations name no date.
    if (/\b(?:every|each|most|per)(?: \w+)? ?$/.test(before) || /^for\b/i.test(phrase)) continue
    if (unitOf(phrase) !== undefined && /\bfor(?: the)? $/.test(before)) continue
    const certain = (part: "year" | "month" | "day" | "weekday"): boolean => found.start.isCertain(part)
    if (!certain("year") && !certain("month") && !certain("day") && !certain("weekday")) continue
    const of = { phrase, index: found.index }
    const at = midnight(found.start)
    const today = Date.parse(day(said))
    const unit = unitOf(phrase)
    if (/^(?:(?:over|during|in|within) )?(?:the )?(?:past|last) (?:\d+|few|couple|two|three|four|five|six|seven|eight|nine|ten|several)\b/i.test(phrase)) {
      return { ...of, meant: interval(at, today) }
    }
    if (unit === "week") {
      const monday = mondayOf(at)
      return { ...of, meant: interval(monday, monday + 6 * dayMs) }
    }
    if (unit === "month" && !certain("day")) return { ...of, meant: monthOf(at) }
    if (unit === "year" && !certain("day") && !certain("month")) return { ...of, meant: yearOf(new Date(at).getUTCFullYear()) }
    // "They confirmed us for 3 April", "raised the rent from March": what is past is the saying so, not the day.
    const placed = towards(direction === "past" && /\b(?:for|from) $/.test(before) ? "unknown" : direction, at, today, certain)
    if (/weekend/i.test(phrase)) {
      const saturday = mondayOf(placed) + 5 * dayMs
      return { ...of, meant: interval(saturday, saturday + dayMs) }
    }
    if (certain("month") && !certain("day") && unit === undefined) return { ...of, meant: monthOf(placed) }
    if (found.end !== null && found.end !== undefined) {
      const until = midnight(found.end) + (placed - at)
      if (until > placed) return { ...of, meant: interval(placed, until) }
    }
    return { ...of, meant: day(placed) }
  }
  return undefined
}

/**
 * The first date a sentence speaks of, or undefined when it names none, only a time of day, a habit ("every Sunday") or a duration.
 * A phrase of the day it was said on ("today") also gives undefined: the time said already tells it. So does what leads out of the years
 * that four digits can write.
 */
export const meantTime = (sentence: string, saidAt: string): MeantTime | undefined => {
  if (!mayHoldDate.test(sentence)) return undefined
  const said = Date.parse(saidAt)
  const found = lastNight(sentence, said) ?? fromChrono(sentence, said) ?? numberedDay(sentence, said) ?? yearAlone(sentence)
  return found === undefined || found.meant === saidAt.slice(0, 10) || !written.test(found.meant) ? undefined : found
}
