/**
 * Flags of Node for a process that runs one actor. Most of what an actor makes lives for one message, and V8 lets the room for such things
 * grow to 48 MB a process before it looks after it; with 6 MB it takes the same processor time and a hundred megabytes less. A process of
 * all actors has more to do at once and keeps the usual room.
 */
export const actorFlags: ReadonlyArray<string> = ["--max-semi-space-size=2"]

/** True where whoever started a process has said how much room it gets. */
export const sizesItself = (execArgv: ReadonlyArray<string>, nodeOptions = ""): boolean => [...execArgv, ...nodeOptions.split(/\s+/)].some((flag) => /^--m(?:ax|in)[-_]semi[-_]space[-_]size/.test(flag))

/** Starts this very process anew with the flags, where it was started without them: its id, arguments and streams stay. Does nothing where the system cannot do that. */
export const takeActorFlags = (): void => {
  if (process.platform === "win32" || process.execve === undefined || sizesItself(process.execArgv, process.env["NODE_OPTIONS"])) return
  process.execve(process.execPath, [process.execPath, ...actorFlags, ...process.execArgv, ...process.argv.slice(1)], process.env as Record<string, string>)
}
