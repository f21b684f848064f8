/** The local model as a process: it starts, refuses clearly, comes back after a crash and never outlives who started it. */
import { spawn as spawnProcess } from "node:child_process"
import { copyFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { getPriority, tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { createInterface } from "node:readline"
import { Effect, Exit, Schedule, Scope } from "effect"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { spawn } from "#services/localmodel/child"
import { effect } from "#test/support/effect"

const modelPath = resolve(process.env["METAMEM_LOCAL_MODEL"] ?? join(".metamem", "models", "smollm2", "model.gguf"))
const options = { modelPath, host: "127.0.0.1", port: 0, contextTokens: 512, threads: 1, waiting: 4 }
const folder = mkdtempSync(join(tmpdir(), "metamem-localmodel-"))
test.after(() => rmSync(folder, { recursive: true }))

const pidOf = (url: string): Effect.Effect<number, Error> =>
  Effect.tryPromise({
    try: async () => ((await (await fetch(url.replace(/\/v1$/, "/health"))).json()) as { pid: number }).pid,
    catch: (error) => new Error(`not reached: ${String(error)}`)
  })
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
const gone = (pid: number) =>
  Effect.suspend(() => (isAlive(pid) ? Effect.fail("alive") : Effect.void)).pipe(Effect.retry(Schedule.max([Schedule.spaced("50 millis"), Schedule.recurs(100)])))

effect(test, "it serves from another process, at lower priority, and ends with its scope", () =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const { model, url } = yield* spawn(options).pipe(Scope.provide(scope))
    const pid = yield* pidOf(url)
    assert.is.not(pid, process.pid)
    assert.ok(getPriority(pid) > getPriority())
    assert.match(model, /smollm2/)
    yield* Scope.close(scope, Exit.void)
    assert.not.ok(isAlive(pid))
  }), 60_000)

effect(test, "a process that dies is replaced at the same address", () =>
  Effect.gen(function*() {
    const { url } = yield* spawn(options)
    const first = yield* pidOf(url)
    process.kill(first, "SIGKILL")
    const second = yield* pidOf(url).pipe(
      Effect.filterOrFail((pid) => pid !== first, () => new Error("still the first")),
      Effect.retry(Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(200)]))
    )
    assert.ok(isAlive(second))
  }), 60_000)

effect(test, "a replacement that cannot load is not the last one", () =>
  Effect.gen(function*() {
    const [model, away] = [join(folder, "moved.gguf"), join(folder, "away.gguf")]
    copyFileSync(modelPath, model)
    const { url } = yield* spawn({ ...options, modelPath: model })
    const first = yield* pidOf(url)
    renameSync(model, away)
    process.kill(first, "SIGKILL")
    // Time for one replacement to look for the model.
    yield* Effect.sleep(2_000)
    assert.is((yield* Effect.result(pidOf(url)))._tag, "Failure")
    renameSync(away, model)
    const second = yield* pidOf(url).pipe(Effect.retry(Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(300)])))
    assert.is.not(second, first)
  }), 60_000)

effect(test, "it ends within seconds when its parent is killed", () =>
  Effect.gen(function*() {
    const parentProgram = join(folder, "parent.ts")
    writeFileSync(
      parentProgram,
      `import { Effect } from ${JSON.stringify(import.meta.resolve("effect"))}
       import { spawn } from ${JSON.stringify(import.meta.resolve("#services/localmodel/child"))}
       await Effect.runPromise(Effect.scoped(Effect.flatMap(spawn(${JSON.stringify(options)}), ({ url }) => {
         console.log(url)
         return Effect.never
       })))`
    )
    const parent = yield* Effect.acquireRelease(
      Effect.sync(() => spawnProcess(process.execPath, [parentProgram], { stdio: ["ignore", "pipe", "inherit"] })),
      (parent) => Effect.sync(() => parent.kill("SIGKILL"))
    )
    const url = yield* Effect.callback<string>((resume) => void createInterface({ input: parent.stdout }).once("line", (line) => resume(Effect.succeed(line))))
    const pid = yield* pidOf(url)
    parent.kill("SIGKILL")
    yield* gone(pid)
  }), 60_000)

effect(test, "a model file cut short is refused before it is loaded", () =>
  Effect.gen(function*() {
    const cut = join(folder, "cut.gguf")
    copyFileSync(modelPath, cut)
    truncateSync(cut, 50_000_000)
    const error = yield* Effect.flip(spawn({ ...options, modelPath: cut }))
    assert.is(error.reason, "cut-short")
    assert.ok(error.message.includes(cut) && error.message.includes("npm run setup"), error.message)
  }), 30_000)

effect(test, "a file that is no model is refused", () =>
  Effect.gen(function*() {
    const page = join(folder, "page.gguf")
    writeFileSync(page, "<html>404</html>".repeat(1_000))
    assert.is((yield* Effect.flip(spawn({ ...options, modelPath: page }))).reason, "not-gguf")
    assert.is((yield* Effect.flip(spawn({ ...options, modelPath: join(folder, "none.gguf") }))).reason, "missing")
  }), 30_000)

effect(test, "a port in use is named", () =>
  Effect.gen(function*() {
    const port = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const server = createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ).pipe(Effect.map((server) => (server.address() as { port: number }).port))
    const error = yield* Effect.flip(spawn({ ...options, port }))
    assert.is(error.reason, "port-in-use")
    assert.ok(error.message.includes(String(port)), error.message)
  }), 60_000)

const program = join(import.meta.dirname, "../../../services/localmodel/main.ts")
/** Runs the program until its first line, then does `then` with it; gives line and exit code. */
const run = (args: ReadonlyArray<string>, then: (kill: (signal: NodeJS.Signals) => void) => void) =>
  Effect.callback<{ readonly line: string; readonly code: number | null }>((resume) => {
    const child = spawnProcess(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "ignore"] })
    let line = ""
    createInterface({ input: child.stdout }).once("line", (first) => {
      line = first
      then((signal) => child.kill(signal))
    })
    child.once("close", (code) => resume(Effect.succeed({ line, code })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

effect(test, "alone it prints its address, lives with no standard input, and ends cleanly on a signal", () =>
  Effect.gen(function*() {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const { code, line } = yield* run(["--model", modelPath, "--threads", "1"], (kill) => setTimeout(() => kill(signal), 200))
      assert.match((JSON.parse(line) as { url: string }).url, /^http:\/\/127\.0\.0\.1:\d+\/v1$/)
      assert.is(code, 0)
    }
  }), 60_000)

effect(test, "wrong usage ends with code 2, no model with code 1", () =>
  Effect.gen(function*() {
    for (const args of [["--port", "x"], ["--threads", "0"], ["--colour"]]) assert.is((yield* run(args, () => {})).code, 2)
    const { code, line } = yield* run(["--model", join(folder, "none.gguf")], () => {})
    assert.is(code, 1)
    assert.is((JSON.parse(line) as { error: { reason: string } }).error.reason, "missing")
  }), 30_000)

test.run()
