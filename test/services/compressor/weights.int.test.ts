/** The token classifier's files are fetched from a hub once, whole and checked; what cannot be had is said and done without. */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { Effect, Option, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { ModelFolder, openNamed } from "#services/compressor/classifier"
import { fetchFile, parseFiles } from "#services/compressor/weights"
import { effect } from "#test/support/effect"
import { temporaryFolder } from "#test/support/nats"
import { writeClassifier } from "./construction/tiny-classifier.ts"

const test = suite("weights from a hub")
const quick = { idleMs: 400, totalMs: 5_000, tries: 3, backoffMs: 5 }

const hub = (answer: (request: IncomingMessage, response: ServerResponse, nth: number) => void) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const ranges: Array<string | undefined> = []
      const server = createServer((request, response) => answer(request, response, ranges.push(request.headers.range)))
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
      return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, ranges, server }
    }),
    ({ server }) =>
      Effect.promise(() => {
        server.closeAllConnections()
        return new Promise<void>((done) => server.close(() => done()))
      })
  )

const content = Buffer.from(Array.from({ length: 200_000 }, (_, n) => n % 251))
const sha256 = createHash("sha256").update(content).digest("hex")

effect(test, "a transfer that breaks goes on where it broke, and the file stands only when it is whole", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const path = join(folder, "model.onnx")
    const { ranges, url } = yield* hub((request, response, nth) => {
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0)
      response.writeHead(from > 0 ? 206 : 200, { "content-length": content.length - from, etag: "\"one\"", ...(from > 0 ? { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` } : {}) })
      if (nth > 1) return void response.end(content.subarray(from))
      assert.not(existsSync(path))
      response.write(content.subarray(0, 90_000), () => setTimeout(() => response.destroy(), 50))
    })
    assert.equal(yield* fetchFile({ url, path, sha256 }, quick), { fetched: true, sha256 })
    assert.equal(readFileSync(path), content)
    assert.is(ranges[0], undefined)
    assert.match(ranges[1] ?? "", /^bytes=[1-9]\d*-$/)
    assert.equal(yield* fetchFile({ url, path, sha256 }, quick), { fetched: false })
    assert.is(ranges.length, 2)
    assert.equal(readdirSync(folder), ["model.onnx"])
  }))

effect(test, "another content than the checksum's, a missing file and a silent hub each say what is wrong, and leave no file", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const path = join(folder, "model.onnx")
    const told = (answer: Parameters<typeof hub>[0]) =>
      Effect.gen(function*() {
        const { ranges, url } = yield* hub(answer)
        const { message } = yield* Effect.flip(fetchFile({ url, path, sha256 }, quick))
        assert.not(existsSync(path))
        return { message, requests: ranges.length }
      })
    assert.match((yield* told((_, response) => void response.end("something else"))).message, "SHA-256")
    const missing = yield* told((_, response) => void response.writeHead(404).end())
    assert.match(missing.message, "404")
    assert.is(missing.requests, 1)
    assert.match((yield* told(() => undefined)).message, "nothing came for")
  }))

effect(test, "without a checksum the first content is believed, and another one later is refused until its record is taken away", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const path = join(folder, "model.onnx")
    let served: Buffer = content
    const { url } = yield* hub((_, response) => void response.end(served))
    const file = { url, path, sha256: undefined }
    assert.equal(yield* fetchFile(file, quick), { fetched: true, sha256 })
    rmSync(path)
    assert.equal(yield* fetchFile(file, quick), { fetched: true, sha256 })
    rmSync(path)
    served = Buffer.from("something else")
    const { message } = yield* Effect.flip(fetchFile(file, quick))
    assert.match(message, new RegExp(`not ${sha256}, as when it was first fetched.* remove .*model.onnx.sha256`))
    assert.not(existsSync(path))
    rmSync(`${path}.sha256`)
    assert.is((yield* fetchFile(file, quick)).fetched, true)
    assert.equal(readFileSync(path, "utf8"), "something else")
  }))

effect(test, "a classifier named by a hub's address is fetched, opened and kept; an address where none is leaves it out", () =>
  Effect.gen(function*() {
    const source = yield* temporaryFolder
    const models = yield* temporaryFolder
    mkdirSync(join(source, "there"))
    writeClassifier(join(source, "there"), { garden: 1 })
    const { ranges, url } = yield* hub((request, response) => {
      const path = join(source, request.url ?? "")
      if (!existsSync(path)) return void response.writeHead(404).end()
      response.end(readFileSync(path))
    })
    const open = (base: string) =>
      openNamed({ dir: Option.none(), url: Option.some(base), files: "model.onnx,tokenizer.json" }, quick).pipe(Effect.provideService(ModelFolder, models))
    assert.ok((yield* open(`${url}/there/`)) !== undefined)
    assert.ok((yield* open(`${url}/there`)) !== undefined)
    assert.is(ranges.length, 2)
    assert.is(yield* open(`${url}/absent`), undefined)
    assert.is(yield* open("no address"), undefined)
  }))

test("files are paths below the address, with a checksum where one is given", () => {
  assert.equal(Result.getOrThrow(parseFiles(` onnx/model.onnx@${sha256.toUpperCase()}, tokenizer.json`)), [{ path: "onnx/model.onnx", sha256 }, { path: "tokenizer.json", sha256: undefined }])
  for (const bad of ["../model.onnx", "/etc/model.onnx", "model.onnx@12"]) assert.ok(Result.isFailure(parseFiles(bad)), bad)
})

test.run()
