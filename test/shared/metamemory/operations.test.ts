import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Operation, Principle } from "#shared/domain/principle"
import { applyOperations, operationId, poolProposals, principleId, refusalText } from "#shared/metamemory/operations"

const options = { runSeed: "r", step: 3, generation: 2, maxInScope: 3 }
const principle = (id: string, text: string, scope: Principle["scope"] = "all"): Principle => ({ id, text, scope, bornIn: 1, parents: ["O1"] })
const held = [principle("P1", "Check dates.", "time"), principle("P2", "Quote the memory.")]

test("an add gets an id from its place, stands at the end and names its operation", () => {
  const { principles, applied, refused } = applyOperations(held, [{ operation: "add", content: "  List all first. ", scope: "multi-evidence" }], options)
  const key = { runSeed: "r", step: 3, index: 0 }
  assert.equal(refused, [])
  assert.equal(principles[2], { id: principleId(key), text: "List all first.", scope: "multi-evidence", bornIn: 2, parents: [operationId(key)] })
  assert.is(applied[0]!.after, principles[2])
  assert.match(principleId(key), /^P3-1-[0-9a-f]{3}$/)
})

test("ids depend on seed, step and place alone", () => {
  assert.is(principleId({ runSeed: "r", step: 1, index: 2 }), principleId({ runSeed: "r", step: 1, index: 2 }))
  assert.is.not(principleId({ runSeed: "r", step: 1, index: 2 }), principleId({ runSeed: "r", step: 2, index: 1 }))
  const [only] = applyOperations([], [{ operation: "add", content: "One." }], { ...options, indices: [5] }).applied
  assert.is(only!.id, operationId({ runSeed: "r", step: 3, index: 5 }))
})

test("an update keeps id, place and scope and adds to the lineage; a delete removes", () => {
  const operations: ReadonlyArray<Operation> = [
    { operation: "update", id: "[P1]", content: "Compare dates.", scope: "preference" },
    { operation: "delete", id: "P2" }
  ]
  const { principles, applied } = applyOperations(held, operations, options)
  assert.equal(principles, [{ id: "P1", text: "Compare dates.", scope: "time", bornIn: 1, parents: ["O1", operationId({ runSeed: "r", step: 3, index: 0 })] }])
  assert.equal(applied.map(({ scope }) => scope), ["time", "all"])
})

test("every operation that cannot be applied is returned with its reason", () => {
  const long = Array.from({ length: 31 }, () => "word").join(" ")
  const { principles, refused } = applyOperations(
    held,
    [
      { operation: "delete", id: "P9" },
      { operation: "update", content: "No id." },
      { operation: "add", content: "   " },
      { operation: "add", content: long },
      { operation: "add", content: "check  DATES", scope: "time" },
      { operation: "add", content: "quote the memory", scope: "preference" },
      { operation: "delete", id: "P1" },
      { operation: "update", id: "P1", content: "Again." }
    ],
    options
  )
  assert.equal(
    refused.map(({ refusal }) => refusal.reason),
    ["UnknownId", "MissingId", "MissingContent", "TooManyWords", "DuplicateText", "DuplicateText", "AlreadyChanged"]
  )
  assert.equal(refused.map(({ index }) => index), [0, 1, 2, 3, 4, 5, 7])
  assert.equal(principles.map(({ id }) => id), ["P2"])
  for (const { refusal } of refused) assert.ok(refusalText(refusal).length > 10)
})

test("the same text may stand in another scope, and thirty words are allowed", () => {
  const thirty = Array.from({ length: 30 }, (_, i) => `w${"abcdefghijklmnopqrstuvwxyzABCD"[i]}`).join(" ")
  const { refused } = applyOperations(held, [{ operation: "add", content: "Check dates.", scope: "latest-value" }, { operation: "add", content: thirty, scope: "preference" }], options)
  assert.equal(refused, [])
})

test("a scope is full when a question of its class would be shown too many", () => {
  const adds = ["One.", "Two.", "Three."].map((content) => ({ operation: "add", content, scope: "time" }) as const)
  const { principles, refused } = applyOperations(held, adds, options)
  assert.is(principles.length, 3)
  assert.equal(refused.map(({ refusal }) => refusal.reason), ["TooManyPrinciples", "TooManyPrinciples"])
})

const several: ReadonlyArray<Principle> = [
  { ...principle("P1", "Check dates.", "time"), parents: ["O1-1-aaa", "O4-1-ddd"] },
  principle("P2", "Quote the memory."),
  { ...principle("P3", "Compare the dates.", "time"), parents: ["O2-1-bbb"] },
  { ...principle("P4", "Look at the order.", "time"), parents: ["O1-1002-ccc", "O1-1-aaa"] }
]

test("a merge makes one of several, in the place of the first that stands, with the lineage of all and its own", () => {
  const { principles, applied, refused } = applyOperations(several, [{ operation: "merge", ids: ["[P4]", "P1", "P4"], content: " Mind dates and order. ", scope: "preference" }], options)
  const key = { runSeed: "r", step: 3, index: 0 }
  assert.equal(refused, [])
  const merged: Principle = { id: principleId(key), text: "Mind dates and order.", scope: "time", bornIn: 2, parents: ["O1-1-aaa", "O1-1002-ccc", "O4-1-ddd", operationId(key)] }
  assert.equal(principles, [merged, several[1], several[2]])
  assert.equal(applied, [{ id: operationId(key), index: 0, operation: "merge", scope: "time", after: merged, merged: [several[0]!, several[3]!] }])
})

test("a merge that cannot be made is refused with its reason, and changes nothing", () => {
  const merge = (ids: ReadonlyArray<string> | undefined, content = "Mind dates."): Operation => ({ operation: "merge", content, ...(ids === undefined ? {} : { ids }) })
  const reasons = (...operations: ReadonlyArray<Operation>) => applyOperations(several, operations, options).refused.map(({ refusal }) => refusal)
  assert.equal(reasons(merge(undefined)), [{ reason: "TooFewIds" }])
  assert.equal(reasons(merge(["P1", "[P1]", " "])), [{ reason: "TooFewIds" }])
  assert.equal(reasons({ ...merge([]), id: "P1" }), [{ reason: "TooFewIds" }])
  assert.equal(reasons(merge(["P1", "P9"])), [{ reason: "UnknownId", id: "P9" }])
  assert.equal(reasons(merge(["P1", "P2"])), [{ reason: "DifferentScopes", scopes: ["time", "all"] }])
  assert.equal(reasons(merge(["P1", "P3"], "  ")), [{ reason: "MissingContent" }])
  assert.equal(reasons(merge(["P1", "P3"], Array.from({ length: 31 }, () => "word").join(" "))), [{ reason: "TooManyWords", words: 31, limit: 30 }])
  assert.equal(reasons(merge(["P1", "P3"], "look at the ORDER")), [{ reason: "DuplicateText", id: "P4" }])
  assert.equal(reasons(merge(["P1", "P3"], "Quote the memory.")), [{ reason: "DuplicateText", id: "P2" }])
  assert.equal(reasons({ operation: "update", id: "P3", content: "Compare days." }, merge(["P1", "P3"])), [{ reason: "AlreadyChanged", id: "P3" }])
  assert.equal(reasons(merge(["P1", "P3"]), { operation: "delete", id: "P1" }), [{ reason: "AlreadyChanged", id: "P1" }])
  assert.equal(reasons(merge(["P1", "P3"]), { operation: "update", id: principleId({ runSeed: "r", step: 3, index: 0 }), content: "New." }).map(({ reason }) => reason), ["AlreadyChanged"])
  assert.equal(applyOperations(several, [merge(["P1", "P2"])], options).principles, several)
  assert.match(refusalText({ reason: "TooFewIds" }), /at least two principles/)
  assert.match(refusalText({ reason: "DifferentScopes", scopes: ["time", "all"] }), /one scope, not of time and all/)
})

test("a merge may keep the words of one of those merged, and makes room in its scope", () => {
  const { principles, refused } = applyOperations(several, [{ operation: "merge", ids: ["P3", "P4"], content: "Compare the dates." }, { operation: "add", content: "New.", scope: "time" }], { ...options, maxInScope: 4 })
  assert.equal(refused, [])
  assert.equal(principles.map(({ text }) => text), ["Check dates.", "Quote the memory.", "Compare the dates.", "New."])
})

test("equal proposals become one with all their sources, the most supported first", () => {
  const pooled = poolProposals(
    [
      { operation: { operation: "add", content: "Be brief.", scope: "all" }, sources: ["q1"] },
      { operation: { operation: "add", content: "Check dates.", scope: "time" }, sources: ["q2"] },
      { operation: { operation: "add", content: "check dates", scope: "time" }, sources: ["q3", "q2"] },
      { operation: { operation: "add", content: "Check dates.", scope: "all" }, sources: ["q4"] }
    ],
    2
  )
  assert.equal(pooled.map(({ operation, sources, support }) => [operation.content, sources, support]), [["Check dates.", ["q2", "q3"], 2], ["Be brief.", ["q1"], 1]])
})

test("the published order of effects, without its overwriting, its guessed ids and its brackets that name nothing", () => {
  const start = [principle("M0", "p0"), principle("M1", "p1"), principle("M2", "p2")]
  const texts = (held: ReadonlyArray<Principle>, operations: ReadonlyArray<Operation>) => {
    const { principles, refused } = applyOperations(held, operations, { ...options, maxInScope: 9 })
    return { texts: principles.map(({ text }) => text), refused: refused.map(({ refusal }) => refusal.reason) }
  }
  const added: Operation = { operation: "add", content: "n1", scope: "all" }
  assert.equal(texts(start, [{ operation: "delete", id: "M0" }, added, { operation: "add", content: "n2", scope: "all" }]), { texts: ["p1", "p2", "n1", "n2"], refused: [] })
  assert.equal(texts(start, [added, { operation: "delete", id: "M3" }]), { texts: ["p0", "p1", "p2", "n1"], refused: ["UnknownId"] })
  assert.equal(texts(start, [{ operation: "update", id: "[M0]", content: "new" }]), { texts: ["new", "p1", "p2"], refused: [] })
  assert.equal(texts([principle("M0", "a"), principle("M2", "c")], [added]), { texts: ["a", "c", "n1"], refused: [] })
})

test.run()
