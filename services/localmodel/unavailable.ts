/** Why there is no local model: the one expected failure of starting it. */
import { Schema } from "effect"

export const reasons = ["missing", "unreadable", "not-gguf", "cut-short", "not-loadable", "time-limit", "port-in-use", "ended"] as const

/** The local model cannot be started. The message names the file or port and what to do. */
export class LocalModelUnavailable extends Schema.TaggedError<LocalModelUnavailable>()("LocalModelUnavailable", {
  path: Schema.String,
  reason: Schema.Literals(reasons),
  message: Schema.String
}) {}
