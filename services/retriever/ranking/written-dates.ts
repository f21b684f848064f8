/**
 * Ranges of dates a question writes out: days, months, seasons and years, alone, from one to another, and as a bound ("since", "before").
 * chrono-node reads the dates; what it makes of numbers that are no dates, and of ranges it splits, is put right here.
 */
import { type DateParts, datesIn, type FoundDate } from "#shared/domain/dates-in-text"
import { day, type TimeWindow } from "./time-window.ts"

const month = /(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b/i
const numericFull = /\d[/.-]\d+[/.-]\d/
const numericShort = /^\d{1,2}\/\d{1,2}\b/
/** Words before a lone month or day in numbers that make it one; "I march on", "may I" and "5/6 of it" name none. */
const beforeDate = /\b(?:in|on|of|during|since|until|till|by|from|to|before|after|early|mid|late|last|this|for|around|between|and|dated)[ -](?:the )?$/i
/** A year before the day, or the day before the month with dots, is never the other way round. */
const dotted = /\b(\d{1,2})\.(\d{1,2})\.((?:19|20)\d{2})\b/g
/** "'24" after a month, a season or a preposition is a year. */
const shortYear = new RegExp(`(${month.source}|\\b(?:in|of|since|during|before|after|until|till|by|spring|summer|autumn|fall|winter)) ['’](\\d{2})\\b`, "gi")
const inFull = (question: string): string => question.replace(shortYear, (_, before: string, year: string) => `${before} ${Number(year) < 70 ? 20 : 19}${year}`)
const asIs = (question: string): string => inFull(question).replace(dotted, (_, d: string, m: string, y: string) => `${y}-${m.padStart(2, "0")}-${d.padStart(2, "0")}`)

/** "January of last year" is not the last January. */
const monthOfLastYear = new RegExp(`(${month.source}) (?:of )?last year\\b`, "gi")
const withYear = (question: string, askedAt: number | undefined): string =>
  askedAt === undefined ? question : question.replace(monthOfLastYear, (_, name: string) => `${name} ${new Date(askedAt).getUTCFullYear() - 1}`)

const lonelyYear = /\b(?:(early|mid|late)[- ]|(?:in|of|during|since|throughout|before|after|until|till|by) )((?:19|20)\d{2})\b(?![/.-]\d)/gi
const season = /\b(?:(?:in|during|over|since|by|of) (?:the )?|(last|this|past|previous) )(?:(?:early|mid|late)[- ])?(spring|summer|autumn|fall|winter)\b(?: (?:of |in )?((?:19|20)\d{2}))?/gi
/** First month of each season in the north; half a month to both sides, since nobody keeps to the calendar there. */
const seasons: Readonly<Record<string, number>> = { spring: 2, summer: 5, autumn: 8, fall: 8, winter: 11 }
const seasonSlack = 15 * day

const since = /\b(?:since|after|following|from)[ -](?:the )?(?:(?:start|beginning|end) of )?$/i
const onwards = /^ (?:on|onwards?|until now|to now|till now|up to now)\b/i
const until = /\b(?:before|until|till|by|prior to|up to)[ -](?:the )?(?:(?:start|beginning|end) of )?$/i
const earlier = /\b(?:before|prior to)[ -](?:the )?$/i
/** "The weekend before" is a time of its own, not all that was before. */
const nearby = /\b(?:day|night|evening|morning|week|weekend|(?:mon|tues|wednes|thurs|fri|satur|sun)day) (before|after)[ -](?:the )?$/i
const early = /\b(?:early|(?:start|beginning|first (?:days?|weeks?|half)) of)[ -](?:the )?$/i
const middle = /\b(?:mid|middle of)[ -](?:the )?$/i
const late = /\b(?:late|(?:last (?:days?|weeks?)|second half) of)[ -](?:the )?$/i
const endOf = /^end of\b/i
const joined = /^\s*(?:and|to|until|till|through|-|–|—)\s*(?:the )?$/i
const dayBefore = /\b(?:between|from)\s+(?:the\s+)?(\d{1,2})(?:st|nd|rd|th)?\s+(?:and|to|until|till|through)\s+(?:the\s+)?$/i

/** What stands before a place, as far as it may belong to it: a question may be a page with hundreds of dates. */
const leading = (text: string, index: number): string => text.slice(Math.max(0, index - 60), index)

interface Named {
  readonly index: number
  readonly end: number
  readonly from: number
  readonly to: number
}

/** First and last moment of what was named; a day with the slack people's memory needs. */
const spanOf = (year: number, monthOfYear: number, dayOfMonth: number | undefined): Pick<Named, "from" | "to"> => {
  if (dayOfMonth === undefined) return { from: Date.UTC(year, monthOfYear, 1), to: Date.UTC(year, monthOfYear + 1, 1) - 1 }
  const at = Date.UTC(year, monthOfYear, dayOfMonth)
  return { from: at - day, to: at + 3 * day - 1 }
}

const monthsNamed = (question: string, askedAt: number | undefined): Array<Named> => {
  const reference = new Date(askedAt ?? 0)
  const named: Array<Named> = []
  const found = datesIn(question, reference.getTime(), { forwardDate: false })
  const isNext = (one: FoundDate, next: FoundDate | undefined): next is FoundDate => next !== undefined && joined.test(question.slice(one.index + one.text.length, next.index))
  for (const [at, result] of found.entries()) {
    const { index, start, text } = result
    const before = leading(question, index)
    const isShort = numericShort.test(text) && !numericFull.test(text)
    // "yesterday" and the like are read elsewhere, with the slack that was measured.
    if (!start.isCertain("month") || !(month.test(text) || numericFull.test(text) || isShort)) continue
    if (isShort && !beforeDate.test(before)) continue
    // In "between May and July 2023" the year stands once, at the end.
    const next = found[at + 1]
    const last: DateParts = result.end ?? (isNext(result, next) ? next.start : start)
    const yearGiven = start.isCertain("year") ? start.get("year") : last.isCertain("year") ? last.get("year") : undefined
    // Without a year and without a time of asking, "in May" names no range.
    if (yearGiven === null || (yearGiven === undefined && askedAt === undefined)) continue
    const isLoneMonth = !start.isCertain("day") && yearGiven === undefined
    if (isLoneMonth && !beforeDate.test(before) && !/^\p{Lu}\p{Ll}{3}/u.test(text)) continue
    const pick = (of: DateParts): readonly [month: number, day: number | undefined] => [(of.get("month") ?? 1) - 1, of.isCertain("day") && !endOf.test(text) ? of.get("day") ?? 1 : undefined]
    const [firstMonth, firstDay] = pick(start)
    let year = yearGiven ?? reference.getUTCFullYear()
    if (!start.isCertain("year") && last.isCertain("year") && firstMonth > pick(last)[0]) year -= 1
    if (yearGiven === undefined && Date.UTC(year, firstMonth, firstDay ?? 1) > (askedAt ?? 0)) year -= 1
    const first = spanOf(year, firstMonth, firstDay)
    let { from, to } = first
    const startDay = firstDay === undefined ? null : dayBefore.exec(before)
    if (startDay !== null) from = spanOf(year, firstMonth, Number(startDay[1])).from
    if (result.end != null) {
      const [lastMonth, lastDay] = pick(result.end)
      to = spanOf(lastMonth < firstMonth ? year + 1 : year, lastMonth, lastDay).to
      if (result.end.isCertain("year")) to = spanOf(result.end.get("year") ?? year, lastMonth, lastDay).to
    }
    if (firstDay === undefined && result.end == null) {
      const length = to - from
      if (early.test(before)) to = from + length * 0.55
      else if (middle.test(before)) [from, to] = [from + length * 0.2, to - length * 0.2]
      else if (endOf.test(text) || late.test(before)) [from, to] = [from + length * 0.6, to + 2 * day]
    }
    named.push({ index, end: index + text.length, from, to })
  }
  return named
}

const seasonsNamed = (question: string, askedAt: number | undefined): Array<Named> => {
  const named: Array<Named> = []
  for (const { 0: text, 1: which, 2: name = "", 3: written, index } of question.matchAll(season)) {
    const first = seasons[name.toLowerCase()] ?? 0
    let year = Number(written)
    if (written === undefined) {
      if (askedAt === undefined) continue
      year = new Date(askedAt).getUTCFullYear()
      if (Date.UTC(year, first, 1) > askedAt) year -= 1
      // In July "last summer" is over.
      if (/^(?:last|past|previous)$/i.test(which ?? "") && Date.UTC(year, first + 3, 1) > askedAt) year -= 1
    }
    // A winter is named by the year it begins in or the year it ends in.
    const from = written !== undefined && first === 11 ? Date.UTC(year - 1, first, 1) : Date.UTC(year, first, 1)
    const begun = index + text.search(/(?:early|mid|late|spring|summer|autumn|fall|winter)/i)
    named.push({ index: begun, end: index + text.length, from: from - seasonSlack, to: Date.UTC(year, first + 3, 1) - 1 + seasonSlack })
  }
  return named
}

const yearsNamed = (question: string, taken: ReadonlyArray<Named>): Array<Named> => {
  const named: Array<Named> = []
  for (const { 0: text, 1: part, 2: written = "", index } of question.matchAll(lonelyYear)) {
    const begun = index + text.length - written.length
    if (taken.some(({ end, index }) => begun >= index && begun < end)) continue
    const year = Number(written)
    const at = (monthOfYear: number): number => Date.UTC(year, monthOfYear, 1)
    const [from, to] = part === undefined ? [at(0), at(12)] : /early/i.test(part) ? [at(0), at(5)] : /mid/i.test(part) ? [at(3), at(9)] : [at(7), at(12)]
    named.push({ index: part === undefined ? begun : index, end: begun + written.length, from, to: to - 1 })
  }
  return named
}

/** Parts that belong together as one range: "between January and March". */
const withRanges = (named: ReadonlyArray<Named>, question: string): ReadonlyArray<Named> => {
  const sorted = named.toSorted((a, b) => a.index - b.index)
  const ranges: Array<Named> = []
  for (const one of sorted) {
    const before = ranges.at(-1)
    const isRange = before !== undefined && one.to > before.from && /\b(?:between|from)\s+(?:the\s+)?$/i.test(leading(question, before.index)) && joined.test(question.slice(before.end, one.index))
    if (isRange) ranges[ranges.length - 1] = { ...before, end: one.end, to: one.to }
    else ranges.push(one)
  }
  return ranges
}

/**
 * Windows of dates written out, such as "May 2023", "in March", "from 3 to 9 June" or "since the summer".
 *
 * @param askedAt milliseconds since 1970; absent when it is not known, and then only what has a year counts
 */
export const writtenDates = (asked: string, askedAt: number | undefined): Array<TimeWindow> => {
  const question = withYear(asIs(asked), askedAt)
  const dates = [...monthsNamed(question, askedAt), ...seasonsNamed(question, askedAt)]
  return withRanges([...dates, ...yearsNamed(question, dates)], question).map(({ end, from, index, to }): TimeWindow => {
    const before = leading(question, index)
    const near = nearby.exec(before)
    if (near !== null) return /before/i.test(near[1] ?? "") ? { from: from - 7 * day, to } : { from, to: to + 7 * day }
    if (until.test(before)) return { from: Number.NEGATIVE_INFINITY, to: earlier.test(before) ? from + 2 * day : to }
    const isOpen = since.test(before) && (!/\bfrom[ -](?:the )?$/i.test(before) || onwards.test(question.slice(end)))
    return isOpen ? { from, to: Math.max(to, askedAt ?? Number.POSITIVE_INFINITY) } : { from, to }
  })
}
