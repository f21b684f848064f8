/**
 * When a question speaks of: ranges of time in which what it asks for was probably said. Widths are as measured: people remember
 * "three months ago" loosely and "yesterday" well. Neighbour: `written-dates.ts` reads dates in full.
 */
import { inEnglish } from "./cjk-dates.ts"
import { day, type TimeWindow } from "./time-window.ts"
import { writtenDates } from "./written-dates.ts"

const unitDays: Readonly<Record<string, number>> = { day: 1, week: 7, month: 30.4, year: 365 }
/** Days to either side of "N units ago". */
const slackDays: Readonly<Record<string, number>> = { day: 1, week: 3, month: 12, year: 90 }
const numbers: Readonly<Record<string, number>> = Object.fromEntries([
  ["a", 1], ["an", 1], ["couple", 2], ["few", 3], ["several", 4], ["half a", 0.5], ["half an", 0.5],
  ..."one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split(" ").map((word, at) => [word, at + 1] as const),
  ..."thirty forty fifty sixty seventy eighty ninety hundred".split(" ").map((word, at) => [word, 30 + 10 * at] as const)
])
const number = `(\\d+(?:\\.\\d+)?|(?:a )?couple(?: of)?|(?:a )?few|${Object.keys(numbers).filter((word) => !/couple|few/.test(word)).toSorted((a, b) => b.length - a.length).join("|")})`
const half = "( and a half)?"
const unit = "(day|week|month|year)s?"
const ago = new RegExp(`(?<!\\bhalf |[\\d.])\\b${number}${half} ${unit}${half} (?:ago|back)\\b`, "g")
const momentsAgo = new RegExp(`\\b(?:${number}|some)${half} (?:minute|hour)s?${half} ago\\b`, "g")
const past = new RegExp(`\\b(?:past|last|previous) ${number} ${unit}\\b`, "g")
const lastUnit = /\b(last|this|past|previous) (week|month|year|weekend)\b/g
const beforeLast = /\b(week|month|year|weekend) before last\b/g
/** "Before today" and "as of today" name no day on which something was said. */
const nearDay = /(?<!\b(?:before|until|till|to|as of|by|than|since) )\b(yesterday|today|tonight|this morning|last night)\b/g
const dayBeforeYesterday = /\bday before yesterday\b/g
const weekdays = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
/** "Since Monday" goes on to the day of asking. */
const sinceWeekday = new RegExp(`\\bsince (?:last |this past |past |this )?(${weekdays.join("|")})\\b`, "g")
const weekday = new RegExp(`(?<!\\bsince )\\b(?:last|on|this past|past|this) (${weekdays.join("|")})\\b`, "g")
const weekdaysAgo = new RegExp(`\\b${number} (${weekdays.join("|")})s ago\\b`, "g")
/** "On the 5th" alone: the last such day. */
const dayOfMonth = /\bon the (\d{1,2})(?:st|nd|rd|th)\b(?! (?:of|floor|day|time|try|attempt|place|page))/g

const amount = (text: string, more: string | undefined, after: string | undefined): { readonly value: number; readonly isVague: boolean } => {
  const word = text.replace(/^a (?=couple|few)/, "").replace(/ of$/, "")
  return { value: (numbers[word] ?? Number(word)) + (more === undefined && after === undefined ? 0 : 0.5), isVague: word === "couple" || word === "few" || word === "several" }
}

/**
 * Ranges a question names, empty when it names none. Relative ones need the time of asking.
 *
 * @param askedAt ISO; absent when it is not known, and then only dates in full count
 */
export const dateWindows = (given: string, askedAt: string | undefined): ReadonlyArray<TimeWindow> => {
  const question = inEnglish(given)
  const asked = askedAt === undefined ? undefined : Date.parse(askedAt)
  const text = question.toLowerCase()
  const windows = writtenDates(question, asked)
  if (asked === undefined) return windows
  const daysBack = (back: number): TimeWindow => ({ from: asked - (back + 1) * day, to: asked - (back - 1) * day })
  for (const [, count = "", more, name = "", after] of text.matchAll(ago)) {
    const { isVague, value } = amount(count, more, after)
    const units = unitDays[name] ?? 1
    const slack = Math.min((slackDays[name] ?? 1) + (value > 3 || isVague ? 0.15 * value * units : 0), value < 1 ? 0.5 * value * units : Infinity)
    windows.push({ from: asked - (value * units + slack) * day, to: asked - (value * units - slack) * day })
  }
  for (const _ of text.matchAll(momentsAgo)) windows.push({ from: asked - day, to: asked + day })
  for (const [, count = "", name = ""] of text.matchAll(past)) {
    windows.push({ from: asked - (amount(count, undefined, undefined).value * (unitDays[name] ?? 1) + 1) * day, to: asked + day })
  }
  for (const [, which, name = ""] of text.matchAll(lastUnit)) {
    const days = unitDays[name === "weekend" ? "week" : name] ?? 7
    windows.push({ from: asked - (which === "this" ? days : 2 * days) * day, to: asked + day })
  }
  for (const [, name = ""] of text.matchAll(beforeLast)) {
    const days = unitDays[name === "weekend" ? "week" : name] ?? 7
    windows.push({ from: asked - 3 * days * day, to: asked - days * day })
  }
  for (const [, name] of text.matchAll(nearDay)) {
    windows.push(name === "yesterday" || name === "last night" ? { from: asked - 2 * day, to: asked } : { from: asked - day, to: asked + day })
  }
  for (const _ of text.matchAll(dayBeforeYesterday)) windows.push(daysBack(2))
  const backTo = (name: string): number => ((new Date(asked).getUTCDay() - weekdays.indexOf(name) + 7) % 7) || 7
  for (const [, name = ""] of text.matchAll(weekday)) windows.push(daysBack(backTo(name)))
  for (const [, name = ""] of text.matchAll(sinceWeekday)) windows.push({ from: asked - (backTo(name) + 1) * day, to: asked + day })
  for (const [, count = "", name = ""] of text.matchAll(weekdaysAgo)) windows.push(daysBack(backTo(name) + 7 * (Math.round(amount(count, undefined, undefined).value) - 1)))
  for (const [, written = ""] of text.matchAll(dayOfMonth)) {
    const date = new Date(asked)
    const at = Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), Number(written))
    const shown = at <= asked ? at : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() - 1, Number(written))
    if (Number(written) >= 1 && Number(written) <= 31) windows.push({ from: shown - day, to: shown + 3 * day - 1 })
  }
  return windows
}
