import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import { layer } from "#shared/eventlog/memory-log"
import { memorySubject } from "#shared/eventlog/subjects"
import { refuseElsewhere } from "#services/cli/memory-here"
import { effect } from "../../support/effect.ts"

const test = suite("where a run's conversations are")

const events = [{ type: "X", version: 1, data: {} }]

effect(test, "a run is asked anew only where its conversations are, as far as it saw them", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    yield* log.append({ subject: memorySubject({ tenant: "t", user: "other", conversation: "c" }, "ingestor"), cause: "1", events }, 0, "")
    const refused = (memoryPosition: number) => Effect.map(Effect.result(refuseElsewhere("r", memoryPosition)), (result) => (result._tag === "Failure" ? String(result.failure) : undefined))
    const head = yield* log.head("MEMORY")
    assert.is(yield* refused(head), undefined)
    // A place that this log has not: it is of another.
    assert.match((yield* refused(head + 1)) ?? "", /conversations that r was asked about are not in this home/)
  }).pipe(Effect.provide(layer)))

test.run()
