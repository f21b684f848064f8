/** `metamem ingest`: turns from a file of any known format or from stdin as they come, acknowledged when they are in the log. */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { open } from "node:fs/promises"
import { createGunzip } from "node:zlib"
import { Effect, Option, Schema, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { readDataset } from "#shared/datasets/read-dataset"
import { parsePosition } from "#shared/eventlog/position"
import { requestSubject } from "#shared/eventlog/subjects"
import { type IgnoredField, ignoredFields } from "#shared/importers/ignored-fields"
import { importTurns } from "#shared/importers/import-turns"
import { RejectedTurn } from "#shared/importers/rejected-turn"
import { type Chunks, NotImportable } from "#shared/importers/values"
import { IngestReply, type IngestRequest } from "#services/ingestor/protocol"
import { withActors } from "./home.ts"
import { ignoredLine } from "./ignored-line.ts"
import { CommandFailed, emit, progressLine, root, say, userFlag } from "./root.ts"
import { some } from "./shown.ts"

const decodeIngestReply = Schema.decodeUnknownEffect(IngestReply)

/** Sends turns to the ingestor; what it says is accepted is in the log. */
export const sendTurns = (message: IngestRequest) =>
  request(requestSubject("ingestor", "receive"), message, 60_000).pipe(Effect.flatMap(decodeIngestReply))

/** A turn on its way in, with the line or element it came from. */
export interface PlacedTurn {
  readonly line: number
  readonly turn: Readonly<Record<string, unknown>>
}

/** Turns in one request at most, and bytes: below what one message may have. */
const requestTurns = 500
const requestBytes = 6_000_000

/** Cuts turns into requests by number and size. A turn larger than a request goes alone, and is refused where it is checked. */
export const requestsOf = (turns: ReadonlyArray<PlacedTurn>): ReadonlyArray<ReadonlyArray<PlacedTurn>> => {
  const requests: Array<Array<PlacedTurn>> = []
  let bytes = Infinity
  for (const placed of turns) {
    const own = Buffer.byteLength(JSON.stringify(placed.turn))
    const standing = requests.at(-1)
    if (standing === undefined || bytes + own > requestBytes || standing.length >= requestTurns) {
      requests.push([placed])
      bytes = own
    } else {
      standing.push(placed)
      bytes += own
    }
  }
  return requests
}

/**
 * Gives equal turns of one input ids that tell them apart, so that the whole input counts as one request however it is cut: nothing said
 * twice is lost, and sending the input again adds nothing. Turns with an id of their own stay as they are.
 */
export const numberRepeats = (): (placed: PlacedTurn) => PlacedTurn => {
  const seen = new Map<string, number>()
  return (placed) => {
    if (placed.turn["id"] !== undefined) return placed
    const key = createHash("sha256").update(JSON.stringify(placed.turn)).digest("base64url").slice(0, 24)
    const before = seen.get(key) ?? 0
    seen.set(key, before + 1)
    return before === 0 ? placed : { ...placed, turn: { ...placed.turn, id: `${key}-${before}` } }
  }
}

const unreadable = (file: string, error: unknown) =>
  error instanceof NotImportable
    ? error
    : new CommandFailed({ message: `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}` })

const isGzip = async (file: string): Promise<boolean> => {
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0)
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b
  } finally {
    await handle.close()
  }
}

async function* chunksOf(file: string): Chunks {
  if (!(await isGzip(file))) return yield* createReadStream(file)
  const source = createReadStream(file)
  const plain = createGunzip()
  source.on("error", (error) => plain.destroy(error))
  yield* source.pipe(plain)
}

/** What the ingestor would say of each turn, which knows of no flags. */
const noUser = `no user; say with --user NAME whose the turns are that name none, or with "user" in each`

/**
 * Turns and refusals of a file or of stdin; of a benchmark's data set its conversations, never its questions.
 *
 * @param note is told of fields that nothing reads
 * @param isUserGiven for turns that name none
 */
const turnsOf = (file: string, note: ReturnType<typeof ignoredFields>["note"], isUserGiven: boolean): Stream.Stream<PlacedTurn | RejectedTurn, CommandFailed | NotImportable> => {
  const isLive = file === "-"
  const numbered = numberRepeats()
  return Stream.suspend(() => Stream.fromAsyncIterable(importTurns(isLive ? process.stdin : chunksOf(file), isLive), (error) => unreadable(file, error))).pipe(
    Stream.map((one) => {
      if (one instanceof RejectedTurn) return one
      const turn = one.raw as PlacedTurn["turn"]
      note(one.unread, turn)
      return isUserGiven || (turn["user"] ?? undefined) !== undefined ? numbered({ line: one.line, turn }) : new RejectedTurn({ line: one.line, reason: "user", error: noUser })
    }),
    Stream.catchTag("NotImportable", (error) =>
      error.dataset === undefined || isLive ? Stream.fail(new CommandFailed({ message: error.message })) : Stream.unwrap(datasetTurns(file)))
  )
}

const datasetTurns = (file: string) =>
  readDataset(file).pipe(
    Effect.mapError((error) => new CommandFailed({ message: error.message })),
    Effect.map(({ users }) =>
      Stream.fromIterable(
        users.flatMap(({ conversations, user }, row) =>
          conversations.flatMap(({ conversation, turns }) =>
            turns.map(({ clientId, speaker, text, time }): PlacedTurn => ({ line: row + 1, turn: { user, conversation, id: clientId, speaker, text, time } }))))
      )
    )
  )

/** Kinds of refusals printed for people. */
const refusalsShown = 20

/** Refusals for people, equal ones as one. */
export const refusalLines = (rejected: ReadonlyArray<{ readonly line: number; readonly error: string }>): ReadonlyArray<string> => {
  const kinds = new Map<string, Array<number>>()
  for (const { error, line } of rejected) {
    const lines = kinds.get(error)
    if (lines === undefined) kinds.set(error, [line])
    else lines.push(line)
  }
  const shown = [...kinds].slice(0, refusalsShown)
  const left = rejected.length - shown.reduce((sum, [, lines]) => sum + lines.length, 0)
  return [
    ...shown.map(([error, lines]) => `  ${lines.length === 1 ? "" : `${lines.length} times, first in `}line ${lines[0]}: ${error}`),
    ...(left > 0 ? [`  … and ${left} more; --json shows all`] : [])
  ]
}

interface IngestSummary {
  received: number
  duplicates: number
  rejected: Array<{ line: number; error: string }>
  lastPosition: string
  ignored: ReadonlyArray<IgnoredField>
}

export const ingest = Command.make(
  "ingest",
  {
    file: Argument.String("file").pipe(
      Argument.withDescription("Turns as JSONL ({user, conversation, speaker, text, time, id}, the last two at will; times without a zone are UTC), OpenAI chats (JSON or JSONL), a ChatGPT or Claude export, a LongMemEval, LoCoMo or BEAM file; `-` reads from stdin as it comes")
    ),
    user: userFlag("User of turns that name none").pipe(Flag.optional),
    conversation: Flag.String("conversation").pipe(Flag.withDescription("Conversation of turns that name none (default: main)"), Flag.optional),
    close: Flag.Boolean("close").pipe(Flag.withDescription("Close the conversations at the end: nothing more is expected"), Flag.withDefault(false))
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const summary: IngestSummary = { received: 0, duplicates: 0, rejected: [], lastPosition: "", ignored: [] }
      const ignored = ignoredFields()
      const progress = progressLine()
      const defaults = {
        tenant,
        ...(Option.isSome(input.user) ? { user: input.user.value } : {}),
        ...(Option.isSome(input.conversation) ? { conversation: input.conversation.value } : {})
      }
      const seen = new Map<string, { user: string; conversation: string }>()
      const send = (placed: ReadonlyArray<PlacedTurn>) =>
        Effect.gen(function*() {
          const reply = yield* sendTurns({ ...defaults, turns: placed.map(({ turn }) => turn) })
          reply.turns.forEach((turn, index) => {
            if (turn.status === "accepted") summary.received += 1
            else if (turn.status === "duplicate") summary.duplicates += 1
            else summary.rejected.push({ line: placed[index]?.line ?? 0, error: turn.error ?? "refused" })
            if (turn.user !== undefined && turn.conversation !== undefined) seen.set(`${turn.user}\n${turn.conversation}`, { user: turn.user, conversation: turn.conversation })
          })
          if ((parsePosition(reply.lastPosition)?.sequence ?? 0) > 0) summary.lastPosition = reply.lastPosition
          progress.update(`${some(summary.received, "turn")} received`)
        }).pipe(
          // Refused for its size before anybody looked at it; only a single turn can be.
          Effect.catchIf(
            (error) => placed.length === 1 && error._tag === "RequestRefused" && error.tag === "QuestionTooLarge",
            (error) => Effect.sync(() => void summary.rejected.push({ line: placed[0]?.line ?? 0, error: error.message }))
          )
        )
      yield* turnsOf(input.file, ignored.note, Option.isSome(input.user)).pipe(
        // Together what is there, at once what trickles in.
        Stream.groupedWithin(requestTurns, "30 millis"),
        Stream.runForEach((group) => {
          const turns: Array<PlacedTurn> = []
          for (const one of group) {
            if (one instanceof RejectedTurn) summary.rejected.push({ line: one.line ?? 0, error: one.error })
            else turns.push(one)
          }
          return Effect.forEach(requestsOf(turns), send, { discard: true })
        }),
        // What was acknowledged stands, and is not taken twice.
        Effect.mapError((error) =>
          summary.received + summary.duplicates === 0
            ? error
            : new CommandFailed({ message: `${error.message}\n${some(summary.received + summary.duplicates, "turn")} acknowledged before that; the same command goes on behind them` }))
      )
      if (input.close) for (const of of seen.values()) yield* sendTurns({ tenant, ...of, turns: [], close: true })
      progress.end()
      summary.rejected.sort((a, b) => a.line - b.line)
      summary.ignored = ignored.told()
      const line = ignoredLine(summary.ignored, ignored.more())
      if (line !== undefined) yield* say(line)
      yield* emit(summary, ({ duplicates, received, rejected }) =>
        [`${some(received, "turn")} received, ${duplicates} known before, ${rejected.length} refused`, ...refusalLines(rejected)].join("\n"))
      if (summary.rejected.length > 0) {
        const taken = summary.received + summary.duplicates
        return yield* new CommandFailed({ message: taken === 0 ? "no turn was taken" : `refused: ${summary.rejected.length}; the other ${taken === 1 ? "one is" : `${taken} are`} in the log` })
      }
    }).pipe(withActors(["ingestor"]))
).pipe(Command.withDescription("Take turns in; acknowledged means they are in the log on disk. Exits with 1 when any was refused, though all others are taken"))
