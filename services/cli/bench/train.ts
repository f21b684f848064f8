/**
 * A step of a run against an endpoint, with the gate off, in as many processes a role as asked: how near it comes to an ideal in which
 * every stage waits for nothing but the endpoint. The run is a real one, on a server and memories of its own. What is measured is one step
 * of processes that are ready: a process finds its code cold in its first calls, so there is a step before it for each process. What
 * starting and the first step cost is told apart.
 */
import { Effect, Schema, Stream } from "effect"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { actors, requestSubject, resultFilter, runSubject } from "#shared/eventlog/subjects"
import { stream } from "#shared/metamemory/random"
import { makeCost } from "#services/reflector/analysis"
import { presets, type RunRequest } from "#services/reflector/parameters"
import { buildMemory } from "../build.ts"
import { CommandFailed, progressLine, root, say } from "../root.ts"
import type { ActorUsage } from "./actor-process.ts"
import { type EvaluationFigures, measureEvaluation } from "./evaluation.ts"
import { actorProcess, benchHome, logOn, processUsage, rounded, syntheticDataset, untilAnswers } from "./load.ts"

export interface TrainOptions {
  /** Base address of an OpenAI-compatible endpoint. */
  readonly endpoint: string
  readonly questions: number
  readonly samples: number
  readonly processes: number
  /** Steps before the one measured, which find the code cold; undefined = one a process, so that each has seen as many calls as a single one would. */
  readonly warmUp: number | undefined
  /** Of one call, and how many the endpoint serves at once; asked of the endpoint where it is a simulated one. */
  readonly latencyMs: number
  readonly slots: number
  readonly seed: number
}

export interface TrainFigures {
  /** Of `metamem eval` and `metamem infer` on as many questions as the step has, and the ideal of either. */
  readonly evaluation: { readonly eval: EvaluationFigures; readonly infer: EvaluationFigures; readonly idealSeconds: number }
  readonly calls: number
  readonly byRole: Readonly<Record<string, number>>
  /** Calls in flight on average, by Little's law. */
  readonly meanInFlight: number
  readonly wallSeconds: number
  readonly idealSeconds: number
  /** Ideal divided by real; more than 1 where stages overlap. */
  readonly efficiency: number
  /** Of all actor processes together over the step measured, starting them not included; the server's is beside it. */
  readonly cpuMsPerCall: number
  readonly serverCpuMsPerCall: number
  /** Steps before the one measured. */
  readonly warmUpSteps: number
  /** The same over the first step. */
  readonly firstStepCpuMsPerCall: number
  /** Processor time of one process until it was ready. */
  readonly startCpuMs: number
  /** Where the time went; judgements run beside the rollouts. */
  readonly stageSeconds: Readonly<Record<string, number>>
  /** Of the first step, with everything cold and the run to be opened. */
  readonly firstStepSeconds: number
  readonly failed: number
  readonly processes: number
  readonly slots: number
  readonly latencyMs: number
  readonly rssMb: number
  readonly seed: number
}

/** Σ over stages of ⌈calls ÷ slots⌉ × latency, in seconds. */
export const idealSeconds = (callsByStage: Iterable<number>, slots: number, latencyMs: number): number =>
  [...callsByStage].reduce((sum, calls) => sum + Math.ceil(calls / slots), 0) * (latencyMs / 1_000)

/** Role that does the calls of a kind of job. */
const roleOf: Readonly<Record<string, string>> = { rollout: "answer", judgement: "judge", reflection: "reflect", proposal: "propose", consolidation: "consolidate" }

const decodeStats = Schema.decodeUnknownEffect(Schema.Struct({ config: Schema.Struct({ latency_ms: Schema.Finite, max_concurrency: Schema.Int }) }))

/** Latency and slots as a simulated endpoint tells them; what was given for any other. */
const endpointShape = ({ endpoint, latencyMs, slots }: TrainOptions) =>
  Effect.tryPromise(() => fetch(new URL("/sim/stats", endpoint), { signal: AbortSignal.timeout(2_000) }).then((reply) => reply.json())).pipe(
    Effect.flatMap(decodeStats),
    Effect.map(({ config }) => ({ latencyMs: config.latency_ms, slots: config.max_concurrency })),
    Effect.orElseSucceed(() => ({ latencyMs, slots }))
  )

const runName = (seed: number): string => `bench-${seed}`

/** Longest a step may take before the bench gives up, in seconds. */
const stepLimit = 600

/** What a step's stages end with. */
const stageEnds: Readonly<Record<string, string>> = { RolloutsFolded: "rollouts", ReflectionsFolded: "reflections", ProposalsFolded: "proposals", OperationsConsolidated: "consolidation" }

interface Mark {
  readonly atMs: number
  readonly usage: ActorUsage
  readonly server: ActorUsage
}

/** Opens the run, lets its steps be done, and sums up the last of them. */
const measured = (options: TrainOptions, ask: RunRequest, usage: Effect.Effect<ActorUsage, CommandFailed>, serverPid: number, startCpuMs: number) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const log = yield* EventLog
    const { latencyMs, slots } = yield* endpointShape(options)
    const address = { tenant, run: runName(options.seed) }
    const mark = (time: string) => Effect.map(usage, (usage): Mark => ({ atMs: Date.parse(time), usage, server: processUsage(serverPid) }))
    const started = performance.now()
    yield* request(requestSubject("reflector", "open"), { ...address, request: ask }, 60_000)
    const begun = new Map<number, Mark>()
    const ended = new Map<number, Mark>()
    let firstStepSeconds = 0
    let lastMs = 0
    const stageSeconds: Record<string, number> = {}
    yield* log.follow([runSubject(address)]).pipe(
      Stream.mapEffect((commit) =>
        Effect.gen(function*() {
          for (const { data, type } of commit.events) {
            const { step } = data as { readonly step?: number }
            if (step !== 1 && step !== ask.steps) continue
            if (type === "StepStarted") begun.set(step, yield* mark(commit.time))
            if (type === "StepEnded" && step === 1) firstStepSeconds = (performance.now() - started) / 1_000
            if (type === "StepEnded") ended.set(step, yield* mark(commit.time))
            const stage = stageEnds[type]
            if (stage !== undefined && step === ask.steps) stageSeconds[stage] = rounded((Date.parse(commit.time) - lastMs) / 1_000, 2)
          }
          lastMs = Date.parse(commit.time)
        })),
      Stream.takeUntil(() => ended.has(ask.steps)),
      Stream.runDrain,
      Effect.timeoutOrElse({ duration: stepLimit * 1_000, orElse: () => Effect.fail(new CommandFailed({ message: `the steps were not through after ${stepLimit} s` })) })
    )
    const cost = makeCost()
    yield* log.read([resultFilter(address)]).pipe(Stream.runForEach((commit) => Effect.sync(() => cost.add(commit))))
    const rowsOf = (wanted: number) => cost.rows().filter(({ step }) => step === wanted)
    const callsOf = (step: number): number => rowsOf(step).reduce((sum, row) => sum + row.calls, 0)
    /** What passed between the two ends of a step. */
    const spent = (step: number) => {
      const [from, to] = [begun.get(step), ended.get(step)]
      if (from === undefined || to === undefined) return undefined
      const perCall = (pick: (mark: Mark) => number) => rounded((pick(to) - pick(from)) / Math.max(1, callsOf(step)), 2)
      return { cpuMsPerCall: perCall(({ usage }) => usage.cpuMs), serverCpuMsPerCall: perCall(({ server }) => server.cpuMs), wallSeconds: (to.atMs - from.atMs) / 1_000, rssMb: to.usage.rssMb }
    }
    const [first, last] = [spent(1), spent(ask.steps)]
    if (first === undefined || last === undefined) return yield* new CommandFailed({ message: "the run's steps are not in the log" })
    const rows = rowsOf(ask.steps)
    const calls = callsOf(ask.steps)
    const ideal = idealSeconds(rows.map((row) => row.calls), slots, latencyMs)
    const { wallSeconds } = last
    return {
      calls,
      byRole: Object.fromEntries(rows.map((row) => [roleOf[row.kind] ?? row.kind, row.calls])),
      meanInFlight: rounded((calls * latencyMs) / 1_000 / wallSeconds),
      wallSeconds: rounded(wallSeconds, 2),
      idealSeconds: rounded(ideal, 2),
      efficiency: rounded(ideal / wallSeconds, 2),
      cpuMsPerCall: last.cpuMsPerCall,
      serverCpuMsPerCall: last.serverCpuMsPerCall,
      warmUpSteps: ask.steps - 1,
      firstStepCpuMsPerCall: first.cpuMsPerCall,
      startCpuMs: Math.round(startCpuMs),
      stageSeconds,
      firstStepSeconds: rounded(firstStepSeconds, 2),
      failed: rows.reduce((sum, row) => sum + row.failed, 0),
      processes: options.processes,
      slots,
      latencyMs,
      rssMb: last.rssMb,
      seed: options.seed
    } satisfies Omit<TrainFigures, "evaluation">
  })

export const benchTrain = (options: TrainOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const { env, home, serverPid, url } = yield* benchHome
      const dataset = syntheticDataset(stream("bench train", options.seed), "bench", 3 * options.questions + 1, 1, 6)
      const [validation, ...train] = dataset.questions.map(({ id, user }) => ({ id, user }))
      const evaluated = dataset.questions.slice(-2 * options.questions)
      const [first, ...rest] = train.slice(0, options.questions)
      if (validation === undefined || first === undefined) return yield* new CommandFailed({ message: "a step needs at least one question" })
      const { latencyMs, slots } = yield* endpointShape(options)
      const concurrency = String(Math.max(1, Math.ceil(slots / options.processes)))
      const roles = ["ANSWER", "JUDGE", "REFLECT"].flatMap((role) => [[`METAMEM_${role}_URL`, options.endpoint], [`METAMEM_${role}_CONCURRENCY`, concurrency]] as const)
      yield* say(`starting ${options.processes} process${options.processes === 1 ? "" : "es"} with all six actors, ${concurrency} calls at once a role in each`)
      const processes = yield* Effect.forEach(
        Array.from({ length: options.processes }),
        () =>
          actorProcess({
            home,
            url,
            actors,
            // Facts by rule, so that the endpoint is asked for nothing but the step.
            settings: { ...env, ...Object.fromEntries(roles), METAMEM_EMBEDDING_THREADS: "1", METAMEM_REFLECTOR: "model", METAMEM_JUDGE: "model" }
          }),
        { concurrency: options.processes }
      )
      const usage = Effect.map(Effect.forEach(processes, (process) => process.usage), (all) => ({
        cpuMs: all.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
        rssMb: rounded(all.reduce((sum, { rssMb }) => sum + rssMb, 0))
      }))
      const startCpuMs = (yield* usage).cpuMs / options.processes
      const warmUp = options.warmUp ?? options.processes
      const runRequest: RunRequest = {
        ...presets.metamem,
        datasetHash: dataset.hash,
        seed: options.seed,
        steps: warmUp + 1,
        batch: options.questions,
        samples: options.samples,
        gate: "always",
        anyway: true,
        evidenceTokens: 600,
        // Everything proposed is taken: a list that became full in the steps before would have each proposal asked again, which is not this bench's to measure.
        maxInScope: 1_000,
        train: [first, ...rest],
        validation: [validation],
        guard: [],
        test: []
      }
      return yield* Effect.gen(function*() {
        yield* Effect.forEach(["ingestor", "retriever", "evaluator", "reflector"] as const, untilAnswers, { discard: true })
        const progress = progressLine()
        progress.update("building memories")
        yield* buildMemory(dataset)
        progress.update(`running ${warmUp + 1} steps`)
        const figures = yield* measured(options, runRequest, usage, serverPid, startCpuMs)
        progress.update("evaluating")
        const { eval: evaluating, infer } = yield* measureEvaluation({
          home, url, run: runName(options.seed),
          questions: { eval: evaluated.slice(0, options.questions), infer: evaluated.slice(options.questions) },
          env: Object.fromEntries(roles.map(([name, value]) => [name, name.endsWith("CONCURRENCY") ? String(slots) : value]))
        })
        progress.end()
        const ideal = idealSeconds([options.questions, options.questions], slots, latencyMs)
        return { ...figures, evaluation: { eval: evaluating, infer, idealSeconds: rounded(ideal, 2) } } satisfies TrainFigures
      }).pipe(Effect.provide(logOn(url)))
    })
  )
