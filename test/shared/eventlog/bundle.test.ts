import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gunzipSync, gzipSync } from "node:zlib"
import { Effect, Layer, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { BundleNotWritten, type BundleUnreadable, layerBundle, writeBundle } from "#shared/eventlog/bundle"
import { EventLog, ReadOnlyLog } from "#shared/eventlog/event-log"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { verifyCommits } from "#shared/eventlog/replay"
import { eventLogReadingConformance, fillForReading } from "#test/conformance/event-log-reading"
import { effect } from "#test/support/effect"

const test = suite("bundles")
const folder = mkdtempSync(join(tmpdir(), "metamem-test-"))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))

const path = join(folder, "all.bundle")
/** Writes the same log to any number of files. */
const write = (...paths: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    yield* fillForReading
    return yield* Effect.forEach(paths, (one) => writeBundle(one, ["metamem.>", "memory.>"], "a log for tests"))
  }).pipe(Effect.provide(Layer.fresh(MemoryLog.layer)))

eventLogReadingConformance(
  test as never,
  Layer.unwrap(Effect.as(write(path), layerBundle(path)))
)

const it = (name: string, body: Effect.Effect<unknown, unknown>) => effect(test as never, name, () => body)
/** Reads and checks all of a bundle. */
const checked = (file: string) => Effect.scoped(Effect.asVoid(Layer.build(layerBundle(file))))
const failure = (bytes: Uint8Array, name = "broken.bundle"): Effect.Effect<BundleUnreadable, unknown> => {
  const broken = join(folder, name)
  writeFileSync(broken, bytes)
  return Effect.flip(checked(broken))
}
/** The lines of a bundle, to be changed by hand. */
const lines = () => gunzipSync(readFileSync(path)).toString("utf8").split("\n").slice(0, -1)
const packed = (all: ReadonlyArray<string>) => gzipSync(all.map((line) => `${line}\n`).join(""))

it("a bundle says what it holds, and the same log gives the same bytes", Effect.gen(function*() {
  const other = join(folder, "other.bundle")
  const [one, two] = yield* write(path, other)
  assert.equal(one?.streams, { MEMORY: { messages: 18, last: 18 }, METAMEM: { messages: 6, last: 6 } })
  assert.equal([one?.messages, one?.label, one?.version, one?.filters], [24, "a log for tests", 1, ["metamem.>", "memory.>"]])
  yield* checked(path)
  assert.equal(two, one)
  assert.ok(readFileSync(path).equals(readFileSync(other)))
  assert.equal(readdirSync(folder).filter((name) => name.endsWith(".part")), [])
  assert.is(lines().length, 26)
}))

it("its commits verify", Effect.gen(function*() {
  const log = yield* EventLog
  const found = yield* verifyCommits(Stream.concat(log.readRaw(["memory.>"]), log.readRaw(["metamem.>"])))
  assert.equal([found.commits, found.checksumErrors, found.brokenChains], [24, 0, 0])
}).pipe(Effect.provide(layerBundle(path))))

it("a bundle can only be read", Effect.gen(function*() {
  const log = yield* EventLog
  const refused = yield* Effect.flip(log.append({ subject: "memory.t.u.c.ingestor", cause: "1", events: [] }, 0, ""))
  assert.instance(refused, ReadOnlyLog)
  assert.match(refused.message, /only be read/)
  assert.is(yield* log.head("MEMORY"), 18)
}).pipe(Effect.provide(layerBundle(path))))

it("an empty part of a log is a bundle too", Effect.gen(function*() {
  const empty = join(folder, "empty.bundle")
  const summary = yield* writeBundle(empty, ["memory.nobody.>"], "").pipe(Effect.provide(Layer.fresh(MemoryLog.layer)))
  assert.is(summary.messages, 0)
  yield* checked(empty)
}))

it("a missing file and a folder are named", Effect.gen(function*() {
  for (const wrong of [join(folder, "nothing"), folder]) {
    const error = yield* Effect.flip(checked(wrong))
    assert.is(error.reason, "missing")
    assert.ok(error.message.includes(wrong))
  }
  const error = yield* Effect.flip(Effect.provide(EventLog, layerBundle(join(folder, "nothing"))))
  assert.is(error._tag, "BundleUnreadable")
}))

it("a foreign file is told from a damaged one", Effect.gen(function*() {
  for (const bytes of [Buffer.from("hello"), gzipSync(""), gzipSync("hello\n"), gzipSync("{\"format\":\"other\",\"version\":1}\n"), gzipSync("x".repeat(40_000_000))]) {
    const error = yield* failure(bytes)
    assert.is(error.reason, "foreign", error.message)
  }
}))

it("a bundle of a later format asks for an update", Effect.gen(function*() {
  const [head = "", ...rest] = lines()
  const error = yield* failure(packed([head.replace("\"version\":1", "\"version\":2"), ...rest]))
  assert.is(error.reason, "version")
  assert.match(error.message, /update/)
}))

it("a bundle that was cut says so, wherever it was cut", Effect.gen(function*() {
  const bytes = readFileSync(path)
  for (const part of [0, 0.3, 0.6, 0.9, 0.99]) {
    const error = yield* failure(bytes.subarray(0, Math.floor(bytes.length * part)))
    assert.is(error.reason, "cut", `${part}: ${error.message}`)
  }
  const whole = lines()
  for (const kept of [1, 2, 24, 25]) {
    const error = yield* failure(packed(whole.slice(0, kept)))
    assert.is(error.reason, "cut", `${kept} lines: ${error.message}`)
    assert.match(error.message, /again/)
  }
}))

it("any change is damage: of a message, of the header, of the order, of the count", Effect.gen(function*() {
  const whole = lines()
  const changed = (at: number, change: (line: string) => string) => packed(whole.map((line, i) => (i === at ? change(line) : line)))
  const [first = "", second = ""] = whole.slice(1)
  for (
    const bytes of [
      changed(5, (line) => line.replace("cause%20", "cause%21")),
      changed(5, (line) => line.replace("memory.", "foreign.")),
      changed(5, (line) => line.slice(0, -4)),
      changed(0, (line) => line.replace("a log for tests", "another label")),
      changed(25, (line) => line.replace(/[0-9a-f]{3}"/, "000\"")),
      packed([whole[0] ?? "", second, first, ...whole.slice(3)]),
      packed([...whole.slice(0, 25), whole[24] ?? "", whole[25] ?? ""]),
      packed([...whole, "{}"])
    ]
  ) {
    const error = yield* failure(bytes)
    assert.is(error.reason, "damaged", error.message)
    assert.match(error.message, /again/)
  }
  const flipped = Buffer.from(readFileSync(path))
  const middle = Math.floor(flipped.length / 2)
  flipped[middle] = (flipped[middle] ?? 0) ^ 0xff
  assert.is((yield* failure(flipped)).reason, "damaged")
}))

it("where a bundle cannot be written, it says so and leaves nothing", Effect.gen(function*() {
  const error = yield* Effect.flip(writeBundle(join(folder, "no", "such", "folder"), ["memory.>"], "")).pipe(Effect.provide(MemoryLog.layer))
  assert.instance(error, BundleNotWritten)
  assert.match(error.message, /cannot be written.*folder that exists/)
  const unknown = yield* Effect.flip(writeBundle(join(folder, "x"), ["elsewhere.>"], "")).pipe(Effect.provide(MemoryLog.layer))
  assert.instance(unknown, BundleNotWritten)
  assert.instance(yield* Effect.flip(writeBundle(join(folder, "x"), [], "")).pipe(Effect.provide(MemoryLog.layer)), BundleNotWritten)
  assert.is(existsSync(join(folder, "x")), false)
}))

test.run()
