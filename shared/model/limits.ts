/**
 * How much an endpoint is asked at once, and when it is left alone: an adaptive limit on requests in flight (additive increase,
 * multiplicative decrease; Chiu & Jain 1989) and a circuit breaker for each replica.
 */
import { Effect, Semaphore } from "effect"

/** Shortest time between two decreases: one overload turns many requests away at once, and is one sign. */
const decreaseEveryMs = 1_000
const decreaseFactor = 0.7

export interface AdaptiveLimit {
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Told after each request. @param nowMs any clock that only goes forward */
  readonly settled: (outcome: "answered" | "overloaded", nowMs: number) => Effect.Effect<void>
  readonly current: () => number
}

/** Starts at its bound, since that is what a person set, and comes back to it one request a round after a decrease. @param bound most requests in flight */
export const adaptiveLimit = (bound: number): AdaptiveLimit => {
  const semaphore = Semaphore.makeUnsafe(bound)
  let limit = bound
  let answered = 0
  let decreasedAtMs = Number.NEGATIVE_INFINITY
  const set = (next: number) =>
    Effect.suspend(() => {
      limit = next
      answered = 0
      return semaphore.resize(next)
    })
  return {
    run: semaphore.withPermits(1),
    settled: (outcome, nowMs) => {
      if (outcome === "overloaded") {
        if (limit === 1 || nowMs - decreasedAtMs < decreaseEveryMs) return Effect.void
        decreasedAtMs = nowMs
        return set(Math.max(1, Math.floor(limit * decreaseFactor)))
      }
      if (limit === bound) return Effect.void
      answered += 1
      return answered < limit ? Effect.void : set(limit + 1)
    },
    current: () => limit
  }
}

/** Failures in a row after which a replica is left alone. */
const failuresMax = 5
const openMs = { first: 1_000, last: 30_000 }

/** Closed = requests pass; open = none until a time; then one is let through, and its outcome decides. */
export interface Breaker {
  /** Milliseconds until a request may be sent; 0 = now. */
  readonly waitMs: (nowMs: number) => number
  /** Told before a request is sent, so that only one tries a replica that was left alone. */
  readonly sent: () => void
  readonly succeeded: () => void
  readonly failed: (nowMs: number) => void
  /** The request was given up before it could tell. */
  readonly abandoned: () => void
}

/** While one request tries an endpoint out, the others look again after this. */
const lookAgainMs = 100

export const breaker = (): Breaker => {
  let failures = 0
  let opened = 0
  let openUntilMs = 0
  let trying = false
  return {
    waitMs: (nowMs) => {
      if (openUntilMs > nowMs) return openUntilMs - nowMs
      return trying ? lookAgainMs : 0
    },
    sent: () => {
      if (opened > 0) trying = true
    },
    succeeded: () => {
      failures = 0
      opened = 0
      trying = false
    },
    failed: (nowMs) => {
      failures += 1
      if (!trying && failures < failuresMax) return
      // Requests that were in flight when it opened say nothing new.
      if (!trying && nowMs < openUntilMs) return
      openUntilMs = nowMs + Math.min(openMs.last, openMs.first * 2 ** opened)
      opened += 1
      trying = false
    },
    abandoned: () => {
      trying = false
    }
  }
}
