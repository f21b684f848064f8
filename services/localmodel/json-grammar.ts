/**
 * JSON Schema to a grammar of llama.cpp (GBNF), so that a reply cannot but fit its schema.
 *
 * Replies are written in one style (`{"a": 1, "b": [2, 3]}`): whitespace is where small models get lost. Texts and arrays without a limit
 * of their own get one, because such a model seldom ends them by itself; whatever is then written still fits the schema. Limits on values
 * (`pattern`, `format`, `maximum`, …) are not enforced: whoever asked checks the reply in any case. What would change the shape and is not
 * supported is refused.
 */
import { Result } from "effect"
import { type ApiError, badRequest } from "./api-error.ts"

/** Characters of a text and items of an array that state no limit. */
const textLimit = 400
const itemLimit = 8
/** Schemas inside a schema, all counted. */
const schemaLimit = 400

type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }
type JsonObject = { readonly [key: string]: Json }

class Unsupported extends Error {}

const isObject = (value: unknown): value is JsonObject => typeof value === "object" && value !== null && !Array.isArray(value)

const quoted = (text: string): string => `"${text.replaceAll("\\", "\\\\").replaceAll("\"", "\\\"")}"`
const literal = (value: Json): string => quoted(JSON.stringify(value))

const common = `character ::= [^"\\\\\\x00-\\x1F\\x7F] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4})
natural ::= "0" | [1-9] [0-9]{0,8}
fraction ::= "." [0-9]{1,8}
anyvalue ::= anyobject | anyarray | anytext | "-"? natural fraction? | "true" | "false" | "null"
anytext ::= "\\"" character{0,${textLimit}} "\\""
anyarray ::= "[" (anyvalue (", " anyvalue){0,${itemLimit - 1}})? "]"
anyobject ::= "{" (anypair (", " anypair){0,${itemLimit - 1}})? "}"
anypair ::= "\\"" character{1,40} "\\": " anyvalue
`

const kinds = ["string", "number", "integer", "boolean", "null", "object", "array"] as const
const shapeKeywords = ["not", "if", "then", "else", "patternProperties", "prefixItems", "contains", "dependentSchemas", "dependentRequired", "$dynamicRef", "minProperties"]

const count = (schema: JsonObject, key: string, otherwise: number): number => {
  const value = schema[key]
  if (value === undefined) return otherwise
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 2_000) throw new Unsupported(`"${key}" is to be a whole number from 0 to 2000`)
  return value
}

class Writer {
  private readonly rules: Array<string> = []
  private readonly named = new Map<string, string>()
  private seen = 0
  private readonly root: JsonObject

  constructor(root: JsonObject) {
    this.root = root
  }

  grammar(): string {
    const body = this.value(this.root)
    return `root ::= ${body}\n${this.rules.join("\n")}\n${common}`
  }

  private rule(body: string): string {
    const name = `r${this.rules.length}`
    this.rules.push(`${name} ::= ${body}`)
    return name
  }

  private reference(pointer: string): string {
    const known = this.named.get(pointer)
    if (known !== undefined) return known
    if (!pointer.startsWith("#")) throw new Unsupported(`"$ref" ${pointer} leads out of the schema`)
    const target = pointer
      .slice(1)
      .split("/")
      .slice(1)
      .map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"))
      .reduce<Json | undefined>((at, part) => (isObject(at) && Object.hasOwn(at, part) ? at[part] : undefined), this.root)
    if (target === undefined) throw new Unsupported(`"$ref" ${pointer} leads nowhere`)
    const name = `ref${this.named.size}`
    this.named.set(pointer, name)
    const body = this.value(target)
    if (body === name) throw new Unsupported(`"$ref" ${pointer} leads to itself`)
    this.rules.push(`${name} ::= ${body}`)
    return name
  }

  /** An expression that may stand anywhere in a rule. */
  private value(schema: Json | undefined): string {
    if (++this.seen > schemaLimit) throw new Unsupported(`a schema of more than ${schemaLimit} parts`)
    if (schema === undefined || schema === true) return "anyvalue"
    if (!isObject(schema)) throw new Unsupported("a schema is to be an object or true")
    const foreign = shapeKeywords.find((key) => schema[key] !== undefined)
    if (foreign !== undefined) throw new Unsupported(`"${foreign}" is not supported`)
    const { $ref, allOf, anyOf, const: constant, enum: listed, oneOf, type } = schema
    if (typeof $ref === "string") return this.reference($ref)
    if (constant !== undefined) return literal(constant)
    if (Array.isArray(listed)) return this.either(listed.map(literal))
    const choices = anyOf ?? oneOf
    if (Array.isArray(choices)) return this.either(choices.map((choice) => this.value(choice)))
    if (Array.isArray(allOf)) {
      // Checks beside a type come as allOf; two shapes at once are no grammar.
      const { allOf: _, ...own } = schema
      return this.value(Object.assign({}, ...allOf.filter(isObject), own))
    }
    if (Array.isArray(type)) return this.either(type.map((one) => this.kind(one, schema)))
    if (type !== undefined) return this.kind(type, schema)
    return schema["properties"] !== undefined ? this.object(schema) : "anyvalue"
  }

  private either(choices: ReadonlyArray<string>): string {
    if (choices.length === 0) throw new Unsupported("a choice among nothing")
    return choices.length === 1 ? (choices[0] ?? "") : this.rule(choices.join(" | "))
  }

  private kind(type: Json, schema: JsonObject): string {
    const sign = typeof schema["minimum"] === "number" && schema["minimum"] >= 0 ? "" : "\"-\"? "
    switch (type) {
      case "string": {
        const least = count(schema, "minLength", 0)
        const most = count(schema, "maxLength", Math.max(least, textLimit))
        if (least > most) throw new Unsupported("\"minLength\" is more than \"maxLength\"")
        return this.rule(`"\\"" character{${least},${most}} "\\""`)
      }
      case "number":
        return this.rule(`${sign}natural fraction?`)
      case "integer":
        return this.rule(`${sign}natural`)
      case "boolean":
        return this.rule("\"true\" | \"false\"")
      case "null":
        return "\"null\""
      case "array":
        return this.array(schema)
      case "object":
        return this.object(schema)
      default:
        throw new Unsupported(`"type" is to be one of ${kinds.join(", ")}`)
    }
  }

  private array(schema: JsonObject): string {
    const least = count(schema, "minItems", 0)
    const most = count(schema, "maxItems", Math.max(least, itemLimit))
    if (least > most) throw new Unsupported("\"minItems\" is more than \"maxItems\"")
    if (most === 0) return "\"[]\""
    const item = this.value(schema["items"])
    const several = `${item} (", " ${item}){${Math.max(0, least - 1)},${most - 1}}`
    return this.rule(least === 0 ? `"[" (${several})? "]"` : `"[" ${several} "]"`)
  }

  /** Properties in the schema's order; what is not required may be left out. */
  private object(schema: JsonObject): string {
    const properties = schema["properties"]
    if (properties !== undefined && !isObject(properties)) throw new Unsupported("\"properties\" is to be an object")
    const entries = Object.entries(properties ?? {})
    const required = new Set(Array.isArray(schema["required"]) ? schema["required"] : [])
    for (const key of required) if (!entries.some(([name]) => name === key)) throw new Unsupported(`"${String(key)}" is required and no property`)
    if (entries.length === 0) {
      const values = schema["additionalProperties"]
      if (values === false) return "\"{}\""
      if (values === undefined || values === true) return "anyobject"
      const pair = this.rule(`"\\"" character{1,40} "\\": " ${this.value(values)}`)
      return this.rule(`"{" (${pair} (", " ${pair}){0,${itemLimit - 1}})? "}"`)
    }
    // From the last to the first: what may follow when something (index 1) or nothing (index 0) stands before.
    let follow: readonly [string, string] = ["\"\"", "\"\""]
    for (const [key, property] of entries.toReversed()) {
      const pair = `${quoted(`${JSON.stringify(key)}: `)} ${this.value(property)} ${follow[1]}`
      const optional = !required.has(key)
      follow = [
        this.rule(optional ? `${pair} | ${follow[0]}` : pair),
        this.rule(optional ? `", " ${pair} | ${follow[1]}` : `", " ${pair}`)
      ]
    }
    return this.rule(`"{" ${follow[0]} "}"`)
  }
}

/** The grammar of any JSON object. */
export const objectGrammar = `root ::= anyobject\n${common}`

/** The grammar of a schema, or the refusal that names what is not supported. */
export const schemaGrammar = (schema: unknown): Result.Result<string, ApiError> => {
  if (!isObject(schema)) return Result.fail(badRequest("invalid_schema", "response_format.json_schema.schema is to be a JSON schema (an object)"))
  try {
    return Result.succeed(new Writer(schema).grammar())
  } catch (error) {
    if (error instanceof Unsupported) return Result.fail(badRequest("unsupported_schema", `response_format.json_schema.schema: ${error.message}`))
    throw error
  }
}
