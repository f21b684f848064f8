import { Effect, Layer } from "effect"
import { createServer } from "node:net"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import * as NatsConnection from "#shared/eventlog/nats"
import { effect } from "#test/support/effect"

const test = suite("servers that are too old")

/** Greets like a nats-server of this version, and answers nothing but its clients' pings. */
const greeting = (version: string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly close: () => void }>((resume) => {
      const server = createServer((socket) => {
        socket.on("error", () => undefined)
        socket.write(`INFO ${JSON.stringify({ server_id: "S", server_name: "s", version, proto: 1, headers: true, max_payload: 8_388_608, jetstream: true })}\r\n`)
        socket.on("data", (data) => /PING\r\n/.test(String(data)) && socket.write("PONG\r\n"))
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as { readonly port: number }
        resume(Effect.succeed({ url: `nats://127.0.0.1:${port}`, close: () => server.close() }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

effect(test, "a server before 2.12 is refused at the start, with its version and what to do", () =>
  Effect.gen(function*() {
    for (const version of ["2.11.9", "1.99.0"]) {
      const { url } = yield* greeting(version)
      const error = yield* Effect.flip(Effect.scoped(Layer.build(NatsConnection.layer({ url }))))
      assert.match(error.message, `nats-server ${version} is too old: metamem needs 2.12 or newer`)
      assert.match(error.message, /METAMEM_NATS_URL/)
    }
  }))

test.run()
