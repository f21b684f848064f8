/**
 * Exclusive locks of the operating system over files (SQLite's: they go with the process that held them, however that ended). A lock's file
 * holds nothing, so one whose content was damaged is emptied and taken: a process that holds it keeps it, since that is seen before its content.
 */
import { lstatSync, truncateSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"

export interface FileLock {
  readonly release: () => void
  /** True when something else stood in the file. */
  readonly wasDamaged: boolean
}

const busy = 5
const codeOf = (error: unknown): number | undefined => (error as { readonly errcode?: number }).errcode

const tryOnce = (path: string): DatabaseSync => {
  const lock = new DatabaseSync(path)
  try {
    lock.exec("PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE")
    return lock
  } catch (error) {
    lock.close()
    throw error
  }
}

/**
 * Takes the lock, or undefined while another holds it.
 *
 * @throws when the file cannot be made, opened or written
 */
export const takeFileLock = (path: string): FileLock | undefined => {
  let wasDamaged = false
  for (;;) {
    try {
      const lock = tryOnce(path)
      return { release: () => lock.close(), wasDamaged }
    } catch (error) {
      if (codeOf(error) === busy) return undefined
      const file = lstatSync(path, { throwIfNoEntry: false })
      if (wasDamaged || file === undefined || !file.isFile() || file.size === 0) throw error
      truncateSync(path, 0)
      wasDamaged = true
    }
  }
}
