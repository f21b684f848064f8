/**
 * How a process that runs one actor is started, so that several of them share a machine's memory. Most of what an actor makes lives for one
 * message, and V8 lets the room for such things grow to 48 MB a process before it looks after it; with 6 MB it takes the same processor
 * time and a hundred megabytes less. What lives longer it lets grow to a multiple of what was there before it looks; a third is enough for
 * an actor, whose state grows slowly. What libraries free goes back to the system only where it was large enough to stand by itself; glibc
 * raises that bound to 32 MB as it goes, unless it is set, and so keeps what loading a large user took; and it keeps a store of its own for
 * every few threads, of which two are enough. A process of all actors has more to
 * do at once and keeps the usual room.
 */
const youngSpace = "--max-semi-space-size=2"
const oldGrowth = "--heap-growing-percent=33"
const malloc = { MALLOC_MMAP_THRESHOLD_: String(2 ** 20), MALLOC_ARENA_MAX: "2" }

/** True where whoever started a process has said how much room it gets. */
export const sizesItself = (execArgv: ReadonlyArray<string>, nodeOptions = ""): boolean => [...execArgv, ...nodeOptions.split(/\s+/)].some((flag) => /^--m(?:ax|in)[-_]semi[-_]space[-_]size/.test(flag))

/** Flags of Node and environment for a process of one actor, from those of a process like this one. */
export const actorStart = (execArgv: ReadonlyArray<string> = process.execArgv, env: Readonly<Record<string, string | undefined>> = process.env) => ({
  execArgv: sizesItself(execArgv, env["NODE_OPTIONS"]) ? [...execArgv] : [youngSpace, oldGrowth, ...execArgv],
  env: { ...malloc, ...env } as Record<string, string>
})

/** Starts this very process anew like that, where it was started otherwise: its id, arguments and streams stay. Does nothing where the system cannot do that. */
export const takeActorStart = (): void => {
  if (process.platform === "win32" || process.execve === undefined || sizesItself(process.execArgv, process.env["NODE_OPTIONS"])) return
  const { env, execArgv } = actorStart()
  process.execve(process.execPath, [process.execPath, ...execArgv, ...process.argv.slice(1)], env)
}
