import { test } from "uvu"
import * as assert from "uvu/assert"
import { dateWindows } from "#services/retriever/ranking/date-windows"
import { elsewhere, inZone } from "#test/support/zone"

const asked = "2023-06-15T12:00:00.000Z"
const holds = (question: string, day: string, at: string | undefined = asked): boolean =>
  dateWindows(question, at).some(({ from, to }) => Date.parse(`${day}T12:00:00Z`) >= from && Date.parse(`${day}T12:00:00Z`) <= to)

test("a question without a time names no range", () => {
  assert.equal(dateWindows("What colour is my car?", asked), [])
  assert.equal(dateWindows("May I park here? Did I march on?", asked), [])
})

test("units ago are counted back with some slack", () => {
  assert.ok(holds("What did I buy 10 days ago?", "2023-06-05"))
  assert.not.ok(holds("What did I buy 10 days ago?", "2023-06-12"))
  assert.ok(holds("Where was I two weeks ago?", "2023-06-03"))
  assert.ok(holds("Where was I a couple of months ago?", "2023-04-20"))
  assert.not.ok(holds("Where was I a couple of months ago?", "2023-06-10"))
})

test("last week, yesterday and weekdays are near the day of asking", () => {
  assert.ok(holds("What happened last week?", "2023-06-08"))
  assert.ok(holds("What did I eat yesterday?", "2023-06-14"))
  assert.ok(holds("Who called last Monday?", "2023-06-12"))
  assert.not.ok(holds("Who called last Monday?", "2023-06-01"))
  assert.ok(holds("How often did I run in the past two weeks?", "2023-06-02"))
  assert.ok(holds("What have I learnt since last Saturday?", "2023-06-14"))
  assert.ok(holds("What have I learnt since Saturday?", "2023-06-11"))
  assert.not.ok(holds("What have I learnt since Saturday?", "2023-06-08"))
})

test("a month of last year and a year of two digits are taken as written", () => {
  assert.not.ok(holds("What did I do in May '22?", "2023-05-10"))
  assert.ok(holds("What did I do in the summer of '21?", "2021-07-10"))
  assert.not.ok(holds("What did I do in the summer of '21?", "2022-07-10"))
  assert.equal(dateWindows("What did I do in January of last year?", asked).map(({ from }) => new Date(from).toISOString().slice(0, 10))[0], "2022-01-01")
})

test("a day that only bounds the time asked about names no range", () => {
  assert.equal(dateWindows("Which airlines did I fly with before today?", asked), [])
  assert.equal(dateWindows("How many books have I read as of today?", asked), [])
  assert.ok(holds("What did I eat today?", "2023-06-15"))
})

test("months and dates written out are that month or day, in the past where no year is named", () => {
  assert.ok(holds("What did I plant in March?", "2023-03-20"))
  assert.ok(holds("What did I plant in November?", "2022-11-20"))
  assert.not.ok(holds("What did I plant in November?", "2023-11-20"))
  assert.ok(holds("Where was Ana on 7 May 2022?", "2022-05-07"))
  assert.not.ok(holds("Where was Ana on 7 May 2022?", "2022-05-12"))
})

test("a year alone is that year", () => {
  assert.ok(holds("Where did I travel in 2021?", "2021-08-01"))
  assert.not.ok(holds("Where did I travel in 2021?", "2022-08-01"))
})

/** First and last days of what a question names, in UTC; `…` where it is open. */
const daysOf = (question: string, at: string | null = asked): ReadonlyArray<string> =>
  dateWindows(question, at ?? undefined).map(({ from, to }) => [from, to].map((time) => (Number.isFinite(time) ? new Date(time).toISOString().slice(0, 10) : "")).join("…"))

test("a range is all between its ends, however its year and month are shared", () => {
  assert.equal(daysOf("between January and March"), ["2023-01-01…2023-03-31"])
  assert.equal(daysOf("from December to February"), ["2022-12-01…2023-02-28"])
  assert.equal(daysOf("What did I do from May 3 to June 10, 2021?"), ["2021-05-02…2021-06-12"])
  assert.equal(daysOf("between the 19th and the 24th of April"), ["2023-04-18…2023-04-26"])
  assert.equal(daysOf("Was it between May 2021 and July 2021?"), ["2021-05-01…2021-07-31"])
  assert.equal(daysOf("in May and in July"), ["2023-05-01…2023-05-31", "2022-07-01…2022-07-31"])
})

test("a bound opens a range, and what is near a date lies beside it", () => {
  assert.equal(daysOf("What have I read since January?"), ["2023-01-01…2023-06-15"])
  assert.equal(daysOf("What did I own before March 2022?"), ["…2022-03-03"])
  assert.equal(daysOf("by July 10, 2022", null), ["…2022-07-12"])
  assert.equal(daysOf("after July 10, 2022", null), ["2022-07-09…"])
  assert.equal(daysOf("the weekend before April 10, 2022", null), ["2022-04-02…2022-04-12"])
})

test("parts of months and years, and seasons", () => {
  assert.equal(daysOf("in early March"), ["2023-03-01…2023-03-18"])
  assert.ok(holds("at the end of April", "2023-04-25") && !holds("at the end of April", "2023-04-10"))
  assert.ok(holds("in late 2021", "2021-11-10") && !holds("in late 2021", "2021-03-10"))
  assert.equal(daysOf("in the summer of 2021"), ["2021-05-17…2021-09-15"])
  assert.ok(holds("last summer", "2022-07-10") && !holds("last summer", "2023-06-10"))
  assert.ok(holds("during the winter", "2023-01-20"))
  assert.equal(daysOf("Did I spring up or fall down?"), [])
})

test("halves, fractions and counts in words are not cut to what stands at their end", () => {
  assert.ok(holds("half a year ago", "2022-12-15") && !holds("half a year ago", "2022-06-15"))
  assert.ok(holds("1.5 years ago", "2021-12-15") && !holds("1.5 years ago", "2018-06-15"))
  assert.ok(holds("a week and a half ago", "2023-06-04") && !holds("a week and a half ago", "2023-06-12"))
  assert.ok(holds("twenty days ago", "2023-05-26"))
  assert.ok(holds("the day before yesterday", "2023-06-13") && !holds("the day before yesterday", "2023-06-10"))
  assert.ok(holds("two Tuesdays ago", "2023-06-06") && !holds("two Tuesdays ago", "2023-06-13"))
  assert.ok(holds("an hour ago", "2023-06-15"))
  assert.ok(holds("on the 5th", "2023-06-05") && holds("on the 20th", "2023-05-20"))
})

test("numbers that are no dates name none, and days before months are told by their dots", () => {
  for (const question of ["how much is 5/6 of it?", "a 10/10 film", "version 3.4", "What is on the 5th floor?"]) assert.equal(daysOf(question), [], question)
  assert.equal(daysOf("Whom do I see on 3/4?"), ["2023-03-03…2023-03-06"])
  assert.equal(daysOf("am 4.3.2022"), ["2022-03-03…2022-03-06"])
})

test("times in Chinese and Japanese are read", () => {
  const said = [
    ["我昨天去了哪里", "2023-06-14"], ["三天前", "2023-06-12"], ["十五天前", "2023-05-31"], ["两周前", "2023-06-01"], ["上个月买了什么", "2023-05-20"], ["2022年3月5日", "2022-03-05"],
    ["五月我去了哪里", "2023-05-10"], ["去年夏天", "2022-07-10"], ["上周二", "2023-06-13"], ["昨日", "2023-06-14"], ["3日前", "2023-06-12"], ["先月", "2023-05-20"]
  ] as const
  for (const [question, day] of said) assert.ok(holds(question, day), question)
  assert.not.ok(holds("三天前", "2023-06-01"))
  assert.equal(daysOf("我的猫叫什么名字"), [])
})

test("without a time of asking only full dates count", () => {
  assert.ok(dateWindows("Where was Ana in May 2022?", undefined).length === 1)
  assert.equal(dateWindows("Where was Ana last week?", undefined), [])
  assert.equal(dateWindows("Where was Ana in May?", undefined), [])
})

test("where the machine stands changes no window", () => {
  const asked = ["What did I do the day before May 5?", "Who did I meet two days after 3 May?", "What did I plan in March?", "What did I do the day before yesterday?"]
  const all = () => asked.flatMap((question) => ["2026-05-20T00:10:00.000Z", "2026-05-20T23:50:00.000Z"].map((at) => dateWindows(question, at)))
  let here: ReturnType<typeof all> = []
  inZone("UTC", () => { here = all() })
  assert.ok(here.every((windows) => windows.length > 0))
  for (const zone of elsewhere) inZone(zone, () => assert.equal(all(), here, zone))
})

test.run()
