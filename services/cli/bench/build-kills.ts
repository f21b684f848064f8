/**
 * A build of a data set that is killed several times, each time with its server and everything in it, and begun again, beside one that ran
 * through. Both are the command itself, as anybody runs it; what they remember must be the same, by content.
 */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Option, Schema } from "effect"
import { request } from "#shared/actor/requests"
import { readDataset } from "#shared/datasets/read-dataset"
import { EventLog } from "#shared/eventlog/event-log"
import { formatPosition } from "#shared/eventlog/position"
import { requestSubject } from "#shared/eventlog/subjects"
import { findServerBinary, homeServer } from "#shared/home/server"
import { settings } from "#shared/home/settings"
import { stream } from "#shared/metamemory/random"
import { IndexVerifyReply } from "#services/retriever/protocol"
import { limited } from "../build.ts"
import { homeFolder } from "../home.ts"
import { CommandFailed, progressLine, root, table } from "../root.ts"
import { actorProcess, checkoutHome, type Draw, logOn, modelFolder, rounded, secondsSince, untilAnswers } from "./load.ts"
import { type LogContent, logContent, type Part, parts } from "./log-content.ts"

export interface BuildKillsOptions {
  readonly data: string
  /** Questions of the data set, from its start. */
  readonly limit: number
  readonly kills: number
  readonly seed: number
}

/** How the killed build's content differs from the other's. */
export interface Difference {
  readonly same: number
  readonly missing: number
  readonly extra: number
  readonly changed: number
  readonly twice: number
}

export interface BuildKillsResult {
  readonly ok: boolean
  readonly questions: number
  /** Seconds of the undisturbed build, and of the killed one, all its beginnings together. */
  readonly seconds: { readonly calm: number; readonly killed: number }
  /** Seconds after each beginning, and turns and vectors that stood in the log when it was over. */
  readonly killedAfterSeconds: ReadonlyArray<number>
  readonly content: Readonly<Record<Part, Difference>>
  /** Vectors recorded again with the same bytes, in the undisturbed build and in the killed one. */
  readonly vectorsAgain: { readonly calm: number; readonly killed: number }
  /** Rows of either index, and those not as its log says. */
  readonly index: { readonly calm: number; readonly killed: number; readonly different: number }
  readonly examples: ReadonlyArray<string>
  readonly seed: number
}

const buildLimitSeconds = 7_200
const examplesMax = 10
const decodeVerify = Schema.decodeUnknownEffect(IndexVerifyReply)

/** What two logs say, part by part. */
export const compareContent = (calm: LogContent, killed: LogContent): { readonly content: Readonly<Record<Part, Difference>>; readonly examples: ReadonlyArray<string> } => {
  const examples: Array<string> = []
  const tell = (line: string): void => {
    if (examples.length < examplesMax) examples.push(line)
  }
  const differenceOf = (part: Part): Difference => {
    const [wanted, found] = [calm.content[part], killed.content[part]]
    const figures = { same: 0, missing: 0, extra: 0, changed: 0, twice: killed.twice[part].length + calm.twice[part].length }
    for (const [key, value] of wanted) {
      const own = found.get(key)
      if (own === value) figures.same += 1
      else {
        figures[own === undefined ? "missing" : "changed"] += 1
        tell(`${part}: ${key} ${own === undefined ? "is missing" : "is another"}`)
      }
    }
    for (const key of found.keys()) {
      if (wanted.has(key)) continue
      figures.extra += 1
      tell(`${part}: ${key} is in the killed build alone`)
    }
    for (const key of [...killed.twice[part], ...calm.twice[part]]) tell(`${part}: ${key} stands there twice`)
    return figures
  }
  return { content: Object.fromEntries(parts.map((part) => [part, differenceOf(part)])) as Record<Part, Difference>, examples }
}

/** The server that a home's last process left, if it lives; a number that meanwhile is another's is let be. */
const serverOf = (home: string): number | undefined => {
  try {
    const { pid } = JSON.parse(readFileSync(join(home, "nats", "server.json"), "utf8")) as { readonly pid: number }
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(home) ? pid : undefined
  } catch {
    return undefined
  }
}

const killAll = (home: string, pid: number | undefined): void => {
  // The build first: it would start the server again.
  for (const one of [pid, serverOf(home)]) {
    try {
      if (one !== undefined) process.kill(one, "SIGKILL")
    } catch {
      // Gone by itself meanwhile.
    }
  }
}

/**
 * Runs `metamem build` in a home; kills it and its server when its time is over.
 * @param tell is told the last line of each piece of its progress
 * @returns true when it ran through
 */
const build = (home: string, options: BuildKillsOptions, tell: (line: string) => void, killAfterSeconds?: number): Effect.Effect<boolean, CommandFailed> =>
  Effect.callback<boolean, CommandFailed>((resume) => {
    const main = join(import.meta.dirname, "..", "main.ts")
    const child = spawn(process.execPath, [...process.execArgv, main, "build", "--data", options.data, "--limit", String(options.limit), "--home", home, "--json"], { stdio: ["ignore", "ignore", "pipe"] })
    let said = ""
    let isKilled = false
    child.stderr.on("data", (data) => {
      said = `${said}${data}`.slice(-2_000)
      tell(said.trimEnd().split("\n").at(-1) ?? "")
    })
    const kill = () => {
      isKilled = true
      killAll(home, child.pid)
    }
    const timer = setTimeout(kill, (killAfterSeconds ?? buildLimitSeconds) * 1_000)
    child.once("exit", (code) => {
      clearTimeout(timer)
      if (isKilled && killAfterSeconds !== undefined) resume(Effect.succeed(false))
      else if (code === 0) resume(Effect.succeed(true))
      else resume(Effect.fail(new CommandFailed({ message: `the build ended with ${isKilled ? `its limit of ${buildLimitSeconds} s` : `code ${code}`}: ${said}` })))
    })
    return Effect.sync(() => {
      clearTimeout(timer)
      kill()
    })
  })

/** A folder of the bench's own, without a server: each build starts one. */
const emptyHome = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "metamem-bench-"))),
  (home) =>
    Effect.sync(() => {
      killAll(home, undefined)
      rmSync(home, { recursive: true, force: true, maxRetries: 5 })
    })
)

/** What a finished home's log and index hold; the index is compared as far as it follows the log. */
const inspect = (home: string, users: ReadonlyArray<string>) =>
  Effect.scoped(
    Effect.gen(function*() {
      const { tenant } = yield* root
      const { natsServer } = yield* settings
      const binary = findServerBinary(yield* homeFolder, Option.getOrUndefined(natsServer)) ?? findServerBinary(checkoutHome, undefined)
      const { url } = yield* homeServer({ home, binary })
      yield* actorProcess({ home, url, actors: ["retriever"], settings: { METAMEM_MINILM_DIR: yield* modelFolder, METAMEM_LOCAL_MODEL: join(home, "none") } })
      return yield* Effect.gen(function*() {
        yield* untilAnswers("retriever")
        const content = yield* logContent(tenant)
        const head = yield* (yield* EventLog).head("MEMORY")
        yield* request(requestSubject("retriever", "await"), { position: formatPosition({ log: "memory", sequence: head }), deadlineMs: 120_000 }, 125_000)
        let rows = 0
        let different = 0
        for (const user of users) {
          const verified = yield* Effect.flatMap(request(requestSubject("retriever", "index-verify"), { tenant, user }, 120_000), decodeVerify)
          rows += verified.memories
          different += verified.missing + verified.extra + verified.changed
        }
        return { content, rows, different }
      }).pipe(Effect.provide(logOn(url)))
    })
  )

/** When each beginning is killed, as shares of the undisturbed build's time: the first while turns still come in, the others anywhere in the work on them. */
export const killShares = (draw: Draw, kills: number): ReadonlyArray<number> => Array.from({ length: kills }, (_, n) => (n === 0 ? 0.05 + draw() * 0.1 : 0.1 + (draw() * 0.5) / kills))

export const benchBuildKills = (options: BuildKillsOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const progress = progressLine()
      const under = (heading: string) => {
        progress.update(heading)
        return (line: string) => progress.update(`${heading}: ${line}`)
      }
      const dataset = limited(yield* readDataset(options.data), options.limit)
      const users = dataset.users.map(({ user }) => user)
      const [calmHome, killedHome] = [yield* emptyHome, yield* emptyHome]

      const calmFrom = performance.now()
      yield* build(calmHome, options, under("the build that is left alone"))
      const calmSeconds = secondsSince(calmFrom)
      const calm = yield* inspect(calmHome, users)

      const killedAfterSeconds: Array<number> = []
      const killedFrom = performance.now()
      for (const share of killShares(stream("build kills", options.seed), options.kills)) {
        const after = rounded(calmSeconds * share)
        if (yield* build(killedHome, options, under(`the other build, killed after ${after} s`), after)) {
          return yield* new CommandFailed({ message: `the build was through before it was killed for the ${killedAfterSeconds.length + 1}. time; take more questions or fewer kills` })
        }
        killedAfterSeconds.push(after)
      }
      yield* build(killedHome, options, under(`the other build, after ${options.kills} kills`))
      const killedSeconds = secondsSince(killedFrom)
      progress.update("comparing")
      const killed = yield* inspect(killedHome, users)
      progress.end()

      const { content, examples } = compareContent(calm.content, killed.content)
      const wrong = parts.reduce((sum, part) => sum + content[part].missing + content[part].extra + content[part].changed + content[part].twice, 0)
      const different = calm.different + killed.different
      return {
        ok: wrong + different === 0 && calm.rows === killed.rows && content.turns.same > 0,
        questions: dataset.questions.length,
        seconds: { calm: calmSeconds, killed: killedSeconds },
        killedAfterSeconds,
        content,
        vectorsAgain: { calm: calm.content.vectorsAgain, killed: killed.content.vectorsAgain },
        index: { calm: calm.rows, killed: killed.rows, different },
        examples,
        seed: options.seed
      } satisfies BuildKillsResult
    })
  )

export const buildKillsTable = ({ content, examples, index, killedAfterSeconds, ok, questions, seconds, vectorsAgain }: BuildKillsResult): string =>
  [
    table([["", "same", "missing", "extra", "changed", "twice"], ...Object.entries(content).map(([part, { changed, extra, missing, same, twice }]) => [part, ...[same, missing, extra, changed, twice].map(String)])]),
    `index rows ${index.calm} and ${index.killed}, ${index.different} not as the log says; vectors recorded again ${vectorsAgain.calm} and ${vectorsAgain.killed}`,
    ...examples.map((example) => `  ${example}`),
    `${questions} questions, ${seconds.calm} s left alone, ${seconds.killed} s killed after ${killedAfterSeconds.join(", ")} s: ${ok ? "equal" : "NOT equal"}`
  ].join("\n")
