/** Worker processes of a test: started, killed, stopped and ended with the scope. */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { Effect } from "effect"
import { until } from "./tally.ts"

export interface WorkerProcess {
  readonly kill: (signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT") => void
  /** Waits until the worker stands between reading and committing, `times` in all. */
  readonly working: (times?: number) => Effect.Effect<void, Error>
}

/** @param slowMs how long it stands between reading and committing */
export const workerProcess = (url: string, name: string, kind: "signals" | "jobs", slowMs: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        let output = ""
        const child = spawn(process.execPath, [join(import.meta.dirname, "worker.ts"), url, name, kind, String(slowMs)], { stdio: ["ignore", "pipe", "pipe"] })
        child.stdout.on("data", (data) => (output += data))
        child.stderr.on("data", (data) => (output += data))
        return { child, read: () => output }
      }),
      ({ child }) => Effect.sync(() => void child.kill("SIGKILL"))
    ),
    ({ child, read }): WorkerProcess => ({
      kill: (signal) => void child.kill(signal),
      working: (times = 1) =>
        until(Effect.sync(() => read().split("working ").length > times), 15_000, `${name} starts work`).pipe(
          Effect.mapError((error) => new Error(`${error.message}; it said: ${read()}`))
        )
    })
  )
