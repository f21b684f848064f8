/**
 * Drives one run: folds it once, follows its results, publishes the jobs it needs and commits each stage when all of it is settled. Any
 * process may take over at any point, and two at once make one run, since commits are decided on the fold and named by their stage.
 */
import { Cause, Clock, Effect, Queue, Result, type Scope, Stream } from "effect"
import type { Entity, EntityError, Folded } from "#shared/actor/entity"
import { isIdle, jobCodec, publishJobs, unpublished } from "#shared/actor/jobs"
import type { Commit } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { LogUnavailable, type Nats } from "#shared/eventlog/nats"
import { type ActorName, parseResultSubject, resultFilter, runSubject, type RunAddress } from "#shared/eventlog/subjects"
import { algorithmVersion } from "./parameters.ts"
import type { JobResult, Results, RunCommand, RunRefusal } from "./protocol.ts"
import type { RunEvent } from "./run-events.ts"
import { causeOf, counted, expectedJobs, plannedJobs, resultKey, type RunJob, stageCommand, stageStep, workerOf } from "./stages.ts"
import type { RunState } from "./state.ts"

export type Runs = Entity<RunState, RunCommand, RunEvent, RunRefusal>

export interface Progress {
  done: number
  expected: number
  failed: number
}

/** Without a settled job for this long, those without an outcome are published again where no worker has or gets them; doubled each time. */
const stallMs = 30_000
/** After this long they are published again in any case: what keeps a queue busy may be other runs. */
const stallMsMax = 8 * stallMs
/** Messages of the log waiting to be folded; the log waits when more come. */
const waitingMax = 4_096

/** A job that is done anew is another to publish. */
const publishedKey = ({ again, key, kind }: RunJob): string => `${resultKey(kind, key)}${again === undefined ? "" : ` ${again}`}`

const ended = Effect.fail(new LogUnavailable({ operation: "follow a run", message: "the log stopped telling of the run's results" }))

/** A settled job as read from the log; undefined for anything else. */
export const readResult = (commit: Commit): { readonly step: number; readonly result: JobResult } | undefined => {
  const address = parseResultSubject(commit.subject)
  const stored = commit.events[0]
  if (address === undefined || stored === undefined) return undefined
  const event = jobCodec.decode(stored)
  if (Result.isFailure(event) || event.success._tag !== "JobSettled") return undefined
  const { data, status } = event.success
  return { step: address.step, result: { kind: address.kind, key: address.key, status, data, checksum: commit.checksum } }
}

/** Results by step; those of steps that are over are let go. */
export const makeResults = () => {
  const bySteps = new Map<number, Map<string, JobResult>>()
  return {
    /** What the commit says, when it settles a job. */
    add: (commit: Commit): ReturnType<typeof readResult> => {
      const read = readResult(commit)
      if (read === undefined) return undefined
      const own = bySteps.get(read.step) ?? new Map<string, JobResult>()
      own.set(resultKey(read.result.kind, read.result.key), read.result)
      bySteps.set(read.step, own)
      return read
    },
    of: (step: number): Results => bySteps.get(step) ?? new Map(),
    dropBefore: (step: number): void => {
      for (const known of bySteps.keys()) if (known < step) bySteps.delete(known)
    }
  }
}

/**
 * Goes on with a run until it is finished. Fails when the log cannot be reached; nothing is lost by that. A run that is not open, or was
 * opened under another version of the rules, is left as it is.
 */
export const drive = (runs: Runs, address: RunAddress, progress: Progress) =>
  Effect.gen(function*(): Effect.fn.Return<"finished" | "not open" | "other version", EntityError | RunRefusal, EventLog | Nats | Scope.Scope> {
    const log = yield* EventLog
    const subject = runSubject(address)
    let folded: Folded<RunState> = yield* runs.load(subject)
    const { parameters, phase, stepSequence } = folded.state
    if (parameters === undefined) return "not open"
    if (phase._tag === "Finished") return "finished"
    if (parameters.algorithm !== algorithmVersion) return "other version"

    const results = makeResults()
    let seen = stepSequence
    yield* log.read([resultFilter(address)], { after: stepSequence }).pipe(
      Stream.runForEach((commit) => Effect.sync(() => {
        results.add(commit)
        seen = commit.sequence
      }))
    )
    const arrivals = yield* Stream.toQueue(log.follow([resultFilter(address), subject], { after: seen }), { capacity: waitingMax })

    let dispatch = yield* Clock.currentTimeMillis
    // Whoever drove before may have published all of this. It still reaches a worker, or is with one: publishing it again would pay for it twice.
    let isTakenOver = true
    let published = new Set<string>()
    let waitingFor: ReadonlyArray<RunJob> = []
    let planned: ReadonlyArray<RunJob> = []
    let plannedFor: unknown
    let waitMs = stallMs

    const publish = Effect.fnUntraced(function*(jobs: ReadonlyArray<RunJob>) {
      for (const [actor, own] of Map.groupBy(jobs, ({ kind }): ActorName => workerOf[kind])) {
        yield* publishJobs(actor, isTakenOver ? yield* unpublished(actor, own) : own, dispatch)
      }
      for (const job of jobs) published.add(publishedKey(job))
    })

    /** Publishes what is needed and not published yet, and commits stages for as long as they are complete. */
    const advance = Effect.fnUntraced(function*() {
      for (;;) {
        const { state } = folded
        if (plannedFor !== state.phase) {
          planned = plannedJobs(state, address)
          plannedFor = state.phase
        }
        const own = counted(state, results.of(stageStep(state)))
        const expected = expectedJobs(state, address, own, planned)
        const open = expected.filter(({ key, kind }) => !own.has(resultKey(kind, key)))
        waitingFor = open
        progress.expected = expected.length
        progress.done = expected.length - open.length
        progress.failed = expected.filter(({ key, kind }) => own.get(resultKey(kind, key))?.status === "failed").length
        // Read before anything is waited for: a fold elsewhere in this process may move the state on meanwhile, and then this command adds nothing.
        const before = state.phase
        const command = open.length > 0 ? undefined : stageCommand(state, own)
        yield* publish(open.filter((job) => !published.has(publishedKey(job))))
        if (open.length > 0) return false
        if (command === undefined) return true
        const executed = yield* runs.execute(subject, command, { cause: causeOf(command), correlation: address.run })
        folded = executed.folded
        // Another driver was first and this process has not seen it: the log has.
        if (folded.state.phase === before) folded = yield* runs.load(subject, executed.folded.sequence + 1)
        if (folded.state.phase === before) return yield* Effect.die(new Error(`the run ${address.run} does not go on from ${before._tag}`))
        results.dropBefore(stageStep(folded.state))
        published = new Set()
        dispatch = 0
        isTakenOver = false
        waitMs = stallMs
      }
    })

    while (!(yield* advance())) {
      const arrived = yield* Queue.takeAll(arrivals).pipe(Effect.catchIf(Cause.isDone, () => ended), Effect.timeoutOption(waitMs))
      if (arrived._tag === "None") {
        waitMs = Math.min(2 * waitMs, stallMsMax)
        const kinds = [...new Set(waitingFor.map(({ kind }) => kind))]
        const isIdleAll = (yield* Effect.forEach(kinds, (kind) => isIdle(workerOf[kind], kind))).every((idle) => idle)
        if (!isIdleAll && waitMs < stallMsMax) continue
        dispatch = yield* Clock.currentTimeMillis
        published = new Set()
        isTakenOver = false
        continue
      }
      let isNews = false
      for (const commit of arrived.value) {
        if (results.add(commit)) isNews = true
        else if (commit.sequence > folded.sequence) folded = yield* runs.load(subject, commit.sequence)
      }
      if (isNews) waitMs = stallMs
    }
    return "finished"
  }).pipe(Effect.scoped, Effect.catchTag(["ParametersDiffer", "RunTooSmall", "QuestionInTwoParts", "TestRefused", "WhatIfRefused", "NotWaitedFor"], (refusal) => Effect.die(refusal)))
