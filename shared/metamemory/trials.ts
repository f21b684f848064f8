/**
 * The default policy of the gate: every operation is a trial of its own within one class of questions, sampled in up to three looks
 * and stopped as soon as it is clear. All of it is a pure fold: rounds of questions to ask go out, tallies come in.
 *
 * Measured in a simulation of the learnable world (`test/services/reflector/learning.ts` prints it: 35 steps of 12 questions, at most 4 operations a
 * step, 120 validation questions, guard test on 100 others), share of the gap between start and optimum that what is recommended wins on unseen
 * questions, over 120 seeds each: friendly .68, hostile .66, shifted .71. No seed ended more than a point below its start, nor did one where nothing
 * helps; before the guard test 12 of 120 did there. About 16,000 validation answers a run. For comparison, 60 seeds each: one look at all of a step's
 * operations together, over all validation questions × 3 samples, .40, .18 and .42 where what is not worse is taken, .39, .12 and .35 where it has to be
 * .84 standard errors better; everything accepted .11, −.05 and .21, and the best of its generations by validation .21, .08 and .28. One look per scope
 * at all its operations together reached .53, .41 and .57 over 20. Each part helps (friendly, 60 seeds): without shared incumbents of nine samples −.01,
 * without reopening −.03, without the proposer seeing the ledger −.05 (hostile −.14), with operations for all tried on all −.15.
 */
import type { Operation, Principle } from "#shared/domain/principle"
import type { PrincipleScope, QuestionClass } from "#shared/domain/scope"
import { decideGate, type GateDecision, type GateQuestion, type Tallies, verdictReliability } from "./gate.ts"
import { haveSameDirection, likeness, nearlySame, triedBefore } from "./ledger.ts"
import { type AppliedOperation, applyOperations, haveSameTargets, operationId, type Refusal, targetsOf } from "./operations.ts"
import { routedClasses } from "./router.ts"
import {
  added, answersPerQuestion, type Ask, asked, fewestQuestions, fewQuestions, fingerprint, incumbentSamples, looks, questionsOf, reopenings, textOf, type Trial, type TrialsState, voidsMax
} from "./trial.ts"

/** One operation on its way to the gate. */
export interface Submitted {
  readonly operation: Operation
  /** Place within the step, from 0. */
  readonly index: number
  /** Classes of the questions it was derived from, the most frequent first. */
  readonly origin: ReadonlyArray<QuestionClass>
}

export type SubmissionRefusal = Refusal | { readonly reason: "TriedBefore"; readonly id: string } | { readonly reason: "InForce"; readonly id: string }

export interface Submission {
  readonly state: TrialsState
  readonly refused: ReadonlyArray<{ readonly index: number; readonly operation: Operation; readonly refusal: SubmissionRefusal }>
}

/**
 * Puts a step's operations up for trial and adds the step's allowance. An operation for all questions is tried first in the class it
 * comes from, since an effect in one class drowns among all; when it is accepted there, the other classes follow. What is in
 * force or was tried in nearly the same words in the same scope, here or before the run, is refused, and so is a merge of principles that were
 * tried as one; a trial that errors made void tried nothing.
 */
export const submit = (state: TrialsState, step: number, operations: ReadonlyArray<Submitted>): Submission => {
  const refused: Array<Submission["refused"][number]> = []
  const trials = [...state.trials]
  for (const { operation, index, origin } of operations) {
    const refuse = (refusal: SubmissionRefusal): void => void refused.push({ index, operation, refusal })
    const targets = targetsOf(operation)
    const wanted = operation.operation === "add" ? (operation.scope ?? "all") : state.principles.find(({ id }) => targets.includes(id))?.scope
    const enough = (scope: PrincipleScope): boolean => questionsOf(state, scope).length >= fewestQuestions
    const home = origin.find(enough)
    const spreading = operation.operation === "add" && wanted === "all" && home !== undefined && state.policy !== "always"
    const scope: PrincipleScope = wanted === undefined || (state.policy !== "always" && !enough(wanted)) ? "all" : spreading ? home! : wanted
    // The whole list is consulted for refusals that need no trial: unknown ids, length, equal texts.
    const checked = operation.operation === "add" ? { ...operation, scope } : operation
    const [refusedNow] = applyOperations(state.principles, [checked], { runSeed: state.runSeed, step, generation: 0, maxInScope: Infinity }).refused
    if (refusedNow !== undefined) {
      refuse(refusedNow.refusal)
      continue
    }
    if (operation.operation === "add") {
      const twin = state.principles.find((p) => (p.scope === scope || p.scope === "all") && likeness(p.text, operation.content!) >= nearlySame)
      if (twin !== undefined) {
        refuse({ reason: "InForce", id: twin.id })
        continue
      }
    }
    const byTarget = operation.operation === "delete" || operation.operation === "merge"
    const tried = triedBefore({ ...operation, scope, text: textOf(state, { operation }) }, state.earlier, state.reader) ?? trials.find(
      (trial) =>
        trial.state !== "obsolete" && trial.state !== "accepted" && trial.state !== "void" && trial.scope === scope &&
        haveSameDirection(trial.operation.operation, operation.operation) &&
        (byTarget ? haveSameTargets(trial.operation, operation) : likeness(textOf(state, trial), operation.content!) >= nearlySame)
    )
    if (tried !== undefined) {
      refuse({ reason: "TriedBefore", id: tried.id })
      continue
    }
    trials.push({
      id: operationId({ runSeed: state.runSeed, step, index }), step, index, operation: checked, scope, spreading,
      state: "open", looks: 0, reopened: 0, voids: 0, candidate: {}, base: "", z: 0
    })
  }
  const perStep = answersPerQuestion * state.questions.length
  return { state: { ...state, trials, allowance: Math.min(2 * perStep, state.allowance + perStep) }, refused }
}

/** One look at one trial. The arms are asked at the same time. */
export interface Round {
  readonly trial: string
  readonly scope: PrincipleScope
  readonly look: number
  readonly incumbent: ReadonlyArray<Ask>
  readonly candidate: ReadonlyArray<Ask>
  /** The candidate's principles, all scopes; a question is shown those in scope of its class. */
  readonly principles: ReadonlyArray<Principle>
}

const applied = (state: TrialsState, trial: Trial): { readonly principles: ReadonlyArray<Principle>; readonly applied: AppliedOperation | undefined } => {
  const result = applyOperations(state.principles, [trial.operation], {
    runSeed: state.runSeed,
    step: trial.step,
    generation: state.generation + 1,
    maxInScope: state.maxInScope,
    indices: [trial.index]
  })
  return { principles: result.principles, applied: result.applied[0] }
}

const roundOf = (state: TrialsState, trial: Trial): Round => {
  const fresh = trial.base !== fingerprint(state.principles, trial.scope)
  const look = fresh ? 0 : trial.looks
  const candidate = fresh ? {} : trial.candidate
  const samples = looks[Math.min(look, looks.length - 1)]!.samples
  const questions = state.policy === "always" ? [] : questionsOf(state, trial.scope)
  const ask = (id: string, questionClass: string, from: number, to: number): ReadonlyArray<Ask> =>
    to > from ? [{ question: id, from, to, draw: state.draws[questionClass] ?? 0 }] : []
  return {
    trial: trial.id,
    scope: trial.scope,
    look,
    incumbent: questions.flatMap(({ id, questionClass }) => ask(id, questionClass, asked(state.incumbent[id]), incumbentSamples)),
    candidate: questions.flatMap(({ id, questionClass }) => ask(id, questionClass, asked(candidate[id]), asked(candidate[id]) + samples)),
    principles: applied(state, trial).principles
  }
}

/**
 * What a round takes from the allowance. On few validation questions the incumbent's samples are free: charged, they alone would use up
 * a step, and only one operation would ever be tried.
 */
const chargeOf = (state: TrialsState, round: Round): number =>
  state.questions.length < fewQuestions ? roundCost({ ...round, incumbent: [] }) : roundCost(round)

/** Answers a round costs. */
export const roundCost = (round: Round): number => [...round.incumbent, ...round.candidate].reduce((sum, { from, to }) => sum + to - from, 0)

/**
 * The rounds to ask next, at most one a class, since trials of different classes do not touch each other; empty when the step's gate
 * is through. Trials under way come before new ones, new ones before reopened ones, older before younger. A trial that bears on all questions waits
 * until it is alone.
 */
export const nextRounds = (state: TrialsState): ReadonlyArray<Round> => {
  const open = state.trials
    .map((trial, place) => ({ trial, place }))
    .filter(({ trial }) => trial.state === "open")
    .sort((a, b) => b.trial.looks - a.trial.looks || a.trial.reopened - b.trial.reopened || a.place - b.place)
  const rounds: Array<Round> = []
  const taken = new Set<PrincipleScope>()
  let left = state.allowance
  for (const { trial } of open) {
    const wide = trial.scope === "all" || trial.scope === "not-known"
    if (left <= 0 || taken.has("all") || taken.has(trial.scope) || (wide && taken.size > 0)) continue
    const round = roundOf(state, trial)
    rounds.push(round)
    left -= chargeOf(state, round)
    taken.add(wide ? "all" : trial.scope)
  }
  return rounds
}

/** What came back for one round, by question and arm. */
export interface RoundResult {
  readonly trial: string
  readonly incumbent: Tallies
  readonly candidate: Tallies
}

/** A trial that ended, as the log records it. */
export interface Settled {
  readonly trial: Trial
  readonly decision: GateDecision
  /** Only when accepted. */
  readonly applied?: AppliedOperation
}

export interface Settlement {
  readonly state: TrialsState
  /** In the order of the rounds. */
  readonly settled: ReadonlyArray<Settled>
}

/**
 * Folds the results of the rounds last planned. Where a trial is accepted, the answers of its scope's incumbent are thrown away and
 * drawn anew, so that no figure that accepted something is ever reported; trials of the scope that were better without being sure are
 * opened again. Where errors make a look void, the incumbent's answers to the questions they came from are thrown away: kept, they would
 * make void every later trial too.
 */
export const settleRounds = (state: TrialsState, rounds: ReadonlyArray<Round>, results: ReadonlyArray<RoundResult>): Settlement => {
  let current = state
  const settled: Array<Settled> = []
  for (const round of rounds) {
    const trial = current.trials.find(({ id, scope, state: at }) => id === round.trial && scope === round.scope && at === "open")
    const result = results.find(({ trial: id }) => id === round.trial)
    if (trial === undefined || result === undefined) continue
    current = { ...current, incumbent: added(current.incumbent, result.incumbent), allowance: current.allowance - chargeOf(current, round) }
    const looked: Trial = {
      ...trial,
      base: fingerprint(current.principles, trial.scope),
      looks: round.look + 1,
      // Also of a first look that was void: samples are numbered by how many there are, and dropping some would have the next ones counted twice.
      candidate: added(trial.base === fingerprint(state.principles, trial.scope) ? trial.candidate : {}, result.candidate)
    }
    const { next, decision } = judgeLook(current, looked)
    const change = next.state === "accepted" ? applied(current, next) : undefined
    if (next.state === "accepted" && change!.applied === undefined) {
      // The scope has filled up, or its target has gone, since the trial began.
      current = replaced(current, { ...next, state: "obsolete" })
      settled.push({ trial: { ...next, state: "obsolete" }, decision })
      continue
    }
    current = replaced(current, next)
    if (decision.decision === "void") current = drawnAnew(current, questionsOf(current, trial.scope).filter(({ id }) => (current.incumbent[id]?.errors ?? 0) > 0))
    if (next.state !== "open") settled.push({ trial: next, decision, ...(change !== undefined && { applied: change.applied! }) })
    if (change !== undefined) current = accept(current, next, change.principles)
  }
  return { state: current, settled }
}

const replaced = (state: TrialsState, trial: Trial): TrialsState => ({
  ...state,
  trials: state.trials.map((other) => (other.id === trial.id && other.scope === trial.scope ? trial : other))
})

const judgeLook = (state: TrialsState, trial: Trial): { readonly next: Trial; readonly decision: GateDecision } => {
  const decision = decideGate({
    policy: state.policy,
    questions: questionsOf(state, trial.scope),
    abstentionQuestions: state.questions.filter(({ abstention }) => abstention).length,
    incumbent: state.incumbent,
    candidate: trial.candidate,
    seed: `${state.runSeed}/${trial.id}`
  })
  if (state.policy === "always") return { next: { ...trial, state: "accepted" }, decision }
  const as = (to: Trial["state"], by: GateDecision = decision): { next: Trial; decision: GateDecision } => ({ next: { ...trial, state: to, z: decision.z }, decision: by })
  if (decision.decision === "void") {
    const voids = trial.voids + 1
    return { next: { ...trial, voids, looks: trial.looks - 1, z: decision.z, state: voids > voidsMax ? "void" : "open" }, decision }
  }
  const reliability = verdictReliability(state.incumbent)
  if (!reliability.reliable && (decision.decision === "accepted" || decision.decision === "undecided")) {
    return as("undecided", { ...decision, decision: "undecided", reason: "the judge's verdicts do not differ between questions more than chance does" })
  }
  const { rejectBelow, acceptFrom } = looks[trial.looks - 1]!
  const last = trial.looks === looks.length
  if (decision.decision === "accepted" && (last || (state.policy === "likely" && decision.z >= acceptFrom))) return as("accepted")
  if (last) return as(decision.decision)
  if (decision.z < rejectBelow) {
    return decision.difference.mean > 0
      ? as("undecided", { ...decision, decision: "undecided", reason: "stopped early: unlikely to be shown better" })
      : as("rejected", { ...decision, decision: "rejected", reason: "stopped early: not better than the incumbent" })
  }
  return as("open")
}

/** Throws away the incumbent's answers to some questions; all of their classes are drawn anew from here. */
const drawnAnew = (state: TrialsState, questions: ReadonlyArray<GateQuestion>): TrialsState => {
  const touched = new Set(questions.map(({ id }) => id))
  const classes = new Set(questions.map(({ questionClass }) => questionClass))
  return {
    ...state,
    incumbent: Object.fromEntries(Object.entries(state.incumbent).filter(([id]) => !touched.has(id))),
    draws: { ...state.draws, ...Object.fromEntries([...classes].map((questionClass) => [questionClass, (state.draws[questionClass] ?? 0) + 1])) }
  }
}

const accept = (state: TrialsState, trial: Trial, principles: ReadonlyArray<Principle>): TrialsState => {
  const held = new Set(principles.map(({ id }) => id))
  const trials = state.trials.map((other): Trial => {
    if (targetsOf(other.operation).some((id) => !held.has(id)) && other.state !== "accepted") return { ...other, state: "obsolete" }
    const again =
      other.id !== trial.id && other.scope === trial.scope && other.operation.operation === "add" &&
      (other.state === "undecided" || other.state === "rejected") && other.z > 0 && other.reopened < reopenings
    return again ? { ...other, state: "open", looks: 0, candidate: {}, base: "", reopened: other.reopened + 1 } : other
  })
  const spread = trial.spreading && !trials.some((other) => other.id === trial.id && other.scope !== trial.scope)
  const others = spread
    ? routedClasses
        .filter((questionClass) => questionClass !== trial.scope && state.questions.filter((q) => q.questionClass === questionClass).length >= fewestQuestions)
        .map((questionClass, place): Trial => ({
          ...trial,
          id: `${trial.id}-${place + 1}`,
          // A place of its own, so that the principle gets an id of its own.
          index: 1000 * (place + 1) + trial.index,
          operation: { ...trial.operation, scope: questionClass },
          scope: questionClass,
          spreading: false, state: "open", looks: 0, reopened: reopenings, voids: 0, candidate: {}, base: "", z: 0
        }))
    : []
  return { ...drawnAnew(state, questionsOf(state, trial.scope)), principles, trials: [...trials, ...others] }
}

