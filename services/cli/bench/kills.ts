/**
 * A run in a simulated world during which every actor and the server are killed at random, beside one that ran through: their generations
 * hash by hash, and what was paid twice beside what was in flight at the kills. Each runs on a server and memories of its own.
 */
import { Effect, Fiber, Option, Schedule, Schema, Scope, Stream } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { request } from "#shared/actor/requests"
import type { Commit } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { type ActorName, actors, requestSubject, resultFilter, runFilter, runSubject } from "#shared/eventlog/subjects"
import { canonicalJson } from "#shared/domain/canonical-json"
import { digest, shuffled, stream, wholeNumber } from "#shared/metamemory/random"
import { makeVerifier } from "#services/reflector/analysis"
import { buildMemory } from "../build.ts"
import { CommandFailed, progressLine, root, say, table } from "../root.ts"
import { foldRun, replayAll, type RunResult, runResults } from "../runs.ts"
import { callMeter, type CallMeter, keyOf, repeats, type SentCall } from "./call-meter.ts"
import { actorProcess, benchHome, logOn, secondsSince, untilAnswers } from "./load.ts"
import { askedOf, cut, worldRun, worldSplit } from "./world.ts"

export interface KillsOptions {
  /** Address of the world, without `/v1`. */
  readonly world: string
  readonly kills: number
  readonly seed: number
  readonly steps: number
  readonly batch: number
  readonly samples: number
  readonly validation: number
  readonly guard: number
  /** Calls at once a role and process. */
  readonly concurrency: number
}

export type Target = ActorName | "server"

export interface PlannedKill {
  readonly target: Target
  /** Settled jobs of the run after which it happens. */
  readonly after: number
}

/** Part of the run in which kills fall: one at its very end would find it over. */
const killedPart = 0.9

/** Each of the targets once before any a second time, at drawn points of the run, in the order of those. */
export const killPlan = (kills: number, results: number, seed: number): ReadonlyArray<PlannedKill> => {
  const targets: ReadonlyArray<Target> = [...actors, "server"]
  const draw = stream("kills", seed)
  const order = Array.from({ length: Math.ceil(kills / targets.length) }, (_, round) => shuffled(targets, "kills", seed, round)).flat()
  const points = Array.from({ length: kills }, () => 1 + Math.floor(draw() * Math.max(1, killedPart * results - 1))).sort((a, b) => a - b)
  return points.map((after, at) => ({ target: order[at] ?? "server", after }))
}

export interface Kill extends PlannedKill {
  readonly process: string
  /** Calls sent whose replies were not kept: of the process, or of all where the server was killed. */
  readonly inFlight: number
  /** Seconds until the run had its next settled job. */
  readonly stoodSeconds: number
}

export interface KillsResult {
  readonly ok: boolean
  readonly equal: boolean
  readonly generations: ReadonlyArray<{ readonly n: number; readonly undisturbed: string | null; readonly killed: string | null; readonly equal: boolean }>
  /** Commits of the run, and those of the longer list that are not the same in the other: batches, verdicts, proposals, looks, decisions. */
  readonly decisions: { readonly made: number; readonly different: number }
  readonly recommended: { readonly undisturbed: number | null; readonly killed: number | null }
  /** True when both runs follow from their results and every generation replays as sealed. */
  readonly whole: boolean
  readonly kills: ReadonlyArray<Kill>
  readonly calls: number
  /** Asked in one of the runs only. */
  readonly callsInOne: number
  readonly inFlight: number
  readonly repeated: number
  /** Of the repeated those that are no matter of the kills: made by several jobs, as verdicts on equal answers, in two processes at once. */
  readonly shared: number
  /** The same in the undisturbed run, where nothing else is ever repeated. */
  readonly sharedUndisturbed: number
  /** Repeated for neither reason. */
  readonly repeatedOutside: number
  readonly errors: { readonly undisturbed: number; readonly killed: number }
  readonly seconds: { readonly undisturbed: number; readonly killed: number }
  readonly seed: number
}

/** How a run came out, and what it took. */
export interface Arm {
  /** Of the generations as sealed, in order. */
  readonly hashes: ReadonlyArray<string>
  /** Digests of what was decided, in order. */
  readonly decisions: ReadonlyArray<string>
  readonly recommended: number | null
  readonly isWhole: boolean
  /** Jobs settled, and those of them that failed. */
  readonly results: number
  readonly errors: number
  readonly seconds: number
  readonly kills: ReadonlyArray<Kill>
  /** Keys of the calls in flight at its kills. */
  readonly inFlight: ReadonlySet<string>
  readonly sent: ReadonlyArray<SentCall>
  /** How many jobs rest on a call. */
  readonly jobsOf: ReadonlyMap<string, number>
}

/** Of those whose calls are paid for there are two each, so that some live on when one is killed. */
const processesOf: Readonly<Record<ActorName, number>> = { ingestor: 1, compressor: 1, embedder: 1, retriever: 2, evaluator: 2, reflector: 2 }

/** Longest a killed process may take until another runs in its place, and how often it is started anew: it ends when the server is killed meanwhile. */
const startLimitMs = 60_000
const restarts = 3
/** Longest a run may take, in seconds. */
const runLimit = 3_600
const runName = "kills"

/** Keys of the replies that are kept; asked again for as long as the server is away, at most a minute. */
const keptCalls = Effect.flatMap(Nats, ({ jsm }) => attempt("list kept calls", () => jsm.streams.info("CALLS", { subjects_filter: "calls.>" }))).pipe(
  Effect.retry(Schedule.spaced("200 millis").pipe(Schedule.upTo({ times: 300 }))),
  Effect.map(({ state }) => new Set(Object.keys(state.subjects ?? {}).map((subject) => subject.split(".").at(-1) ?? "")))
)

const decodeCalls = Schema.decodeUnknownOption(Schema.Struct({ callKey: Schema.optionalKey(Schema.String), calls: Schema.optionalKey(Schema.Array(Schema.String)) }))

/** How many settled jobs name each call. */
const jobsByCall = (results: ReadonlyArray<RunResult>): ReadonlyMap<string, number> => {
  const jobs = new Map<string, number>()
  for (const { settled } of results) {
    const { callKey, calls = [] } = Option.getOrElse(decodeCalls(settled.data), () => ({}) as { readonly callKey?: string; readonly calls?: ReadonlyArray<string> })
    for (const call of callKey === undefined ? calls : [callKey, ...calls]) jobs.set(call, (jobs.get(call) ?? 0) + 1)
  }
  return jobs
}

/** What a commit decided, without what tells of the order in which results came and of places in the log. */
const decision = ({ cause, events }: Commit): string =>
  digest(
    cause,
    ...events.map(({ data, type }) => {
      const { inputsDigest: _, parameters, results: __, ...rest } = data as Readonly<Record<string, unknown>>
      return `${type} ${canonicalJson(parameters === undefined ? rest : { ...rest, parameters: { ...parameters, memoryPosition: 0 } })}`
    })
  )

/** Ends a process at once. False when it had ended by itself. */
const end = (pid: number): boolean => {
  try {
    return process.kill(pid, "SIGKILL")
  } catch {
    return false
  }
}

interface Running {
  readonly actor: ActorName
  readonly name: string
  readonly pid: number
}

/** Processes of every actor on one server, of which single ones can be ended and replaced. */
const cast = Effect.fnUntraced(function*(on: { readonly home: string; readonly url: string; readonly env: Readonly<Record<string, string>> }, meter: CallMeter, concurrency: number) {
  const scope = yield* Effect.scope
  const running: Array<Running> = []
  const replacements: Array<Fiber.Fiber<void, CommandFailed>> = []
  let started = 0
  const start = Effect.fnUntraced(function*(actor: ActorName) {
    const name = `${actor} ${++started}`
    const settings = { ...on.env, ...askedOf(meter.api(name), concurrency), METAMEM_EMBEDDING_THREADS: "1" }
    const { pid } = yield* actorProcess({ home: on.home, url: on.url, actors: [actor], settings }).pipe(Effect.provideService(Scope.Scope, scope))
    running.push({ actor, name, pid })
  })
  yield* Effect.forEach(actors.flatMap((actor) => Array.from({ length: processesOf[actor] }, () => actor)), start, { concurrency: 2, discard: true })

  /**
   * Kills one process of an actor, or the server, and starts it again. @returns the one killed and the keys of its calls in flight, as far as
   * they are known when it is asked: what a process sent before its end may be read after it.
   */
  const kill = Effect.fnUntraced(function*(target: Target, pick: number) {
    const unkept = (kept: ReadonlySet<string>, by?: string) =>
      new Set(meter.sent.flatMap(({ call, sender }) => ((by === undefined || sender === by) && !kept.has(keyOf(call)) ? [call] : [])))
    if (target === "server") {
      // Looked at before: a server that comes back does not know who has which job, and any of them may be given out anew.
      const kept = yield* keptCalls
      const { pid } = JSON.parse(readFileSync(join(on.home, "nats", "server.json"), "utf8")) as { readonly pid: number }
      end(pid)
      // What was sent between the look and the end is in flight too.
      const inFlight = unkept(kept)
      return { process: "server", inFlight: () => inFlight }
    }
    const own = () => running.filter(({ actor }) => actor === target)
    // One killed a moment ago may still be starting.
    for (let waitedMs = 0; own().length === 0 && waitedMs < startLimitMs; waitedMs += 50) yield* Effect.sleep(50)
    const victim = own()[pick % Math.max(1, own().length)]
    if (victim === undefined || !end(victim.pid)) return yield* new CommandFailed({ message: `no ${target} runs that could be killed; it did not start, or ended by itself, and its message stands above` })
    running.splice(running.indexOf(victim), 1)
    const kept = yield* keptCalls
    replacements.push(yield* start(target).pipe(Effect.retry({ times: restarts }), Effect.forkIn(scope)))
    return { process: victim.name, inFlight: () => unkept(kept, victim.name) }
  })
  return { kill, replaced: Effect.suspend(() => Fiber.joinAll(replacements)) }
})

/** One run from its memories to its end; killed at the points of a plan where there is one. */
const arm = (options: KillsOptions, label: string, plan: ReadonlyArray<PlannedKill>) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const on = yield* benchHome
    const meter = yield* callMeter(options.world)
    const split = (name: "train" | "val", n: number) => worldSplit(options.world, join(on.home, "world"), name, n)
    const train = yield* split("train", options.steps * options.batch)
    const held = yield* split("val", options.validation + options.guard)
    const [validation, guard] = cut(held.questions, options.validation)
    const ask = yield* worldRun({ train, validation, guard }, { seed: options.seed, steps: options.steps, batch: options.batch, samples: options.samples, gate: "likely" })
    const { kill, replaced } = yield* cast(on, meter, options.concurrency)
    return yield* Effect.gen(function*() {
      yield* Effect.forEach(["ingestor", "retriever", "evaluator", "reflector"] as const, untilAnswers, { discard: true })
      const built = yield* buildMemory({ ...train, users: [...train.users, ...held.users], questions: [...train.questions, ...held.questions] })
      if (built.failed.length > 0) return yield* new CommandFailed({ message: `${built.failed.length} conversations could not be remembered, e.g. ${built.failed[0]?.error}` })
      const log = yield* EventLog
      const address = { tenant, run: runName }
      const started = performance.now()
      const progress = progressLine()
      let results = 0
      let errors = 0
      let step = 0
      yield* request(requestSubject("reflector", "open"), { ...address, request: ask }, 120_000)
      const through = yield* log.follow([resultFilter(address), runSubject(address)]).pipe(
        Stream.tap(({ events }) =>
          Effect.sync(() => {
            for (const { data, type } of events) {
              const { status, step: of } = data as { readonly status?: string; readonly step?: number }
              if (type === "JobSettled") results += 1
              if (type === "JobSettled" && status === "failed") errors += 1
              if (type === "StepEnded") step = of ?? step
            }
            progress.update(`${label}: step ${step} of ${options.steps}, ${results} jobs, ${secondsSince(started)} s`)
          })),
        Stream.takeUntil(({ events }) => events.some(({ type }) => type === "RunFinished")),
        Stream.runDrain,
        Effect.timeoutOrElse({ duration: runLimit * 1_000, orElse: () => Effect.fail(new CommandFailed({ message: `the run was not through after ${runLimit} s` })) }),
        Effect.forkScoped
      )
      const isThrough = () => through.pollUnsafe() !== undefined
      const kills: Array<{ -readonly [K in keyof Kill]: Kill[K] }> = []
      const inFlightAt: Array<() => ReadonlySet<string>> = []
      for (const { after, target } of plan) {
        while (results < after && !isThrough()) yield* Effect.sleep(5)
        if (isThrough()) break
        const [stood, from] = [results, performance.now()]
        const killed = yield* kill(target, wholeNumber(1_000, "which", options.seed, kills.length))
        inFlightAt.push(killed.inFlight)
        const entry = { target, after, process: killed.process, inFlight: 0, stoodSeconds: 0 }
        kills.push(entry)
        yield* Effect.sleep(20).pipe(
          Effect.repeat({ while: () => results === stood && !isThrough() }),
          Effect.andThen(Effect.sync(() => void (entry.stoodSeconds = secondsSince(from)))),
          Effect.forkScoped
        )
        yield* say(`killed ${killed.process} after ${after} jobs`)
      }
      yield* Fiber.join(through)
      progress.end()
      const seconds = secondsSince(started)
      yield* replaced
      const inFlight = new Set<string>()
      for (const [at, callsOf] of inFlightAt.entries()) {
        const calls = callsOf()
        const kill = kills[at]
        if (kill !== undefined) kill.inFlight = calls.size
        for (const call of calls) inFlight.add(call)
      }
      const verifier = makeVerifier(address)
      yield* log.read([runFilter(address)]).pipe(Stream.runForEach(verifier.next))
      const { differing, extra, missing } = verifier.end()
      const replayed = yield* replayAll(tenant, runName)
      const { recommended } = yield* foldRun(tenant, runName)
      return {
        hashes: replayed.map(({ sealed }) => sealed.hash),
        decisions: (yield* log.load(runSubject(address))).map(decision),
        recommended: recommended ?? null,
        isWhole: differing.length + extra.length + missing.length === 0 && replayed.every(({ identical }) => identical),
        results, errors, seconds, kills, inFlight,
        sent: [...meter.sent],
        jobsOf: jobsByCall(yield* runResults(tenant, runName))
      } satisfies Arm
    }).pipe(Effect.provide(logOn(on.url)))
  }).pipe(Effect.scoped)

/** What two runs have in common and what not. */
export const compared = (calm: Arm, killed: Arm, seed: number): KillsResult => {
  const generations = Array.from({ length: Math.max(calm.hashes.length, killed.hashes.length) }, (_, n) => {
    const [undisturbed, other] = [calm.hashes[n] ?? null, killed.hashes[n] ?? null]
    return { n, undisturbed, killed: other, equal: undisturbed === other }
  })
  const [calmCalls, killedCalls] = [calm, killed].map(({ sent }) => new Set(sent.map(({ call }) => call))) as [Set<string>, Set<string>]
  const sum = (counts: Iterable<number>): number => [...counts].reduce((all, one) => all + one, 0)
  /** Repeats of calls that several jobs make and that no kill cut off, at most one a further job. */
  const sharedIn = ({ inFlight, jobsOf, sent }: Arm): number => sum([...repeats(sent)].map(([call, again]) => (inFlight.has(call) ? 0 : Math.min(again, (jobsOf.get(keyOf(call)) ?? 1) - 1))))
  const again = repeats(killed.sent)
  const repeated = sum(again.values())
  const shared = sharedIn(killed)
  const cutOff = sum([...again].filter(([call]) => killed.inFlight.has(call)).map(([, count]) => count))
  const made = Math.max(calm.decisions.length, killed.decisions.length)
  const different = Array.from({ length: made }, (_, at) => calm.decisions[at] !== killed.decisions[at]).filter((is) => is).length
  const equal = different === 0 && generations.every((generation) => generation.equal) && calm.recommended === killed.recommended
  const isWhole = calm.isWhole && killed.isWhole
  return {
    ok: equal && isWhole && repeated - shared <= killed.inFlight.size,
    equal,
    generations,
    decisions: { made, different },
    recommended: { undisturbed: calm.recommended, killed: killed.recommended },
    whole: isWhole,
    kills: killed.kills,
    calls: calmCalls.size,
    callsInOne: [...calmCalls].filter((call) => !killedCalls.has(call)).length + [...killedCalls].filter((call) => !calmCalls.has(call)).length,
    inFlight: killed.inFlight.size,
    repeated,
    shared,
    sharedUndisturbed: sharedIn(calm),
    repeatedOutside: repeated - cutOff - shared,
    errors: { undisturbed: calm.errors, killed: killed.errors },
    seconds: { undisturbed: calm.seconds, killed: killed.seconds },
    seed
  }
}

export const benchKills = (options: KillsOptions) =>
  Effect.gen(function*() {
    yield* say("a run without kills")
    const calm = yield* arm(options, "undisturbed", [])
    yield* say(`the same with ${options.kills} kills`)
    const killed = yield* arm(options, "killed", killPlan(options.kills, calm.results, options.seed))
    return compared(calm, killed, options.seed)
  })

/** One line a kill, one a generation, then the sums. */
export const killsTable = (result: KillsResult): string =>
  [
    table([["killed", "after jobs", "calls in flight", "stood still, s"], ...result.kills.map(({ after, inFlight, process, stoodSeconds }) => [process, String(after), String(inFlight), String(stoodSeconds)])]),
    table([["generation", "undisturbed", "killed", ""], ...result.generations.map(({ equal, killed, n, undisturbed }) => [String(n), undisturbed?.slice(0, 16) ?? "–", killed?.slice(0, 16) ?? "–", equal ? "equal" : "DIFFERENT"])]),
    table([
      ["decisions", `${result.decisions.made}, different ${result.decisions.different}`],
      ["recommended", `${result.recommended.undisturbed} and ${result.recommended.killed}`],
      ["calls", `${result.calls}, ${result.callsInOne} in one of the runs only`],
      ["in flight at the kills", String(result.inFlight)],
      ["paid again", `${result.repeated - result.shared}, of these not in flight at a kill ${result.repeatedOutside}`],
      ["made by two processes at once", `${result.shared}, undisturbed ${result.sharedUndisturbed}`],
      ["jobs failed", `${result.errors.undisturbed} and ${result.errors.killed}`],
      ["verified", result.whole ? "both whole" : "NOT whole"],
      ["seconds", `${result.seconds.undisturbed} and ${result.seconds.killed}`]
    ])
  ].join("\n\n")
