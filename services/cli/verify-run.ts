/** What `metamem verify` finds out about one run: each message whole and in its place, each decision following from its results, each result from the replies it names, each generation replayed. */
import { Effect, Result, Stream } from "effect"
import { CorruptCommit, decodeCommit, type RawMessage } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { verifyCommits } from "#shared/eventlog/replay"
import { runFilter, runSubject } from "#shared/eventlog/subjects"
import { makeVerifier } from "#services/reflector/analysis"
import { algorithmVersion } from "#services/reflector/parameters"
import { replayAll, resultOf } from "./runs.ts"
import { some } from "./shown.ts"
import { makeReplyVerifier } from "./verify-replies.ts"

/** The commit of a message; undefined where it is damaged. */
const soundCommit = (raw: RawMessage) => {
  try {
    return decodeCommit(raw)
  } catch (error) {
    if (error instanceof CorruptCommit) return undefined
    throw error
  }
}

/** Messages between two words of how far it is. */
const toldEvery = 5_000

/**
 * Everything of a run read again. A damaged message is counted and passed over; where it is one of the run's own, no generation can be replayed.
 *
 * @param tell how far it is, in words
 */
export const verifyRun = (tenant: string, run: string, tell: (line: string) => void) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const messages = log.readRaw([runFilter({ tenant, run })])
    const checked = yield* verifyCommits(messages)
    const own = runSubject({ tenant, run })
    const verifier = makeVerifier({ tenant, run })
    const said = makeReplyVerifier({ tenant, run })
    let isReadable = true
    let read = 0
    yield* messages.pipe(
      Stream.runForEach((raw) =>
        Effect.gen(function*() {
          if (++read % toldEvery === 0) tell(`${some(read, "message")} of ${run} read`)
          const commit = soundCommit(raw)
          if (commit === undefined) {
            isReadable &&= raw.subject !== own
            return
          }
          if (isReadable) yield* verifier.next(commit)
          if (isReadable && commit.subject === own) said.stage(verifier.state())
          const result = resultOf(commit)
          if (Result.isFailure(result)) return yield* result.failure
          if (result.success !== undefined) said.add(result.success, commit)
        })
      )
    )
    const decided = verifier.end()
    // Under another version of the rules nobody can say which results a decision used.
    const isComparable = isReadable && verifier.state().parameters?.algorithm === algorithmVersion
    const { changed, erased, lexicalVerdicts, missing, replies } = yield* said.end(verifier.state(), (done, of) => tell(`replies to ${done} of ${some(of, "result")} of ${run} read`))
    const generations = isReadable ? yield* replayAll(tenant, run) : []
    return {
      checked,
      missing: [...(isComparable ? decided.missing.map((key) => `result ${key} of ${run}`) : []), ...missing],
      extra: isComparable ? decided.extra.map((key) => `result ${key} of ${run}`) : [],
      changed: [...(isComparable ? decided.differing.map(({ cause, position }) => `${position} (${cause}) of ${run} does not follow from its results`) : []), ...changed],
      erased,
      replies,
      lexicalVerdicts,
      generations: generations.map(({ generation, hash, identical, sealed }) => ({ run, n: generation, sealed: sealed.hash, replayed: hash, identical }))
    }
  })
