/**
 * `metamem status`: how far each turn has come — received, searchable by words and by vectors, its facts extracted or given up — read
 * from the log, and how much work stands before each actor.
 */
import { Effect, Option, Result, Schema, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { eachDead, type StandingDeadLetter } from "#shared/actor/dead-letters"
import { request } from "#shared/actor/requests"
import type { Commit } from "#shared/eventlog/envelope"
import type { UnreadableEvent } from "#shared/eventlog/event"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { memoryFilter, memorySubject, parseMemorySubject, requestSubject } from "#shared/eventlog/subjects"
import { compressorCodec } from "#services/compressor/protocol"
import { unusableRows } from "#services/embedder/behaviour"
import { embedderCodec, noVectorAbout } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { PingReply } from "#services/retriever/protocol"
import { homeFolder, idleActors, logLayer } from "./home.ts"
import { storedCheckpoint } from "./index-commands.ts"
import { emit, progressLine, root, table, userFlag } from "./root.ts"
import { some, toMinute } from "./shown.ts"

export interface TurnStatus {
  readonly id: string
  readonly user: string
  readonly conversation: string
  readonly time: string
  /** In the log, on disk: always true of a turn that is listed. */
  readonly received: boolean
  readonly words: boolean
  readonly vectors: boolean
  /** The embedder passed it over, or recorded one that no search can use: words alone find it. */
  readonly noVector: boolean
  /** Its segment has ended and was extracted, with or without a fact. */
  readonly extracted: boolean
  /** Extraction was given up. */
  readonly noFacts: boolean
  /** Its facts were given up, or its vector. */
  readonly failed: boolean
  /** Why. */
  readonly error?: string
}

interface TurnFacts {
  readonly id: string
  readonly user: string
  readonly conversation: string
  readonly time: string
  readonly sequence: number
}

const passedOver = "no vector that can be used was had of this text; words find it"

/** Collects what commits of a memory log say of each turn, in any order of actors. */
export const turnFold = () => {
  const turns: Array<TurnFacts> = []
  /** Sequence of the commit that holds the vector. */
  const embedded = new Map<string, number>()
  /** Water mark of the embedder by the subject it writes: up to there every turn has its vector or was passed over. */
  const embeddedThrough = new Map<string, number>()
  const segments = new Map<string, ReadonlyArray<string>>()
  const extracted = new Set<string>()
  const failures = new Map<string, string>()
  const add = (commit: Commit): Result.Result<void, UnreadableEvent> => {
    const { actor, conversation, tenant, user } = parseMemorySubject(commit.subject)
    const key = (id: string) => `${tenant}\n${user}\n${id}`
    if (actor === "embedder") embeddedThrough.set(commit.subject, Math.max(embeddedThrough.get(commit.subject) ?? 0, commit.inputThrough))
    for (const stored of commit.events) {
      if (actor === "ingestor") {
        const event = ingestorCodec.decode(stored)
        if (Result.isFailure(event)) return Result.fail(event.failure)
        if (event.success._tag === "TurnsReceived") for (const { id, time } of event.success.turns) turns.push({ id, user, conversation, time, sequence: commit.sequence })
      } else if (actor === "embedder") {
        const event = embedderCodec.decode(stored)
        if (Result.isFailure(event)) return Result.fail(event.failure)
        const { dimensions, ids } = event.success
        const unusable = unusableRows(commit.binary, ids.length, dimensions)
        ids.forEach((id, row) => {
          if (!unusable.has(row) && !embedded.has(key(id))) embedded.set(key(id), commit.sequence)
        })
      } else if (actor === "compressor") {
        const event = compressorCodec.decode(stored)
        if (Result.isFailure(event)) return Result.fail(event.failure)
        switch (event.success._tag) {
          case "SegmentClosed":
            segments.set(`${commit.subject}\n${event.success.segment}`, event.success.turns)
            break
          case "MemoriesRecorded":
            for (const segment of event.success.segments) for (const id of segments.get(`${commit.subject}\n${segment}`) ?? []) extracted.add(key(id))
            break
          case "ExtractionFailed":
            for (const id of event.success.turns) failures.set(key(id), event.success.error)
            break
        }
      }
    }
    return Result.succeed(undefined)
  }
  const ordered = (): ReadonlyArray<TurnFacts> => {
    const keyOf = ({ conversation, user }: TurnFacts) => `${user}\n${conversation}`
    const last = new Map<string, number>()
    turns.forEach((turn, at) => last.set(keyOf(turn), at))
    return turns
      .map((turn) => ({ turn, last: last.get(keyOf(turn)) ?? 0 }))
      // Turns of one time stay as they came.
      .sort((a, b) => a.last - b.last || (a.turn.time < b.turn.time ? -1 : a.turn.time > b.turn.time ? 1 : 0))
      .map(({ turn }) => turn)
  }
  /**
   * Turns of one conversation together, in the order said; the conversation that something came to last is the last.
   *
   * @param words sequence up to which an index has folded the log
   */
  const statuses = (tenant: string, words: number): ReadonlyArray<TurnStatus> =>
    ordered().map(({ conversation, id, sequence, time, user }) => {
      const key = `${tenant}\n${user}\n${id}`
      const isExtracted = extracted.has(key)
      const noVector = !embedded.has(key) && sequence <= (embeddedThrough.get(memorySubject({ tenant, user, conversation }, "embedder")) ?? 0)
      const errors = [isExtracted ? undefined : failures.get(key), noVector ? passedOver : undefined].filter((error) => error !== undefined)
      return {
        id,
        user,
        conversation,
        time,
        received: true,
        words: sequence <= words,
        vectors: sequence <= words && (embedded.get(key) ?? Infinity) <= words,
        noVector,
        extracted: isExtracted,
        noFacts: !isExtracted && failures.has(key),
        failed: errors.length > 0,
        ...(errors.length === 0 ? {} : { error: errors.join("; ") })
      }
    })
  return { add, statuses }
}

export const totalsOf = (turns: ReadonlyArray<TurnStatus>) => {
  const count = (name: "received" | "words" | "vectors" | "extracted" | "failed") => turns.filter((turn) => turn[name]).length
  return { received: count("received"), words: count("words"), vectors: count("vectors"), extracted: count("extracted"), failed: count("failed") }
}

const aboutTurn = (tenant: string, { conversation, id, user }: TurnStatus): string => noVectorAbout(memorySubject({ tenant, user, conversation }, "embedder"), id)

/** The embedder's dead letters about these turns, out of all that stand. */
const lettersAbout = (tenant: string, turns: ReadonlyArray<TurnStatus>) =>
  Effect.gen(function*() {
    const asked = new Set(turns.filter(({ noVector }) => noVector).map((turn) => aboutTurn(tenant, turn)))
    const letters: Array<StandingDeadLetter> = []
    if (asked.size > 0) yield* eachDead((letter) => void (asked.has(letter.about) && letters.push(letter)), "embedder")
    return letters
  })

/** The same turns, those without a vector with the number of the dead letter that tells of it, where it stands yet. */
export const withLetters = (tenant: string, turns: ReadonlyArray<TurnStatus>, letters: ReadonlyArray<StandingDeadLetter>): ReadonlyArray<TurnStatus> => {
  const numbers = new Map(letters.filter(({ actor }) => actor === "embedder").map(({ about, sequence }) => [about, sequence]))
  return turns.map((turn) => {
    const number = turn.noVector ? numbers.get(aboutTurn(tenant, turn)) : undefined
    return number === undefined ? turn : { ...turn, error: `${turn.error} (\`metamem dead show ${number}\`)` }
  })
}

/** How far the index of a running retriever has come, else the one kept in the home. */
const indexedThrough = Effect.gen(function*() {
  const home = yield* homeFolder
  const asked = yield* request(requestSubject("retriever", "ping"), {}, 2_000).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(PingReply)),
    Effect.map(({ through }) => ({ through, running: true })),
    Effect.option
  )
  return Option.isSome(asked) ? asked.value : { through: yield* storedCheckpoint(home), running: false }
})

/** Work that stands before each actor: signals and jobs not yet done, and how far the index is behind the log. */
const lags = (through: number) =>
  Effect.gen(function*() {
    const { jsm } = yield* Nats
    const log = yield* EventLog
    const consumers = yield* Effect.forEach(["MEMORY", "WORK"] as const, (stream) => attempt(`list the consumers of ${stream}`, () => jsm.consumers.list(stream).next()))
    const pending = consumers.flat().filter(({ config }) => config.durable_name !== undefined).map((info) => [info.name, info.num_pending + info.num_ack_pending] as const)
    return { ...Object.fromEntries(pending), index: Math.max(0, (yield* log.head("MEMORY")) - through) } as Readonly<Record<string, number>>
  })

/** Commits between two words of how far it is. */
const toldEvery = 5_000

const mark = (is: boolean, failed = false): string => (is ? "yes" : failed ? "failed" : "-")

export const status = Command.make(
  "status",
  {
    user: userFlag("Only this user's turns; without it, everybody's and the work that stands before each actor").pipe(Flag.optional),
    conversation: Flag.String("conversation").pipe(Flag.withDescription("Only this conversation"), Flag.optional),
    failed: Flag.Boolean("failed").pipe(Flag.withDescription("Only turns whose facts or vector were given up"), Flag.withDefault(false))
  },
  (input) =>
    Effect.gen(function*() {
      const { json, tenant } = yield* root
      const log = yield* EventLog
      const { running, through } = yield* indexedThrough
      const fold = turnFold()
      const filter = memoryFilter({
        tenant,
        ...(Option.isSome(input.user) ? { user: input.user.value } : {}),
        ...(Option.isSome(input.conversation) ? { conversation: input.conversation.value } : {})
      })
      const progress = progressLine()
      let read = 0
      yield* Stream.runForEach(log.read([filter]), (commit) => {
        if (++read % toldEvery === 0) progress.update(`${some(read, "commit")} read`)
        return Effect.fromResult(fold.add(commit))
      })
      progress.end()
      const statuses = fold.statuses(tenant, through)
      const all = withLetters(tenant, statuses, yield* lettersAbout(tenant, statuses))
      const turns = input.failed ? all.filter(({ failed }) => failed) : all
      const isBehind = all.some(({ extracted, noFacts, noVector, vectors }) => !(vectors || noVector) || !(extracted || noFacts))
      const hint = json || !isBehind ? undefined : yield* idleActors(["compressor", "embedder"])
      const result = { turns, totals: totalsOf(all), ...(Option.isSome(input.user) ? {} : { lags: yield* lags(through) }) }
      yield* emit(result, ({ lags, totals, turns }) =>
        [
          ...(Option.isNone(input.user) && !input.failed ? [] : [
            table([
              ["turn", "conversation", "time", "words", "vectors", "facts", "failed"],
              ...turns.slice(-200).map((turn) => [turn.id.slice(0, 12), turn.conversation, toMinute(turn.time), mark(turn.words), mark(turn.vectors, turn.noVector), mark(turn.extracted, turn.noFacts), turn.error?.slice(0, 120) ?? "-"])
            ]),
            ...(turns.length > 200 ? [`… and ${turns.length - 200} before them; --json shows all`] : [])
          ]),
          `${some(totals.received, "turn")} received, ${totals.words} searchable by words, ${totals.vectors} by vectors, ${totals.extracted} with facts extracted, ${totals.failed} failed`,
          ...(lags === undefined ? [] : [`waiting: ${Object.entries(lags).map(([name, count]) => `${name} ${count}`).join(", ")}`]),
          ...(hint === undefined ? [] : [hint]),
          ...(running ? [] : ["no retriever runs: what the index on disk does not hold yet is searchable as soon as one starts"])
        ].join("\n"))
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("Say per turn what is received, searchable, extracted or failed, and what waits"))
