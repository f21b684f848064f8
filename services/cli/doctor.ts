/** `metamem doctor`: what is there, in which version, what plays each role and what it can do, how durable the log is, and what is wrong. */
import { existsSync, readFileSync, statfsSync } from "node:fs"
import { join } from "node:path"
import { ConfigProvider, Effect, Layer, Option, Result } from "effect"
import { Command } from "effect/cli"
import { isPassing, Nats } from "#shared/eventlog/nats"
import { isHomeServer } from "#shared/home/server"
import { unknownSettings } from "#shared/home/settings"
import { type WrongSetting, wrongSettings } from "#shared/home/wrong-settings"
import { CallStore } from "#shared/model/call-store"
import { factsCheck, roleChecks } from "./doctor-roles.ts"
import { homeFolder, logLayer } from "./home.ts"
import { CommandFailed, emit } from "./root.ts"

export interface Check {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
  readonly mend?: string
}

const file = (name: string, path: string, mend: string): Check =>
  existsSync(path) ? { name, ok: true, detail: path } : { name, ok: false, detail: `${path} is not there`, mend }

/** Free space below which the log may not grow for long. */
const freeBytesMin = 1_000_000_000

const machine = (home: string): ReadonlyArray<Check> => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  const isNew = major > 22 || (major === 22 && minor >= 19)
  const disk = existsSync(home) ? statfsSync(home) : undefined
  const free = disk === undefined ? undefined : disk.bavail * disk.bsize
  return [
    isNew
      ? { name: "node", ok: true, detail: process.versions.node }
      : { name: "node", ok: false, detail: process.versions.node, mend: "run through npm (`npm run -s metamem -- …`), which uses the Node that set-up installed" },
    ...(free === undefined
      ? []
      : [free > freeBytesMin
        ? { name: "disk", ok: true, detail: `${Math.round(free / 1e9)} GB free` }
        : { name: "disk", ok: false, detail: `${Math.round(free / 1e6)} MB free`, mend: "free some space or move the home with METAMEM_HOME" }])
  ]
}

const settingsChecks = (wrong: ReadonlyArray<WrongSetting>): ReadonlyArray<Check> => {
  const unknown = unknownSettings(readFileSync(join(import.meta.dirname, "../../deploy/env.example"), "utf8"))
  return [
    ...wrong.map(({ message }): Check => ({ name: "settings", ok: false, detail: message, mend: "deploy/env.example says what each is for; what is told below is without it" })),
    ...(unknown.length === 0 ? [] : [{ name: "settings", ok: false, detail: `${unknown.join(", ")}: no setting has this name, so it does nothing`, mend: "deploy/env.example lists all" }])
  ]
}

const serverChecks = (home: string) =>
  Effect.gen(function*() {
    const { jsm, nc, url } = yield* Nats
    const streams = yield* Effect.promise(() =>
      Promise.all(["MEMORY", "METAMEM", "CALLS", "WORK", "DEAD"].map((name) => jsm.streams.info(name).catch((error: unknown) => (isPassing(error) ? undefined : undefined))))
    )
    const isOwn = isHomeServer(home, url)
    const config = join(home, "nats", "nats.conf")
    const syncs = isOwn && existsSync(config) && readFileSync(config, "utf8").includes("sync_interval: always")
    const replicas = Math.min(...streams.flatMap((info) => (info === undefined ? [] : [info.config.num_replicas])))
    const dead = streams[4]?.state.messages ?? 0
    const memory = streams[0]?.state
    const checks: Array<Check> = [
      { name: "nats-server", ok: true, detail: `${nc.info?.version} at ${url}` },
      replicas >= 3
        ? { name: "durability", ok: true, detail: `${replicas} replicas of every stream: acknowledged survives the loss of a server` }
        : syncs
        ? { name: "durability", ok: true, detail: "every write is synced before it is acknowledged: acknowledged survives a power cut" }
        : !isOwn
        ? { name: "durability", ok: true, detail: "this server is not the home's own, so whether it syncs every write cannot be seen from here: see that its jetstream block has `sync_interval: always`, as deploy/nats.conf does" }
        : { name: "durability", ok: false, detail: "acknowledged = in the server's page cache: survives a crash of the process, not a power cut", mend: "set `sync_interval: always` in the server's jetstream block, or run three servers with METAMEM_NATS_REPLICAS=3" },
      { name: "log", ok: true, detail: `${memory?.messages ?? 0} commits in MEMORY on ${memory?.num_subjects ?? 0} subjects, ${streams[1]?.state.messages ?? 0} in METAMEM, ${streams[2]?.state.messages ?? 0} kept calls` },
      dead === 0
        ? { name: "dead letters", ok: true, detail: "none" }
        : { name: "dead letters", ok: false, detail: `${dead} pieces of work were given up`, mend: "look at them with `metamem dead list`" }
    ]
    return checks
  })

const look = (wrong: ReadonlyArray<WrongSetting>) =>
  Effect.gen(function*() {
    const home = yield* homeFolder
    const { embeddingsLayer, factSettings, findPart, modelsLayer, settings } = yield* Effect.promise(() => import("#services/all"))
    const { embeddingDir } = yield* settings
    const checks: Array<Check> = [...machine(home), ...settingsChecks(wrong)]
    const server = yield* Effect.result(serverChecks(home).pipe(Effect.provide(logLayer)))
    if (Result.isSuccess(server)) checks.push(...server.success)
    else {
      const message = "message" in server.failure ? server.failure.message : String(server.failure)
      checks.push({ name: "nats-server", ok: false, detail: message, mend: "run `npm run setup`, or name a running server with METAMEM_NATS_URL" })
    }
    const dir = findPart(embeddingDir, home, "models/minilm")
    const embedding = file("embedding model", join(dir, "model.onnx"), "run `npm run setup`, or set METAMEM_MINILM_DIR")
    if (embedding.ok) {
      const { Embeddings } = yield* Effect.promise(() => import("#shared/model/embeddings"))
      const loaded = yield* Effect.result(Effect.scoped(Effect.flatMap(Layer.build(embeddingsLayer(home)), (context) => Effect.succeed(Option.fromNullishOr(context.mapUnsafe.get(Embeddings.key))))))
      checks.push(Result.isSuccess(loaded) ? { ...embedding, detail: `${dir}, loads` } : { name: "embedding model", ok: false, detail: loaded.failure instanceof Error ? loaded.failure.message : String(loaded.failure), mend: "run `npm run setup` again" })
    } else checks.push(embedding)
    const chosen = yield* factSettings
    checks.push(...(yield* Effect.scoped(Effect.all([roleChecks, factsCheck(chosen)]).pipe(
      Effect.map(([ofRoles, ofFacts]) => [...ofRoles, ofFacts]),
      Effect.provide(modelsLayer(home).pipe(Layer.provide(CallStore.layerMemory)))))))
    const result = { ok: checks.every(({ ok }) => ok), checks }
    yield* emit(result, () =>
      checks.map(({ detail, mend, name, ok }) => `${ok ? "ok  " : "WRONG"} ${name.padEnd(16)} ${detail}${!ok && mend !== undefined ? `\n      → ${mend}` : ""}`).join("\n"))
    if (!result.ok) return yield* new CommandFailed({ message: "something is wrong; see above" })
  })

export const doctor = Command.make("doctor", {}, () =>
  Effect.gen(function*() {
    const { allSettings } = yield* Effect.promise(() => import("#services/all"))
    const { rest, wrong } = yield* wrongSettings(yield* allSettings)
    // One wrong setting must not keep the others, or the server, from being looked at.
    yield* look(wrong).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: rest })))
  })).pipe(Command.withDescription("Say what is there, what plays each role, how durable the log is, and what is wrong. An endpoint where nothing listens is told at once, one that gives no answer after a minute"))
