/**
 * Times as clients write them, turned into the one form the log holds: UTC instants with milliseconds. Also spaces out turns that
 * share a single time, which is how exports that know only the time of a session arrive.
 */
import { DateTime, Option, Result, Schema } from "effect"

/** A time that cannot be read or does not exist; `message` names the forms that are read. */
export class InvalidTime extends Schema.TaggedError<InvalidTime>()("InvalidTime", { input: Schema.String, message: Schema.String }) {}

/** Distance between turns of one session that were given the same time. */
const sessionStepMs = 500

const date = String.raw`(\d{4})[-/](\d{1,2})[-/](\d{1,2})`
const withWeekday = new RegExp(String.raw`^${date}\s*\(([^)]*)\)\s*(\d{1,2}):(\d{2})(?::(\d{2}))?$`)
const iso = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|z|[+-]\d{2}(?::?\d{2})?)?)?$/
const offsetForm = /^([+-])(\d{2}):?(\d{2})?$/
const daySpanMs = 86_400_000

const fail = (input: string, why: string): Result.Result<never, InvalidTime> =>
  Result.fail(
    new InvalidTime({
      input: input.slice(0, 100),
      message: `${why}; write times as 2026-03-02T18:04:00Z, 2026-03-02T18:04 (then UTC, or the zone given), 2026-03-02, 2026/03/02 (Mon) 18:04, or seconds since 1970`
    })
  )

const offsetMs = (text: string): number | undefined => {
  if (text === "Z" || text === "z") return 0
  const parts = offsetForm.exec(text)
  if (parts === null) return undefined
  const hours = Number(parts[2])
  const minutes = Number(parts[3] ?? 0)
  if (hours > 18 || minutes > 59) return undefined
  return (parts[1] === "-" ? -1 : 1) * (hours * 60 + minutes) * 60_000
}

/** Milliseconds of a wall clock reading as if it were UTC, or undefined where the calendar has no such reading. */
const wallClock = (year: number, month: number, day: number, hour = 0, minute = 0, second = 0, ms = 0): number | undefined => {
  if (year < 1000 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return undefined
  const at = Date.UTC(year, month - 1, day, hour, minute, second, ms)
  return new Date(at).getUTCDate() === day ? at : undefined
}

const inZone = (wall: number, zone: string): number | undefined => {
  const fixed = offsetMs(zone)
  if (fixed !== undefined) return wall - fixed
  if (offsetForm.test(zone)) return undefined
  return Option.getOrUndefined(
    Option.map(
      DateTime.makeZoned(wall, { timeZone: zone, adjustForTimeZone: true, disambiguation: "compatible" }),
      DateTime.toEpochMillis
    )
  )
}

const fromEpoch = (input: number): Result.Result<string, InvalidTime> => {
  // Up to the year 5138 seconds stay below this bound, and milliseconds are above it from 1973 on.
  const ms = Math.abs(input) < 1e11 ? input * 1000 : input
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return fail(String(input), "a number that is no time")
  const at = new Date(Math.round(ms))
  const year = at.getUTCFullYear()
  return year >= 1000 && year <= 9999 ? Result.succeed(at.toISOString()) : fail(String(input), "a time outside the years 1000 to 9999")
}

/**
 * Reads a time and gives it as a UTC instant, `2026-03-02T18:04:00.000Z`.
 *
 * A wall clock reading without a zone is UTC unless `zone` says otherwise; one that the zone skips (clocks put forward) moves forward by
 * the gap, one that happens twice is the first. A weekday in parentheses is not compared with the date. Numbers are seconds or
 * milliseconds since 1970, told apart by size. Fractions beyond milliseconds are cut.
 */
export const normaliseTime = (input: string | number, zone = "+00:00"): Result.Result<string, InvalidTime> => {
  if (typeof input === "number") return fromEpoch(input)
  const text = input.trim()
  const named = withWeekday.exec(text)
  if (named !== null) {
    const [, year, month, day, , hour, minute, second] = named
    return placed(text, wallClock(Number(year), Number(month), Number(day), Number(hour), Number(minute), Number(second ?? 0)), zone)
  }
  const parts = iso.exec(text)
  if (parts === null) return fail(text, text === "" ? "an empty time" : `"${text.slice(0, 60)}" is not a time`)
  const [, year, month, day, hour, minute, second, fraction, own] = parts
  const ms = Number((fraction ?? "").slice(0, 3).padEnd(3, "0"))
  const wall = wallClock(Number(year), Number(month), Number(day), Number(hour ?? 0), Number(minute ?? 0), Number(second ?? 0), ms)
  return placed(text, wall, own ?? zone)
}

const placed = (text: string, wall: number | undefined, zone: string): Result.Result<string, InvalidTime> => {
  if (wall === undefined) return fail(text, `"${text.slice(0, 60)}" is a date or time of day that does not exist`)
  const at = inZone(wall, zone)
  if (at === undefined) return fail(text, `"${zone.slice(0, 60)}" is not a time zone`)
  // An offset may carry the first or last days of the range out of four-digit years.
  return fromEpochMs(text, at)
}

const fromEpochMs = (text: string, at: number): Result.Result<string, InvalidTime> => {
  const written = new Date(at).toISOString()
  return written.length === 24 ? Result.succeed(written) : fail(text, "a time outside the years 1000 to 9999")
}

const weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const

/** Day of the week of an instant in UTC, `Mon` to `Sun`. */
export const weekdayOf = (time: string): (typeof weekdays)[number] =>
  weekdays[(((Math.floor(Date.parse(time) / daySpanMs) + 4) % 7) + 7) % 7] as (typeof weekdays)[number]

/** How many turns of one conversation stand at a sent time and behind it, by that time in milliseconds; the latest of them. */
export type SessionTimes = Map<number, number>

/** Sent times remembered of a conversation; a late turn of an older one keeps the time it was sent with. */
const sessionTimesMax = 64

/** The last instant that four-digit years can write; turns beyond it share it, and stand in the order of the log. */
const lastMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

const count = (seen: SessionTimes, at: number, turns: number): void => {
  seen.delete(at)
  seen.set(at, turns)
  const [oldest] = seen.keys()
  if (seen.size > sessionTimesMax && oldest !== undefined) seen.delete(oldest)
}

/** Counts a turn by the time it stands at in the log. */
export const noteTime = (seen: SessionTimes, time: string): void => {
  const at = Date.parse(time)
  for (const [base, turns] of seen) {
    if (base + turns * sessionStepMs === at) return count(seen, base, turns + 1)
  }
  count(seen, at, (seen.get(at) ?? 0) + 1)
}

/**
 * The time a turn gets in the log: the time it was sent with, plus 500 ms for every earlier turn of the conversation sent with the same
 * time, so that a session's single time still yields an order. Counts the turn; call it once per turn that is new.
 */
export const spaceTime = (seen: SessionTimes, time: string): string => {
  const at = Date.parse(time)
  const before = seen.get(at) ?? 0
  count(seen, at, before + 1)
  return before === 0 ? time : new Date(Math.min(at + before * sessionStepMs, lastMs)).toISOString()
}
