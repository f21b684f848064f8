/**
 * The one place that builds and parses subjects. Tokens that come from people are encoded, so that no `.`, `*`, `>`, space or
 * control character can enter a subject, whatever an id looks like.
 */
import { createHash } from "node:crypto"

export const actors = ["ingestor", "compressor", "embedder", "retriever", "evaluator", "reflector"] as const
export type ActorName = (typeof actors)[number]

const plain = /^[A-Za-z0-9_-]$/
const utf8 = new TextEncoder()

/** Encodes any text as one subject token: letters, digits, `_` and `-` stay, every other UTF-8 byte becomes `=hh`; the empty text is `=`. */
export const encodeToken = (text: string): string => {
  if (text === "") return "="
  if (/^[A-Za-z0-9_-]+$/.test(text)) return text
  let token = ""
  for (const character of text) {
    if (plain.test(character)) token += character
    else for (const byte of utf8.encode(character)) token += `=${byte.toString(16).padStart(2, "0")}`
  }
  return token
}

/** Inverse of {@link encodeToken}. @throws RangeError on a token this module did not make — a bug or a foreign subject. */
export const decodeToken = (token: string): string => {
  if (token === "=") return ""
  if (!token.includes("=")) return token
  const bytes: Array<number> = []
  for (let i = 0; i < token.length; i++) {
    if (token[i] !== "=") {
      bytes.push(token.charCodeAt(i))
      continue
    }
    const hex = token.slice(i + 1, i + 3)
    if (!/^[0-9a-f]{2}$/.test(hex)) throw new RangeError(`not an encoded token: ${token}`)
    bytes.push(Number.parseInt(hex, 16))
    i += 2
  }
  return new TextDecoder().decode(Uint8Array.from(bytes))
}

const join = (...tokens: ReadonlyArray<string>): string => tokens.map(encodeToken).join(".")

export interface ConversationAddress {
  readonly tenant: string
  readonly user: string
  readonly conversation: string
}

/** Where one actor writes what it did in one conversation. */
export const memorySubject = (of: ConversationAddress, actor: ActorName): string =>
  join("memory", of.tenant, of.user, of.conversation, actor)

/** Filter for all conversations of a tenant, a user or everyone; `actor` limits it to one writer. */
export const memoryFilter = (of: { readonly tenant?: string; readonly user?: string; readonly conversation?: string; readonly actor?: ActorName }): string =>
  ["memory", of.tenant, of.user, of.conversation, of.actor].map((token) => (token === undefined ? "*" : encodeToken(token))).join(".")

export interface MemoryAddress extends ConversationAddress {
  readonly actor: ActorName
}

/** Parses a subject of the memory log. @throws RangeError when it is not one. */
export const parseMemorySubject = (subject: string): MemoryAddress => {
  const tokens = subject.split(".")
  if (tokens.length !== 5 || tokens[0] !== "memory") throw new RangeError(`not a subject of the memory log: ${subject}`)
  const [, tenant = "", user = "", conversation = "", actor = ""] = tokens.map(decodeToken)
  return { tenant, user, conversation, actor: actor as ActorName }
}

/** A user's name as it may stand where the user's data may not: a hash that nobody who does not know the name can read. */
export const userHash = (tenant: string, user: string): string => createHash("sha256").update(`${tenant}\n${user}`).digest("hex").slice(0, 32)

/** Where it stands that all data of a user was erased; of the memory log, so that it is in order with what it is about. */
export const erasedSubject = (tenant: string, hash: string): string => join("memory", tenant, hash, "erased")
/** Filter for the erasures of a tenant or of everyone; disjoint from every {@link memoryFilter}. */
export const erasedFilter = (tenant?: string): string => `memory.${tenant === undefined ? "*" : encodeToken(tenant)}.*.erased`
/** True for a subject of {@link erasedSubject}. */
export const isErasedSubject = (subject: string): boolean => subject.endsWith(".erased") && subject.split(".").length === 4

export interface RunAddress {
  readonly tenant: string
  readonly run: string
}

export const runSubject = (of: RunAddress): string => join("metamem", of.tenant, of.run, "reflector")
/** Everything of one run: the reflector's commits, settled results and failed attempts. */
export const runFilter = (of: RunAddress): string => `${join("metamem", of.tenant, of.run)}.>`
export const runsFilter = (tenant: string): string => `${join("metamem", tenant)}.*.reflector`
/** Name of the run that a subject of `runsFilter` is of. */
export const runOf = (subject: string): string => decodeToken(subject.split(".")[2] ?? "")
export const adoptedSubject = (tenant: string): string => join("metamem", tenant, "adopted")
/** Where it stands how far evolution from live feedback has come. */
export const onlineSubject = (tenant: string): string => join("metamem", tenant, "online")

export interface JobAddress extends RunAddress {
  readonly step: number
  readonly kind: string
  readonly key: string
}

export const resultSubject = (of: JobAddress): string => join("metamem", of.tenant, of.run, "result", String(of.step), of.kind, of.key)
export const attemptSubject = (of: JobAddress): string => join("metamem", of.tenant, of.run, "attempt", String(of.step), of.kind, of.key)
export const resultFilter = (of: RunAddress): string => `${join("metamem", of.tenant, of.run, "result")}.>`

/** Parses a result subject; undefined for any other. */
export const parseResultSubject = (subject: string): JobAddress | undefined => {
  const tokens = subject.split(".")
  if (tokens.length !== 7 || tokens[0] !== "metamem" || tokens[3] !== "result") return undefined
  const [, tenant = "", run = "", , step = "", kind = "", key = ""] = tokens.map(decodeToken)
  return { tenant, run, step: Number(step), kind, key }
}

/** Where a validated model reply stands. `scope` is the user whose text is in it, or the run. */
export const callsSubject = (tenant: string, scope: string, key: string): string => join("calls", tenant, scope, key)
/** Parses a subject of a kept reply. */
export const parseCallsSubject = (subject: string): { readonly tenant: string; readonly scope: string; readonly key: string } => {
  const [, tenant = "", scope = "", key = ""] = subject.split(".").map(decodeToken)
  return { tenant, scope, key }
}
export const callsFilter = (tenant: string, scope: string): string => `${join("calls", tenant, scope)}.*`

export const workSubject = (actor: ActorName, of: JobAddress): string =>
  join("work", actor, of.kind, of.tenant, of.run, `${of.step}_${of.key}`)
export const workFilter = (actor: ActorName, kind: string): string => `${join("work", actor, kind)}.>`

export const leaseSubject = (actor: ActorName, entity: string): string => join("lease", actor, entity)
export const deadSubject = (actor: ActorName, kind: string): string => join("dead", actor, kind)
/** Dead letters of one actor; without it, whatever stands in their stream. */
export const deadFilter = (actor?: ActorName): string => (actor === undefined ? "dead.>" : `${join("dead", actor)}.>`)
/** Plain message, kept by nobody: a job of this kind waits for a model. */
export const heldSubject = (actor: ActorName, kind: string): string => join("held", actor, kind)
export const heldFilter = "held.>"
/** Core request/reply of interactive questions. */
export const requestSubject = (actor: ActorName, verb: string): string => join("request", actor, verb)

/** Name of the stream that holds a subject; decided by its first token. */
export const streamOf = (subject: string): "MEMORY" | "METAMEM" | "CALLS" | "WORK" | "LEASE" | "DEAD" => {
  const first = subject.slice(0, subject.indexOf("."))
  switch (first) {
    case "memory":
      return "MEMORY"
    case "metamem":
      return "METAMEM"
    case "calls":
      return "CALLS"
    case "work":
      return "WORK"
    case "lease":
      return "LEASE"
    case "dead":
      return "DEAD"
    default:
      throw new RangeError(`no stream holds the subject ${subject}`)
  }
}
