import { test } from "uvu"
import * as assert from "uvu/assert"
import type { EvidenceItem } from "#shared/domain/evidence"
import type { Principle } from "#shared/domain/principle"
import { attemptFeatures, features, type JudgedAttempt } from "#shared/metamemory/attempt-features"
import { catalogue } from "#shared/metamemory/catalogue"
import { wordCount } from "#shared/metamemory/operations"
import { ruleConsolidation, ruleLesson, ruleMerge, ruleProposals } from "#shared/metamemory/rules"

const memory = (n: number, text: string, speaker = "user"): EvidenceItem => ({
  memoryId: `m${n}`, kind: "turn", text, time: `2026-01-0${n}T10:00:00.000Z`, speaker, conversation: `c${n}`, turns: [`t${n}`], score: 1
})
const attempt = (over: Partial<JudgedAttempt> & { answer?: string; text?: string; abstention?: boolean }): JudgedAttempt => ({
  question: { id: "q1", text: over.text ?? "Where do I keep my spare keys now?", answer: over.answer ?? "in the blue tin", abstention: over.abstention ?? false },
  evidence: over.evidence ?? [memory(1, "My keys are under the doormat."), memory(2, "I moved my keys, they are in the blue tin.")],
  response: over.response ?? "They are under the doormat.",
  correct: over.correct ?? false
})

test("the catalogue holds at least twenty-five short general principles with known triggers", () => {
  assert.ok(catalogue.length >= 25)
  assert.is(new Set(catalogue.map(({ text }) => text)).size, catalogue.length)
  for (const { text, triggers } of catalogue) {
    assert.ok(wordCount(text) <= 30, text)
    assert.not.match(text, /\d/)
    assert.ok(triggers.length > 0 && triggers.every((trigger) => features.includes(trigger)))
  }
})

test("an older value in place of the newest is seen", () => {
  const seen = attemptFeatures(attempt({}))
  assert.is(seen.questionClass, "latest-value")
  assert.ok(seen.features.has("older-value-used"))
  assert.ok(seen.features.has("answer-in-evidence"))
  assert.not(attemptFeatures(attempt({ response: "In the blue tin.", correct: true })).features.has("older-value-used"))
})

test("numbers too low, too high and missing are told apart", () => {
  const count = (response: string) => attemptFeatures(attempt({ text: "How many different lakes did I visit?", answer: "4 lakes", response, evidence: [memory(1, "A lake today.")] })).features
  assert.ok(count("You visited 3 lakes.").has("number-too-low"))
  assert.ok(count("You visited six lakes.").has("number-too-high"))
  assert.ok(count("You visited some lakes.").has("number-missing"))
})

test("answering what was never said is seen, and so is abstaining", () => {
  assert.ok(attemptFeatures(attempt({ abstention: true, answer: "never mentioned" })).features.has("answered-unanswerable"))
  assert.ok(attemptFeatures(attempt({ response: "I do not know." })).features.has("abstained"))
})

test("a lesson of a wrong attempt ends in a principle of the catalogue and says it is rule-based", () => {
  const { lesson, by, scope } = ruleLesson(attempt({}))
  assert.is(by, "rule-based")
  assert.is(scope, "latest-value")
  assert.ok(catalogue.some(({ text }) => lesson.endsWith(`Lesson: ${text}`)))
  assert.not.match(ruleLesson(attempt({ response: "In the blue tin.", correct: true })).lesson, /Lesson:/)
})

const input = { runSeed: "r", step: 1, principles: [], ledger: [], reader: "m" }

test("proposals follow from wrong attempts, are verbatim from the catalogue and repeatable", () => {
  const proposals = ruleProposals({ ...input, attempts: [attempt({}), attempt({ response: "In the blue tin.", correct: true })] })
  assert.is(proposals.length, 2)
  for (const { operation, sources } of proposals) {
    assert.ok(catalogue.some(({ text, scope }) => text === operation.content && scope === operation.scope))
    assert.equal(sources, ["q1"])
  }
  assert.equal(ruleProposals({ ...input, attempts: [attempt({}), attempt({ response: "In the blue tin.", correct: true })] }), proposals)
  assert.equal(ruleProposals({ ...input, attempts: [] }), [])
})

test("what is in force or was turned down is not proposed again", () => {
  const [first] = ruleProposals({ ...input, attempts: [attempt({})] })
  const { content, scope } = first!.operation
  const held = ruleProposals({ ...input, attempts: [attempt({})], principles: [{ id: "P1", text: content!, scope: scope!, bornIn: 1, parents: [] }] })
  assert.not(held.some(({ operation }) => operation.content === content))
  const tried = ruleProposals({ ...input, attempts: [attempt({})], ledger: [{ id: "O1", step: 0, operation: "add", scope: scope!, text: content!, outcome: "rejected", reader: "m" }] })
  assert.not(tried.some(({ operation }) => operation.content === content))
})

test("consolidation merges near-duplicates and keeps the most supported", () => {
  const add = (content: string, source: string) => ({ operation: { operation: "add", content, scope: "time" } as const, sources: [source] })
  const kept = ruleConsolidation([add("Be brief.", "q1"), add("When dates differ, compare the days.", "q1"), add("When dates differ, compare the days.", "q2"), add("Compare the days whenever dates differ.", "q3")], 4)
  assert.equal(kept.map(({ operation, support }) => [operation.content, support]), [["When dates differ, compare the days.", 2], ["Be brief.", 1]])
  assert.is(ruleConsolidation([add("One thing.", "a"), add("Another matter.", "b")], 1).length, 1)
})

test("two principles of one scope that say nearly the same are merged in the words of the older, unless that was tried", () => {
  const at = (id: string, text: string, bornIn: number, scope: Principle["scope"] = "time"): Principle => ({ id, text, scope, bornIn, parents: [] })
  const list = [at("P1", "Be brief.", 1), at("P2", "Compare the days whenever dates differ.", 4), at("P3", "When dates differ, compare the days.", 2), at("P4", "When dates differ, compare the days.", 1, "all")]
  assert.equal(ruleMerge(list, [], "m"), { operation: "merge", ids: ["P2", "P3"], content: "When dates differ, compare the days." })
  assert.is(ruleMerge(list.filter(({ id }) => id !== "P3"), [], "m"), undefined)
  const tried = [{ id: "O5", step: 5, operation: "merge", scope: "time", text: "x", ids: ["P3", "P2"], outcome: "undecided", reader: "m" }] as const
  assert.is(ruleMerge(list, tried, "m"), undefined)
  assert.ok(ruleMerge(list, tried, "another") !== undefined)
})

test.run()
