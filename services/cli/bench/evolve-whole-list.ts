/**
 * A gate that the product does not have, to compare its own with: all operations of a step stand or fall together, by one paired test over
 * all validation questions. Batches, jobs, the actors that do them, checks and the test's arithmetic are the product's. What belongs to its
 * trials is missing: the ledger (that a bundle failed says little of its parts), retirement, the early end, and the guard test. Nothing of
 * such a run stands in the log but its settled jobs.
 */
import { Cause, Effect, Option, Queue, Schema, Stream } from "effect"
import type { Principle } from "#shared/domain/principle"
import { publishJobs } from "#shared/actor/jobs"
import { EventLog } from "#shared/eventlog/event-log"
import { type ActorName, resultFilter, type RunAddress } from "#shared/eventlog/subjects"
import { decideGate, type Tallies } from "#shared/metamemory/gate"
import { applyOperations } from "#shared/metamemory/operations"
import { behaviour } from "#services/reflector/behaviour"
import { makeResults } from "#services/reflector/driver"
import { evolve } from "#services/reflector/evolve"
import { ConsolidationData } from "#services/reflector/job-data"
import { gateQuestions, type RunParameters, type RunQuestion } from "#services/reflector/parameters"
import type { Results, RunCommand } from "#services/reflector/protocol"
import { asShown, attemptKey, expectedJobs, incumbentArm, plannedJobs, resultKey, rolloutJob, type RunJob, shownIn, stageCommand, stageStep, tallyOf, workerOf } from "#services/reflector/stages"
import { CommandFailed } from "../root.ts"
import type { RunState } from "../runs.ts"

export const wholeList = "whole-list"

/** Samples of a validation question in either arm. */
const gateSamples = 3
const candidateArm = "whole"

/** Has jobs of the step under way done, with the judgements that follow; gives all results of the step. */
export type Settle<E, R> = (state: RunState, planned: ReadonlyArray<RunJob>) => Effect.Effect<Results, E, R>

const decodeConsolidation = Schema.decodeUnknownOption(ConsolidationData)

/**
 * Learns by that gate and gives all lists it accepted, the empty one first. Only questions that a candidate list shows other principles are
 * asked; the others count as unchanged. The incumbent's answers to those are drawn anew after an acceptance.
 */
export const learnAsWhole = <E, R>(parameters: RunParameters, address: RunAddress, settle: Settle<E, R>, onStep: (step: number) => void = () => undefined) =>
  Effect.gen(function*() {
    const state = behaviour.initial()
    const decided = (command: RunCommand) => Effect.fromResult(behaviour.decide(state, command)).pipe(Effect.mapError(({ message }) => new CommandFailed({ message })))
    for (const event of yield* decided({ _tag: "OpenRun", parameters })) evolve(state, event, { sequence: 0 })
    const questions = gateQuestions(parameters.validation, parameters.mix)
    const lists: Array<ReadonlyArray<Principle>> = [[]]
    const inForce = (): ReadonlyArray<Principle> => lists.at(-1) ?? []

    const tallied = Effect.fnUntraced(function*(of: ReadonlyArray<RunQuestion>, principles: ReadonlyArray<Principle>, arm: string, draw: number) {
      const asked = of.flatMap((question) => Array.from({ length: gateSamples }, (_, sample) => ({ question, sample })))
      const job = ({ question, sample }: (typeof asked)[number]) =>
        rolloutJob(state, address, stageStep(state), { question, purpose: "gate", arm, draw, sample, principles: shownIn(principles, question), temperature: parameters.gateTemperature })
      const results = yield* settle(state, asked.map(job))
      return tallyOf(results, asked.map(({ question: { id }, sample }) => ({ question: id, key: attemptKey(arm, draw, id, sample) })))
    })

    let incumbent: Tallies = yield* tallied(parameters.validation, [], incumbentArm, 0)
    for (let step = 1; step <= parameters.steps; step++) {
      let results = yield* settle(state, plannedJobs(state, address))
      while (state.phase._tag !== "Consolidation") {
        const command = stageCommand(state, results)
        if (command === undefined) return yield* new CommandFailed({ message: `the run does not go on from ${state.phase._tag}` })
        // What follows a stage's own event is about the product's gate.
        for (const event of (yield* decided(command)).slice(0, 1)) evolve(state, event, { sequence: 0 })
        results = yield* settle(state, plannedJobs(state, address))
      }
      const consolidated = Option.getOrUndefined(decodeConsolidation(results.get(resultKey("consolidation", "all"))?.data))
      const operations = (consolidated?.operations ?? []).slice(0, parameters.operationsPerStep).map(({ operation }) => operation)
      const { principles } = applyOperations(inForce(), operations, { runSeed: String(parameters.seed), step, generation: lists.length, maxInScope: parameters.maxInScope })
      const touched = parameters.validation.filter((question) => asShown(shownIn(principles, question)) !== asShown(shownIn(inForce(), question)))
      if (touched.length > 0) {
        // A number for each draw: the same sample of the same prompt would be the same reply.
        const candidate = { ...incumbent, ...(yield* tallied(touched, principles, candidateArm, 2 * step)) }
        const { decision } = decideGate({ policy: "likely", questions, abstentionQuestions: 0, incumbent, candidate, seed: `${step}` })
        if (decision === "accepted") {
          incumbent = { ...incumbent, ...(yield* tallied(touched, principles, incumbentArm, 2 * step + 1)) }
          lists.push(principles)
        }
      }
      state.trials = { ...state.trials, principles: inForce(), generation: lists.length - 1 }
      evolve(state, { _tag: "StepEnded", step, outcome: "nothing accepted", generation: lists.length - 1 }, { sequence: 0 })
      onStep(step)
    }
    return lists
  })

/** Longest that nothing may be settled, in milliseconds. */
const stillMax = 300_000
const ended = new CommandFailed({ message: "the log stopped telling of settled jobs" })

/** By the actors that run, as the product's driver has it done. */
export const settleByActors = Effect.fnUntraced(function*(address: RunAddress) {
  const log = yield* EventLog
  const results = makeResults()
  const arrivals = yield* Stream.toQueue(log.follow([resultFilter(address)]), { capacity: 4_096 })
  return Effect.fnUntraced(function*(state: RunState, planned: ReadonlyArray<RunJob>) {
    const step = stageStep(state)
    results.dropBefore(step)
    const published = new Set<string>()
    for (;;) {
      const own = results.of(step)
      const open = expectedJobs(state, address, own, planned).filter(({ key, kind }) => !own.has(resultKey(kind, key)))
      if (open.length === 0) return own
      const fresh = open.filter(({ key, kind }) => !published.has(resultKey(kind, key)))
      for (const [actor, jobs] of Map.groupBy(fresh, ({ kind }): ActorName => workerOf[kind])) yield* publishJobs(actor, jobs, 0)
      for (const { key, kind } of fresh) published.add(resultKey(kind, key))
      const arrived = yield* Queue.takeAll(arrivals).pipe(
        Effect.catchIf(Cause.isDone, () => Effect.fail(ended)),
        Effect.timeoutOrElse({ duration: stillMax, orElse: () => Effect.fail(new CommandFailed({ message: `no job was settled for ${stillMax / 60_000} minutes; ${open.length} are open` })) })
      )
      for (const commit of arrived) results.add(commit)
    }
  })
})
