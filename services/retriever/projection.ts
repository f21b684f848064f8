/**
 * The retriever's projection: follows the memory log into the index of this process. A commit becomes index changes; what is damaged
 * or unknown stops it, because an index that silently misses something is worse than one that is late.
 */
import { Cause, Clock, Effect, Result, Schedule, Stream } from "effect"
import { type IndexChange, MemoryIndex, type MemoryIndexError } from "#shared/memoryindex/memory-index"
import type { Commit, CorruptCommit } from "#shared/eventlog/envelope"
import type { UnreadableEvent } from "#shared/eventlog/event"
import { EventLog } from "#shared/eventlog/event-log"
import type { LogUnavailable } from "#shared/eventlog/nats"
import { encodeToken, memoryFilter, parseMemorySubject } from "#shared/eventlog/subjects"
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
const filters = [memoryFilter({})]

export type ProjectionError = LogUnavailable | CorruptCommit | UnreadableEvent | MemoryIndexError

/** Follows the log until the scope closes. When it stops on an error it is said aloud, and tried again every second. */
export const runProjection = Effect.gen(function*() {
  const log = yield* EventLog
  const index = yield* MemoryIndex
  let through = yield* index.checkpoint

  const applyBatch = (commits: ReadonlyArray<Commit>): Effect.Effect<void, ProjectionError> =>
    Effect.gen(function*() {
      const changes: Array<IndexChange> = []
      for (const commit of commits) {
        const own = changesOf(commit)
        if (Result.isFailure(own)) return yield* own.failure
        changes.push(...own.success)
      }
      const last = commits.at(-1)?.sequence ?? through
      yield* index.apply(changes, last)
      through = last
    })

  yield* Stream.suspend(() => log.follow(filters, { after: through })).pipe(
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
