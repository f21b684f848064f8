/**
 * Signals: "something new for this entity". A durable consumer on the log wakes any free worker; the worker folds what is pending, commits
 * with a water mark, and only then acknowledges.
 *
 * The one invariant: a signal is acknowledged only after a commit with `inputThrough` at or above its sequence was acknowledged or read.
 * Order comes from the log and safety from the expected sequence; the lease only saves work that another worker is doing already.
 */
import { randomUUID } from "node:crypto"
import type { JsMsg } from "@nats-io/jetstream"
import { Effect, Schedule, Semaphore, Stream } from "effect"
import { LogUnavailable, Nats } from "../eventlog/nats.ts"
import { EventLog } from "../eventlog/event-log.ts"
import { type ActorName, leaseSubject } from "../eventlog/subjects.ts"
import { durable } from "./consumer.ts"
import { bury } from "./dead-letters.ts"
import { Leases, leaseSeconds } from "./lease.ts"

export interface SignalWorker<E, R> {
  readonly actor: ActorName
  /** Subjects of the log that wake this actor. */
  readonly filters: ReadonlyArray<string>
  /** The subject this actor writes for the entity that a signal is about; also the entity's key. */
  readonly target: (signalSubject: string) => string
  /**
   * Does all work pending for the entity, with everything up to `minimum` seen, and returns the water mark reached: the `inputThrough` of
   * its last commit. At or above `minimum` when it succeeds.
   */
  readonly handle: (target: string, minimum: number) => Effect.Effect<number, E, R>
  /** Entities worked on at once in this process. */
  readonly concurrency: number
  /** What the work depends on beside the log, as the name of a model; where it changed, all entities are signalled once more. */
  readonly basis?: string
  /** Without a lease several workers may do the same work at once; only for work that is cheap to repeat. */
  readonly lease?: boolean
}

const ackWaitSeconds = 10
/** Water marks, and entities that others hold, remembered in this process; only saves reads and tries. */
const markLimit = 20_000

interface Holder {
  readonly parked: Array<JsMsg>
  /** Highest sequence among own and parked signals. */
  minimum: number
}

/** Runs until interrupted; a handler that fails leaves its signals to be delivered again, and the process lives. */
export const runSignals = <E, R>(worker: SignalWorker<E, R>): Effect.Effect<void, LogUnavailable, R | Nats | EventLog | Leases> =>
  Effect.scoped(Effect.gen(function*() {
    const log = yield* EventLog
    const leases = yield* Leases
    const scope = yield* Effect.scope
    const token = randomUUID()
    const marks = new Map<string, number>()
    const heldUntil = new Map<string, number>()
    const holders = new Map<string, Holder>()
    const outstanding = new Set<JsMsg>()
    const permits = Semaphore.makeUnsafe(worker.concurrency)
    // Entities in work or next in line. What is beyond stays with the server, for workers that come later.
    const inLine = worker.concurrency * 2
    const room = Semaphore.makeUnsafe(inLine)
    const failures = new Map<string, number>()

    const ack = (message: JsMsg): void => {
      outstanding.delete(message)
      message.ack()
    }
    const nak = (message: JsMsg, delayMs: number): void => {
      outstanding.delete(message)
      // A fraction of a millisecond would be delivered again at once.
      message.nak(Math.round(delayMs))
    }
    const mark = (target: string, through: number): void => {
      if (through <= (marks.get(target) ?? 0)) return
      if (marks.size >= markLimit) marks.clear()
      marks.set(target, through)
    }
    const backOff = (message: JsMsg): number =>
      Math.min(300 * 2 ** (message.info.deliveryCount - 1), leaseSeconds * 1_000) * (0.5 + Math.random())

    // What this process holds unacknowledged, waiting or running, is kept from being delivered to others.
    yield* Effect.sync(() => {
      for (const message of outstanding) message.working()
    }).pipe(Effect.repeat(Schedule.spaced((ackWaitSeconds * 1_000) / 3)), Effect.forkScoped)

    const workOn = (target: string, holder: Holder): Effect.Effect<void, never, R> =>
      Effect.gen(function*() {
        const subject = leaseSubject(worker.actor, target)
        const lease = worker.lease === false ? undefined : yield* leases.acquire(subject, token)
        if (worker.lease !== false && lease === undefined) {
          if (heldUntil.size >= markLimit) heldUntil.clear()
          heldUntil.set(target, Date.now() + 300)
          holders.delete(target)
          for (const message of holder.parked) nak(message, backOff(message))
          return
        }
        let lost = false
        // A renewal under way is let finish: the release must name the revision it made.
        const renewing = lease === undefined
          ? Effect.never
          : Effect.sleep(`${leaseSeconds / 5} seconds`).pipe(
            Effect.andThen(Effect.uninterruptible(leases.renew(lease))),
            Effect.tap((held) => Effect.sync(() => void (lost ||= !held))),
            Effect.forever
          )
        const outcome = yield* Effect.gen(function*() {
          let through = marks.get(target) ?? 0
          // Bounded: each pass reaches the minimum it began with, and new signals only raise it as the log grows.
          while (through < holder.minimum && !lost) {
            const minimum = holder.minimum
            through = yield* worker.handle(target, minimum)
            mark(target, through)
            if (through < minimum) return yield* Effect.die(new RangeError(`${worker.actor} stopped at ${through} below ${minimum} for ${target}`))
            for (const message of holder.parked.splice(0)) {
              if (message.seq <= through) ack(message)
              else holder.parked.push(message)
            }
          }
        }).pipe(Effect.raceFirst(renewing), Effect.ensuring(lease === undefined ? Effect.void : leases.release(lease)), Effect.exit)
        holders.delete(target)
        const failed = outcome._tag === "Failure"
        if (failed) {
          const count = (failures.get(target) ?? 0) + 1
          if (failures.size > 10_000) failures.clear()
          failures.set(target, count)
          if (count <= 3 || count % 20 === 0) yield* Effect.logWarning(`${worker.actor} could not finish ${target} (try ${count})`, outcome.cause)
        } else failures.delete(target)
        for (const message of holder.parked) {
          if (message.seq <= (marks.get(target) ?? 0)) ack(message)
          else nak(message, failed ? Math.min(500 * 2 ** Math.min(failures.get(target) ?? 1, 6), 15_000) : 1_000)
        }
      })

    /** The entity a signal is about; undefined when the subject is not one of this project's, which is put aside and not delivered again. */
    const targetOf = (message: JsMsg): Effect.Effect<string | undefined, never, Nats> =>
      Effect.try({ try: () => worker.target(message.subject), catch: (error) => (error instanceof Error ? error.message : String(error)) }).pipe(
        Effect.catch((error) =>
          bury({
            actor: worker.actor,
            kind: "signal",
            about: message.subject,
            error,
            tries: 1,
            mend: "Something else published to the memory stream. Find out what, then drop this letter."
          }).pipe(Effect.match({ onSuccess: () => message.term("foreign subject"), onFailure: () => message.nak(5_000) }), Effect.as(undefined))
        )
      )

    const receive = (message: JsMsg): Effect.Effect<void, never, R | Nats> =>
      Effect.gen(function*() {
        const target = yield* targetOf(message)
        if (target === undefined) return
        if (message.seq <= (marks.get(target) ?? 0)) return message.ack()
        outstanding.add(message)
        const holder = holders.get(target)
        if (holder !== undefined) {
          holder.parked.push(message)
          holder.minimum = Math.max(holder.minimum, message.seq)
          return
        }
        if ((heldUntil.get(target) ?? 0) > Date.now()) return nak(message, backOff(message))
        heldUntil.delete(target)
        yield* room.take(1)
        const mine: Holder = { parked: [message], minimum: message.seq }
        holders.set(target, mine)
        yield* Effect.gen(function*() {
          if (message.redelivered) {
            const last = yield* log.last(target).pipe(Effect.orElseSucceed(() => undefined))
            mark(target, last?.inputThrough ?? 0)
          }
          yield* workOn(target, mine)
        }).pipe(permits.withPermits(1), Effect.ensuring(room.release(1)), Effect.forkIn(scope))
      })

    const { nc } = yield* Nats
    // A worker that stops hands back what it holds at once, so that others need not wait for the time limit.
    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        for (const message of outstanding) message.nak()
        if (!nc.isClosed()) await nc.flush().catch(() => undefined)
      })
    )
    return yield* Effect.gen(function*() {
      const consumer = yield* durable({ stream: "MEMORY", name: worker.actor, filters: worker.filters, ackWaitSeconds, maxDeliver: -1, headersOnly: true, ...(worker.basis === undefined ? {} : { basis: worker.basis }) })
      yield* Stream.unwrap(
        Effect.map(
          Effect.acquireRelease(
            Effect.tryPromise({
              try: () => consumer.consume({ max_messages: Math.max(16, inLine), abort_on_missing_resource: true }),
              catch: (error) => new LogUnavailable({ operation: "consume", message: `consume signals of ${worker.actor}: ${String(error)}` })
            }),
            (messages) => Effect.promise(() => messages.close().then(() => undefined, () => undefined))
          ),
          (messages) => Stream.fromAsyncIterable(messages, (error) => new LogUnavailable({ operation: "consume", message: String(error) }))
        )
      ).pipe(Stream.runForEach(receive))
      return yield* new LogUnavailable({ operation: "consume", message: "the consumer ended" })
    }).pipe(Effect.scoped, Effect.retry(Schedule.spaced("500 millis")))
  }))
