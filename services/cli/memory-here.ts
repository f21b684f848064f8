/** Whether this home's memory log reaches as far as a run saw: an imported run brings its questions and answers, and no conversations. */
import { Effect } from "effect"
import { EventLog } from "#shared/eventlog/event-log"
import { CommandFailed } from "./root.ts"

/**
 * Fails where answers as of a place in the memory log cannot be had here, before anything waits for an index to get there.
 *
 * @param memoryPosition up to where the run takes its evidence
 */
export const refuseElsewhere = (run: string, memoryPosition: number) =>
  Effect.gen(function*() {
    if ((yield* (yield* EventLog).head("MEMORY")) >= memoryPosition) return
    return yield* new CommandFailed({
      message:
        `the conversations that ${run} was asked about are not in this home as they were: a bundle brings a run's questions and answers, and no conversations, ` +
        "so that nothing can be answered here as the run did. Give this command where the run was made; replay, effect, cost, curve and verify work here"
    })
  })
