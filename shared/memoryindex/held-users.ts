/** Users of a stored index that are held in memory: loaded on demand, kept up with what changes, and let go when they take too much. */
import { Effect, Semaphore } from "effect"
import { keyedLock } from "../eventlog/nats.ts"
import type { StoredChanges } from "./lancedb-changes.ts"
import { type IndexChange, MemoryIndexError, userOf } from "./memory-index.ts"
import { applyTo } from "./memory-layer.ts"
import { UserIndex } from "./user-index.ts"

/** Changes to users held in memory between two looks at what they take: to count a user's bytes is cheap, but not for each batch and user. */
const countEvery = 256
/** Times a load is begun before it is given up. */
const triesMax = 3

export interface HeldUsers {
  /** A user's index, loaded where it is not held. */
  readonly of: (user: string) => Effect.Effect<UserIndex, MemoryIndexError>
  /** Brings those held or being loaded up to changes that were taken in just now. */
  readonly apply: (changes: ReadonlyArray<IndexChange>) => void
  /** Lets a user go, or all: what was read of them is not so any longer. */
  readonly drop: (user?: string) => void
}

/** @param bytesMax what those held may take together; the one in use stays, however large */
export const makeHeldUsers = (dimensions: number, bytesMax: number, stored: Pick<StoredChanges, "begunAnew" | "read" | "table" | "waiting">): HeldUsers => {
  /** The last asked for stands last. */
  const held = new Map<string, UserIndex>()
  /** Users being loaded, with the changes that came meanwhile. */
  const loading = new Map<string, Array<IndexChange>>()
  /** Users that were removed while being loaded. */
  const removed = new Set<string>()
  let changesSinceCount = 0
  const loads = Semaphore.makeUnsafe(2)
  // Two loads of one user would each miss the changes that came to the other.
  const oneLoad = keyedLock()

  const evict = (): void => {
    changesSinceCount = 0
    let total = 0
    for (const index of held.values()) total += index.bytes
    for (const [user, index] of held) {
      if (total <= bytesMax || held.size === 1) return
      held.delete(user)
      total -= index.bytes
    }
  }

  const load = Effect.fnUntraced(function*(user: string): Effect.fn.Return<UserIndex, MemoryIndexError> {
    for (let tries = 0; tries < triesMax; tries++) {
      let index = new UserIndex(dimensions)
      removed.delete(user)
      const from = stored.table()
      const meanwhile = stored.waiting(user)
      loading.set(user, meanwhile)
      const isRead = yield* stored.read(user, (rows) => {
        index = new UserIndex(dimensions)
        index.reserve(rows)
        return (change) => applyTo(index, change)
      }).pipe(Effect.ensuring(Effect.sync(() => loading.delete(user))))
      if (!isRead || removed.delete(user) || stored.table() !== from) continue
      for (const change of meanwhile) applyTo(index, change)
      held.set(user, index)
      evict()
      return index
    }
    return yield* new MemoryIndexError({ reason: "Damaged", message: `user ${user} was removed, or the index replaced or begun anew, three times while being loaded; ask again` })
  })

  return {
    of: Effect.fnUntraced(function*(user: string): Effect.fn.Return<UserIndex, MemoryIndexError> {
      const error = stored.begunAnew()
      if (error !== undefined) return yield* error
      const known = held.get(user)
      if (known !== undefined) {
        held.delete(user)
        held.set(user, known)
        return known
      }
      return yield* oneLoad(user, loads.withPermits(1)(Effect.suspend(() => {
        const loaded = held.get(user)
        return loaded === undefined ? load(user) : Effect.succeed(loaded)
      })))
    }),
    apply: (changes) => {
      for (const change of changes) {
        const user = userOf(change)
        const index = held.get(user)
        if (index !== undefined) {
          applyTo(index, change)
          changesSinceCount += 1
        } else loading.get(user)?.push(change)
      }
      if (changesSinceCount >= countEvery) evict()
    },
    drop: (user) => {
      if (user === undefined) return held.clear()
      if (loading.has(user)) removed.add(user)
      held.delete(user)
    }
  }
}
