import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { proposeReply, reflectReply, replySchemas } from "#shared/model/reply-schemas"
import { withoutReasoning } from "#shared/model/reply-text"
import { type Role, roles } from "#shared/model/roles"

const test = suite("reply schemas")
const read = (role: Role, reply: unknown) => replySchemas[role].decode(typeof reply === "string" ? reply : JSON.stringify(reply)) as Result.Result<unknown, string>
const accepts = (role: Role, reply: unknown, value: unknown = reply) => assert.equal(Result.getOrThrow(read(role, reply)), value)
const refuses = (role: Role, reply: unknown, why: RegExp) => {
  const result = read(role, reply)
  if (Result.isSuccess(result)) assert.unreachable(`${role} took ${JSON.stringify(reply)}`)
  else assert.match(result.failure, why)
}

test("each role's reply is read", () => {
  accepts("extract", { facts: [{ turns: [0, 3], fact: "Ann has a cat.", time: "2023-05-01" }] })
  accepts("extract", { facts: [] })
  accepts("reconcile", { action: "merge", text: "Ann has two cats." })
  accepts("answer", "  In May.\n", "In May.")
  accepts("judge", { reason: "same", verdict: "no" })
  accepts("reflect", { lesson: "Count twice.", scope: "multi-evidence" })
  accepts("propose", { operations: [{ operation: "add", content: "Count.", scope: "all" }] })
  accepts("consolidate", { operations: [] })
})

test("null, and blank in operations, mean that a member is absent; members not asked for are dropped", () => {
  accepts("extract", { facts: [{ turns: [1], fact: "x", time: null, sure: true }] }, { facts: [{ turns: [1], fact: "x" }] })
  accepts("propose", { operations: [{ operation: "delete", id: "P1", content: "", scope: null }], why: "old" }, { operations: [{ operation: "delete", id: "P1" }] })
})

test("a merge is read of a consolidation alone, with its ids and nothing of other operations", () => {
  const merge = { operation: "merge", ids: ["P1", "P2"], content: "Count." }
  accepts("consolidate", { operations: [{ ...merge, id: null, scope: null }] }, { operations: [merge] })
  accepts("consolidate", { operations: [{ operation: "update", id: "P1", ids: [], content: "x", scope: null }, { ...merge, id: "P1", scope: "all" }] }, { operations: [{ operation: "update", id: "P1", content: "x" }, merge] })
  accepts("consolidate", { operations: [{ operation: "merge", ids: null, content: "" }] }, { operations: [{ operation: "merge" }] })
  refuses("consolidate", { operations: [{ ...merge, ids: "P1, P2" }] }, /ids/)
  refuses("consolidate", { operations: [{ operation: "rewrite", content: "x" }] }, /operation/)
  refuses("propose", { operations: [merge] }, /operation/)
  assert.not.match(JSON.stringify(replySchemas.propose.jsonSchema), /merge|ids/)
  assert.equal([replySchemas.propose.version, replySchemas.consolidate.version], [1, 2])
})

test("a bare list stands for the one list a reply holds", () => {
  accepts("extract", [{ turns: [1], fact: "x" }], { facts: [{ turns: [1], fact: "x" }] })
  accepts("propose", '```json\n[{"operation": "add", "content": "x"}]\n```', { operations: [{ operation: "add", content: "x" }] })
})

test("replies that do not fit are refused, saying why", () => {
  refuses("extract", { facts: [{ turns: ["a"], fact: "x" }] }, /turns/)
  refuses("extract", { facts: [{ turns: [1.5], fact: "x" }] }, /turns/)
  refuses("extract", { facts: [{ turns: [1], fact: "" }] }, /fact/)
  refuses("extract", '["not", "objects"]', /facts/)
  refuses("reconcile", { action: "delete" }, /action/)
  refuses("reconcile", { action: "merge", text: " " }, /merge needs a text/)
  refuses("propose", { operations: [{ operation: "rewrite", content: "x" }] }, /operation/)
  refuses("propose", { operations: [{ operation: "add", content: "x", scope: "everything" }] }, /scope/)
  refuses("reflect", { lesson: "", scope: "all" }, /lesson/)
  refuses("reflect", "I cannot say.", /no complete JSON/)
  refuses("answer", " \n\t ", /empty/)
})

test("a verdict in plain text counts only as the first word", () => {
  accepts("judge", "**Yes**, as both name May.", { reason: "**Yes**, as both name May.", verdict: "yes" })
  accepts("judge", "No, it says yes", { reason: "No, it says yes", verdict: "no" })
  accepts("judge", "No, yesterday", { reason: "No, yesterday", verdict: "no" })
  accepts("judge", "Verdict: no", { reason: "Verdict: no", verdict: "no" })
  accepts("judge", { reason: "", verdict: "Yes" }, { reason: "", verdict: "yes" })
  refuses("judge", "It is hard to tell; yes or no?", /no complete JSON/)
  refuses("judge", "Yesterday it was said.", /no complete JSON/)
  refuses("judge", "**Partially**", /no complete JSON/)
  refuses("judge", { reason: "half", verdict: "partly" }, /verdict/)
})

test("verdicts the published parser took or turned round: yes and no as first word count, all else is asked again", () => {
  for (const yes of ["Yes", "yes.", "Yes, it does", "**Yes**", "\n\n  \nyes", "Answer: yes"]) accepts("judge", yes, { reason: yes, verdict: "yes" })
  for (const no of ["No, it says yes", "No, yesterday"]) accepts("judge", no, { reason: no, verdict: "no" })
  for (const unclear of ["Nope, but eyes", "Correct", "unknown", ""]) refuses("judge", unclear, /no complete JSON/)
  accepts("judge", withoutReasoning("<think>no, or yes</think>\nYes") ?? "", { reason: "Yes", verdict: "yes" })
})

test("facts that cannot be read are asked for again and are never an empty list", () => {
  const facts = [{ turns: [1], fact: "Ann has a cat." }]
  accepts("extract", { facts })
  accepts("extract", `\`\`\`json\n${JSON.stringify(facts)}\n\`\`\``, { facts })
  accepts("extract", JSON.stringify(facts), { facts })
  accepts("extract", withoutReasoning(`<think>one {fact}</think>${JSON.stringify({ facts })}`) ?? "", { facts })
  refuses("extract", { facts: facts[0] }, /facts/)
  refuses("extract", "There is nothing to remember here.", /no complete JSON/)
})

test("scopes that are not on offer are refused, and stand in no schema", () => {
  const narrow = proposeReply(["all", "time"])
  assert.ok(Result.isFailure(narrow.decode('{"operations": [{"operation": "add", "content": "x", "scope": "preference"}]}')))
  assert.not.match(JSON.stringify(narrow.jsonSchema), /preference/)
  assert.ok(Result.isFailure(reflectReply(["time"]).decode('{"lesson": "x", "scope": "all"}')))
})

test("the JSON schemas ask for every member and allow no other, as strict output wants", () => {
  const check = (schema: unknown): void => {
    if (typeof schema !== "object" || schema === null) return
    const { additionalProperties, properties, required } = schema as { readonly [name: string]: unknown }
    if (properties !== undefined) {
      assert.equal(required, Object.keys(properties as object))
      assert.is(additionalProperties, false)
    }
    for (const member of Object.values(schema)) check(member)
  }
  for (const role of roles) check(replySchemas[role].jsonSchema)
  assert.is(replySchemas.answer.jsonSchema, undefined)
})

test.run()
