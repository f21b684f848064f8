/** A model file is known for what it is before it is loaded, and quickly. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { checkModelFile } from "#services/localmodel/gguf"
import { effect } from "#test/support/effect"

const folder = mkdtempSync(join(tmpdir(), "metamem-gguf-"))
test.after(() => rmSync(folder, { recursive: true }))

const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer)
const u64 = (value: number | bigint) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])
const start = (tensors: number | bigint, values: number | bigint, version = 3) => Buffer.concat([Buffer.from("GGUF"), u32(version), u64(tensors), u64(values)])

/** One F32 tensor of 4 × 8 at offset 0: 128 bytes after the header, which is filled up to a multiple of 32. */
const header = Buffer.concat([
  start(1, 3),
  text("general.architecture"), u32(8), text("llama"),
  text("general.name"), u32(8), text("Tiny Chat"),
  text("tokenizer.ggml.tokens"), u32(9), u32(8), u64(2), text("a"), text("b"),
  text("weights"), u32(2), u64(4), u64(8), u32(0), u64(0)
])
const whole = Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32 + 128)])

const file = (name: string, bytes: Buffer | string): string => {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

effect(test, "a whole file tells its name and architecture", () =>
  Effect.gen(function*() {
    assert.equal(yield* checkModelFile(file("whole.gguf", whole)), { name: "Tiny Chat", architecture: "llama", bytes: whole.length })
  }))

for (const [name, bytes, reason] of [
  ["without its last byte", whole.subarray(0, -1), "cut-short"],
  ["without its weights", header, "cut-short"],
  ["cut in its header", whole.subarray(0, 90), "cut-short"],
  ["empty", Buffer.alloc(0), "cut-short"],
  ["of another kind", "<html>not found</html>", "not-gguf"],
  ["of an unknown version", Buffer.concat([start(1, 1, 77), Buffer.alloc(500)]), "not-gguf"],
  ["with garbage counts", Buffer.concat([start(2n ** 60n, 2n ** 60n), Buffer.alloc(1000, 0xab)]), "not-gguf"],
  ["with an array of more elements than the file has bytes", Buffer.concat([start(1, 1), text("k"), u32(9), u32(8), u64(2n ** 40n), Buffer.alloc(100)]), "cut-short"],
  ["without tensors", Buffer.concat([start(0, 0), Buffer.alloc(100)]), "not-gguf"]
] as const) {
  effect(test, `a file ${name} is refused as ${reason}, naming the file and the mend`, () =>
    Effect.gen(function*() {
      const path = file(`${name}.gguf`, Buffer.from(bytes))
      const error = yield* Effect.flip(checkModelFile(path))
      assert.is(error.reason, reason)
      assert.ok(error.message.includes(path) && error.message.includes("npm run setup"), error.message)
    }))
}

effect(test, "a file that is not there is missing", () =>
  Effect.gen(function*() {
    const path = join(folder, "none.gguf")
    const error = yield* Effect.flip(checkModelFile(path))
    assert.is(error.reason, "missing")
    assert.ok(error.message.includes(path))
  }))

test.run()
