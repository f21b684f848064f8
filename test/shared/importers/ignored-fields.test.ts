import { suite } from "uvu"
import * as assert from "uvu/assert"
import { ignoredFields } from "#shared/importers/ignored-fields"
import { ignoredLine } from "#services/cli/ignored-line"

const test = suite("fields that nothing reads")

test("what is likely meant is told, where the turn lacks it, and comes first", () => {
  const fields = ignoredFields()
  fields.note(["mood", "Sent-At"], { text: "a", time: "2026-03-02" })
  fields.note(["mood", "userId", "Sent-At"], { text: "b" })
  fields.note(["mood", "thread"], { text: "c", conversation: "k" })
  const told = fields.told()
  assert.equal(told, [{ field: "Sent-At", turns: 2, meant: "time" }, { field: "userId", turns: 1, meant: "user" }, { field: "mood", turns: 3 }, { field: "thread", turns: 1 }])
  assert.is(ignoredLine(told, fields.more()), `not read: "Sent-At" in 2 turns (meant is "time"?), "userId" in 1 turn (meant is "user"?), "mood" in 3 turns, "thread" in 1 turn`)
})

test("nothing is told where everything was read", () => {
  const fields = ignoredFields()
  fields.note([], { text: "a" })
  assert.equal([fields.told(), ignoredLine(fields.told(), fields.more())], [[], undefined])
})

test("a stream of ever new names takes no more room, and a dozen is told", () => {
  const fields = ignoredFields()
  fields.note(["said_at"], {})
  for (let i = 0; i < 50_000; i++) fields.note([`${"x".repeat(1_000)}`, `field ${i}`], {})
  assert.is(fields.told().length, 12)
  assert.equal(fields.told().slice(0, 2), [{ field: "said_at", turns: 1, meant: "time" }, { field: "x".repeat(80), turns: 50_000 }])
  assert.match(ignoredLine(fields.told(), fields.more()) ?? "", / and others$/)
})

test.run()
