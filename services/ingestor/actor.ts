/**
 * The ingestor: checks turns, gives them ids and times, and acknowledges when they are in the log. It never waits for anything that is
 * done with them afterwards.
 */
import { createHash } from "node:crypto"
import { Clock, Config, Context, Effect, Layer, Schedule, Schema, Stream } from "effect"
import { type EntityError, makeEntity } from "#shared/actor/entity"
import { badRequest, RequestRefused, respond } from "#shared/actor/requests"
import type { Turn } from "#shared/domain/turn"
import { onErasure } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import type { Nats } from "#shared/eventlog/nats"
import { formatPosition } from "#shared/eventlog/position"
import { encodeToken, memoryFilter, memorySubject, requestSubject } from "#shared/eventlog/subjects"
import { Positive } from "#shared/home/setting-values"
import { behaviour, printOf } from "./behaviour.ts"
import { normaliseRequest } from "./normalise/turn.ts"
import { ingestorCodec, IngestReply, IngestRequest } from "./protocol.ts"

export const settings = Config.all({
  /** Requests worked on at once. */
  concurrency: Config.schema(Positive, "METAMEM_INGESTOR_CONCURRENCY").pipe(Config.withDefault(64)),
  /** A conversation without a turn for this long is noted as idle, and what is buffered of it is settled. */
  idleSeconds: Config.schema(Positive, "METAMEM_INGESTOR_IDLE_SECONDS").pipe(Config.withDefault(300))
})

const decodeRequest = Schema.decodeUnknownEffect(IngestRequest)

/** Commits of the log looked at when an ingestor starts, for conversations left open. */
const commitsLookedBack = 20_000

/** Bytes of turns in one commit, below the limit of a message; longer requests become several commits. */
const commitLimitBytes = 7_500_000

/**
 * A client's own id is unique in its conversation at best; a memory's must be in all of a user's. An id that begins with its conversation
 * stays as it is where the conversation's name is plain; the mark after the name keeps `a:b` of one conversation apart from `b` of it.
 */
const memoryId = (conversation: string, { id, ownId }: { readonly id: string; readonly ownId: boolean }): string => {
  if (!ownId) return id
  const own = `${conversation}:`
  return id.startsWith(own) ? `${encodeToken(conversation)}:${id.slice(own.length)}` : `${encodeToken(conversation)}/${id}`
}

const chunksOf = (turns: ReadonlyArray<Turn>): ReadonlyArray<ReadonlyArray<Turn>> => {
  const chunks: Array<Array<Turn>> = [[]]
  let bytes = 0
  for (const turn of turns) {
    const size = Buffer.byteLength(JSON.stringify(turn)) + 1
    if (bytes + size > commitLimitBytes && (chunks.at(-1)?.length ?? 0) > 0) {
      chunks.push([])
      bytes = 0
    }
    chunks.at(-1)?.push(turn)
    bytes += size
  }
  return chunks
}

export class Ingestor extends Context.Service<Ingestor, {
  /** Takes the turns of one request. What it returns as accepted is in the log. */
  readonly receive: (request: IngestRequest) => Effect.Effect<IngestReply, EntityError>
}>()("metamem/ingestor/Ingestor") {
  static readonly layer: Layer.Layer<Ingestor, Config.ConfigError, EventLog> = Layer.effect(
    Ingestor,
    Effect.gen(function*() {
      const { idleSeconds } = yield* settings
      const conversations = yield* makeEntity(behaviour, 5_000)
      yield* onErasure(({ holds }) => conversations.forget(holds))
      /** Open conversations by subject: their last turn and when it came to this process, in milliseconds. */
      const open = new Map<string, { readonly at: number; readonly turn: string }>()

      /** What an ingestor that ended left open; conversations of long ago wait for their next turn. */
      yield* Effect.gen(function*() {
        const log = yield* EventLog
        const recent = log.read([memoryFilter({ actor: "ingestor" })], { after: Math.max(0, (yield* log.head("MEMORY")) - commitsLookedBack) })
        const found = new Map<string, { readonly at: number; readonly turn: string }>()
        yield* Stream.runForEach(recent, (commit) =>
          Effect.forEach(commit.events, (stored) =>
            Effect.map(Effect.fromResult(ingestorCodec.decode(stored)), (event) => {
              if (event._tag === "TurnsReceived") found.set(commit.subject, { at: Date.parse(commit.time), turn: event.turns.at(-1)?.id ?? "" })
              else found.delete(commit.subject)
            }), { discard: true }))
        for (const [subject, last] of found) if (!open.has(subject)) open.set(subject, last)
      }).pipe(Effect.catch((error) => Effect.logWarning("cannot tell which conversations were left open", error)), Effect.forkScoped)

      const receive = Effect.fnUntraced(function*(request: IngestRequest): Effect.fn.Return<IngestReply, EntityError> {
        const now = yield* Clock.currentTimeMillis
        const { ignored, rejected, turns } = normaliseRequest(request.turns, {
          tenant: request.tenant,
          conversation: request.conversation ?? "main",
          ...(request.user === undefined ? {} : { user: request.user }),
          ...(request.zone === undefined ? {} : { zone: request.zone })
        })
        const bySubject = new Map<string, Array<Turn>>()
        const arrived = new Set<string>()
        for (const { conversation, speaker, text, time, user, ...sent } of turns) {
          const subject = memorySubject({ tenant: request.tenant, user, conversation }, "ingestor")
          const turn = { id: memoryId(conversation, sent), speaker, text, time: time ?? new Date(now).toISOString() }
          if (time === undefined) arrived.add(turn.id)
          const standing = bySubject.get(subject)
          if (standing === undefined) bySubject.set(subject, [turn])
          else standing.push(turn)
        }
        let last = 0
        const fresh = new Set<string>()
        /** Prints of what stands under ids that came again, where another thing was said. */
        const others = new Map<string, string>()
        yield* Effect.forEach(
          bySubject,
          ([subject, all]) =>
            Effect.gen(function*() {
              for (const chunk of chunksOf(all)) {
                const cause = createHash("sha256").update(chunk.map((turn) => turn.id).join("\n")).digest("base64url")
                const { events, folded } = yield* conversations.execute(subject, { _tag: "ReceiveTurns", turns: chunk, arrived }, { cause })
                for (const event of events) if (event._tag === "TurnsReceived") for (const turn of event.turns) fresh.add(`${subject} ${turn.id}`)
                last = Math.max(last, folded.sequence)
                const { ended, lastTurn, turns: standing } = folded.state
                for (const turn of chunk) {
                  const print = standing.get(turn.id)
                  if (print !== undefined && print !== printOf(turn)) others.set(`${subject} ${turn.id}`, print)
                }
                if (ended === "open" && lastTurn !== undefined) open.set(subject, { at: now, turn: lastTurn })
              }
              const turn = all.at(-1)?.id ?? ""
              if (request.close === true) {
                open.delete(subject)
                const { folded } = yield* conversations.execute(subject, { _tag: "CloseConversation" }, { cause: `closed after ${turn}` })
                last = Math.max(last, folded.sequence)
              }
            }),
          { concurrency: 32, discard: true }
        )
        if (request.close === true && request.turns.length === 0 && request.user !== undefined) {
          const subject = memorySubject({ tenant: request.tenant, user: request.user, conversation: request.conversation ?? "main" }, "ingestor")
          const { state } = yield* conversations.load(subject)
          open.delete(subject)
          const { folded } = yield* conversations.execute(subject, { _tag: "CloseConversation" }, { cause: `closed after ${state.lastTurn ?? ""}` })
          last = Math.max(last, folded.sequence)
        }
        const refusals = new Map(rejected.map((refusal) => [refusal.line, refusal.error]))
        let accepted = 0
        return {
          turns: request.turns.map((_, index) => {
            const error = refusals.get(index + 1)
            if (error !== undefined) return { status: "rejected" as const, error }
            const turn = turns[accepted++]
            if (turn === undefined) throw new RangeError("a turn was neither taken nor refused")
            const key = `${memorySubject({ tenant: request.tenant, user: turn.user, conversation: turn.conversation }, "ingestor")} ${memoryId(turn.conversation, turn)}`
            if (others.has(key) && others.get(key) !== printOf(turn)) {
              return { status: "rejected" as const, error: `id ${JSON.stringify(turn.id)} is that of another turn of this conversation, which stays as it was said; give what was edited an id of its own` }
            }
            // Delete on first use: an equal client id twice in one request is taken once.
            return { status: fresh.delete(key) ? ("accepted" as const) : ("duplicate" as const), id: memoryId(turn.conversation, turn), user: turn.user, conversation: turn.conversation }
          }),
          lastPosition: formatPosition({ log: "memory", sequence: last }),
          ...(ignored.length === 0 ? {} : { ignored })
        }
      })

      yield* Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        for (const [subject, { at, turn }] of open) {
          if (now - at < idleSeconds * 1_000) continue
          open.delete(subject)
          yield* conversations
            .execute(subject, { _tag: "NoteIdle", throughTurn: turn }, { cause: `idle after ${turn}` })
            .pipe(Effect.catch((error) => {
              if (!open.has(subject)) open.set(subject, { at: now, turn })
              return Effect.logWarning("could not note an idle conversation; it is tried again later", error)
            }))
        }
      }).pipe(Effect.repeat(Schedule.spaced("5 seconds")), Effect.forkScoped)

      return Ingestor.of({ receive })
    })
  )
}

/** Answers requests to take turns until interrupted. */
export const layer: Layer.Layer<never, Config.ConfigError, EventLog | Nats> = Layer.effectDiscard(
  Effect.gen(function*() {
    const { concurrency } = yield* settings
    const ingestor = yield* Ingestor
    yield* respond({ subject: requestSubject("ingestor", "ping"), queue: "ingestor", concurrency: 1, handle: () => Effect.succeed({}) }).pipe(Effect.forkScoped)
    yield* respond({
      subject: requestSubject("ingestor", "receive"),
      queue: "ingestor",
      concurrency,
      handle: (payload) =>
        decodeRequest(payload).pipe(
          Effect.mapError((error) => badRequest(`not a request to take turns: ${error.message}`)),
          Effect.flatMap((request) => ingestor.receive(request)),
          Effect.catchTag(["TooManyConflicts", "UnreadableEvent"], (error) =>
            Effect.fail(new RequestRefused({ tag: error._tag, message: error._tag === "UnreadableEvent" ? error.message : `${error.subject} is too busy; send the turns again` })))
        )
    }).pipe(Effect.forkScoped)
  })
).pipe(Layer.provide(Ingestor.layer))

