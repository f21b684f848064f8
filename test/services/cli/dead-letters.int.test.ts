import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { bury, type DeadLetter } from "#shared/actor/dead-letters"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import { memorySubject } from "#shared/eventlog/subjects"
import { deadCommand } from "#services/cli/log-commands"
import { memoryCommands } from "#services/cli/memory"
import { noVectorAbout } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("dead letters by command")
const of = { tenant: "local", user: "mira", conversation: "c" }

effect(test, "a letter that stands behind thousands is told of its turn, listed, shown and dropped", () =>
  Effect.gen(function*() {
    const { home, url } = yield* testServer
    const run = commandRunner([...memoryCommands, deadCommand], home, url)
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const letter: DeadLetter = { actor: "embedder", kind: "text", about: "", error: "the text has no token", tries: 1, mend: "Nothing." }
      yield* Effect.forEach(Array.from({ length: 1_100 }, (_, at) => at), (at) => bury({ ...letter, about: `another ${at}` }), { concurrency: 64, discard: true })
      const turns = [{ id: "turn", speaker: "user", text: "x", time: "2026-03-02T18:04:00.000Z" }] as never
      const { sequence } = yield* log.append({ subject: memorySubject(of, "ingestor"), cause: "test", events: [ingestorCodec.encode({ _tag: "TurnsReceived", turns })] }, 0, "")
      yield* log.append({ subject: memorySubject(of, "embedder"), cause: "test", inputThrough: sequence, events: [] }, 0, "")
      yield* bury({ ...letter, about: noVectorAbout(memorySubject(of, "embedder"), "turn") })

      assert.match((yield* run("status", "--user", "mira")).json.turns[0].error, /metamem dead show 1101/)
      assert.is((yield* run("dead", "list")).json.length, 1_000)
      assert.equal((yield* run("dead", "list", "--after", "1000")).json.map(({ sequence }: { readonly sequence: number }) => sequence), Array.from({ length: 101 }, (_, at) => 1_001 + at))
      assert.match((yield* run("dead", "show", "1101")).json.about, /memory turn$/)
      assert.is((yield* run("dead", "drop", "1101")).error, "")
      assert.match((yield* run("dead", "show", "1101")).error, /no dead letter 1101/)
    }).pipe(Effect.provide(JetStreamLog.layer.pipe(Layer.provideMerge(NatsConnection.layer({ url })))))
  }), 60_000)

test.run()
