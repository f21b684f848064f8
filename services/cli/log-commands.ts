/** Looking at the log and at what could not be processed: `log tail`, `dead list|show|retry|drop`. */
import { Console, Effect, Option, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { askedActor, countDead, dropDead, eachDead, listDead, listedMax, oneDead, retryDead, type StandingDeadLetter } from "#shared/actor/dead-letters"
import { EventLog } from "#shared/eventlog/event-log"
import type { Commit } from "#shared/eventlog/envelope"
import { formatPosition, type Position } from "#shared/eventlog/position"
import { type ActorName, decodeToken, parseResultSubject } from "#shared/eventlog/subjects"
import { logLayer, withActors } from "./home.ts"
import { CommandFailed, emit, root, say, table, WrongUsage } from "./root.ts"
import { some, timesNamed } from "./shown.ts"

const shorten = (text: string, width: number): string => (text.length > width ? `${text.slice(0, width - 1)}…` : text)

const subjectOf = ({ subject }: Commit): ReadonlyArray<string> => subject.split(".").map(decodeToken)

const viewOf = (log: Position["log"], commit: Commit) => ({
  position: formatPosition({ log, sequence: commit.sequence }), time: commit.time, subject: subjectOf(commit), inputThrough: commit.inputThrough, events: commit.events
})

/** Types in the order of the events; one that comes several times in a row is counted. */
export const typesOf = (events: ReadonlyArray<{ readonly type: string }>): string => {
  const runs: Array<{ readonly type: string; count: number }> = []
  for (const { type } of events) {
    const last = runs.at(-1)
    if (last?.type === type) last.count += 1
    else runs.push({ type, count: 1 })
  }
  return runs.map(({ count, type }) => timesNamed(type, count)).join(", ")
}

const lineOf = (commit: Commit): string =>
  `${String(commit.sequence).padStart(7)}  ${commit.time.slice(0, 19)}  ${subjectOf(commit).slice(1).join(" · ")}  ${commit.events.length === 0 ? "(water mark)" : typesOf(commit.events)}  ${
    shorten(JSON.stringify(commit.events[0]?.data ?? ""), 100)
  }`

const tail = Command.make(
  "tail",
  {
    log: Flag.Literals("log", ["memory", "metamem"]).pipe(Flag.withDefault("memory"), Flag.withDescription("Which log to show (default: memory)")),
    last: Flag.Int("last").pipe(Flag.withDefault(20), Flag.withDescription("How many of the stream's last messages to start with (default 20)")),
    follow: Flag.Boolean("follow").pipe(Flag.withDefault(false), Flag.withDescription("Go on with what is appended, until Ctrl-C; with --json a line a commit"))
  },
  ({ follow, last, log: which }) =>
    Effect.gen(function*() {
      const { json } = yield* root
      if (last < 0) return yield* new WrongUsage({ message: "--last is at least 0" })
      const log = yield* EventLog
      const head = yield* log.head(which === "memory" ? "MEMORY" : "METAMEM")
      const options = { after: Math.max(0, head - last) }
      const commits = follow ? log.follow([`${which}.>`], options) : log.read([`${which}.>`], options)
      if (json && !follow) return yield* emit({ commits: (yield* Stream.runCollect(commits)).map((commit) => viewOf(which, commit)) }, () => "")
      // What never ends cannot be one document: a line a commit.
      yield* Stream.runForEach(commits, (commit) => Console.log(json ? JSON.stringify(viewOf(which, commit)) : lineOf(commit)))
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("Show the last commits of a log"))

export const logCommand = Command.make("log").pipe(Command.withDescription("Look at the event log"), Command.withSubcommands([tail]))

/** The run and step of a letter about a run's job; empty for any other. */
export const ofRun = ({ about }: Pick<StandingDeadLetter, "about">): string => {
  const of = parseResultSubject(about)
  return of === undefined ? "" : `${of.run}, step ${of.step}`
}

const number = Argument.Int("number").pipe(Argument.withDescription("Number from `dead list`"))

const deadList = Command.make(
  "list",
  { after: Flag.Int("after").pipe(Flag.withDefault(0), Flag.withDescription(`Only those behind this number; ${listedMax} are shown at once`)) },
  ({ after }) =>
    Effect.gen(function*() {
      const letters = yield* listDead(listedMax, Math.max(0, after))
      const last = letters.at(-1)
      // A full page may be the last one.
      if (last !== undefined && letters.length === listedMax && (yield* listDead(1, last.sequence)).length > 0) {
        yield* say(`${yield* countDead} dead letters stand in all; \`metamem dead list --after ${last.sequence}\` shows the next`)
      }
      yield* emit(letters, (all) =>
        all.length === 0
          ? "no dead letters"
          : table([["number", "actor", "kind", "of", "tries", "error"], ...all.map((letter) => [String(letter.sequence), letter.actor, letter.kind, ofRun(letter), String(letter.tries), shorten(letter.error, 90)])]))
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("What could not be processed"))

const letterOf = (sequence: number) =>
  Effect.flatMap(oneDead(sequence), (letter) =>
    letter === undefined ? new CommandFailed({ message: `no dead letter ${sequence}; \`metamem dead list\` shows what stands` }) : Effect.succeed(letter))

const deadShow = Command.make("show", { number }, ({ number }) =>
  Effect.gen(function*() {
    yield* emit(yield* letterOf(number), (letter) =>
      [`${letter.actor} ${letter.kind}, ${letter.time}, ${letter.tries} tries`, `about: ${letter.about}`, `error: ${letter.error}`, `mend:  ${letter.mend}`].join("\n"))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("One dead letter, whole"))

const stays = (number: number, why: string): string => `dead letter ${number} stays: ${why}`

/** Puts all letters of a run back, a few at a time; says of those that stay why. */
const retryRun = (run: string) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const letters: Array<StandingDeadLetter> = []
    yield* eachDead((letter) => {
      const of = parseResultSubject(letter.about)
      if (of?.run === run && of.tenant === tenant) letters.push(letter)
    })
    if (letters.length === 0) return yield* new CommandFailed({ message: `no dead letter is of the run ${run}; \`metamem dead list\` shows what stands` })
    const stay: Array<{ readonly number: number; readonly why: string }> = []
    const one = (letter: StandingDeadLetter) =>
      retryDead(letter).pipe(
        Effect.catchTag("RequestRefused", ({ message }) => Effect.sync(() => void stay.push({ number: letter.sequence, why: message }))),
        Effect.andThen((isBack) => Effect.sync(() => void (isBack === false && stay.push({ number: letter.sequence, why: letter.mend }))))
      )
    yield* Effect.forEach(letters, one, { concurrency: 8, discard: true }).pipe(withActors(["reflector"]))
    const [first] = stay
    if (first !== undefined && stay.length === letters.length) return yield* new CommandFailed({ message: `none of ${some(letters.length, "dead letter")} of ${run} was put back: ${first.why}` })
    return yield* emit({ run, retried: letters.length - stay.length, stay }, ({ retried, stay }) =>
      [`${some(retried, "dead letter")} of ${run} put back`, ...(first === undefined ? [] : [`${stay.length} stay; the first: ${stays(first.number, first.why)}`])].join("\n"))
  })

const retryOne = (number: number) =>
  Effect.gen(function*() {
    const letter = yield* letterOf(number)
    const asked = askedActor(letter)
    const again = retryDead(letter).pipe(Effect.catchTag("RequestRefused", ({ message }) => new CommandFailed({ message: stays(number, message) })))
    if (!(yield* asked === undefined ? again : withActors([asked as ActorName])(again))) return yield* new CommandFailed({ message: `dead letter ${number} cannot be put back: ${letter.mend}` })
    return yield* emit({ retried: number }, () => `dead letter ${number} was put back`)
  })

const deadRetry = Command.make(
  "retry",
  { number: number.pipe(Argument.optional), run: Flag.String("run").pipe(Flag.withDescription("All letters of a run, instead of one"), Flag.optional) },
  ({ number, run }) =>
    Effect.gen(function*() {
      if (Option.isSome(number) === Option.isSome(run)) return yield* new WrongUsage({ message: "give the number of a letter, or --run R for all of a run" })
      return yield* Option.isSome(run) ? retryRun(run.value) : retryOne(Option.getOrThrow(number))
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("Have one done again, or put back where it came from; with --run all of a run's failed work, as far as its stage still waits for it"))

const deadDrop = Command.make("drop", { number }, ({ number }) =>
  Effect.gen(function*() {
    yield* letterOf(number)
    yield* dropDead(number)
    yield* emit({ dropped: number }, () => `dead letter ${number} was dropped`)
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("Drop one for good"))

export const deadCommand = Command.make("dead").pipe(
  Command.withDescription("What could not be processed: inspect, put back, drop"),
  Command.withSubcommands([deadList, deadShow, deadRetry, deadDrop])
)

