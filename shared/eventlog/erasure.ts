/**
 * Who has data in the log, and how all data of one user is removed from it: every subject of the user is emptied and ends in an erasure
 * mark, so that nothing decided on what is gone can be appended behind it (the expected sequence does not fit, and a fold begins anew at
 * the mark, whose sequence is the epoch in every later commit id). `UserErased`, last, says that it was done, by hash and counts.
 */
import { randomUUID } from "node:crypto"
import { Cause, Clock, Effect, Result, Schedule, Schema, type Scope, Stream } from "effect"
import { type Commit, type CorruptCommit, eraseCause, isErasureMark, type RawMessage } from "./envelope.ts"
import { defineEvent, eventCodec, type EventOf, type UnreadableEvent } from "./event.ts"
import { type AppendError, EventLog } from "./event-log.ts"
import { readStream } from "./jetstream-reading.ts"
import { apiCode, attempt, LogUnavailable, Nats } from "./nats.ts"
import { type ActorName, callsFilter, decodeToken, encodeToken, erasedFilter, erasedSubject, memoryFilter, memorySubject, parseMemorySubject, userHash } from "./subjects.ts"

/** All data of one user was removed. Stands last: whatever of the user comes after `firstMark` and is not before a mark is new. */
export const UserErased = defineEvent("UserErased", {
  version: 1,
  payload: Schema.Struct({
    user: Schema.NonEmptyString,
    /** Sequence of the first erasure mark of this erasure. */
    firstMark: Schema.Int,
    /** Messages removed, by stream. */
    removed: Schema.Record(Schema.String, Schema.Int)
  })
})
const erasureCodec = eventCodec([UserErased])
export type UserErased = EventOf<typeof UserErased>

export interface ErasureReport {
  /** Hash of tenant and user; the name is nowhere kept. */
  readonly userHash: string
  /** False when there was nothing (more) to remove. */
  readonly erased: boolean
  /** Every stream: how many messages were removed, and what of the user stays for how long. */
  readonly streams: ReadonlyArray<{ readonly stream: string; readonly removed: number; readonly note: string }>
  /** Erasure marks that still name the user's subjects; erasing again after {@link markHours} takes them away. */
  readonly marks: number
  /** Sequence of the memory log from which on a projection shows nothing of what was erased. */
  readonly sequence: number
}

/** How long marks stand before they can be taken away: longer than any work begun before the erasure may last, and any fold is cached. */
export const markHours = 1

/** Conversations and actors in the order of the flow: what is derived is emptied after what it derives from. */
const phases: ReadonlyArray<ReadonlyArray<ActorName>> = [["ingestor"], ["compressor"], ["embedder"], ["retriever", "evaluator", "reflector"]]
/** Of these every conversation in which anything was said gets a mark, whether or not they had written anything: they may be about to. */
const deriving: ReadonlySet<ActorName> = new Set(["ingestor", "compressor", "embedder"])

const noMessage = 10037

/** Rounds against somebody who keeps appending between emptying and marking. */
const markTries = 20

const subjectsOf = (filter: string) =>
  Effect.flatMap(Nats, ({ jsm }) =>
    attempt("list subjects of the memory log", () => jsm.streams.info("MEMORY", { subjects_filter: filter })).pipe(
      Effect.map(({ state }) => new Map(Object.entries(state.subjects ?? {})))
    ))

/** Users of a tenant with any message in the memory log, sorted, each with how many; also those of whom only erasure marks are left. */
export const messagesOfUsers = (tenant: string): Effect.Effect<ReadonlyMap<string, number>, LogUnavailable, Nats> =>
  Effect.map(subjectsOf(memoryFilter({ tenant })), (subjects) => {
    const counts = new Map<string, number>()
    for (const [subject, count] of subjects) {
      const { user } = parseMemorySubject(subject)
      counts.set(user, (counts.get(user) ?? 0) + count)
    }
    return new Map([...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
  })

export interface UserHere {
  readonly user: string
  /** Turns of theirs stand; else only what was asked about them: questions, answers. */
  readonly spoke: boolean
}

/** Users of a tenant with anything in the memory log but erasure marks, sorted. @param only who is asked about; absent = all */
export const usersHere = (tenant: string, only?: string): Effect.Effect<ReadonlyArray<UserHere>, LogUnavailable | CorruptCommit, Nats | EventLog> =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const subjects = yield* subjectsOf(memoryFilter({ tenant, ...(only === undefined ? {} : { user: only }) }))
    /** The first of these on which more than a mark stands. */
    const standing = (own: ReadonlyArray<string>) =>
      Effect.gen(function*() {
        const full = own.find((subject) => (subjects.get(subject) ?? 0) > 1)
        if (full !== undefined) return full
        for (const subject of own) {
          const last = yield* log.last(subject)
          if (last !== undefined && !isErasureMark(last)) return subject
        }
        return undefined
      })
    const byUser = Map.groupBy(subjects.keys(), (subject) => parseMemorySubject(subject).user)
    const present = yield* Effect.forEach(byUser, ([user, own]) =>
      Effect.gen(function*() {
        const said = own.filter((subject) => parseMemorySubject(subject).actor === "ingestor")
        if ((yield* standing(said)) !== undefined) return [{ user, spoke: true }]
        return (yield* standing(own.filter((subject) => !said.includes(subject)))) === undefined ? [] : [{ user, spoke: false }]
      }), { concurrency: 16 })
    return present.flat().sort((a, b) => (a.user < b.user ? -1 : 1))
  })

/** What says that the user's data was erased last: nothing stands of what came before. Undefined = never. */
export const lastErasure = (tenant: string, user: string): Effect.Effect<Commit | undefined, LogUnavailable | CorruptCommit, EventLog> =>
  Effect.flatMap(EventLog, (log) => log.last(erasedSubject(tenant, userHash(tenant, user))))

const purge = (stream: "MEMORY", filter: string) =>
  Effect.flatMap(Nats, ({ jsm }) => attempt(`empty ${filter}`, () => jsm.streams.purge(stream, { filter })))

/** Removes messages and overwrites them on disk. */
const remove = (stream: "MEMORY" | "CALLS" | "WORK" | "DEAD", sequences: ReadonlyArray<number>) =>
  Effect.flatMap(Nats, ({ jsm }) =>
    Effect.forEach(sequences, (sequence) =>
      attempt(`remove message ${sequence} of ${stream}`, () =>
        jsm.streams.deleteMessage(stream, sequence, true).catch((error: unknown) => {
          // Gone by itself or by another erasure.
          if (apiCode(error) !== noMessage) throw error
        })), { concurrency: 16, discard: true }))

/**
 * Removes messages and overwrites them on disk; a purge alone would leave their bytes in the server's files until these are compacted.
 * Gives their number.
 *
 * @param only subjects to remove; absent = all that match
 */
const wipe = (stream: "MEMORY" | "CALLS", filter: string, only?: ReadonlySet<string>) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const sequences = yield* log.readRaw([filter]).pipe(Stream.filter(({ subject }) => only?.has(subject) ?? true), Stream.map(({ sequence }) => sequence), Stream.runCollect)
    yield* remove(stream, sequences)
    return sequences.length
  })

/** Removes the messages of a stream that are about the user; all are looked into, since no subject tells. */
const deleteWhere = (stream: "WORK" | "DEAD", isAbout: (message: RawMessage) => boolean) =>
  Effect.gen(function*() {
    const nats = yield* Nats
    const due = yield* readStream(nats, stream, [`${stream.toLowerCase()}.>`], 0, false).pipe(Stream.filter(isAbout), Stream.map(({ sequence }) => sequence), Stream.runCollect)
    yield* remove(stream, due)
    return due.length
  })

const fieldsOf = (value: unknown): Record<string, unknown> => (typeof value === "object" && value !== null ? value as Record<string, unknown> : {})
const textOf = ({ payload }: RawMessage): string => new TextDecoder().decode(payload)
const jsonOf = (message: RawMessage): unknown => {
  try {
    return JSON.parse(textOf(message))
  } catch {
    return undefined
  }
}

/**
 * Removes all data of one user. Twice is once; what is sent for the user while this runs may be removed too. Fails in the middle without
 * harm: doing it again goes on.
 */
export const eraseUser = (tenant: string, user: string): Effect.Effect<ErasureReport, AppendError, Nats | EventLog> =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const hash = userHash(tenant, user)
    const all = `memory.${encodeToken(tenant)}.${encodeToken(user)}.*.*`
    const before = yield* subjectsOf(all)
    const now = yield* Clock.currentTimeMillis

    // What is marked and empty already stays as it is, or goes when its time has passed.
    let marks = 0
    let old = 0
    const due = new Set<string>()
    for (const [subject, count] of before) {
      const last = count === 1 ? yield* log.last(subject) : undefined
      if (last === undefined || !isErasureMark(last)) due.add(subject)
      else if (now - Date.parse(last.time) > markHours * 3_600_000) {
        yield* purge("MEMORY", subject)
        old += 1
      } else marks += 1
    }
    const conversations = new Set([...due].map((subject) => parseMemorySubject(subject).conversation))
    const spoken = new Set([...before.keys()].map(parseMemorySubject).filter(({ actor }) => deriving.has(actor)).map(({ conversation }) => conversation))
    const cause = eraseCause(randomUUID())
    const memory = [...due].reduce((sum, subject) => sum + (before.get(subject) ?? 0), 0)
    let firstMark = 0
    /** Sequence of the mark behind which turns may come again, by conversation. */
    const said = new Map<string, number>()
    /** Up to where nothing is left to be derived: not past a turn that came since its conversation was emptied. @param head read before */
    const nothingThrough = Effect.fnUntraced(function*(subject: string, head: number) {
      const { actor, conversation } = parseMemorySubject(subject)
      const mark = said.get(conversation)
      if (mark === undefined || actor === "ingestor" || !deriving.has(actor)) return head
      const last = yield* log.last(memorySubject({ tenant, user, conversation }, "ingestor"))
      return last === undefined || isErasureMark(last) ? head : mark
    })
    for (const [phase, own] of phases.entries()) {
      const subjects = new Set([...conversations].flatMap((conversation) =>
        own.flatMap((actor) => {
          const subject = memorySubject({ tenant, user, conversation }, actor)
          return due.has(subject) || (deriving.has(actor) && spoken.has(conversation)) ? [subject] : []
        })
      ))
      // Answers are given from what is remembered, so there may be a first one on its way.
      if (due.size > 0 && own.includes("retriever")) subjects.add(memorySubject({ tenant, user, conversation: "answers" }, "retriever"))
      // Whoever read the sources before they were emptied finds them so after the reach of a replica that lags.
      if (phase > 0 && subjects.size > 0) yield* Effect.sleep("200 millis")
      for (const actor of own) if (subjects.size > 0) yield* wipe("MEMORY", memoryFilter({ tenant, user, actor }), subjects)
      yield* Effect.forEach(
        subjects,
        (subject) =>
          Effect.gen(function*() {
            for (let tries = 0; tries < markTries; tries++) {
              if (tries > 0) yield* wipe("MEMORY", subject)
              yield* purge("MEMORY", subject)
              const head = yield* log.head("MEMORY")
              const marked = yield* Effect.result(log.append({ subject, cause, inputThrough: yield* nothingThrough(subject, head), epoch: head, events: [] }, 0, ""))
              if (Result.isSuccess(marked)) {
                if (phase === 0) said.set(parseMemorySubject(subject).conversation, marked.success.sequence)
                firstMark = firstMark === 0 ? marked.success.sequence : Math.min(firstMark, marked.success.sequence)
                marks += 1
                return
              }
              if (marked.failure._tag !== "SequenceConflict") return yield* marked.failure
            }
            return yield* new LogUnavailable({ operation: "erase", message: `others kept appending to ${subject}; erase the user again` })
          }),
        { concurrency: 8, discard: true }
      )
    }
    let calls = yield* wipe("CALLS", callsFilter(tenant, user))
    const work = yield* deleteWhere("WORK", (message) => {
      const job = fieldsOf(jsonOf(message))
      return job["tenant"] === tenant && fieldsOf(fieldsOf(job["input"])["question"])["user"] === user
    })
    const own = `memory.${encodeToken(tenant)}.${encodeToken(user)}.`
    const dead = yield* deleteWhere("DEAD", (message) => fieldsOf(jsonOf(message))["whose"] === hash || textOf(message).includes(own))
    const removed = { MEMORY: memory, CALLS: calls, WORK: work, DEAD: dead }
    const erased = memory + calls + work + dead > 0
    let sequence = yield* log.head("MEMORY")
    if (erased) {
      const subject = erasedSubject(tenant, hash)
      const last = yield* log.last(subject)
      const event = erasureCodec.encode({ _tag: "UserErased", user: hash, firstMark: firstMark === 0 ? sequence + 1 : firstMark, removed })
      sequence = (yield* log.append({ subject, cause, events: [event] }, last?.sequence ?? 0, last?.checksum ?? "")).sequence
      // A reply kept since then; one that comes after this finds the event and is taken back.
      calls += yield* wipe("CALLS", callsFilter(tenant, user))
    }
    return {
      userHash: hash,
      erased,
      streams: [
        { stream: "MEMORY", removed: memory + old, note: "turns, memories, vectors, questions, answers" },
        { stream: "CALLS", removed: calls, note: "model replies with the user's text" },
        { stream: "WORK", removed: work, note: "jobs that name the user" },
        { stream: "DEAD", removed: dead, note: "dead letters of the user's conversations and of jobs about the user" },
        { stream: "LEASE", removed: 0, note: "names of conversations in work and of calls being asked; gone by themselves within two minutes" },
        { stream: "METAMEM", removed: 0, note: "kept: runs hold no text of a user, only ids and principles" }
      ],
      marks,
      sequence
    }
  })

/** A user whose data is gone, as whoever keeps something can ask whether it is theirs: the name stands nowhere. */
export interface Erased {
  readonly is: (tenant: string, user: string) => boolean
  /** The same of a subject of the memory log. */
  readonly holds: (subject: string) => boolean
}

/** Calls back for each erasure that ends from here on, until the scope closes: what a process keeps of the user is to be let go. One that cannot be read is taken for anybody's. */
export const onErasure = (forget: (erased: Erased) => void): Effect.Effect<void, never, EventLog | Scope.Scope> =>
  Effect.gen(function*() {
    const log = yield* EventLog
    // Where the end cannot be read now, all that ever were come again, which is no harm.
    let after = yield* log.head("MEMORY").pipe(Effect.orElseSucceed(() => 0))
    yield* Stream.suspend(() => log.follow([erasedFilter()], { after })).pipe(
      Stream.runForEach((commit) =>
        Effect.gen(function*() {
          const erasedTenant = decodeToken(commit.subject.split(".")[1] ?? "")
          const erasures = yield* erasuresIn(commit.events).pipe(
            Effect.tapError((error) => Effect.logWarning(`what a user's erasure says cannot be read, so all that is kept in memory goes: ${error.message}`)),
            Effect.orElseSucceed(() => undefined)
          )
          if (erasures === undefined) forget({ is: () => true, holds: () => true })
          for (const event of erasures ?? []) {
            const is: Erased["is"] = (tenant, user) => tenant === erasedTenant && userHash(tenant, user) === event.user
            forget({
              is,
              holds: (subject) => {
                const { tenant, user } = parseMemorySubject(subject)
                return is(tenant, user)
              }
            })
          }
          after = commit.sequence
        })
      ),
      Effect.tapCause((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logWarning("cannot follow erasures; tried again", cause))),
      Effect.retry(Schedule.spaced("1 second")),
      Effect.forkScoped
    )
  })

/** What a commit of an erasure subject says. */
export const erasuresIn = (events: ReadonlyArray<Parameters<typeof erasureCodec.decode>[0]>): Effect.Effect<ReadonlyArray<UserErased>, UnreadableEvent> =>
  Effect.forEach(events, (stored) => Effect.fromResult(erasureCodec.decode(stored)))
