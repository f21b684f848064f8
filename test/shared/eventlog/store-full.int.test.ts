/** A server without room refuses, says what to do, and keeps all that it acknowledged. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import { findServerBinary } from "#shared/home/server"
import { effect } from "#test/support/effect"
import { setUpHome, temporaryFolder } from "#test/support/nats"

const test = suite("a log without room")
const binary = findServerBinary(setUpHome, process.env["METAMEM_NATS_SERVER"]) ?? ""

const ended = (child: ChildProcess) => new Promise<void>((done) => (child.exitCode === null && child.signalCode === null ? child.once("exit", () => done()) : done()))

/** Address of a server that may store so many bytes in the folder, for the length of the scope. */
const serverWithRoom = (folder: string, bytes: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      mkdirSync(join(folder, `ports-${bytes}`))
      const config = join(folder, `${bytes}.conf`)
      writeFileSync(config, `listen: "127.0.0.1:-1"\nmax_payload: 8MB\njetstream { store_dir: ${JSON.stringify(join(folder, "store"))}, max_file_store: ${bytes}, sync_interval: always }\n`)
      const child = spawn(binary, ["-c", config, "--ports_file_dir", join(folder, `ports-${bytes}`)], { stdio: "ignore" })
      for (let waited = 0; waited < 10_000; waited += 20) {
        const [file] = readdirSync(join(folder, `ports-${bytes}`))
        const text = file === undefined ? "" : readFileSync(join(folder, `ports-${bytes}`, file), "utf8")
        if (text !== "") return { child, url: (JSON.parse(text) as { nats: ReadonlyArray<string> }).nats[0] ?? "" }
        await new Promise((done) => setTimeout(done, 20))
      }
      throw new Error("the server does not start")
    }),
    ({ child }) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return ended(child)
      })
  )

const logWithRoom = (folder: string, bytes: number) =>
  Layer.unwrap(Effect.map(serverWithRoom(folder, bytes), ({ url }) => Layer.provideMerge(JetStreamLog.layer, NatsConnection.layer({ url }))))

const subject = "memory.local.u.c.ingestor"
const commit = (n: number) => ({ subject, events: [{ type: "Noted", version: 1, data: { n, text: "x".repeat(20_000) } }], inputThrough: 0, cause: String(n), epoch: 0 })

effect(test, "an append beyond the room fails with what to do; with more room it goes on, and every acknowledged commit stands", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    let acknowledged = 0
    let last = { sequence: 0, checksum: "" }
    const append = (n: number) =>
      Effect.gen(function*() {
        last = yield* (yield* EventLog).append(commit(n), last.sequence, last.checksum)
        acknowledged += 1
      })
    const failure = yield* Effect.gen(function*() {
      for (let n = 0; n < 500; n++) yield* append(n)
    }).pipe(Effect.flip, Effect.provide(logWithRoom(folder, 1_000_000)))
    assert.is(failure._tag, "LogUnavailable")
    assert.match(failure.message, "disk is full")
    assert.match(failure.message, "make room")
    assert.ok(acknowledged > 10 && acknowledged < 60, `${acknowledged} commits of 20,000 bytes in a store of a million`)
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      assert.is((yield* log.load(subject)).length, acknowledged)
      yield* append(acknowledged)
      assert.is((yield* log.load(subject)).length, acknowledged)
    }).pipe(Effect.provide(logWithRoom(folder, 50_000_000)))
  }), 40_000)

test.run()
