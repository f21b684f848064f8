/** The `metamem` command: its parts put together, its exit codes. */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Effect, Exit, Layer, Logger, References } from "effect"
import { CliError, CliOutput, Command } from "effect/cli"
import { settingInWords } from "#shared/home/wrong-settings"
import { root } from "./root.ts"
import { evolutionCommands } from "./evolution.ts"
import { demo } from "./demo.ts"
import { memoryCommands } from "./memory.ts"
import { operationCommands } from "./operation.ts"
import { presenterFor } from "./presenter.ts"

const version = "0.1.0"

/** Errors a person can act on are one line on stderr; only bugs show a trace. */
const describe = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  if (typeof error === "object" && error !== null && "_tag" in error && "message" in error && String(error.message) !== "") return String(error.message)
  return Cause.pretty(cause)
}

const exitCode = (error: unknown): number => {
  if (CliError.isCliError(error)) return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 2
  return typeof error === "object" && error !== null && "_tag" in error && error._tag === "WrongUsage" ? 2 : 1
}

const program = root.pipe(
  Command.withSubcommands([demo, ...memoryCommands, ...evolutionCommands, ...operationCommands]),
  Command.run({ version }),
  Effect.scoped,
  Effect.mapError((error) => settingInWords(error)),
  Effect.provide(Layer.mergeAll(
    NodeServices.layer,
    CliOutput.layerPresenter(presenterFor(process.argv.slice(2))),
    // stdout is data: whatever is logged goes to stderr.
    Logger.layer([Logger.withConsoleError(Logger.formatSimple)]),
    Layer.succeed(References.MinimumLogLevel, "Warn")
  )),
  Effect.tapCause((cause) =>
    Effect.sync(() => {
      const error = Cause.squash(cause)
      if (!Cause.hasInterruptsOnly(cause) && !CliError.isCliError(error)) process.stderr.write(`metamem: ${describe(cause)}\n`)
    })
  )
)

NodeRuntime.runMain(program, {
  disableErrorReporting: true,
  teardown: (exit, onExit) => {
    if (Exit.isSuccess(exit)) onExit(0)
    else if (Cause.hasInterruptsOnly(exit.cause)) onExit(130)
    else onExit(exitCode(Cause.squash(exit.cause)))
  }
})
