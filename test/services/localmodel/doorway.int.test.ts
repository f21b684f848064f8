/** The local model's address before there is a model: the first connection starts it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Effect, Exit, Logger, Scope } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { openDoorway } from "#services/localmodel/doorway"
import { effect } from "#test/support/effect"

const modelPath = resolve(process.env["METAMEM_LOCAL_MODEL"] ?? join(".metamem", "models", "smollm2", "model.gguf"))
const options = { modelPath, host: "127.0.0.1", port: 0, contextTokens: 512, threads: 1, waiting: 4 }
const folder = mkdtempSync(join(tmpdir(), "metamem-doorway-"))
test.after(() => rmSync(folder, { recursive: true }))

const got = (url: string) =>
  Effect.promise(async () => {
    const response = await fetch(url)
    return { status: response.status, text: await response.text() }
  })

/** A file that is a model by its header, of an architecture that nothing can load. */
const unloadable = (): string => {
  const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer)
  const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
  const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])
  const header = Buffer.concat([
    Buffer.from("GGUF"), u32(3), u64(1), u64(2),
    text("general.architecture"), u32(8), text("none"),
    text("general.name"), u32(8), text("Cannot Load"),
    text("weights"), u32(2), u64(4), u64(8), u32(0), u64(0)
  ])
  const path = join(folder, "unloadable.gguf")
  writeFileSync(path, Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32 + 128)]))
  return path
}

/** What was logged, line by line. */
const listening = () => {
  const said: Array<string> = []
  return { said, layer: Logger.layer([Logger.make(({ message }) => void said.push(String(message)))]) }
}

effect(test, "the model is there for whoever comes, and goes with the scope", () =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const { model, url } = yield* openDoorway(options, false).pipe(Scope.provide(scope))
    const health = url.replace(/\/v1$/, "/health")
    // Two that come while it is started, and one that comes later.
    const replies = [...(yield* Effect.all([got(health), got(`${url}/models`)], { concurrency: 2 })), yield* got(health)]
    assert.equal(replies.map(({ status }) => status), [200, 200, 200])
    assert.is((JSON.parse(replies[0]?.text ?? "") as { model: string }).model, model)
    yield* Scope.close(scope, Exit.void)
    assert.ok(Exit.isFailure(yield* Effect.exit(got(health))))
  }), 60_000)

effect(test, "nothing is started before it is asked; a model that does not load is refused with the reason, said once", () =>
  Effect.gen(function*() {
    const path = unloadable()
    const { layer, said } = listening()
    yield* Effect.gen(function*() {
      const { model, url } = yield* openDoorway({ ...options, modelPath: path }, false)
      assert.is(model, "cannot-load")
      yield* Effect.sleep(3_000)
      assert.equal(said, [])
      for (let time = 0; time < 2; time++) {
        const { status, text } = yield* got(`${url}/models`)
        assert.is(status, 503)
        assert.ok((JSON.parse(text) as { error: { message: string } }).error.message.includes(path), text)
      }
      assert.is(said.length, 1)
      assert.match(said[0] ?? "", /no local model/)
    }).pipe(Effect.scoped, Effect.provide(layer))
  }), 60_000)

effect(test, "a model ended while it loads is not taken for one that cannot", () =>
  Effect.gen(function*() {
    const { layer, said } = listening()
    yield* Effect.gen(function*() {
      yield* openDoorway(options, true)
      yield* Effect.sleep(300)
    }).pipe(Effect.scoped, Effect.provide(layer))
    assert.equal(said, [])
  }), 60_000)

effect(test, "a file that is no model is refused before anybody comes", () =>
  Effect.gen(function*() {
    const page = join(folder, "page.gguf")
    writeFileSync(page, "<html>404</html>".repeat(1_000))
    assert.is((yield* Effect.flip(openDoorway({ ...options, modelPath: page }, false))).reason, "not-gguf")
  }))

test.run()
