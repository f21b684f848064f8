/**
 * The parts of set-up that need neither network nor child process: troubles with their mend, zip archives, checksums, files put in place
 * whole or not at all, the record of what was checked before, and the lock that keeps two set-ups apart. Used by `setup.mjs` alone.
 * Plain JavaScript for Node 20, because it runs before the dependencies and their newer Node are there; types stand in `setup-lib.d.mts`.
 */
import { createHash, randomBytes } from "node:crypto"
import {
  accessSync, chmodSync, closeSync, constants, copyFileSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, renameSync, rmSync,
  statSync, utimesSync, writeFileSync
} from "node:fs"
import { hostname } from "node:os"
import { basename, dirname, join } from "node:path"
import { inflateRawSync } from "node:zlib"

/** Something set-up cannot do, with what a person can do about it. */
export class Trouble extends Error {
  constructor(what, mend) {
    super(what)
    this.name = "Trouble"
    this.mend = mend
  }
}

/** Turns an error of the file system into a Trouble; any other error is returned as it is. */
export const explain = (error, folder) => {
  switch (error?.code) {
    case "ENOSPC":
    case "EDQUOT":
      return new Trouble(`the disk of ${folder} is full`, "Free about 500 MB there, or set METAMEM_HOME (and METAMEM_CACHE) to folders on another disk; then run set-up again.")
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new Trouble(`${error.path ?? folder} cannot be written (${error.code})`, "Make the folder writable, or set METAMEM_HOME to one that is; then run set-up again.")
    case "ENOENT":
      // Some Node versions say so when the file system is read-only.
      return error.syscall === "mkdir" ? new Trouble(`the folder ${error.path} cannot be made`, "Set METAMEM_HOME to a folder that can be written; then run set-up again.") : error
    case "ENOTDIR":
    case "EEXIST":
      return new Trouble(`${error.path ?? folder} is in the way: a file stands where a folder is needed`, "Move it away, or set METAMEM_HOME to another folder; then run set-up again.")
    default:
      return error
  }
}

// ---- zip ----

/** Longest comment a zip may end with, plus the record that carries it. */
const endRecordMax = 65_535 + 22
/** No file inside a wheel used here is larger; a directory that claims more is refused before memory is taken. */
const entryBytesMax = 512 * 1024 * 1024

const broken = (what) => new Trouble(`the archive cannot be read: ${what}`, "Run set-up again; the download was probably cut short.")

/**
 * The files in a zip archive, by name, from its central directory. Stored and deflated entries only: no encryption, no zip64, no split archives.
 * Throws Trouble when the archive is cut short or of another kind.
 */
export const readZip = (archive) => {
  let end = -1
  for (let at = archive.length - 22; at >= 0 && at >= archive.length - endRecordMax; at--) {
    if (archive.readUInt32LE(at) === 0x06054b50 && at + 22 + archive.readUInt16LE(at + 20) === archive.length) {
      end = at
      break
    }
  }
  if (end < 0) throw broken("it has no directory at its end")
  const count = archive.readUInt16LE(end + 10)
  let at = archive.readUInt32LE(end + 16)
  if (count === 0xffff || at === 0xffffffff) throw broken("it is of the zip64 kind")
  const entries = new Map()
  for (let index = 0; index < count; index++) {
    if (at + 46 > end || archive.readUInt32LE(at) !== 0x02014b50) throw broken("its directory is damaged")
    const nameLength = archive.readUInt16LE(at + 28)
    const next = at + 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32)
    if (next > end) throw broken("its directory is damaged")
    entries.set(archive.toString("utf8", at + 46, at + 46 + nameLength), {
      encrypted: (archive.readUInt16LE(at + 8) & 1) === 1,
      method: archive.readUInt16LE(at + 10),
      packedBytes: archive.readUInt32LE(at + 20),
      bytes: archive.readUInt32LE(at + 24),
      offset: archive.readUInt32LE(at + 42)
    })
    at = next
  }
  return entries
}

/** Content of one file of a zip archive. Throws Trouble when it is not there, cut short, or longer than the directory says. */
export const readZipEntry = (archive, name) => {
  const entry = readZip(archive).get(name)
  if (entry === undefined) throw broken(`it holds no ${name}`)
  if (entry.encrypted) throw broken(`${name} is encrypted`)
  if (entry.bytes > entryBytesMax) throw broken(`${name} claims ${entry.bytes} bytes`)
  if (entry.offset + 30 > archive.length || archive.readUInt32LE(entry.offset) !== 0x04034b50) throw broken(`${name} is not where the directory says`)
  const from = entry.offset + 30 + archive.readUInt16LE(entry.offset + 26) + archive.readUInt16LE(entry.offset + 28)
  const packed = archive.subarray(from, from + entry.packedBytes)
  if (packed.length !== entry.packedBytes) throw broken(`${name} is cut short`)
  if (entry.method !== 0 && entry.method !== 8) throw broken(`${name} is packed by method ${entry.method}`)
  let content
  try {
    content = entry.method === 0 ? packed : inflateRawSync(packed, { maxOutputLength: Math.max(1, entry.bytes) })
  } catch {
    throw broken(`${name} is damaged`)
  }
  if (content.length !== entry.bytes) throw broken(`${name} has ${content.length} bytes instead of ${entry.bytes}`)
  return content
}

// ---- checksums and files ----

/** Lower-case hexadecimal SHA-256 of bytes or text. */
export const sha256 = (content) => createHash("sha256").update(content).digest("hex")

/** SHA-256 of a file, read in pieces of 1 MB; undefined when there is no such file. */
export const sha256File = (path) => {
  let file
  try {
    file = openSync(path, "r")
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined
    throw error
  }
  try {
    const hash = createHash("sha256")
    const piece = Buffer.allocUnsafe(1 << 20)
    for (let read = readSync(file, piece); read > 0; read = readSync(file, piece)) hash.update(piece.subarray(0, read))
    return hash.digest("hex")
  } finally {
    closeSync(file)
  }
}

/** Refuses content whose SHA-256 is another than the one pinned. */
export const checked = (content, wanted, what) => {
  const found = sha256(content)
  if (found !== wanted) {
    throw new Trouble(
      `${what} has another checksum than the one pinned (wanted ${wanted.slice(0, 16)}…, got ${found.slice(0, 16)}…); nothing was installed`,
      "Run set-up again. If it stays so, the package index in use serves an altered file: try another one (PIP_INDEX_URL)."
    )
  }
  return content
}

/** Ending of files being written; a set-up that holds the lock may remove those of others. */
const partEnding = ".part"
const partOf = (path) => `${path}.${process.pid}-${randomBytes(4).toString("hex")}${partEnding}`

const replace = (path, mode, write) => {
  mkdirSync(dirname(path), { recursive: true })
  const part = partOf(path)
  try {
    write(part)
    chmodSync(part, mode)
    renameSync(part, path)
  } catch (error) {
    rmSync(part, { force: true })
    throw error
  }
}

/** Puts content at a path: all of it or, on any failure, nothing. */
export const placeContent = (path, content, mode = 0o644) => replace(path, mode, (part) => writeFileSync(part, content))

/**
 * Copies a file to a path, all of it or nothing. The copy is what is checked. False when the source cannot be read or has another SHA-256.
 * A copy and no hard link: a file damaged in one checkout must not damage the others.
 */
export const placeCopy = (source, path, wanted, mode = 0o644) => {
  try {
    accessSync(source, constants.R_OK)
  } catch {
    return false
  }
  let same = true
  try {
    replace(path, mode, (part) => {
      copyFileSync(source, part, constants.COPYFILE_FICLONE)
      same = sha256File(part) === wanted
      if (!same) throw new Error("another checksum")
    })
  } catch (error) {
    if (same) throw error
  }
  return same
}

/** Removes what a set-up that was killed left behind in a folder: half-written files and download folders. Only under the lock. */
export const sweep = (folder) => {
  let names
  try {
    names = readdirSync(folder)
  } catch {
    return
  }
  for (const name of names) if (name.endsWith(partEnding) || name.startsWith(".download-")) rmSync(join(folder, name), { recursive: true, force: true })
}

// ---- the record of files checked ----

/** What was checked and found right, by path inside the home: `{sha256, bytes, modifiedMs}`. Unreadable = nothing was checked. */
export const readRecord = (path) => {
  try {
    const files = JSON.parse(readFileSync(path, "utf8")).files
    return typeof files === "object" && files !== null ? files : {}
  } catch {
    return {}
  }
}

/** Adds one file to the record, as it is on the disk now. */
export const record = (recordPath, name, path, hash) => {
  const { mtimeMs, size } = statSync(path)
  const files = { ...readRecord(recordPath), [name]: { sha256: hash, bytes: size, modifiedMs: mtimeMs } }
  placeContent(recordPath, `${JSON.stringify({ files }, null, 2)}\n`)
}

/** True when the file has the size and time it had when it was found to have this SHA-256: then it need not be read again. */
export const isRecorded = (files, name, path, wanted) => {
  const known = files[name]
  if (known === undefined || (wanted !== undefined && known.sha256 !== wanted)) return false
  try {
    const { mtimeMs, size } = statSync(path)
    return known.bytes === size && known.modifiedMs === mtimeMs
  } catch {
    return false
  }
}

// ---- versions and the dependency tree ----

/** `[major, minor, patch]` of the first version in a text such as `nats-server: v2.15.1`; undefined when there is none. */
export const parseVersion = (text) => {
  const found = /(\d+)\.(\d+)\.(\d+)/.exec(text ?? "")
  return found === null ? undefined : found.slice(1, 4).map(Number)
}

/** True when a version, from its first number on, is not below the oldest that will do. */
export const isAtLeast = (version, oldest) => {
  for (let index = 0; index < oldest.length; index++) {
    const difference = (version?.[index] ?? -1) - oldest[index]
    if (difference !== 0) return difference > 0
  }
  return version !== undefined
}

/**
 * True when the tree npm says it installed (`node_modules/.package-lock.json`) is the one of `package-lock.json`. Packages that are optional
 * and made for another platform may be missing. Both are the parsed files.
 */
export const treeMatches = (lock, installed, platform = process.platform, arch = process.arch) => {
  const there = installed?.packages ?? {}
  return Object.entries(lock.packages).every(([path, wanted]) => {
    if (path === "") return true
    const found = there[path]
    if (found !== undefined) return found.version === wanted.version && found.integrity === wanted.integrity
    const elsewhere = (wanted.os && !wanted.os.includes(platform)) || (wanted.cpu && !wanted.cpu.includes(arch)) || wanted.libc
    return wanted.optional === true && Boolean(elsewhere || (!wanted.os && !wanted.cpu))
  })
}

// ---- lock ----

/** A lock whose holder gave no sign of life for this long is taken over, in ms. */
const silenceMaxMs = 30_000
/** How long one set-up waits for another, in ms. */
const waitMaxMs = 30 * 60_000

const isDead = (path) => {
  try {
    const [host, pid] = readFileSync(path, "utf8").split(" ")
    if (Date.now() - statSync(path).mtimeMs > silenceMaxMs) return true
    if (host !== hostname()) return false
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return error.code === "ESRCH"
  }
}

/** Takes a dead holder's lock away; a lock that came alive in between is put back. */
const takeOver = (path) => {
  const aside = partOf(path)
  try {
    renameSync(path, aside)
    if (!isDead(aside)) renameSync(aside, path)
  } catch {
    // Another one was quicker.
  }
  rmSync(aside, { force: true })
}

/**
 * Runs `body` while no other set-up holds the lock of this folder. `waiting` is called once when another one is at work. The holder renews
 * its lock every 5 s; a holder that is dead or silent for 30 s loses it. Gives up after 30 minutes.
 */
export const withLock = async (folder, waiting, body) => {
  mkdirSync(folder, { recursive: true })
  const path = join(folder, "setup.lock")
  const giveUpAt = Date.now() + waitMaxMs
  for (let told = false; ;) {
    try {
      writeFileSync(path, `${hostname()} ${process.pid}`, { flag: "wx" })
      break
    } catch (error) {
      if (error.code !== "EEXIST") throw error
    }
    if (isDead(path)) {
      takeOver(path)
      continue
    }
    if (Date.now() > giveUpAt) throw new Trouble(`another set-up holds ${path} for too long`, `End it, or delete ${basename(path)} when none is running; then run set-up again.`)
    if (!told) waiting()
    told = true
    await new Promise((done) => setTimeout(done, 200))
  }
  const release = () => rmSync(path, { force: true })
  const renewal = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date())
    } catch {
      // The folder went away under us; the body will say so.
    }
  }, 5_000)
  process.on("exit", release)
  try {
    return await body()
  } finally {
    clearInterval(renewal)
    process.off("exit", release)
    release()
  }
}
