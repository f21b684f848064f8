import { Effect, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { durable } from "#shared/actor/consumer"
import { makeEntity } from "#shared/actor/entity"
import { memoryFilter, memorySubject } from "#shared/eventlog/subjects"
import { idleActors, untilRunning } from "#services/cli/home"
import { behaviour } from "#services/ingestor/behaviour"
import { logOn } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("actors started for a command")

effect(test, "an embedder that is busy with a long backlog is running, one that takes nothing is not", () =>
  Effect.gen(function*() {
    const { url } = yield* testServer
    yield* Effect.gen(function*() {
      const conversations = yield* makeEntity(behaviour)
      const turns = [{ id: "a", speaker: "user", text: "hello", time: "2026-03-02T18:04:00.000Z" }]
      yield* conversations.execute(memorySubject({ tenant: "local", user: "u", conversation: "c" }, "ingestor"), { _tag: "ReceiveTurns", turns }, { cause: "1" })
      const consumer = yield* durable({ stream: "MEMORY", name: "embedder", filters: [memoryFilter({ actor: "ingestor" })], ackWaitSeconds: 60, maxDeliver: -1 })
      const isRunning = Effect.map(Effect.result(untilRunning("embedder").pipe(Effect.timeout("1 second"))), Result.isSuccess)
      assert.is(yield* isRunning, false)
      assert.match((yield* idleActors(["compressor", "embedder"])) ?? "", /no compressor and no embedder runs: `metamem up`/)
      // Taken, not done yet, and nothing more is asked for.
      yield* Effect.promise(() => consumer.next({ expires: 5_000 }))
      assert.is(yield* isRunning, true)
      assert.is(yield* idleActors(["embedder"]), undefined)
    }).pipe(Effect.provide(logOn(url)))
  }), 30_000)

test.run()
