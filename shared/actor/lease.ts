/**
 * Leases: one holder per entity and actor, so that workers do not do each other's work twice. A lease only saves work; what protects is
 * the expected sequence of the commit. They live in a memory stream that is gone after a server restart and is then made anew.
 */
import { randomUUID } from "node:crypto"
import { Context, Effect, Layer } from "effect"
import { apiCode, ensureStreams, isPassing, Nats } from "../eventlog/nats.ts"

export interface Lease {
  readonly subject: string
  readonly token: string
  /** Revision to renew or release from. */
  revision: number
}

/** Life of a lease not renewed, in seconds; holders renew every fifth of it. */
export const leaseSeconds = 15

export class Leases extends Context.Service<Leases, {
  /** Takes the lease, or undefined when another holds it. Never fails: without leases work is only done twice, not wrongly. */
  readonly acquire: (subject: string, token: string) => Effect.Effect<Lease | undefined>
  /** False when the lease is lost: start nothing new, let what runs commit or conflict. */
  readonly renew: (lease: Lease) => Effect.Effect<boolean>
  readonly release: (lease: Lease) => Effect.Effect<void>
}>()("metamem/actor/Leases") {
  static readonly layer = Layer.effect(
    Leases,
    Effect.gen(function*() {
      const { js, jsm } = yield* Nats
      const publish = (subject: string, token: string, revision: number): Promise<number | "held"> =>
        js
          .publish(subject, token, { ttl: `${leaseSeconds}s`, expect: { lastSubjectSequence: revision }, timeout: 3_000 })
          .then((ack) => ack.seq)
          .catch((error: unknown) => {
            if (apiCode(error) === 10071) return "held" as const
            throw error
          })
      const put = (subject: string, token: string, revision: number): Effect.Effect<number | "held" | "unknown"> =>
        Effect.promise(async () => {
          for (let tries = 0; tries < 3; tries++) {
            try {
              return await publish(subject, token, revision)
            } catch (error) {
              if (!isPassing(error)) return "unknown"
              // No stream answers: the server was started anew and forgot it.
              await Effect.runPromise(Effect.ignore(ensureStreams(jsm)))
            }
          }
          return "unknown"
        })
      const standingOf = (subject: string) => Effect.promise(() => jsm.streams.getMessage("LEASE", { last_by_subj: subject }).catch(() => null))
      const acquire = (subject: string, token: string): Effect.Effect<Lease | undefined> =>
        Effect.gen(function*() {
          const revision = yield* put(subject, token, 0)
          if (typeof revision === "number") return { subject, token, revision }
          if (revision === "unknown") return undefined
          // Perhaps it is held by this process: the answer to an earlier try was lost.
          const standing = yield* standingOf(subject)
          return standing?.string() === token ? { subject, token, revision: standing.seq } : undefined
        })
      return Leases.of({
        acquire,
        renew: (lease) =>
          Effect.gen(function*() {
            const renewed = yield* put(lease.subject, lease.token, lease.revision)
            if (typeof renewed === "number") {
              lease.revision = renewed
              return true
            }
            if (renewed === "unknown") return true
            const standing = yield* standingOf(lease.subject)
            if (standing !== null) {
              if (standing.string() !== lease.token) return false
              lease.revision = standing.seq
              return true
            }
            const again = yield* acquire(lease.subject, lease.token)
            if (again !== undefined) lease.revision = again.revision
            return again !== undefined
          }),
        release: (lease) => Effect.promise(() => jsm.streams.deleteMessage("LEASE", lease.revision).then(() => undefined, () => undefined))
      })
    })
  )
}

/** Does something while a lease is held and renewed; undefined when another holds it, or it is lost meanwhile, which interrupts. */
export const whileHeld = <A, E, R>(leases: Leases["Service"], subject: string, use: Effect.Effect<A, E, R>): Effect.Effect<A | undefined, E, R> =>
  Effect.acquireUseRelease(
    leases.acquire(subject, randomUUID()),
    (lease) => {
      if (lease === undefined) return Effect.succeed(undefined)
      const lost = Effect.sleep(`${leaseSeconds / 5} seconds`).pipe(Effect.andThen(leases.renew(lease)), Effect.repeat({ while: (isHeld) => isHeld }), Effect.as(undefined))
      return Effect.raceFirst(use, lost)
    },
    (lease) => (lease === undefined ? Effect.void : leases.release(lease))
  )
