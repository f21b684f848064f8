import { test } from "uvu"
import * as assert from "uvu/assert"
import { canonicalJson } from "#shared/domain/canonical-json"
import type { Principle } from "#shared/domain/principle"
import { blame, type DecidedOperation, diffGenerations, type GateRecord, generationHash, history, type SealedGeneration } from "#shared/metamemory/generation"

const principle = (id: string, text: string, parents: ReadonlyArray<string>): Principle => ({ id, text, scope: "time", bornIn: 1, parents })
const record: GateRecord = {
  scope: "time", policy: "likely", decision: "accepted", operations: ["O1"],
  counts: { questions: 20, samples: 3, incumbentCorrect: 30, candidateCorrect: 36, incumbentErrors: 0, candidateErrors: 0 }
}
const p1 = principle("P1", "Compare dates.", ["O1"])
const p1changed = principle("P1", "Compare calendar dates.", ["O1", "O3"])
const p2 = principle("P2", "Read twice.", ["O2"])

test("canonical JSON does not depend on the order of keys and leaves out what is undefined", () => {
  assert.is(canonicalJson({ b: [1, { d: null, c: "ü" }], a: undefined }), '{"b":[1,{"c":"ü","d":null}]}')
  assert.throws(() => canonicalJson({ a: Number.NaN }), RangeError)
})

test("the hash covers number, text, lineage and counts, and nothing else", () => {
  const content = { number: 1, principles: [p1], gate: [record] }
  const hash = generationHash(content)
  assert.match(hash, /^[0-9a-f]{64}$/)
  assert.is(generationHash({ ...content, at: "2026-01-01" } as typeof content), hash)
  assert.is(generationHash({ ...content, principles: [{ ...p1, bornIn: 9 }] }), hash)
  for (const other of [
    { ...content, number: 2 },
    { ...content, principles: [p1changed] },
    { ...content, principles: [{ ...p1, parents: [] }] },
    { ...content, gate: [{ ...record, counts: { ...record.counts, candidateCorrect: 37 } }] }
  ]) assert.is.not(generationHash(other), hash)
})

test("the hash of the empty generation is fixed", () =>
  assert.is(generationHash({ number: 0, principles: [], gate: [] }), "b0e383e776f107dc5d16300e54ba9a71cb37902df578b330e426ddc9f07302d6"))

test("a diff names what was added, removed and changed", () => {
  const { added, removed, changed, kept } = diffGenerations([p1, p2], [p1changed, principle("P3", "New.", [])])
  assert.equal([added.map((p) => p.id), removed.map((p) => p.id), changed.map((c) => c.id), kept], [["P3"], ["P2"], ["P1"], 0])
  assert.is(diffGenerations([p1], [p1]).kept, 1)
})

test("a diff tells what was merged into what, also where it was changed on the way", () => {
  const merged = principle("P4", "Compare and read.", ["O1", "O2", "O3", "O4"])
  assert.equal(diffGenerations([p1, p2, principle("P5", "Gone.", ["O5"])], [merged]).merged, [{ into: "P4", from: ["P1", "P2"] }])
  assert.equal(diffGenerations([p1, p2], [p1changed]).merged, [])
  assert.equal(diffGenerations([p1], [principle("P6", "New.", ["O6"])]).merged, [])
})

const operation = (id: string, step: number, decision: string, change: Partial<DecidedOperation>): DecidedOperation => ({
  id, index: 0, step, proposed: step, decision, reason: "", difference: null, asked: 0, operation: "update", scope: "time", sources: [`q${step}`], ...change
})
const operations = [
  operation("O3", 3, "accepted", { before: p1, after: p1changed }),
  operation("O1", 1, "accepted", { operation: "add", after: p1 }),
  operation("O2", 2, "rejected", { before: p1, after: principle("P1", "Worse.", ["O1", "O2"]), proposed: 1, reason: "not better", difference: -0.03, asked: 20 })
]
const generations: ReadonlyArray<SealedGeneration> = [
  { number: 0, step: -1, principles: [], hash: "" },
  { number: 1, step: 1, principles: [p1], hash: "" },
  { number: 2, step: 3, principles: [p1changed], hash: "" }
]

test("blame gives the operations that made a principle, oldest first, and names those it does not know", () => {
  const found = blame(generations[2]!, operations, "P1")!
  assert.equal(found.operations.map(({ id, sources }) => [id, sources]), [["O1", ["q1"]], ["O3", ["q3"]]])
  assert.equal(found.unknown, [])
  assert.equal(blame(generations[2]!, [], "P1")!.unknown, ["O1", "O3"])
  assert.is(blame(generations[0]!, operations, "P1"), undefined)
})

test("a history holds refused attempts too, in order of step", () => {
  const { entries, generations: numbers } = history(generations, operations, "P1")
  assert.equal(entries.map(({ what, text }) => [what, text]), [["added", "Compare dates."], ["refused by the gate", "Worse."], ["updated", "Compare calendar dates."]])
  assert.equal([entries[1]?.kind, entries[1]?.proposed, entries[1]?.reason, entries[1]?.difference, entries[1]?.asked], ["update", 1, "not better", -0.03, 20])
  assert.equal(numbers, [1, 2])
})

test.run()
