/** Principles, the operations that change them, and the generations they form. */
import { Schema } from "effect"
import { PrincipleScope } from "./scope.ts"

/** One sentence on how to use memories. The id is stable for life; text may change by an update, which is recorded in `parents`. */
export const Principle = Schema.Struct({
  id: Schema.NonEmptyString,
  /** At most 30 words. */
  text: Schema.NonEmptyString,
  scope: PrincipleScope,
  /** Number of the generation it first stood in. */
  bornIn: Schema.Int,
  /** Ids of the operations that made it what it is, oldest first. */
  parents: Schema.Array(Schema.String)
})
export type Principle = typeof Principle.Type

export const OperationKind = Schema.Literals(["add", "update", "delete"])

/** A proposed change to one principle: `add` needs content and scope, `update` id and content, `delete` id. */
export const Operation = Schema.Struct({
  operation: OperationKind,
  id: Schema.optionalKey(Schema.String),
  content: Schema.optionalKey(Schema.String),
  scope: Schema.optionalKey(PrincipleScope)
})
export type Operation = typeof Operation.Type
