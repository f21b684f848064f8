/** What `metamem verify` finds out about one run: each message whole and in its place, each decision following from its results, each generation replayed. */
import { Effect, Option, Result, Stream } from "effect"
import { CorruptCommit, decodeCommit, type RawMessage } from "#shared/eventlog/envelope"
import { lastErasure, markHours } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { verifyCommits } from "#shared/eventlog/replay"
import { memoryFilter, runFilter, runSubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import { makeVerifier } from "#services/reflector/analysis"
import { algorithmVersion } from "#services/reflector/parameters"
import { replayAll, resultOf } from "./runs.ts"

/** The commit of a message; undefined where it is damaged. */
const soundCommit = (raw: RawMessage) => {
  try {
    return decodeCommit(raw)
  } catch (error) {
    if (error instanceof CorruptCommit) return undefined
    throw error
  }
}

/** A reply that a result refers to, and when that was settled. */
interface Referred {
  readonly key: string
  readonly time: string
}

/**
 * Replies that results refer to and that are gone: of users that were erased, which is no damage, and of others. Who was erased may have
 * come back, and what was settled since then has to be there; work begun before an erasure may be settled after it.
 */
const goneReplies = (tenant: string, byUser: ReadonlyMap<string, ReadonlyArray<Referred>>) =>
  Effect.gen(function*() {
    const store = yield* CallStore
    const log = yield* EventLog
    const missing: Array<string> = []
    const erased: Array<string> = []
    const unseen = new Map([...byUser].map(([user, referred]) => [user, new Set(referred.map(({ key }) => key))] as const))
    yield* store.each(tenant, unseen.keys(), ({ key }, user) => void unseen.get(user)?.delete(key))
    for (const [user, referred] of byUser) {
      const gone = referred.filter(({ key }) => unseen.get(user)?.has(key))
      if (gone.length === 0) continue
      const stands = Option.isSome(yield* log.readRaw([memoryFilter({ tenant, user })]).pipe(Stream.runHead))
      const erasure = yield* lastErasure(tenant, user)
      const until = erasure === undefined ? Number.NEGATIVE_INFINITY : Date.parse(erasure.time) + markHours * 3_600_000
      for (const { key, time } of gone) (stands && Date.parse(time) > until ? missing : erased).push(`reply ${key}`)
    }
    return { missing, erased }
  })

/** Everything of a run read again. A damaged message is counted and passed over; where it is one of the run's own, no generation can be replayed. */
export const verifyRun = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const messages = log.readRaw([runFilter({ tenant, run })])
    const checked = yield* verifyCommits(messages)
    const own = runSubject({ tenant, run })
    const verifier = makeVerifier({ tenant, run })
    const replies = new Map<string, Array<Referred>>()
    let isReadable = true
    yield* messages.pipe(
      Stream.runForEach((raw) =>
        Effect.gen(function*() {
          const commit = soundCommit(raw)
          if (commit === undefined) {
            isReadable &&= raw.subject !== own
            return
          }
          if (isReadable) yield* verifier.next(commit)
          const result = resultOf(commit)
          if (Result.isFailure(result)) return yield* result.failure
          const { callKey, user } = (result.success?.settled.data ?? {}) as Record<string, unknown>
          if (result.success?.address.kind !== "rollout" || typeof callKey !== "string" || typeof user !== "string") return
          const referred = { key: callKey, time: commit.time }
          const ofUser = replies.get(user)
          if (ofUser === undefined) replies.set(user, [referred])
          else ofUser.push(referred)
        })
      )
    )
    const decided = verifier.end()
    // Under another version of the rules nobody can say which results a decision used.
    const isComparable = isReadable && verifier.state().parameters?.algorithm === algorithmVersion
    const { erased, missing } = yield* goneReplies(tenant, replies)
    const generations = isReadable ? yield* replayAll(tenant, run) : []
    return {
      checked,
      missing: [...(isComparable ? decided.missing.map((key) => `result ${key} of ${run}`) : []), ...missing],
      extra: isComparable ? decided.extra.map((key) => `result ${key} of ${run}`) : [],
      changed: isComparable ? decided.differing.map(({ cause, position }) => `${position} (${cause}) of ${run} does not follow from its results`) : [],
      erased,
      generations: generations.map(({ generation, hash, identical, sealed }) => ({ run, n: generation, sealed: sealed.hash, replayed: hash, identical }))
    }
  })
