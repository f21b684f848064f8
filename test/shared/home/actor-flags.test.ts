import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { actorStart, sizesItself } from "#shared/home/actor-flags"

const test = suite("how actor processes are started")

/** What a process that starts itself anew says of itself. */
const said = (flags: ReadonlyArray<string>, environment: Readonly<Record<string, string>> = {}) => {
  const file = join(import.meta.dirname, "../../../shared/home/actor-flags.ts")
  const code = `const { takeActorStart } = await import(${JSON.stringify(file)}); takeActorStart(); console.log(JSON.stringify({ flags: process.execArgv, rest: process.argv.slice(1), bound: process.env.MALLOC_MMAP_THRESHOLD_, stores: process.env.MALLOC_ARENA_MAX }))`
  const { status, stdout } = spawnSync(process.execPath, [...flags, "--input-type=module", "--eval", code, "a", "b"], { encoding: "utf8", env: { PATH: process.env["PATH"], ...environment } })
  assert.is(status, 0)
  return JSON.parse(stdout) as { flags: ReadonlyArray<string>; rest: ReadonlyArray<string>; bound?: string; stores?: string }
}

test("a process started otherwise starts itself anew, with its other flags and its arguments", () => {
  const { bound, flags, rest, stores } = said(["--no-warnings"])
  assert.equal(flags.slice(0, 3), ["--max-semi-space-size=2", "--heap-growing-percent=33", "--no-warnings"])
  assert.equal(rest, ["a", "b"])
  assert.is(bound, "1048576")
  assert.is(stores, "2")
})

test("what was set by whoever started it stays", () => {
  assert.equal(said(["--max-semi-space-size=8"]).flags[0], "--max-semi-space-size=8")
  assert.not.ok(said([], { NODE_OPTIONS: "--max_semi_space_size=8" }).flags.includes("--max-semi-space-size=2"))
  assert.is(said([], { MALLOC_MMAP_THRESHOLD_: "5" }).bound, "5")
  assert.ok(sizesItself(["--min-semi-space-size=1"]) && !sizesItself(["--max-old-space-size=100"], "--no-warnings"))
})

test("a child gets flags and environment of its parent, and the actor's", () => {
  assert.equal(actorStart(["--cpu-prof"], { A: "1" }), { execArgv: ["--max-semi-space-size=2", "--heap-growing-percent=33", "--cpu-prof"], env: { MALLOC_MMAP_THRESHOLD_: "1048576", MALLOC_ARENA_MAX: "2", A: "1" } })
})

test.run()
