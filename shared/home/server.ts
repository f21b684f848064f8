/**
 * The nats-server of a home folder: started when none lives, adopted when one does, restarted when it dies, stopped by the last one out.
 *
 * Two servers on one store folder lose acknowledged data, so starting and stopping happen under an exclusive lock of the operating system
 * (an SQLite file lock: it goes with the process that held it, however that ended), and a living server of the home is never joined by a second.
 */
import { spawn, spawnSync } from "node:child_process"
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs"
import { createConnection, createServer } from "node:net"
import { delimiter, dirname, join, resolve } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import { type FileLock, takeFileLock } from "./file-lock.ts"

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

/** True when a process of that id runs. One that ended but was not yet collected by its parent does not. */
export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat[stat.lastIndexOf(")") + 2] !== "Z"
  } catch {
    return true
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

/** True when a server can listen there. */
const isFree = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const probe = createServer()
    probe.once("error", () => done(false))
    probe.listen(port, "127.0.0.1", () => probe.close(() => done(true)))
  })

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

const cannotBeWritten = (home: string, error: unknown): Error =>
  new Error(`the home folder ${home} cannot be written: ${error instanceof Error ? error.message : String(error)}. Choose another with --home or METAMEM_HOME.`)

const lockWaitMs = 60_000

/** Runs `body` while holding the home's lock; waits for it without standing in this process's way, since the holder may be in it. */
const locked = async <A>(home: string, body: (lock: FileLock) => Promise<A>): Promise<A> => {
  const giveUpAt = performance.now() + lockWaitMs
  let lock: FileLock | undefined
  while (lock === undefined) {
    try {
      lock = takeFileLock(paths(home).lock)
    } catch (error) {
      throw cannotBeWritten(home, error)
    }
    if (lock !== undefined) break
    if (performance.now() > giveUpAt) throw new Error(`another process has been starting or stopping the server of ${home} for ${lockWaitMs / 1_000} s. End it, then try again.`)
    await pause(25)
  }
  try {
    return await body(lock)
  } finally {
    lock.release()
  }
}

const canRun = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where the server's binary is: as set, whether or not it can be run; else the home's own, then the PATH. */
export const findServerBinary = (home: string, setting: string | undefined): string | undefined => {
  const set = setting?.trim() ?? ""
  return set !== "" ? set : [join(home, "bin"), ...(process.env["PATH"] ?? "").split(delimiter)].filter((folder) => folder !== "").map((folder) => join(folder, "nats-server")).find(canRun)
}

interface ServerRecord {
  readonly pid: number
  readonly port: number
}

/** There whole or not at all. */
const writeRecord = (home: string, record: ServerRecord): void => {
  writeFileSync(`${paths(home).record}.part`, JSON.stringify(record))
  renameSync(`${paths(home).record}.part`, paths(home).record)
}

/** The port that a server says it listens on in the file it writes for that; undefined until it has. */
const portIn = (file: string): number | undefined => {
  try {
    const ports = JSON.parse(readFileSync(file, "utf8")) as { nats?: ReadonlyArray<string> }
    const port = Number(ports.nats?.[0]?.split(":").at(-1))
    return port > 0 ? port : undefined
  } catch {
    return undefined
  }
}

/** The same of the server with this process id. */
const portOf = (home: string, pid: number): number | undefined => {
  const name = readdirSync(paths(home).folder).find((name) => name.endsWith(`_${pid}.ports`))
  return name === undefined ? undefined : portIn(join(paths(home).folder, name))
}

/** Whether a running process is this home's server, and not another that got its id. */
const isOwnServer = (pid: number, config: string): boolean => {
  if (!isAlive(pid)) return false
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(config)
  } catch {
    const ps = spawnSync("ps", ["-p", String(pid), "-o", "command="], { encoding: "utf8" })
    return ps.error !== undefined || ps.stdout.includes(config)
  }
}

const portsFlag = "--ports_file_dir"

/** Arguments of all processes that may be seen, by process id. */
const processes = (): ReadonlyArray<readonly [pid: number, args: string]> => {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
      try {
        return [[Number(name), readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ")] as const]
      } catch {
        // It ended meanwhile.
        return []
      }
    })
  } catch {
    const listed = spawnSync("ps", ["-axo", "pid=,command="], { encoding: "utf8", maxBuffer: 64 * 2 ** 20 }).stdout ?? ""
    return listed.split("\n").map((line) => [Number.parseInt(line, 10), line] as const)
  }
}

/**
 * Process of a server of this home that runs and of which nothing is recorded: the record was damaged or deleted, or whoever started the
 * server was killed before it had recovered its store and listened. A second server would lose data.
 */
const unrecorded = (home: string): number | undefined =>
  processes().find(([pid, args]) => args.includes(` -c ${paths(home).config} ${portsFlag} `) && isAlive(pid))?.[0]

const readRecord = (home: string): ServerRecord | undefined => {
  try {
    const record = JSON.parse(readFileSync(paths(home).record, "utf8")) as ServerRecord
    return Number.isInteger(record.pid) && Number.isInteger(record.port) ? record : undefined
  } catch {
    return undefined
  }
}

const urlOf = (port: number): string => `nats://127.0.0.1:${port}`

/** Whether a server at this address is the home's own. */
export const isHomeServer = (home: string, url: string): boolean => url === urlOf(readRecord(home)?.port ?? 0)

/** The record of the home's server, if that runs. */
const recorded = (home: string): ServerRecord | undefined => {
  const record = readRecord(home)
  return record !== undefined && isOwnServer(record.pid, paths(home).config) ? record : undefined
}

/** How long a running server may be silent: one with a large store recovers it before it listens. */
const silenceMs = 20_000

/** The home's running server once it answers. @throws when one runs and stays silent: a second on the same store would lose data */
const living = async (home: string): Promise<ServerRecord | undefined> => {
  const record = recorded(home)
  const pid = record?.pid ?? unrecorded(home)
  const giveUpAt = performance.now() + silenceMs
  while (pid !== undefined && isOwnServer(pid, paths(home).config)) {
    const port = record?.port ?? portOf(home, pid)
    if (port !== undefined && (await answers(port))) {
      if (record === undefined) writeRecord(home, { pid, port })
      return { pid, port }
    }
    if (performance.now() > giveUpAt) throw new Error(`this home's nats-server (process ${pid}) lives but does not answer${port === undefined ? "" : ` on port ${port}`}. End it, then try again.`)
    await pause(100)
  }
  return undefined
}

/** Bytes of all files below a folder. */
const bytesIn = (folder: string): number =>
  !existsSync(folder) ? 0 : readdirSync(folder, { recursive: true, withFileTypes: true }).reduce((sum, file) => sum + (file.isFile() ? (statSync(join(file.parentPath, file.name), { throwIfNoEntry: false })?.size ?? 0) : 0), 0)

/** Share of the free disk that the log may still fill, so that the server refuses before the disk does. */
const fillable = 0.9

/**
 * What the store may come to, in bytes. The server's own default is three quarters of the free disk, whatever the store holds already:
 * with a large log on a well-filled disk it would refuse every write.
 */
const storeMax = (store: string): number => {
  const { bavail, bsize } = statfsSync(dirname(store))
  return Math.floor(bytesIn(store) + fillable * bavail * bsize)
}

const configText = (home: string, port: number): string => `# Written at each start by metamem; change settings there, not here.
listen: "127.0.0.1:${port}"
server_name: "metamem-${process.pid}"
max_payload: 8MB
jetstream {
  store_dir: ${JSON.stringify(paths(home).store)}
  # What it holds and ${fillable * 100} % of what is free.
  max_file_store: ${storeMax(paths(home).store)}
  # Acknowledged = on disk: every write is synced before it is acknowledged.
  sync_interval: always
}
`

const start = async (home: string, binary: string, port: number): Promise<ServerRecord> => {
  const at = paths(home)
  writeFileSync(at.config, configText(home, port))
  for (const name of readdirSync(at.folder)) if (name.endsWith(".ports")) rmSync(join(at.folder, name), { force: true })
  // Its own process group: a Ctrl-C meant for the commands must not take the log away from under them.
  const child = spawn(binary, ["-c", at.config, portsFlag, at.folder, "-l", at.log], { stdio: "ignore", detached: true })
  let ended: string | undefined
  child.once("error", (error) => (ended = error.message))
  child.once("exit", (code) => (ended ??= `it ended with code ${code}`))
  child.unref()
  const giveUpAt = performance.now() + 30_000
  while (performance.now() < giveUpAt && ended === undefined) {
    const port = portOf(home, child.pid ?? 0)
    if (port !== undefined && (await answers(port))) {
      const record = { pid: child.pid ?? 0, port }
      writeRecord(home, record)
      return record
    }
    await pause(10)
  }
  if (ended === undefined && child.pid !== undefined) process.kill(child.pid, "SIGKILL")
  const tail = existsSync(at.log) ? readFileSync(at.log, "utf8").trim().split("\n").slice(-3).join(" | ") : ""
  throw new Error(`nats-server did not start: ${ended ?? "not ready within 30 s"}${tail === "" ? "" : `; its log ends: ${tail}`}`)
}

/** Users whose process runs; marks of the others are removed. A mark is named `{process id}.{number}`. */
const livingUsers = (home: string): number => {
  const folder = paths(home).users
  let alive = 0
  for (const name of readdirSync(folder)) {
    if (isAlive(Number.parseInt(name, 10))) alive += 1
    else rmSync(join(folder, name), { force: true })
  }
  return alive
}

const stop = async (pid: number, config: string): Promise<void> => {
  if (!isOwnServer(pid, config)) return
  process.kill(pid, "SIGTERM")
  const giveUpAt = performance.now() + 10_000
  while (isOwnServer(pid, config) && performance.now() < giveUpAt) await pause(20)
  if (isOwnServer(pid, config)) process.kill(pid, "SIGKILL")
}

let uses = 0

/**
 * Makes sure that the home's server lives for the length of the scope. While the scope is open a dead server is started again on the same
 * port; when it closes and nobody else uses the home, in this process or another, the server is stopped and its data stays.
 */
export const homeServer = (options: { readonly home: string; readonly binary?: string | undefined }): Effect.Effect<HomeServer, ServerUnavailable, Scope.Scope> =>
  Effect.gen(function*() {
    const given = resolve(options.home)
    const unavailable = (error: unknown) => new ServerUnavailable({ home: given, message: error instanceof Error ? error.message : String(error) })
    const home = yield* Effect.try({
      try: () => {
        mkdirSync(paths(given).users, { recursive: true })
        // One folder has one name, however it is reached: the server is known by it.
        return realpathSync(given)
      },
      catch: (error) => unavailable(cannotBeWritten(given, error))
    })
    const at = paths(home)
    const mark = join(at.users, `${process.pid}.${uses++}`)
    let isMended = false
    const ensure = (port: "same port" | "any port") =>
      Effect.tryPromise({
        try: () =>
          locked(home, async ({ wasDamaged }) => {
            isMended ||= wasDamaged
            try {
              writeFileSync(mark, "")
            } catch (error) {
              throw cannotBeWritten(home, error)
            }
            const alive = await living(home)
            if (alive !== undefined) return { ...alive, started: false }
            const binary = findServerBinary(home, options.binary)
            if (binary !== undefined && !canRun(binary)) throw new Error(`METAMEM_NATS_SERVER names ${binary}, which is no program that can be run here.`)
            if (binary === undefined) throw new Error("no nats-server found. Run `npm run setup`, or set METAMEM_NATS_SERVER to its path, or METAMEM_NATS_URL to a running server.")
            const before = readRecord(home)
            const free = before !== undefined && (await isFree(before.port))
            if (before !== undefined && !free && port === "same port") {
              throw new Error(`nats-server died and another program listens on its port ${before.port}. End that program; the server is started again then.`)
            }
            return { ...(await start(home, binary, before !== undefined && free ? before.port : -1)), started: true }
          }).catch((error) => {
            // Who never had the server is no user of it.
            if (port === "any port") rmSync(mark, { force: true })
            throw error
          }),
        catch: unavailable
      })
    const leave = Effect.tryPromise(() =>
      locked(home, async () => {
        rmSync(mark, { force: true })
        if (livingUsers(home) > 0) return
        const pid = recorded(home)?.pid ?? unrecorded(home)
        if (pid !== undefined) await stop(pid, at.config)
        rmSync(at.record, { force: true })
      })
    ).pipe(Effect.catch((error) => Effect.logWarning("the home's server could not be left in order", error)))
    const server = yield* Effect.acquireRelease(ensure("any port"), () => leave)
    if (isMended) yield* Effect.logWarning(`the lock file ${at.lock} was damaged and is taken over`)
    let complaint = ""
    yield* Effect.gen(function*() {
      yield* Effect.sleep(250)
      if (recorded(home) !== undefined) return
      if (complaint === "" && unrecorded(home) === undefined) yield* Effect.logWarning("nats-server died; starting it again")
      // Not to be interrupted: a server started while this process leaves would be left behind.
      const outcome = yield* Effect.result(Effect.uninterruptible(ensure("same port")))
      const message = outcome._tag === "Failure" ? outcome.failure.message : ""
      if (message !== complaint && message !== "") yield* Effect.logError(message)
      complaint = message
    }).pipe(Effect.forever, Effect.forkScoped)
    return { url: urlOf(server.port), pid: server.pid, started: server.started }
  })
