/**
 * The memory index kept in a LanceDB folder: every change is added to one table (`lancedb-rows.ts`), and the users in use are held in
 * memory, loaded from it on demand. A folder has one owner: each process takes the first free numbered slot. What is missing or
 * damaged, or was made with another model, is put aside and filled again from the log, which is said aloud.
 */
import { connect, Index, type Table } from "@lancedb/lancedb"
import { Effect, Layer, Semaphore } from "effect"
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { ofUser, readChanges, readCheckpoint, schemaOf, type StoredChange, tableOf } from "./lancedb-rows.ts"
import { badVector, type IndexChange, MemoryIndex, MemoryIndexError, userOf } from "./memory-index.ts"
import { applyTo, getFrom, searchView } from "./memory-layer.ts"
import { UserIndex } from "./user-index.ts"

export interface LanceIndexSettings {
  readonly folder: string
  readonly dimensions: number
  /** Hash of the embedding model; an index made with another one is filled anew. */
  readonly model: string
}

/** Changes added to the table at once, at most and after how long. */
const flushChanges = 4_000
const flushMillis = 2_000
/** Additions between two tidyings of the table. */
const tidyEvery = 100
/** Memories held in memory over all users; the user not asked for longest goes first. The one in use stays, however large. */
const heldMax = 250_000
const slotsMax = 64

/** Row format of the folder; another one is filled anew. */
const formatVersion = 1

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
const damaged = (folder: string, error: unknown) =>
  new MemoryIndexError({ reason: "Damaged", message: `the index in ${folder} cannot be used: ${reasonOf(error).slice(0, 300)}; it is put aside, go on from checkpoint 0 to fill it from the log` })

/** Takes the first numbered folder no other process holds; the lock goes with this process however it ends. */
const takeSlot = (folder: string): { readonly slot: string; readonly release: () => void } => {
  mkdirSync(folder, { recursive: true })
  for (let n = 0; n < slotsMax; n++) {
    const lock = new DatabaseSync(join(folder, `${n}.lock`))
    try {
      lock.exec("PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE")
      return { slot: join(folder, String(n)), release: () => lock.close() }
    } catch {
      lock.close()
    }
  }
  throw new Error(`all ${slotsMax} slots are taken by other processes`)
}

const openTable = async (slot: string, { dimensions, model }: LanceIndexSettings): Promise<{ readonly table: Table; readonly checkpoint: number; readonly place: number; readonly why: string | undefined }> => {
  // LanceDB writes a line for every query otherwise.
  process.env["LANCEDB_LOG"] ??= "error"
  const about = join(slot, "about.json")
  const wanted = JSON.stringify({ formatVersion, model, dimensions })
  let why: string | undefined
  try {
    const found = readFileSync(about, "utf8")
    if (found === wanted) {
      const table = await (await connect(slot)).openTable("changes")
      return { table, ...(await readCheckpoint(table)), why }
    }
    why = "it was made with another model or format"
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
  const table = await (await connect(slot)).createEmptyTable("changes", schemaOf(dimensions))
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
      const { slot } = yield* Effect.acquireRelease(
        Effect.try({ try: () => takeSlot(folder), catch: (error) => damaged(folder, error) }),
        ({ release }) => Effect.sync(release)
      )
      let opened = yield* attempt(() => openTable(slot, settings))
      if (opened.why !== undefined) yield* Effect.logWarning(`the memory index in ${slot} is filled again from the log: ${opened.why}`)

      let through = opened.checkpoint
      let place = opened.place
      let additions = 0
      /** Not yet in the table, in order; `writing` is on its way there. */
      let pending: Array<StoredChange> = []
      let writing: ReadonlyArray<StoredChange> = []
      const held = new Map<string, UserIndex>()
      /** Users being loaded, with the changes that came meanwhile. */
      const loading = new Map<string, Array<IndexChange>>()
      const removed = new Map<string, number>()
      const table = yield* Semaphore.make(1)
      const loads = yield* Semaphore.make(2)

      /** After damage: everything is dropped and the folder begun anew, so that the log can fill it. */
      const beginAnew = (error: MemoryIndexError) =>
        attempt(async () => {
          rmSync(slot, { recursive: true, force: true })
          opened = await openTable(slot, settings)
          pending = []
          writing = []
          held.clear()
          through = 0
          place = 0
        }).pipe(Effect.tap(() => Effect.logWarning(error.message)), Effect.andThen(Effect.fail(error)))

      const write = Effect.gen(function*() {
        if (pending.length === 0 && through === opened.checkpoint) return
        writing = pending
        pending = []
        const checkpoint = through
        yield* attempt(() => opened.table.add(tableOf(writing, checkpoint, dimensions)))
        writing = []
        opened = { ...opened, checkpoint }
        additions += 1
        if (additions === 1) yield* attempt(() => opened.table.createIndex("user", { config: Index.btree(), replace: true }))
        if (additions % tidyEvery === 0) yield* attempt(() => opened.table.optimize({ cleanupOlderThan: new Date() }))
      })
      const flush = table.withPermits(1)(write.pipe(Effect.catchTag("MemoryIndexError", beginAnew)))

      const evict = (): void => {
        let total = 0
        for (const index of held.values()) total += index.size
        for (const [user, index] of held) {
          if (total <= heldMax || held.size === 1) return
          held.delete(user)
          total -= index.size
        }
      }

      const load = Effect.fnUntraced(function*(user: string): Effect.fn.Return<UserIndex, MemoryIndexError> {
        for (let tries = 0; tries < 3; tries++) {
          const index = new UserIndex(dimensions)
          const before = removed.get(user) ?? 0
          const meanwhile = [...writing, ...pending].map(({ change }) => change).filter((change) => userOf(change) === user)
          loading.set(user, meanwhile)
          yield* attempt(() => readChanges(opened.table, user, dimensions, (change) => applyTo(index, change))).pipe(
            Effect.catchTag("MemoryIndexError", (error) => table.withPermits(1)(beginAnew(error))),
            Effect.ensuring(Effect.sync(() => loading.delete(user)))
          )
          if ((removed.get(user) ?? 0) !== before) continue
          for (const change of meanwhile) applyTo(index, change)
          held.set(user, index)
          evict()
          return index
        }
        return yield* new MemoryIndexError({ reason: "Damaged", message: `user ${user} was removed three times while being loaded; ask again` })
      })

      const of = Effect.fnUntraced(function*(user: string): Effect.fn.Return<UserIndex, MemoryIndexError> {
        const known = held.get(user)
        if (known !== undefined) {
          // The last asked for stands last.
          held.delete(user)
          held.set(user, known)
          return known
        }
        return yield* loads.withPermits(1)(Effect.suspend(() => {
          const loaded = held.get(user)
          return loaded === undefined ? load(user) : Effect.succeed(loaded)
        }))
      })

      yield* Effect.sleep(flushMillis).pipe(Effect.andThen(flush), Effect.catchTag("MemoryIndexError", (error) => Effect.logError(error.message)), Effect.forever, Effect.forkScoped)
      yield* Effect.addFinalizer(() => Effect.ignore(flush))

      return MemoryIndex.of({
        dimensions,
        apply: Effect.fnUntraced(function*(changes, upTo) {
          const bad = badVector(changes, dimensions)
          if (bad !== undefined) return yield* bad
          for (const change of changes) {
            const user = userOf(change)
            place += 1
            pending.push({ place, change })
            const index = held.get(user)
            if (index !== undefined) applyTo(index, change)
            else loading.get(user)?.push(change)
          }
          through = Math.max(through, upTo)
          evict()
          if (pending.length >= flushChanges) yield* flush
        }),
        checkpoint: Effect.sync(() => through),
        removeUser: (user) =>
          table.withPermits(1)(
            Effect.gen(function*() {
              removed.set(user, (removed.get(user) ?? 0) + 1)
              held.delete(user)
              pending = pending.filter(({ change }) => userOf(change) !== user)
              yield* attempt(() => opened.table.delete(ofUser(user)))
              // Old versions of the table still hold what was deleted.
              yield* attempt(() => opened.table.optimize({ cleanupOlderThan: new Date() }))
            })
          ),
        view: (user, filter) => Effect.map(of(user), (index) => index.view(filter)),
        search: (user, query) => Effect.map(of(user), (index) => searchView(index.view(query.filter), query)),
        get: (user, ids) => Effect.map(of(user), (index) => getFrom(index, ids))
      })
    })
  )
