/**
 * Files of the published system's folder of a training experiment as they are read: hashed in that order, and with what is lost by each
 * that is missing or damaged.
 */
import { createHash } from "node:crypto"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Result, Schema } from "effect"

/** A folder cannot be read as an experiment of the published system. */
export class ReferenceUnreadable extends Schema.TaggedError<ReferenceUnreadable>()("ReferenceUnreadable", {
  path: Schema.String,
  /** `foreign`: no such experiment; `damaged`: a file of it cannot be read. */
  reason: Schema.Literals(["missing", "foreign", "damaged"]),
  message: Schema.String
}) {}

export const openReference = Effect.fnUntraced(function*(path: string) {
  /** The refusal of the folder, or of a file that has to be whole. */
  const unreadable = (reason: ReferenceUnreadable["reason"], what: string, name?: string) => {
    const file = name === undefined ? path : join(path, name)
    return new ReferenceUnreadable({ path: file, reason, message: `${file} ${what}` })
  }
  const names = yield* Effect.tryPromise({
    try: () => readdir(path),
    catch: (error) => unreadable("missing", `cannot be read: ${(error as Error).message}. Give the folder that holds step_1, step_2 and so on.`)
  })
  const hashed = createHash("sha256")
  let files = 0
  const lost: Array<{ readonly file: string; readonly what: string }> = []
  const lose = (file: string, what: string): void => void lost.push({ file, what })

  /** A file's text; undefined where there is none. */
  const read = (name: string): Effect.Effect<string | undefined, ReferenceUnreadable> =>
    Effect.promise(() => readFile(join(path, name), "utf8").then((text) => ({ text }) as const, (error: NodeJS.ErrnoException) => ({ error }) as const)).pipe(
      Effect.flatMap((outcome) => {
        if ("error" in outcome) return outcome.error.code === "ENOENT" ? Effect.succeed(undefined) : Effect.fail(unreadable("damaged", `cannot be read: ${outcome.error.message}`, name))
        hashed.update(JSON.stringify([name, outcome.text]))
        files += 1
        return Effect.succeed(outcome.text)
      })
    )
  /** A file that can be done without. @param isWanted whether anything is lost where there is none */
  const readOr = <A>(name: string, decode: (text: string) => Result.Result<A, unknown>, without: string, isWanted = true) =>
    Effect.map(read(name), (text): A | undefined => {
      const value = text === undefined ? undefined : decode(text)
      if (value !== undefined && Result.isSuccess(value)) return value.success
      if (value !== undefined || isWanted) lose(name, `${value === undefined ? "is missing" : "is cut off or has another form"}: ${without}`)
      return undefined
    })
  return { names, unreadable, read, readOr, lose, all: () => ({ contents: hashed.digest("hex"), files, lost }) }
})
export type ReferenceFiles = Effect.Success<ReturnType<typeof openReference>>
