/**
 * The nats-server of a home folder: started when none lives, adopted when one does, restarted when it dies, stopped by the last one out.
 *
 * Two servers on one store folder lose acknowledged data, so starting and stopping happen under an exclusive lock of the operating system
 * (an SQLite file lock: it goes with the process that held it, however that ended), and a living server of the home is never joined by a second.
 */
import { spawn, spawnSync } from "node:child_process"
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createConnection } from "node:net"
import { delimiter, join, resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Effect, Schema, type Scope } from "effect"

/** The home's server cannot be started or reached. The message says what to do. */
export class ServerUnavailable extends Schema.TaggedError<ServerUnavailable>()("ServerUnavailable", { home: Schema.String, message: Schema.String }) {}

export interface HomeServer {
  readonly url: string
  readonly pid: number
  /** False when a living server of this home was adopted. */
  readonly started: boolean
}

const paths = (home: string) => ({
  folder: join(home, "nats"),
  config: join(home, "nats", "nats.conf"),
  store: join(home, "nats", "store"),
  record: join(home, "nats", "server.json"),
  log: join(home, "nats", "server.log"),
  lock: join(home, "nats", "start.lock"),
  users: join(home, "nats", "users")
})

/** True when a process of that id exists. */
export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

const answers = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = createConnection({ host: "127.0.0.1", port })
    const end = (result: boolean) => {
      socket.destroy()
      done(result)
    }
    socket.setTimeout(1_000, () => end(false))
    socket.once("error", () => end(false))
    // A NATS server speaks first.
    socket.once("data", (data) => end(data.toString("latin1").startsWith("INFO ")))
  })

/** Runs `body` while holding the home's lock; waits up to 20 s for it. */
const locked = async <A>(home: string, body: () => Promise<A>): Promise<A> => {
  const lock = new DatabaseSync(paths(home).lock)
  try {
    lock.exec("PRAGMA busy_timeout = 20000; BEGIN EXCLUSIVE")
    return await body()
  } finally {
    lock.close()
  }
}

/** Where the server's binary is: the setting, the home's own, then the PATH. */
export const findServerBinary = (home: string, setting: string | undefined): string | undefined => {
  const candidates = [setting, join(home, "bin", "nats-server"), ...(process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "nats-server"))]
  return candidates.find((path) => {
    if (path === undefined || path === "") return false
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

interface ServerRecord {
  readonly pid: number
  readonly port: number
}

const readRecord = (home: string): ServerRecord | undefined => {
  try {
    const record = JSON.parse(readFileSync(paths(home).record, "utf8")) as ServerRecord
    return Number.isInteger(record.pid) && Number.isInteger(record.port) ? record : undefined
  } catch {
    return undefined
  }
}

const living = async (home: string): Promise<ServerRecord | undefined> => {
  const record = readRecord(home)
  return record !== undefined && isAlive(record.pid) && (await answers(record.port)) ? record : undefined
}

/** Whether a living process is this home's server, and not another that got its id. */
const isOwnServer = (pid: number, config: string): boolean => {
  if (!isAlive(pid)) return false
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(config)
  } catch {
    const ps = spawnSync("ps", ["-p", String(pid), "-o", "command="], { encoding: "utf8" })
    return ps.error !== undefined || ps.stdout.includes(config)
  }
}

const configText = (home: string, port: number): string => `# Written at each start by metamem; change settings there, not here.
listen: "127.0.0.1:${port}"
server_name: "metamem-${process.pid}"
max_payload: 8MB
jetstream {
  store_dir: ${JSON.stringify(paths(home).store)}
  # Acknowledged = on disk: every write is synced before it is acknowledged.
  sync_interval: always
}
`

const start = async (home: string, binary: string, port: number): Promise<ServerRecord> => {
  const at = paths(home)
  writeFileSync(at.config, configText(home, port))
  for (const name of readdirSync(at.folder)) if (name.endsWith(".ports")) rmSync(join(at.folder, name), { force: true })
  // Its own process group: a Ctrl-C meant for the commands must not take the log away from under them.
  const child = spawn(binary, ["-c", at.config, "--ports_file_dir", at.folder, "-l", at.log], { stdio: "ignore", detached: true })
  let ended: string | undefined
  child.once("error", (error) => (ended = error.message))
  child.once("exit", (code) => (ended ??= `it ended with code ${code}`))
  child.unref()
  for (let waited = 0; waited < 30_000 && ended === undefined; waited += 10) {
    const portsFile = readdirSync(at.folder).find((name) => name.endsWith(`_${child.pid}.ports`))
    if (portsFile !== undefined) {
      const ports = JSON.parse(readFileSync(join(at.folder, portsFile), "utf8") || "{}") as { nats?: ReadonlyArray<string> }
      const chosen = Number(ports.nats?.[0]?.split(":").at(-1))
      if (chosen > 0 && (await answers(chosen))) {
        const record = { pid: child.pid ?? 0, port: chosen }
        writeFileSync(at.record, JSON.stringify(record))
        return record
      }
    }
    await new Promise((done) => setTimeout(done, 10))
  }
  if (ended === undefined && child.pid !== undefined) process.kill(child.pid, "SIGKILL")
  const tail = existsSync(at.log) ? readFileSync(at.log, "utf8").trim().split("\n").slice(-3).join(" | ") : ""
  throw new Error(`nats-server did not start: ${ended ?? "not ready within 30 s"}${tail === "" ? "" : `; its log ends: ${tail}`}`)
}

const livingUsers = (home: string): ReadonlyArray<number> => {
  const folder = paths(home).users
  const alive: Array<number> = []
  for (const name of readdirSync(folder)) {
    const pid = Number(name)
    if (Number.isInteger(pid) && isAlive(pid)) alive.push(pid)
    else rmSync(join(folder, name), { force: true })
  }
  return alive
}

const stop = async (record: ServerRecord): Promise<void> => {
  if (!isAlive(record.pid)) return
  process.kill(record.pid, "SIGTERM")
  for (let waited = 0; waited < 10_000 && isAlive(record.pid); waited += 20) await new Promise((done) => setTimeout(done, 20))
  if (isAlive(record.pid)) process.kill(record.pid, "SIGKILL")
}

/**
 * Makes sure that the home's server lives for the length of the scope. While the scope is open a dead server is started again on the same
 * port; when it closes and no other process uses the home, the server is stopped and its data stays.
 */
export const homeServer = (options: { readonly home: string; readonly binary?: string | undefined }): Effect.Effect<HomeServer, ServerUnavailable, Scope.Scope> =>
  Effect.gen(function*() {
    const home = resolve(options.home)
    const at = paths(home)
    const unavailable = (message: string) => new ServerUnavailable({ home, message })
    yield* Effect.try({
      try: () => mkdirSync(at.users, { recursive: true }),
      catch: (error) => unavailable(`the home folder ${home} cannot be written: ${(error as Error).message}. Choose another with --home or METAMEM_HOME.`)
    })
    const ensure = Effect.tryPromise({
      try: () =>
        locked(home, async () => {
          writeFileSync(join(at.users, String(process.pid)), "")
          const alive = await living(home)
          if (alive !== undefined) return { ...alive, started: false }
          const binary = findServerBinary(home, options.binary)
          if (binary === undefined) throw new Error("no nats-server found. Run `npm run setup`, or set METAMEM_NATS_SERVER to its path, or METAMEM_NATS_URL to a running server.")
          const before = readRecord(home)
          if (before !== undefined && isOwnServer(before.pid, at.config)) {
            // It lives but does not answer: recovering a large store, or stopped. A second server would lose data, so wait, then refuse.
            for (let waited = 0; waited < 20_000; waited += 200) {
              if (await answers(before.port)) return { ...before, started: false }
              if (!isAlive(before.pid)) break
              await new Promise((done) => setTimeout(done, 200))
            }
            if (isAlive(before.pid)) throw new Error(`this home's nats-server (process ${before.pid}) lives but does not answer on port ${before.port}. End it, then try again.`)
          }
          const free = before === undefined || (await answers(before.port)) ? -1 : before.port
          return { ...(await start(home, binary, free)), started: true }
        }),
      catch: (error) => unavailable(error instanceof Error ? error.message : String(error))
    })
    const server = yield* Effect.acquireRelease(ensure, () =>
      Effect.promise(() =>
        locked(home, async () => {
          rmSync(join(at.users, String(process.pid)), { force: true })
          const record = readRecord(home)
          if (record !== undefined && livingUsers(home).length === 0) {
            await stop(record)
            rmSync(at.record, { force: true })
          }
        }).catch(() => undefined)
      ))
    yield* Effect.gen(function*() {
      yield* Effect.sleep(250)
      const record = readRecord(home)
      if (record === undefined || !isAlive(record.pid)) {
        yield* Effect.logWarning("nats-server died; starting it again")
        yield* ensure.pipe(Effect.catch((error) => Effect.logError(error.message)))
      }
    }).pipe(Effect.forever, Effect.forkScoped)
    return { url: `nats://127.0.0.1:${server.port}`, pid: server.pid, started: server.started }
  })
