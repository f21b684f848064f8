/**
 * The local model as a process:
 *
 *     node services/localmodel/main.ts [--model FILE] [--host H] [--port N] [--context-tokens N] [--threads N] [--waiting N] [--with-parent]
 *
 * Prints one line of JSON when it serves, or when it cannot, and ends on SIGTERM, SIGINT or, with `--with-parent`, when its standard input
 * closes. Exit codes: 0 ended as asked, 1 cannot serve, 2 wrong usage.
 */
import { setPriority } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Config, Effect, Schema } from "effect"
import type { Announcement } from "./child.ts"
import { settingInWords } from "#shared/home/wrong-settings"
import { serve } from "./server.ts"
import { type ServeOptions, settings } from "./settings.ts"

/** How much nicer than its parent the process is: whoever answers people goes first. */
const niceness = 5
/** How long ending may take before the process ends itself. */
const endLimitMs = 3_000

class WrongUsage extends Schema.TaggedError<WrongUsage>()("WrongUsage", { message: Schema.String }) {}

const say = (line: typeof Announcement.Type): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

const read = (text: string | undefined, name: string, otherwise: number, least: number, most: number): number => {
  const value = text === undefined ? otherwise : Number(text)
  if (!Number.isInteger(value) || value < least || value > most) throw new RangeError(`--${name} is to be a whole number from ${least} to ${most}`)
  return value
}

interface Arguments extends ServeOptions {
  readonly withParent: boolean
}

const readArguments = Effect.gen(function*() {
  const standing = yield* settings
  const home = yield* Config.String("METAMEM_HOME").pipe(Config.withDefault(".metamem"))
  const modelPath = yield* Config.String("METAMEM_LOCAL_MODEL").pipe(Config.withDefault(join(home, "models", "smollm2", "model.gguf")))
  return yield* Effect.try({
    try: (): Arguments => {
      const { values } = parseArgs({
        options: {
          model: { type: "string" },
          host: { type: "string" },
          port: { type: "string" },
          "context-tokens": { type: "string" },
          threads: { type: "string" },
          waiting: { type: "string" },
          "with-parent": { type: "boolean" }
        }
      })
      return {
        modelPath: values.model ?? modelPath,
        host: values.host ?? "127.0.0.1",
        port: read(values.port, "port", 0, 0, 65_535),
        contextTokens: read(values["context-tokens"], "context-tokens", standing.contextTokens, 128, 131_072),
        threads: read(values.threads, "threads", standing.threads, 1, 64),
        waiting: read(values.waiting, "waiting", standing.waiting, 0, 10_000),
        withParent: values["with-parent"] ?? false
      }
    },
    catch: (error) => new WrongUsage({ message: error instanceof Error ? error.message : String(error) })
  })
})

const asked = (withParent: boolean): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const end = () => {
      // Should ending itself hang, nothing is lost by ending hard: this process keeps no state.
      setTimeout(() => process.kill(process.pid, "SIGKILL"), endLimitMs).unref()
      resume(Effect.void)
    }
    process.once("SIGTERM", end)
    process.once("SIGINT", end)
    if (withParent) {
      process.stdin.once("end", end).once("close", end).once("error", end)
      process.stdin.resume()
    }
  })

const main = Effect.gen(function*() {
  const options = yield* readArguments
  if (options.withParent) setPriority(niceness)
  const serving = Effect.scoped(Effect.flatMap(serve(options), (served) => Effect.andThen(Effect.sync(() => say(served)), Effect.never)))
  yield* Effect.raceFirst(asked(options.withParent), serving)
  return 0
}).pipe(
  Effect.catchTag("LocalModelUnavailable", ({ message, path, reason }) =>
    Effect.sync(() => {
      say({ error: { path, reason, message } })
      process.stderr.write(`local model: ${message}\n`)
      return 1
    })),
  Effect.catch((error) =>
    Effect.sync(() => {
      process.stderr.write(`local model: ${settingInWords(error).message}\n`)
      return 2
    }))
)

process.exitCode = await Effect.runPromise(main)
process.stdin.destroy()
