/** What the program writes where, as whoever starts it sees it. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"

const test = suite("the program's output")
const main = join(import.meta.dirname, "../../../services/cli/main.ts")

const runWith = (settings: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8", timeout: 20_000, env: { ...process.env, ...settings } })
  return { status, stderr, stdout }
}
const run = (...args: ReadonlyArray<string>) => runWith({}, ...args)

test("a call that makes no sense leaves stdout empty, with --json and without", () => {
  const senseless = [
    ["users", "list", "--nobody"], ["users", "export", "--user", "mira"], ["users", "erase", "--user", ""], ["memories", "list", "--user", "mira", "--limit", "many"], ["nothing"],
    ["memories", "list", "--user", "mira", "--limit", "0"], ["ask", "What?", "--user", "mira", "--as-of", "nonsense"]
  ]
  for (const json of [["--json"], []]) {
    for (const args of senseless) {
      const { status, stderr, stdout } = run(...args, ...json)
      assert.equal([status, stdout], [2, ""], args.join(" "))
      assert.match(stderr, /nobody|out|many|nothing|--limit is at least 1|is not a time|this one is empty/)
    }
  }
})

test("help that was asked for is on stdout, and with --json on stderr", () => {
  for (const args of [["users", "--help"], ["users"], ["--version"]]) {
    const plain = run(...args)
    const json = run(...args, "--json")
    assert.equal([plain.status, plain.stderr, json.status, json.stdout], [0, "", 0, ""], args.join(" "))
    assert.ok(plain.stdout !== "" && json.stderr === plain.stdout, args.join(" "))
  }
})

test("help names what stands where nothing is given", () => {
  const help = run("split", "--help").stdout + run("bench", "evolve", "--help").stdout
  for (const told of [/--mode .*default: stratified/, /--folds .*default 5/, /--policies .*default likely,always,proven/, /--steps .*default 35/, /--tenant .*default: local/]) assert.match(help, told)
})

test("a command that a setting stops says which, and what it takes", () => {
  assert.equal(runWith({ METAMEM_NATS_REPLICAS: "three" }, "log", "tail"), {
    status: 1, stdout: "", stderr: "metamem: the setting METAMEM_NATS_REPLICAS is \"three\"; it takes a whole number from 1 to 10000000\n"
  })
})

test("whoever stops reading the output ends the command without a word", () => {
  const home = mkdtempSync(join(tmpdir(), "metamem-piped-"))
  const piped = (command: string) => spawnSync("sh", ["-c", `"${process.execPath}" "${main}" ${command} --home "${home}" | true`], { encoding: "utf8", timeout: 60_000 }).stderr
  assert.not.match(piped("memories list --user mira --json"), /EPIPE|node:/)
  rmSync(home, { recursive: true, force: true })
})

test.run()
