/** `metamem users list|export|import|erase`: who has data here, all of one user's data in one file and back from it, and its removal. */
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { writeBundle } from "#shared/eventlog/bundle"
import { eraseUser, usersHere } from "#shared/eventlog/erasure"
import { formatPosition } from "#shared/eventlog/position"
import { callsFilter, memoryFilter, requestSubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import { logLayer, withActors } from "./home.ts"
import { CommandFailed, emit, progressLine, root, table, userFlag } from "./root.ts"
import { some } from "./shown.ts"
import { importUser } from "./user-bundle.ts"

const user = userFlag("Whose data")

/** Most of those who were only asked about that are named to people. */
const namedMax = 12

const list = Command.make("list", {}, () =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const here = yield* usersHere(tenant)
    const names = (spoke: boolean) => here.filter((one) => one.spoke === spoke).map(({ user }) => user)
    yield* emit({ users: names(true), askedAbout: names(false) }, ({ askedAbout, users }) =>
      [
        ...(users.length === 0 ? [`no user has turns in tenant ${tenant}`] : users),
        ...(askedAbout.length === 0 ? [] : [
          `only asked about, without a turn: ${askedAbout.slice(0, namedMax).join(", ")}${askedAbout.length > namedMax ? ` and ${askedAbout.length - namedMax} more (--json names all)` : ""}; \`metamem users erase\` removes what is kept of that too`
        ])
      ].join("\n"))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("Users with turns, and apart from them those of whom only questions or answers are kept"))

const exportUser = Command.make(
  "export",
  {
    user,
    out: Flag.String("out").pipe(Flag.withDescription("File to write, e.g. mira.bundle.gz")),
    force: Flag.Boolean("force").pipe(Flag.withDescription("Replace a file that stands there"), Flag.withDefault(false))
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const out = resolve(input.out)
      if (existsSync(out) && !input.force) return yield* new CommandFailed({ message: `${out} is there already; give another name, or --force to replace it` })
      if ((yield* usersHere(tenant, input.user)).length === 0) return yield* new CommandFailed({ message: `${input.user} has no data in tenant ${tenant}; \`metamem users list\` shows who has` })
      const progress = progressLine()
      progress.update(`writing ${out}`)
      const { digest, messages, streams } = yield* writeBundle(out, [memoryFilter({ tenant, user: input.user }), callsFilter(tenant, input.user)], `user ${input.user} of ${tenant}`).pipe(Effect.ensuring(Effect.sync(progress.end)))
      yield* emit({ user: input.user, file: out, messages, streams, digest }, () =>
        `${out} has ${some(messages, "message")} of ${input.user}: ${Object.entries(streams).map(([name, { messages }]) => `${messages} of ${name}`).join(", ")}. It holds all that was said, in plain text; \`metamem users import\` takes it in.`)
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("Write all commits and kept calls of a user into one bundle"))

const importCommand = Command.make(
  "import",
  { file: Argument.String("file").pipe(Argument.withDescription("Bundle written by `users export`")) },
  ({ file }) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const progress = progressLine()
      const taken = yield* importUser(resolve(file), tenant, (done, all) => progress.update(`${done} of ${some(all, "commit")}`))
      progress.end()
      yield* emit(taken, ({ added, answers, calls, conversations, facts, feedback, turns, user, vectors, wasErased }) =>
        [
          `${user}: ${some(turns, "turn")} of ${some(conversations, "conversation")}, ${some(facts, "fact")}, ${some(vectors, "vector")}, ${some(answers, "answer")}, ${some(feedback, "word")} of feedback, ${some(calls, "kept reply", "kept replies")}`,
          added === 0 ? "all of it stood here already" : `${some(added, "commit")} added${wasErased ? `; ${user} had been erased here, and is back` : ""}`
        ].join("\n"))
    }).pipe(Effect.provide(CallStore.layerJetStream), Effect.provide(logLayer))
).pipe(Command.withDescription(
  "Take in a user from a bundle, also one that was erased here: turns, facts, what was forgotten, vectors, answers and feedback as they were; questions of feedback and places in the log are found anew"
))

const erase = Command.make("erase", { user }, (input) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const progress = progressLine()
    const report = yield* Effect.gen(function*() {
      progress.update("removing messages and overwriting them on disk")
      const report = yield* eraseUser(tenant, input.user)
      progress.update("waiting for the retriever to drop them from its index")
      // The retriever asked is one of perhaps several; each drops the user as soon as it has read so far.
      yield* request(requestSubject("retriever", "await"), { position: formatPosition({ log: "memory", sequence: report.sequence }), deadlineMs: 60_000 }, 65_000)
      return report
    }).pipe(Effect.ensuring(Effect.sync(progress.end)))
    const streams = [...report.streams, { stream: "index", removed: 0, note: "dropped here; other retrievers drop it as they read on" }]
    yield* emit({ ...report, streams }, ({ erased, marks, streams, userHash }) =>
      [
        erased ? `erased; in the log this user is from now on ${userHash}` : "there was nothing more to erase",
        table(streams.map(({ note, removed, stream }) => [`  ${stream}`, String(removed), note])),
        ...(marks === 0 ? [] : [`${marks} empty marks with the user's name guard against work still in flight; erase again after an hour, when every retriever has run since, to take them away`]),
        "copies made before (exports, backups of the server's files) are not touched"
      ].join("\n"))
  }).pipe(withActors(["retriever"]))).pipe(Command.withDescription("Remove all data of a user for good; nothing but an export made before brings it back"))

export const usersCommand = Command.make("users").pipe(
  Command.withDescription("List users, export all of one user's data, take it in again, erase it"),
  Command.withSubcommands([list, exportUser, importCommand, erase])
)
