/**
 * The retriever's projection: follows the memory log into the index of this process. A commit becomes index changes; what is damaged
 * or unknown stops it, because an index that silently misses something is worse than one that is late.
 */
import { Cause, Clock, Effect, Result, Schedule, Semaphore, Stream } from "effect"
import { badVector, type IndexChange, MemoryIndex, MemoryIndexError, type MemoryIndexOperations, userOf } from "#shared/memoryindex/memory-index"
import type { Filter, IndexedMemory } from "#shared/memoryindex/shelf"
import { forgotten, type UserView } from "#shared/memoryindex/user-index"
import { type Commit, type CorruptCommit, isErasureMark } from "#shared/eventlog/envelope"
import { erasuresIn, type UserErased } from "#shared/eventlog/erasure"
import { UnreadableEvent } from "#shared/eventlog/event"
import { EventLog } from "#shared/eventlog/event-log"
import type { LogUnavailable } from "#shared/eventlog/nats"
import { decodeToken, encodeToken, erasedFilter, isErasedSubject, memoryFilter, parseMemorySubject, userHash } from "#shared/eventlog/subjects"
import { Embeddings } from "#shared/model/embeddings"
import { compressorCodec } from "#services/compressor/protocol"
import { embedderCodec, unpackVectors } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"

/** Key of a user's part of the index: tenant and user together, so that no filter ever separates tenants. */
export const indexUser = (tenant: string, user: string): string => `${encodeToken(tenant)}/${encodeToken(user)}`

/**
 * What one commit changes in the index.
 *
 * @param model hash of the embedding model in use: vectors of another are left out, since they are never compared with its own
 */
export const changesOf = (commit: Commit, model: string): Result.Result<ReadonlyArray<IndexChange>, UnreadableEvent> => {
  const { actor, conversation, tenant, user: name } = parseMemorySubject(commit.subject)
  const user = indexUser(tenant, name)
  const changes: Array<IndexChange> = []
  for (const stored of commit.events) {
    switch (actor) {
      case "ingestor": {
        const event = ingestorCodec.decode(stored)
        if (Result.isFailure(event)) return Result.fail(event.failure)
        if (event.success._tag !== "TurnsReceived") break
        for (const { id, speaker, text, time } of event.success.turns) {
          changes.push({ _tag: "Put", memory: { id, kind: "turn", text, speaker, time, turns: [id], user, conversation, sequence: commit.sequence } })
        }
        break
      }
      case "compressor": {
        const event = compressorCodec.decode(stored)
        if (Result.isFailure(event)) return Result.fail(event.failure)
        switch (event.success._tag) {
          case "MemoriesRecorded":
            for (const memory of event.success.memories) changes.push({ _tag: "Put", memory: { ...memory, user, conversation, sequence: commit.sequence } })
            break
          case "MemorySuperseded":
            changes.push({ _tag: "Supersede", user, id: event.success.memory, by: event.success.by, sequence: commit.sequence })
            break
          case "MemoryForgotten":
            // Left out of evidence from here on, as of this position, and put back by a restore.
            changes.push({ _tag: "Supersede", user, id: event.success.memory, by: forgotten, sequence: commit.sequence })
            break
          case "MemoryRestored":
            changes.push({ _tag: "Restore", user, id: event.success.memory, sequence: commit.sequence })
            break
        }
        break
      }
      case "embedder": {
        const event = embedderCodec.decode(stored)
        if (Result.isFailure(event)) return Result.fail(event.failure)
        const { dimensions, ids } = event.success
        if (event.success.model !== model) break
        if (commit.binary.length !== ids.length * dimensions * 2) {
          const message = `commit ${commit.sequence} holds ${commit.binary.length} bytes of vectors where ${ids.length} of ${dimensions} dimensions are due`
          return Result.fail(new UnreadableEvent({ type: stored.type, version: stored.version, message }))
        }
        unpackVectors(commit.binary, ids.length, dimensions).forEach((vector, row) => changes.push({ _tag: "SetVector", user, id: ids[row] ?? "", vector }))
        break
      }
    }
  }
  return Result.succeed(changes)
}

export interface Projection {
  /** Waits until the log is folded up to this sequence; false when the deadline passed first. */
  readonly awaitSequence: (sequence: number, deadlineMs: number) => Effect.Effect<boolean>
  readonly through: () => number
  /** Fills a new index from the log beside the one in use, then puts it in its place. */
  readonly rebuild: Effect.Effect<{ readonly commits: number; readonly through: number }, ProjectionError>
  /** Where the index is as whole as it ever was; below it, memories of long ago may be missing. */
  readonly goal: () => number
  /** As of the index; damage is waited for until it is mended, at most 5 s. */
  readonly view: (user: string, filter?: Filter) => Effect.Effect<UserView, MemoryIndexError>
  readonly get: (user: string, ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<IndexedMemory>, MemoryIndexError>
  /** Calls back when an erased user's part of the index is gone, perhaps several times for one erasure: what was read of it before is to be let go. */
  readonly onErased: (listener: (user: ErasedUser) => void) => void
}

export interface ErasedUser {
  readonly tenant: string
  readonly user: string
}

/** A question waits this long for a damaged index to be filled again. */
const refillWaitMs = 5_000

/** Everything, also what changes nothing here: the index is complete up to a position only when it has seen all commits before it. */
const filters = [memoryFilter({}), erasedFilter()]

export type ProjectionError = LogUnavailable | CorruptCommit | UnreadableEvent | MemoryIndexError

/** How far an index has folded the log; moved on as commits are applied. */
export interface FoldPlace {
  through: number
}

/**
 * Applies commits, in the order of the log, to an index: changes, erasure marks and what follows an erasure.
 *
 * @param erased told of each user right after an erasure mark took their part out of the index
 */
export const foldInto = (
  log: EventLog["Service"],
  index: MemoryIndexOperations,
  modelHash: string,
  place: FoldPlace,
  erased: (user: ErasedUser) => void = () => {}
): (commits: ReadonlyArray<Commit>) => Effect.Effect<void, ProjectionError> => {
  /** A vector that no search could use costs its memory alone, which words find; it must not keep everybody's index from going on. */
  const usableOf = Effect.fnUntraced(function*(commit: Commit) {
    const all = yield* Effect.fromResult(changesOf(commit, modelHash))
    if (badVector(all, index.dimensions) === undefined) return all
    const usable: Array<IndexChange> = []
    for (const change of all) {
      const bad = badVector([change], index.dimensions)
      if (bad === undefined) usable.push(change)
      else yield* Effect.logWarning(`${bad.message}; it is left out, and the memory is found by its words only (commit ${commit.sequence} of ${commit.subject})`)
    }
    return usable
  })

  /**
   * Puts back what came of an erased user between the erasure's marks and its end: it was dropped with the rest, and stands in the log.
   * The user's name is in no event, only in the subjects of what stands.
   */
  const refill = (tenant: string, { firstMark, user }: UserErased, end: number) =>
    log.read([memoryFilter({ tenant })], { after: firstMark - 1 }).pipe(
      Stream.takeWhile(({ sequence }) => sequence < end),
      Stream.filter((commit) => userHash(tenant, parseMemorySubject(commit.subject).user) === user),
      Stream.runForEach((commit) =>
        Effect.gen(function*() {
          yield* index.apply(yield* usableOf(commit), place.through)
        })
      )
    )

  return (commits) =>
    Effect.gen(function*() {
      let changes: Array<IndexChange> = []
      /** Users whose marks came since changes were applied last. */
      const dropped = new Map<string, ErasedUser>()
      const settle = (upTo: number) =>
        Effect.gen(function*() {
          for (const [key, user] of dropped) {
            yield* index.removeUser(key)
            erased(user)
          }
          dropped.clear()
          yield* index.apply(changes, upTo)
          changes = []
          place.through = upTo
        })
      for (const commit of commits) {
        if (isErasedSubject(commit.subject)) {
          // The place itself is passed only when all is put back.
          yield* settle(commit.sequence - 1)
          const tenant = decodeToken(commit.subject.split(".")[1] ?? "")
          for (const event of yield* erasuresIn(commit.events)) yield* refill(tenant, event, commit.sequence)
        } else if (isErasureMark(commit)) {
          const of = parseMemorySubject(commit.subject)
          const user = indexUser(of.tenant, of.user)
          changes = changes.filter((change) => userOf(change) !== user)
          dropped.set(user, { tenant: of.tenant, user: of.user })
        } else {
          changes.push(...(yield* usableOf(commit)))
        }
      }
      yield* settle(commits.at(-1)?.sequence ?? place.through)
    })
}

/** Follows the log until the scope closes. When it stops on an error it is said aloud, and tried again every second. */
export const runProjection = Effect.gen(function*() {
  const log = yield* EventLog
  const index = yield* MemoryIndex
  const { modelHash } = yield* Embeddings
  const place: FoldPlace = { through: yield* index.checkpoint }
  /** Where the index will be whole again: the log's end at the start, and what had been reached when damage was found. */
  let goal = yield* log.head("MEMORY").pipe(Effect.orElseSucceed(() => 0))

  /** Since when an index that was begun anew, which it has said itself, is filled again. */
  let refillingSince: number | undefined
  const tellFilled = Effect.gen(function*() {
    if (refillingSince === undefined || place.through < goal) return
    const seconds = ((yield* Clock.currentTimeMillis) - refillingSince) / 1_000
    refillingSince = undefined
    yield* Effect.logWarning(`the memory index is filled again, from ${place.through} commits of the log in ${seconds.toFixed(1)} s`)
  })
  /** Why the log is not followed for now. */
  const tellStopped = (cause: Cause.Cause<unknown>) =>
    Effect.gen(function*() {
      if (Cause.hasInterruptsOnly(cause)) return
      const error = Cause.squash(cause)
      if (error instanceof MemoryIndexError && error.reason === "BegunAnew") refillingSince ??= yield* Clock.currentTimeMillis
      else yield* Effect.logError("the index cannot follow the log", cause)
    })

  const listeners = new Set<(user: ErasedUser) => void>()
  const applyCommits = foldInto(log, index, modelHash, place, (user) => {
    for (const listener of listeners) listener(user)
  })
  /** Held while a batch is applied, and at the end of a rebuild. */
  const applying = yield* Semaphore.make(1)
  const applyBatch = (commits: ReadonlyArray<Commit>) => Effect.andThen(applying.withPermits(1)(applyCommits(commits)), tellFilled)

  /** Fills a new index from the log beside the one in use, then puts it in its place; gives the commits read. */
  const rebuild = Effect.gen(function*() {
    let read = 0
    let isHeld = false
    const catchUp = (upTo: FoldPlace, apply: ReturnType<typeof foldInto>) =>
      Stream.suspend(() => log.read(filters, { after: upTo.through })).pipe(
        Stream.grouped(1_000),
        Stream.runForEach((commits) => {
          read += commits.length
          return apply(commits)
        })
      )
    yield* index.replace((next) =>
      Effect.gen(function*() {
        const upTo: FoldPlace = { through: 0 }
        const apply = foldInto(log, next, modelHash, upTo)
        // Twice: the second pass is short, so that the index in use is held back for little.
        yield* catchUp(upTo, apply)
        yield* catchUp(upTo, apply)
        yield* applying.take(1)
        isHeld = true
        yield* catchUp(upTo, apply)
        place.through = Math.max(place.through, upTo.through)
      })
    ).pipe(Effect.ensuring(Effect.suspend(() => (isHeld ? applying.release(1) : Effect.void))))
    return { commits: read, through: place.through }
  })

  yield* Stream.unwrap(
    Effect.map(index.checkpoint, (checkpoint) => {
      // Behind what was seen where the index was damaged and begun anew.
      goal = Math.max(goal, place.through)
      place.through = checkpoint
      return log.follow(filters, { after: checkpoint })
    })
  ).pipe(
    Stream.groupedWithin(1_000, "20 millis"),
    Stream.runForEach(applyBatch),
    // An index that was begun anew refuses changes until it is read from the start; told also when no commit comes.
    Effect.raceFirst(Effect.sleep("250 millis").pipe(Effect.andThen(Effect.suspend(() => index.apply([], place.through))), Effect.forever)),
    Effect.tapCause(tellStopped),
    Effect.retry(Schedule.spaced("1 second")),
    Effect.forkScoped
  )

  const awaitSequence = Effect.fnUntraced(function*(sequence: number, deadlineMs: number) {
    const until = (yield* Clock.currentTimeMillis) + deadlineMs
    for (;;) {
      if (place.through >= sequence) return true
      const left = until - (yield* Clock.currentTimeMillis)
      if (left <= 0) return false
      yield* Effect.sleep(Math.min(left, 5))
    }
  })

  /**
   * An answer of the index; where it was begun anew, once it is filled again, or with what it has by then. What it cannot give for now it
   * is asked for once more.
   */
  const whole = <A>(ask: Effect.Effect<A, MemoryIndexError>): Effect.Effect<A, MemoryIndexError> =>
    ask.pipe(
      Effect.retry({ times: 1, while: ({ reason }) => reason === "Damaged" }),
      Effect.catchIf(({ reason }) => reason === "BegunAnew", () =>
        Effect.suspend(() => {
          goal = Math.max(goal, place.through)
          place.through = 0
          return Effect.andThen(awaitSequence(goal, refillWaitMs), ask)
        }))
    )
  return {
    awaitSequence,
    through: () => place.through,
    rebuild,
    goal: () => goal,
    view: (user, filter) => whole(index.view(user, filter)),
    get: (user, ids) => whole(index.get(user, ids)),
    onErased: (listener) => void listeners.add(listener)
  } satisfies Projection
})
