/** Why a call to a model failed. Every message says what to do about it, and none holds a key. */
import { Schema } from "effect"
import { Role } from "./roles.ts"

const message = { message: Schema.String }

/** No address is set for the role, and there is no local model. */
export class NoEndpoint extends Schema.TaggedError<NoEndpoint>()("NoEndpoint", message) {}
/** Not reachable, failing, or not an OpenAI-compatible endpoint; tried as often as the settings allow. */
export class EndpointUnavailable extends Schema.TaggedError<EndpointUnavailable>()("EndpointUnavailable", message) {}
/** No connection to the address could be made; nothing was sent. */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", message) {}
/** The endpoint turns requests away for their number. */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", message) {}
export class TimedOut extends Schema.TaggedError<TimedOut>()("TimedOut", message) {}
/** The key is missing, wrong or not allowed to use the model. */
export class Unauthorised extends Schema.TaggedError<Unauthorised>()("Unauthorised", message) {}
/** The endpoint does not accept the request, whoever sends it and how often. */
export class BadRequest extends Schema.TaggedError<BadRequest>()("BadRequest", message) {}
export class ContextTooLong extends Schema.TaggedError<ContextTooLong>()("ContextTooLong", message) {}
/** The model declined to reply, or a filter of the endpoint did. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", message) {}
/** The reply does not fit its schema, also after the model was told why. */
export class BadReply extends Schema.TaggedError<BadReply>()("BadReply", { ...message, excerpt: Schema.String }) {}
/** The reply could not be looked up or kept. */
export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>()("StoreUnavailable", message) {}

export const ModelFailure = Schema.Union([
  NoEndpoint,
  EndpointUnavailable,
  Unreachable,
  RateLimited,
  TimedOut,
  Unauthorised,
  BadRequest,
  ContextTooLong,
  Refused,
  BadReply,
  StoreUnavailable
])
export type ModelFailure = typeof ModelFailure.Type

export class ModelError extends Schema.TaggedError<ModelError>()("ModelError", {
  role: Role,
  reason: ModelFailure,
  /** Requests sent for the call. */
  requests: Schema.Int
}) {
  override get message(): string {
    return `${this.role}: ${this.reason.message}`
  }
}

const passing: ReadonlySet<ModelFailure["_tag"]> = new Set(["EndpointUnavailable", "Unreachable", "RateLimited", "TimedOut", "StoreUnavailable", "BadReply"])

/** Whether the same call may succeed later without anything being mended by a person. */
export const isPassingFailure = ({ reason }: ModelError): boolean => passing.has(reason._tag)

/**
 * Why no call can succeed just now, whatever is asked: endpoint or call store are away (a full disk is, too), or the key is turned down.
 * Undefined = the call failed for a reason of its own.
 */
export const heldBy = ({ reason }: ModelError): "away" | "rejected" | undefined =>
  reason._tag === "Unreachable" || reason._tag === "StoreUnavailable" ? "away" : reason._tag === "Unauthorised" ? "rejected" : undefined
