import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { normaliseTime, noteTime, type SessionTimes, spaceTime, weekdayOf } from "#shared/domain/time"
import { elsewhere, inZone } from "#test/support/zone"

const test = suite("times of turns")
const read = (input: string | number, zone?: string): string => Result.getOrThrow(normaliseTime(input, zone))
const refusal = (input: string | number, zone?: string): string => {
  const result = normaliseTime(input, zone)
  if (Result.isSuccess(result)) throw new Error(`${input} was read as ${result.success}`)
  assert.is(result.failure._tag, "InvalidTime")
  return result.failure.message
}

test("a session's time spaces its turns by half a second", () => {
  const seen: SessionTimes = new Map()
  const base = read("2023/05/20 (Sat) 02:21")
  assert.is(spaceTime(seen, base), "2023-05-20T02:21:00.000Z")
  assert.is(spaceTime(seen, base), "2023-05-20T02:21:00.500Z")
  assert.is(weekdayOf(base), "Sat")
})

test("spacing goes on across calls and never repeats a time", () => {
  const seen: SessionTimes = new Map()
  const base = read("2023-05-20T02:21:00Z")
  const first = [spaceTime(seen, base), spaceTime(seen, base)]
  const restored: SessionTimes = new Map(JSON.parse(JSON.stringify([...seen])) as Array<[number, number]>)
  const all = [...first, spaceTime(restored, base), spaceTime(restored, base)]
  assert.is(new Set(all).size, 4)
  assert.equal([...all].sort(), all)
})

test("spacing ends at the last instant that can be written", () => {
  const seen: SessionTimes = new Map()
  const base = read("9999-12-31T23:59:59.400Z")
  assert.equal([1, 2, 3, 4].map(() => spaceTime(seen, base)), ["400", "900", "999", "999"].map((ms) => `9999-12-31T23:59:59.${ms}Z`))
})

test("times read from the log count on where they were spaced, and old ones are let go", () => {
  const seen: SessionTimes = new Map()
  for (const time of ["2023-05-20T02:21:00.000Z", "2023-05-20T02:21:00.500Z", "2023-05-20T02:25:00.000Z", "2023-05-20T02:21:01.000Z"]) noteTime(seen, time)
  assert.is(spaceTime(seen, "2023-05-20T02:21:00.000Z"), "2023-05-20T02:21:01.500Z")
  assert.is(spaceTime(seen, "2023-05-20T02:25:00.000Z"), "2023-05-20T02:25:00.500Z")
  for (let n = 0; n < 1_000; n++) noteTime(seen, new Date(1e12 + n * 60_000).toISOString())
  assert.ok(seen.size <= 64)
  assert.is(spaceTime(seen, "2023-05-20T02:21:00.000Z"), "2023-05-20T02:21:00.000Z")
})

test("a turn with a time of its own keeps it", () => {
  const seen: SessionTimes = new Map()
  spaceTime(seen, "2023-05-20T02:21:00.000Z")
  assert.is(spaceTime(seen, "2023-05-20T02:22:00.000Z"), "2023-05-20T02:22:00.000Z")
})

test("single digits and seconds are read beside a weekday", () => {
  assert.is(read("2023-5-2 (Tue) 2:05:09"), "2023-05-02T02:05:09.000Z")
  assert.is(weekdayOf(read("2023-5-2 (Tue) 2:05:09")), "Tue")
})

test("a date alone is midnight", () => {
  assert.is(read("2025-01-10"), "2025-01-10T00:00:00.000Z")
  assert.is(weekdayOf(read("2025-01-10")), "Fri")
})

test("slashes without a weekday are refused with the forms that are read", () => {
  assert.match(refusal("2025/01/10 10:00"), /2026-03-02T18:04:00Z/)
})

test("zones in the text win, otherwise the zone given, otherwise UTC", () => {
  assert.is(read("2026-03-02T18:04:00Z"), "2026-03-02T18:04:00.000Z")
  assert.is(read("2026-03-02T18:04:00+05:30", "Europe/Berlin"), "2026-03-02T12:34:00.000Z")
  assert.is(read("2026-03-02T18:04:00"), "2026-03-02T18:04:00.000Z")
  assert.is(read("2026-03-02 18:04", "Europe/Berlin"), "2026-03-02T17:04:00.000Z")
  assert.is(read("2026-07-02 18:04", "Europe/Berlin"), "2026-07-02T16:04:00.000Z")
  assert.is(read("2026-03-02 18:04", "-03:00"), "2026-03-02T21:04:00.000Z")
  assert.is(read("2026-03-02T18:04:00.123456Z"), "2026-03-02T18:04:00.123Z")
})

test("where the machine stands changes no time and no weekday", () => {
  for (const zone of elsewhere) {
    inZone(zone, () => {
      assert.is(new Date("2026-03-02T18:04").toISOString() === "2026-03-02T18:04:00.000Z", false, `${zone} is not in effect`)
      assert.is(read("2023/05/20 (Sat) 02:21"), "2023-05-20T02:21:00.000Z", zone)
      assert.is(read("2026-03-02T18:04:00"), "2026-03-02T18:04:00.000Z", zone)
      assert.is(read("2025-01-10"), "2025-01-10T00:00:00.000Z", zone)
      assert.equal(["2025-01-10T00:30:00.000Z", "2025-01-10T23:30:00.000Z"].map(weekdayOf), ["Fri", "Fri"], zone)
    })
  }
})

test("a reading skipped by the clock change moves forward, a doubled one is the first", () => {
  assert.is(read("2026-03-29T02:30", "Europe/Berlin"), "2026-03-29T01:30:00.000Z")
  assert.is(read("2026-10-25T02:30", "Europe/Berlin"), "2026-10-25T00:30:00.000Z")
})

test("seconds and milliseconds since 1970 are told apart", () => {
  assert.is(read(1_700_000_000), "2023-11-14T22:13:20.000Z")
  assert.is(read(1_700_000_000_250), "2023-11-14T22:13:20.250Z")
  assert.is(read(1_700_000_000.5), "2023-11-14T22:13:20.500Z")
})

for (const input of ["2023-02-30", "2023-02-29T10:00Z", "2023-13-01", "2023-00-10", "2023/02/30 (Thu) 10:00", "2023-05-20T24:00", "2023-05-20T10:60", "2023/05/20 (Sat) 25:00"]) {
  test(`${input} does not exist and is refused`, () => assert.match(refusal(input), /does not exist/))
}
for (const input of ["", "yesterday", "20:15", "2023-05", "May 5 2023", "2023-05-20T10:00+99:00", "0000-01-01", Number.NaN, Infinity, 1e300]) {
  test(`${JSON.stringify(String(input))} is no time and is refused`, () => assert.ok(refusal(input).length > 0))
}

test("an unknown zone is refused and named", () => {
  assert.match(refusal("2026-03-02 18:04", "Mars/Olympus"), /Mars\/Olympus/)
})

test("a leap day is read", () => assert.is(read("2024-02-29"), "2024-02-29T00:00:00.000Z"))

test.run()
