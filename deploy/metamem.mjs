#!/usr/bin/env node
/**
 * The `metamem` command of an installed package, plain JavaScript for Node 20. It starts `services/cli/main.ts` under this Node where that is new
 * enough, else under the one the package brings. `metamem setup` is set-up, into the home folder.
 */
import { spawn } from "node:child_process"
import { createRequire } from "node:module"
import { constants } from "node:os"
import { dirname, join, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"

const folder = dirname(fileURLToPath(import.meta.url))
const args = process.argv.slice(2)
const env = { ...process.env }

/** A Node that runs TypeScript. */
const node = () => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  if (major > 22 || (major === 22 && minor >= 19)) return process.execPath
  return join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin", "node")
}

const start = (program, given) => {
  const child = spawn(node(), [program, ...given], { stdio: "inherit", env })
  // Ctrl-C reaches both; whoever signals this process means the command.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => signal !== "SIGINT" && child.kill(signal))
  child.once("error", (error) => {
    process.stderr.write(`metamem: no Node of 22.19 or newer can be started (${error.message}): install one, or install this package again with its scripts allowed\n`)
    process.exit(1)
  })
  child.once("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal ?? "SIGTERM"] ?? 15)))
}

if (args[0] === "setup") {
  env.METAMEM_HOME = resolve(env.METAMEM_HOME?.trim() || ".metamem")
  start(join(folder, "setup.mjs"), args.slice(1))
} else {
  // Node strips no types below node_modules by itself; as an option of the environment it reaches worker threads and child processes too.
  if (folder.includes(`${sep}node_modules${sep}`)) {
    env.NODE_OPTIONS = [env.NODE_OPTIONS, `--import=${new URL("strip-types.mjs", import.meta.url)}`, "--disable-warning=ExperimentalWarning"].filter(Boolean).join(" ")
  }
  start(join(folder, "..", "services", "cli", "main.ts"), args)
}
