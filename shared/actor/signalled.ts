/**
 * Entities that were signalled, in one process. Whoever works on one holds it: signals for it that come meanwhile are parked with the
 * holder, and settled by the water mark that was reached.
 */
import { randomUUID } from "node:crypto"
import type { JsMsg } from "@nats-io/jetstream"
import { Effect } from "effect"
import { EventLog } from "../eventlog/event-log.ts"
import { leaseSubject } from "../eventlog/subjects.ts"
import { type Lease, Leases, leaseSeconds } from "./lease.ts"
import type { SignalWorker } from "./signals.ts"
import type { Unacknowledged } from "./unacknowledged.ts"

/** Water marks, and entities that others hold, remembered in this process; only saves reads and tries. */
const markLimit = 20_000
/** Entities whose failures in a row are remembered. */
const failuresLimit = 10_000

interface Holder {
  readonly parked: Array<JsMsg>
  /** Highest sequence among own and parked signals. */
  minimum: number
  /** Somebody had the first signal before, and may have done its work. */
  readonly isRedelivered: boolean
}

export const makeSignalled = <E, R>(worker: SignalWorker<E, R>, signals: Unacknowledged) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const leases = yield* Leases
    const token = randomUUID()
    const marks = new Map<string, number>()
    const heldUntil = new Map<string, number>()
    const holders = new Map<string, Holder>()
    const failures = new Map<string, number>()

    /** The entity's water mark, as far as it is known here. */
    const through = (target: string): number => marks.get(target) ?? 0
    const mark = (target: string, reached: number): void => {
      if (reached <= through(target)) return
      if (marks.size >= markLimit) marks.clear()
      marks.set(target, reached)
    }
    const backOff = (message: JsMsg): number =>
      Math.min(300 * 2 ** (message.info.deliveryCount - 1), leaseSeconds * 1_000) * (0.5 + Math.random())

    /** Another process has the lease. */
    const heldElsewhere = (target: string, { parked }: Holder): void => {
      if (heldUntil.size >= markLimit) heldUntil.clear()
      heldUntil.set(target, Date.now() + 300)
      holders.delete(target)
      for (const message of parked) signals.nak(message, backOff(message))
    }

    /** Lets the worker handle the entity until the water mark is at all own and parked signals, or the lease is lost. */
    const catchUp = (target: string, holder: Holder, isLost: () => boolean): Effect.Effect<void, E, R> =>
      Effect.gen(function*() {
        let reached = through(target)
        // Bounded: each pass reaches the minimum it began with, and new signals only raise it as the log grows.
        while (reached < holder.minimum && !isLost()) {
          const minimum = holder.minimum
          reached = yield* worker.handle(target, minimum)
          mark(target, reached)
          if (reached < minimum) return yield* Effect.die(new RangeError(`${worker.actor} stopped at ${reached} below ${minimum} for ${target}`))
          for (const message of holder.parked.splice(0)) {
            if (message.seq <= reached) signals.ack(message)
            else holder.parked.push(message)
          }
        }
      })

    /** Works under a lease that is renewed; one that is lost lets what runs commit or conflict, and nothing new begin. */
    const underLease = (target: string, holder: Holder, lease: Lease): Effect.Effect<void, E, R> => {
      let lost = false
      // A renewal under way is let finish: the release must name the revision it made.
      const renewing = Effect.sleep(`${leaseSeconds / 5} seconds`).pipe(
        Effect.andThen(Effect.uninterruptible(leases.renew(lease))),
        Effect.tap((held) => Effect.sync(() => void (lost ||= !held))),
        Effect.forever
      )
      return catchUp(target, holder, () => lost).pipe(Effect.raceFirst(renewing), Effect.ensuring(leases.release(lease)))
    }

    const work = (target: string, holder: Holder): Effect.Effect<void, never, R> =>
      Effect.gen(function*() {
        if (holder.isRedelivered) {
          const last = yield* log.last(target).pipe(Effect.orElseSucceed(() => undefined))
          mark(target, last?.inputThrough ?? 0)
        }
        const lease = worker.lease === false ? undefined : yield* leases.acquire(leaseSubject(worker.actor, target), token)
        if (worker.lease !== false && lease === undefined) return heldElsewhere(target, holder)
        const outcome = yield* Effect.exit(lease === undefined ? catchUp(target, holder, () => false) : underLease(target, holder, lease))
        holders.delete(target)
        const failed = outcome._tag === "Failure"
        if (failed) {
          const count = (failures.get(target) ?? 0) + 1
          if (failures.size > failuresLimit) failures.clear()
          failures.set(target, count)
          if (count <= 3 || count % 20 === 0) yield* Effect.logWarning(`${worker.actor} could not finish ${target} (try ${count})`, outcome.cause)
        } else failures.delete(target)
        for (const message of holder.parked) {
          if (message.seq <= through(target)) signals.ack(message)
          else signals.nak(message, failed ? Math.min(500 * 2 ** Math.min(failures.get(target) ?? 1, 6), 15_000) : 1_000)
        }
      })

    return {
      through,
      /** True when the signal is parked with who holds its entity in this process. */
      park: (target: string, message: JsMsg): boolean => {
        const holder = holders.get(target)
        if (holder === undefined) return false
        holder.parked.push(message)
        holder.minimum = Math.max(holder.minimum, message.seq)
        return true
      },
      /** Gives a signal back when another process was just seen to hold its entity; true when it did. */
      passOver: (target: string, message: JsMsg): boolean => {
        if ((heldUntil.get(target) ?? 0) > Date.now()) {
          signals.nak(message, backOff(message))
          return true
        }
        heldUntil.delete(target)
        return false
      },
      /** Holds an entity from now on; the effect works on it, and lets it go at its end. */
      hold: (target: string, message: JsMsg): Effect.Effect<void, never, R> => {
        const holder: Holder = { parked: [message], minimum: message.seq, isRedelivered: message.redelivered }
        holders.set(target, holder)
        return work(target, holder)
      }
    }
  })
