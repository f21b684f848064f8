/**
 * Bundles: a part of a log as one portable file, to be archived, sent or replayed without a server. Gzip of JSON lines: a header, the
 * messages as they were stored, in the order of their streams, and a digest over all. The same messages give the same bytes.
 */
import { createHash } from "node:crypto"
import { createReadStream, createWriteStream } from "node:fs"
import { open, rename, rm } from "node:fs/promises"
import { pipeline } from "node:stream/promises"
import { createGunzip, createGzip, gzipSync } from "node:zlib"
import { Effect, Layer, Result, Schema, Stream } from "effect"
import type { RawMessage } from "./envelope.ts"
import { EventLog, matches, ReadOnlyLog } from "./event-log.ts"
import { decodeOrFail } from "./memory-log.ts"
import { type LogUnavailable, maxMessageBytes } from "./nats.ts"
import { streamOf } from "./subjects.ts"

/** A file cannot be read as a bundle. The message says what to do. */
export class BundleUnreadable extends Schema.TaggedError<BundleUnreadable>()("BundleUnreadable", {
  path: Schema.String,
  /** `foreign`: not a bundle at all; `version`: of a later format; `cut`: its end is missing; `damaged`: its content was changed. */
  reason: Schema.Literals(["missing", "foreign", "version", "cut", "damaged"]),
  message: Schema.String
}) {}

/** The bundle could not be written; no file of that name was changed. */
export class BundleNotWritten extends Schema.TaggedError<BundleNotWritten>()("BundleNotWritten", { path: Schema.String, message: Schema.String }) {}

const formatVersion = 1

const Head = Schema.Struct({
  format: Schema.Literal("metamem-bundle"),
  version: Schema.Int,
  label: Schema.String,
  filters: Schema.Array(Schema.String),
  messages: Schema.Int,
  /** By stream: how many messages, and the sequence of the last. */
  streams: Schema.Record(Schema.String, Schema.Struct({ messages: Schema.Int, last: Schema.Int }))
})
export type BundleHeader = typeof Head.Type

const decodeHead = Schema.decodeUnknownResult(Schema.fromJsonString(Head))
const decodeVersion = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct({ format: Schema.Literal("metamem-bundle"), version: Schema.Int })))
const decodeEnd = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct({ digest: Schema.String })))
const decodeLine = Schema.decodeUnknownResult(
  Schema.fromJsonString(
    Schema.Struct({
      subject: Schema.String,
      sequence: Schema.Int,
      time: Schema.String,
      headers: Schema.Record(Schema.String, Schema.String),
      payload: Schema.String
    })
  )
)

export interface BundleSummary extends BundleHeader {
  /** SHA-256, hex, over the header and all messages. */
  readonly digest: string
}

/** The header is known only when all messages are: its line goes before the messages' own digest. */
const digestOf = (head: string, messages: string): string => createHash("sha256").update(`${head}\n${messages}\n`).digest("hex")

const lineOf = (raw: RawMessage): string =>
  `${
    JSON.stringify({
      subject: raw.subject,
      sequence: raw.sequence,
      time: raw.time,
      headers: Object.fromEntries(Object.entries(raw.headers).sort(([a], [b]) => (a < b ? -1 : 1))),
      payload: Buffer.from(raw.payload).toString("base64")
    })
  }\n`

/**
 * Writes everything that matches the filters now. The file appears whole or not at all; one that stands there is replaced.
 *
 * @param filters of any streams; a stream's messages keep their order
 * @param label what the bundle is, for people
 */
export const writeBundle = (path: string, filters: ReadonlyArray<string>, label: string): Effect.Effect<BundleSummary, BundleNotWritten | LogUnavailable, EventLog> => {
  const notWritten = (error: unknown) =>
    new BundleNotWritten({ path, message: `${path} cannot be written: ${error instanceof Error ? error.message : String(error)}. Choose a folder that exists, can be written and has room.` })
  const promise = <A>(run: () => Promise<A>) => Effect.tryPromise({ try: run, catch: notWritten })
  const [part, whole] = [`${path}.messages.part`, `${path}.part`]
  return Effect.gen(function*() {
    const log = yield* EventLog
    const byStream = yield* Effect.try({ try: () => Map.groupBy(filters, streamOf), catch: notWritten })
    if (byStream.size === 0) return yield* notWritten(new Error("no filter was given"))
    const streams: Record<string, { messages: number; last: number }> = {}
    const digest = createHash("sha256")
    const file = yield* promise(() => open(part, "w"))
    const gzip = createGzip()
    const written = pipeline(gzip, file.createWriteStream())
    // Whoever writes next is told as well; this only keeps the failure from going unheard between two writes.
    written.catch(() => undefined)
    const write = (text: string) => promise(() => new Promise<void>((done, failed) => void gzip.write(text, (error) => (error == null ? done() : failed(error)))))
    for (const [stream, own] of [...byStream].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const counts = (streams[stream] = { messages: 0, last: 0 })
      yield* Stream.runForEachArray(log.readRaw(own), (raws) => {
        const text = raws.map(lineOf).join("")
        digest.update(text)
        counts.messages += raws.length
        counts.last = raws.at(-1)?.sequence ?? counts.last
        return write(text)
      })
    }
    gzip.end()
    yield* promise(() => written)
    const messages = Object.values(streams).reduce((sum, one) => sum + one.messages, 0)
    const header: BundleHeader = { format: "metamem-bundle", version: formatVersion, label, filters: [...filters], messages, streams }
    const head = JSON.stringify(header)
    const end = digestOf(head, digest.digest("hex"))
    yield* promise(async () => {
      // Three gzip members, one after another, are one gzip file.
      await pipeline(async function*() {
        yield gzipSync(`${head}\n`)
        yield* createReadStream(part)
        yield gzipSync(`${JSON.stringify({ digest: end })}\n`)
      }, createWriteStream(whole))
      await rename(whole, path)
    })
    return { ...header, digest: end }
  }).pipe(Effect.ensuring(Effect.promise(() => Promise.all([part, whole].map((one) => rm(one, { force: true }))).catch(() => undefined))))
}

/** A line holds one message in base64 with its headers. */
const lineLimit = maxMessageBytes * 2

const isGzip = async (path: string): Promise<boolean> => {
  const file = await open(path)
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return buffer[0] === 0x1f && buffer[1] === 0x8b
  } finally {
    await file.close()
  }
}

const isOfStreams = (subject: string, header: BundleHeader): boolean => Object.keys(header.streams).some((stream) => subject.startsWith(`${stream.toLowerCase()}.`))

interface Bundle {
  readonly header: BundleHeader
  readonly messages: ReadonlyArray<RawMessage>
}

/** Reads and checks a whole bundle. It stands in memory. */
const readBundle = (path: string): Effect.Effect<Bundle, BundleUnreadable> => {
  const unreadable = (reason: BundleUnreadable["reason"], what: string) => new BundleUnreadable({ path, reason, message: `${path} ${what}` })
  const again = "Copy or export it again."
  const parse = async (): Promise<Bundle> => {
    const gunzip = createGunzip()
    const digest = createHash("sha256")
    const messages: Array<RawMessage> = []
    let header: BundleHeader | undefined
    let head = ""
    let end: string | undefined
    const take = (line: string): void => {
      if (header === undefined) {
        const version = decodeVersion(line)
        if (Result.isFailure(version)) throw unreadable("foreign", "is not a bundle of this project.")
        if (version.success.version > formatVersion) throw unreadable("version", `is of bundle format ${version.success.version}, this code reads up to ${formatVersion}: update metamem.`)
        const decoded = decodeHead(line)
        if (Result.isFailure(decoded)) throw unreadable("damaged", `has a damaged header. ${again}`)
        header = decoded.success
        head = line
        return
      }
      if (end !== undefined) throw unreadable("damaged", `goes on after its end. ${again}`)
      if (messages.length === header.messages) {
        const decoded = decodeEnd(line)
        if (Result.isFailure(decoded)) throw unreadable("damaged", `holds more than its header says. ${again}`)
        end = decoded.success.digest
        return
      }
      const decoded = decodeLine(line)
      if (Result.isFailure(decoded) || !isOfStreams(decoded.success.subject, header)) throw unreadable("damaged", `is damaged at message ${messages.length + 1}. ${again}`)
      digest.update(`${line}\n`)
      messages.push({ ...decoded.success, payload: Buffer.from(decoded.success.payload, "base64") })
    }
    await pipeline(createReadStream(path), gunzip, async (source: AsyncIterable<Buffer>) => {
      const decoder = new TextDecoder("utf-8")
      // Pieces of a line not ended yet; only what is new is searched for its end.
      let pieces: Array<string> = []
      let pieceLength = 0
      for await (const chunk of source) {
        const text = decoder.decode(chunk, { stream: true })
        let from = 0
        for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", from)) {
          take(pieces.join("") + text.slice(from, at))
          pieces = []
          pieceLength = 0
          from = at + 1
        }
        pieces.push(text.slice(from))
        pieceLength += text.length - from
        if (pieceLength > lineLimit) throw unreadable(header === undefined ? "foreign" : "damaged", `has a line longer than any message. ${again}`)
      }
    }).catch(async (error: unknown) => {
      if (error instanceof BundleUnreadable) throw error
      const { code, message } = error as NodeJS.ErrnoException
      if (code === "Z_BUF_ERROR") throw unreadable("cut", `ends in the middle. ${again}`)
      if (code?.startsWith("Z_") === true) throw (await isGzip(path)) ? unreadable("damaged", `is damaged (${message}). ${again}`) : unreadable("foreign", "is not a bundle of this project.")
      throw unreadable("missing", `cannot be read: ${message}. Give the path of a file written by an export.`)
    })
    if (header === undefined) throw unreadable("foreign", "is not a bundle of this project.")
    if (end === undefined) throw unreadable("cut", `ends after ${messages.length} of ${(header as BundleHeader).messages} messages. ${again}`)
    if (digestOf(head, digest.digest("hex")) !== end) throw unreadable("damaged", `was changed after it was written: its digest does not fit. ${again}`)
    return { header, messages }
  }
  return Effect.tryPromise({ try: parse, catch: (error) => error as BundleUnreadable })
}

/** A log of what is in the bundle, in memory: every way of reading, and no appending. A follow gives what is there and then waits. */
export const layerBundle = (path: string): Layer.Layer<EventLog, BundleUnreadable> =>
  Layer.effect(
    EventLog,
    Effect.gen(function*() {
      const { header, messages } = yield* readBundle(path)
      const byStream = Map.groupBy(messages, (raw) => streamOf(raw.subject))
      const bySubject = Map.groupBy(messages, (raw) => raw.subject)
      const raw: EventLog["Service"]["readRaw"] = (filters, options) =>
        Stream.suspend(() =>
          Stream.fromIterable(
            (byStream.get(streamOf(filters[0] ?? "")) ?? []).filter(({ sequence, subject }) => sequence > (options?.after ?? 0) && filters.some((filter) => matches(filter, subject)))
          )
        )
      const read: EventLog["Service"]["read"] = (filters, options) => raw(filters, options).pipe(Stream.mapEffect(decodeOrFail))
      return EventLog.of({
        append: () => Effect.fail(new ReadOnlyLog({ message: `${path} is a bundle and can only be read. Append to a server's log.` })),
        load: (subject, options) => Effect.forEach((bySubject.get(subject) ?? []).filter(({ sequence }) => sequence > (options?.after ?? 0)), decodeOrFail),
        last: (subject) => {
          const last = bySubject.get(subject)?.at(-1)
          return last === undefined ? Effect.succeed(undefined) : decodeOrFail(last)
        },
        readRaw: raw,
        read,
        follow: (filters, options) => Stream.concat(read(filters, options), Stream.never),
        head: (stream) => Effect.succeed(header.streams[stream]?.last ?? 0)
      })
    })
  )
