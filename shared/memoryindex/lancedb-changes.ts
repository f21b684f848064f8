/**
 * The changes of one index folder: taken in at once, added to the table of its slot (`lancedb-rows.ts`) many at a time, and begun anew
 * after damage, so that the log can fill it.
 */
import { Index, Session, type Table } from "@lancedb/lancedb"
import { Effect, Semaphore } from "effect"
import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { ofUser, readChanges, type StoredChange, tableOf } from "./lancedb-rows.ts"
import { aboutOf, isMarked, type LanceIndexSettings, markOf, type OpenedTable, openTable, reasonOf, takeSlot } from "./lancedb-slot.ts"
import { type IndexChange, MemoryIndexError, userOf } from "./memory-index.ts"

/** Changes added to the table at once, at most and after how long: what a process that is killed had not added is folded from the log once more. */
const flushChanges = 4_000
const flushMillis = 10_000
/**
 * Additions between two tidyings of the table. A tidying writes anew all that is not in files of a million rows yet, and takes up to 400 MB
 * while it does; what was added since the last one has no part in the index by user, and makes loading one slower.
 */
const tidyEvery = 100
/** Rows that processes before this one may have left without a part in the index by user; with more, or with {@link tidyEvery} versions left, the table is tidied. */
const unindexedMax = 20_000
/** The index by user, by the name the library gives it. */
const userIndex = "user_idx"
/** What the library keeps of indexes and of files, bytes: it would keep gigabytes, and one scan a user is all it is asked for. */
const caches = { index: 8 * 2 ** 20, files: 16 * 2 ** 20 }

/** A table in use, with what it is about to hold. */
interface InUse {
  readonly table: Table
  /** What processes before this one left to be done was looked for, with the first addition. */
  isLookedAfter: boolean
  /** What the table is complete up to, and what has been taken in. */
  checkpoint: number
  through: number
  /** Of the last change taken in. */
  place: number
  /** Of this process. */
  additions: number
  /** Not yet in the table, in order; `writing` is on its way there. */
  pending: Array<StoredChange>
  writing: ReadonlyArray<StoredChange>
}
const inUse = ({ checkpoint, place, table }: OpenedTable): InUse => ({ table, isLookedAfter: false, checkpoint, through: checkpoint, place, additions: 0, pending: [], writing: [] })

/** What a table needs when it is added to first: a command that lives for a moment adds once, and would leave the tidying to the next for ever. */
const careFor = async (table: Table): Promise<"index" | "tidying" | "none"> => {
  const stats = await table.indexStats(userIndex)
  if (stats === undefined) return "index"
  return stats.numUnindexedRows > unindexedMax || (await table.listVersions()).length >= tidyEvery ? "tidying" : "none"
}

/** @param dropped told when the table no longer holds what was read from it: of one user, or, without one, at all */
export const makeStoredChanges = Effect.fnUntraced(function*(settings: LanceIndexSettings, dropped: (user?: string) => void) {
  const { dimensions, folder, log } = settings
  const damaged = (error: unknown) =>
    new MemoryIndexError({ reason: "Damaged", message: `the memory index in ${folder} cannot be used: ${reasonOf(error).slice(0, 300)}` })
  const attempt = <A>(run: () => Promise<A>) => Effect.tryPromise({ try: run, catch: damaged })
  let own = yield* Effect.try({ try: () => takeSlot(folder), catch: (error) => new MemoryIndexError({ reason: "Damaged", message: `no index can be kept in ${folder}: ${reasonOf(error)}; see that it is a folder that can be written, or move what stands in its place` }) })
  yield* Effect.addFinalizer(() => Effect.sync(() => own.release()))
  for (const note of own.notes) yield* Effect.logWarning(note)
  const session = new Session(BigInt(caches.index), BigInt(caches.files))
  const opened = yield* attempt(() => openTable(own.slot, session, settings))
  if (opened.why !== undefined) yield* Effect.logWarning(`the memory index in ${own.slot} is filled again from the log: ${opened.why}`)
  else if (opened.checkpoint === 0 && log.head > 0) {
    const filled = `is filled from the log, up to ${log.head}`
    yield* isMarked(own.slot, log.id) ? Effect.logWarning(`the memory index in ${own.slot} was deleted and ${filled}`) : Effect.logInfo(`the memory index in ${own.slot} is empty and ${filled}`)
  }

  let now = inUse(opened)
  /** Set when the folder was begun anew, until the checkpoint is asked for: what comes before it would be missing. */
  let begunAnew: MemoryIndexError | undefined
  /** Moved on when a tidying begins and when it ends. */
  let tidied = 0
  /** Held by whoever changes the table. */
  const changing = yield* Semaphore.make(1)

  /** After damage: everything is dropped and the folder begun anew, which is said once, here. */
  const beginAnew = (error: MemoryIndexError) => {
    const lost = existsSync(aboutOf(own.slot)) ? error.message : `the memory index in ${own.slot} was deleted while in use`
    const told = new MemoryIndexError({ reason: "BegunAnew", message: `${lost}. It is filled again from the log; until then answers may lack memories` })
    return attempt(async () => {
      begunAnew = told
      if (own.isOwn()) rmSync(own.slot, { recursive: true, force: true })
      else {
        const lost = own
        own = takeSlot(folder)
        lost.release()
      }
      now = inUse(await openTable(own.slot, session, settings))
      dropped()
    }).pipe(Effect.tap(() => Effect.logWarning(told.message)), Effect.andThen(Effect.fail(told)))
  }

  /** Takes old versions of the table and their files away; to be held under `changing`. */
  const tidy = Effect.suspend(() => {
    tidied += 1
    return attempt(() => now.table.optimize({ cleanupOlderThan: new Date() }))
  }).pipe(Effect.ensuring(Effect.sync(() => (tidied += 1))))

  const write = Effect.gen(function*() {
    if (!existsSync(aboutOf(own.slot))) return yield* damaged("it was deleted")
    if (now.pending.length === 0 && now.through === now.checkpoint) return
    now.writing = now.pending
    now.pending = []
    const checkpoint = now.through
    yield* attempt(() => now.table.add(tableOf(now.writing, checkpoint, dimensions)))
    now.writing = []
    now.checkpoint = checkpoint
    now.additions += 1
    if (!now.isLookedAfter) {
      const care = yield* attempt(() => careFor(now.table))
      if (care === "index") yield* attempt(() => now.table.createIndex("user", { config: Index.btree(), name: userIndex }))
      else if (care === "tidying") yield* tidy
      yield* attempt(async () => writeFileSync(markOf(own.slot), log.id))
      now.isLookedAfter = true
    }
    if (now.additions % tidyEvery === 0) yield* tidy
  })
  /** Adds to the table what it does not hold yet. */
  const flush = changing.withPermits(1)(write.pipe(Effect.catchTag("MemoryIndexError", beginAnew)))

  yield* Effect.sleep(flushMillis).pipe(Effect.andThen(flush), Effect.catchTag("MemoryIndexError", ({ message, reason }) => (reason === "BegunAnew" ? Effect.void : Effect.logError(message))), Effect.forever, Effect.forkScoped)
  yield* Effect.addFinalizer(() => Effect.ignore(changing.withPermits(1)(write)))

  return {
    flush,
    begunAnew: () => begunAnew,
    /** Takes changes in, and what they lead up to. */
    add: (changes: ReadonlyArray<IndexChange>, through: number): void => {
      for (const change of changes) now.pending.push({ place: (now.place += 1), change })
      now.through = Math.max(now.through, through)
    },
    /** True when it is time to flush. */
    isFull: () => now.pending.length >= flushChanges,
    /** What has been taken in; asking for it is going on from there, also after the folder was begun anew, which must have ended. */
    checkpoint: changing.withPermits(1)(Effect.sync(() => {
      begunAnew = undefined
      return now.through
    })),
    /** The table in use; another one after the folder was begun anew or replaced. */
    table: () => now.table,
    /** Changes of a user that are not in the table yet. */
    waiting: (user: string): Array<IndexChange> => [...now.writing, ...now.pending].map(({ change }) => change).filter((change) => userOf(change) === user),
    /** Reads the table in use as `readChanges` does, anew where tidying moved rows meanwhile. False when another table took its place. */
    read: (user: string, begin: Parameters<typeof readChanges>[3]): Effect.Effect<boolean, MemoryIndexError> => {
      const { table } = now
      const tidiedBefore = tidied
      const reading = attempt(() => readChanges(table, user, dimensions, begin))
      return reading.pipe(
        Effect.as(true),
        Effect.catchTag("MemoryIndexError", (error) =>
          changing.withPermits(1)(Effect.suspend(() => {
            // Somebody else found the damage first and began anew, or the table was replaced.
            if (now.table !== table) return begunAnew === undefined ? Effect.succeed(false) : Effect.fail(begunAnew)
            // Nothing moves while this is held.
            return (tidied === tidiedBefore ? Effect.fail(error) : reading).pipe(Effect.as(true), Effect.catchTag("MemoryIndexError", beginAnew))
          })))
      )
    },
    removeUser: (user: string) =>
      changing.withPermits(1)(
        Effect.gen(function*() {
          dropped(user)
          now.pending = now.pending.filter(({ change }) => userOf(change) !== user)
          yield* attempt(() => now.table.delete(ofUser(user)))
          // Old versions of the table still hold what was deleted.
          yield* tidy
        }).pipe(Effect.catchTag("MemoryIndexError", beginAnew))
      ),
    /** Where a folder that is to replace this one is filled, beside it. */
    beside: () => `${own.slot}.next`,
    /** Puts what was filled beside in this one's place. */
    putInPlace: (beside: string) =>
      changing.withPermits(1)(
        attempt(async () => {
          const aside = `${own.slot}.aside`
          rmSync(aside, { recursive: true, force: true })
          renameSync(own.slot, aside)
          renameSync(join(beside, "0"), own.slot)
          // The log has grown since this index was opened.
          const next = await openTable(own.slot, session, { ...settings, log: { ...log, head: Infinity } })
          now = inUse(next)
          dropped()
          for (const gone of [aside, beside, markOf(join(beside, "0"))]) rmSync(gone, { recursive: true, force: true })
          if (next.why !== undefined) throw new Error(`the new index cannot be opened: ${next.why}`)
        }).pipe(Effect.catchTag("MemoryIndexError", beginAnew))
      )
  }
})
export type StoredChanges = Effect.Success<ReturnType<typeof makeStoredChanges>>
