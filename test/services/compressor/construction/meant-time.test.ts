import { suite } from "uvu"
import * as assert from "uvu/assert"
import { meantTime } from "#services/compressor/construction/meant-time"
import { elsewhere, inZone } from "#test/support/zone"

const test = suite("dates a sentence speaks of")
const said = "2026-05-20T22:21:00.000Z" // a Wednesday
const meant = (sentence: string): string | undefined => meantTime(sentence, said)?.meant

for (const [sentence, wanted] of [
  ["I sold the boat yesterday.", "2026-05-19"],
  ["We met the day before yesterday.", "2026-05-18"],
  ["I will see her tomorrow.", "2026-05-21"],
  ["I slept badly last night.", "2026-05-19"],
  ["I was at the pier last Sunday.", "2026-05-17"],
  ["I met Tom on Friday.", "2026-05-15"],
  ["I will meet Tom on Friday.", "2026-05-22"],
  ["We moved here last week.", "2026-05-11/2026-05-17"],
  ["I quit three weeks ago.", "2026-04-27/2026-05-03"],
  ["We went sailing last weekend.", "2026-05-16/2026-05-17"],
  ["I'm sailing this weekend.", "2026-05-23/2026-05-24"],
  ["I started two months ago.", "2026-03-01/2026-03-31"],
  ["Lena told me she is moving to Hamburg in October.", "2026-10-01/2026-10-31"],
  ["I went to Anna's wedding in October.", "2025-10-01/2025-10-31"],
  ["I bought a lamp that is amazing in March.", "2026-03-01/2026-03-31"],
  ["I'm thinking of the boat we took in October.", "2025-10-01/2025-10-31"],
  ["Tom and I are getting married on 5 January.", "2027-01-05"],
  ["The landlord raised the rent from June.", "2026-06-01/2026-06-30"],
  ["I worked there until Jan.", "2026-01-01/2026-01-31"],
  ["I ran a lot last month.", "2026-04-01/2026-04-30"],
  ["We married last year.", "2025-01-01/2025-12-31"],
  ["I left school in 2019.", "2019-01-01/2019-12-31"],
  ["I moved here in December.", "2025-12-01/2025-12-31"],
  ["I will move in February.", "2027-02-01/2027-02-28"],
  ["I was born on 12 June 1988.", "1988-06-12"],
  ["The wedding is planned for 3 October.", "2026-10-03"],
  ["The inn has confirmed us for 3 to 10 June.", "2026-06-03/2026-06-10"],
  ["The inn charged us for 3 to 10 May.", "2026-05-03/2026-05-10"],
  ["We stayed from June 3 to June 7, 2025.", "2025-06-03/2025-06-07"],
  ["My lease will end on the 3rd.", "2026-06-03"],
  ["I paid on the 28th.", "2026-04-28"],
  ["It arrived on 2026-04-01.", "2026-04-01"]
] as const) {
  test(`"${sentence}" means ${wanted}`, () => assert.is(meant(sentence), wanted))
}

for (const sentence of [
  "I sold the boat to Jan.",
  "May is my cousin and April is hers.",
  "I live by the harbour.",
  "I eat at 7 pm.",
  "I run every Sunday.",
  "I have lived here for 3 years.",
  "I bought it today.",
  "We sat down and may go.",
  "I have 2 sun hats.",
  "I was on the 3rd floor.",
  "It costs 2026 crowns."
]) {
  test(`"${sentence}" names no date`, () => assert.is(meant(sentence), undefined))
}

test("the phrase stands where it is said to stand, without closing punctuation", () => {
  const sentence = "I was there last Sunday, and it rained."
  const found = meantTime(sentence, said)
  assert.is(sentence.slice(found?.index, (found?.index ?? 0) + (found?.phrase.length ?? 0)), "last Sunday")
})

test("the machine's zone changes nothing near midnight", () => {
  const saids = ["2026-05-20T00:10:00.000Z", "2026-05-20T23:50:00.000Z", "2026-03-08T02:30:00.000Z", "2026-12-31T22:21:00.000Z"]
  const sentences = [
    "I sold it yesterday.", "We met the day before yesterday.", "I will sell it the day after tomorrow.", "I sold it two days after 3 May.", "We met a day before last Sunday.",
    "I will see her this Thursday.", "I will be away from Monday to Wednesday.", "I sold it last month.", "I moved two weeks ago."
  ]
  const all = () => sentences.flatMap((sentence) => saids.map((at) => [sentence, at, meantTime(sentence, at)?.meant]))
  let here: ReturnType<typeof all> = []
  inZone("UTC", () => { here = all() })
  assert.equal(here.slice(0, 2).map(([, , meant]) => meant), ["2026-05-19", "2026-05-19"])
  assert.equal(here.slice(4, 6).map(([, , meant]) => meant), ["2026-05-18", "2026-05-18"])
  for (const zone of elsewhere) inZone(zone, () => assert.equal(all(), here, zone))
})

test("a date outside the years of four digits is none", () => {
  assert.is(meantTime("I will sail tomorrow.", "9999-12-31T10:00:00.000Z"), undefined)
  assert.is(meantTime("I sold it last year.", "1000-01-01T10:00:00.000Z"), undefined)
})

test.run()
