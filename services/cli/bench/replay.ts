/**
 * How fast a run is read back from the log: every event read, decoded and folded, and one generation replayed as `metamem replay` does it.
 * The run is synthetic but whole: the real rules decide every stage, from results drawn out of a seed instead of asked of a model.
 */
import { Effect, Result, Stream } from "effect"
import { foldCommits, emptyFold } from "#shared/actor/entity"
import { jobCodec } from "#shared/actor/jobs"
import type { QuestionClass } from "#shared/domain/scope"
import { questionClasses } from "#shared/domain/scope"
import type { CommitDraft } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { resultSubject, runFilter, type RunAddress, runSubject } from "#shared/eventlog/subjects"
import { digest, stream, uniform } from "#shared/metamemory/random"
import { makeVerifier } from "#services/reflector/analysis"
import { behaviour } from "#services/reflector/behaviour"
import { makeResults } from "#services/reflector/driver"
import { algorithmVersion, presets, type RunParameters, type RunQuestion } from "#services/reflector/parameters"
import type { JobResult, RunCommand, RunRefusal } from "#services/reflector/protocol"
import { causeOf, expectedJobs, resultKey, type RunJob, stageCommand, stageStep } from "#services/reflector/stages"
import { CommandFailed, progressLine } from "../root.ts"
import { replayRun } from "../runs.ts"
import { benchHome, type BenchResult, type Draw, logOn, rounded, secondsSince, syntheticText } from "./load.ts"

export interface ReplayOptions {
  readonly steps: number
  readonly questions: number
  readonly samples: number
  readonly validation: number
  readonly seed: number
}

const question = (name: string, at: number): RunQuestion => {
  const questionClass: QuestionClass = questionClasses[at % (questionClasses.length - 1)] ?? "single-fact"
  const id = `${name}-${at}`
  return { id, user: `u-${id}`, hash: digest(id).slice(0, 16), type: questionClass, abstention: false, cluster: `${name}-${Math.floor(at / 4)}`, questionClass }
}

const named = (name: string, count: number): readonly [RunQuestion, ...ReadonlyArray<RunQuestion>] => [question(name, 0), ...Array.from({ length: count - 1 }, (_, at) => question(name, at + 1))]

const parametersOf = (options: ReplayOptions): RunParameters => ({
  ...presets.metamem,
  datasetHash: "bench",
  seed: options.seed,
  steps: options.steps,
  batch: options.questions,
  samples: options.samples,
  anyway: true,
  train: named("train", options.questions * 4),
  validation: named("validation", options.validation),
  guard: [],
  test: [],
  algorithm: algorithmVersion,
  judge: "model",
  reflector: "model",
  models: { answer: "bench" },
  templates: {},
  memoryPosition: 1
})

/** How many principles help: a third of all, told by their length. */
const helping = (principles: ReadonlyArray<{ readonly text: string }>): number => principles.filter(({ text }) => text.length % 3 === 0).length

/** What a worker would have settled a job with. A principle's text decides whether it helps; the question and the draw do the rest. */
const drawnResult = (draw: Draw, job: RunJob): unknown => {
  const spent = { promptTokens: 900, completionTokens: 60, reused: 0, calls: [digest(job.key, job.step)] }
  switch (job.kind) {
    case "rollout":
      return {
        callKey: `${digest(job.key, job.step)}-${helping(job.input.principles)}`,
        evidenceHash: digest(job.key).slice(0, 32),
        evidenceIds: Array.from({ length: 12 }, (_, at) => `${job.input.question.user}/${at}`),
        usage: { promptTokens: 900, completionTokens: 60, estimated: false }, reused: false, abstained: false, latencyMs: 300,
        features: { evidenceCount: 12, conversations: 4, spanDays: 30, answerWords: 20 }
      }
    case "judgement":
      return { verdict: draw() < uniform("ease", job.input.question.id) + 0.15 * Number(job.input.callKey.split("-").at(-1)) ? "correct" : "incorrect", judge: "model", ...spent }
    case "reflection":
      return { by: "bench", scope: "all", ...spent }
    case "proposal":
      return { by: "bench", operations: [{ operation: "add", content: syntheticText(draw, 12), scope: questionClasses[Math.floor(draw() * 6)] ?? "all" }], discarded: {}, ...spent }
    case "consolidation":
      return { by: "bench", operations: job.input.proposals.slice(0, job.input.limit), discarded: {}, ...spent }
  }
}

export interface SyntheticRun {
  /** In an order in which they could have been appended. */
  readonly commits: number
  readonly generations: number
}

/** Decides a whole run and appends it, results before the decisions that use them. */
export const appendRun = (options: ReplayOptions, address: RunAddress, onProgress: (step: number) => void) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const draw = stream("bench replay", options.seed)
    const subject = runSubject(address)
    const state = { folded: behaviour.initial() }
    let at = { sequence: 0, checksum: "" }
    let commits = 0

    const append = (draft: CommitDraft, expected: number, checksum: string) => Effect.tap(log.append(draft, expected, checksum), () => Effect.sync(() => void (commits += 1)))
    const decide = Effect.fnUntraced(function*(command: RunCommand) {
      const decision: Result.Result<ReadonlyArray<Parameters<typeof behaviour.evolve>[1]>, RunRefusal> = behaviour.decide(state.folded, command)
      if (Result.isFailure(decision)) return yield* new CommandFailed({ message: decision.failure.message })
      const cause = causeOf(command)
      at = yield* append({ subject, cause, events: decision.success.map((event) => behaviour.codec.encode(event)) }, at.sequence, at.checksum)
      const place = { id: cause, sequence: at.sequence, cause, inputThrough: 0, binary: new Uint8Array(0) }
      for (const event of decision.success) state.folded = behaviour.evolve(state.folded, event, place)
    })

    yield* decide({ _tag: "OpenRun", parameters: parametersOf(options) })
    const results = makeResultsByStep()
    while (state.folded.phase._tag !== "Finished") {
      const step = stageStep(state.folded)
      const own = results.of(step)
      const open = expectedJobs(state.folded, address, own).filter(({ key, kind }) => !own.has(resultKey(kind, key)))
      if (open.length > 0) {
        const drawn = open.map((job) => ({ job, data: drawnResult(draw, job) }))
        yield* Effect.forEach(
          drawn,
          ({ data, job }) =>
            Effect.gen(function*() {
              const event = jobCodec.encode({ _tag: "JobSettled", status: "done", data, error: "", attempts: 1, worker: "bench" })
              const { checksum } = yield* append({ subject: resultSubject(job), cause: "settled", correlation: address.run, events: [event] }, 0, "")
              own.set(resultKey(job.kind, job.key), { kind: job.kind, key: job.key, status: "done", data, checksum })
            }),
          { concurrency: 256, discard: true }
        )
        continue
      }
      const command = stageCommand(state.folded, own)
      if (command === undefined) break
      yield* decide(command)
      onProgress(step)
    }
    return { commits, generations: state.folded.generations.length } satisfies SyntheticRun
  })

const makeResultsByStep = () => {
  let current = { step: 0, results: new Map<string, JobResult>() }
  return {
    of: (step: number): Map<string, JobResult> => {
      if (current.step !== step) current = { step, results: new Map() }
      return current.results
    }
  }
}

export const benchReplay = (options: ReplayOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const { url } = yield* benchHome
      const started = performance.now()
      const progress = progressLine()
      const address = { tenant: "local", run: "bench" }
      return yield* Effect.gen(function*() {
        const log = yield* EventLog
        const memory = () => (commitsRead++ % 1_024 === 0 ? process.memoryUsage.rss() : 0)
        let commitsRead = 0
        const { commits, generations } = yield* appendRun(options, address, (step) => progress.update(`step ${step} of ${options.steps} written`))

        progress.update("reading and folding")
        const rssBefore = process.memoryUsage.rss()
        let rssMost = rssBefore
        const from = performance.now()
        let events = 0
        let folded = emptyFold(behaviour.initial())
        const results = makeResults()
        const subject = runSubject(address)
        yield* log.read([runFilter(address)]).pipe(
          Stream.runForEachArray((some) =>
            Effect.gen(function*() {
              for (const commit of some) {
                events += commit.events.length
                if (results.add(commit)) continue
                if (commit.subject !== subject) continue
                folded = yield* foldCommits(behaviour, folded, [commit])
                results.dropBefore(stageStep(folded.state))
              }
              rssMost = Math.max(rssMost, memory())
            }))
        )
        const readSeconds = (performance.now() - from) / 1_000

        progress.update("replaying a generation")
        const replayFrom = performance.now()
        const replayed = yield* replayRun(address.tenant, address.run, generations - 1)
        const replaySeconds = (performance.now() - replayFrom) / 1_000
        if (!replayed.identical) return yield* new CommandFailed({ message: `generation ${replayed.generation} replays to another hash than was sealed` })

        progress.update("verifying")
        const verifyFrom = performance.now()
        const verifier = makeVerifier(address)
        yield* log.read([runFilter(address)]).pipe(Stream.runForEach(verifier.next))
        const verified = verifier.end()
        const verifySeconds = (performance.now() - verifyFrom) / 1_000
        progress.end()
        if (verified.differing.length + verified.missing.length > 0) return yield* new CommandFailed({ message: `the run does not verify: ${verified.differing.length} decisions differ, ${verified.missing.length} results are missing` })
        return {
          figures: {
            eventsPerSecond: Math.round(events / readSeconds),
            events,
            commits,
            replaySeconds: rounded(replaySeconds, 3),
            generation: replayed.generation,
            verifySeconds: rounded(verifySeconds, 2),
            grownMb: rounded((rssMost - rssBefore) / 1e6),
            steps: options.steps,
            rolloutsPerStep: options.questions * options.samples,
            seed: options.seed
          },
          unit: "events/s read, decoded and folded; seconds",
          seconds: secondsSince(started)
        } satisfies BenchResult
      }).pipe(Effect.provide(logOn(url)))
    })
  )
