/**
 * The memory index kept in a LanceDB folder: every change is added to one table (`lancedb-rows.ts`), and the users in use are held in
 * memory, loaded from it on demand. A folder has one owner: each process takes the first free numbered slot. What is missing or
 * damaged, or was made with another model, is put aside and filled again from the log, which is said aloud.
 */
import { connect, Index, Session, type Table } from "@lancedb/lancedb"
import { Context, Effect, Layer, Semaphore } from "effect"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { keyedLock } from "../eventlog/nats.ts"
import { takeFileLock } from "../home/file-lock.ts"
import { ofUser, readChanges, readCheckpoint, schemaOf, type StoredChange, tableOf } from "./lancedb-rows.ts"
import { badVector, type IndexChange, MemoryIndex, MemoryIndexError, userOf } from "./memory-index.ts"
import { applyTo, getFrom, searchView } from "./memory-layer.ts"
import { UserIndex } from "./user-index.ts"

export interface LanceIndexSettings {
  readonly folder: string
  readonly dimensions: number
  /** Hash of the embedding model; an index made with another one is filled anew. */
  readonly model: string
  /** The log that is folded and its last sequence; an index of another log, or ahead of this one, is filled anew. */
  readonly log: { readonly id: string; readonly head: number }
  /** Bytes that users held in memory may take together, about; beyond it those not asked for longest leave. The one in use stays, however large. */
  readonly heldBytes: number
}

/** Changes added to the table at once, at most and after how long: what a process that is killed had not added is folded from the log once more. */
const flushChanges = 4_000
const flushMillis = 10_000
/**
 * Additions between two tidyings of the table. A tidying writes anew all that is not in files of a million rows yet, and takes up to 400 MB
 * while it does; what was added since the last one has no part in the index by user, and makes loading one slower.
 */
const tidyEvery = 100
/**
 * Changes to users held in memory between two looks at what they take: to count a user's bytes is cheap, but not for each batch and user.
 */
const countEvery = 256
/** What the library keeps of indexes and of files, bytes: it would keep gigabytes, and one scan a user is all it is asked for. */
const caches = { index: 8 * 2 ** 20, files: 16 * 2 ** 20 }
const slotsMax = 64

/** Row format of the folder; another one is filled anew. */
const formatVersion = 2

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
const damaged = (folder: string, error: unknown) =>
  new MemoryIndexError({ reason: "Damaged", message: `the index in ${folder} cannot be used: ${reasonOf(error).slice(0, 300)}; it is put aside, go on from checkpoint 0 to fill it from the log` })

interface Slot {
  readonly slot: string
  /** What is to be said of the locks found, in the order of their slots. */
  readonly notes: ReadonlyArray<string>
  /** False when somebody deleted the lock's file: another process may have taken the slot since. */
  readonly isOwn: () => boolean
  readonly release: () => void
}

/** Takes the first numbered folder no other process holds; the lock goes with this process however it ends. One that cannot be opened is passed over. */
const takeSlot = (folder: string): Slot => {
  mkdirSync(folder, { recursive: true })
  const fileOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.ino
  const notes: Array<string> = []
  for (let n = 0; n < slotsMax; n++) {
    const path = join(folder, `${n}.lock`)
    try {
      const lock = takeFileLock(path)
      if (lock === undefined) continue
      if (lock.wasDamaged) notes.push(`the lock file ${path} was damaged and is taken over`)
      const own = fileOf(path)
      return { slot: join(folder, String(n)), notes, isOwn: () => own !== undefined && fileOf(path) === own, release: lock.release }
    } catch (error) {
      notes.push(`the lock file ${path} cannot be used and its slot is passed over: ${reasonOf(error)}`)
    }
  }
  throw new Error([`all ${slotsMax} slots are taken by other processes or cannot be used`, ...notes.slice(0, 1)].join("; "))
}

/** What a slot's index was made of; LanceDB would go on in a folder that was deleted, and leave what stood there missing. */
const aboutOf = (slot: string): string => join(slot, "about.json")

/** Tells a folder that was deleted from one that never was; it stands beside the folder, which may be deleted as a whole, and holds the log's id. */
const markOf = (slot: string): string => `${dirname(slot)}.${basename(slot)}.filled`
const isMarked = (slot: string, log: string): boolean => {
  try {
    return readFileSync(markOf(slot), "utf8") === log
  } catch {
    return false
  }
}

const openTable = async (slot: string, session: Session, { dimensions, log, model }: LanceIndexSettings): Promise<{ readonly table: Table; readonly checkpoint: number; readonly place: number; readonly why: string | undefined }> => {
  // LanceDB writes a line for every query otherwise.
  process.env["LANCEDB_LOG"] ??= "error"
  const about = aboutOf(slot)
  const wanted = JSON.stringify({ formatVersion, model, dimensions, log: log.id })
  let why: string | undefined
  try {
    const found = readFileSync(about, "utf8")
    if (found === wanted) {
      const table = await (await connect(slot, {}, session)).openTable("changes")
      const reached = await readCheckpoint(table)
      if (reached.checkpoint <= log.head) return { table, ...reached, why }
      why = `it has folded up to ${reached.checkpoint}, and the log ends at ${log.head}`
    } else why = "it was made of another log, or with another model or format"
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") why = reasonOf(error).slice(0, 300)
  }
  const aside = `${slot}.aside`
  if (why !== undefined) {
    rmSync(aside, { recursive: true, force: true })
    renameSync(slot, aside)
  }
  rmSync(slot, { recursive: true, force: true })
  mkdirSync(slot, { recursive: true })
  const table = await (await connect(slot, {}, session)).createEmptyTable("changes", schemaOf(dimensions))
  writeFileSync(about, wanted)
  rmSync(aside, { recursive: true, force: true })
  return { table, checkpoint: 0, place: 0, why }
}

export const layer = (settings: LanceIndexSettings): Layer.Layer<MemoryIndex, MemoryIndexError> =>
  Layer.effect(
    MemoryIndex,
    Effect.gen(function*() {
      const { dimensions, folder } = settings
      const attempt = <A>(run: () => Promise<A>) => Effect.tryPromise({ try: run, catch: (error) => damaged(folder, error) })
      let own = yield* Effect.try({ try: () => takeSlot(folder), catch: (error) => new MemoryIndexError({ reason: "Damaged", message: `no index can be kept in ${folder}: ${reasonOf(error)}; see that it is a folder that can be written, or move what stands in its place` }) })
      yield* Effect.addFinalizer(() => Effect.sync(() => own.release()))
      for (const note of own.notes) yield* Effect.logWarning(note)
      const session = new Session(BigInt(caches.index), BigInt(caches.files))
      let opened = yield* attempt(() => openTable(own.slot, session, settings))
      if (opened.why !== undefined) yield* Effect.logWarning(`the memory index in ${own.slot} is filled again from the log: ${opened.why}`)
      else if (opened.checkpoint === 0 && settings.log.head > 0) {
        const filled = `is filled from the log, up to ${settings.log.head}`
        yield* isMarked(own.slot, settings.log.id) ? Effect.logWarning(`the memory index in ${own.slot} was deleted and ${filled}`) : Effect.logInfo(`the memory index in ${own.slot} is empty and ${filled}`)
      }

      let through = opened.checkpoint
      let place = opened.place
      let additions = 0
      /** Not yet in the table, in order; `writing` is on its way there. */
      let pending: Array<StoredChange> = []
      let writing: ReadonlyArray<StoredChange> = []
      /** Set when the folder was begun anew, until the checkpoint is asked for: what comes before it would be missing. */
      let begunAnew: MemoryIndexError | undefined
      const held = new Map<string, UserIndex>()
      /** Users being loaded, with the changes that came meanwhile. */
      const loading = new Map<string, Array<IndexChange>>()
      /** Users that were removed while being loaded. */
      const removed = new Set<string>()
      let changesSinceCount = 0
      /** Moved on when a tidying begins and when it ends. */
      let tidied = 0
      const table = yield* Semaphore.make(1)
      const loads = yield* Semaphore.make(2)
      // Two loads of one user would each miss the changes that came to the other.
      const oneLoad = keyedLock()

      /** After damage: everything is dropped and the folder begun anew, so that the log can fill it. */
      const beginAnew = (error: MemoryIndexError) =>
        attempt(async () => {
          begunAnew = error
          if (own.isOwn()) rmSync(own.slot, { recursive: true, force: true })
          else {
            const lost = own
            own = takeSlot(folder)
            lost.release()
          }
          opened = await openTable(own.slot, session, settings)
          additions = 0
          pending = []
          writing = []
          held.clear()
          through = opened.checkpoint
          place = opened.place
        }).pipe(Effect.tap(() => Effect.logWarning(error.message)), Effect.andThen(Effect.fail(error)))

      /** Takes old versions of the table and their files away; to be held under `table`. */
      const tidy = Effect.suspend(() => {
        tidied += 1
        return attempt(() => opened.table.optimize({ cleanupOlderThan: new Date() }))
      }).pipe(Effect.ensuring(Effect.sync(() => (tidied += 1))))

      const write = Effect.gen(function*() {
        if (pending.length === 0 && through === opened.checkpoint) return
        writing = pending
        pending = []
        const checkpoint = through
        yield* attempt(() => opened.table.add(tableOf(writing, checkpoint, dimensions)))
        writing = []
        opened = { ...opened, checkpoint }
        additions += 1
        if (additions === 1) {
          yield* attempt(async () => {
            await opened.table.createIndex("user", { config: Index.btree(), replace: true })
            writeFileSync(markOf(own.slot), settings.log.id)
          })
        }
        if (additions % tidyEvery === 0) yield* tidy
      })
      const isThere = Effect.suspend(() => (existsSync(aboutOf(own.slot)) ? Effect.void : Effect.fail(damaged(folder, "it was deleted"))))
      const flush = table.withPermits(1)(Effect.andThen(isThere, write).pipe(Effect.catchTag("MemoryIndexError", beginAnew)))

      const evict = (): void => {
        changesSinceCount = 0
        let total = 0
        for (const index of held.values()) total += index.bytes
        for (const [user, index] of held) {
          if (total <= settings.heldBytes || held.size === 1) return
          held.delete(user)
          total -= index.bytes
        }
      }

      const load = Effect.fnUntraced(function*(user: string): Effect.fn.Return<UserIndex, MemoryIndexError> {
        for (let tries = 0; tries < 3; tries++) {
          let index = new UserIndex(dimensions)
          removed.delete(user)
          const { table: read } = opened
          const tidiedBefore = tidied
          const meanwhile = [...writing, ...pending].map(({ change }) => change).filter((change) => userOf(change) === user)
          loading.set(user, meanwhile)
          const isRead = yield* attempt(() => readChanges(read, user, dimensions, (rows) => {
            index = new UserIndex(dimensions)
            index.reserve(rows)
            return (change) => applyTo(index, change)
          })).pipe(
            Effect.as(true),
            Effect.catchTag("MemoryIndexError", (error) =>
              table.withPermits(1)(Effect.suspend(() => {
                // Tidying took files away that were being read: what they held stands in others by now.
                if (tidied !== tidiedBefore && opened.table === read) return Effect.succeed(false)
                // Somebody else may have found the damage first and begun anew already.
                return opened.table === read ? beginAnew(error) : Effect.fail(error)
              }))),
            Effect.ensuring(Effect.sync(() => loading.delete(user)))
          )
          if (!isRead) continue
          if (removed.delete(user) || opened.table !== read) continue
          for (const change of meanwhile) applyTo(index, change)
          held.set(user, index)
          evict()
          return index
        }
        return yield* new MemoryIndexError({ reason: "Damaged", message: `user ${user} was removed, or the index tidied or begun anew, three times while being loaded; ask again` })
      })

      const of = Effect.fnUntraced(function*(user: string): Effect.fn.Return<UserIndex, MemoryIndexError> {
        if (begunAnew !== undefined) return yield* begunAnew
        const known = held.get(user)
        if (known !== undefined) {
          // The last asked for stands last.
          held.delete(user)
          held.set(user, known)
          return known
        }
        return yield* oneLoad(user, loads.withPermits(1)(Effect.suspend(() => {
          const loaded = held.get(user)
          return loaded === undefined ? load(user) : Effect.succeed(loaded)
        })))
      })

      yield* Effect.sleep(flushMillis).pipe(Effect.andThen(flush), Effect.catchTag("MemoryIndexError", (error) => Effect.logError(error.message)), Effect.forever, Effect.forkScoped)
      yield* Effect.addFinalizer(() => Effect.ignore(table.withPermits(1)(Effect.andThen(isThere, write))))

      return MemoryIndex.of({
        dimensions,
        apply: Effect.fnUntraced(function*(changes, upTo) {
          const bad = badVector(changes, dimensions)
          if (bad !== undefined) return yield* bad
          if (begunAnew !== undefined) return yield* begunAnew
          for (const change of changes) {
            const user = userOf(change)
            place += 1
            pending.push({ place, change })
            const index = held.get(user)
            if (index !== undefined) {
              applyTo(index, change)
              changesSinceCount += 1
            } else loading.get(user)?.push(change)
          }
          through = Math.max(through, upTo)
          if (changesSinceCount >= countEvery) evict()
          if (pending.length >= flushChanges) yield* flush
        }),
        checkpoint: Effect.sync(() => {
          begunAnew = undefined
          return through
        }),
        replace: (fill) =>
          Effect.gen(function*() {
            const beside = `${own.slot}.next`
            rmSync(beside, { recursive: true, force: true })
            yield* Effect.scoped(Effect.flatMap(Layer.build(layer({ ...settings, folder: beside, log: { ...settings.log, head: 0 } })), (context) => fill(Context.get(context, MemoryIndex))))
            yield* table.withPermits(1)(
              attempt(async () => {
                const aside = `${own.slot}.aside`
                rmSync(aside, { recursive: true, force: true })
                renameSync(own.slot, aside)
                renameSync(join(beside, "0"), own.slot)
                // The log has grown since this index was opened.
                opened = await openTable(own.slot, session, { ...settings, log: { ...settings.log, head: Infinity } })
                additions = 1
                pending = []
                writing = []
                held.clear()
                through = opened.checkpoint
                place = opened.place
                for (const gone of [aside, beside, markOf(join(beside, "0"))]) rmSync(gone, { recursive: true, force: true })
                if (opened.why !== undefined) throw new Error(`the new index cannot be opened: ${opened.why}`)
              }).pipe(Effect.catchTag("MemoryIndexError", beginAnew))
            )
          }),
        removeUser: (user) =>
          table.withPermits(1)(
            Effect.gen(function*() {
              if (loading.has(user)) removed.add(user)
              held.delete(user)
              pending = pending.filter(({ change }) => userOf(change) !== user)
              yield* attempt(() => opened.table.delete(ofUser(user)))
              // Old versions of the table still hold what was deleted.
              yield* tidy
            }).pipe(Effect.catchTag("MemoryIndexError", beginAnew))
          ),
        view: (user, filter) => Effect.map(of(user), (index) => index.view(filter)),
        search: (user, query) => Effect.map(of(user), (index) => searchView(index.view(query.filter), query)),
        get: (user, ids) => Effect.map(of(user), (index) => getFrom(index, ids))
      })
    })
  )
