import { test } from "uvu"
import * as assert from "uvu/assert"
import { dateWindows } from "#services/retriever/ranking/date-windows"

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

test("without a time of asking only full dates count", () => {
  assert.ok(dateWindows("Where was Ana in May 2022?", undefined).length === 1)
  assert.equal(dateWindows("Where was Ana last week?", undefined), [])
  assert.equal(dateWindows("Where was Ana in May?", undefined), [])
})

test.run()
