/**
 * What the benches stand on: a home of their own that is gone afterwards, its server with the settings that production has, actors in
 * processes of their own, synthetic talk out of a seed, and how figures are summed up and printed.
 */
import { fork } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Effect, Layer, Option, Schedule, type Scope } from "effect"
import { Leases } from "#shared/actor/lease"
import { request } from "#shared/actor/requests"
import type { Dataset, DatasetConversation } from "#shared/datasets/dataset"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import type { Nats } from "#shared/eventlog/nats"
import { type ActorName, requestSubject } from "#shared/eventlog/subjects"
import { actorStart } from "#shared/home/actor-flags"
import { findServerBinary, homeServer } from "#shared/home/server"
import { settings } from "#shared/home/settings"
import { homeFolder } from "../home.ts"
import { CommandFailed, emit, say, table } from "../root.ts"
import type { ActorProcessStart, ActorUsage } from "./actor-process.ts"

export interface BenchResult {
  readonly figures: Readonly<Record<string, number | string | null>>
  /** Units of the figures in words; names of single figures end in theirs. */
  readonly unit: string
  readonly seconds: number
}

/** Prints a bench's figures: the JSON document, or a table. */
export const printFigures = (result: BenchResult) =>
  emit(result, ({ figures, seconds, unit }) =>
    table([...Object.entries(figures).map(([name, value]) => [name, value === null ? "–" : typeof value === "number" ? value.toLocaleString("en-US") : value]), ["unit", unit], ["seconds", String(seconds)]]))

export const rounded = (value: number, digits = 1): number => Math.round(value * 10 ** digits) / 10 ** digits

/** Value below which this share of the values lies, by the nearest rank; 0 of none. @param share in (0, 1] */
export const percentile = (values: Iterable<number>, share: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0
}

export const secondsSince = (started: number): number => rounded((performance.now() - started) / 1_000, 2)

/** File system type of memory disks, where writing through costs nothing. */
const tmpfs = 0x01021994

/** Where set-up left the server's binary and the models. */
export const checkoutHome = resolve(import.meta.dirname, "../../../.metamem")

/** Folder of the embedding model in force. */
export const modelFolder = Effect.gen(function*() {
  const all = yield* Effect.promise(() => import("#services/all"))
  const { embeddingDir } = yield* all.settings
  return all.findPart(embeddingDir, yield* homeFolder, "models/minilm")
})

/** A folder of the bench's own with a running server in it, as a home is made; both are gone when the scope closes. */
export const benchHome = Effect.gen(function*() {
  const { natsServer } = yield* settings
  const usual = yield* homeFolder
  const home = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "metamem-bench-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  )
  if (statfsSync(home).type === tmpfs) yield* say(`${tmpdir()} is memory, so nothing here waits for a disk; set TMPDIR to a folder on one`)
  const binary = findServerBinary(usual, Option.getOrUndefined(natsServer)) ?? findServerBinary(checkoutHome, undefined)
  const server = yield* homeServer({ home, binary })
  // Parts come from where they usually do; only what is written is the bench's own. No local model: a bench names its endpoint.
  const env = { METAMEM_MINILM_DIR: yield* modelFolder, METAMEM_LOCAL_MODEL: join(home, "none") }
  return { home, url: server.url, serverPid: server.pid, env }
})

/** Connection, log and leases on a server. */
export const logOn = (url: string) => Layer.mergeAll(JetStreamLog.layer, Leases.layer).pipe(Layer.provideMerge(NatsConnection.layer({ url })))

/** Processor time and memory of a process, from its kernel; zeros where that is not told. */
export const processUsage = (pid: number): ActorUsage => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    // Clock ticks of a hundredth of a second, pages of 4 KiB.
    return { cpuMs: (Number(fields[11]) + Number(fields[12])) * 10, rssMb: rounded((Number(fields[21]) * 4_096) / 1e6) }
  } catch {
    return { cpuMs: 0, rssMb: 0 }
  }
}

export interface ActorProcess {
  readonly pid: number
  readonly usage: Effect.Effect<ActorUsage, CommandFailed>
}

const startLimit = "120 seconds"

/** Starts actors in a process of their own, which ends with the scope. */
export const actorProcess = (start: ActorProcessStart): Effect.Effect<ActorProcess, CommandFailed, Scope.Scope> =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(join(import.meta.dirname, "actor-process.ts"), [JSON.stringify(start)], {
          // What it says on its way out, wherever it says it; stdout is the bench's own document.
          stdio: ["ignore", 2, "inherit", "ipc"],
          ...(start.actors.length > 1 ? {} : actorStart())
        })),
      (child) =>
        Effect.promise<void>(() =>
          new Promise((done) => {
            if (child.exitCode !== null || child.signalCode !== null) return done()
            const late = setTimeout(() => child.kill("SIGKILL"), 15_000)
            child.once("exit", () => {
              clearTimeout(late)
              done()
            })
            if (child.connected) child.disconnect()
          }))
    )
    const next = <A>(wanted: string): Effect.Effect<A, CommandFailed> =>
      Effect.callback<A, CommandFailed>((resume) => {
        const heard = (message: unknown) => {
          const { kind, value } = message as { readonly kind: string; readonly value: A }
          if (kind === wanted) settle(Effect.succeed(value))
        }
        const gone = () => settle(Effect.fail(new CommandFailed({ message: `the process with ${start.actors.join(", ")} ended; its message stands above` })))
        const settle = (outcome: Effect.Effect<A, CommandFailed>) => {
          child.off("message", heard)
          child.off("exit", gone)
          resume(outcome)
        }
        child.on("message", heard)
        child.once("exit", gone)
      })
    yield* next("ready").pipe(
      Effect.timeoutOrElse({ duration: startLimit, orElse: () => Effect.fail(new CommandFailed({ message: `${start.actors.join(", ")} did not start within ${startLimit}` })) })
    )
    return {
      pid: child.pid ?? 0,
      usage: Effect.suspend(() => {
        child.send("usage")
        return next<ActorUsage>("usage")
      })
    }
  })

/** Waits until an actor answers requests, at most 30 s. */
export const untilAnswers = (actor: ActorName): Effect.Effect<void, CommandFailed, Nats> =>
  request(requestSubject(actor, "ping"), {}, 2_000).pipe(
    Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo({ times: 600 }))),
    Effect.mapError((error) => new CommandFailed({ message: `the ${actor} does not answer: ${error.message}` })),
    Effect.asVoid
  )

/** Uniform draws in [0, 1). */
export type Draw = () => number

const common = (
  "the a to i and of it in my that was is for you with on we at have this but so they be can about what just had our from would like out there time " +
  "one week today dinner work morning coffee friend sister garden train book city office kitchen plan trip music market summer winter doctor movie " +
  "recipe budget meeting project teacher neighbor weekend birthday holiday bicycle camera phone table window river mountain museum station hotel"
).split(" ")
const syllables = "ba ce di fo gu la me ni po ru sa te vi zo ka le mi no pu ra se ti vo wa xe yi".split(" ")
const vocabulary = 20_000

/** Word by its place in the order of frequency, from 0. */
const wordAt = (rank: number): string => {
  const known = common[rank]
  if (known !== undefined) return known
  let word = ""
  for (let rest = rank; rest > 0; rest = Math.floor(rest / syllables.length)) word += syllables[rest % syllables.length]
  return word
}

/** Words as frequent as in real talk (Zipf's law), in sentences. */
export const syntheticText = (draw: Draw, wordCount: number): string => {
  let text = ""
  let left = 0
  for (let n = 0; n < wordCount; n++) {
    const word = wordAt(Math.floor(Math.exp(draw() * Math.log(vocabulary))) - 1)
    if (left === 0) {
      left = 5 + Math.floor(draw() * 14)
      text += `${text === "" ? "" : ". "}${word.charAt(0).toUpperCase()}${word.slice(1)}`
    } else text += ` ${word}`
    left -= 1
  }
  return `${text}.`
}

const startMs = Date.UTC(2025, 0, 6, 9)

/** A conversation of alternating speakers: short turns of the user, longer ones of the assistant, a minute apart. */
const syntheticConversation = (draw: Draw, place: number, turnCount: number): DatasetConversation => ({
  conversation: `c${String(place + 1).padStart(4, "0")}`,
  turns: Array.from({ length: turnCount }, (_, at) => ({
    clientId: `${place}-${at}`,
    speaker: at % 2 === 0 ? "user" : "assistant",
    text: syntheticText(draw, at % 2 === 0 ? 8 + Math.floor(draw() * 40) : 30 + Math.floor(draw() * 120)),
    time: new Date(startMs + place * 86_400_000 + at * 60_000).toISOString()
  }))
})

/** Questions about short histories, one user each; the answers stand in the histories and mean nothing. */
export const syntheticDataset = (draw: Draw, name: string, questionCount: number, conversationCount = 2, turnCount = 6): Dataset => {
  const users = Array.from({ length: questionCount }, (_, at) => ({
    user: `${name}-${at}`,
    conversations: Array.from({ length: conversationCount }, (_, place) => syntheticConversation(draw, place, turnCount))
  }))
  return {
    set: "longmemeval",
    hash: name,
    users,
    bonds: new Map(),
    questions: users.map(({ conversations, user }, at) => ({
      id: `q${at}`,
      text: `What did I say about ${syntheticText(draw, 6).slice(0, -1).toLowerCase()}?`,
      type: "single-session-user",
      answer: conversations[0]?.turns[0]?.text.split(" ").slice(0, 4).join(" ") ?? "nothing",
      date: new Date(startMs + 200 * 86_400_000).toISOString(),
      abstention: false,
      user,
      cluster: user
    }))
  }
}

/** A fixed value in [-0.5, 0.5) for each pair of numbers. */
const scatter = (a: number, b: number): number => {
  const value = Math.sin(a * 12.9898 + b * 78.233) * 43_758.5453
  return value - Math.floor(value) - 0.5
}

/** A vector of unit length around one of `centres` directions, with float16 values, as real ones crowd. */
export const syntheticVector = (draw: Draw, dimensions: number, centres = 64): Float32Array => {
  const centre = Math.floor(draw() * centres)
  const vector = new Float32Array(dimensions)
  let sum = 0
  for (let at = 0; at < dimensions; at++) {
    // The sum of three even draws is near enough to a normal one.
    const value = draw() + draw() + draw() - 1.5 + scatter(centre, at) * 1.2
    vector[at] = value
    sum += value * value
  }
  const length = Math.sqrt(sum)
  return vector.map((value) => Math.f16round(value / length))
}
