import { suite } from "uvu"
import * as assert from "uvu/assert"
import { candidatePairs, candidatesPerMemory, isOlder, type PairMember, settlePairs } from "#shared/domain/reconcile-pairs"
import { featureNames, featuresOf, statementOf } from "#services/compressor/construction/reconcile-features"
import { decideReconcile, type ReconcileAction } from "#services/compressor/construction/reconcile-rules"

const test = suite("reconciliation by rule")
const at = (day: number): string => `2026-05-${String(day).padStart(2, "0")}T10:00:00.000Z`
const decide = (earlier: string, later: string): ReconcileAction => decideReconcile({ text: earlier, time: at(1) }, { text: later, time: at(20) }).action

for (const [earlier, later, wanted] of [
  ["The user lives in Brennick.", "The user moved to Dunmere and no longer lives in Brennick.", "supersede"],
  ["The user's rent is 700 euros a month.", "The user's rent is 750 euros a month.", "supersede"],
  ["The user's favourite tea is Assam.", "The user's favourite tea is Darjeeling now.", "supersede"],
  ["The user has a cat called Puk.", "The user has a dog called Rex.", "keep"],
  ["The user's brother lives in Oslo.", "The user's sister lives in Bergen.", "keep"],
  ["The user visited Oslo in March.", "The user visited Bergen in June.", "keep"],
  ["The user is thinking of getting a new bedside table.", "The user is thinking of getting a few throw pillows.", "keep"],
  ["The user is planning to add water wisteria to their tank.", "The user is planning to add driftwood to their tank.", "keep"],
  ["The user likes jazz.", "The user also likes blues.", "keep"],
  ["The user lives in Brennick.", "The user lives in Brennick.", "merge"]
] as const) {
  test(`"${earlier}" then "${later}" is ${wanted}`, () => assert.is(decide(earlier, later), wanted))
}

test("the same words about an event weeks later are two occasions, within days one", () => {
  const text = "The user walked to Hollow Tarn on Sunday."
  assert.is(decideReconcile({ text, time: at(1) }, { text, time: at(20) }).action, "keep")
  assert.is(decideReconcile({ text, time: at(1) }, { text, time: at(2) }).action, "merge")
})

test("events whose dates are apart are kept", () => {
  const decision = decideReconcile(
    { text: "The user ran the harbour race in 40 minutes.", time: at(1), meant: "2026-04-04" },
    { text: "The user ran the harbour race in 38 minutes.", time: at(20), meant: "2026-05-11/2026-05-17" }
  )
  assert.equal(decision, { action: "keep", reason: "two occasions" })
})

test("what different speakers say of themselves is kept", () => {
  assert.is(decideReconcile({ text: "I live in Oslo.", time: at(1), speaker: "Nora" }, { text: "I live in Oslo.", time: at(2), speaker: "Ivo" }).action, "keep")
})

test("texts far apart by vector and word are kept", () => {
  assert.is(decideReconcile({ text: "The user owns a loom.", time: at(1) }, { text: "It rained today.", time: at(2) }, 0.1).reason, "nothing in common")
})

test("a merge keeps the fuller wording", () => {
  const fuller = "The loft insulation by Grieve costs 4000 euros in total."
  const same = { text: fuller, time: at(2) }
  assert.is(decideReconcile({ text: fuller, time: at(1) }, same).text, fuller)
})

test("odd texts are decided without failing, and every feature stays within bounds", () => {
  for (const a of ["", "🗺️", "我住在北京。", "x".repeat(5000), "Not.", "'s", "The", "12 12 12"]) {
    for (const b of ["", "no longer", "The user lives in Oslo."]) {
      decide(a, b)
      const features = featuresOf(statementOf(a), statementOf(b))
      for (const name of featureNames) assert.ok(features[name] >= 0 && features[name] <= 1, `${name} of ${a}, ${b}`)
    }
  }
})

test("numbers are read from words, ordinals and times of day", () => {
  assert.equal([...statementOf("On the sixth at 3 p.m. seven of us paid 1,250.").numbers], ["6", "15", "7", "1250"])
})

const member = (id: string, day: number, more: Partial<PairMember> = {}): PairMember => ({ id, kind: "fact", time: at(day), ...more })

test("candidates are older facts in force, closest first and few", () => {
  const later = member("z", 10)
  const near = (memory: ReturnType<typeof member>, cosine: number) => ({ memory, cosine })
  const found = candidatePairs(later, [
    near(member("a", 1), 0.7),
    near(member("newer", 12), 0.99),
    near(member("far", 1), 0.2),
    near(member("gone", 1, { supersededBy: "a" }), 0.9),
    near(member("turn", 1, { kind: "turn" }), 0.9),
    near(later, 1),
    near(member("b", 2), 0.8)
  ])
  assert.equal(found.map(({ earlier }) => earlier.id), ["b", "a"])
  assert.is(candidatePairs(later, Array.from({ length: 50 }, (_, i) => near(member(`m${i}`, 1), 0.9))).length, candidatesPerMemory)
  assert.equal(candidatePairs({ ...later, supersededBy: "q" }, [near(member("a", 1), 0.9)]), [])
})

test("of two facts of one time only one can be the later", () => {
  assert.ok(isOlder(member("a", 1), member("b", 1)))
  assert.not(isOlder(member("b", 1), member("a", 1)))
  const both = [
    { earlier: member("a", 1), later: member("b", 1), action: "supersede" as const },
    { earlier: member("b", 1), later: member("a", 1), action: "supersede" as const }
  ]
  assert.equal(settlePairs(both).map(({ earlier }) => earlier.id), ["a"])
})

test("a memory is replaced once, by the latest, in whatever order decisions come", () => {
  const decided = [
    { earlier: member("a", 1), later: member("c", 9), action: "supersede" as const },
    { earlier: member("a", 1), later: member("b", 5), action: "merge" as const },
    { earlier: member("b", 5), later: member("c", 9), action: "supersede" as const },
    { earlier: member("a", 1), later: member("d", 12), action: "keep" as const }
  ]
  const wanted = [["a", "c"], ["b", "c"]]
  assert.equal(settlePairs(decided).map(({ earlier, later }) => [earlier.id, later.id]), wanted)
  assert.equal(settlePairs(decided.toReversed()).map(({ earlier, later }) => [earlier.id, later.id]), wanted)
})

test.run()
