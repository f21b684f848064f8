/**
 * A commit and its form on the wire: everything about it in headers, events as JSON, then packed binary (vectors). One message is
 * one commit, so a commit is there whole or not at all.
 */
import { hash } from "node:crypto"
import { Schema } from "effect"
import { compiled, StoredEvent } from "./event.ts"

/** What an actor wants to append: the events of one decision and why. */
export interface CommitDraft {
  readonly subject: string
  /** Id of what made the actor decide; the commit id derives from it, so deciding twice gives the same id. */
  readonly cause: string
  /** Groups commits that belong to one piece of work across actors. */
  readonly correlation?: string
  /** Position in the input's stream up to which the actor has done its work for this entity. */
  readonly inputThrough?: number
  /** Erasure epoch of the subject as it was read before deciding: the sequence of its erasure mark, 0 = never erased. Part of the commit id. */
  readonly epoch?: number
  readonly events: ReadonlyArray<StoredEvent>
  /** Packed after the JSON; events refer to it by offset. */
  readonly binary?: Uint8Array
}

export interface Commit {
  readonly id: string
  readonly subject: string
  /** Sequence in the stream; commits of all subjects of a stream are in one order. */
  readonly sequence: number
  /** When the server recorded it, ISO UTC. */
  readonly time: string
  readonly cause: string
  readonly correlation: string
  readonly inputThrough: number
  /** SHA-256 chained to the checksum of the subject's previous commit. */
  readonly checksum: string
  readonly previousChecksum: string
  readonly events: ReadonlyArray<StoredEvent>
  readonly binary: Uint8Array
}

/** A message as a log keeps it; what bundles and every layer exchange. */
export interface RawMessage {
  readonly subject: string
  readonly sequence: number
  readonly time: string
  readonly headers: Readonly<Record<string, string>>
  readonly payload: Uint8Array
}

/** The stored bytes are not a commit, or its checksum does not fit: damaged or foreign data. Readers stop here. */
export class CorruptCommit extends Schema.TaggedError<CorruptCommit>()("CorruptCommit", {
  subject: Schema.String,
  sequence: Schema.Int,
  message: Schema.String
}) {}

const envelopeVersion = "1"

export const header = {
  version: "Mm-Envelope",
  id: "Mm-Commit",
  cause: "Mm-Cause",
  correlation: "Mm-Correlation",
  inputThrough: "Mm-Input-Through",
  checksum: "Mm-Checksum",
  previous: "Mm-Previous",
  jsonBytes: "Mm-Json-Bytes",
  /** Key the payload is sealed with; `none` = plain. */
  key: "Mm-Key"
} as const

/** Id of a commit: what it is about, why, and the erasure epoch of the user whose data it holds. */
export const commitId = (subject: string, cause: string, epoch = 0): string =>
  hash("sha256", `${subject}\n${cause}\n${epoch}`, "base64url").slice(0, 32)

const markCause = /^erased [0-9a-f-]{36}$/

/** Cause of the mark that an erasure leaves on each subject it emptied. @param erasure a UUID, one an erasure */
export const eraseCause = (erasure: string): string => `erased ${erasure}`

/**
 * True for an erasure mark: everything before it on its subject is gone, and whatever was decided on that is refused, since the subject
 * does not end where it was expected to. A fold begins anew behind it.
 */
export const isErasureMark = ({ cause, events }: Pick<Commit, "cause" | "events">): boolean => events.length === 0 && markCause.test(cause)

/** In one piece: hashing step by step costs twice as much, and every reader checks every commit. */
const checksumOf = (previous: string, subject: string, id: string, cause: string, inputThrough: number, payload: Uint8Array): string => {
  const head = `${previous}\n${subject}\n${id}\n${cause}\n${inputThrough}\n`
  const headBytes = Buffer.byteLength(head)
  const whole = Buffer.allocUnsafe(headBytes + payload.length)
  whole.write(head)
  whole.set(payload, headBytes)
  return hash("sha256", whole, "base64url")
}

const encodeText = new TextEncoder()
const decodeText = new TextDecoder("utf-8", { fatal: true })

/** Header values are single lines of ASCII; causes may hold ids from people. */
const headerValue = (text: string): string => encodeURIComponent(text)
const headerText = (value: string): string => (value.includes("%") ? decodeURIComponent(value) : value)

export interface EncodedCommit {
  readonly id: string
  readonly checksum: string
  readonly headers: Readonly<Record<string, string>>
  readonly payload: Uint8Array
}

/** @param previousChecksum of the subject's last commit, "" for its first */
export const encodeCommit = (draft: CommitDraft, previousChecksum: string): EncodedCommit => {
  const id = commitId(draft.subject, draft.cause, draft.epoch)
  const json = encodeText.encode(JSON.stringify({ events: draft.events }))
  const binary = draft.binary ?? new Uint8Array(0)
  const payload = binary.length === 0 ? json : Buffer.concat([json, binary])
  const inputThrough = draft.inputThrough ?? 0
  const checksum = checksumOf(previousChecksum, draft.subject, id, draft.cause, inputThrough, payload)
  return {
    id,
    checksum,
    payload,
    headers: {
      [header.version]: envelopeVersion,
      [header.id]: id,
      [header.cause]: headerValue(draft.cause),
      [header.correlation]: headerValue(draft.correlation ?? draft.cause),
      [header.inputThrough]: String(inputThrough),
      [header.checksum]: checksum,
      [header.previous]: previousChecksum,
      [header.jsonBytes]: String(json.length),
      [header.key]: "none"
    }
  }
}

const decodeEvents = Schema.decodeUnknownSync(compiled(Schema.Struct({ events: Schema.Array(StoredEvent) })))

const nothing = new Uint8Array(0)

/** @throws CorruptCommit when the message is not a commit or its checksum does not fit */
export const decodeCommit = (raw: RawMessage): Commit => {
  const corrupt = (message: string) => new CorruptCommit({ subject: raw.subject, sequence: raw.sequence, message })
  const get = (name: string): string => {
    const value = raw.headers[name]
    if (value === undefined) throw corrupt(`the header ${name} is missing`)
    return value
  }
  if (get(header.version) !== envelopeVersion) throw corrupt(`envelope version ${raw.headers[header.version]} is not known to this code`)
  if (get(header.key) !== "none") throw corrupt(`the payload is sealed with a key this process does not have (${raw.headers[header.key]})`)
  const id = get(header.id)
  const cause = headerText(get(header.cause))
  const inputThrough = Number(get(header.inputThrough))
  const previousChecksum = get(header.previous)
  const checksum = get(header.checksum)
  if (checksumOf(previousChecksum, raw.subject, id, cause, inputThrough, raw.payload) !== checksum) throw corrupt("the checksum does not fit the content")
  const jsonBytes = Number(get(header.jsonBytes))
  // Most commits hold nothing but JSON, and each view of bytes costs as much as reading it.
  const isPlain = jsonBytes === raw.payload.length
  let events: ReadonlyArray<StoredEvent>
  try {
    events = decodeEvents(JSON.parse(decodeText.decode(isPlain ? raw.payload : raw.payload.subarray(0, jsonBytes)))).events
  } catch (error) {
    throw corrupt(`the events cannot be parsed: ${error instanceof Error ? error.message : String(error)}`)
  }
  return {
    id,
    subject: raw.subject,
    sequence: raw.sequence,
    time: raw.time,
    cause,
    correlation: headerText(get(header.correlation)),
    inputThrough,
    checksum,
    previousChecksum,
    events,
    binary: isPlain ? nothing : raw.payload.subarray(jsonBytes)
  }
}
