import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Principle } from "#shared/domain/principle"
import { checked, forbiddenIn } from "#services/reflector/checks"
import { excerpt } from "#services/reflector/material"

const test = suite("what reaches a run")
const principle: Principle = { id: "P1", text: "Prefer the newest memory.", scope: "all", bornIn: 1, parents: [] }
const add = (content: string) => ({ operation: "add" as const, content, scope: "all" as const })

test("general sentences pass", () => {
  const { complaint, operations } = checked([add("List every matching memory before counting.")], [principle], [], forbiddenIn(["a green kayak"], ["I bought it from Lise."], []))
  assert.is(operations.length, 1)
  assert.is(complaint, undefined)
})

test("digits, names of the case, planted strings, long sentences and unknown ids do not pass, and the complaint repeats no planted string", () => {
  const forbidden = forbiddenIn(["the zorblatt festival"], ["We met Quentilda at the harbour."], ["CANARY-77a"])
  const { complaint = "", discarded, operations } = checked(
    [
      add("Remember that it costs 240 euros."),
      add("Look for what Quentilda said."),
      add("Think of canary 77A always."),
      add("Mention the zorblatt when asked."),
      add(Array.from({ length: 31 }, () => "word").join(" ")),
      { operation: "delete", id: "P9" },
      { operation: "update", id: "P1" }
    ],
    [principle], [], forbidden
  )
  assert.equal(operations, [])
  assert.is(Object.values(discarded).reduce((sum, n) => sum + n, 0), 7)
  assert.ok(!/canary/i.test(complaint))
  assert.match(complaint, /30/)
  assert.match(complaint, /P9/)
})

test("an update of what the ledger lists becomes an add, brackets around an id or not", () => {
  const { operations } = checked([{ operation: "update", id: "[O1-1-abc]", content: "Read the question twice.", scope: "time" }], [principle], [{ id: "O1-1-abc" }], forbiddenIn([], [], []))
  assert.equal(operations, [{ operation: "add", content: "Read the question twice.", scope: "time" }])
})

test("an id that comes back in the brackets it was shown in names its principle for whoever reads it later", () => {
  const { operations } = checked([{ operation: "update", id: "[P1]", content: "Prefer what was said last." }, { operation: "delete", id: " [P1] " }], [principle], [], forbiddenIn([], [], []))
  assert.equal(operations.map(({ id }) => id), ["P1", "P1"])
})

test("a merge passes where it may be made, and is held to words and leaks as any other", () => {
  const held: ReadonlyArray<Principle> = [principle, { ...principle, id: "P2", text: "Read twice." }, { ...principle, id: "P3", text: "Mind dates.", scope: "time" }]
  const merge = (ids: ReadonlyArray<string>, content: string) => ({ operation: "merge" as const, ids, content })
  const { complaint = "", discarded, operations } = checked(
    [merge(["[P1]", "P2"], "Read twice and prefer the newest."), merge(["P1"], "Read."), merge(["P1", "P3"], "Read."), merge(["P1", "P9"], "Read."), merge(["P1", "P2"], "Look for what Quentilda said.")],
    held, [], forbiddenIn([], ["We met Quentilda at the harbour."], [])
  )
  assert.equal(operations, [merge(["P1", "P2"], "Read twice and prefer the newest.")])
  assert.equal(discarded, { TooFewIds: 1, DifferentScopes: 1, UnknownId: 1, "leak: name": 1 })
  assert.match(complaint, /at least two principles; .*one scope, not of all and time/)
})

test("a long memory is cut to the sentences that bear on the question, in their order", () => {
  const filler = Array.from({ length: 60 }, (_, i) => `Filler sentence number ${i} about nothing.`).join(" ")
  const cut = excerpt(`${filler} The kayak is green. ${filler} I sold the kayak in May.`, "what colour is the kayak", 200)
  assert.ok(cut.length <= 200)
  assert.ok(cut.indexOf("green") < cut.indexOf("May") && cut.includes("green"))
  assert.is(excerpt("short", "anything"), "short")
})

test.run()
