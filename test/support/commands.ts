/** Runs commands of the command line in this process, with what they print captured. */
import { NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Exit, Layer, Logger } from "effect"
import { Command } from "effect/cli"
import { root } from "#services/cli/root"

export interface CommandOutcome {
  /** The one document on stdout, parsed; undefined when nothing was printed. */
  readonly json: any
  /** Message of the failure; "" when there was none. */
  readonly error: string
}

/**
 * Gives a function that runs the root command with these subcommands and `--json` on one home and server.
 *
 * @param commands subcommands under test
 */
export const commandRunner = (commands: ReadonlyArray<Command.Command<any, any, any, any, any>>, home: string, url: string) => {
  const run = Command.runWith(root.pipe(Command.withSubcommands(commands as never)), { version: "0" })
  return (...args: ReadonlyArray<string>): Effect.Effect<CommandOutcome> =>
    Effect.gen(function*() {
      const printed: Array<string> = []
      const quiet = Object.assign(Object.create(console) as Console.Console, { log: (line: unknown) => void printed.push(String(line)), error: () => undefined })
      const exit = yield* (run([...args, "--json", "--home", home, "--nats", url]) as unknown as Effect.Effect<void, unknown>).pipe(
        Effect.scoped,
        // As the program has it: what is logged is no part of the data.
        Effect.provide(Layer.merge(NodeServices.layer, Logger.layer([Logger.withConsoleError(Logger.formatSimple)]))),
        Effect.provideService(Console.Console, quiet),
        Effect.exit
      )
      const failure = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      return {
        json: printed.length === 0 ? undefined : JSON.parse(printed.join("\n")),
        error: failure === undefined ? "" : failure instanceof Error && failure.message !== "" ? failure.message : Cause.pretty(exit._tag === "Failure" ? exit.cause : Cause.empty)
      }
    })
}
