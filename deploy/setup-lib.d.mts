/** Types of `setup-lib.mjs`, for the tests. */
export class Trouble extends Error {
  constructor(what: string, mend: string)
  readonly mend: string
}
export const explain: (error: unknown, folder: string) => unknown

export interface ZipEntry {
  readonly encrypted: boolean
  readonly method: number
  readonly packedBytes: number
  readonly bytes: number
  readonly offset: number
}
export const readZip: (archive: Buffer) => ReadonlyMap<string, ZipEntry>
export const readZipEntry: (archive: Buffer, name: string) => Buffer

export const sha256: (content: string | Uint8Array) => string
export const sha256File: (path: string) => string | undefined
export const checked: (content: Buffer, wanted: string, what: string) => Buffer
export const placeContent: (path: string, content: string | Uint8Array, mode?: number) => void
export const placeCopy: (source: string, path: string, wanted: string, mode?: number) => boolean
export const sweep: (folder: string) => void

export interface FileRecord {
  readonly sha256: string
  readonly bytes: number
  readonly modifiedMs: number
}
export const readRecord: (path: string) => Readonly<Record<string, FileRecord>>
export const record: (recordPath: string, name: string, path: string, hash: string) => void
export const isRecorded: (files: Readonly<Record<string, FileRecord>>, name: string, path: string, wanted: string | undefined) => boolean

export const parseVersion: (text: string | undefined) => ReadonlyArray<number> | undefined
export const isAtLeast: (version: ReadonlyArray<number> | undefined, oldest: ReadonlyArray<number>) => boolean

export interface LockedPackage {
  readonly version?: string
  readonly integrity?: string
  readonly optional?: boolean
  readonly os?: ReadonlyArray<string>
  readonly cpu?: ReadonlyArray<string>
  readonly libc?: ReadonlyArray<string>
}
export interface PackageTree {
  readonly packages: Readonly<Record<string, LockedPackage>>
}
export const treeMatches: (lock: PackageTree, installed: PackageTree | undefined, platform?: string, arch?: string) => boolean

export const withLock: <A>(folder: string, waiting: () => void, body: () => Promise<A>) => Promise<A>
