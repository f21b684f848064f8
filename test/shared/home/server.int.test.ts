import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync, symlinkSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { connect } from "@nats-io/transport-node"
import { Effect, Exit, Layer, Scope } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import { findServerBinary, type HomeServer, homeServer, isHomeServer, ServerUnavailable } from "#shared/home/server"
import { effect } from "#test/support/effect"
import { begun } from "#test/support/begun"
import { setUpHome, temporaryFolder } from "#test/support/nats"

const test = suite("the home's server")
const binary = findServerBinary(setUpHome, process.env["METAMEM_NATS_SERVER"]) ?? ""

const it = (name: string, body: (home: string) => Effect.Effect<unknown, unknown, Scope.Scope>, limitMs = 40_000) =>
  effect(test as never, name, () => Effect.flatMap(Effect.tap(temporaryFolder, leaveNothing), body), limitMs)

/** Processes of the servers of a home, the living ones. */
const serversOf = (home: string): ReadonlyArray<number> =>
  spawnSync("ps", ["-eo", "pid=,stat=,args="], { encoding: "utf8", maxBuffer: 64_000_000 }).stdout.split("\n")
    .filter((line) => line.includes(` -c ${home}/`) && !/^\s*\d+\s+Z/.test(line))
    .map((line) => Number.parseInt(line, 10))

/** A test that fails in the middle leaves no server behind. */
const leaveNothing = (home: string) => Effect.addFinalizer(() => Effect.sync(() => serversOf(home).forEach((pid) => process.kill(pid, "SIGKILL"))))

const eventually = (what: string, holds: () => boolean | Promise<boolean>, limitMs = 10_000) =>
  Effect.promise(async () => {
    for (let waited = 0; waited < limitMs; waited += 25) {
      if (await holds()) return
      await new Promise((done) => setTimeout(done, 25))
    }
    throw new Error(`${what}: not within ${limitMs} ms`)
  })
const answers = (url: string) => connect({ servers: url, reconnect: false, timeout: 1_000 }).then((nc) => nc.close().then(() => true), () => false)

interface User {
  readonly child: ChildProcess
  readonly got: Promise<HomeServer & { readonly error?: string }>
  /** Ends orderly and waits for it. */
  readonly leave: Effect.Effect<void>
}

const user = (home: string, server = binary): Effect.Effect<User, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, [join(import.meta.dirname, "user.ts"), home, server], { stdio: ["pipe", "pipe", "inherit"] })),
      (child) => Effect.sync(() => void child.kill("SIGKILL"))
    ),
    (child): User => ({
      child,
      got: new Promise((done) => child.stdout?.once("data", (data) => done(JSON.parse(String(data))))),
      leave: Effect.promise(() => new Promise<void>((done) => {
        child.once("exit", () => done())
        child.stdin?.end()
      }))
    })
  )
const got = (one: User) => Effect.promise(() => one.got)

const silent = begun(
  Effect.gen(function*() {
    const home = yield* Effect.tap(temporaryFolder, leaveNothing)
    const { pid } = yield* got(yield* user(home))
    process.kill(pid, "SIGSTOP")
    const refused = yield* got(yield* user(home))
    process.kill(pid, "SIGCONT")
    assert.match(refused.error ?? "", new RegExp(`process ${pid}.*does not answer`))
    assert.equal(serversOf(home), [pid])
  }),
  50_000
)

it("the first starts it, the second adopts it, the last one out stops it", (home) => Effect.gen(function*() {
  const one = yield* user(home)
  const first = yield* got(one)
  assert.is(first.started, true)
  const two = yield* user(home)
  const second = yield* got(two)
  assert.equal([second.started, second.pid, second.url], [false, first.pid, first.url])
  yield* one.leave
  assert.is(yield* Effect.promise(() => answers(first.url)), true, "the second still uses it")
  yield* two.leave
  assert.equal(serversOf(home), [])
  assert.is(existsSync(join(home, "nats", "server.json")), false)
}))

it("four that start at once get one server", (home) => Effect.gen(function*() {
  const users = yield* Effect.forEach([1, 2, 3, 4], () => user(home))
  const servers = yield* Effect.forEach(users, got, { concurrency: 4 })
  assert.is(new Set(servers.map(({ pid }) => pid)).size, 1)
  assert.is(servers.filter(({ started }) => started).length, 1)
  assert.is(serversOf(home).length, 1)
  yield* Effect.forEach(users, ({ leave }) => leave, { concurrency: 4 })
  assert.equal(serversOf(home), [])
}))

it("a killed server is started again on the same port, with its data", (home) => Effect.gen(function*() {
  const server = yield* homeServer({ home, binary })
  assert.equal([isHomeServer(home, server.url), isHomeServer(home, "nats://127.0.0.1:1"), isHomeServer(join(home, "other"), server.url)], [true, false, false])
  yield* Effect.gen(function*() {
    const log = yield* EventLog
    const subject = "memory.t.u.c.ingestor"
    const first = yield* log.append({ subject, cause: "1", events: [] }, 0, "")
    process.kill(server.pid, "SIGKILL")
    yield* eventually("it is back", () => answers(server.url))
    assert.not.equal(serversOf(home), [server.pid])
    yield* log.append({ subject, cause: "2", events: [] }, first.sequence, first.checksum)
    assert.equal((yield* log.load(subject)).map(({ cause }) => cause), ["1", "2"])
  }).pipe(Effect.provide(Layer.provide(JetStreamLog.layer, NatsConnection.layer({ url: server.url }))))
}))

it("it is started again by another when the one who started it was killed", (home) => Effect.gen(function*() {
  const starter = yield* user(home)
  const first = yield* got(starter)
  const other = yield* user(home)
  yield* got(other)
  starter.child.kill("SIGKILL")
  process.kill(first.pid, "SIGKILL")
  yield* eventually("it is back", () => answers(first.url))
  yield* other.leave
  assert.equal(serversOf(home), [], "the killed one counts no longer")
}))

it("two uses in one process are two users", (home) => Effect.gen(function*() {
  const scope = yield* Scope.make()
  const first = yield* homeServer({ home, binary }).pipe(Effect.provideService(Scope.Scope, scope))
  const second = yield* homeServer({ home, binary })
  assert.is(second.pid, first.pid)
  yield* Scope.close(scope, Exit.void)
  assert.is(yield* Effect.promise(() => answers(second.url)), true)
}))

it("two that start at once in one process get one server", (home) => Effect.gen(function*() {
  const servers = yield* Effect.all([homeServer({ home, binary }), homeServer({ home, binary })], { concurrency: 2 })
  assert.is(servers[0].pid, servers[1].pid)
}))

it("leaving while it is started again leaves none behind", (home) => Effect.gen(function*() {
  for (const waitMs of [0, 240, 270]) {
    yield* Effect.scoped(Effect.gen(function*() {
      const { pid } = yield* homeServer({ home, binary })
      process.kill(pid, "SIGKILL")
      yield* Effect.sleep(waitMs)
    }))
    yield* Effect.sleep(400)
    assert.equal(serversOf(home), [], `left after ${waitMs} ms`)
  }
}))

it("without a binary it says how to get one", (home) => Effect.gen(function*() {
  const path = process.env["PATH"]
  process.env["PATH"] = home
  const error = yield* Effect.flip(homeServer({ home, binary: undefined })).pipe(Effect.ensuring(Effect.sync(() => void (process.env["PATH"] = path))))
  assert.instance(error, ServerUnavailable)
  assert.match(error.message, /npm run setup/)
}))

it("a binary that is no server is named with how it ended", (home) => Effect.gen(function*() {
  const wrong = join(home, "wrong")
  writeFileSync(wrong, "#!/bin/sh\nexit 3\n")
  chmodSync(wrong, 0o755)
  const error = yield* Effect.flip(homeServer({ home, binary: wrong }))
  assert.match(error.message, /did not start.*code 3/)
}))

it("a home that cannot be written is named with the way to choose another", (home) => Effect.gen(function*() {
  writeFileSync(join(home, "file"), "")
  const error = yield* Effect.flip(homeServer({ home: join(home, "file"), binary }))
  assert.match(error.message, /cannot be written.*METAMEM_HOME/)
  mkdirSync(join(home, "nats", "start.lock"), { recursive: true })
  const locked = yield* Effect.flip(homeServer({ home, binary }))
  assert.match(locked.message, /cannot be written.*METAMEM_HOME/)
  // The folders stand, as on a disk that became read-only, but take no file.
  const full = join(home, "full")
  mkdirSync(join(full, "nats"), { recursive: true })
  symlinkSync("/proc", join(full, "nats", "users"))
  const refused = yield* Effect.flip(homeServer({ home: full, binary }))
  assert.match(refused.message, /cannot be written.*METAMEM_HOME/)
}))

for (const [what, harm] of [["damaged", (path: string) => writeFileSync(path, "{\"pid\":")], ["deleted", (path: string) => rmSync(path)]] as const) {
  it(`a running server whose record was ${what} is adopted, and stopped by the last one out`, (home) => Effect.gen(function*() {
    yield* Effect.scoped(Effect.gen(function*() {
      const one = yield* homeServer({ home, binary })
      harm(join(home, "nats", "server.json"))
      const two = yield* homeServer({ home, binary })
      assert.equal([two.pid, two.url, two.started], [one.pid, one.url, false])
      assert.is(serversOf(home).length, 1)
      harm(join(home, "nats", "server.json"))
    }))
    assert.is(serversOf(home).length, 0)
  }))
}

for (const before of ["the first", "one that died before"]) {
  it(`a server whose starter was killed while it came up is waited for and adopted: ${before}`, (home) => Effect.gen(function*() {
    const slow = join(home, "slow")
    // Says late which port it has, as with a large store.
    writeFileSync(slow, `#!/bin/sh\n[ -e ${home}/wait ] && sleep 2\nexec ${binary} "$@"\n`)
    chmodSync(slow, 0o755)
    const starter = yield* user(home, slow)
    if (before === "the first") writeFileSync(join(home, "wait"), "")
    else {
      const { pid } = yield* got(starter)
      writeFileSync(join(home, "wait"), "")
      process.kill(pid, "SIGKILL")
      yield* eventually("it is gone", () => !serversOf(home).includes(pid))
    }
    yield* eventually("it is started", () => serversOf(home).length > 0)
    starter.child.kill("SIGKILL")
    const [coming] = serversOf(home)
    yield* Effect.scoped(Effect.gen(function*() {
      const server = yield* homeServer({ home, binary })
      assert.equal([server.pid, server.started], [coming, false])
      assert.equal(serversOf(home), [server.pid])
    }))
    assert.equal(serversOf(home), [])
  }))
}

it("a damaged lock file is taken over", (home) => Effect.gen(function*() {
  mkdirSync(join(home, "nats"), { recursive: true })
  writeFileSync(join(home, "nats", "start.lock"), "no lock")
  const server = yield* homeServer({ home, binary })
  assert.is(server.started, true)
}))

it("a server that was set and cannot be run is named, and no other one is taken in its place", (home) => Effect.gen(function*() {
  const set = join(home, "nowhere", "nats-server")
  assert.is(findServerBinary(setUpHome, set), set)
  const refused = yield* Effect.flip(homeServer({ home, binary: set }))
  assert.match(refused.message, /METAMEM_NATS_SERVER names .*nowhere\/nats-server, which is no program/)
  assert.is(findServerBinary(setUpHome, " "), findServerBinary(setUpHome, undefined), "blank is not set")
}))

it("a port that another program took meanwhile is not waited for", (home) => Effect.gen(function*() {
  const one = yield* user(home)
  const before = yield* got(one)
  one.child.kill("SIGKILL")
  process.kill(before.pid, "SIGKILL")
  yield* eventually("the server is gone", () => serversOf(home).length === 0)
  const port = Number(before.url.split(":").at(-1))
  const squatter = createServer((socket) => socket.end("HTTP/1.1 400\r\n\r\n"))
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((done) => squatter.listen(port, "127.0.0.1", done))),
    () => Effect.promise(() => new Promise((done) => squatter.close(done)))
  )
  const server = yield* homeServer({ home, binary })
  assert.is(server.started, true)
  assert.is.not(server.url, before.url)
  assert.is(yield* Effect.promise(() => answers(server.url)), true)
}))

it("another home's server is neither adopted nor stopped, whatever the record says", (home) => Effect.gen(function*() {
  const [mine, other] = [join(home, "mine"), join(home, "other")]
  const theirs = yield* homeServer({ home: other, binary })
  mkdirSync(join(mine, "nats"), { recursive: true })
  // As after a restart of the machine: the process id and the port have gone to another server.
  writeFileSync(join(mine, "nats", "server.json"), JSON.stringify({ pid: theirs.pid, port: Number(theirs.url.split(":").at(-1)) }))
  yield* Effect.scoped(Effect.gen(function*() {
    const server = yield* homeServer({ home: mine, binary })
    assert.is(server.started, true)
    assert.is.not(server.url, theirs.url)
  }))
  assert.is(yield* Effect.promise(() => answers(theirs.url)), true)
}))

effect(test as never, "a server that lives but does not answer is not joined by a second", () => silent, 60_000)

test.run()
