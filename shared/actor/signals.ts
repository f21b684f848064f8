/**
 * Signals: "something new for this entity". A durable consumer on the log wakes any free worker; the worker folds what is pending, commits
 * with a water mark, and only then acknowledges.
 *
 * The one invariant: a signal is acknowledged only after a commit with `inputThrough` at or above its sequence was acknowledged or read.
 * Order comes from the log and safety from the expected sequence; the lease only saves work that another worker is doing already.
 */
import type { JsMsg } from "@nats-io/jetstream"
import { Effect, Schedule, Semaphore, Stream } from "effect"
import { LogUnavailable, type Nats } from "../eventlog/nats.ts"
import type { EventLog } from "../eventlog/event-log.ts"
import type { ActorName } from "../eventlog/subjects.ts"
import { durable } from "./consumer.ts"
import { bury } from "./dead-letters.ts"
import type { Leases } from "./lease.ts"
import { makeSignalled } from "./signalled.ts"
import { makeUnacknowledged } from "./unacknowledged.ts"

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

/** Runs until interrupted; a handler that fails leaves its signals to be delivered again, and the process lives. */
export const runSignals = <E, R>(worker: SignalWorker<E, R>): Effect.Effect<void, LogUnavailable, R | Nats | EventLog | Leases> =>
  Effect.scoped(Effect.gen(function*() {
    const scope = yield* Effect.scope
    const signals = yield* makeUnacknowledged(ackWaitSeconds)
    const entities = yield* makeSignalled(worker, signals)
    const permits = Semaphore.makeUnsafe(worker.concurrency)
    // Entities in work or next in line. What is beyond stays with the server, for workers that come later.
    const inLine = worker.concurrency * 2
    const room = Semaphore.makeUnsafe(inLine)

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
        if (message.seq <= entities.through(target)) return message.ack()
        signals.add(message)
        if (entities.park(target, message) || entities.passOver(target, message)) return
        yield* room.take(1)
        yield* entities.hold(target, message).pipe(permits.withPermits(1), Effect.ensuring(room.release(1)), Effect.forkIn(scope))
      })

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
