import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { takeFileLock } from "#shared/home/file-lock"

const test = suite("file locks")
const folder = mkdtempSync(join(tmpdir(), "metamem-test-"))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))

test("one holds it, and who comes next gets it when it is let go", () => {
  const path = join(folder, "a.lock")
  const one = takeFileLock(path)
  assert.equal([one?.wasDamaged, takeFileLock(path)], [false, undefined])
  one?.release()
  const two = takeFileLock(path)
  assert.is(two?.wasDamaged, false)
  two?.release()
})

for (const [what, content] of [["a few letters", "garbage"], ["zeros", Buffer.alloc(5_000)], ["the beginning of a database", "SQLite format 3\0and no more"]] as const) {
  test(`a file damaged by ${what} is taken over, and is sound from then on`, () => {
    const path = join(folder, `${what}.lock`)
    writeFileSync(path, content)
    const lock = takeFileLock(path)
    assert.equal([lock?.wasDamaged, takeFileLock(path), statSync(path).size], [true, undefined, 0])
    lock?.release()
    const again = takeFileLock(path)
    assert.is(again?.wasDamaged, false)
    again?.release()
  })
}

test("a lock that another process holds stays held, whatever is written into its file", async () => {
  const path = join(folder, "held.lock")
  const holder = spawn(process.execPath, ["-e", `const { DatabaseSync } = require("node:sqlite"); const lock = new DatabaseSync(${JSON.stringify(path)}); lock.exec("BEGIN EXCLUSIVE"); console.log("held"); setInterval(() => lock, 1000)`], { stdio: ["ignore", "pipe", "ignore"] })
  await new Promise((done) => holder.stdout.once("data", done))
  writeFileSync(path, "garbage")
  assert.is(takeFileLock(path), undefined)
  const ended = new Promise((done) => holder.once("exit", done))
  holder.kill("SIGKILL")
  await ended
  const lock = takeFileLock(path)
  assert.is(lock?.wasDamaged, true)
  lock?.release()
})

test("what is no file is refused and left as it is", () => {
  const path = join(folder, "folder.lock")
  mkdirSync(join(path, "inside"), { recursive: true })
  assert.throws(() => takeFileLock(path))
  assert.ok(statSync(join(path, "inside")).isDirectory())
  assert.throws(() => takeFileLock(join(folder, "nowhere", "a.lock")))
})

test.run()
