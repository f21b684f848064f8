/** Actors in processes of their own: started, killed, started again, ended with the scope; and what they said. */
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schedule, type Scope } from "effect"
import type { ActorName } from "#shared/eventlog/subjects"
import { setUpHome } from "#test/support/nats"

export interface ActorProcess {
  readonly actor: ActorName
  /** Ends the process at once and waits until it is gone. */
  readonly kill: Effect.Effect<void>
  /** What it committed, by subject, in order. */
  readonly did: () => ReadonlyArray<string>
  readonly output: () => string
}

/** No local model: facts are taken by rule, and nobody asks a reader. */
const noReader = { METAMEM_LLM_URL: "http://127.0.0.1:1/v1" }

/**
 * Waits until it runs, at most 30 s.
 *
 * @param more further actors in the same process
 */
export const actorProcess = (
  actor: ActorName,
  url: string,
  home: string,
  settings: Readonly<Record<string, string>> = noReader,
  more: ReadonlyArray<ActorName> = []
): Effect.Effect<ActorProcess, Error, Scope.Scope> =>
  Effect.gen(function*() {
    let output = ""
    const gone = (child: ChildProcess) => new Promise<void>((done) => (child.exitCode !== null || child.signalCode !== null ? done() : child.once("exit", () => done())))
    const kill = (child: ChildProcess) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return gone(child)
      })
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(process.execPath, [join(import.meta.dirname, "actor-process.ts"), [actor, ...more].join(","), url, home], {
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...process.env, METAMEM_MINILM_DIR: join(setUpHome, "models/minilm"), METAMEM_EMBEDDING_THREADS: "1", ...settings }
        })
        child.stdout.on("data", (data) => (output += data))
        child.stderr.on("data", (data) => (output += data))
        return child
      }),
      kill
    )
    for (let waitedMs = 0; !output.startsWith("running\n") && !output.includes("\nrunning\n"); waitedMs += 20) {
      if (waitedMs > 30_000 || child.exitCode !== null) return yield* Effect.fail(new Error(`the ${actor} did not start: ${output}`))
      yield* Effect.sleep(20)
    }
    return { actor, kill: kill(child), did: () => [...output.matchAll(/^did (\S+)$/gm)].map(([, subject]) => subject ?? ""), output: () => output }
  }).pipe(
    // As whoever looks after actors does: the server may have been killed the moment before.
    Effect.retry({ schedule: Schedule.spaced("1 second"), times: 5 })
  )

/** Ends the home's server at once; whoever looks after it starts it again. */
export const killServer = (home: string): Effect.Effect<void> =>
  Effect.sync(() => {
    const { pid } = JSON.parse(readFileSync(join(home, "nats", "server.json"), "utf8")) as { readonly pid: number }
    process.kill(pid, "SIGKILL")
  })
