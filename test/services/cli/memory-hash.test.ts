import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { memorySubject } from "#shared/eventlog/subjects"
import { groupsOf, memoryHash } from "#services/cli/memory-hash"
import { ingestorCodec } from "#services/ingestor/protocol"
import { effect } from "#test/support/effect"

const test = suite("memory-hash")
// Two of these are the beginning of others, and one goes on with what sorts before any other sign.
const users = ["b", "a!", "a", "a\tx", "ab", "a b"]

effect(test, "what is remembered has one hash, however few users are held in memory at a time", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    for (const [at, user] of users.entries()) {
      for (const [conversation, id] of [["one", "z"], ["two", `a${at}`]] as const) {
        const turn = { id, speaker: "user", text: `I am ${user}.`, time: "2026-01-01T00:00:00.000Z" }
        yield* log.append({ subject: memorySubject({ tenant: "t", user, conversation }, "ingestor"), cause: id, events: [ingestorCodec.encode({ _tag: "TurnsReceived", turns: [turn] })] }, 0, "")
      }
    }
    const counts = new Map(users.map((user) => [user, 2]))
    const reads = [1, 4, 100].map((most) => groupsOf(counts, most))
    assert.equal(reads.map((groups) => groups.map(({ length }) => length)), [[1, 1, 1, 1, 1, 1], [2, 2, 2], [6]])
    const told: Array<number> = []
    const found = yield* Effect.forEach(reads, (groups) => memoryHash("t", groups, (done) => told.push(done)))
    assert.equal(found.map(({ memories }) => memories), [12, 12, 12])
    assert.is(new Set(found.map(({ memoryHash }) => memoryHash)).size, 1)
    assert.equal(told.slice(6), [2, 4, 6, 6])
  }).pipe(Effect.provide(Layer.fresh(MemoryLog.layer))))

test.run()
