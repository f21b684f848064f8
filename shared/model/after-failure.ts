/**
 * What a failed request means for the call it was sent for: an end, with what to do about it, or another try. Every wait and every
 * repetition has a bound.
 */
import { Effect, Random } from "effect"
import { type Capabilities, type Failure, lowered } from "./endpoint.ts"
import { BadRequest, ContextTooLong, EndpointUnavailable, type ModelFailure, RateLimited, Refused, TimedOut, Unauthorised, Unreachable } from "./errors.ts"
import type { AdaptiveLimit } from "./limits.ts"
import type { Server } from "./replicas.ts"
import { type RoleSettings, settingOf } from "./roles.ts"

export interface Patience {
  /** First wait after a failure, in milliseconds; doubles with each, plus or minus half. */
  readonly backoffMs: number
  /** Longest a call waits in all for replicas that are left alone, in milliseconds. */
  readonly closedMs: number
}

const backoffMaxMs = 20_000
/** A request that ran into the time limit has cost much already. */
const timeoutsMax = 3
/** Being told to come back later is no failure of the endpoint. */
const limitedFactor = 4

/** What a call has been through. */
export interface Tries {
  failures: number
  /** Of the failures, those that ran into the time limit. */
  timeouts: number
  /** Times it was told to come back later. */
  limited: number
}

/** What failed. */
export interface FailedRequest {
  readonly failure: Failure
  /** Where, in words. */
  readonly at: string
  readonly model: string
  readonly capabilities: Capabilities
  readonly hasSchema: boolean
}

export interface AnotherTry {
  readonly waitMs: number
  /** What is left of the endpoint's capabilities where it turned one down. */
  readonly lower?: Capabilities
}

/** Lets the server's breaker and the role's limit know what a failure says of load; one that an endpoint answered itself shows that it works. */
export const settleFailure = (failure: Failure, server: Server, limit: AdaptiveLimit, nowMs: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { kind, retryAfterMs } = failure
    if (kind === "timedOut" || kind === "unavailable") server.breaker.failed(nowMs)
    else server.breaker.succeeded()
    const isOverload = kind === "rateLimited" || kind === "timedOut" || (kind === "unavailable" && retryAfterMs !== undefined)
    return isOverload ? limit.settled("overloaded", nowMs) : Effect.void
  })

/** Counts a failure among the call's tries. Fails where another one would not help, or too many were made. */
export const afterFailure = Effect.fnUntraced(function*(request: FailedRequest, { role, timeoutMs, tries: triesMax }: RoleSettings, { backoffMs }: Patience, tries: Tries): Effect.fn.Return<AnotherTry, ModelFailure> {
  const { at, capabilities, failure, hasSchema, model } = request
  switch (failure.kind) {
    case "rateLimited":
      tries.limited += 1
      if (tries.limited > triesMax * limitedFactor) {
        return yield* new RateLimited({ message: `${at} turns requests away for their number: ${failure.message}. Lower ${settingOf(role, "CONCURRENCY")} or ask for a higher quota.` })
      }
      return { waitMs: yield* comeBack(failure.retryAfterMs, backoffMs, tries.limited) }
    case "timedOut":
      tries.timeouts += 1
      tries.failures += 1
      if (tries.timeouts >= timeoutsMax || tries.failures >= triesMax) {
        return yield* new TimedOut({ message: `${at} gave no answer within ${timeoutMs} ms, ${tries.timeouts} times. Raise ${settingOf(role, "TIMEOUT_MS")} or lower ${settingOf(role, "CONCURRENCY")}.` })
      }
      return { waitMs: yield* backoff(backoffMs, tries.failures) }
    case "unavailable":
      tries.failures += 1
      if (tries.failures >= triesMax) return yield* away(failure, `${at} failed ${tries.failures} times, last: ${failure.message}. See that it runs and that the address is right.`)
      return { waitMs: yield* comeBack(failure.retryAfterMs, backoffMs, tries.failures) }
    case "rejected": {
      const lower = lowered(capabilities, hasSchema, failure.message)
      if (lower === undefined) {
        return yield* new BadRequest({ message: `${at} does not accept the request for model "${model}": ${failure.message}. Check ${settingOf(role, "MODEL")} and the parameters.` })
      }
      return { waitMs: 0, lower }
    }
    case "unauthorised":
      return yield* new Unauthorised({ message: `${at} does not accept the key: ${failure.message}. Set ${settingOf(role, "KEY")} to one that may use "${model}".` })
    case "contextTooLong":
      return yield* new ContextTooLong({ message: `the prompt is too long for "${model}": ${failure.message}. Lower the evidence budget or ${settingOf(role, "MAX_TOKENS")}.` })
    case "refused":
      return yield* new Refused({ message: `${at} refused the request: ${failure.message}. Change the text or the model.` })
  }
})

/** The end of a call whose endpoint is away. */
export const away = (failure: Failure | undefined, message: string): EndpointUnavailable | Unreachable =>
  failure?.isUnreachable === true ? new Unreachable({ message }) : new EndpointUnavailable({ message })

/** Milliseconds before another try: doubled with each failure, spread by half so that callers do not come back together. */
const backoff = (firstMs: number, failures: number): Effect.Effect<number> =>
  Effect.map(Random.next, (random) => Math.min(backoffMaxMs, firstMs * 2 ** (failures - 1)) * (0.5 + random))

/** No earlier than the endpoint asks, and a little later, so that all it turned away do not come back at once. */
const comeBack = (retryAfterMs: number | undefined, firstMs: number, failures: number): Effect.Effect<number> =>
  retryAfterMs === undefined ? backoff(firstMs, failures) : Effect.map(Random.next, (random) => retryAfterMs * (1 + random / 4))
