/**
 * Entities: load by folding, decide, commit with the expected sequence, and on a conflict load and decide again. One subject is one
 * entity; a small cache keeps folded states warm, and the expected sequence makes a stale one harmless.
 */
import { Clock, Effect, Result, Schema } from "effect"
import { commitId, type Commit, type CorruptCommit, isErasureMark } from "../eventlog/envelope.ts"
import type { UnreadableEvent } from "../eventlog/event.ts"
import { type CommitTooLarge, EventLog, type ReadOnlyLog } from "../eventlog/event-log.ts"
import { keyedLock, type LogUnavailable } from "../eventlog/nats.ts"
import type { Behaviour } from "./behaviour.ts"

/** Others kept appending to this entity; the command was decided `tries` times in vain. Send it again later. */
export class TooManyConflicts extends Schema.TaggedError<TooManyConflicts>()("TooManyConflicts", {
  subject: Schema.String,
  tries: Schema.Int
}) {
  override get message(): string {
    return `${this.subject} is too busy: others were first ${this.tries} times. Send the command again.`
  }
}

/** The entity's data was erased after what led to this command had been read. Nothing was recorded; what stands now may be read and decided on. */
export class ErasedMeanwhile extends Schema.TaggedError<ErasedMeanwhile>()("ErasedMeanwhile", { subject: Schema.String }) {
  override get message(): string {
    return `the data of ${this.subject} was erased while this was worked on; nothing was recorded`
  }
}

export type EntityError = LogUnavailable | CorruptCommit | UnreadableEvent | TooManyConflicts | CommitTooLarge | ReadOnlyLog | ErasedMeanwhile

/** An entity's state with the place it is folded up to. */
export interface Folded<State> {
  readonly state: State
  /** Sequence and checksum of its last commit; 0 and "" before the first. */
  readonly sequence: number
  readonly checksum: string
  /** Highest `inputThrough` of its commits: the water mark of the actor's work for this entity. */
  readonly inputThrough: number
  readonly commitIds: ReadonlySet<string>
  /** Sequence of the last erasure mark; 0 = its data was never erased. */
  readonly epoch: number
}

export interface Execution {
  /** What made the actor decide; the commit id derives from it. */
  readonly cause: string
  readonly correlation?: string
  /** Input position this decision covers; a decision that covers nothing new is skipped. */
  readonly inputThrough?: number
  readonly binary?: Uint8Array
  /**
   * For commands that hold what was read from the log: the sequence up to which it had been read, or the entity's epoch at that time.
   * An erasure after it refuses the command.
   */
  readonly seen?: number
}

export interface Executed<State, Event> {
  readonly folded: Folded<State>
  readonly events: ReadonlyArray<Event>
  /** False when this very decision had been made before: nothing was added. */
  readonly fresh: boolean
}

export interface Entity<State, Command, Event extends { readonly _tag: string }, Refusal> {
  /** The state folded up to at least `minimum` of the stream. */
  readonly load: (subject: string, minimum?: number) => Effect.Effect<Folded<State>, EntityError>
  readonly execute: (subject: string, command: Command, execution: Execution) => Effect.Effect<Executed<State, Event>, EntityError | Refusal>
  /** Lets go of folded states, also of those being folded: their data was erased. */
  readonly forget: (isGone: (subject: string) => boolean) => void
}

const maxTries = 16
/** Folds in the cache are begun anew after this long; well below the time for which erasure marks stand. */
const foldAgeMs = 20 * 60_000
/** What was not used for this long leaves the cache with the next use of another: conversations that are over take no memory. */
const idleMs = 5 * 60_000

interface Kept<State> {
  readonly folded: Folded<State>
  /** When it was last folded from its first commit, and when it was last used, in milliseconds. */
  readonly begun: number
  readonly used: number
  /** As counted when it came. */
  readonly bytes: number
}

/** The same text by itself: cut out of a message's headers it would keep all of them in memory. */
const detached = (id: string): string => Buffer.from(id, "latin1").toString("latin1")

/** Folds commits onto a state; fails on an event the codec cannot read. */
export const foldCommits = <State, Command, Event extends { readonly _tag: string }, Refusal>(
  behaviour: Behaviour<State, Command, Event, Refusal>,
  from: Folded<State>,
  commits: ReadonlyArray<Commit>
): Effect.Effect<Folded<State>, UnreadableEvent> =>
  Effect.gen(function*() {
    let state = from.state
    let { checksum, epoch, inputThrough, sequence } = from
    let commitIds = from.commitIds as Set<string>
    for (const commit of commits) {
      if (commit.sequence <= sequence) continue
      if (isErasureMark(commit)) {
        state = behaviour.initial()
        commitIds = new Set()
        epoch = commit.sequence
      }
      for (const stored of commit.events) {
        const event = behaviour.codec.decode(stored)
        if (Result.isFailure(event)) return yield* event.failure
        state = behaviour.evolve(state, event.success, commit)
      }
      sequence = commit.sequence
      checksum = commit.checksum
      inputThrough = Math.max(inputThrough, commit.inputThrough)
      commitIds.add(detached(commit.id))
    }
    return { state, sequence, checksum, inputThrough, commitIds, epoch }
  })

export const emptyFold = <State>(state: State): Folded<State> => ({ state, sequence: 0, checksum: "", inputThrough: 0, commitIds: new Set(), epoch: 0 })

/** About what one member of a state's sets, maps and lists takes: a string of a name's length with its entry. */
const memberBytes = 120
/** About what an entity takes without its members. */
const entityBytes = 1_024

/** What a folded entity takes, about: told by how much is in it, since a state's own parts are mostly ids. */
export const foldedBytes = ({ commitIds, state }: Folded<unknown>): number => {
  let members = commitIds.size
  if (typeof state === "object" && state !== null) {
    for (const part of Object.values(state)) members += part instanceof Set || part instanceof Map ? part.size : Array.isArray(part) ? part.length : 0
  }
  return entityBytes + members * memberBytes
}

/** Bytes of entities kept folded by one process and behaviour, about, unless said otherwise. */
const cacheBytes = 48 * 2 ** 20

/**
 * @param cacheSize entities kept folded in this process, least recently used leave first
 * @param cacheLimit bytes they may take together, about; the one used last stays
 */
export const makeEntity = <State, Command, Event extends { readonly _tag: string }, Refusal>(
  behaviour: Behaviour<State, Command, Event, Refusal>,
  cacheSize = 1_000,
  cacheLimit = cacheBytes
): Effect.Effect<Entity<State, Command, Event, Refusal>, never, EventLog> =>
  Effect.gen(function*() {
    const log = yield* EventLog
    /** In the order of use, the one used longest ago first. */
    const cache = new Map<string, Kept<State>>()
    let total = 0
    const lock = keyedLock()
    /** How often states were to be let go: what was begun before may be of one of them, and is not kept. */
    let forgotten = 0

    const forget = (subject: string): void => {
      total -= cache.get(subject)?.bytes ?? 0
      cache.delete(subject)
    }
    const remember = (subject: string, folded: Folded<State>, begun: number, now: number, then: number): Folded<State> => {
      forget(subject)
      if (then !== forgotten) return folded
      const bytes = foldedBytes(folded)
      cache.set(subject, { folded, begun, used: now, bytes })
      total += bytes
      for (const [oldest, { used }] of cache) {
        if (oldest === subject || (cache.size <= cacheSize && total <= cacheLimit && now - used <= idleMs)) break
        forget(oldest)
      }
      return folded
    }

    const refresh = (subject: string, minimum?: number): Effect.Effect<Folded<State>, EntityError> =>
      Effect.gen(function*() {
        const then = forgotten
        const now = yield* Clock.currentTimeMillis
        const kept = cache.get(subject)
        // Erasure marks do not stay for ever: a fold older than they last might be of data that is gone without a trace.
        const { begun, folded: from } = kept !== undefined && now - kept.begun <= foldAgeMs ? kept : { begun: now, folded: emptyFold(behaviour.initial()) }
        // The fold may change the state in place: until it is whole again, nobody else may find it.
        forget(subject)
        const commits = yield* log.load(subject, minimum === undefined ? { after: from.sequence } : { after: from.sequence, minimum })
        return remember(subject, yield* foldCommits(behaviour, from, commits), begun, now, then)
      })

    const execute = Effect.fnUntraced(function*(subject: string, command: Command, execution: Execution) {
      const { seen, ...about } = execution
      for (let tries = 0; tries < maxTries; tries++) {
        const then = forgotten
        const cached = tries === 0 ? cache.get(subject)?.folded : undefined
        const folded = cached ?? (yield* refresh(subject, cache.get(subject)?.folded.sequence))
        // Others may push it out before it is appended to; without a time it would be begun anew.
        const begun = cache.get(subject)?.begun ?? 0
        if (seen !== undefined && folded.epoch > seen) return yield* new ErasedMeanwhile({ subject })
        const id = commitId(subject, execution.cause, folded.epoch)
        const covered = execution.inputThrough !== undefined && execution.inputThrough <= folded.inputThrough
        // An outdated cache may refuse, or find nothing to do, where the log says otherwise: only a fresh fold has the last word.
        if (folded.commitIds.has(id) || covered) {
          if (cached !== undefined) continue
          return { folded, events: [], fresh: false } satisfies Executed<State, Event>
        }
        const decision = behaviour.decide(folded.state, command)
        const addsNothing = Result.isSuccess(decision) && decision.success.length === 0 && execution.inputThrough === undefined
        if (cached !== undefined && (Result.isFailure(decision) || addsNothing)) continue
        if (Result.isFailure(decision)) return yield* Effect.fail(decision.failure)
        const events = decision.success
        if (addsNothing) return { folded, events, fresh: false } satisfies Executed<State, Event>
        // Every commit carries the water mark on, so that the last one alone tells how far the work for this entity has come.
        const inputThrough = Math.max(folded.inputThrough, execution.inputThrough ?? 0)
        const outcome = yield* Effect.result(
          log.append({ ...about, inputThrough, epoch: folded.epoch, subject, events: events.map((event) => behaviour.codec.encode(event)) }, folded.sequence, folded.checksum)
        )
        if (Result.isSuccess(outcome)) {
          if (outcome.success.already) return { folded: yield* refresh(subject, outcome.success.sequence), events: [], fresh: false } satisfies Executed<State, Event>
          const place = { id, sequence: outcome.success.sequence, cause: execution.cause, inputThrough, binary: execution.binary ?? new Uint8Array(0) }
          const now = yield* Clock.currentTimeMillis
          // Should evolve break, no half-folded state may stay behind.
          forget(subject)
          const next = remember(subject, {
            state: events.reduce((state, event) => behaviour.evolve(state, event, place), folded.state),
            sequence: outcome.success.sequence,
            checksum: outcome.success.checksum,
            inputThrough,
            commitIds: (folded.commitIds as Set<string>).add(detached(id)),
            epoch: folded.epoch
          }, begun, now, then)
          return { folded: next, events, fresh: true } satisfies Executed<State, Event>
        }
        if (outcome.failure._tag !== "SequenceConflict") return yield* outcome.failure
        // The log ends before what was folded: it was erased and nothing came after.
        if (outcome.failure.actual < folded.sequence) forget(subject)
        if (tries > 2) yield* Effect.sleep(Math.min(2 ** tries, 100))
      }
      return yield* new TooManyConflicts({ subject, tries: maxTries })
    })

    return {
      load: (subject, minimum) => lock(subject, refresh(subject, minimum)),
      execute: (subject, command, execution) => lock(subject, execute(subject, command, execution)),
      forget: (isGone) => {
        forgotten += 1
        for (const subject of [...cache.keys()]) if (isGone(subject)) forget(subject)
      }
    }
  })
