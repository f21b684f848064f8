/** Addresses that models answer at, and what is known of the servers behind them, whoever asks. */
import { Effect, Redacted } from "effect"
import { allCapabilities, type Capabilities, type Endpoint, type Failure, makeEndpoint } from "./endpoint.ts"
import { type Breaker, breaker } from "./limits.ts"
import { type Outage, outage } from "./outage.ts"

/** What is known of the server behind an address, whoever asks it. */
export interface Server {
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

export interface Replicas {
  /** The same address with another key is another client of the same server, and shares what is known of the server. */
  readonly replica: (url: string, key: Redacted.Redacted<string> | undefined) => Replica
  readonly learnt: (url: string, model: string) => Learnt
}

/** @param nowMs wall clock */
export const makeReplicas = (nowMs: () => number): Replicas => {
  const replicas = new Map<string, Replica>()
  const servers = new Map<string, Server>()
  const known = new Map<string, Learnt>()
  return {
    replica: (url, key) => {
      const server = servers.get(url) ?? { breaker: breaker(), outage: outage(), failure: undefined, inFlight: 0 }
      servers.set(url, server)
      const name = `${url} ${key === undefined ? "" : Redacted.value(key)}`
      const replica = replicas.get(name) ?? { endpoint: makeEndpoint(url, key, nowMs), server }
      replicas.set(name, replica)
      return replica
    },
    learnt: (url, model) => {
      const name = `${url} ${model}`
      const found = known.get(name) ?? { capabilities: allCapabilities, ignored: 0 }
      known.set(name, found)
      return found
    }
  }
}

/** Keeps what a request showed of its server, and says so where that is news: one that nobody can ask at once, one that fails once it is left alone. */
export const noted = (server: Server, at: string, nowMs: number, failure: Failure | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    const isOut = failure !== undefined && (failure.kind === "unavailable" || failure.kind === "timedOut" || failure.kind === "unauthorised")
    server.failure = isOut ? failure : undefined
    const isCertain = failure?.isUnreachable === true || failure?.kind === "unauthorised" || server.breaker.waitMs(nowMs) > 0
    const what = failure?.kind === "unauthorised" ? "does not accept the key" : failure?.isUnreachable === true ? "cannot be reached" : "fails"
    const text = isOut ? server.outage.failed(nowMs, `${what}: ${failure.message}`, isCertain) : server.outage.answered(nowMs)
    return text === undefined ? Effect.void : Effect.logWarning(`${at} ${text}`)
  })

/**
 * Of the replicas that may be asked now the one with the fewest requests in flight; else the one that opens first. The one that just
 * failed is taken only where there is no other.
 */
export const leastBusy = (replicas: ReadonlyArray<Replica>, nowMs: number, failedAt: Replica | undefined): { readonly replica: Replica; readonly waitMs: number } => {
  let best: { readonly replica: Replica; readonly waitMs: number; readonly load: number } | undefined
  for (const replica of replicas) {
    const waitMs = replica.server.breaker.waitMs(nowMs)
    const load = replica === failedAt ? Number.MAX_SAFE_INTEGER : replica.server.inFlight
    if (best === undefined || waitMs < best.waitMs || (waitMs === best.waitMs && load < best.load)) best = { replica, waitMs, load }
  }
  if (best === undefined) throw new RangeError("a role without replicas was asked")
  return best
}
