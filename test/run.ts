/**
 * The test runner: one process a test file, uvu suites inside, and a closing line that can be trusted.
 *
 *     node test/run.ts [--fast] [--file PART] [PATH …]
 *
 * `--fast` leaves out `.int.test.ts` and everything in `system/`. uvu itself ends with code 0 when a test rejects with a
 * non-Error, when a hook throws, when a file never calls `.run()` and when `only` was left in; each of these fails here.
 */
import { spawn } from "node:child_process"
import { readdirSync } from "node:fs"
import { join, relative } from "node:path"
import { parseArgs } from "node:util"

const root = import.meta.dirname
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { fast: { type: "boolean" }, file: { type: "string" } }
})

const isSlow = (path: string): boolean => path.endsWith(".int.test.ts") || path.startsWith("system/")
const files = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".test.ts"))
  .filter((path) => !(values.fast && isSlow(path)))
  .filter((path) => values.file === undefined || path.includes(values.file))
  .filter((path) => positionals.length === 0 || positionals.some((wanted) => relative(root, join(process.cwd(), wanted)) === path))
  .sort()

const fileLimitMs = (path: string): number => (isSlow(path) ? 600_000 : 60_000)

interface Outcome {
  readonly path: string
  readonly passed: number
  readonly failed: number
  readonly output: string
  readonly ms: number
}

const runFile = (path: string): Promise<Outcome> =>
  new Promise((resolve) => {
    const started = performance.now()
    const child = spawn(process.execPath, [join(root, "support/run-file.ts"), join(root, path)], {
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill("SIGKILL")
    }, fileLimitMs(path))
    child.stdout.on("data", (data) => (output += data))
    child.stderr.on("data", (data) => (output += data))
    child.on("close", (code) => {
      clearTimeout(timer)
      const counts = /^##counts (\d+) (\d+)$/m.exec(output)
      const passed = Number(counts?.[1] ?? 0)
      let failed = Number(counts?.[2] ?? 0)
      if (timedOut) {
        output += `\ntime limit of ${fileLimitMs(path)} ms exceeded\n`
        failed += 1
      } else if (counts === null || (code !== 0 && failed === 0)) {
        output += `\nthe file ended with code ${code} ${counts === null ? "before its tests were counted" : ""}\n`
        failed += 1
      }
      resolve({ path, passed, failed, output: output.replace(/^##counts.*$/m, ""), ms: performance.now() - started })
    })
  })

let passed = 0
let failed = 0
const report = (outcome: Outcome): void => {
  passed += outcome.passed
  failed += outcome.failed
  const mark = outcome.failed === 0 ? "ok  " : "FAIL"
  console.log(`${mark} ${outcome.path}  ${outcome.passed} passed, ${outcome.failed} failed  ${(outcome.ms / 1000).toFixed(1)} s`)
  if (outcome.failed > 0) console.log(outcome.output.replace(/^/gm, "     "))
}

// Pure files share the two cores; files that measure real servers and models run one at a time.
const queue = files.filter((path) => !isSlow(path))
await Promise.all(
  [0, 1].map(async () => {
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) report(await runFile(path))
  })
)
for (const path of files.filter(isSlow)) report(await runFile(path))
if (files.length === 0) {
  console.log("no test file matches")
  failed += 1
}
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
