/**
 * What the log alone says of a run, at no model call: its generations, how each came about, what it cost, whether every decision follows
 * from its results. Pure functions over commits, for the command line.
 */
import { Effect, Option, Result, Schema } from "effect"
import { emptyFold, foldCommits } from "#shared/actor/entity"
import { isSettledAnew } from "#shared/actor/jobs"
import { canonicalJson } from "#shared/domain/canonical-json"
import type { Principle } from "#shared/domain/principle"
import type { Commit } from "#shared/eventlog/envelope"
import type { UnreadableEvent } from "#shared/eventlog/event"
import { formatPosition } from "#shared/eventlog/position"
import { runSubject, type RunAddress } from "#shared/eventlog/subjects"
import type { DroppedRollout } from "#shared/metamemory/effect"
import { generationHash } from "#shared/metamemory/generation"
import { withMerged } from "#shared/metamemory/operations"
import { JudgementData } from "#services/evaluator/protocol"
import { RolloutData } from "#services/retriever/protocol"
import { behaviour } from "./behaviour.ts"
import { makeResults, readResult } from "./driver.ts"
import { algorithmVersion, startOf } from "./parameters.ts"
import type { RunCommand } from "./protocol.ts"
import { BranchesCompared, type GateDecided, JobRetried, JudgeCalibrated, reflectorCodec, TestOpened, TestReported, WhatIfAnswered } from "./run-events.ts"
import { attemptKey, counted, expectedJobs, isMixed, resultKey, stageCommand, stageStep, trainingArm, verdictCount } from "./stages.ts"
import { rolloutsOf, type RunState } from "./state.ts"

const besideRun: ReadonlySet<string> = new Set([JobRetried.tag, JudgeCalibrated.tag, TestOpened.tag, TestReported.tag, WhatIfAnswered.tag, BranchesCompared.tag])

/** Folds a run's own commits, in order, up to any place. */
export const foldRun = (commits: ReadonlyArray<Commit>) => foldCommits(behaviour, emptyFold(behaviour.initial()), commits)

/** A generation as its run's accepted operations build it, beside the hash it was sealed with. */
export interface ReplayedGeneration {
  readonly n: number
  readonly sealed: string
  readonly hash: string
  readonly position: string
  /** In the order in force. */
  readonly principles: ReadonlyArray<Principle>
}

const afterDecision = (principles: ReadonlyArray<Principle>, { after, before, decision, kind, merged = [] }: GateDecided): ReadonlyArray<Principle> => {
  if (decision !== "accepted") return principles
  if (kind === "merge") return after === undefined ? principles : withMerged(principles, merged, after)
  if (kind === "add") return after === undefined ? principles : [...principles, after]
  return kind === "delete" ? principles.filter(({ id }) => id !== before?.id) : principles.map((principle) => (principle.id === before?.id && after !== undefined ? after : principle))
}

/**
 * Builds a generation anew from the accepted operations of all steps up to it, starting from what generation 0 holds, and hashes it anew. Undefined when
 * the run has no such generation.
 */
export const replayGeneration = (state: RunState, n: number): ReplayedGeneration | undefined => {
  let principles = startOf(state.parameters)
  for (const generation of state.generations) {
    principles = generation.decisions.reduce(afterDecision, principles)
    if (generation.number !== n) continue
    const gate = generation.decisions.map(({ counts, decision, operation, policy, scope }) => ({ scope, policy, decision, operations: [operation], counts }))
    return {
      n,
      sealed: generation.hash,
      hash: generationHash({ number: n, principles, gate }),
      position: formatPosition({ log: "metamem", sequence: generation.sequence }),
      principles
    }
  }
  return undefined
}

export interface RunVerification {
  readonly commits: number
  /** Decisions made anew from the results and compared, event by event. */
  readonly decisions: number
  /** Places whose events do not follow from the results. */
  readonly differing: ReadonlyArray<{ readonly position: string; readonly cause: string }>
  /** Results that a decision used and that are gone. */
  readonly missing: ReadonlyArray<string>
  /** Settled results that no decision used. */
  readonly extra: ReadonlyArray<string>
  readonly generations: ReadonlyArray<{ readonly n: number; readonly sealed: string; readonly replayed: string }>
}

/**
 * Decides every stage of a run anew from its results and compares. Give it the commits of `runFilter` in order; memory stays within one
 * step's results. Decisions made under another version of the rules are replayed and not decided anew.
 */
export const makeVerifier = (address: RunAddress) => {
  const subject = runSubject(address)
  const results = makeResults()
  const used = new Set<string>()
  const seen = new Map<number, Set<string>>()
  let folded = emptyFold(behaviour.initial())
  let commits = 0
  let decisions = 0
  const differing: Array<{ readonly position: string; readonly cause: string }> = []
  const missing: Array<string> = []
  const extra: Array<string> = []

  const checkExtra = (before: number): void => {
    for (const [step, keys] of seen) {
      if (step >= before) continue
      for (const key of keys) if (!used.has(`${step}/${key}`)) extra.push(`${step}/${key}`)
      for (const key of keys) used.delete(`${step}/${key}`)
      seen.delete(step)
    }
  }

  const checkDecision = (commit: Commit, command: RunCommand | undefined): void => {
    const decision = command === undefined ? undefined : behaviour.decide(folded.state, command)
    decisions += 1
    const events = decision === undefined || Result.isFailure(decision) ? [] : decision.success.map((event) => reflectorCodec.encode(event))
    // Older versions of an event are compared as they read today.
    const stored = commit.events.map((event) => Result.match(reflectorCodec.decode(event), { onFailure: () => event, onSuccess: reflectorCodec.encode }))
    if (canonicalJson(events) !== canonicalJson(stored)) differing.push({ position: formatPosition({ log: "metamem", sequence: commit.sequence }), cause: commit.cause })
  }

  const decideAnew = (commit: Commit): void => {
    const { state } = folded
    if (state.parameters === undefined || state.parameters.algorithm !== algorithmVersion) return
    // Found out beside the run, and no stage of it; what a test or a what-if comes to follows from its outcomes.
    if (commit.events.every(({ type }) => besideRun.has(type))) {
      for (const stored of commit.events) {
        const event = Result.getOrUndefined(reflectorCodec.decode(stored))
        if (event?._tag === "TestReported") checkDecision(commit, { _tag: "ReportTest", look: event.look, outcomes: event.outcomes })
        if (event?._tag === "BranchesCompared") checkDecision(commit, { _tag: "RecordComparison", found: event })
        if (event?._tag === "WhatIfAnswered") checkDecision(commit, { _tag: "RecordWhatIf", found: event })
      }
      return
    }
    const step = stageStep(state)
    const own = counted(state, results.of(step))
    const expected = expectedJobs(state, address, own).map(({ key, kind }) => resultKey(kind, key))
    for (const key of expected) used.add(`${step}/${key}`)
    const gone = expected.filter((key) => !own.has(key))
    if (gone.length > 0) {
      missing.push(...gone.map((key) => `${step}/${key}`))
      return
    }
    checkDecision(commit, stageCommand(state, own))
  }

  return {
    next: (commit: Commit): Effect.Effect<void, UnreadableEvent> => {
      commits += 1
      const read = results.add(commit)
      if (read !== undefined) {
        const keys = seen.get(read.step) ?? new Set<string>()
        keys.add(resultKey(read.result.kind, read.result.key))
        seen.set(read.step, keys)
      }
      if (commit.subject !== subject) return Effect.void
      return Effect.gen(function*() {
        decideAnew(commit)
        folded = yield* foldCommits(behaviour, folded, [commit])
        const step = stageStep(folded.state)
        results.dropBefore(step)
        checkExtra(step)
      })
    },
    end: (): RunVerification => {
      if (folded.state.phase._tag === "Finished") checkExtra(Number.POSITIVE_INFINITY)
      return {
        commits, decisions, differing, missing, extra,
        generations: folded.state.generations.map(({ hash, number }) => ({ n: number, sealed: hash, replayed: replayGeneration(folded.state, number)?.hash ?? "" }))
      }
    },
    state: (): RunState => folded.state
  }
}

export interface CurvePoint {
  readonly step: number
  /** Generation that guided the step's attempts. */
  readonly generation: number
  readonly correct: number
  readonly incorrect: number
  readonly errors: number
  /** Questions that came out both ways. */
  readonly mixed: number
}

/** Training attempts step by step. Batches differ, and hard questions are repeated: a curve to watch, no evidence. */
export const curveOf = (state: RunState): ReadonlyArray<CurvePoint> =>
  // Of an imported step the attempts may be missing.
  state.steps.filter(({ attempts }) => attempts.length > 0).map(({ attempts, generation, step }) => {
    const all = attempts.map(({ verdicts }) => verdicts).join("")
    return { step, generation, correct: verdictCount(all, "c"), incorrect: verdictCount(all, "i"), errors: verdictCount(all, "e"), mixed: attempts.filter(isMixed).length }
  })

/** Share of a run's questions that came out both ways, over all its steps so far: the budget's π, measured. Undefined before the first of them was judged twice. */
export const mixedShareOf = (steps: RunState["steps"]): number | undefined => {
  const judged = steps.flatMap(({ attempts }) => attempts.filter(({ verdicts }) => verdicts.replaceAll("e", "").length > 1))
  return judged.length === 0 ? undefined : judged.filter(isMixed).length / judged.length
}

/** Judged training attempts of all steps with what each was shown, for the effects of principles. */
export const droppedRollouts = (state: RunState): ReadonlyArray<DroppedRollout> => state.steps.flatMap((step) => rolloutsOf(state, step))

/** Key of a training attempt. */
export const trainingAttempt = (step: number, question: string, sample: number): string => attemptKey(trainingArm, step, question, sample)

/** Keys of the attempts at a question in a step, under which their results stand. An imported run has as many as it has verdicts. */
export const attemptsOf = (state: RunState, step: number, question: string): ReadonlyArray<string> => {
  const samples = state.parameters?.samples ?? state.steps.find((one) => one.step === step)?.attempts.find((one) => one.question === question)?.verdicts.length ?? 0
  return Array.from({ length: samples }, (_, sample) => trainingAttempt(step, question, sample))
}

export interface CostRow {
  readonly step: number
  /** `training` and `gate` answers and judgements, those of the `guard` test, `learning` from them, or those of live questions in `shadow`, after the run. */
  readonly purpose: "training" | "gate" | "guard" | "learning" | "shadow"
  readonly kind: string
  /** Jobs settled, and of them failed. */
  readonly jobs: number
  readonly failed: number
  /** Calls paid for, and calls answered from the store. */
  readonly calls: number
  readonly reused: number
  readonly promptTokens: number
  readonly completionTokens: number
}

const purposeOf = (kind: string, key: string): CostRow["purpose"] =>
  kind !== "rollout" && kind !== "judgement" ? "learning" : key.startsWith(`${trainingArm}_`) ? "training" : /^g\d+_/.test(key) ? "guard" : "gate"

const Spent = Schema.Struct({ promptTokens: Schema.Int, completionTokens: Schema.Int, reused: Schema.Int, calls: Schema.Array(Schema.String) })
const decodeSpent = Schema.decodeUnknownOption(Spent)
const decodeRollout = Schema.decodeUnknownOption(Schema.Struct({ callKey: RolloutData.fields.callKey, usage: RolloutData.fields.usage, reused: RolloutData.fields.reused }))
const decodeJudgement = Schema.decodeUnknownOption(JudgementData)

/** Adds up what results say they cost; give it the commits of `resultFilter` in any order. Tokens are of the calls paid for. @param purpose of all of them; absent = as their keys say, as a run's do */
export const makeCost = (purposeOfAll?: CostRow["purpose"]) => {
  const rows = new Map<string, { -readonly [K in keyof CostRow]: CostRow[K] }>()
  return {
    add: (commit: Commit): void => {
      const read = readResult(commit)
      if (read === undefined) return
      const { result: { data, key, kind, status }, step } = read
      const purpose = purposeOfAll ?? purposeOf(kind, key)
      const place = `${step}/${purpose}/${kind}`
      const row = rows.get(place) ?? { step, purpose, kind, jobs: 0, failed: 0, calls: 0, reused: 0, promptTokens: 0, completionTokens: 0 }
      rows.set(place, row)
      // What failed before and was done anew is one job, and its failure is mended.
      if (isSettledAnew(commit)) row.failed -= 1
      else row.jobs += 1
      if (status === "failed") row.failed += 1
      const rollout = kind === "rollout" ? Option.getOrUndefined(decodeRollout(data)) : undefined
      const spent = rollout === undefined
        ? Option.getOrUndefined(kind === "judgement" ? decodeJudgement(data) : decodeSpent(data))
        : { ...rollout.usage, reused: rollout.reused ? 1 : 0, calls: [rollout.callKey] }
      if (spent === undefined) return
      const paid = spent.calls.length - spent.reused
      row.calls += paid
      row.reused += spent.reused
      if (paid > 0) {
        // Votes on one answer share its prompt, so that their part of the tokens is known; of what they said it is about that.
        const share = paid / spent.calls.length
        row.promptTokens += Math.round(share * spent.promptTokens)
        row.completionTokens += Math.round(share * spent.completionTokens)
      }
    },
    rows: (): ReadonlyArray<CostRow> => [...rows.values()].sort((a, b) => a.step - b.step || (`${a.purpose}/${a.kind}` < `${b.purpose}/${b.kind}` ? -1 : 1))
  }
}
