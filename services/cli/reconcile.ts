/** `metamem reconcile`: duplicate and contradicting facts are settled in quiet time; nothing is deleted, and every change can be taken back. */
import { Effect, Option, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { isOlder } from "#shared/domain/reconcile-pairs"
import { usersHere } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { requestSubject } from "#shared/eventlog/subjects"
import { type FactPair, ReconcileReply, type ReconcileRequest } from "#services/compressor/protocol"
import { CandidatesReply } from "#services/retriever/protocol"
import { withActors } from "./home.ts"
import { CommandFailed, emit, progressLine, root, userFlag } from "./root.ts"
import { oneLine, some } from "./shown.ts"

const decodeCandidates = Schema.decodeUnknownEffect(CandidatesReply)
const decodeReply = Schema.decodeUnknownEffect(ReconcileReply)

/** Facts looked at in one request, and pairs decided in one. */
const pageFacts = 400
const batchPairs = 200

/**
 * Pairs cut into requests. Those about one earlier fact stay together, since the latest word about it is what counts; of very many only
 * the latest are looked at.
 */
const batchesOf = (pairs: ReadonlyArray<FactPair>): ReadonlyArray<ReadonlyArray<FactPair>> => {
  const batches: Array<Array<FactPair>> = []
  for (const all of Map.groupBy(pairs, ({ earlier }) => earlier.id).values()) {
    const group = all.toSorted((a, b) => (isOlder(a.later, b.later) ? 1 : -1)).slice(0, batchPairs)
    const standing = batches.at(-1)
    if (standing === undefined || standing.length + group.length > batchPairs) batches.push(group)
    else standing.push(...group)
  }
  return batches
}

const candidates = (tenant: string, user: string, after: string) =>
  Effect.gen(function*() {
    const pairs: Array<FactPair> = []
    let from: number | undefined = 0
    let facts = 0
    let withoutVector = 0
    let seen = 0
    // Bounded by the user's facts: each page begins where the one before it ended.
    while (from !== undefined) {
      const page: CandidatesReply = yield* request(requestSubject("retriever", "candidates"), { tenant, user, after, from, count: pageFacts }, 120_000).pipe(Effect.flatMap(decodeCandidates))
      pairs.push(...page.pairs)
      facts = page.facts
      withoutVector += page.withoutVector
      from = page.next
      // The first page is the oldest.
      seen ||= page.seen
    }
    return { facts, pairs, seen, withoutVector }
  })

interface UserReport {
  readonly user: string
  readonly facts: number
  readonly withoutVector: number
  readonly pairs: number
  readonly decisions: { keep: number; supersede: number; merge: number; failed: number }
  readonly changes: ReadonlyArray<ReconcileReply["changes"][number]>
  readonly errors: ReadonlyArray<string>
}

const reconcileUser = (tenant: string, user: string, after: string, dryRun: boolean) =>
  Effect.gen(function*() {
    const { facts, pairs, seen, withoutVector } = yield* candidates(tenant, user, after)
    const decisions = { keep: 0, supersede: 0, merge: 0, failed: 0 }
    const changes: Array<ReconcileReply["changes"][number]> = []
    const errors: Array<string> = []
    for (const batch of batchesOf(pairs)) {
      // A model may need long for each pair; rules need none of it.
      const message: ReconcileRequest = { tenant, user, pairs: batch, dryRun, seen }
      const reply = yield* request(requestSubject("compressor", "reconcile"), message, 3_600_000).pipe(Effect.flatMap(decodeReply))
      for (const name of ["keep", "supersede", "merge", "failed"] as const) decisions[name] += reply.counts[name]
      changes.push(...reply.changes)
      errors.push(...reply.errors)
    }
    return { user, facts, withoutVector, pairs: pairs.length, decisions, changes, errors } satisfies UserReport
  })

export const reconcile = Command.make(
  "reconcile",
  {
    user: userFlag("Only this user's facts (default: every user of the tenant, one after the other)").pipe(Flag.optional),
    dryRun: Flag.Boolean("dry-run").pipe(Flag.withDescription("Say what would change and change nothing"), Flag.withDefault(false))
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const log = yield* EventLog
      const users = Option.isSome(input.user) ? [input.user.value] : (yield* usersHere(tenant)).filter(({ spoke }) => spoke).map(({ user }) => user)
      const after = formatPosition({ log: "memory", sequence: yield* log.head("MEMORY") })
      const progress = progressLine()
      const reports: Array<UserReport> = []
      for (const user of users) {
        reports.push(yield* reconcileUser(tenant, user, after, input.dryRun))
        progress.update(`${reports.length} of ${some(users.length, "user")}`)
      }
      progress.end()
      const sum = (of: (report: UserReport) => number) => reports.reduce((total, report) => total + of(report), 0)
      const changed = reports.flatMap(({ changes }) => changes).filter(({ fresh }) => fresh).length
      const result = { dryRun: input.dryRun, pairs: sum(({ pairs }) => pairs), changed, failed: sum(({ decisions }) => decisions.failed), users: reports }
      yield* emit(result, ({ changed, pairs, users }) =>
        [
          ...users.flatMap(({ changes, errors, user }) => [
            ...changes.filter(({ fresh }) => fresh).map(({ action, by, reason, replaced, text }) => `${user}: ${action} ${replaced.map((id) => id.slice(0, 12)).join(", ")} → ${by.slice(0, 12)} "${oneLine(text, 90)}" (${reason})`),
            ...errors.map((error) => `${user}: not decided: ${error}`)
          ]),
          `${some(pairs, "pair")} of ${some(users.length, "user")} looked at, ${changed} ${input.dryRun ? "would change; nothing was recorded" : "changed; `metamem memories restore` takes any of them back"}`,
          ...(sum(({ withoutVector }) => withoutVector) > 0 ? [`${some(sum(({ withoutVector }) => withoutVector), "fact")} without a vector yet, left for the next time: an embedder makes it (\`metamem up\`, \`metamem run embedder\`)`] : [])
        ].join("\n"))
      if (result.failed > 0) return yield* new CommandFailed({ message: `${some(result.failed, "pair")} could not be decided: ${reports.find(({ errors }) => errors.length > 0)?.errors[0] ?? ""}; the others were` })
    }).pipe(withActors(["retriever", "compressor"]))
).pipe(Command.withDescription("Settle duplicate and contradicting facts; reversible"))
