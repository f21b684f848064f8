/**
 * `metamem eval` and `metamem infer` as a person gives them, beside the ideal of their two stages, answering and judging: the whole
 * command from its start to its end, and what it says of the answering alone. Memories stand and actors run before.
 */
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import type { Question } from "#shared/domain/question"
import { root, CommandFailed } from "../root.ts"
import { splitRows } from "../split.ts"
import { secondsSince } from "./load.ts"

export interface EvaluationOptions {
  readonly home: string
  readonly url: string
  readonly run: string
  /** Questions of each command; none may be in both, since a reply is paid for once. */
  readonly questions: { readonly eval: ReadonlyArray<Question>; readonly infer: ReadonlyArray<Question> }
  /** As the command's own settings. */
  readonly env: Readonly<Record<string, string>>
}

export interface EvaluationFigures {
  /** From the command's start to its end, its own start included. */
  readonly wholeSeconds: number
  /** From the first question asked to the last verdict. */
  readonly stageSeconds: number
}

/** Longest either command may take, in milliseconds. */
const limitMs = 300_000

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Struct({ seconds: Schema.Finite })))

const timed = (options: EvaluationOptions, given: ReadonlyArray<string>): Effect.Effect<EvaluationFigures, CommandFailed> =>
  Effect.gen(function*() {
    const started = performance.now()
    const said = yield* Effect.callback<string, CommandFailed>((resume) => {
      // By `env`, which adds the settings to what is inherited.
      const settings = Object.entries(options.env).map(([name, value]) => `${name}=${value}`)
      const command = [process.execPath, ...process.execArgv, join(import.meta.dirname, "..", "main.ts"), ...given, "--run", options.run, "--home", options.home, "--nats", options.url, "--json"]
      const child = spawn("env", [...settings, ...command], {
        stdio: ["ignore", "pipe", "pipe"],
        timeout: limitMs
      })
      let output = ""
      let talk = ""
      child.stdout.on("data", (data) => {
        output += String(data)
      })
      child.stderr.on("data", (data) => {
        talk = `${talk}${data}`.slice(-2_000)
      })
      child.once("error", (error) => resume(Effect.fail(new CommandFailed({ message: `metamem ${given[0]} cannot be started: ${error.message}` }))))
      child.once("exit", (code) => resume(code === 0 ? Effect.succeed(output) : Effect.fail(new CommandFailed({ message: `metamem ${given[0]} ended with ${code === null ? "its time limit" : `code ${code}`}: ${talk}` }))))
      return Effect.sync(() => void child.kill())
    })
    const wholeSeconds = secondsSince(started)
    const { seconds } = yield* decode(said).pipe(Effect.mapError((error) => new CommandFailed({ message: `metamem ${given[0]} does not say how long it took: ${error.message}` })))
    return { wholeSeconds, stageSeconds: seconds }
  })

export const measureEvaluation = (options: EvaluationOptions) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const files = { eval: join(options.home, "eval.json"), infer: join(options.home, "infer.json") }
    for (const name of ["eval", "infer"] as const) writeFileSync(files[name], JSON.stringify(splitRows(options.questions[name])))
    const common = ["--tenant", tenant]
    return {
      eval: yield* timed(options, ["eval", "--data", files.eval, "--generations", "0", ...common]),
      infer: yield* timed(options, ["infer", "--data", files.infer, "--generation", "0", "--out", join(options.home, "answers.jsonl"), ...common])
    }
  })
