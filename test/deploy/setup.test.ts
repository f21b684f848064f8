/** The pure parts of set-up: zip reading, checksums, files placed whole, what is skipped, versions, the dependency tree and the lock. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import { deflateRawSync } from "node:zlib"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import {
  checked, explain, isAtLeast, isRecorded, parseVersion, placeContent, placeCopy, readRecord, readZip, readZipEntry, record, sha256, sha256File, sweep,
  treeMatches, Trouble, withLock
} from "../../deploy/setup-lib.mjs"
import { encoderParts, languageModelPart, natsPart, natsWheels } from "../../deploy/setup-parts.mjs"

const test = suite<{ folder: string }>("set-up")
test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "metamem-setup-"))
})
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }))

interface Member {
  readonly name: string
  readonly content: Buffer
  readonly stored?: boolean
  /** Length the directory claims instead of the true one. */
  readonly claims?: number
  readonly flags?: number
}

/** A zip archive with the extra fields and comment that real ones have. */
const zip = (members: ReadonlyArray<Member>, comment = ""): Buffer => {
  const local: Array<Buffer> = []
  const directory: Array<Buffer> = []
  let offset = 0
  for (const { claims, content, flags = 0, name, stored = false } of members) {
    const packed = stored ? content : deflateRawSync(content)
    const header = Buffer.alloc(30)
    header.writeUInt32LE(0x04034b50, 0)
    header.writeUInt16LE(Buffer.byteLength(name), 26)
    header.writeUInt16LE(4, 28)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50, 0)
    entry.writeUInt16LE(flags, 8)
    entry.writeUInt16LE(stored ? 0 : 8, 10)
    entry.writeUInt32LE(packed.length, 20)
    entry.writeUInt32LE(claims ?? content.length, 24)
    entry.writeUInt16LE(Buffer.byteLength(name), 28)
    entry.writeUInt16LE(2, 30)
    entry.writeUInt32LE(offset, 42)
    const piece = Buffer.concat([header, Buffer.from(name), Buffer.alloc(4), packed])
    local.push(piece)
    directory.push(entry, Buffer.from(name), Buffer.alloc(2))
    offset += piece.length
  }
  const list = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(members.length, 10)
  end.writeUInt32LE(list.length, 12)
  end.writeUInt32LE(offset, 16)
  end.writeUInt16LE(comment.length, 20)
  return Buffer.concat([...local, list, end, Buffer.from(comment)])
}

const text = Buffer.from("a line of text, again and again. ".repeat(50))

const fails = (body: () => unknown, message: RegExp): void =>
  assert.throws(body, (error: unknown) => error instanceof Trouble && message.test(error.message) && error.mend.length > 0)

test("stored and deflated files come out of an archive as they went in, also past a comment", () => {
  const archive = zip([{ name: "a/plain.txt", content: text, stored: true }, { name: "a/packed.txt", content: text }, { name: "empty", content: Buffer.alloc(0) }], "made by hand")
  assert.equal([...readZip(archive).keys()], ["a/plain.txt", "a/packed.txt", "empty"])
  assert.ok(readZipEntry(archive, "a/plain.txt").equals(text))
  assert.ok(readZipEntry(archive, "a/packed.txt").equals(text))
  assert.is(readZipEntry(archive, "empty").length, 0)
})

test("an archive inside an archive can be read", () => {
  const archive = zip([{ name: "model.zip", content: zip([{ name: "tokenizer.json", content: text }]) }])
  assert.ok(readZipEntry(readZipEntry(archive, "model.zip"), "tokenizer.json").equals(text))
})

test("an archive cut short anywhere is refused, never read wrongly", () => {
  const archive = zip([{ name: "packed.txt", content: text }])
  for (let length = 0; length < archive.length; length++) fails(() => readZipEntry(archive.subarray(0, length), "packed.txt"), /cannot be read/)
})

test("a damaged, encrypted, missing or longer than announced file is refused", () => {
  const archive = zip([{ name: "packed.txt", content: text }])
  const damaged = Buffer.from(archive)
  damaged.fill(0xff, 44, 60)
  fails(() => readZipEntry(damaged, "packed.txt"), /damaged/)
  fails(() => readZipEntry(archive, "other.txt"), /holds no other\.txt/)
  fails(() => readZipEntry(zip([{ name: "x", content: text, flags: 1 }]), "x"), /encrypted/)
  fails(() => readZipEntry(zip([{ name: "x", content: text, claims: 10 }]), "x"), /damaged/)
  fails(() => readZipEntry(zip([{ name: "x", content: text, claims: text.length + 1 }]), "x"), /instead of/)
  fails(() => readZipEntry(zip([{ name: "x", content: text, claims: 0x7fffffff }]), "x"), /claims/)
})

test("content with another checksum is refused and what to do is said", () => {
  assert.is(checked(text, sha256(text), "it"), text)
  fails(() => checked(text, sha256("other"), "the wheel of x 1.0"), /the wheel of x 1\.0 has another checksum/)
})

test("a file is placed with its mode, into folders made for it, and nothing else stays", ({ folder }) => {
  const path = join(folder, "deep", "er", "file")
  placeContent(path, text, 0o755)
  assert.is(sha256File(path), sha256(text))
  assert.is(statSync(path).mode & 0o777, 0o755)
  assert.equal(readdirSync(join(folder, "deep", "er")), ["file"])
})

test("a file that cannot be placed leaves neither itself nor a part of it", ({ folder }) => {
  mkdirSync(join(folder, "file"))
  assert.throws(() => placeContent(join(folder, "file"), text))
  assert.equal(readdirSync(folder), ["file"])
  assert.equal(readdirSync(join(folder, "file")), [])
})

test("a cached file is copied only when its checksum is right", ({ folder }) => {
  const source = join(folder, "source")
  const target = join(folder, "home", "target")
  assert.is(placeCopy(source, target, sha256(text)), false)
  writeFileSync(source, text.subarray(0, 100))
  assert.is(placeCopy(source, target, sha256(text)), false)
  assert.equal(readdirSync(join(folder, "home")), [])
  writeFileSync(source, text)
  assert.is(placeCopy(source, target, sha256(text)), true)
  writeFileSync(target, "damaged in this home")
  assert.is(sha256File(source), sha256(text))
})

test("what a killed set-up left is swept, and nothing else", ({ folder }) => {
  mkdirSync(join(folder, ".download-abc123", "deep"), { recursive: true })
  writeFileSync(join(folder, "model.onnx.4711-00ff00ff.part"), "half")
  writeFileSync(join(folder, "model.onnx"), "whole")
  sweep(folder)
  sweep(join(folder, "nowhere"))
  assert.equal(readdirSync(folder), ["model.onnx"])
})

test("a file is not read again while size and time are those recorded, and is when either changed", ({ folder }) => {
  const path = join(folder, "model.onnx")
  const recordPath = join(folder, "setup.json")
  const recorded = (wanted: string | undefined) => isRecorded(readRecord(recordPath), "model.onnx", path, wanted)
  assert.is(recorded(sha256(text)), false)
  writeFileSync(path, text)
  record(recordPath, "model.onnx", path, sha256(text))
  record(recordPath, "other", path, "x")
  assert.is(recorded(sha256(text)), true)
  assert.is(recorded(undefined), true)
  assert.is(recorded(sha256("the next version")), false)
  utimesSync(path, 1, 1)
  assert.is(recorded(sha256(text)), false)
  record(recordPath, "model.onnx", path, sha256(text))
  writeFileSync(path, text.subarray(1))
  assert.is(recorded(sha256(text)), false)
  rmSync(path)
  assert.is(recorded(sha256(text)), false)
})

test("a record that cannot be read means that nothing was checked", ({ folder }) => {
  for (const content of ["", "{", "null", "[]", '{"files":7}']) {
    writeFileSync(join(folder, "setup.json"), content)
    assert.equal(readRecord(join(folder, "setup.json")), {})
  }
})

test("versions are found in what programs print and compared by number", () => {
  assert.equal(parseVersion("nats-server: v2.15.1"), [2, 15, 1])
  assert.equal(parseVersion("nats-server: v2.12.0-RC.1"), [2, 12, 0])
  assert.is(parseVersion("command not found"), undefined)
  assert.is(parseVersion(undefined), undefined)
  assert.ok(isAtLeast([2, 12, 0], [2, 12]))
  assert.ok(isAtLeast([3, 0, 0], [2, 12]))
  assert.not(isAtLeast([2, 9, 25], [2, 12]))
  assert.not(isAtLeast([1, 13, 0], [2, 12]))
  assert.not(isAtLeast(undefined, [2, 12]))
})

test("an installed tree is taken as it is only when every package this machine needs is there in the locked version", () => {
  const lock = {
    packages: {
      "": { version: "0.1.0" },
      "node_modules/a": { version: "1.0.0", integrity: "sha512-a" },
      "node_modules/b-linux": { version: "1.0.0", integrity: "sha512-l", optional: true, os: ["linux"], cpu: ["x64"] },
      "node_modules/b-darwin": { version: "1.0.0", integrity: "sha512-d", optional: true, os: ["darwin"], cpu: ["arm64"] }
    }
  }
  const { "node_modules/a": a, "node_modules/b-linux": linux } = lock.packages
  const matches = (packages: Record<string, object>) => treeMatches(lock, { packages }, "linux", "x64")
  assert.ok(matches({ "node_modules/a": a, "node_modules/b-linux": linux }))
  assert.not(matches({ "node_modules/a": a }), "the native package of this machine is missing")
  assert.not(matches({ "node_modules/b-linux": linux }), "a package is missing")
  assert.not(matches({ "node_modules/a": { ...a, version: "1.0.1" }, "node_modules/b-linux": linux }), "another version")
  assert.not(matches({ "node_modules/a": { ...a, integrity: "sha512-x" }, "node_modules/b-linux": linux }), "another content")
  assert.not(treeMatches(lock, undefined))
})

test("errors of the file system become a sentence and a mend; others stay what they are", () => {
  const errno = (code: string, extra: object = {}) => Object.assign(new Error(code), { code, ...extra })
  for (const [error, message] of [
    [errno("ENOSPC"), /disk of \/home\/x is full/],
    [errno("EROFS", { path: "/home/x/bin" }), /\/home\/x\/bin cannot be written/],
    [errno("EACCES"), /\/home\/x cannot be written/],
    [errno("ENOTDIR", { path: "/home/x" }), /a file stands where a folder is needed/],
    [errno("ENOENT", { syscall: "mkdir", path: "/home/x" }), /cannot be made/]
  ] as const) {
    const explained = explain(error, "/home/x")
    assert.ok(explained instanceof Trouble && message.test(explained.message) && explained.mend.includes("METAMEM_HOME"), String(error))
  }
  const mistake = new TypeError("a bug")
  assert.is(explain(mistake, "/home/x"), mistake)
})

test("two set-ups in one folder work one after the other, and the lock is gone after a failure too", async ({ folder }) => {
  const steps: Array<string> = []
  const work = (name: string) => withLock(folder, () => steps.push(`${name} waits`), async () => {
    steps.push(`${name} in`)
    await new Promise((done) => setTimeout(done, 50))
    steps.push(`${name} out`)
  })
  await Promise.all([work("a"), work("b")])
  assert.equal(steps, ["a in", "b waits", "a out", "b in", "b out"])
  let failure: unknown
  await withLock(folder, () => undefined, () => Promise.reject(new Error("no"))).catch((error: unknown) => (failure = error))
  assert.instance(failure, Error)
  assert.equal(readdirSync(folder), [])
})

test("a lock whose holder is dead or silent is taken over at once", async ({ folder }) => {
  const lock = join(folder, "setup.lock")
  const taken = () => withLock(folder, () => assert.unreachable("nothing to wait for"), async () => readFileSync(lock, "utf8"))
  writeFileSync(lock, `${hostname()} 4194305`)
  assert.is(await taken(), `${hostname()} ${process.pid}`)
  writeFileSync(lock, "another-machine 1")
  utimesSync(lock, 1, 1)
  assert.is(await taken(), `${hostname()} ${process.pid}`)
})

test("every part is pinned by version and by both checksums, and no two share a place", () => {
  const servers = Object.keys(natsWheels).map((key) => natsPart(...(key.split("-") as [string, string])))
  const parts = [...servers, ...encoderParts, languageModelPart]
  for (const part of parts) {
    assert.ok(part !== undefined)
    assert.match(part.version, /^\d+\.\d+\.\d+$/)
    assert.match(part.sha256, /^[0-9a-f]{64}$/)
    assert.match(part.wheelSha256, /^[0-9a-f]{64}$/)
    assert.ok(part.inside.length > 0 && part.megabytes > 0)
  }
  assert.is(new Set(parts.flatMap((part) => (part === undefined ? [] : [part.sha256, part.wheelSha256]))).size, 2 * parts.length)
  const places = [...encoderParts, languageModelPart].map((part) => part.path)
  assert.is(new Set(places).size, places.length)
  assert.is(natsPart("win32", "x64"), undefined)
})

test.run()
