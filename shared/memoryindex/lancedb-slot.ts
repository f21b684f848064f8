/**
 * The folder an index is kept in. It has one owner: each process takes the first free numbered slot, which holds the table of changes and
 * what they were made of. What is missing or damaged, or was made with another model, is put aside and begun anew.
 */
import { connect, type Session, type Table } from "@lancedb/lancedb"
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { takeFileLock } from "../home/file-lock.ts"
import { readCheckpoint, schemaOf } from "./lancedb-rows.ts"

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

const slotsMax = 64
/** Row format of the folder; another one is filled anew. */
const formatVersion = 2

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export interface Slot {
  readonly slot: string
  /** What is to be said of the locks found, in the order of their slots. */
  readonly notes: ReadonlyArray<string>
  /** False when somebody deleted the lock's file: another process may have taken the slot since. */
  readonly isOwn: () => boolean
  readonly release: () => void
}

/** Takes the first numbered folder no other process holds; the lock goes with this process however it ends. One that cannot be opened is passed over. */
export const takeSlot = (folder: string): Slot => {
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
export const aboutOf = (slot: string): string => join(slot, "about.json")

/** Tells a folder that was deleted from one that never was; it stands beside the folder, which may be deleted as a whole, and holds the log's id. */
export const markOf = (slot: string): string => `${dirname(slot)}.${basename(slot)}.filled`
export const isMarked = (slot: string, log: string): boolean => {
  try {
    return readFileSync(markOf(slot), "utf8") === log
  } catch {
    return false
  }
}

export interface OpenedTable {
  readonly table: Table
  readonly checkpoint: number
  readonly place: number
  /** Why what stood there was put aside; undefined where it is gone on from, or nothing stood there. */
  readonly why: string | undefined
}

/** Goes on from the table in a slot where it is of the same log, model and format and not ahead of the log; else begins it anew. */
export const openTable = async (slot: string, session: Session, { dimensions, log, model }: LanceIndexSettings): Promise<OpenedTable> => {
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
