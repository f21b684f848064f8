/**
 * A user taken out of a bundle into a log. What was recorded is given once more to the behaviours of the actors that recorded it, under the
 * causes it had: the log gets what they would have added and nothing else, what stands already is not added again, and a user's own newer
 * turns stay. Water marks and places in the log are those of the log left behind, and are found anew (decision 0015).
 */
import { randomUUID } from "node:crypto"
import { Clock, Effect, Option, Result, Schema, Stream } from "effect"
import { type Entity, type EntityError, makeEntity } from "#shared/actor/entity"
import { type Lease, Leases, leaseSeconds } from "#shared/actor/lease"
import { layerBundle } from "#shared/eventlog/bundle"
import { type Commit, commitId } from "#shared/eventlog/envelope"
import { lastErasure } from "#shared/eventlog/erasure"
import type { UnreadableEvent } from "#shared/eventlog/event"
import { EventLog } from "#shared/eventlog/event-log"
import { verifyCommits } from "#shared/eventlog/replay"
import { decodeToken, leaseSubject, type MemoryAddress, memorySubject, parseMemorySubject, runOf } from "#shared/eventlog/subjects"
import { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { behaviour as compressor } from "#services/compressor/behaviour"
import { compressorCodec, type CompressorCommand, type UnknownMemory } from "#services/compressor/protocol"
import { behaviour as embedder } from "#services/embedder/behaviour"
import { embedderCodec, type RecordVectors, type VectorMismatch } from "#services/embedder/protocol"
import { behaviour as evaluator } from "#services/evaluator/behaviour"
import { evaluatorCodec, type EvaluatorCommand, type QuestionChanged } from "#services/evaluator/protocol"
import { behaviour as ingestor, printOf } from "#services/ingestor/behaviour"
import { type IngestorCommand, ingestorCodec, type IngestorEvent } from "#services/ingestor/protocol"
import { behaviour as retriever } from "#services/retriever/behaviour"
import { retrieverCodec, type RetrieverCommand, type RetrieverEvent, type UnknownAnswer } from "#services/retriever/protocol"
import { say } from "./root.ts"

/** A file was read and its user is not taken in, or not to the end. */
export class UserImportRefused extends Schema.TaggedError<UserImportRefused>()("UserImportRefused", {
  path: Schema.String,
  /**
   * `run`: it holds a run; `foreign`: it does not hold one user; `tenant`: of another tenant; `damaged`: its commits are not whole; `exists`:
   * something else stands here under its ids. Nothing was written then. `erased`: the user was erased here meanwhile.
   */
  reason: Schema.Literals(["run", "foreign", "tenant", "damaged", "exists", "erased"]),
  message: Schema.String
}) {}

type Command =
  | { readonly actor: "ingestor"; readonly command: IngestorCommand }
  | { readonly actor: "compressor"; readonly command: CompressorCommand }
  | { readonly actor: "embedder"; readonly command: RecordVectors }
  | { readonly actor: "retriever"; readonly command: RetrieverCommand }
  | { readonly actor: "evaluator"; readonly command: EvaluatorCommand }

type Piece = Command & Pick<Commit, "subject" | "cause" | "correlation" | "binary"> & { readonly conversation: string }

const toldAgain = (event: IngestorEvent): IngestorCommand => {
  switch (event._tag) {
    case "TurnsReceived":
      return { _tag: "RecordTurns", turns: event.turns }
    case "ConversationClosed":
      return { _tag: "CloseConversation" }
    case "ConversationIdle":
      return { _tag: "NoteIdle", throughTurn: event.throughTurn }
  }
}

const saidAgain = (event: RetrieverEvent): RetrieverCommand => {
  if (event._tag === "AnswerGiven") return { _tag: "RecordAnswer", event }
  const { _tag, ...feedback } = event
  return { _tag: "RecordFeedback", ...feedback }
}

/** The commands that record a commit's events once more; none for one that holds only a water mark, an erasure mark or live questions. */
const commandsOf = ({ binary, events: stored }: Pick<Commit, "binary" | "events">, { actor }: MemoryAddress): Result.Result<ReadonlyArray<Command>, UnreadableEvent> => {
  const decoded = <Event extends { readonly _tag: string }>(codec: { readonly decode: (event: Commit["events"][number]) => Result.Result<Event, UnreadableEvent> }) =>
    Result.all(stored.map((event) => codec.decode(event)))
  switch (actor) {
    case "ingestor":
      return Result.map(decoded(ingestorCodec), (events) => events.map((event) => ({ actor, command: toldAgain(event) })))
    case "compressor":
      return Result.map(decoded(compressorCodec), (events) => {
        const [first] = events
        // Facts without the end of their segment: of a second try, where the first had been given up; or of a merge.
        const isSecondTry = events.length === 1 && first?._tag === "MemoriesRecorded" && !first.segments[0].startsWith("merged ")
        return events.length === 0 ? [] : [{ actor, command: isSecondTry ? { _tag: "RecordSecondTry", event: first } : { _tag: "RecordExtraction", events } }]
      })
    case "embedder":
      return Result.map(decoded(embedderCodec), (events) =>
        events.map(({ dimensions, ids, model }) => ({ actor, command: { _tag: "RecordVectors", model, dimensions, ids, bytes: binary.length } })))
    case "retriever":
      return Result.map(decoded(retrieverCodec), (events) => events.map((event) => ({ actor, command: saidAgain(event) })))
    case "evaluator":
      return Result.map(decoded(evaluatorCodec), (events) => {
        // A live question names its place in the log it was asked in; feedback makes it anew where it is used.
        const questions = events.flatMap(({ _tag, ...question }) => (question.asOf === undefined ? [question] : []))
        return questions.length === 0 ? [] : [{ actor, command: { _tag: "RegisterQuestions", questions } }]
      })
    default:
      return Result.succeed([])
  }
}

interface Taken {
  readonly user: string
  readonly pieces: ReadonlyArray<Piece>
  readonly calls: ReadonlyArray<StoredCall>
}

const decodeCall = Schema.decodeUnknownResult(Schema.fromJsonString(StoredCall))

/** Whose data a bundle's subjects are of; undefined for one that is no user's. */
const ownerOf = (subject: string): { readonly tenant: string; readonly user: string } | undefined => {
  try {
    if (subject.startsWith("memory.")) return parseMemorySubject(subject)
    const [, tenant = "", user = "", key] = subject.split(".").map(decodeToken)
    return key === undefined ? undefined : { tenant, user }
  } catch {
    return undefined
  }
}

/** Reads a user out of a bundle, and makes sure that all of it can be read. */
const takeOut = (path: string, tenant: string) =>
  Effect.gen(function*() {
    const refuse = (reason: UserImportRefused["reason"], message: string) => new UserImportRefused({ path, reason, message: `${path} ${message}` })
    const damaged = (what: string) => refuse("damaged", `holds a user's data that is not whole (${what}). Export it again.`)
    const log = yield* EventLog
    const run = yield* Stream.runHead(log.readRaw(["metamem.>"]))
    if (Option.isSome(run)) return yield* refuse("run", `holds the run ${runOf(run.value.subject)}: \`metamem import\` takes it in.`)
    const kept = yield* Stream.runCollect(log.readRaw(["calls.>"]))
    const said = yield* Stream.runCollect(log.readRaw(["memory.>"]))
    const owners = new Map([...said, ...kept].map(({ subject }) => ownerOf(subject)).map((owner) => [JSON.stringify([owner?.tenant, owner?.user]), owner]))
    const [owner] = owners.values()
    if (owner === undefined || owners.size > 1) return yield* refuse("foreign", "does not hold one user: take one written by `metamem users export`.")
    if (owner.tenant !== tenant) return yield* refuse("tenant", `holds ${owner.user} of tenant ${owner.tenant}, and a user keeps the tenant: give --tenant ${owner.tenant}.`)
    const { brokenChains, checksumErrors } = yield* verifyCommits(log.readRaw(["memory.>"]))
    if (brokenChains + checksumErrors > 0) return yield* damaged(`${checksumErrors} checksum errors, ${brokenChains} broken chains`)
    const pieces: Array<Piece> = []
    yield* log.read(["memory.>"]).pipe(Stream.runForEach((commit) =>
      Effect.gen(function*() {
        const address = parseMemorySubject(commit.subject)
        const commands = commandsOf(commit, address)
        if (Result.isFailure(commands)) return yield* damaged(commands.failure.message)
        const { binary, cause, correlation, subject } = commit
        // A commit has one command; were there more, each must be known by a cause of its own.
        commands.success.forEach((command, at) => pieces.push({ ...command, subject, cause: at === 0 ? cause : `${cause} ${at}`, correlation, binary, conversation: address.conversation }))
      })))
    const calls: Array<StoredCall> = []
    for (const { payload, subject } of kept) {
      const call = decodeCall(new TextDecoder().decode(payload))
      if (Result.isFailure(call)) return yield* damaged(`${subject} holds no call`)
      calls.push(call.success)
    }
    return { user: owner.user, pieces, calls } satisfies Taken as Taken
  })

const makeEntities = Effect.all({
  ingestor: makeEntity(ingestor), compressor: makeEntity(compressor), embedder: makeEntity(embedder), retriever: makeEntity(retriever), evaluator: makeEntity(evaluator)
})
type Entities = Effect.Success<typeof makeEntities>

/** Records a piece unless it stands here; true when something was added. */
const record = (
  entities: Entities,
  piece: Piece,
  seen: number
): Effect.Effect<boolean, EntityError | UnknownAnswer | UnknownMemory | VectorMismatch | QuestionChanged> => {
  const { binary, cause, correlation, subject } = piece
  const told = { cause, correlation, seen, ...(binary.length === 0 ? {} : { binary }) }
  const added = <State, C, Event extends { readonly _tag: string }, Refusal>(entity: Entity<State, C, Event, Refusal>, command: C): Effect.Effect<boolean, EntityError | Refusal> =>
    Effect.map(entity.execute(subject, command, told), ({ events, fresh }) => fresh && events.length > 0)
  switch (piece.actor) {
    case "ingestor":
      return added(entities.ingestor, piece.command)
    case "compressor":
      return added(entities.compressor, piece.command)
    case "embedder":
      return added(entities.embedder, piece.command)
    case "retriever":
      return added(entities.retriever, piece.command)
    case "evaluator":
      return added(entities.evaluator, piece.command)
  }
}

/** Fails when another thing was said here under a turn's id, or asked under a question's. */
const meets = (path: string, user: string, entities: Entities, pieces: ReadonlyArray<Piece>) =>
  Effect.forEach(pieces, (piece) =>
    Effect.gen(function*() {
      const refuse = (what: string) => new UserImportRefused({ path, reason: "exists", message: `${what} stands here already for ${user}, with another content than in ${path}; nothing was taken in. Import it into another home.` })
      if (piece.actor === "ingestor" && piece.command._tag === "RecordTurns") {
        const { turns } = (yield* entities.ingestor.load(piece.subject)).state
        const other = piece.command.turns.find((turn) => turns.has(turn.id) && turns.get(turn.id) !== printOf(turn))
        if (other !== undefined) return yield* refuse(`the turn ${other.id} of ${piece.conversation}`)
      }
      if (piece.actor === "evaluator") {
        const decision = evaluator.decide((yield* entities.evaluator.load(piece.subject)).state, piece.command)
        if (Result.isFailure(decision)) return yield* refuse(`the question ${decision.failure.id}`)
      }
    }), { discard: true })

/**
 * Without feedback that came before what stands here of the same bundle and answer: where it added nothing then, as somebody had said the same
 * here, it would now be the last word.
 */
const withoutEarlierFeedback = (entities: Entities, pieces: ReadonlyArray<Piece>) =>
  Effect.gen(function*() {
    const settled = new Set<string>()
    const earlier = new Set<Piece>()
    for (const piece of pieces.toReversed()) {
      if (piece.actor !== "retriever" || piece.command._tag !== "RecordFeedback") continue
      const { answer } = piece.command
      if (settled.has(answer)) earlier.add(piece)
      else {
        const { commitIds, epoch } = yield* entities.retriever.load(piece.subject)
        if (commitIds.has(commitId(piece.subject, piece.cause, epoch))) settled.add(answer)
      }
    }
    return pieces.filter((piece) => !earlier.has(piece))
  })

/** How long another worker's lease is waited for before the work is done beside it. */
const leaseTries = 40

/**
 * Holds the compressor off conversations until the scope closes: between a turn and what was made of it, it would make it again. A lease
 * only saves work; where it cannot be had, what both record is settled by the behaviours.
 */
const holdOff = (tenant: string, user: string) =>
  Effect.gen(function*() {
    const leases = yield* Leases
    const token = randomUUID()
    const held = new Map<string, Lease>()
    yield* Effect.addFinalizer(() => Effect.forEach(held.values(), (lease) => leases.release(lease), { concurrency: 32, discard: true }))
    yield* Effect.suspend(() => Effect.forEach([...held.values()], (lease) => leases.renew(lease), { concurrency: 32, discard: true })).pipe(
      Effect.andThen(Effect.sleep(`${leaseSeconds / 5} seconds`)),
      Effect.forever,
      Effect.forkScoped
    )
    const asked = new Set<string>()
    return (conversation: string) =>
      Effect.gen(function*() {
        if (asked.has(conversation)) return
        asked.add(conversation)
        const subject = leaseSubject("compressor", memorySubject({ tenant, user, conversation }, "compressor"))
        for (let tries = 0; tries < leaseTries; tries++) {
          const lease = yield* leases.acquire(subject, token)
          if (lease !== undefined) return void held.set(conversation, lease)
          yield* Effect.sleep("250 millis")
        }
      })
  })

/** Beyond how long a call took, for which its keeper takes it to be of before an erasure: what it allows for clocks, and some. */
const erasureMarginMs = 6_000

export interface TakenIn {
  readonly user: string
  readonly tenant: string
  /** In the bundle, whether they stood here or not. */
  readonly turns: number
  readonly conversations: number
  readonly facts: number
  readonly vectors: number
  readonly answers: number
  readonly feedback: number
  readonly calls: number
  /** Commits added to the log; 0 = all of it stood here. */
  readonly added: number
  /** True when the user had been erased here before. */
  readonly wasErased: boolean
}

/** Takes a user from a bundle into the log. The same bundle again adds nothing, and one broken off goes on where it was. */
export const importUser = (path: string, tenant: string, progress: (done: number, all: number) => void) =>
  Effect.gen(function*() {
    const { calls, pieces, user } = yield* takeOut(path, tenant).pipe(Effect.provide(layerBundle(path)))
    const log = yield* EventLog
    const store = yield* CallStore
    const entities = yield* makeEntities
    yield* meets(path, user, entities, pieces)
    const before = yield* lastErasure(tenant, user)
    const seen = yield* log.head("MEMORY")
    const erased = () => new UserImportRefused({ path, reason: "erased", message: `${user} was erased here while the data was taken in, and the rest was left out. \`metamem users erase --user\` once more removes what may have come after; or import it again.` })
    const holdCompressor = yield* holdOff(tenant, user)
    let added = 0
    const due = yield* withoutEarlierFeedback(entities, pieces)
    for (const [at, piece] of due.entries()) {
      if (piece.actor === "ingestor" || piece.actor === "compressor") yield* holdCompressor(piece.conversation)
      if (yield* record(entities, piece, seen).pipe(Effect.catchTag("ErasedMeanwhile", () => Effect.fail(erased())))) added += 1
      progress(at + 1, due.length)
    }
    if (before !== undefined && calls.length > 0) {
      // A reply kept right after an erasure is taken for one that was asked for before it.
      const from = Date.parse(before.time) + Math.max(...calls.map(({ latencyMs }) => latencyMs)) + erasureMarginMs
      const waitMs = from - (yield* Clock.currentTimeMillis)
      if (waitMs > 0) {
        yield* say(`${user} was erased here a moment ago: the ${calls.length} kept replies follow in ${Math.ceil(waitMs / 1_000)} s`)
        yield* Effect.sleep(waitMs)
      }
    }
    yield* Effect.forEach(calls, (call) => store.put(tenant, user, call.key, call), { concurrency: 32, discard: true })
    if ((yield* lastErasure(tenant, user))?.sequence !== before?.sequence) return yield* erased()
    const total = (of: (piece: Piece) => number): number => pieces.reduce((sum, piece) => sum + of(piece), 0)
    return {
      user,
      tenant,
      turns: total((piece) => (piece.actor === "ingestor" && piece.command._tag === "RecordTurns" ? piece.command.turns.length : 0)),
      conversations: new Set(pieces.flatMap((piece) => (piece.actor === "ingestor" ? [piece.conversation] : []))).size,
      facts: total((piece) =>
        piece.actor === "compressor" && piece.command._tag === "RecordExtraction"
          ? piece.command.events.reduce((sum, event) => sum + (event._tag === "MemoriesRecorded" ? event.memories.length : 0), 0)
          : 0),
      vectors: total((piece) => (piece.actor === "embedder" ? piece.command.ids.length : 0)),
      answers: total((piece) => (piece.actor === "retriever" && piece.command._tag === "RecordAnswer" ? 1 : 0)),
      feedback: total((piece) => (piece.actor === "retriever" && piece.command._tag === "RecordFeedback" ? 1 : 0)),
      calls: calls.length,
      added,
      wasErased: before !== undefined
    } satisfies TakenIn as TakenIn
  }).pipe(Effect.scoped)
