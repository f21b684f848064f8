/** The event log in memory, for pure tests and short experiments: same codec, same order, same refusals as JetStream. */
import { Array as Arrays, Clock, Effect, Layer, PubSub, type Pull, Stream } from "effect"
import { type Commit, type CorruptCommit, decodeCommit, encodeCommit, header, type RawMessage } from "./envelope.ts"
import { type AppendError, type Appended, CommitTooLarge, EventLog, matches, SequenceConflict } from "./event-log.ts"
import { maxMessageBytes } from "./nats.ts"
import { streamOf } from "./subjects.ts"

/** Decodes one stored message; what is damaged fails the reader. */
export const decodeOrFail = (raw: RawMessage) =>
  Effect.try({ try: () => decodeCommit(raw), catch: (error) => error as CorruptCommit })

/** Decodes stored messages in one go, which takes a tenth of the time of as many effects; the first that is damaged fails the reader. */
export const decodeAll = (raws: ReadonlyArray<RawMessage>): Effect.Effect<ReadonlyArray<Commit>, CorruptCommit> =>
  Effect.try({ try: () => raws.map(decodeCommit), catch: (error) => error as CorruptCommit })

/**
 * Decodes stored messages as many at a time as they come. The first that is damaged fails the reader once it has all that stands
 * before.
 */
export const decoded = <E, R>(raws: Stream.Stream<RawMessage, E, R>): Stream.Stream<Commit, E | CorruptCommit, R> =>
  Stream.transformPull(raws, (pull) =>
    Effect.sync(() => {
      let damaged: CorruptCommit | undefined
      const decode = (some: ReadonlyArray<RawMessage>): Effect.Effect<Arrays.NonEmptyReadonlyArray<Commit>, CorruptCommit> => {
        const commits: Array<Commit> = []
        try {
          for (const raw of some) commits.push(decodeCommit(raw))
        } catch (error) {
          damaged = error as CorruptCommit
        }
        return Arrays.isArrayNonEmpty(commits) ? Effect.succeed(commits) : Effect.fail(damaged as CorruptCommit)
      }
      return Effect.suspend((): Pull.Pull<Arrays.NonEmptyReadonlyArray<Commit>, E | CorruptCommit> => (damaged === undefined ? Effect.flatMap(pull, decode) : Effect.fail(damaged)))
    }))

export const layer: Layer.Layer<EventLog> = Layer.effect(
  EventLog,
  Effect.gen(function*() {
    const messages: Record<string, Array<RawMessage>> = { MEMORY: [], METAMEM: [] }
    const bySubject = new Map<string, Array<RawMessage>>()
    const added = yield* PubSub.unbounded<RawMessage>()
    const all = (filters: ReadonlyArray<string>): Array<RawMessage> => messages[streamOf(filters[0] ?? "")] ?? []
    const select = (filters: ReadonlyArray<string>, after = 0) => (raw: RawMessage) =>
      raw.sequence > after && filters.some((filter) => matches(filter, raw.subject))
    const append: EventLog["Service"]["append"] = Effect.fnUntraced(function*(draft, expected, previousChecksum): Effect.fn.Return<Appended, AppendError> {
      const encoded = encodeCommit(draft, previousChecksum)
      if (encoded.payload.length > maxMessageBytes - 8192) {
        return yield* new CommitTooLarge({ subject: draft.subject, bytes: encoded.payload.length, limitBytes: maxMessageBytes - 8192 })
      }
      const entity = bySubject.get(draft.subject) ?? []
      const actual = entity.at(-1)?.sequence ?? 0
      if (actual !== expected) {
        const mine = entity.find((raw) => raw.sequence > expected && raw.headers[header.id] === encoded.id)
        if (mine !== undefined) return { sequence: mine.sequence, checksum: mine.headers[header.checksum] ?? "", already: true }
        return yield* new SequenceConflict({ subject: draft.subject, expected, actual })
      }
      const time = new Date(yield* Clock.currentTimeMillis).toISOString()
      const stream = messages[streamOf(draft.subject)]
      if (stream === undefined) return yield* Effect.die(new RangeError(`no log holds ${draft.subject}`))
      const raw: RawMessage = { subject: draft.subject, sequence: stream.length + 1, time, headers: encoded.headers, payload: encoded.payload }
      stream.push(raw)
      entity.push(raw)
      bySubject.set(draft.subject, entity)
      yield* PubSub.publish(added, raw)
      return { sequence: raw.sequence, checksum: encoded.checksum, already: false }
    })
    return EventLog.of({
      append,
      load: (subject, options) =>
        Effect.forEach((bySubject.get(subject) ?? []).filter((raw) => raw.sequence > (options?.after ?? 0)), decodeOrFail),
      last: (subject) => {
        const raw = bySubject.get(subject)?.at(-1)
        return raw === undefined ? Effect.succeed(undefined) : decodeOrFail(raw)
      },
      readRaw: (filters, options) => Stream.suspend(() => Stream.fromIterable(all(filters).filter(select(filters, options?.after)))),
      read: (filters, options) =>
        Stream.suspend(() => Stream.fromIterable(all(filters).filter(select(filters, options?.after)))).pipe(Stream.mapEffect(decodeOrFail)),
      follow: (filters, options) =>
        Stream.unwrap(
          Effect.gen(function*() {
            const subscription = yield* PubSub.subscribe(added)
            const before = all(filters).filter(select(filters, options?.after))
            const through = all(filters).length
            const live = Stream.fromSubscription(subscription).pipe(Stream.filter((raw) => raw.sequence > through && select(filters)(raw)))
            return Stream.concat(Stream.fromIterable(before), live)
          })
        ).pipe(Stream.mapEffect(decodeOrFail)),
      head: (stream) => Effect.sync(() => messages[stream]?.length ?? 0)
    })
  })
)
