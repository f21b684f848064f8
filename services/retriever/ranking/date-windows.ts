/**
 * When a question speaks of: ranges of time in which what it asks for was probably said. Widths are as measured: people remember
 * "three months ago" loosely and "yesterday" well. Dates in full are read by chrono-node.
 */
import * as chrono from "chrono-node"

/** Milliseconds since 1970, both ends included. */
export interface TimeWindow {
  readonly from: number
  readonly to: number
}

const day = 86_400_000
const unitDays: Readonly<Record<string, number>> = { day: 1, week: 7, month: 30.4, year: 365 }
/** Days to either side of "N units ago". */
const slackDays: Readonly<Record<string, number>> = { day: 1, week: 3, month: 12, year: 90 }
const numbers: Readonly<Record<string, number>> = {
  a: 1, an: 1, one: 1, two: 2, couple: 2, three: 3, few: 3, four: 4, five: 5, six: 6, seven: 7, eight: 8, nine: 9, ten: 10, eleven: 11, twelve: 12
}
const number = "(\\d+|a|an|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:a )?couple(?: of)?|(?:a )?few)"
const unit = "(day|week|month|year)s?"
const ago = new RegExp(`\\b${number} ${unit} ago\\b`, "g")
const past = new RegExp(`\\b(?:past|last|previous) ${number} ${unit}\\b`, "g")
const lastUnit = /\b(last|this|past|previous) (week|month|year|weekend)\b/g
/** "Before today" and "as of today" name no day on which something was said. */
const nearDay = /(?<!\b(?:before|until|till|to|as of|by|than|since) )\b(yesterday|today|tonight|this morning)\b/g
const weekday = /\b(?:last|on|this past|past) (sunday|monday|tuesday|wednesday|thursday|friday|saturday)\b/g
const weekdays = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]

const amount = (text: string): { readonly value: number; readonly isVague: boolean } => {
  const word = text.replace(/^a (?=couple|few)/, "").replace(/ of$/, "")
  return { value: numbers[word] ?? Number(word), isVague: word === "couple" || word === "few" }
}

const month = /(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b/i
const numeric = /\d[/.-]\d/
/** Words before a lone month that make it one; "I march on" and "may I" name none. */
const beforeMonth = /\b(?:in|of|during|since|until|till|by|from|to|before|after|early|mid|late|last|this|for|around)[ -]$/i
const lonelyYear = /\b(?:in|of|during|since|throughout) ((?:19|20)\d{2})\b(?![/.-]\d)/gi

/** Windows of dates written out, such as "May 2023", "in March" or "on the 5th of June". */
const writtenDates = (question: string, askedAt: number | undefined): Array<TimeWindow> => {
  const reference = new Date(askedAt ?? 0)
  const windows: Array<TimeWindow> = []
  for (const { index, start, text } of chrono.en.casual.parse(question, { instant: reference, timezone: 0 }, { forwardDate: false })) {
    // "yesterday" and the like are read elsewhere, with the slack that was measured.
    if (!start.isCertain("month") || !(month.test(text) || numeric.test(text))) continue
    // Without a year and without a time of asking, "in May" names no range.
    if (!start.isCertain("year") && askedAt === undefined) continue
    const isLoneMonth = !start.isCertain("day") && !start.isCertain("year")
    if (isLoneMonth && !beforeMonth.test(question.slice(0, index)) && !/^\p{Lu}\p{Ll}{3}/u.test(text)) continue
    const monthOfYear = (start.get("month") ?? 1) - 1
    const dayOfMonth = start.isCertain("day") ? start.get("day") ?? 1 : 1
    let year = start.get("year") ?? reference.getUTCFullYear()
    if (!start.isCertain("year")) {
      year = reference.getUTCFullYear()
      if (Date.UTC(year, monthOfYear, dayOfMonth) > (askedAt ?? 0)) year -= 1
    }
    if (start.isCertain("day")) {
      const at = Date.UTC(year, monthOfYear, dayOfMonth)
      windows.push({ from: at - day, to: at + 3 * day - 1 })
    } else windows.push({ from: Date.UTC(year, monthOfYear, 1), to: Date.UTC(year, monthOfYear + 1, 1) - 1 })
  }
  for (const [, year = ""] of question.matchAll(lonelyYear)) windows.push({ from: Date.UTC(Number(year), 0, 1), to: Date.UTC(Number(year) + 1, 0, 1) - 1 })
  return windows
}

/**
 * Ranges a question names, empty when it names none. Relative ones need the time of asking.
 *
 * @param askedAt ISO; absent when it is not known, and then only dates in full count
 */
export const dateWindows = (question: string, askedAt: string | undefined): ReadonlyArray<TimeWindow> => {
  const asked = askedAt === undefined ? undefined : Date.parse(askedAt)
  const text = question.toLowerCase()
  const windows = writtenDates(question, asked)
  if (asked === undefined) return windows
  for (const [, count = "", name = ""] of text.matchAll(ago)) {
    const { isVague, value } = amount(count)
    const units = unitDays[name] ?? 1
    const slack = (slackDays[name] ?? 1) + (value > 3 || isVague ? 0.15 * value * units : 0)
    windows.push({ from: asked - (value * units + slack) * day, to: asked - (value * units - slack) * day })
  }
  for (const [, count = "", name = ""] of text.matchAll(past)) {
    windows.push({ from: asked - (amount(count).value * (unitDays[name] ?? 1) + 1) * day, to: asked + day })
  }
  for (const [, which, name = ""] of text.matchAll(lastUnit)) {
    const days = unitDays[name === "weekend" ? "week" : name] ?? 7
    windows.push({ from: asked - (which === "this" ? days : 2 * days) * day, to: asked + day })
  }
  for (const [, name] of text.matchAll(nearDay)) {
    windows.push(name === "yesterday" ? { from: asked - 2 * day, to: asked } : { from: asked - day, to: asked + day })
  }
  for (const [, name = ""] of text.matchAll(weekday)) {
    const back = ((new Date(asked).getUTCDay() - weekdays.indexOf(name) + 7) % 7) || 7
    windows.push({ from: asked - (back + 1) * day, to: asked - (back - 1) * day })
  }
  return windows
}
