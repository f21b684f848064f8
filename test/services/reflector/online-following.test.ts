import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { memorySubject } from "#shared/eventlog/subjects"
import { makeFollowing } from "#services/reflector/online-following"
import { ingestorCodec } from "#services/ingestor/protocol"
import { effect } from "#test/support/effect"
import { makeLive, none } from "./online-stage.ts"

const test = suite("online-following")

effect(test, "what was looked through is not read again, however much was said since the last answer", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const reads: Array<number | undefined> = []
    const following = yield* makeFollowing({ found: () => Effect.succeed([]) }).pipe(
      Effect.provideService(EventLog, { ...log, read: (filters, options) => {
        reads.push(options?.after)
        return log.read(filters, options)
      } })
    )
    const live = yield* makeLive
    yield* live("first", 0, none, true)
    yield* following.sync
    assert.is(following.of("t").length, 1)
    const said = (n: number) =>
      log.append({
        subject: memorySubject({ tenant: "t", user: "u", conversation: `c${n}` }, "ingestor"),
        cause: `${n}`,
        events: [ingestorCodec.encode({ _tag: "TurnsReceived", turns: [{ id: `${n}`, speaker: "user", text: "Hello.", time: "2026-01-01T00:00:00.000Z" }] })]
      }, 0, "")
    yield* said(1)
    yield* said(2)
    yield* following.sync
    yield* following.sync
    yield* said(3)
    yield* following.sync
    assert.equal(reads, [0, 2, 4])
    assert.is(following.through(), 2)
    yield* live("second", 1, none, false)
    yield* following.sync
    assert.is(following.of("t").length, 2)
  }).pipe(Effect.provide(Layer.fresh(MemoryLog.layer))))

test.run()
