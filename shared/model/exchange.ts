/**
 * Gets one completion for a role: picks the least busy replica, sends, waits and tries again where that may help, and leaves out
 * what an endpoint turns down. Every wait and every repetition has a bound.
 */
import { Clock, Effect, Random, Redacted } from "effect"
import { allCapabilities, type Ask, type Capabilities, type Completion, type Endpoint, type Failure, lowered, makeEndpoint, type Outcome } from "./endpoint.ts"
import { BadRequest, ContextTooLong, EndpointUnavailable, ModelError, type ModelFailure, RateLimited, Refused, TimedOut, Unauthorised, Unreachable } from "./errors.ts"
import { type AdaptiveLimit, type Breaker, breaker } from "./limits.ts"
import { type Outage, outage } from "./outage.ts"
import { type RoleSettings, settingOf } from "./roles.ts"

/** What is known of the server behind an address, whoever asks it. */
interface Server {
  readonly breaker: Breaker
  readonly outage: Outage
  /** The last failure, while it lasts. */
  failure: Failure | undefined
  inFlight: number
}

/** One address as one key sees it. */
export interface Replica {
  readonly endpoint: Endpoint
  readonly server: Server
}

/** What was learnt of an endpoint with a model. */
export interface Learnt {
  capabilities: Capabilities
  /** First replies in a row that held no JSON although a schema was sent. */
  ignored: number
}

/** A role with the replicas that play it. */
export interface Player {
  readonly settings: RoleSettings
  readonly isLocal: boolean
  readonly replicas: ReadonlyArray<Replica>
  readonly limit: AdaptiveLimit
}

export interface Patience {
  /** First wait after a failure, in milliseconds; doubles with each, plus or minus half. */
  readonly backoffMs: number
  /** Longest a call waits in all for replicas that are left alone, in milliseconds. */
  readonly closedMs: number
}

/** Counts requests of a call as they are sent, so that a call given up half-way is counted too. */
export interface Tally {
  requests: number
}

/** Where pieces of a reply go as they come; `begin` is told before each request. */
export interface Listener {
  readonly begin: () => void
  readonly piece: (text: string) => void
}

const backoffMaxMs = 20_000
/** A request that ran into the time limit has cost much already. */
const timeoutsMax = 3
/** Being told to come back later is no failure of the endpoint. */
const limitedFactor = 4

export interface Exchanges {
  readonly replica: (url: string, key: Redacted.Redacted<string> | undefined) => Replica
  readonly learnt: (url: string, model: string) => Learnt
  /** Notes a failure of a request sent otherwise, and says so where that is news. */
  readonly failed: (player: Player, replica: Replica, failure: Failure) => Effect.Effect<void>
  readonly run: (player: Player, ask: Ask, tally: Tally, listener?: Listener) => Effect.Effect<{ readonly completion: Completion; readonly learnt: Learnt; readonly capabilities: Capabilities }, ModelError>
}

/** @param nowMs wall clock */
export const makeExchanges = (patience: Patience, nowMs: () => number): Exchanges => {
  const replicas = new Map<string, Replica>()
  const servers = new Map<string, Server>()
  const known = new Map<string, Learnt>()

  const learnt = (url: string, model: string): Learnt => {
    const name = `${url} ${model}`
    const found = known.get(name) ?? { capabilities: allCapabilities, ignored: 0 }
    known.set(name, found)
    return found
  }

  const send = (player: Player, replica: Replica, ask: Ask, capabilities: Capabilities, tally: Tally, listener: Listener | undefined): Effect.Effect<Outcome> =>
    Effect.suspend(() => {
      replica.server.inFlight += 1
      replica.server.breaker.sent()
      tally.requests += 1
      listener?.begin()
      let isSettled = false
      return Effect.promise((signal) => replica.endpoint.complete({ ...ask, capabilities }, signal, listener?.piece)).pipe(
        Effect.timeoutOrElse({
          duration: player.settings.timeoutMs,
          orElse: () => Effect.succeed<Outcome>({ _tag: "Failure", failure: { kind: "timedOut", message: `no answer within ${player.settings.timeoutMs} ms` } })
        }),
        Effect.tap(() =>
          Effect.sync(() => {
            isSettled = true
          })
        ),
        Effect.ensuring(
          Effect.sync(() => {
            replica.server.inFlight -= 1
            if (!isSettled) replica.server.breaker.abandoned()
          })
        )
      )
    })

  const run: Exchanges["run"] = Effect.fnUntraced(function*(player, ask, tally, listener) {
    const { role, timeoutMs, tries } = player.settings
    const fail = (reason: ModelFailure) => new ModelError({ role, reason, requests: tally.requests })
    let failures = 0
    let timeouts = 0
    let limited = 0
    let closedMs = 0
    let last: Failure | undefined
    let failedAt: Replica | undefined
    let attempted: { readonly url: string; readonly capabilities: Capabilities } | undefined

    for (;;) {
      const sent = yield* player.limit.run(
        Effect.gen(function*() {
          const now = yield* Clock.currentTimeMillis
          const { replica, waitMs } = leastBusy(player.replicas, now, failedAt)
          if (waitMs > 0) return { waitMs, replica } as const
          const capabilities = attempted?.url === replica.endpoint.url ? attempted.capabilities : learnt(replica.endpoint.url, ask.model).capabilities
          return { replica, capabilities, outcome: yield* send(player, replica, ask, capabilities, tally, listener) } as const
        })
      )
      const at = placeOf(player, sent.replica)
      if (sent.outcome === undefined) {
        if (closedMs >= patience.closedMs) {
          const failure = sent.replica.server.failure ?? last
          return yield* fail(away(failure, `${at} keeps failing${failure === undefined ? "" : `: ${failure.message}`}. See that it runs and try again.`))
        }
        const waitMs = Math.min(sent.waitMs, patience.closedMs - closedMs)
        closedMs += waitMs
        yield* Effect.sleep(Math.ceil(waitMs * (1 + (yield* Random.next) / 4)))
        continue
      }

      const { capabilities, outcome, replica } = sent
      const now = yield* Clock.currentTimeMillis
      if (outcome._tag === "Completion") {
        replica.server.breaker.succeeded()
        yield* noted(replica.server, at, now, undefined)
        yield* player.limit.settled("answered", now)
        const what = learnt(replica.endpoint.url, ask.model)
        // What was left out is remembered only now that it is known to have helped.
        if (attempted !== undefined) what.capabilities = capabilities
        return { completion: outcome.completion, learnt: what, capabilities }
      }

      const { failure } = outcome
      last = failure
      yield* noted(replica.server, at, now, failure)
      failedAt = failure.kind === "rejected" ? undefined : replica
      let waitMs: number
      switch (failure.kind) {
        case "rateLimited": {
          replica.server.breaker.succeeded()
          yield* player.limit.settled("overloaded", now)
          limited += 1
          if (limited > tries * limitedFactor) {
            return yield* fail(new RateLimited({ message: `${at} turns requests away for their number: ${failure.message}. Lower ${settingOf(role, "CONCURRENCY")} or ask for a higher quota.` }))
          }
          waitMs = yield* comeBack(failure.retryAfterMs, patience.backoffMs, limited)
          break
        }
        case "timedOut": {
          replica.server.breaker.failed(now)
          yield* player.limit.settled("overloaded", now)
          timeouts += 1
          failures += 1
          if (timeouts >= timeoutsMax || failures >= tries) {
            return yield* fail(new TimedOut({ message: `${at} gave no answer within ${timeoutMs} ms, ${timeouts} times. Raise ${settingOf(role, "TIMEOUT_MS")} or lower ${settingOf(role, "CONCURRENCY")}.` }))
          }
          waitMs = yield* backoff(patience.backoffMs, failures)
          break
        }
        case "unavailable": {
          replica.server.breaker.failed(now)
          if (failure.retryAfterMs !== undefined) yield* player.limit.settled("overloaded", now)
          failures += 1
          if (failures >= tries) {
            return yield* fail(away(failure, `${at} failed ${failures} times, last: ${failure.message}. See that it runs and that the address is right.`))
          }
          waitMs = yield* comeBack(failure.retryAfterMs, patience.backoffMs, failures)
          break
        }
        case "rejected": {
          replica.server.breaker.succeeded()
          const lower = lowered(capabilities, ask.schema.jsonSchema !== undefined, failure.message)
          if (lower === undefined) {
            return yield* fail(new BadRequest({ message: `${at} does not accept the request for model "${ask.model}": ${failure.message}. Check ${settingOf(role, "MODEL")} and the parameters.` }))
          }
          attempted = { url: replica.endpoint.url, capabilities: lower }
          waitMs = 0
          break
        }
        case "unauthorised":
          replica.server.breaker.succeeded()
          return yield* fail(new Unauthorised({ message: `${at} does not accept the key: ${failure.message}. Set ${settingOf(role, "KEY")} to one that may use "${ask.model}".` }))
        case "contextTooLong":
          replica.server.breaker.succeeded()
          return yield* fail(new ContextTooLong({ message: `the prompt is too long for "${ask.model}": ${failure.message}. Lower the evidence budget or ${settingOf(role, "MAX_TOKENS")}.` }))
        case "refused":
          replica.server.breaker.succeeded()
          return yield* fail(new Refused({ message: `${at} refused the request: ${failure.message}. Change the text or the model.` }))
      }
      if (waitMs > 0) yield* Effect.sleep(Math.ceil(waitMs))
    }
  })

  return {
    learnt,
    run,
    failed: (player, replica, failure) => Effect.flatMap(Clock.currentTimeMillis, (now) => noted(replica.server, placeOf(player, replica), now, failure)),
    replica: (url, key) => {
      // The same address with another key is another client of the same server, and shares what is known of the server.
      const server = servers.get(url) ?? { breaker: breaker(), outage: outage(), failure: undefined, inFlight: 0 }
      servers.set(url, server)
      const name = `${url} ${key === undefined ? "" : Redacted.value(key)}`
      const replica = replicas.get(name) ?? { endpoint: makeEndpoint(url, key, nowMs), server }
      replicas.set(name, replica)
      return replica
    }
  }
}

const placeOf = ({ isLocal, settings: { role } }: Player, { endpoint: { url } }: Replica): string => `the endpoint at ${url} (${isLocal ? "the local model" : settingOf(role, "URL")})`

const away = (failure: Failure | undefined, message: string): EndpointUnavailable | Unreachable =>
  failure?.isUnreachable === true ? new Unreachable({ message }) : new EndpointUnavailable({ message })

/** Keeps what a request showed of its server, and says so where that is news: one that nobody can ask at once, one that fails once it is left alone. */
const noted = (server: Server, at: string, nowMs: number, failure: Failure | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    const isOut = failure !== undefined && (failure.kind === "unavailable" || failure.kind === "timedOut" || failure.kind === "unauthorised")
    server.failure = isOut ? failure : undefined
    const isCertain = failure?.isUnreachable === true || failure?.kind === "unauthorised" || server.breaker.waitMs(nowMs) > 0
    const what = failure?.kind === "unauthorised" ? "does not accept the key" : failure?.isUnreachable === true ? "cannot be reached" : "fails"
    const text = isOut ? server.outage.failed(nowMs, `${what}: ${failure.message}`, isCertain) : server.outage.answered(nowMs)
    return text === undefined ? Effect.void : Effect.logWarning(`${at} ${text}`)
  })

/** Milliseconds before another try: doubled with each failure, spread by half so that callers do not come back together. */
const backoff = (firstMs: number, failures: number): Effect.Effect<number> =>
  Effect.map(Random.next, (random) => Math.min(backoffMaxMs, firstMs * 2 ** (failures - 1)) * (0.5 + random))

/** No earlier than the endpoint asks, and a little later, so that all it turned away do not come back at once. */
const comeBack = (retryAfterMs: number | undefined, firstMs: number, failures: number): Effect.Effect<number> =>
  retryAfterMs === undefined ? backoff(firstMs, failures) : Effect.map(Random.next, (random) => retryAfterMs * (1 + random / 4))

/**
 * Of the replicas that may be asked now the one with the fewest requests in flight; else the one that opens first. The one that just
 * failed is taken only where there is no other.
 */
const leastBusy = (replicas: ReadonlyArray<Replica>, nowMs: number, failedAt: Replica | undefined): { readonly replica: Replica; readonly waitMs: number } => {
  let best: { readonly replica: Replica; readonly waitMs: number; readonly load: number } | undefined
  for (const replica of replicas) {
    const waitMs = replica.server.breaker.waitMs(nowMs)
    const load = replica === failedAt ? Number.MAX_SAFE_INTEGER : replica.server.inFlight
    if (best === undefined || waitMs < best.waitMs || (waitMs === best.waitMs && load < best.load)) best = { replica, waitMs, load }
  }
  if (best === undefined) throw new RangeError("a role without replicas was asked")
  return best
}
