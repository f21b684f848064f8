/** `metamem verify`: reads the log again and says whether it is whole: checksums, chains, generations, and what was erased. No model is asked. */
import { Effect, Option, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { messagesOfUsers } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { type Fault, verifyCommits } from "#shared/eventlog/replay"
import { adoptedSubject, memoryFilter, onlineSubject, runFilter } from "#shared/eventlog/subjects"
import { logLayer } from "./home.ts"
import { groupsOf, memoryHash } from "./memory-hash.ts"
import { CommandFailed, emit, progressLine, root, userFlag } from "./root.ts"
import { noSuchRun, runNames } from "./runs.ts"
import { some } from "./shown.ts"
import type { Replies, RoleReplies } from "./verify-replies.ts"
import { verifyRun } from "./verify-run.ts"

/** Runs to read: the one named, or with nothing named all of the tenant. */
const runsMeant = (tenant: string, { all, run, user }: { readonly all: boolean; readonly run: Option.Option<string>; readonly user: Option.Option<string> }) =>
  Effect.gen(function*() {
    if (Option.isNone(run)) return all || Option.isNone(user) ? yield* runNames(tenant) : []
    // Asked of the messages, since they may be damaged.
    const stands = Option.isSome(yield* (yield* EventLog).readRaw([runFilter({ tenant, run: run.value })]).pipe(Stream.runHead))
    return stands ? [run.value] : yield* yield* noSuchRun(tenant, run.value)
  })

/** Of several runs together, by role. */
const summedReplies = (all: ReadonlyArray<Replies>): Replies => {
  const total: Replies = {}
  for (const [role, own] of all.flatMap((one) => Object.entries(one) as Array<[keyof Replies, RoleReplies]>)) {
    const sum = (total[role] ??= { named: 0, rebuilt: 0, missing: 0, erased: 0 })
    for (const count of Object.keys(sum) as Array<keyof RoleReplies>) sum[count] += own[count]
  }
  return total
}

const shownMax = 10
/** Commits between two words of how far it is. */
const toldEvery = 5_000

export const verify = Command.make(
  "verify",
  {
    run: Flag.String("run").pipe(Flag.withDescription("Verify a run: its messages, that each decision follows from its results and each result from the replies it names, and its generations replayed"), Flag.optional),
    user: userFlag("Verify one user's memory and give its hash").pipe(Flag.optional),
    all: Flag.Boolean("all").pipe(Flag.withDescription("Verify all users' memories together, and every run where none is named (default when neither run nor user is given)"), Flag.withDefault(false))
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const log = yield* EventLog
      const names = yield* runsMeant(tenant, input)
      const progress = progressLine()
      const runs = yield* Effect.forEach(names, (run) => verifyRun(tenant, run, progress.update))
      const filter = Option.isSome(input.user) ? memoryFilter({ tenant, user: input.user.value }) : input.all || Option.isNone(input.run) ? memoryFilter({ tenant }) : undefined
      let read = 0
      const ofMemory = filter === undefined ? undefined : yield* verifyCommits(Stream.tap(log.readRaw([filter]), () => Effect.sync(() => {
        if (++read % toldEvery === 0) progress.update(`${some(read, "commit")} of what is remembered read`)
      })))
      const users = filter === undefined || (ofMemory?.checksumErrors ?? 0) > 0
        ? undefined
        : Option.isSome(input.user) ? new Map([[input.user.value, 1]]) : yield* messagesOfUsers(tenant)
      const hashed = users === undefined ? undefined : yield* memoryHash(tenant, groupsOf(users), (done) => progress.update(`memories of ${done} of ${some(users.size, "user")} read`))
      progress.end()
      const ofTenant = Option.isNone(input.run) && (input.all || Option.isNone(input.user)) ? yield* verifyCommits(log.readRaw([adoptedSubject(tenant), onlineSubject(tenant)])) : undefined
      const checks = [...runs.map(({ checked }) => checked), ofMemory, ofTenant].filter((check) => check !== undefined)
      const faults = (kind: Fault["kind"]) => checks.flatMap(({ faults }) => faults.filter((fault) => fault.kind === kind).map(({ message, sequence, subject }) => `${subject} at ${sequence}: ${message}`))
      const sum = (pick: (check: (typeof checks)[number]) => number) => checks.reduce((total, check) => total + pick(check), 0)
      const generations = runs.flatMap((run) => run.generations)
      const damaged = faults("checksum")
      const missing = [...faults("missing"), ...runs.flatMap((run) => run.missing)]
      const extra = [...faults("extra"), ...runs.flatMap((run) => run.extra)]
      const changed = runs.flatMap((run) => run.changed)
      const result = {
        ok: [damaged, missing, extra, changed].every((found) => found.length === 0) && generations.every(({ identical }) => identical),
        commits: sum(({ commits }) => commits),
        checksumErrors: sum(({ checksumErrors }) => checksumErrors),
        damaged, missing, extra, changed,
        erased: runs.flatMap((run) => run.erased),
        replies: summedReplies(runs.map(({ replies }) => replies)),
        lexicalVerdicts: runs.reduce((total, { lexicalVerdicts }) => total + lexicalVerdicts, 0),
        generations: generations.map(({ n, replayed, run, sealed }) => ({ run, n, sealed, replayed })),
        ...(hashed === undefined ? {} : { memories: hashed.memories, memoryHash: hashed.memoryHash }),
        modelCalls: 0
      }
      yield* emit(result, () =>
        [
          [
            `${result.ok ? "whole" : "NOT WHOLE"}: ${some(result.commits, "commit")}`, some(result.checksumErrors, "checksum error"), `${some(missing.length, "piece")} missing`, `${extra.length} too many`,
            `${changed.length} changed`, `${some(result.erased.length, "reply", "replies")} erased`
          ].join(", "),
          ...[...damaged, ...missing.map((one) => `missing: ${one}`), ...extra.map((one) => `too many: ${one}`), ...changed].slice(0, shownMax).map((line) => `  ${line}`),
          ...result.generations.map(({ n, replayed, run, sealed }) => `  generation ${n} of ${run}: ${replayed === sealed ? "identical" : "DIFFERS"}  ${replayed.slice(0, 16)}`),
          ...Object.entries(result.replies).map(([role, { erased, missing, named, rebuilt }]) =>
            `  replies of ${role}: ${named} named${rebuilt === 0 ? "" : `, ${rebuilt} found again from what was asked`}${missing === 0 ? "" : `, ${missing} missing`}${erased === 0 ? "" : `, ${erased} erased`}`),
          ...(result.lexicalVerdicts === 0 ? [] : [`  verdicts of the lexical judge: ${result.lexicalVerdicts} decided again`]),
          ...(hashed === undefined ? [] : [`  ${some(hashed.memories, "memory", "memories")}, hash ${hashed.memoryHash}`]),
          "0 model calls"
        ].join("\n"))
      if (!result.ok) return yield* new CommandFailed({ message: "the log is not whole; see above" })
    }).pipe(Effect.provide(logLayer))
).pipe(Command.withDescription("Read the log again and say whether it is whole; no model is asked"))
