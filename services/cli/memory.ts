/** Commands about one user's memories: `ask`, `memories list|show|history|forget|restore`; the others have files of their own. */
import { Effect, Option, Result, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition, parsePosition, positionProblem } from "#shared/eventlog/position"
import { requestSubject } from "#shared/eventlog/subjects"
import { normaliseTime } from "#shared/domain/time"
import { AskPart, AskReply, deadlineMsMax, deadlineMsMin, MemoriesReply } from "#services/retriever/protocol"
import { build } from "./build.ts"
import { feedback } from "./feedback.ts"
import { idleActors, withActors } from "./home.ts"
import { findMemory, history, isWithoutSource, show } from "./history.ts"
import { indexCommand } from "./index-commands.ts"
import { ingest } from "./ingest.ts"
import { reconcile } from "./reconcile.ts"
import { replayRun } from "./runs.ts"
import { CommandFailed, emit, root, table, userFlag, WrongUsage } from "./root.ts"
import { oneLine, toMinute } from "./shown.ts"
import { status } from "./status.ts"
import { usersCommand } from "./users.ts"

const user = userFlag("Whose memory")
const time = (name: string, what: string) => Flag.String(name).pipe(Flag.withDescription(what), Flag.optional)

const kind = Flag.Literals("kind", ["turn", "fact"]).pipe(Flag.withDescription("Only turns or only facts"), Flag.optional)

/** Which of a user's memories: the same for all that find or list them. */
const filters = {
  asOf: time("as-of", "At a position of the log (memory:0:0:17): only what stood in the log then; at a time: only what had been said by then, however late it came in"),
  conversation: time("conversation", "Only this conversation"),
  kind,
  from: time("from", "Only what was said at this time or later"),
  to: time("to", "Only what was said at this time or earlier")
}

const isoOf = (given: Option.Option<string>): Effect.Effect<{ readonly at?: string }, WrongUsage> =>
  Option.isNone(given)
    ? Effect.succeed({})
    : Effect.fromResult(normaliseTime(given.value)).pipe(
      Effect.map((at) => ({ at })),
      Effect.mapError((error) => new WrongUsage({ message: error.message }))
    )

const filterOf = Effect.fnUntraced(function*({ asOf, conversation, from: since, kind, to: until }: { readonly [name in "asOf" | "conversation" | "from" | "to"]: Option.Option<string> } & { readonly kind: Option.Option<"turn" | "fact"> }) {
  const [from, to] = yield* Effect.all([isoOf(since), isoOf(until)])
  if (Option.isSome(asOf) && parsePosition(asOf.value) === undefined) {
    yield* isoOf(asOf).pipe(Effect.mapError(({ message }) => new WrongUsage({ message: positionProblem(asOf.value) ?? `${message}; or a position in the log as memory:0:0:17` })))
  }
  return {
    ...(Option.isSome(asOf) ? { asOf: asOf.value } : {}),
    ...(Option.isSome(conversation) ? { conversation: conversation.value } : {}),
    ...(Option.isSome(kind) ? { kinds: [kind.value] } : {}),
    ...(from.at === undefined ? {} : { from: from.at }),
    ...(to.at === undefined ? {} : { to: to.at })
  }
})

const decodeAsk = Schema.decodeUnknownEffect(AskReply)
const decodeMemories = Schema.decodeUnknownEffect(MemoriesReply)

const decodePart = Schema.decodeUnknownResult(AskPart)

/** Shows an answer while it is written. */
export const shownAnswer = (write: (text: string) => void) => {
  let shown = ""
  return {
    part: (part: unknown): void => {
      const decoded = decodePart(part)
      if (Result.isFailure(decoded)) return
      const text = "text" in decoded.success ? decoded.success.text : "\n(begun again)\n"
      shown = "text" in decoded.success ? shown + text : ""
      write(text)
    },
    /** What is left to print: nothing where all of the answer was shown. */
    rest: (marked: string): string => (shown === "" ? marked : shown.trim() === marked ? "" : `\n(what was shown broke off or was put right; the answer is:)\n${marked}`)
  }
}

const evidenceMax = 8

/** The evidence an answer rests on and the best beside it, in the order of time. */
export const evidenceText = ({ citations, evidence }: Pick<AskReply, "citations" | "evidence">): string => {
  const cited = new Set(citations.map(({ number }) => number))
  const numbered = evidence.map((item, at) => ({ ...item, number: at + 1 }))
  const best = new Set(numbered.toSorted((a, b) => b.score - a.score).slice(0, evidenceMax))
  const shown = numbered.filter((item) => cited.has(item.number) || best.has(item))
  return table(shown.map(({ conversation, number, speaker, text, time }) => [`${cited.has(number) ? " *" : "  "}[${number}]`, toMinute(time), speaker, conversation, oneLine(text, 110)]))
}

const restsOn = ({ citations, evidence }: AskReply): string => {
  if (evidence.length === 0) return "no evidence was found"
  const which = evidence.length > evidenceMax ? `the best of ${evidence.length}` : `all ${evidence.length}`
  const marked = citations.length === 0 ? "" : `; * = the answer rests on it, ${citations[0]?.by === "reader" ? "as the reader says" : "by the words they share"}`
  return `evidence (${which}, in the order of time${marked}):`
}

const answeredBy = ({ answerId, behind, generation: { generation, run }, latencyMs }: AskReply): string => {
  const guide = run === "" ? "no principles adopted" : `guided by generation ${generation} of ${run}`
  return `answer ${answerId}, ${latencyMs} ms, ${guide}${behind.length === 0 ? "" : `; behind: ${behind.join(", ")}`}`
}

const ask = Command.make(
  "ask",
  {
    question: Argument.String("question").pipe(Argument.withDescription("What to answer, in words; quotes keep it one argument")),
    user,
    at: time("at", "When the question is asked, e.g. 2026-04-20T10:00:00Z (default: now)"),
    after: time("after", "Wait until everything up to this position can be found"),
    ...filters,
    run: time("run", "Answer as a generation of this run would"),
    generation: Flag.Int("generation").pipe(Flag.withDescription("Which generation of the run"), Flag.optional),
    deadline: Flag.Int("deadline-ms").pipe(Flag.withDescription("Time limit in milliseconds; what is not ready by then is left out and said (default 30000)"), Flag.withDefault(30_000))
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      if (input.question.trim() === "") return yield* new WrongUsage({ message: "the question is empty" })
      if (input.deadline < deadlineMsMin || input.deadline > deadlineMsMax) return yield* new WrongUsage({ message: `--deadline-ms is a number from ${deadlineMsMin} to ${deadlineMsMax}` })
      if (Option.isSome(input.run) !== Option.isSome(input.generation)) return yield* new WrongUsage({ message: "--run and --generation go together" })
      const at = yield* isoOf(input.at)
      const filter = yield* filterOf(input)
      if (Option.isSome(input.after) && parsePosition(input.after.value)?.log !== "memory") return yield* new WrongUsage({ message: `--after is a position of the memory log, as \`ingest\` tells it; "${input.after.value}" is none` })
      const guided = Option.isSome(input.run) && Option.isSome(input.generation)
        ? yield* Effect.map(replayRun(tenant, input.run.value, input.generation.value), (replayed) => ({
          generation: { run: replayed.run, generation: replayed.generation },
          principles: replayed.sealed.principles
        }))
        : {}
      const { json } = yield* root
      const answer = shownAnswer((text) => void process.stdout.write(text))
      const reply = yield* request(
        requestSubject("retriever", "ask"),
        {
          tenant,
          user: input.user,
          question: input.question,
          deadlineMs: input.deadline,
          ...at,
          ...guided,
          ...filter,
          ...(Option.isSome(input.after) ? { after: input.after.value } : {})
        },
        input.deadline + 5_000,
        json ? undefined : answer.part
      ).pipe(Effect.flatMap(decodeAsk))
      const hint = json || !reply.behind.includes("vectors") ? undefined : yield* idleActors(["embedder"])
      yield* emit(reply, (reply) =>
        [
          answer.rest(reply.marked),
          "",
          restsOn(reply),
          ...(reply.evidence.length === 0 ? [] : [evidenceText(reply)]),
          answeredBy(reply),
          ...(hint === undefined ? [] : [hint])
        ].join("\n"))
    }).pipe(withActors(["retriever"], true))
).pipe(Command.withDescription("Answer a question from a user's memories"))

/** Of each memory's text in the list. */
const shownCharacters = 100

const list = Command.make(
  "list",
  {
    user,
    ...filters,
    limit: Flag.Int("limit").pipe(Flag.withDescription("At most so many, the latest first (default 50)"), Flag.withDefault(50))
  },
  (input) =>
    Effect.gen(function*() {
      const { json, tenant } = yield* root
      if (input.limit < 1) return yield* new WrongUsage({ message: "--limit is at least 1" })
      const filter = yield* filterOf(input)
      const { memories: shown } = yield* request(
        requestSubject("retriever", "memories"),
        {
          tenant,
          user: input.user,
          limit: input.limit,
          ...(json ? {} : { textMax: shownCharacters * 4 }),
          after: formatPosition({ log: "memory", sequence: yield* (yield* EventLog).head("MEMORY") }),
          ...filter
        },
        30_000
      ).pipe(Effect.flatMap(decodeMemories))
      yield* emit({ memories: shown }, () =>
        shown.length === 0
          ? `nothing is remembered of ${input.user}${Object.keys(filter).length === 0 ? "" : " that these filters let through"}${filter.kinds?.includes("fact") === true ? `; \`metamem status --user ${input.user}\` tells of turns whose facts are still to come` : ""}`
          : table(shown.map(({ conversation, id, kind, speaker, supersededBy, text, time }) => {
            const mark = supersededBy === undefined ? "" : supersededBy === "forgotten" ? "(forgotten) " : "(superseded) "
            return [id.slice(0, 12), kind, toMinute(time), conversation, speaker, `${mark}${oneLine(text, shownCharacters)}`]
          })))
    }).pipe(
      Effect.catchIf(
        (error) => error._tag === "RequestRefused" && error.tag === "AnswerTooLarge",
        (error) => new CommandFailed({ message: `${error.message} A lower --limit does, or --from and --to.` })
      ),
      withActors(["retriever"])
    )
).pipe(Command.withDescription("What is remembered of a user; as of a point, what stood then"))

type Found = Effect.Success<ReturnType<typeof findMemory>>

const forgottenNote = ({ id, kind }: Found["memory"], sources: Found["sources"], changed: boolean): string =>
  [
    changed
      ? `${id} is left out of evidence from here on${kind === "turn" ? ", and facts taken from it alone with it" : ""}; \`metamem memories restore\` takes it back`
      : `nothing was changed: ${id} is forgotten already`,
    ...sources.flatMap(({ id, supersededBy }) => (supersededBy === undefined ? [`the turn ${id} it was taken from still stands; forget it too if its words are not to be used`] : []))
  ].join("\n")

const restoredNote = ({ id }: Found["memory"], sources: Found["sources"], changed: boolean): string => {
  const withTurns = isWithoutSource(sources) ? `what it was taken from is forgotten, and it is left out of evidence with that; \`metamem memories restore ${sources[0]?.id}\` takes both back` : undefined
  if (changed) return [`${id} is back`, ...(withTurns === undefined ? [] : [withTurns])].join(", but ")
  return `nothing was changed: ${id} was neither forgotten nor replaced${withTurns === undefined ? ", and is found as before" : `, but ${withTurns}`}`
}

/** Changes one memory, found by its id or the beginning of it. */
const change = (name: "forget" | "restore", tag: "Forget" | "Restore", description: string) =>
  Command.make(name, { memory: Argument.String("memory").pipe(Argument.withDescription("Id of the memory, or how it begins")), user }, (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const { memory, replacer, sources } = yield* findMemory(input.user, input.memory)
      // A replacement stands in the conversation of what replaced it, and is taken back there.
      let isChanged = false
      for (const conversation of new Set([memory.conversation, ...(tag === "Restore" && replacer !== undefined ? [replacer.conversation] : [])])) {
        const reply = yield* request(
          requestSubject("compressor", "change"),
          { tenant, user: input.user, conversation, cause: `${name} ${memory.id} ${crypto.randomUUID()}`, command: { _tag: tag, memory: memory.id } },
          10_000
        )
        isChanged ||= (reply as { changed: boolean }).changed
      }
      const note = (name === "restore" ? restoredNote : forgottenNote)(memory, sources, isChanged)
      yield* emit({ memory: memory.id, changed: isChanged, note }, ({ note }) => note)
    }).pipe(withActors(["compressor"]))).pipe(Command.withDescription(description))

const memories = Command.make("memories").pipe(
  Command.withDescription("List, show, forget and restore memories"),
  Command.withSubcommands([
    list,
    show,
    history,
    change("forget", "Forget", "Leave a memory out of evidence"),
    change("restore", "Restore", "Take a forgotten or superseded memory back")
  ])
)

export const memoryCommands = [ingest, build, ask, memories, feedback, status, reconcile, usersCommand, indexCommand] as const
