/** The local model before it is needed: whoever asks first starts it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Effect, Exit, Fiber, Logger, Scope } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { loadedWhenAsked } from "#services/localmodel/when-asked"
import { effect } from "#test/support/effect"

const modelPath = resolve(process.env["METAMEM_LOCAL_MODEL"] ?? join(".metamem", "models", "smollm2", "model.gguf"))
const options = { modelPath, host: "127.0.0.1", port: 0, contextTokens: 512, threads: 1, waiting: 4 }
const folder = mkdtempSync(join(tmpdir(), "metamem-when-asked-"))
test.after(() => rmSync(folder, { recursive: true }))

const served = (url: string) =>
  Effect.tryPromise({
    try: async () => (await (await fetch(url.replace(/\/v1$/, "/health"))).json()) as { readonly model: string; readonly pid: number },
    catch: (error) => new Error(`not reached: ${String(error)}`)
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

effect(test, "one process is there for all who ask, also when the first gives up, and goes with the scope", () =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const { model, url } = yield* loadedWhenAsked(options).pipe(Scope.provide(scope))
    const first = yield* Effect.forkScoped(url)
    yield* Effect.sleep(300)
    yield* Fiber.interrupt(first)
    const [one, other] = yield* Effect.all([Effect.flatMap(url, served), Effect.flatMap(url, served)], { concurrency: 2 })
    assert.is(one.pid, other.pid)
    assert.is(one.model, model)
    const address = yield* url
    yield* Scope.close(scope, Exit.void)
    assert.ok(Exit.isFailure(yield* Effect.exit(served(address))))
  }), 60_000)

effect(test, "nothing is started before it is asked; a model that does not load fails for all with the reason, logged once", () =>
  Effect.gen(function*() {
    const path = unloadable()
    const { layer, said } = listening()
    yield* Effect.gen(function*() {
      const { model, url } = yield* loadedWhenAsked({ ...options, modelPath: path })
      assert.is(model, "cannot-load")
      yield* Effect.sleep(3_000)
      assert.equal(said, [])
      for (let time = 0; time < 2; time++) {
        const { message } = yield* Effect.flip(url)
        assert.ok(message.includes(path), message)
      }
      assert.is(said.length, 1)
      assert.match(said[0] ?? "", /no local model/)
    }).pipe(Effect.scoped, Effect.provide(layer))
  }), 60_000)

effect(test, "a model ended while it loads is not taken for one that cannot", () =>
  Effect.gen(function*() {
    const { layer, said } = listening()
    yield* Effect.gen(function*() {
      const { url } = yield* loadedWhenAsked(options)
      yield* Effect.forkScoped(url)
      yield* Effect.sleep(300)
    }).pipe(Effect.scoped, Effect.provide(layer))
    assert.equal(said, [])
  }), 60_000)

effect(test, "a file that is no model is refused before anybody asks", () =>
  Effect.gen(function*() {
    const page = join(folder, "page.gguf")
    writeFileSync(page, "<html>404</html>".repeat(1_000))
    assert.is((yield* Effect.flip(loadedWhenAsked({ ...options, modelPath: page }))).reason, "not-gguf")
  }))

test.run()
