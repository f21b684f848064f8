/** Grammars of schemas: what they are made of, and which schemas are refused. That replies keep to them is tested on the model. */
import { Result } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { schemaGrammar } from "#services/localmodel/json-grammar"

const rules = (schema: unknown) => Result.getOrThrow(schemaGrammar(schema)).split("\n")
const refusal = (schema: unknown) => {
  const result = schemaGrammar(schema)
  if (Result.isSuccess(result)) throw new Error(`accepted: ${result.success}`)
  return result.failure
}

test("every rule that is used is there, once", () => {
  const schema = {
    type: "object",
    properties: {
      facts: { type: "array", items: { $ref: "#/$defs/Fact" } },
      note: { anyOf: [{ type: "string" }, { type: "null" }] }
    },
    required: ["facts"],
    $defs: { Fact: { type: "object", properties: { turns: { type: "array", items: { type: "integer" } }, fact: { type: "string" } }, required: ["turns", "fact"] } }
  }
  const lines = rules(schema).filter((line) => line !== "")
  const names = lines.map((line) => line.split(" ::= ")[0] ?? "")
  assert.is(new Set(names).size, names.length)
  for (const line of lines) {
    const body = (line.split(" ::= ")[1] ?? "").replaceAll(/"(\\.|[^"\\])*"/g, " ").replaceAll(/\[(\\.|[^\]\\])*\]/g, " ").replaceAll(/\{[\d,]*\}/g, " ")
    for (const used of body.match(/[a-z]+\d*/g) ?? []) assert.ok(names.includes(used), `${used} in ${line}`)
  }
})

test("quotes and backslashes of a name are escaped twice, for JSON and for the grammar", () => {
  assert.ok(rules({ const: "a\"b\\c" }).includes(String.raw`root ::= "\"a\\\"b\\\\c\""`))
})

test("limits of texts and arrays are kept, and there is one where none is stated", () => {
  assert.match(rules({ type: "string", minLength: 2, maxLength: 5 }).join("\n"), /character\{2,5\}/)
  assert.match(rules({ type: "string" }).join("\n"), /r0 ::= .*character\{0,\d+\}/)
  assert.match(rules({ type: "array", items: { type: "null" }, minItems: 2, maxItems: 3 }).join("\n"), /\{1,2\}/)
  assert.ok(rules({ type: "array", maxItems: 0 }).includes("root ::= \"[]\""))
})

test("a schema that refers to itself ends", () => {
  const tree = { $ref: "#/$defs/Tree", $defs: { Tree: { type: "object", properties: { below: { type: "array", items: { $ref: "#/$defs/Tree" } } } } } }
  assert.ok(rules(tree).some((line) => line.startsWith("ref0 ::= ")))
})

test("shapes that a grammar cannot hold are refused by name", () => {
  for (const schema of [{ not: { type: "string" } }, { type: "object", patternProperties: { a: {} } }, { type: "array", prefixItems: [{}] }]) {
    assert.is(refusal(schema).code, "unsupported_schema")
  }
  assert.match(refusal({ not: {} }).message, /"not"/)
})

test("schemas that contradict themselves are refused", () => {
  assert.match(refusal({ type: "string", minLength: 3, maxLength: 2 }).message, /minLength/)
  assert.match(refusal({ type: "object", properties: {}, required: ["a"] }).message, /"a" is required/)
  assert.match(refusal({ $ref: "#/$defs/none" }).message, /nowhere/)
  assert.match(refusal({ $ref: "#" }).message, /itself/)
  assert.match(refusal({ $ref: "https://elsewhere/schema" }).message, /out of the schema/)
  assert.match(refusal({ enum: [] }).message, /nothing/)
  assert.match(refusal({ type: "text" }).message, /"type"/)
  assert.match(refusal({ type: "array", maxItems: 1e9 }).message, /maxItems/)
})

test("a schema of endless size is refused", () => {
  const wide = { type: "object", properties: Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`p${i}`, { type: "null" }])) }
  assert.match(refusal(wide).message, /parts/)
})

test.run()
