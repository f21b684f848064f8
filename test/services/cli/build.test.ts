import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { Nats } from "#shared/eventlog/nats"
import { decodeToken } from "#shared/eventlog/subjects"
import { waitUntilSearchable } from "#services/cli/build"
import { effect } from "#test/support/effect"

const test = suite("waiting for memories")

effect(test, "every conversation is asked for, a part of them in each pass, and what does not come is told", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const conversations = Array.from({ length: 200 }, (_, at) => ({ tenant: "t", user: "u", conversation: `c${at}` }))
    const asked: Array<string> = []
    // Turns everywhere, and nothing done with them.
    const received = { sequence: 1, inputThrough: 0 }
    const counting = {
      ...log,
      last: (subject: string) =>
        Effect.sync(() => {
          const [, , , conversation = "", actor] = subject.split(".").map(decodeToken)
          if (actor === "ingestor") asked.push(conversation)
          return actor === "ingestor" ? received : undefined
        })
    } as unknown as EventLog["Service"]
    const told: Array<number> = []
    const failure = yield* Effect.flip(waitUntilSearchable(conversations, (done) => told.push(done), 1.5).pipe(Effect.provideService(EventLog, counting), Effect.provideService(Nats, {} as never)))
    assert.match(String(failure), /200 conversations did not become searchable/)
    assert.is(new Set(asked).size, 200)
    assert.ok(asked.length <= told.length * 64, `${asked.length} in ${told.length} passes`)
  }).pipe(Effect.provide(MemoryLog.layer)))

test.run()
