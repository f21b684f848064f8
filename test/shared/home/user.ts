/** A process that uses a home's server until its stdin ends: `node user.ts HOME BINARY`. Says on stdout what it got, as JSON. */
import { Effect } from "effect"
import { homeServer } from "#shared/home/server"

const [home = "", binary = ""] = process.argv.slice(2)
const ended = new Promise((done) => process.stdin.once("end", done).resume())

await Effect.runPromise(
  homeServer({ home, binary }).pipe(
    Effect.tap((server) => Effect.sync(() => process.stdout.write(`${JSON.stringify(server)}\n`))),
    Effect.andThen(Effect.promise(() => ended)),
    Effect.scoped,
    Effect.catch((error) => Effect.sync(() => process.stdout.write(`${JSON.stringify({ error: error.message })}\n`)))
  )
)
process.exit(0)
