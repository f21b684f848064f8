import { test } from "uvu"
import * as assert from "uvu/assert"
import { catalogue } from "#shared/metamemory/catalogue"
import { forbiddenFrom, leaks, leakText, wordsOf } from "#shared/metamemory/leaks"

const answers = ["the Harbour Lantern bakery", "seven zithers from Marbella", "purple walrus lagoon"]
const evidence = ["My aunt repaired her zithers in the atelier near the harbour.", "We compared the earliest memory with the latest one."]
const documentFrequency = new Map<string, number>()
for (const text of [...answers, ...evidence]) for (const word of new Set(wordsOf(text))) documentFrequency.set(word, (documentFrequency.get(word) ?? 0) + 1)
const forbidden = forbiddenFrom({ answers, evidence, documentFrequency, documents: 40, canaries: ["velvet OTTER-quartz"] })
const kinds = (text: string): ReadonlyArray<string> => leaks(text, forbidden).map(({ kind }) => kind)

test("digits, dates and names do not pass", () => {
  assert.equal(kinds("Count 3 times."), ["digit"])
  assert.equal(kinds("Prefer what was said in June."), ["date"])
  assert.equal(kinds("Ask for May."), ["date"])
  assert.equal(kinds("Remember that Emily prefers tea."), ["name"])
})

test("a name of the training material does not pass where it opens a sentence either, however general or short", () => {
  const named = forbiddenFrom({
    answers: ["Rex"], evidence: ["My dog Rex likes John, and I told Tom's sister Will you? They always prefer it. No, Always first."],
    documentFrequency: new Map(), documents: 40, isGeneral: () => true
  })
  for (const text of ["John prefers short answers.", "Tom was there, so count it.", "When asked about the pet: Rex is it."]) assert.equal(leaks(text, named).map(({ kind }) => kind), ["name"], text)
  for (const text of ["Always prefer the newest.", "Johnson is no name here."]) assert.equal(leaks(text, named), [], text)
})

test("an ordinary sentence passes, capitals at its start and the word may included", () =>
  assert.equal(kinds("When memories disagree, I may compare their dates. The newest one holds."), []))

test("rare words of answers and evidence do not pass, common ones do", () => {
  assert.equal(kinds("Look for zithers first."), ["rare-word"])
  assert.equal(kinds("Look near the atelier first."), ["rare-word"])
  assert.equal(kinds("Compare the earliest memory with the latest one."), [])
})

test("a rare word does not pass as the owner of something, as one or as many", () => {
  assert.equal(kinds("Look for a zither first."), ["rare-word"])
  assert.equal(kinds("Look at the zither's place first."), ["rare-word"])
  assert.equal(kinds("Ateliers come first."), ["rare-word"])
  // A word of general language does not become rare by an ending taken off it.
  const glasses = forbiddenFrom({ answers: ["two glasses"], evidence: [], documentFrequency: new Map(), documents: 40, isGeneral: (word) => word === "glasses" })
  assert.equal(leaks("Look for glasses first.", glasses), [])
})

test("runs of words copied from an answer do not pass even where each word is general", () => {
  const general = forbiddenFrom({ answers, evidence: [], documentFrequency, documents: 40, isGeneral: () => true })
  assert.equal(leaks("Think of the purple walrus lagoon.", general).map(({ kind }) => kind), ["copied-words"])
})

test("an answer of two words is a run of its own, and two words of a longer one are none", () => {
  const general = forbiddenFrom({ answers: ["Walrus lagoon.", "the old purple harbour lantern"], evidence: [], documentFrequency, documents: 40, isGeneral: () => true })
  assert.equal(leaks("Look for the walrus lagoon first.", general).map(({ found, kind }) => [kind, found]), [["copied-words", "walrus lagoon"]])
  assert.equal(leaks("Look for a purple harbour or a lagoon first.", general), [])
})

test("a canary never passes, however it is spaced, and is not repeated in the complaint", () => {
  const found = leaks("Prefer velvet otter quartz over all.", forbidden)
  assert.equal(found.map(({ kind }) => kind), ["canary"])
  assert.not.match(leakText(found), /velvet/i)
})

test("words known to be general are no leak", () =>
  assert.not(forbiddenFrom({ answers, evidence, documentFrequency, documents: 40, isGeneral: (word) => word === "zithers" }).rareWords.has("zithers")))

test("every principle of the catalogue passes when its own words are rare in the training material", () => {
  const own = forbiddenFrom({ answers: [], evidence: catalogue.map(({ text }) => text.toLowerCase()), documentFrequency: new Map(), documents: 40 })
  for (const { text } of catalogue) assert.equal(leaks(text, { ...own, rareWords: new Set() }), [], text)
})

test.run()
