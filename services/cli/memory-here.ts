/** Whether this home remembers what a run was asked about: an imported run brings its questions and answers, and no conversations. */
import { Effect, Stream } from "effect"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter } from "#shared/eventlog/subjects"
import { CommandFailed } from "./root.ts"

/** Users looked at: some may have been erased since, but hardly all. */
const usersMax = 8

/**
 * Fails where answers as of a place in the memory log cannot be had here, before anything waits for an index to get there.
 *
 * @param memoryPosition up to where the run takes its evidence
 */
export const refuseElsewhere = (tenant: string, run: string, memoryPosition: number, users: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const isKnown = (user: string) => log.read([memoryFilter({ tenant, user, actor: "ingestor" })]).pipe(Stream.take(1), Stream.runCollect, Effect.map((commits) => commits.length > 0))
    const known = (yield* log.head("MEMORY")) < memoryPosition ? [] : yield* Effect.filter(users.slice(0, usersMax), isKnown)
    if (users.length === 0 || known.length > 0) return
    return yield* new CommandFailed({
      message:
        `the conversations that ${run} was asked about are not in this home as they were: a bundle brings a run's questions and answers, and no conversations, ` +
        "so that nothing can be answered here as the run did. Give this command where the run was made; replay, effect, cost, curve and verify work here"
    })
  })
