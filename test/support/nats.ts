/** A real nats-server of a test's own, in a folder of its own, gone when the scope closes. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Effect, Layer } from "effect"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import { findServerBinary, homeServer } from "#shared/home/server"

/** The folder that set-up fills; tests read models and the server's binary from it. */
export const setUpHome = resolve(process.env["METAMEM_HOME"] ?? join(import.meta.dirname, "../../.metamem"))

/** A folder that is deleted with the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "metamem-test-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
)

export const testServer = Effect.gen(function*() {
  const home = yield* temporaryFolder
  const server = yield* homeServer({ home, binary: findServerBinary(setUpHome, process.env["METAMEM_NATS_SERVER"]) })
  return { ...server, home }
})

/** Connection to a server of its own. */
export const natsLayer = Layer.unwrap(Effect.map(testServer, ({ url }) => NatsConnection.layer({ url })))

/** Event log and connection on a server of its own. */
export const jetStreamLayer = Layer.provideMerge(JetStreamLog.layer, natsLayer)
