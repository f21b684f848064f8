import { test } from "uvu"
import * as assert from "uvu/assert"
import { asAttempt, inherited, ledgerFor, type LedgerEntry, likeness, nearlySame, triedBefore } from "#shared/metamemory/ledger"

const entry = (id: string, scope: LedgerEntry["scope"], text: string, operation: LedgerEntry["operation"] = "add"): LedgerEntry => ({
  id, step: 1, operation, scope, text, outcome: "rejected", reader: "model-a"
})
const frames = ["When dates differ, compare the calendar days.", "Compare the calendar days whenever dates differ.", "If dates differ, it is best to compare the calendar days."]
const ledger = [entry("O1", "time", frames[0]!), entry("O2", "all", "Quote the memory word for word."), entry("O3", "time", "List every date first.", "delete")]

test("the same idea in another frame is nearly the same, another idea is not", () => {
  assert.ok(likeness(frames[0]!, frames[1]!) >= nearlySame)
  assert.ok(likeness(frames[0]!, frames[2]!) >= nearlySame)
  assert.ok(likeness(frames[0]!, "When dates differ, trust the newest message.") < nearlySame)
  assert.is(likeness("The!", "the"), 1)
  assert.is(likeness("", "memory"), 0)
})

test("what was tried in the same scope with the same reader is found again", () => {
  const attempt = { operation: "add", scope: "time", text: frames[2]! } as const
  assert.is(triedBefore(attempt, ledger, "model-a")?.id, "O1")
  assert.is(triedBefore(attempt, ledger, "model-b"), undefined)
  assert.is(triedBefore({ ...attempt, scope: "preference" }, ledger, "model-a"), undefined)
})

test("a delete and an add of the same text are different attempts", () => {
  assert.is(triedBefore({ operation: "add", scope: "time", text: "List every date first." }, ledger, "model-a"), undefined)
  assert.is(triedBefore({ operation: "delete", scope: "time", text: "List every date first." }, ledger, "model-a")?.id, "O3")
})

test("a merge of the same principles is the same attempt, whatever its words; other directions are not", () => {
  const merged: LedgerEntry = { ...entry("O4", "all", "Mind the dates.", "merge"), ids: ["P1", "P2"] }
  const attempt = { operation: "merge", scope: "time", text: "Other words.", ids: ["[P2]", "P1"] } as const
  assert.is(triedBefore(attempt, [...ledger, merged], "model-a")?.id, "O4")
  assert.is(triedBefore(attempt, [merged], "model-b"), undefined)
  assert.is(triedBefore({ ...attempt, ids: ["P1", "P2", "P3"] }, [merged], "model-a"), undefined)
  assert.is(triedBefore({ operation: "add", scope: "all", text: "Mind the dates." }, [merged], "model-a"), undefined)
  assert.is(triedBefore({ ...attempt, scope: "time", text: frames[0]! }, ledger, "model-a"), undefined)
})

test("a proposer is shown the newest entries of the scopes at hand, each text once", () => {
  const longer = [...ledger, entry("O4", "time", frames[0]!), entry("O5", "time", "Think of the season.")]
  assert.equal(ledgerFor(longer, new Set(["time"]), 2).map(({ id }) => id), ["O4", "O5"])
  assert.equal(ledgerFor(longer, new Set(["time", "all"]), 9).map(({ id }) => id), ["O2", "O3", "O4", "O5"])
})

test("a run takes over what those before it tried, each text once, the newest of many", () => {
  assert.equal(inherited([ledger, [entry("O4", "time", `${frames[0]!.toUpperCase()}`)]]).map(({ id }) => id), ["O2", "O3", "O4"])
  assert.equal(inherited([ledger, [{ ...ledger[0]!, id: "O5", reader: "model-b" }]]).map(({ id }) => id), ["O1", "O2", "O3", "O5"], "another reader is another matter")
  const many = Array.from({ length: 300 }, (_, at) => entry(`M${at}`, "time", `Idea ${at}.`))
  assert.equal([inherited([many]).length, inherited([many])[0]?.id], [200, "M100"])
  const merged = (id: string, ids: ReadonlyArray<string>): LedgerEntry => ({ ...entry(id, "time", frames[0]!, "merge"), ids })
  assert.equal(inherited([[entry("O1", "time", frames[0]!), merged("O6", ["P1", "P2"])], [{ ...merged("O7", ["P2", "P1"]), text: "Other words." }, merged("O8", ["P1", "P3"])]]).map(({ id }) => id), ["O1", "O7", "O8"])
  assert.equal(inherited([]), [])
})

test("an update of a ledger entry becomes an add, other operations stay", () => {
  assert.equal(asAttempt({ operation: "update", id: "[O1]", content: "New.", scope: "time" }, ledger), { operation: "add", content: "New.", scope: "time" })
  assert.equal(asAttempt({ operation: "update", id: "P1", content: "New." }, ledger), { operation: "update", id: "P1", content: "New." })
  assert.equal(asAttempt({ operation: "delete", id: "O1" }, ledger), { operation: "delete", id: "O1" })
})

test.run()
