/**
 * The retriever's projection: follows the memory log into the index of this process. A commit becomes index changes; what is damaged
 * or unknown stops it, because an index that silently misses something is worse than one that is late.
 */
import { Cause, Clock, Effect, Result, Schedule, Stream } from "effect"
import { type IndexChange, MemoryIndex, type MemoryIndexError, userOf } from "#shared/memoryindex/memory-index"
import { type Commit, type CorruptCommit, isErasureMark } from "#shared/eventlog/envelope"
import { erasuresIn, type UserErased } from "#shared/eventlog/erasure"
import type { UnreadableEvent } from "#shared/eventlog/event"
import { EventLog } from "#shared/eventlog/event-log"
import type { LogUnavailable } from "#shared/eventlog/nats"
import { decodeToken, encodeToken, erasedFilter, isErasedSubject, memoryFilter, parseMemorySubject, userHash } from "#shared/eventlog/subjects"
import { compressorCodec } from "#services/compressor/protocol"
import { embedderCodec, unpackVectors } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"

/** Key of a user's part of the index: tenant and user together, so that no filter ever separates tenants. */
export const indexUser = (tenant: string, user: string): string => `${encodeToken(tenant)}/${encodeToken(user)}`

/** What one commit changes in the index. */
export const changesOf = (commit: Commit): Result.Result<ReadonlyArray<IndexChange>, UnreadableEvent> => {
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
            changes.push({ _tag: "Supersede", user, id: event.success.memory, by: "forgotten", sequence: commit.sequence })
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
}

/** Everything, also what changes nothing here: the index is complete up to a position only when it has seen all commits before it. */
const filters = [memoryFilter({}), erasedFilter()]

export type ProjectionError = LogUnavailable | CorruptCommit | UnreadableEvent | MemoryIndexError

/** Follows the log until the scope closes. When it stops on an error it is said aloud, and tried again every second. */
export const runProjection = Effect.gen(function*() {
  const log = yield* EventLog
  const index = yield* MemoryIndex
  let through = yield* index.checkpoint

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
          const own = changesOf(commit)
          if (Result.isFailure(own)) return yield* own.failure
          yield* index.apply(own.success, through)
        })
      )
    )

  const applyBatch = (commits: ReadonlyArray<Commit>): Effect.Effect<void, ProjectionError> =>
    Effect.gen(function*() {
      let changes: Array<IndexChange> = []
      /** Users whose marks came since changes were applied last. */
      const dropped = new Set<string>()
      const settle = (upTo: number) =>
        Effect.gen(function*() {
          for (const user of dropped) yield* index.removeUser(user)
          dropped.clear()
          yield* index.apply(changes, upTo)
          changes = []
          through = upTo
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
          dropped.add(user)
        } else {
          const own = changesOf(commit)
          if (Result.isFailure(own)) return yield* own.failure
          changes.push(...own.success)
        }
      }
      yield* settle(commits.at(-1)?.sequence ?? through)
    })

  yield* Stream.unwrap(
    Effect.map(index.checkpoint, (checkpoint) => {
      // Behind what was seen where the index was damaged and begun anew.
      through = checkpoint
      return log.follow(filters, { after: checkpoint })
    })
  ).pipe(
    Stream.groupedWithin(1_000, "20 millis"),
    Stream.runForEach(applyBatch),
    Effect.tapCause((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError("the index cannot follow the log", cause))),
    Effect.retry(Schedule.spaced("1 second")),
    Effect.forkScoped
  )

  const awaitSequence = Effect.fnUntraced(function*(sequence: number, deadlineMs: number) {
    const until = (yield* Clock.currentTimeMillis) + deadlineMs
    for (;;) {
      if (through >= sequence) return true
      const left = until - (yield* Clock.currentTimeMillis)
      if (left <= 0) return false
      yield* Effect.sleep(Math.min(left, 5))
    }
  })
  return { awaitSequence, through: () => through } satisfies Projection
})
