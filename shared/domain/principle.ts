/** Principles, the operations that change them, and the generations they form. */
import { Schema } from "effect"
import { PrincipleScope } from "./scope.ts"

/** One sentence on how to use memories. The id is stable for life; text may change by an update, which is recorded in `parents`. One merged from several has an id of its own. */
export const Principle = Schema.Struct({
  id: Schema.NonEmptyString,
  /** At most 30 words. */
  text: Schema.NonEmptyString,
  scope: PrincipleScope,
  /** Number of the generation it first stood in. */
  bornIn: Schema.Int,
  /** Ids of the operations that made it what it is, oldest first; of a merged one also those of all it was merged from. */
  parents: Schema.Array(Schema.String)
})
export type Principle = typeof Principle.Type

/** A change to one principle, which the attempts at one question may suggest: `add` needs content and scope, `update` id and content, `delete` id. */
export const SingleOperation = Schema.Struct({
  operation: Schema.Literals(["add", "update", "delete"]),
  id: Schema.optionalKey(Schema.String),
  content: Schema.optionalKey(Schema.String),
  scope: Schema.optionalKey(PrincipleScope)
})
export type SingleOperation = typeof SingleOperation.Type

export const OperationKind = Schema.Literals([...SingleOperation.fields.operation.literals, "merge"])
export type OperationKind = typeof OperationKind.Type

/** A change that a step puts to the gate: to one principle, or a `merge` of several of one scope into a new one, which needs ids and content. */
export const Operation = Schema.Struct({
  ...SingleOperation.fields,
  operation: OperationKind,
  ids: Schema.optionalKey(Schema.Array(Schema.String))
})
export type Operation = typeof Operation.Type
