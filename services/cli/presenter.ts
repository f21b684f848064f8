/** Where help goes: to stdout when it is what was asked for, else to stderr, and with `--json` always there, since stdout is data. */
import { Console, Effect } from "effect"
import { CliOutput } from "effect/cli"

/** True where the arguments ask for JSON, whether or not they make sense otherwise. */
const wantsJson = (args: ReadonlyArray<string>): boolean => {
  const end = args.indexOf("--")
  return (end === -1 ? args : args.slice(0, end)).some((arg) => arg === "--json" || arg === "--json=true")
}

/** @param args of the process */
export const presenterFor = (args: ReadonlyArray<string>): CliOutput.Presenter => {
  const { present } = CliOutput.defaultPresenter
  return {
    present: (event) =>
      event._tag === "InvalidInvocation" || wantsJson(args)
        ? Effect.gen(function*() {
          const talking = yield* Console.Console
          yield* Effect.provideService(present(event), Console.Console, Object.assign(Object.create(talking) as Console.Console, { log: talking.error.bind(talking) }))
        })
        : present(event)
  }
}
