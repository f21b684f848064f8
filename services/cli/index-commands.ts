/** Looking after the index: what is kept of it in the home, and `metamem index verify|rebuild`, done by the retriever that owns it. */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, Option, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { messagesOfUsers } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { requestSubject } from "#shared/eventlog/subjects"
import { IndexRebuildReply, IndexVerifyReply } from "#services/retriever/protocol"
import { withActors } from "./home.ts"
import { CommandFailed, emit, progressLine, root, userFlag } from "./root.ts"
import { some } from "./shown.ts"

/**
 * How far the most advanced index folder of a home has folded the memory log; 0 when there is none that can be read. For when no retriever
 * runs, which knows better.
 */
export const storedCheckpoint = (home: string): Effect.Effect<number> =>
  Effect.promise(async () => {
    const folder = join(home, "index")
    if (!existsSync(folder)) return 0
    process.env["LANCEDB_LOG"] ??= "error"
    // Loaded only here: most commands need no index.
    const [{ connect }, { readCheckpoint }] = await Promise.all([import("@lancedb/lancedb"), import("#shared/memoryindex/lancedb-rows")])
    const found = await Promise.all(
      readdirSync(folder).filter((name) => /^\d+$/.test(name)).map(async (slot) => {
        try {
          return (await readCheckpoint(await (await connect(join(folder, slot))).openTable("changes"))).checkpoint
        } catch {
          // Damaged or half made: its owner fills it again from the log.
          return 0
        }
      })
    )
    return Math.max(0, ...found)
  })

const decodeVerify = Schema.decodeUnknownEffect(IndexVerifyReply)
const decodeRebuild = Schema.decodeUnknownEffect(IndexRebuildReply)

const verify = Command.make(
  "verify",
  { user: userFlag("Only this user's memories (default: all of the tenant)").pipe(Flag.optional) },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const log = yield* EventLog
      const progress = progressLine()
      const position = formatPosition({ log: "memory", sequence: yield* log.head("MEMORY") })
      yield* request(requestSubject("retriever", "await"), { position, deadlineMs: 600_000 }, 605_000)
      const users = Option.isSome(input.user) ? [input.user.value] : [...(yield* messagesOfUsers(tenant)).keys()]
      const sum = { memories: 0, missing: 0, extra: 0, changed: 0 }
      const differences: Array<{ user: string; missing: number; extra: number; changed: number; examples: ReadonlyArray<string> }> = []
      for (const [at, user] of users.entries()) {
        const reply = yield* request(requestSubject("retriever", "index-verify"), { tenant, user }, 600_000).pipe(Effect.flatMap(decodeVerify))
        for (const name of ["memories", "missing", "extra", "changed"] as const) sum[name] += reply[name]
        const { changed, examples, extra, missing } = reply
        if (changed + extra + missing > 0) differences.push({ user, missing, extra, changed, examples })
        progress.update(`${at + 1} of ${some(users.length, "user")}`)
      }
      progress.end()
      const result = { ok: differences.length === 0, position, users: users.length, ...sum, differences }
      yield* emit(result, ({ changed, differences, extra, memories, missing, ok, users }) =>
        ok
          ? `${some(memories, "memory", "memories")} of ${some(users, "user")} in the index, as the log says`
          : [`of ${memories} memories ${missing} are missing, ${changed} differ, and ${extra} are in the index alone; \`metamem index rebuild\` mends it`, ...differences.flatMap(({ examples, user }) => examples.map((line) => `  ${user}: ${line}`)).slice(0, 20)].join("\n"))
      if (!result.ok) return yield* new CommandFailed({ message: "the index is not what the log says; `metamem index rebuild` mends it" })
    }).pipe(withActors(["retriever"]))
).pipe(Command.withDescription("Compare a retriever's index with the log"))

const rebuild = Command.make("rebuild", {}, () =>
  Effect.gen(function*() {
    const { commits, seconds, through } = yield* request(requestSubject("retriever", "index-rebuild"), {}, 6 * 3_600_000).pipe(Effect.flatMap(decodeRebuild))
    yield* emit({ commits, seconds, position: formatPosition({ log: "memory", sequence: through }) }, () => `the index was filled from ${some(commits, "commit")} in ${seconds.toFixed(1)} s and put in place`)
  }).pipe(withActors(["retriever"]))).pipe(Command.withDescription("Fill a new index from the log beside the one in use, then put it in its place"))

export const indexCommand = Command.make("index").pipe(Command.withDescription("Look after a retriever's index"), Command.withSubcommands([verify, rebuild]))
