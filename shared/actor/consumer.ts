/** Durable pull consumers: made once, changed when their settings change, waited for while the server is away. */
import { AckPolicy, type Consumer, type ConsumerConfig, DeliverPolicy } from "@nats-io/jetstream"
import { Effect, Schedule } from "effect"
import { apiCode, attempt, type LogUnavailable, Nats } from "../eventlog/nats.ts"

export interface DurableOptions {
  readonly stream: "MEMORY" | "WORK"
  /** Shared by all workers of one kind; they divide what it delivers. */
  readonly name: string
  readonly filters: ReadonlyArray<string>
  readonly ackWaitSeconds: number
  /** −1 = without limit, where a nak is part of normal work. */
  readonly maxDeliver: number
  readonly headersOnly?: boolean
  /** What the work depends on beside the log; when it changes, everything is delivered once more. */
  readonly basis?: string
}

/** Makes or updates the consumer. Retried while the server is away, at most for a minute. */
export const durable = (options: DurableOptions): Effect.Effect<Consumer, LogUnavailable, Nats> =>
  Effect.gen(function*() {
    const { js, jsm } = yield* Nats
    const config: Partial<ConsumerConfig> = {
      durable_name: options.name,
      ack_policy: AckPolicy.Explicit,
      ack_wait: options.ackWaitSeconds * 1_000_000_000,
      deliver_policy: DeliverPolicy.All,
      filter_subjects: [...options.filters],
      max_deliver: options.maxDeliver,
      // More than the largest import of one conversation: below it a single hot conversation stops delivery for all.
      max_ack_pending: 200_000,
      max_waiting: 4_096,
      headers_only: options.headersOnly ?? false,
      ...(options.basis === undefined ? {} : { metadata: { basis: options.basis } })
    }
    return yield* attempt(`open consumer ${options.name}`, async () => {
      if (options.basis !== undefined) {
        // The server takes other metadata for an update and goes on where it was.
        const standing = await jsm.consumers.info(options.stream, options.name).catch(() => undefined)
        if (standing !== undefined && standing.config.metadata?.["basis"] !== options.basis) await jsm.consumers.delete(options.stream, options.name)
      }
      try {
        await jsm.consumers.add(options.stream, config)
      } catch (error) {
        if (apiCode(error) !== 10148 && apiCode(error) !== 10105) throw error
        const { filter_subjects, ack_wait, max_deliver, max_ack_pending } = config
        await jsm.consumers.update(options.stream, options.name, { filter_subjects: filter_subjects ?? [], ack_wait: ack_wait ?? 0, max_deliver: max_deliver ?? -1, max_ack_pending: max_ack_pending ?? 0 })
      }
      return await js.consumers.get(options.stream, options.name)
    }).pipe(Effect.retry(Schedule.spaced("500 millis").pipe(Schedule.upTo({ times: 120 }))))
  })
