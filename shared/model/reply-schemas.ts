/**
 * What each role must reply, as a schema that every reply is checked against and as the JSON schema an endpoint is asked to follow.
 * The names are part of the contract with endpoints. A changed shape or reading raises `version`, which is part of the call key.
 */
import { Result, Schema } from "effect"
import { Operation, SingleOperation } from "#shared/domain/principle"
import { type PrincipleScope, scopes } from "#shared/domain/scope"
import { findJson } from "./reply-text.ts"
import type { Role } from "./roles.ts"

/** How a role's reply is asked for and read. `decode` says in words, meant for the model, what is wrong. */
export interface ReplySchema<A> {
  readonly name: string
  readonly version: number
  /** Undefined = plain text. */
  readonly jsonSchema: Readonly<Record<string, unknown>> | undefined
  /** @param text without reasoning blocks */
  readonly decode: (text: string) => Result.Result<A, string>
}

/** Facts, each with the numbers of the turns it came from, as numbered in the prompt. */
const ExtractReply = Schema.Struct({
  facts: Schema.Array(Schema.Struct({ turns: Schema.Array(Schema.Int), fact: Schema.NonEmptyString, time: Schema.optionalKey(Schema.String) }))
})
/** What becomes of an earlier memory in the light of a later one; `merge` needs the text that replaces both. */
export const ReconcileReply = Schema.Struct({
  action: Schema.Literals(["keep", "supersede", "merge"]),
  text: Schema.optionalKey(Schema.String)
}).check(Schema.makeFilter(({ action, text }) => (action === "merge" && (text ?? "").trim() === "" ? "merge needs a text" : undefined)))
export const JudgeReply = Schema.Struct({ reason: Schema.String, verdict: Schema.Literals(["yes", "no"]) })
export interface ReflectReply {
  readonly lesson: string
  readonly scope: PrincipleScope
}
export interface OperationsReply<O extends Operation> {
  readonly operations: ReadonlyArray<O>
}

export interface Replies {
  readonly extract: typeof ExtractReply.Type
  readonly reconcile: typeof ReconcileReply.Type
  readonly answer: string
  readonly judge: typeof JudgeReply.Type
  readonly reflect: ReflectReply
  readonly propose: OperationsReply<SingleOperation>
  readonly consolidate: OperationsReply<Operation>
}
export type ReplyOf<R extends Role> = Replies[R]

const object = (properties: Readonly<Record<string, unknown>>) => ({
  type: "object",
  additionalProperties: false,
  // Strict output knows no optional members: absent ones are null.
  required: Object.keys(properties),
  properties
})
const string = { type: "string" }
const nullableString = { type: ["string", "null"] }

/** The same value with other members, at every depth; a member that becomes undefined is left out. */
const mapMembers = (value: unknown, change: (member: unknown, name: string) => unknown): unknown => {
  if (Array.isArray(value)) return value.map((item) => mapMembers(item, change))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, member]) => [name, mapMembers(change(member, name), change)] as const)
      .filter(([, member]) => member !== undefined)
  )
}
/** Null and, where a member means nothing without text, blank are how models say "none". */
const withoutNull = (member: unknown): unknown => member ?? undefined
const withoutBlank = (member: unknown): unknown => (typeof member === "string" && member.trim() === "" ? undefined : (member ?? undefined))
const lowerVerdict = (member: unknown, name: string): unknown => (name === "verdict" && typeof member === "string" ? member.trim().toLowerCase() : (member ?? undefined))

const fromJson = <A>(
  options: {
    readonly name: string
    /** Default 1. */
    readonly version?: number
    readonly jsonSchema: Readonly<Record<string, unknown>>
    /** Member that a bare list stands for. */
    readonly list?: string
    /** Applied to every member before the check. */
    readonly change?: (member: unknown, name: string) => unknown
    /** Reads a reply that is not JSON. */
    readonly plain?: (text: string) => unknown
  },
  schema: Schema.ConstraintDecoder<A>
): ReplySchema<A> => {
  const decodeValue = Schema.decodeUnknownResult(schema)
  return {
    name: options.name,
    version: options.version ?? 1,
    jsonSchema: options.jsonSchema,
    decode: (text) => {
      const json: unknown = findJson(text) ?? options.plain?.(text)
      if (json === undefined) return Result.fail("there is no complete JSON object in it")
      const value = Array.isArray(json) && options.list !== undefined ? { [options.list]: json } : json
      return Result.mapError(decodeValue(mapMembers(value, options.change ?? withoutNull)), (error) => error.message)
    }
  }
}

const extractReply = fromJson(
  {
    name: "extract",
    list: "facts",
    jsonSchema: object({
      facts: { type: "array", items: object({ turns: { type: "array", items: { type: "integer" } }, fact: string, time: nullableString }) }
    })
  },
  ExtractReply
)

const reconcileReply = fromJson(
  { name: "reconcile", jsonSchema: object({ action: { type: "string", enum: ["keep", "supersede", "merge"] }, text: nullableString }) },
  ReconcileReply
)

/** A reply in plain text counts only where a yes or no is its first word; it is never searched for one. */
const plainVerdict = (text: string): unknown => {
  const verdict = /^[\s*_"'`#]*(?:(?:final\s+)?(?:answer|verdict)\s*[:=]\s*[*_"'`\s]*)?(yes|no)\b/i.exec(text)?.[1]?.toLowerCase()
  return verdict === undefined ? undefined : { reason: text, verdict }
}
const judgeReply = fromJson(
  { name: "judge", plain: plainVerdict, change: lowerVerdict, jsonSchema: object({ reason: string, verdict: { type: "string", enum: ["yes", "no"] } }) },
  JudgeReply
)

/** A lesson and the kind of question it is for. @param offered the scopes that may be named */
export const reflectReply = (offered: ReadonlyArray<PrincipleScope> = scopes): ReplySchema<ReflectReply> =>
  fromJson({ name: "reflect", jsonSchema: object({ lesson: string, scope: { type: "string", enum: offered } }) }, Schema.Struct({ lesson: Schema.NonEmptyString, scope: Schema.Literals(offered) }))

const single = (offered: ReadonlyArray<PrincipleScope>) => Schema.Struct({ ...SingleOperation.fields, scope: Schema.optionalKey(Schema.Literals(offered)) })
const merge = Schema.Struct({ operation: Schema.Literal("merge"), ids: Operation.fields.ids, content: Operation.fields.content })

/** @param more members beside those that every operation has */
const operationsJson = (kinds: ReadonlyArray<Operation["operation"]>, offered: ReadonlyArray<PrincipleScope>, more: Readonly<Record<string, unknown>> = {}) =>
  object({
    operations: {
      type: "array",
      items: object({ operation: { type: "string", enum: kinds }, id: nullableString, ...more, content: nullableString, scope: { type: ["string", "null"], enum: [...offered, null] } })
    }
  })

/** Operations one question's attempts suggest. @param offered the scopes that may be named */
export const proposeReply = (offered: ReadonlyArray<PrincipleScope> = scopes): ReplySchema<OperationsReply<SingleOperation>> =>
  fromJson(
    {
      name: "propose",
      list: "operations",
      change: withoutBlank,
      jsonSchema: operationsJson(["add", "update", "delete"], offered)
    },
    Schema.Struct({ operations: Schema.Array(single(offered)) })
  )

/** A step's operations made out of many. Version 1 knew no merge. */
const consolidateReply: ReplySchema<OperationsReply<Operation>> = fromJson(
  {
    name: "consolidate",
    version: 2,
    list: "operations",
    change: withoutBlank,
    jsonSchema: operationsJson(["add", "update", "delete", "merge"], scopes, { ids: { type: ["array", "null"], items: string } })
  },
  Schema.Struct({ operations: Schema.Array(Schema.Union([merge, single(scopes)])) })
)

const answerReply: ReplySchema<string> = {
  name: "answer",
  version: 1,
  jsonSchema: undefined,
  decode: (text) => (text.trim() === "" ? Result.fail("it is empty") : Result.succeed(text.trim()))
}

/** The reply of every role where a request names no narrower one. */
export const replySchemas: { readonly [R in Role]: ReplySchema<ReplyOf<R>> } = {
  extract: extractReply,
  reconcile: reconcileReply,
  answer: answerReply,
  judge: judgeReply,
  reflect: reflectReply(),
  propose: proposeReply(),
  consolidate: consolidateReply
}
