/** The refusal of one turn, by an importer that cannot read it or by the ingestor that may not take it. */
import { Schema } from "effect"

const rejectionReasons = [
  "malformed",
  "user",
  "conversation",
  "speaker",
  "text",
  "time",
  "id"
] as const

/** A turn that was not taken. `error` names the mend; `line` counts from 1 in the request or file. */
export class RejectedTurn extends Schema.TaggedError<RejectedTurn>()("RejectedTurn", {
  line: Schema.optionalKey(Schema.Int),
  reason: Schema.Literals(rejectionReasons),
  error: Schema.String
}) {}
