/**
 * The edge where turns come in: one JSON value of a request becomes a checked turn, or a refusal that says how to mend it. Neighbours:
 * `#shared/domain/time` reads the times, `identity.ts` gives the ids; the importers turn other formats into the raw turns read here.
 *
 * What is cleaned and what is refused: control characters in a text (C0 except tab and line ends, DEL, C1) carry no meaning, cannot be
 * shown safely and break terminals and tables, so they are taken out; half surrogate pairs become U+FFFD because UTF-8 cannot hold them.
 * In ids and speaker names nothing is changed, since a changed id is another id: control characters there are refused.
 */
import { Result } from "effect"
import { nameLimitBytes } from "#shared/domain/name"
import { normaliseTime } from "#shared/domain/time"
import { type IgnoredField, ignoredFields } from "#shared/importers/ignored-fields"
import { RejectedTurn } from "#shared/importers/rejected-turn"
import { turnId } from "./identity.ts"

/** Longest text in UTF-8 bytes, just under the log's message limit with room for the envelope. */
export const textLimitBytes = 5_000_000
/** Longest speaker name in UTF-8 bytes. */
const speakerLimitBytes = 256

/** What a request says once for all its turns. */
export interface TurnDefaults {
  readonly tenant: string
  readonly user?: string
  readonly conversation?: string
  /** Zone of times that carry none: an IANA name or an offset; UTC when absent. */
  readonly zone?: string
}

/** A turn that passed. `time` is absent when the client sent none; the ingestor then gives the time of arrival. */
export interface NormalTurn {
  readonly user: string
  readonly conversation: string
  readonly id: string
  /** True when the id is the client's own. */
  readonly ownId: boolean
  readonly speaker: string
  readonly text: string
  readonly time?: string
}

const textControls = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g
const anyControl = /[\u0000-\u001f\u007f-\u009f]/

const reject = (reason: RejectedTurn["reason"], error: string): Result.Result<never, RejectedTurn> =>
  Result.fail(new RejectedTurn({ reason, error }))

const read = (raw: Record<string, unknown>, ...names: ReadonlyArray<string>): unknown => {
  for (const name of names) if (raw[name] !== undefined && raw[name] !== null) return raw[name]
  return undefined
}

const name = (
  value: unknown,
  reason: "user" | "conversation" | "speaker" | "id",
  limit: number
): Result.Result<string, RejectedTurn> => {
  // Numbers are common as ids in exports and lose nothing as text.
  const text = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value
  if (typeof text !== "string") return reject(reason, `${reason} must be a string, not ${describe(value)}`)
  if (text.trim() === "") return reject(reason, `${reason} is empty; give a name or leave the field out`)
  if (anyControl.test(text)) return reject(reason, `${reason} holds a control character; remove it`)
  if (!text.isWellFormed()) return reject(reason, `${reason} holds half a surrogate pair; write it as valid UTF-8`)
  const bytes = Buffer.byteLength(text)
  if (bytes > limit) return reject(reason, `${reason} has ${bytes} bytes; at most ${limit} are taken`)
  return Result.succeed(text)
}

const describe = (value: unknown): string => (value === null ? "null" : Array.isArray(value) ? "a list" : typeof value === "object" ? "an object" : `a ${typeof value}`)

const speakerOf = (raw: Record<string, unknown>): Result.Result<string, RejectedTurn> => {
  const role = raw["role"]
  if (role !== undefined && role !== null) {
    if (typeof role !== "string") return reject("speaker", `role must be a string, not ${describe(role)}`)
    if (!/^(?:user|assistant)$/i.test(role.trim())) {
      return reject("speaker", `role "${role.slice(0, 40)}" is unknown; use "user" or "assistant", or give the participant's name as "speaker"`)
    }
  }
  const given = read(raw, "speaker", "role")
  if (given === undefined) return reject("speaker", `no speaker; give "speaker" (a name, "user" or "assistant") or "role"`)
  return Result.map(name(given, "speaker", speakerLimitBytes), (text) => {
    const trimmed = text.trim()
    return /^(?:user|assistant)$/i.test(trimmed) ? trimmed.toLowerCase() : trimmed
  })
}

const textOf = (raw: Record<string, unknown>): Result.Result<string, RejectedTurn> => {
  const given = read(raw, "text", "content")
  if (given === undefined) return reject("text", `no text; give "text" or "content"`)
  if (typeof given !== "string") return reject("text", `text must be a string, not ${describe(given)}`)
  if (given.length > textLimitBytes || Buffer.byteLength(given) > textLimitBytes) {
    return reject("text", `text has ${Buffer.byteLength(given)} bytes; at most ${textLimitBytes} are taken, split it into several turns`)
  }
  const text = given.replace(textControls, "").toWellFormed()
  if (text.trim() === "") return reject("text", given === "" ? "text is empty; leave the turn out" : "text holds nothing that can be read; leave the turn out")
  return Result.succeed(text)
}

/**
 * Checks one raw turn `{user?, conversation?, speaker|role, text|content, time|timestamp?, id?}`. `occurrence` counts the equal turns
 * before it in the request. Unknown fields are ignored, and told: labels of data sets never reach the log.
 */
export const normaliseTurn = (
  raw: unknown,
  defaults: TurnDefaults,
  occurrence: (key: string) => number = () => 0
): Result.Result<NormalTurn, RejectedTurn> => {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) {
    return reject("malformed", `a turn must be an object like {"speaker": "user", "text": "…", "time": "…"}, not ${describe(raw)}`)
  }
  const fields = raw as Record<string, unknown>
  return Result.gen(function*() {
    const user = yield* required(read(fields, "user") ?? defaults.user, "user")
    const conversation = yield* required(read(fields, "conversation") ?? defaults.conversation, "conversation")
    const speaker = yield* speakerOf(fields)
    const text = yield* textOf(fields)
    const sent = read(fields, "time", "timestamp")
    if (sent !== undefined && typeof sent !== "string" && typeof sent !== "number") {
      return yield* reject("time", `time must be a string or a number of seconds since 1970, not ${describe(sent)}`)
    }
    const time = sent === undefined
      ? undefined
      : yield* Result.mapError(
        normaliseTime(sent, defaults.zone),
        ({ message }) => new RejectedTurn({ reason: "time", error: message })
      )
    const own = read(fields, "id")
    const ownId = own === undefined ? undefined : yield* name(own, "id", nameLimitBytes)
    const ref = { tenant: defaults.tenant, user, conversation }
    const sentTurn = { speaker, sentTime: sent === undefined ? "" : String(sent), text }
    const id = ownId ?? turnId(ref, { ...sentTurn, occurrence: occurrence(turnId(ref, { ...sentTurn, occurrence: 0 })) })
    return { user, conversation, id, ownId: ownId !== undefined, speaker, text, ...(time === undefined ? {} : { time }) }
  })
}

const required = (value: unknown, reason: "user" | "conversation"): Result.Result<string, RejectedTurn> =>
  value === undefined ? reject(reason, `no ${reason}; give "${reason}" in the turn or once for the request`) : name(value, reason, nameLimitBytes)

const knownFields: ReadonlySet<string> = new Set(["user", "conversation", "speaker", "role", "text", "content", "time", "timestamp", "id"])

/** Fields of a raw turn that hold something and that nothing reads. */
const unreadOf = (turn: Readonly<Record<string, unknown>>): ReadonlyArray<string> =>
  Object.keys(turn).filter((field) => !knownFields.has(field) && turn[field] !== null)

/** One request's turns in order, each checked on its own: a bad turn never holds back its neighbours. */
export const normaliseRequest = (
  raws: ReadonlyArray<unknown>,
  defaults: TurnDefaults
): { readonly turns: ReadonlyArray<NormalTurn>; readonly rejected: ReadonlyArray<RejectedTurn>; readonly ignored: ReadonlyArray<IgnoredField> } => {
  const counts = new Map<string, number>()
  const occurrence = (key: string): number => {
    const before = counts.get(key) ?? 0
    counts.set(key, before + 1)
    return before
  }
  const turns: Array<NormalTurn> = []
  const rejected: Array<RejectedTurn> = []
  const ignored = ignoredFields()
  raws.forEach((raw, index) => {
    const result = normaliseTurn(raw, defaults, occurrence)
    if (typeof raw === "object" && raw !== null && !Array.isArray(raw)) ignored.note(unreadOf(raw as Record<string, unknown>), { ...defaults, ...raw })
    if (Result.isSuccess(result)) turns.push(result.success)
    else rejected.push(new RejectedTurn({ line: index + 1, reason: result.failure.reason, error: result.failure.error }))
  })
  return { turns, rejected, ignored: ignored.told() }
}
