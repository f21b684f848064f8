import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { actorFlags, sizesItself } from "#shared/home/actor-flags"

const test = suite("flags of actor processes")

/** What a process that takes the flags says of itself. */
const said = (flags: ReadonlyArray<string>, nodeOptions = "") => {
  const file = join(import.meta.dirname, "../../../shared/home/actor-flags.ts")
  const code = `const { takeActorFlags } = await import(${JSON.stringify(file)}); const before = process.pid; takeActorFlags(); console.log(JSON.stringify({ flags: process.execArgv, rest: process.argv.slice(1) }))`
  const { status, stdout } = spawnSync(process.execPath, [...flags, "--input-type=module", "--eval", code, "a", "b"], { encoding: "utf8", env: { ...process.env, NODE_OPTIONS: nodeOptions } })
  assert.is(status, 0)
  return JSON.parse(stdout) as { flags: ReadonlyArray<string>; rest: ReadonlyArray<string> }
}

test("a process started without them goes on with them, its other flags and its arguments", () => {
  const { flags, rest } = said(["--no-warnings"])
  assert.equal(flags.slice(0, 2), [...actorFlags, "--no-warnings"])
  assert.equal(rest, ["a", "b"])
})

test("a process whose room was set stays as it was started", () => {
  assert.not.ok(said(["--max-semi-space-size=8"]).flags.includes(actorFlags[0] ?? ""))
  assert.not.ok(said([], "--max_semi_space_size=8").flags.includes(actorFlags[0] ?? ""))
  assert.ok(sizesItself(["--min-semi-space-size=1"]) && !sizesItself(["--max-old-space-size=100"], "--no-warnings"))
})

test.run()
