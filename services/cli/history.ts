/** `metamem memories show|history`: one memory, what made it, what replaced it and which answers used it, all read from the log. */
import { Effect, Result, Stream } from "effect"
import { Argument, Command } from "effect/cli"
import type { Memory } from "#shared/domain/memory"
import type { Commit } from "#shared/eventlog/envelope"
import type { UnreadableEvent } from "#shared/eventlog/event"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { memoryFilter, parseMemorySubject } from "#shared/eventlog/subjects"
import { compressorCodec } from "#services/compressor/protocol"
import { embedderCodec } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { retrieverCodec } from "#services/retriever/protocol"
import { logLayer } from "./home.ts"
import { CommandFailed, emit, root, userFlag } from "./root.ts"
import { oneLine, toMinute, toSecond } from "./shown.ts"

/** Something that happened to a memory, and where in the log it stands. */
export interface MemoryEvent {
  readonly position: string
  readonly recorded: string
  readonly event: "received" | "extracted" | "merged" | "embedded" | "superseded" | "forgotten" | "restored" | "replaced another" | "used in an answer"
  readonly detail: Readonly<Record<string, unknown>>
}

export interface RememberedMemory extends Memory {
  readonly conversation: string
  /** Id of the memory that stands for it, or `forgotten`; absent while it stands itself. */
  readonly supersededBy?: string
  readonly searchableByVector: boolean
}

interface Life {
  memory: RememberedMemory | undefined
  readonly events: Array<MemoryEvent>
}

/** Folds one user's commits into the life of each memory, in the order of the log. */
export const livesFold = () => {
  const lives = new Map<string, Life>()
  const lifeOf = (id: string): Life => {
    const life = lives.get(id) ?? { memory: undefined, events: [] }
    lives.set(id, life)
    return life
  }
  const add = (commit: Commit): Result.Result<void, UnreadableEvent> => {
    const { actor, conversation } = parseMemorySubject(commit.subject)
    const place = { position: formatPosition({ log: "memory", sequence: commit.sequence }), recorded: commit.time }
    const note = (id: string, event: MemoryEvent["event"], detail: MemoryEvent["detail"]): void => void lifeOf(id).events.push({ ...place, event, detail })
    const put = (memory: Memory): void => {
      const life = lifeOf(memory.id)
      life.memory ??= { ...memory, conversation, searchableByVector: false }
    }
    const change = (id: string, supersededBy: string | undefined): void => {
      const life = lifeOf(id)
      if (life.memory === undefined) return
      const { supersededBy: _, ...rest } = life.memory
      life.memory = supersededBy === undefined ? rest : { ...rest, supersededBy }
    }
    for (const stored of commit.events) {
      switch (actor) {
        case "ingestor": {
          const event = ingestorCodec.decode(stored)
          if (Result.isFailure(event)) return Result.fail(event.failure)
          if (event.success._tag !== "TurnsReceived") break
          for (const turn of event.success.turns) {
            put({ ...turn, kind: "turn", turns: [turn.id] })
            note(turn.id, "received", {})
          }
          break
        }
        case "compressor": {
          const decoded = compressorCodec.decode(stored)
          if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
          const event = decoded.success
          switch (event._tag) {
            case "MemoriesRecorded": {
              const { call, extractor, memories, segments, template } = event
              const isMerge = segments[0].startsWith("merged ")
              for (const memory of memories) {
                put(memory)
                note(memory.id, isMerge ? "merged" : "extracted", { extractor, template, turns: memory.turns, ...(call === undefined ? {} : { call }) })
              }
              break
            }
            case "MemorySuperseded":
              change(event.memory, event.by)
              note(event.memory, "superseded", { by: event.by, reason: event.reason })
              note(event.by, "replaced another", { memory: event.memory, reason: event.reason })
              break
            case "MemoryForgotten":
              change(event.memory, "forgotten")
              note(event.memory, "forgotten", {})
              break
            case "MemoryRestored":
              change(event.memory, undefined)
              note(event.memory, "restored", {})
              break
          }
          break
        }
        case "embedder": {
          const event = embedderCodec.decode(stored)
          if (Result.isFailure(event)) return Result.fail(event.failure)
          for (const id of event.success.ids) {
            const life = lifeOf(id)
            if (life.memory !== undefined) life.memory = { ...life.memory, searchableByVector: true }
            note(id, "embedded", { model: event.success.model })
          }
          break
        }
        case "retriever": {
          const event = retrieverCodec.decode(stored)
          if (Result.isFailure(event)) return Result.fail(event.failure)
          if (event.success._tag !== "AnswerGiven") break
          const { answer, askedAt, evidence, generation, question } = event.success
          for (const { memory, score } of evidence) note(memory, "used in an answer", { answer, question, askedAt, score, generation })
          break
        }
      }
    }
    return Result.succeed(undefined)
  }
  return { add, lives: lives as ReadonlyMap<string, Readonly<Life>> }
}

/**
 * One memory of a user by its id or how that begins, with its life, the turns it came from and what stands for it. Fails when none or
 * several begin so.
 */
export const findMemory = (user: string, begin: string) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const log = yield* EventLog
    const fold = livesFold()
    yield* Stream.runForEach(log.read([memoryFilter({ tenant, user })]), (commit) => Effect.fromResult(fold.add(commit)))
    const whole = fold.lives.get(begin)
    const found = whole?.memory !== undefined ? [whole] : [...fold.lives].flatMap(([id, life]) => (id.startsWith(begin) && life.memory !== undefined ? [life] : []))
    const [life, another] = found
    if (life?.memory === undefined) return yield* new CommandFailed({ message: `no memory of ${user} begins with ${begin}; \`metamem memories list --user ${user}\` shows them` })
    if (another !== undefined) return yield* new CommandFailed({ message: `${found.length} memories begin with ${begin}; give more of the id` })
    const { memory } = life
    const sources = memory.turns.flatMap((id) => {
      const turn = fold.lives.get(id)?.memory
      return turn === undefined || id === memory.id ? [] : [{ id, speaker: turn.speaker, time: turn.time, conversation: turn.conversation, text: turn.text, ...(turn.supersededBy === undefined ? {} : { supersededBy: turn.supersededBy }) }]
    })
    return { memory, sources, events: life.events, replacer: fold.lives.get(memory.supersededBy ?? "")?.memory }
  })

const parameters = {
  memory: Argument.String("memory").pipe(Argument.withDescription("Id of the memory, or how it begins")),
  user: userFlag("Whose memory")
}

type Source = Pick<RememberedMemory, "id" | "supersededBy">

/** True when all turns a fact was taken from are forgotten: it is left out with them. */
export const isWithoutSource = (sources: ReadonlyArray<Source>): boolean => sources.length > 0 && sources.every((turn) => turn.supersededBy === "forgotten")

const standing = ({ supersededBy }: RememberedMemory, sources: ReadonlyArray<Source>): string =>
  supersededBy === undefined ? isWithoutSource(sources) ? "forgotten with what it was taken from" : "stands" : supersededBy === "forgotten" ? "forgotten" : `superseded by ${supersededBy}`

/** Of a text shown beside others. */
const lineMax = 160
/** Of what an event says beside its name. */
const detailMax = 200

const detailText = (detail: Readonly<Record<string, unknown>>): ReadonlyArray<string> => {
  const parts = Object.entries(detail).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
  return parts.length === 0 ? [] : [parts.join(", ").slice(0, detailMax)]
}

export const show = Command.make("show", parameters, ({ memory: begin, user }) =>
  Effect.gen(function*() {
    const { memory, sources } = yield* findMemory(user, begin)
    yield* emit({ memory, sources }, ({ memory, sources }) =>
      [
        `${memory.kind} ${memory.id}, ${standing(memory, sources)}`,
        `${memory.speaker}, ${toMinute(memory.time)}, in ${memory.conversation}${memory.meant === undefined ? "" : `, about ${memory.meant}`}${memory.searchableByVector ? "" : ", no vector yet"}`,
        memory.text,
        ...(sources.length === 0 ? [] : ["from:", ...sources.map(({ id, speaker, text }) => `  ${id.slice(0, 12)}  ${speaker}: ${oneLine(text, lineMax)}`)])
      ].join("\n"))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("One memory, whole, with the turns it came from"))

export const history = Command.make("history", parameters, ({ memory: begin, user }) =>
  Effect.gen(function*() {
    const { events, memory, sources } = yield* findMemory(user, begin)
    const answers = events.filter(({ event }) => event === "used in an answer").map(({ detail, position }) => ({ position, ...detail }))
    yield* emit({ memory, sources, events, answers }, ({ events, memory, sources }) =>
      [
        `${memory.kind} ${memory.id}, ${standing(memory, sources)}: ${oneLine(memory.text, lineMax)}`,
        ...events.map(({ detail, event, position, recorded }) => ["", toSecond(recorded), position, event, ...detailText(detail)].join("  "))
      ].join("\n"))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("What made a memory, what replaced it, and which answers used it"))
