/** What workers of the reflector keep of users' memories, and what becomes of it when a user is erased. */
import { Deferred, Effect, Fiber, Layer, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { memorySubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import { makeMaterial } from "#services/reflector/material"
import { effect } from "#test/support/effect"

const test = suite("material")

const subjectOf = (user: string) => memorySubject({ tenant: "t", user, conversation: "c" }, "ingestor")
const erased = (user: string) => ({ is: (tenant: string, name: string) => tenant === "t" && name === user, holds: (subject: string) => subject === subjectOf(user) })

effect(test, "memories of a user are read once, and again after an erasure, also one that comes while they are read; others keep theirs", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    for (const user of ["a", "b"]) {
      yield* log.append({ subject: subjectOf(user), cause: "1", events: [{ type: "TurnsReceived", version: 1, data: { turns: [{ id: "c/1", speaker: "user", text: `said by ${user}`, time: "2026-03-02T18:04:00.000Z" }] } }] }, 0, "")
    }
    let read = 0
    const gate = yield* Deferred.make<void>()
    let isHeld = false
    const watched = EventLog.of({
      ...log,
      read: (filters, options) => {
        read += 1
        return isHeld ? log.read(filters, options).pipe(Stream.tap(() => Deferred.await(gate))) : log.read(filters, options)
      }
    })
    yield* Effect.gen(function*() {
      const material = yield* makeMaterial
      const text = (user: string) => Effect.map(material.found("t", user, ["c/1"]), ([memory]) => memory?.text)
      for (const user of ["a", "a", "b", "b"]) assert.is(yield* text(user), `said by ${user}`)
      assert.is(read, 2)
      material.forget(erased("a"))
      yield* text("b")
      assert.is(read, 2)
      isHeld = true
      const underWay = yield* Effect.forkChild(text("a"))
      yield* Effect.sleep(10)
      assert.is(read, 3)
      material.forget(erased("a"))
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(underWay)
      yield* text("a")
      yield* text("a")
      assert.is(read, 4)
    }).pipe(Effect.provideService(EventLog, watched))
  }).pipe(Effect.provide(Layer.fresh(Layer.merge(MemoryLog.layer, CallStore.layerMemory)))))

test.run()
