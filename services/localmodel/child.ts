/**
 * The local model in a process of its own: it runs at lower priority than the actors, a crash of native code takes nothing along, and a
 * load that hangs can be ended. It never outlives its parent: its standard input is a pipe that the parent's end closes, however that came.
 */
import { type ChildProcess, spawn as spawnProcess } from "node:child_process"
import { extname, join } from "node:path"
import { createInterface } from "node:readline"
import { Effect, Schedule, Schema, type Scope } from "effect"
import { loadLimitMs, type Served, type ServeOptions } from "./settings.ts"
import { LocalModelUnavailable, reasons } from "./unavailable.ts"

/** The one line the process says on standard output. */
export const Announcement = Schema.Union([
  Schema.Struct({ url: Schema.String, model: Schema.String, fingerprint: Schema.String, contextTokens: Schema.Int }),
  Schema.Struct({ error: Schema.Struct({ path: Schema.String, reason: Schema.Literals(reasons), message: Schema.String }) })
])
const decodeAnnouncement = Schema.decodeUnknownEffect(Schema.fromJsonString(Announcement))

/** Starting Node and the library comes on top of loading. */
const startLimitMs = loadLimitMs + 30_000
/** How long a process may take to end by itself. */
const endLimitMs = 4_000

const program = join(import.meta.dirname, `main${extname(import.meta.filename)}`)

const start = (options: ServeOptions): ChildProcess =>
  spawnProcess(
    process.execPath,
    [
      program,
      "--model", options.modelPath,
      "--host", options.host,
      "--port", String(options.port),
      "--context-tokens", String(options.contextTokens),
      "--threads", String(options.threads),
      "--waiting", String(options.waiting),
      "--with-parent"
    ],
    // A group of its own: Ctrl-C is for the parent, which may still want answers while it ends.
    { stdio: ["pipe", "pipe", "inherit"], detached: true }
  )

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null || child.pid === undefined

const ended = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (hasEnded(child)) return resume(Effect.void)
    const done = () => resume(Effect.void)
    child.once("exit", done)
    child.once("error", done)
    return Effect.sync(() => {
      child.off("exit", done)
      child.off("error", done)
    })
  })

const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.suspend(() => {
    child.stdin?.destroy()
    return Effect.timeoutOrElse(ended(child), {
      duration: endLimitMs,
      orElse: () => Effect.andThen(Effect.sync(() => child.kill("SIGKILL")), ended(child))
    })
  })

const firstLine = (child: ChildProcess): Effect.Effect<string> =>
  Effect.callback((resume) => {
    if (child.stdout === null) return resume(Effect.succeed(""))
    const lines = createInterface({ input: child.stdout })
    lines.once("line", (line) => resume(Effect.succeed(line)))
    lines.once("close", () => resume(Effect.succeed("")))
    child.once("error", () => resume(Effect.succeed("")))
  })

const unavailable = (options: ServeOptions, reason: "ended" | "time-limit", what: string) =>
  new LocalModelUnavailable({
    path: options.modelPath,
    reason,
    message: `the local model's process ${what} while it loaded ${options.modelPath}; see what it said on stderr, ` +
      "fetch the model again with `npm run setup`, or name an endpoint in METAMEM_LLM_URL"
  })

/** A process that serves, for as long as the scope lives. */
const running = (options: ServeOptions): Effect.Effect<{ readonly child: ChildProcess; readonly served: Served }, LocalModelUnavailable, Scope.Scope> =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = start(options)
        // Written to nobody: only its closing matters.
        child.stdin?.on("error", () => {})
        return child
      }),
      end
    )
    const announced = yield* firstLine(child).pipe(
      Effect.timeoutOrElse({ duration: startLimitMs, orElse: () => Effect.fail(unavailable(options, "time-limit", `said nothing for ${startLimitMs / 1000} s`)) }),
      Effect.flatMap(decodeAnnouncement),
      Effect.catchTag("SchemaError", () => Effect.fail(unavailable(options, "ended", "ended")))
    )
    if ("error" in announced) return yield* new LocalModelUnavailable(announced.error)
    return { child, served: announced }
  })

/**
 * Serves the model from a process of its own until the scope ends. Should that process die, another takes its place at the same address;
 * five are started at most, those that fail to load included. Requests in flight fail as connections do and are the client's to repeat.
 */
export const spawn = (options: ServeOptions): Effect.Effect<Served, LocalModelUnavailable, Scope.Scope> =>
  Effect.gen(function*() {
    const first = yield* running(options)
    const again = { ...options, port: Number(new URL(first.served.url).port) }
    const replace = Effect.scoped(Effect.flatMap(running(again), ({ child }) => ended(child))).pipe(Effect.catchTag("LocalModelUnavailable", (error) => Effect.logError(error.message)))
    yield* ended(first.child).pipe(
      Effect.andThen(Effect.logWarning("the local model's process ended unasked and is started again")),
      Effect.andThen(replace.pipe(Effect.repeat(Schedule.max([Schedule.spaced("1 second"), Schedule.recurs(4)])))),
      Effect.andThen(Effect.logError("the local model's process was started six times; it stays down until the next start")),
      Effect.forkScoped
    )
    return first.served
  })
