/** Question classes: what a principle may be limited to. The router picks a class from a question's text alone. */
import { Schema } from "effect"

/** One class of question a router can tell from the text. The order is the order in reports. */
export const questionClasses = [
  "single-fact",
  "assistant-said",
  "preference",
  "multi-evidence",
  "time",
  "latest-value",
  "not-known"
] as const

export const QuestionClass = Schema.Literals(questionClasses)
export type QuestionClass = typeof QuestionClass.Type

/** Where a principle applies: to every question, or to one class. */
export const scopes = ["all", ...questionClasses] as const
export const PrincipleScope = Schema.Literals(scopes)
export type PrincipleScope = typeof PrincipleScope.Type
