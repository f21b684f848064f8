/** The packed package as somebody installs it, without network: its command, its worker threads and child processes, its set-up. */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { findServerBinary } from "#shared/home/server"
import { setUpHome } from "#test/support/nats"

const root = join(import.meta.dirname, "../..")
const test = suite<{ folder: string }>("the packed package")
test.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "metamem-package-"))
})
test.after(({ folder }) => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))

test("installed below node_modules, metamem runs, embeds and serves the local model, and sets itself up", ({ folder }) => {
  execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: root })
  const [archive = ""] = readdirSync(folder)
  execFileSync("tar", ["xzf", archive], { cwd: folder })
  const modules = join(folder, "node_modules")
  mkdirSync(modules)
  for (const name of readdirSync(join(root, "node_modules"))) if (!name.startsWith(".")) symlinkSync(join(root, "node_modules", name), join(modules, name))
  const installed = join(modules, "metamem")
  renameSync(join(folder, "package"), installed)
  assert.equal(readdirSync(installed).sort(), ["CHANGELOG.md", "LICENSE", "README.md", "data", "deploy", "package.json", "services", "shared"])

  const { METAMEM_HOME: _, METAMEM_LLM_URL: __, ...environment } = process.env
  const env = {
    ...environment,
    METAMEM_NATS_SERVER: findServerBinary(setUpHome, process.env["METAMEM_NATS_SERVER"]) ?? "",
    METAMEM_MINILM_DIR: process.env["METAMEM_MINILM_DIR"] ?? join(setUpHome, "models/minilm"),
    METAMEM_LOCAL_MODEL: process.env["METAMEM_LOCAL_MODEL"] ?? join(setUpHome, "models/smollm2/model.gguf")
  }
  const run = (...args: ReadonlyArray<string>) => spawnSync(process.execPath, [join(installed, "deploy/metamem.mjs"), ...args], { cwd: folder, env, encoding: "utf8", timeout: 150_000 })

  const told = run("doctor", "--json")
  assert.equal([told.status, told.stderr], [0, ""])
  const checks: ReadonlyArray<{ name: string; detail: string }> = JSON.parse(told.stdout).checks
  assert.match(checks.find(({ name }) => name === "embedding model")?.detail ?? "", /loads/)
  assert.match(checks.find(({ name }) => name === "local model")?.detail ?? "", /^for every role: /)
  assert.is(run("nothing").status, 2)
  const setup = run("setup")
  assert.is(setup.status, 0)
  assert.match(setup.stdout + setup.stderr, /npm packages: +installed with this one/)
})

test.run()
