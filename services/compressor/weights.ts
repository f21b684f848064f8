/**
 * Fetches model files from a hub over HTTP into a folder: written beside their place and renamed when whole and checked, so that a file
 * that is there is good. Without a checksum the first transfer is believed, and its checksum kept beside the file: what comes later has to be the same. A transfer that breaks goes on where it broke; one that another process began goes on only where a checksum
 * will tell whether the pieces fit.
 */
import { createHash, randomUUID } from "node:crypto"
import { createReadStream, existsSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeSync, closeSync, fsyncSync, ftruncateSync, utimesSync, writeFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { Effect, Result, Schema } from "effect"

/** A file could not be fetched; the message says from where, why, and what to do. */
export class WeightsUnavailable extends Schema.TaggedError<WeightsUnavailable>()("WeightsUnavailable", { url: Schema.String, message: Schema.String }) {}

export interface WantedFile {
  readonly url: string
  /** Where it is to stand. */
  readonly path: string
  /** Hex; undefined = the first that comes is believed, and anything else refused from then on. */
  readonly sha256: string | undefined
}

export interface FetchLimits {
  /** Milliseconds without a byte after which a request is given up. */
  readonly idleMs: number
  /** Milliseconds for one file in all. */
  readonly totalMs: number
  /** Requests for one file. */
  readonly tries: number
  /** Milliseconds before the second request; doubles. */
  readonly backoffMs: number
}
export const fetchLimits: FetchLimits = { idleMs: 30_000, totalMs: 30 * 60_000, tries: 5, backoffMs: 1_000 }

/** A file beyond this is no token classifier: 8 GiB. */
const bytesMax = 8 * 1024 ** 3

/** `model.onnx@<sha256>,tokenizer.json`: paths below the hub's address, each with the checksum it must have where one is given. */
export const parseFiles = (text: string): Result.Result<ReadonlyArray<{ readonly path: string; readonly sha256: string | undefined }>, string> => {
  const files: Array<{ readonly path: string; readonly sha256: string | undefined }> = []
  for (const part of text.split(",").map((part) => part.trim()).filter((part) => part !== "")) {
    const [, path, sum] = /^([^@]+?)(?:@([0-9a-fA-F]{64}))?$/.exec(part) ?? []
    if (path === undefined) return Result.fail(`"${part}" is no path with an optional @ and 64 hex digits`)
    if (path.startsWith("/") || path.split("/").some((step) => step === ".." || step === "" || step === ".")) return Result.fail(`"${path}" is no path below the hub's address`)
    files.push({ path, sha256: sum?.toLowerCase() })
  }
  return Result.succeed(files)
}

const sumOf = async (path: string): Promise<string> => {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash.digest("hex")
}

class Final extends Error {}
const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const code = cause instanceof Error && "code" in cause ? `${String(cause.code)} ` : ""
  return `${code}${cause instanceof Error ? cause.message : String(cause)}`.trim()
}

/** Takes over what a process that is no more left of this file, if nobody has written to it for a while. */
const adopt = (file: WantedFile, part: string, idleMs: number): void => {
  for (const name of readdirSync(dirname(file.path)).filter((name) => name.startsWith(`${basename(file.path)}.`) && name.endsWith(".part"))) {
    const left = join(dirname(file.path), name)
    try {
      if (Date.now() - statSync(left).mtimeMs < 2 * idleMs) continue
      if (file.sha256 === undefined || existsSync(part)) rmSync(left, { force: true })
      else {
        renameSync(left, part)
        const now = new Date()
        utimesSync(part, now, now)
      }
    } catch {
      // Another was quicker.
    }
  }
}

/** One request, appended to the part from its end on; the entity tag of what came, for the next. */
const transfer = async (file: WantedFile, part: string, known: { etag: string | undefined }, idleMs: number, signal: AbortSignal): Promise<void> => {
  const have = statSync(part, { throwIfNoEntry: false })?.size ?? 0
  const idle = new AbortController()
  let timer = setTimeout(() => idle.abort(new Error(`nothing came for ${idleMs / 1_000} s`)), idleMs)
  try {
    const resumes = have > 0 && (known.etag !== undefined || file.sha256 !== undefined)
    const response = await fetch(file.url, {
      signal: AbortSignal.any([signal, idle.signal]),
      // Compressed in transit, a file would go on at another place.
      headers: { "accept-encoding": "identity", ...(resumes ? { range: `bytes=${have}-`, ...(known.etag === undefined ? {} : { "if-range": known.etag }) } : {}) }
    })
    if (response.status === 416) {
      rmSync(part, { force: true })
      throw new Error("what was fetched before is longer than the file")
    }
    if (!response.ok) {
      const message = `the hub answers ${response.status} ${response.statusText}`.trim()
      throw response.status === 429 || response.status >= 500 ? new Error(message) : new Final(message)
    }
    const from = response.status === 206 ? Number(/^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1] ?? Number.NaN) : 0
    if (from !== 0 && from !== have) throw new Error("the hub sends another part than was asked for")
    const etag = response.headers.get("etag")
    known.etag = etag === null || etag.startsWith("W/") ? undefined : etag
    const wanted = Number(response.headers.get("content-length") ?? Number.NaN)
    const out = openSync(part, from === 0 ? "w" : "r+")
    try {
      if (from > 0) ftruncateSync(out, from)
      let at = from
      for await (const chunk of response.body ?? []) {
        clearTimeout(timer)
        timer = setTimeout(() => idle.abort(new Error(`nothing came for ${idleMs / 1_000} s`)), idleMs)
        if (at + chunk.length > bytesMax) throw new Final(`the file is larger than ${bytesMax} bytes`)
        writeSync(out, chunk, 0, chunk.length, at)
        at += chunk.length
      }
      if (Number.isFinite(wanted) && at - from !== wanted) throw new Error(`the transfer ended after ${at - from} of ${wanted} bytes`)
      fsyncSync(out)
    } finally {
      closeSync(out)
    }
  } finally {
    clearTimeout(timer)
  }
}

/** Where the checksum of what was believed is kept. */
const recordOf = (path: string): string => `${path}.sha256`
const recorded = (path: string): string | undefined => (existsSync(recordOf(path)) ? /^[0-9a-f]{64}/.exec(readFileSync(recordOf(path), "utf8"))?.[0] : undefined)

/** Gives the checksum of what came; undefined when another process was quicker. */
const fetchOne = async (given: WantedFile, limits: FetchLimits, signal: AbortSignal): Promise<string | undefined> => {
  mkdirSync(dirname(given.path), { recursive: true })
  const before = given.sha256 === undefined ? recorded(given.path) : undefined
  const file = { ...given, sha256: given.sha256 ?? before }
  const part = `${file.path}.${randomUUID().slice(0, 8)}.part`
  adopt(file, part, limits.idleMs)
  const known: { etag: string | undefined } = { etag: undefined }
  const whole = AbortSignal.any([signal, AbortSignal.timeout(limits.totalMs)])
  for (let tries = 1;; tries++) {
    try {
      await transfer(file, part, known, limits.idleMs, whole)
      const sum = await sumOf(part)
      if (file.sha256 !== undefined && sum !== file.sha256) {
        rmSync(part, { force: true })
        known.etag = undefined
        throw new Error(`its SHA-256 is ${sum}, not ${file.sha256}${before === undefined ? "" : `, as when it was first fetched. If the hub's file was changed on purpose, remove ${recordOf(file.path)}`}`)
      }
      // First the checksum: a file without one would be believed again after it is lost.
      if (given.sha256 === undefined) writeFileSync(recordOf(file.path), `${sum}\n`)
      renameSync(part, file.path)
      return sum
    } catch (error) {
      if (existsSync(file.path)) {
        rmSync(part, { force: true })
        return undefined
      }
      if (whole.aborted && !signal.aborted) throw new Error(`it did not come within ${limits.totalMs / 1_000} s`)
      if (error instanceof Final || signal.aborted || tries >= limits.tries) throw error
      await new Promise((resolve) => setTimeout(resolve, limits.backoffMs * 2 ** (tries - 1)))
    }
  }
}

/** Makes a file be there; one that is there already is left as it is. What was begun stays for the next attempt. */
export const fetchFile = (file: WantedFile, limits: FetchLimits = fetchLimits): Effect.Effect<{ readonly fetched: boolean; readonly sha256?: string }, WeightsUnavailable> =>
  existsSync(file.path)
    ? Effect.succeed({ fetched: false })
    : Effect.map(
      Effect.tryPromise({
        try: (signal) => fetchOne(file, limits, signal),
        catch: (error) => new WeightsUnavailable({ url: file.url, message: `${file.url} could not be fetched: ${reasonOf(error)}` })
      }),
      (sha256) => (sha256 === undefined ? { fetched: false } : { fetched: true, sha256 })
    )
