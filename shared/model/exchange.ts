/**
 * Gets one completion for a role: picks the least busy replica, sends, waits and tries again where that may help, and leaves out
 * what an endpoint turns down. Every wait and every repetition has a bound.
 */
import { Clock, Effect, Random } from "effect"
import { afterFailure, away, type Patience, settleFailure, type Tries } from "./after-failure.ts"
import type { Ask, Capabilities, Completion, EndpointRequest, Failure, Outcome } from "./endpoint.ts"
import { ModelError } from "./errors.ts"
import type { AdaptiveLimit } from "./limits.ts"
import { type Learnt, leastBusy, makeReplicas, noted, type Replica, type Replicas } from "./replicas.ts"
import type { RoleSettings } from "./roles.ts"

/** A role with the replicas that play it. */
export interface Player {
  readonly settings: RoleSettings
  readonly isLocal: boolean
  readonly replicas: ReadonlyArray<Replica>
  readonly limit: AdaptiveLimit
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

export interface Exchanges extends Replicas {
  /** Notes a failure of a request sent otherwise, and says so where that is news. */
  readonly failed: (player: Player, replica: Replica, failure: Failure) => Effect.Effect<void>
  readonly run: (player: Player, ask: Ask, tally: Tally, listener?: Listener) => Effect.Effect<{ readonly completion: Completion; readonly learnt: Learnt; readonly capabilities: Capabilities }, ModelError>
}

/** @param nowMs wall clock */
export const makeExchanges = (patience: Patience, nowMs: () => number): Exchanges => {
  const replicas = makeReplicas(nowMs)

  const run: Exchanges["run"] = Effect.fnUntraced(function*(player, ask, tally, listener) {
    const ended = (reason: ModelError["reason"]) => new ModelError({ role: player.settings.role, reason, requests: tally.requests })
    const tries: Tries = { failures: 0, timeouts: 0, limited: 0 }
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
          const capabilities = attempted?.url === replica.endpoint.url ? attempted.capabilities : replicas.learnt(replica.endpoint.url, ask.model).capabilities
          return { replica, capabilities, outcome: yield* send(player, replica, { ...ask, capabilities }, tally, listener) } as const
        })
      )
      const at = placeOf(player, sent.replica)
      if (sent.outcome === undefined) {
        if (closedMs >= patience.closedMs) {
          const failure = sent.replica.server.failure ?? last
          return yield* ended(away(failure, `${at} keeps failing${failure === undefined ? "" : `: ${failure.message}`}. See that it runs and try again.`))
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
        const learnt = replicas.learnt(replica.endpoint.url, ask.model)
        // What was left out is remembered only now that it is known to have helped.
        if (attempted !== undefined) learnt.capabilities = capabilities
        return { completion: outcome.completion, learnt, capabilities }
      }

      const { failure } = outcome
      last = failure
      failedAt = failure.kind === "rejected" ? undefined : replica
      yield* noted(replica.server, at, now, failure)
      yield* settleFailure(failure, replica.server, player.limit, now)
      const { lower, waitMs } = yield* Effect.mapError(afterFailure({ failure, at, model: ask.model, capabilities, hasSchema: ask.schema.jsonSchema !== undefined }, player.settings, patience, tries), ended)
      if (lower !== undefined) attempted = { url: replica.endpoint.url, capabilities: lower }
      if (waitMs > 0) yield* Effect.sleep(Math.ceil(waitMs))
    }
  })

  return {
    ...replicas,
    run,
    failed: (player, replica, failure) => Effect.flatMap(Clock.currentTimeMillis, (now) => noted(replica.server, placeOf(player, replica), now, failure))
  }
}

/** Where a request goes, in words, with the setting that says so. */
export const placeOf = ({ isLocal, settings: { urlSetting } }: Player, { endpoint: { url } }: Replica): string => `the endpoint at ${url} (${isLocal ? "the local model" : urlSetting})`

/** One request, counted and timed; what is given up half-way says nothing of the server. */
const send = (player: Player, replica: Replica, request: EndpointRequest, tally: Tally, listener: Listener | undefined): Effect.Effect<Outcome> =>
  Effect.suspend(() => {
    replica.server.inFlight += 1
    replica.server.breaker.sent()
    tally.requests += 1
    listener?.begin()
    let isSettled = false
    return Effect.promise((signal) => replica.endpoint.complete(request, signal, listener?.piece)).pipe(
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
