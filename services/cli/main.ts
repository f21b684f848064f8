#!/usr/bin/env node
/** The `metamem` command. What Node compiles is kept from one command to the next, which takes a third off every start; the rest is `program.ts`. */
import { enableCompileCache } from "node:module"

// In Node's own place for it; NODE_COMPILE_CACHE names another, NODE_DISABLE_COMPILE_CACHE=1 does without. Where it cannot be written nothing is kept.
enableCompileCache()
// Whoever reads the output may stop reading, as `head` does: the command ends as if told to.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error
  process.emit("SIGINT")
})
await import("./program.ts")
