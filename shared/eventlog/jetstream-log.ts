/**
 * The event log on JetStream. Loads use direct reads with a minimum sequence, reads use ordered consumers, and every failure of the
 * client is translated here, by code.
 */
import type { StoredMsg } from "@nats-io/jetstream"
import { errors, headers as makeHeaders } from "@nats-io/transport-node"
import { Clock, Effect, Layer, Stream } from "effect"
import { type Commit, type CommitDraft, encodeCommit, type RawMessage } from "./envelope.ts"
import { type Appended, type AppendError, CommitTooLarge, EventLog, type ReadError, SequenceConflict } from "./event-log.ts"
import { headersOf, readStream } from "./jetstream-reading.ts"
import { decodeAll, decoded, decodeOrFail } from "./memory-log.ts"
import { apiCode, attemptRead, isPassing, LogUnavailable, maxMessageBytes, Nats, reasonOf } from "./nats.ts"
import { streamOf } from "./subjects.ts"

const rawOf = (message: StoredMsg): RawMessage => ({
  subject: message.subject,
  sequence: message.seq,
  // In milliseconds however it was read; a load would tell nanoseconds.
  time: message.time.toISOString(),
  headers: headersOf(message.header),
  payload: message.data
})

/** Passing failures are retried with the same message id this long; a leader change takes about 6 s. */
const retryBudgetMs = 20_000
const batchSize = 1_000

export const layer: Layer.Layer<EventLog, never, Nats> = Layer.effect(
  EventLog,
  Effect.gen(function*() {
    const nats = yield* Nats
    const { js, jsm } = nats

    const direct = (subject: string, after: number): Effect.Effect<ReadonlyArray<RawMessage>, LogUnavailable> =>
      attemptRead(`load ${subject}`, async () => {
        const found: Array<RawMessage> = []
        let next = after + 1
        // Bounded by the number of commits of one subject; each pass moves `next` on.
        for (;;) {
          const page: Array<RawMessage> = []
          let pending = 0
          await new Promise<void>((resolve, reject) => {
            const timer = setTimeout(() => reject(new errors.TimeoutError()), 10_000)
            const done = (error?: unknown) => {
              clearTimeout(timer)
              if (error === undefined || isNoMessage(error)) resolve()
              else reject(error)
            }
            jsm.direct
              .getBatch(streamOf(subject), {
                seq: next,
                next_by_subj: subject,
                batch: batchSize,
                callback: (end, message) => {
                  if (end !== null) done(end.err)
                  else {
                    page.push(rawOf(message))
                    pending = message.pending
                  }
                }
              })
              .catch(done)
          })
          found.push(...page)
          const last = page.at(-1)
          // A page ends at the batch size or at the bytes the server sends at once; what it still has it says itself.
          if (last === undefined || pending <= 0) return found
          next = last.sequence + 1
        }
      })

    const lastRaw = (subject: string): Effect.Effect<RawMessage | undefined, LogUnavailable> =>
      attemptRead(`read the last commit of ${subject}`, async () => {
        // Asked of the leader, not of a replica: what it answers is never behind an acknowledgement.
        const message = await jsm.streams.getMessage(streamOf(subject), { last_by_subj: subject }).catch((error) => {
          if (apiCode(error) === 10037) return null
          throw error
        })
        return message === null ? undefined : rawOf(message)
      })

    const load = Effect.fnUntraced(function*(
      subject: string,
      options?: { readonly after?: number; readonly minimum?: number }
    ): Effect.fn.Return<ReadonlyArray<Commit>, ReadError> {
      let found = yield* direct(subject, options?.after ?? 0)
      if ((found.at(-1)?.sequence ?? options?.after ?? 0) < (options?.minimum ?? 0)) {
        // The minimum may be of another subject of the stream: the leader's word on this subject's last commit settles it.
        const last = yield* lastRaw(subject)
        for (let tries = 0; last !== undefined && (found.at(-1)?.sequence ?? options?.after ?? 0) < last.sequence; tries++) {
          if (tries === 100) return yield* new LogUnavailable({ operation: "load", message: `${subject} stays behind its own last commit; is a replica cut off?` })
          yield* Effect.sleep(20)
          found = yield* direct(subject, options?.after ?? 0)
        }
      }
      return yield* decodeAll(found)
    })

    const append = Effect.fnUntraced(function*(draft: CommitDraft, expected: number, previousChecksum: string): Effect.fn.Return<Appended, AppendError> {
      const encoded = encodeCommit(draft, previousChecksum)
      const limitBytes = maxMessageBytes - 8_192
      if (encoded.payload.length > limitBytes) return yield* new CommitTooLarge({ subject: draft.subject, bytes: encoded.payload.length, limitBytes })
      const messageHeaders = makeHeaders()
      for (const [name, value] of Object.entries(encoded.headers)) messageHeaders.set(name, value)
      const giveUpAt = (yield* Clock.currentTimeMillis) + retryBudgetMs
      for (let tries = 0;; tries++) {
        const outcome = yield* Effect.promise(() =>
          js
            .publish(draft.subject, encoded.payload, { msgID: encoded.id, headers: messageHeaders, expect: { lastSubjectSequence: expected }, timeout: 5_000 })
            .then(
              (ack) => ({ ack }) as const,
              (error: unknown) => ({ error }) as const
            )
        )
        if ("ack" in outcome) return { sequence: outcome.ack.seq, checksum: encoded.checksum, already: outcome.ack.duplicate }
        if (apiCode(outcome.error) === 10071) {
          const later = yield* load(draft.subject, { after: expected, minimum: expected + 1 })
          const mine = later.find((commit) => commit.id === encoded.id)
          if (mine !== undefined) return { sequence: mine.sequence, checksum: mine.checksum, already: true }
          return yield* new SequenceConflict({ subject: draft.subject, expected, actual: later.at(-1)?.sequence ?? 0 })
        }
        if (!isPassing(outcome.error) || (yield* Clock.currentTimeMillis) > giveUpAt) {
          return yield* new LogUnavailable({ operation: "append", message: `append to ${draft.subject}: ${reasonOf(outcome.error)}` })
        }
        yield* Effect.sleep(Math.min(100 * 2 ** tries, 2_000))
      }
    })

    const consume = (filters: ReadonlyArray<string>, after = 0, live = false): Stream.Stream<RawMessage, LogUnavailable> =>
      readStream(nats, streamOf(filters[0] ?? ""), filters, after, live)

    return EventLog.of({
      append,
      load,
      last: (subject) => Effect.flatMap(lastRaw(subject), (raw) => (raw === undefined ? Effect.succeed(undefined) : decodeOrFail(raw))),
      readRaw: (filters, options) => consume(filters, options?.after),
      read: (filters, options) => decoded(consume(filters, options?.after)),
      follow: (filters, options) => decoded(consume(filters, options?.after, true)),
      head: (stream) => Effect.map(attemptRead(`read the head of ${stream}`, () => jsm.streams.info(stream)), (info) => info.state.last_seq)
    })
  })
)

const isNoMessage = (error: unknown): boolean =>
  apiCode(error) === 10037 || (error instanceof Error && "code" in error && error.code === 404)
