/**
 * Runs the suites of one test file in this process and prints `##counts passed failed` for `test/run.ts`.
 * Uses uvu's deferred mode, because its own runner loses failures that are not Errors.
 */
import { pathToFileURL } from "node:url"

const path = process.argv[2]
if (path === undefined) throw new Error("usage: run-file.ts FILE")

type Suite = (only?: boolean) => Promise<[errors: string, ran: number, skipped: number, total: number]>
const globals = globalThis as unknown as { UVU_DEFER: number; UVU_QUEUE: Array<Array<unknown>>; UVU_INDEX: number }
globals.UVU_DEFER = 1
globals.UVU_QUEUE = [[path]]
globals.UVU_INDEX = 0

let passed = 0
let failed = 0
const fail = (what: string): void => {
  failed += 1
  console.error(what)
}
process.on("unhandledRejection", (reason) => fail(`unhandled rejection: ${reason instanceof Error ? reason.stack : String(reason)}`))

try {
  await import("uvu")
  await import(pathToFileURL(path).href)
  const suites = globals.UVU_QUEUE[0]?.slice(1) as Array<Suite>
  if (suites.length === 0) fail("no suite was run: does the file end in test.run()?")
  for (const suite of suites) {
    try {
      const [errors, ran, skipped, total] = await suite()
      if (total === 0) fail("a suite without tests")
      if (skipped > 0) fail(`${skipped} tests were skipped (skip or only left in)`)
      passed += ran
      failed += total - ran
      if (errors !== "") console.error(errors)
    } catch (error) {
      fail(`a hook or a non-Error failed: ${error instanceof Error ? error.stack : String(error)}`)
    }
  }
} catch (error) {
  fail(`the file could not be loaded: ${error instanceof Error ? error.stack : String(error)}`)
}
console.log(`\n##counts ${passed} ${failed}`)
process.exit(failed === 0 ? 0 : 1)
