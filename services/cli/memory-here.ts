/** Whether this home's memory log is the one that a run was asked about: an imported run brings its questions and answers, and no conversations. */
import { Effect, Option, Schema, Stream } from "effect"
import { lastErasure } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, resultFilter } from "#shared/eventlog/subjects"
import { RolloutData } from "#services/retriever/protocol"
import { CommandFailed } from "./root.ts"
import { resultOf } from "./runs.ts"

const elsewhere = (run: string) =>
  new CommandFailed({
    message:
      `the conversations that ${run} was asked about are not in this home as they were: a bundle brings a run's questions and answers, and no conversations, ` +
      "so that nothing can be answered here as the run did. Give this command where the run was made; replay, effect, cost, curve and verify work here, and what-ifs that were recorded are read (`whatif --list`)"
  })

/**
 * Fails where answers as of a place in the memory log cannot be had here, before anything waits for an index to get there.
 *
 * @param memoryPosition up to where the run takes its evidence
 */
export const refuseElsewhere = (run: string, memoryPosition: number) =>
  Effect.gen(function*() {
    if ((yield* (yield* EventLog).head("MEMORY")) < memoryPosition) return yield* elsewhere(run)
  })

/** Results looked through for users who were shown something, and users looked for. */
const looked = { results: 2_000, users: 8 }

const decodeShown = Schema.decodeUnknownOption(Schema.Struct({ user: RolloutData.fields.user, evidenceIds: RolloutData.fields.evidenceIds }))

/** Some users of a run, each with memories that one attempt was shown. */
const shownIn = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const shown = new Map<string, ReadonlyArray<string>>()
    yield* (yield* EventLog).read([resultFilter({ tenant, run })]).pipe(
      Stream.take(looked.results),
      Stream.takeWhile(() => shown.size < looked.users),
      Stream.runForEach((commit) =>
        Effect.gen(function*() {
          const result = yield* Effect.fromResult(resultOf(commit))
          const found = Option.getOrUndefined(decodeShown(result?.settled.data))
          if (found !== undefined && found.evidenceIds.length > 0 && shown.size < looked.users && !shown.has(found.user)) shown.set(found.user, found.evidenceIds)
        }))
    )
    return shown
  })

/**
 * The same for a run's own evidence, also where this log is as long as the one it saw: of what its first attempts were shown, something of
 * each user has to stand here by then. Of users who were erased here nobody can tell, and of a run that was shown nothing.
 */
export const refuseOtherMemory = (tenant: string, run: string, memoryPosition: number) =>
  Effect.gen(function*() {
    yield* refuseElsewhere(run, memoryPosition)
    const log = yield* EventLog
    for (const [user, ids] of yield* shownIn(tenant, run)) {
      const named = ids.map((id) => JSON.stringify(id))
      const here = yield* log.readRaw((["ingestor", "compressor"] as const).map((actor) => memoryFilter({ tenant, user, actor }))).pipe(
        Stream.takeWhile(({ sequence }) => sequence <= memoryPosition),
        Stream.filter(({ payload }) => named.some((id) => Buffer.from(payload).includes(id))),
        Stream.runHead
      )
      if (Option.isNone(here) && (yield* lastErasure(tenant, user)) === undefined) return yield* elsewhere(run)
    }
  })
