/**
 * What a run decides: each command folds the settled results of one stage into events, in canonical order, and a command for a stage
 * that is over adds nothing. `evolve` copies what the events say; which jobs follow from it is in `stages.ts`.
 */
import { Option, Result, Schema } from "effect"
import { verdictLetters } from "#shared/domain/question"
import type { Behaviour } from "#shared/actor/behaviour"
import { chooseBatch } from "#shared/metamemory/batch"
import { budgetOf } from "#shared/metamemory/budget"
import { judgementsNeeded } from "#shared/metamemory/judging"
import { fewestStepsSeen, principleEffects, retirements, wordingOf } from "#shared/metamemory/effect"
import { type GateDecision, guardTest, likelyThreshold } from "#shared/metamemory/gate"
import { generationHash, type GateRecord } from "#shared/metamemory/generation"
import { applyOperations, refusalText } from "#shared/metamemory/operations"
import { type TrialsState, voidsMax } from "#shared/metamemory/trial"
import { nextRounds, type Settled, settleRounds, submit, type SubmissionRefusal, type Submitted } from "#shared/metamemory/trials"
import type { QuestionClass } from "#shared/domain/scope"
import { summed } from "./checks.ts"
import { importedEvents } from "./imported.ts"
import { ConsolidationData, ProposalData, ReflectionData } from "./job-data.ts"
import { algorithmVersion, differencesText, differingParameters, gateQuestions, startOf, twoPartsText, type RunParameters, type RunQuestion } from "./parameters.ts"
import { NotWaitedFor, ParametersDiffer, QuestionInTwoParts, type Results, type RunCommand, type RunRefusal, RunTooSmall } from "./protocol.ts"
import { type GateDecided, type QuestionAttempts, reflectorCodec, type RunEvent, type SourcedOperation } from "./run-events.ts"
import { asked, attemptKey, counted, expectedJobs, guardAttempts, guardQuestions, incumbentArm, isGone, isMixed, isThrough, isWaitedFor, plannedJobs, questionOf, resultKey, resultsDigest, roundsOf, shownTo, stoppedEarly, tallyOf, trainingArm, verdictCount, verdictOf } from "./stages.ts"
import { evolve } from "./evolve.ts"
import { openTest, reportTest } from "./looks.ts"
import { chained, initialState, patchOf, retriedPlace, rolloutsOf, type RunState, sourceKey } from "./state.ts"
import { recordComparison } from "./comparisons.ts"
import { recordWhatIf } from "./what-ifs.ts"

const decodeReflection = Schema.decodeUnknownOption(ReflectionData)
const decodeProposal = Schema.decodeUnknownOption(ProposalData)
const decodeConsolidation = Schema.decodeUnknownOption(ConsolidationData)

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)
const figuresOf = ({ difference, p, z }: GateDecision) => ({
  mean: finite(difference.mean), standardError: finite(difference.standardError), z: finite(z), ...(p === undefined ? {} : { p })
})
const count = (list: ReadonlyArray<string>): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {}
  for (const item of [...list].sort()) counts[item] = (counts[item] ?? 0) + 1
  return counts
}

/** Share of questions that a change of one class bears on, on average over questions. */
const shareInScope = (questions: ReadonlyArray<RunQuestion>): number => {
  const byClass = Map.groupBy(questions, ({ questionClass }) => questionClass)
  return [...byClass.values()].reduce((sum, own) => sum + (own.length / questions.length) ** 2, 0)
}

const thresholds = { likely: likelyThreshold, proven: 1.645, always: 0 } as const

/** What of a run decides on its budget. */
export type Sized = Omit<RunParameters, "algorithm" | "models" | "templates" | "tokenLimits" | "memoryPosition">

/** What a run will take and can see. @param mixedShare as measured; absent = as it is taken to be before */
export const runBudget = (parameters: Sized, mixedShare?: number) => {
  const weights = gateQuestions(parameters.validation, parameters.mix).flatMap(({ weight }) => (weight === undefined ? [] : [weight]))
  return budgetOf({
    batch: parameters.batch,
    samples: parameters.samples,
    trainQuestions: parameters.train.length,
    steps: parameters.steps - (parameters.branch?.step ?? 0),
    validationQuestions: parameters.validation.length,
    validationSamples: parameters.validationSamples,
    candidatesPerStep: parameters.operationsPerStep,
    shareInScope: shareInScope(parameters.validation),
    threshold: thresholds[parameters.gate],
    guard: { questions: parameters.guard.length, samples: parameters.guardSamples },
    judgements: parameters.judge === "lexical" ? 0 : parameters.validation.reduce((sum, question) => sum + judgementsNeeded(question), 0) / parameters.validation.length,
    modelLearns: parameters.reflector !== "rules",
    ...(mixedShare === undefined ? {} : { mixedShare }),
    ...(weights.length === 0 ? {} : { validationWeights: weights })
  })
}

/** Why a run is refused for its size; undefined where it is not, or is wanted anyway. */
export const tooSmall = (parameters: Sized): RunTooSmall | undefined => {
  const { explanation, refusals } = runBudget(parameters)
  return refusals.length === 0 || parameters.anyway
    ? undefined
    : new RunTooSmall({ message: `${explanation.join("\n")}\nOpen it with --anyway to run it all the same; its figures are then labelled as too small to mean much.` })
}

const taken = (what: string) => new ParametersDiffer({ parameters: ["origin"], message: `${what} stands under this name; choose another one.` })

/** Why no run can be opened under the name of one that was imported; undefined where none was. */
export const takenByImport = ({ imported }: Pick<RunState, "imported">): ParametersDiffer | undefined =>
  imported === undefined ? undefined : taken(`the record of a run imported from ${imported.origin}`)

const open = (state: RunState, parameters: RunParameters): Result.Result<ReadonlyArray<RunEvent>, RunRefusal> => {
  const imported = takenByImport(state)
  if (imported !== undefined) return Result.fail(imported)
  if (state.parameters !== undefined) {
    const differs = differingParameters(state.parameters, parameters)
    if (differs.length === 0) return Result.succeed([])
    return Result.fail(
      new ParametersDiffer({
        parameters: differs,
        message: differencesText(differs, state.parameters, parameters)
      })
    )
  }
  const seen = new Set<string>()
  for (const { id } of [...parameters.train, ...parameters.validation, ...parameters.guard, ...parameters.test]) {
    if (seen.has(id)) return Result.fail(new QuestionInTwoParts({ question: id, message: twoPartsText(id) }))
    seen.add(id)
  }
  const start = startOf(parameters)
  const refused = tooSmall(parameters)
  if (refused !== undefined) return Result.fail(refused)
  const { calls, explanation, refusals } = runBudget(parameters)
  return Result.succeed([
    { _tag: "RunOpened", parameters, budget: explanation, expectedCalls: calls, undersized: refusals.length > 0 },
    { _tag: "GenerationSealed", generation: 0, step: -1, principles: start, hash: generationHash({ number: 0, principles: start, gate: [] }), inputsDigest: "", gate: null }
  ])
}

const startStep = (state: RunState, parameters: RunParameters, step: number): ReadonlyArray<RunEvent> => {
  const batch = chooseBatch({
    runSeed: String(parameters.seed),
    step,
    size: parameters.batch,
    questions: parameters.train.map(({ id }) => id),
    history: state.history,
    repeatedShare: parameters.repeatedShare
  })
  return [{ _tag: "StepStarted", step, questions: batch.questions, repeated: batch.repeated, epoch: batch.epoch }]
}


const foldRollouts = (state: RunState, parameters: RunParameters, step: number, questions: ReadonlyArray<string>, results: Results): ReadonlyArray<RunEvent> => {
  const attempts = questions.map((id): QuestionAttempts => {
    const question = questionOf(state, id)
    const samples = Array.from({ length: parameters.samples }, (_, sample) => sample)
    return {
      question: id,
      verdicts: samples.map((sample) => verdictLetters[verdictOf(results, attemptKey(trainingArm, step, id, sample)) ?? "error"]).join(""),
      dropped: samples.map((sample) => shownTo(state, step, question, sample).dropped)
    }
  })
  const all = attempts.map(({ verdicts }) => verdicts).join("")
  const folded: RunEvent = { _tag: "RolloutsFolded", step, attempts, errors: verdictCount(all, "e"), results: resultsDigest(state, results) }
  const alarm = ([["e", "all errors"], ["c", "all correct"], ["i", "all incorrect"]] as const).find(([letter]) => [...all].every((other) => other === letter))?.[1]
  const alarms: ReadonlyArray<RunEvent> = alarm === undefined ? [] : [{
    _tag: "AlarmRaised", step, alarm,
    message: alarm === "all errors"
      ? `every attempt of step ${step} ended in an error: nothing can be learnt. Look at \`metamem dead list\` and at the endpoints.`
      : `every attempt of step ${step} was judged ${alarm.slice(4)}: nothing can be learnt. See whether the judge tells answers apart.`
  }]
  return [folded, ...alarms, ...(attempts.some(isMixed) ? [] : consolidated(state, step, [], "nobody", {}, ""))]
}

/** Results of one kind in the order planned, decoded; failed and unreadable ones are undefined. */
const planned = <A>(state: RunState, results: Results, kind: string, decode: (data: unknown) => Option.Option<A>) =>
  plannedJobs(state, { tenant: "", run: "" })
    .filter((job) => job.kind === kind)
    .map((job) => {
      const result = results.get(resultKey(kind, job.key))
      return {
        key: job.key,
        data: result?.status === "done" ? Option.getOrUndefined(decode(result.data)) : undefined,
        sources: "question" in job.input ? [job.input.question.id] : []
      }
    })

const foldReflections = (state: RunState, step: number, results: Results): ReadonlyArray<RunEvent> => {
  const reflections = planned(state, results, "reflection", decodeReflection)
  const done = reflections.flatMap(({ data, key }) => (data === undefined ? [] : [{ key, by: data.by }]))
  return [{
    _tag: "ReflectionsFolded", step,
    done: done.map(({ key }) => key),
    failed: reflections.length - done.length,
    by: count(done.map(({ by }) => by)),
    results: resultsDigest(state, results)
  }]
}

const foldProposals = (state: RunState, step: number, results: Results): ReadonlyArray<RunEvent> => {
  const replies = planned(state, results, "proposal", decodeProposal)
  const proposals = replies.flatMap(({ data, sources }): ReadonlyArray<SourcedOperation> => (data?.operations ?? []).map((operation) => ({ operation, sources })))
  const done = replies.flatMap(({ data }) => (data === undefined ? [] : [data]))
  const folded: RunEvent = {
    _tag: "ProposalsFolded", step, proposals,
    failed: replies.length - done.length,
    discarded: summed(done.map(({ discarded }) => discarded)),
    by: count(done.map(({ by }) => by)),
    results: resultsDigest(state, results)
  }
  return [folded, ...(proposals.length > 0 ? [] : consolidated(state, step, [], "nobody", {}, ""))]
}

const submissionRefusalText = (refusal: SubmissionRefusal): string => {
  switch (refusal.reason) {
    case "TriedBefore":
      return `nearly the same was tried as ${refusal.id}`
    case "InForce":
      return `principle ${refusal.id} says nearly the same`
    default:
      return refusalText(refusal)
  }
}

/** Classes of the questions an operation comes from, the most frequent first, ties in the order met. */
const originOf = (state: RunState, sources: ReadonlyArray<string>): ReadonlyArray<QuestionClass> => {
  const counts = new Map<QuestionClass, number>()
  for (const id of sources) {
    const { questionClass } = questionOf(state, id)
    counts.set(questionClass, (counts.get(questionClass) ?? 0) + 1)
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([questionClass]) => questionClass)
}

/** One principle a step, the first whose measured effect is not worth its place; no question suggests it, so it has no sources. */
const retirement = (state: RunState): ReadonlyArray<SourcedOperation> =>
  state.steps.length < fewestStepsSeen
    ? []
    : retirements(principleEffects(state.steps.flatMap((step) => rolloutsOf(state, step))))
      .flatMap((wording) => state.trials.principles.filter((principle) => wordingOf(principle) === wording))
      .filter(({ id }) => !state.trials.trials.some(({ operation, state }) => operation.operation === "delete" && operation.id === id && state !== "void"))
      .slice(0, 1)
      .map(({ id }) => ({ operation: { operation: "delete", id }, sources: [] }))

/** Puts a step's operations up for trial; when there is nothing to try, the step ends in the same commit. */
const consolidated = (
  state: RunState, step: number, operations: ConsolidationData["operations"], by: string, discarded: Readonly<Record<string, number>>, results: string
): ReadonlyArray<RunEvent> => {
  const submitted = [...operations, ...retirement(state)].map(({ operation, sources }, index) => ({ index, operation, sources, origin: originOf(state, sources) }))
  const submission = submit(state.trials, step, submitted.map(({ index, operation, origin }): Submitted => ({ index, operation, origin })))
  const event: RunEvent = {
    _tag: "OperationsConsolidated", step,
    operations: submitted,
    refused: submission.refused.map(({ index, operation, refusal }) => ({ index, operation, reason: submissionRefusalText(refusal) })),
    discarded,
    by,
    patch: patchOf(state.trials, submission.state),
    results
  }
  return [event, ...(nextRounds(submission.state).length > 0 ? [] : endOfStep(state, submission.state, step, submitted.length, [], results))]
}

/** What stands as the maker of a consolidation that failed. */
export const failedBy = "nobody: it failed"

const foldConsolidation = (state: RunState, parameters: RunParameters, step: number, results: Results): ReadonlyArray<RunEvent> => {
  const [reply] = planned(state, results, "consolidation", decodeConsolidation)
  return consolidated(state, step, reply?.data?.operations.slice(0, parameters.operationsPerStep) ?? [], reply?.data?.by ?? failedBy, reply?.data?.discarded ?? {}, resultsDigest(state, results))
}

/** What one settled trial looks like in the log. */
const decisionOf = (state: RunState, before: TrialsState, { applied, decision, trial }: Settled, step: number, round: number): GateDecided => {
  // For what was turned down: the change as it would have been.
  const change = applied ?? applyOperations(before.principles, [trial.operation], {
    runSeed: before.runSeed, step: trial.step, generation: before.generation + 1, maxInScope: Number.POSITIVE_INFINITY, indices: [trial.index]
  }).applied[0]
  return {
    _tag: "GateDecided", step, round,
    scope: trial.scope,
    policy: before.policy,
    decision: trial.state,
    reason: decision.reason,
    operation: trial.id,
    index: trial.index,
    kind: trial.operation.operation,
    ...(change?.before === undefined ? {} : { before: change.before }),
    ...(change?.after === undefined ? {} : { after: change.after }),
    ...(change?.merged === undefined ? {} : { merged: change.merged }),
    sources: state.sources.get(sourceKey(trial.step, trial.index)) ?? [],
    draw: before.draws[trial.scope] ?? 0,
    counts: decision.counts,
    figures: figuresOf(decision)
  }
}

const gateRecord = ({ counts, decision, operation, policy, scope }: GateDecided): GateRecord => ({ scope, policy, decision, operations: [operation], counts })

const endOfStep = (state: RunState, trials: TrialsState, step: number, operations: number, decided: ReadonlyArray<GateDecided>, results: string): ReadonlyArray<RunEvent> => {
  if (!decided.some(({ decision }) => decision === "accepted")) {
    return [{ _tag: "StepEnded", step, outcome: operations + decided.length === 0 ? "no proposal" : "nothing accepted", generation: trials.generation }]
  }
  const number = trials.generation + 1
  const gate = decided.map(gateRecord)
  const inputsDigest = chained(state.digest, results)
  return [
    { _tag: "GenerationSealed", generation: number, step, principles: trials.principles, hash: generationHash({ number, principles: trials.principles, gate }), inputsDigest, gate },
    { _tag: "StepEnded", step, outcome: "sealed", generation: number }
  ]
}

const foldGateRound = (state: RunState, gate: Extract<RunState["phase"], { readonly _tag: "Gate" }>, results: Results): ReadonlyArray<RunEvent> => {
  const rounds = roundsOf(state)
  const { settled, state: after } = settleRounds(
    state.trials,
    rounds,
    rounds.map((round) => ({
      trial: round.trial,
      incumbent: tallyOf(results, asked(round.incumbent, incumbentArm)),
      candidate: tallyOf(results, asked(round.candidate, round.trial))
    }))
  )
  const looks = rounds.map((round) => ({
    trial: round.trial, scope: round.scope, look: round.look,
    answers: [...round.incumbent, ...round.candidate].reduce((sum, { from, to }) => sum + to - from, 0)
  }))
  const digested = resultsDigest(state, results)
  const decisions = settled.map((one) => decisionOf(state, state.trials, one, gate.step, gate.round))
  const looked: RunEvent = { _tag: "GateLooked", step: gate.step, round: gate.round, looks, patch: patchOf(state.trials, after), results: digested }
  const isOver = nextRounds(after).length === 0
  return [looked, ...decisions, ...(isOver ? endOfStep(state, after, gate.step, gate.operations, [...gate.decided, ...decisions], digested) : [])]
}

/** What a guard test that stays void leaves to do. */
const mendVoid = (generation: number): string =>
  `also after what failed was drawn anew ${voidsMax} times, so that nothing is known of generation ${generation}. Mend what \`metamem dead list\` names, then run the same \`metamem train\` under another name with --run: what was answered comes out of the log, and only what failed is asked for`

const finish = (state: RunState, results: Results): ReadonlyArray<RunEvent> => {
  const { generation } = state.trials
  const stopped = stoppedEarly(state)
  const finished = (recommended: number, reason: string): RunEvent => ({ _tag: "RunFinished", generations: state.generations.length, incumbent: generation, recommended, reason, ...(stopped === undefined ? {} : { stopped }) })
  if (generation === 0) return [finished(0, "nothing was accepted")]
  const questions = guardQuestions(state)
  if (questions.length === 0) return [finished(0, "no untouched question shows a difference to generation 0, so nothing is recommended")]
  const tally = (arm: number) => tallyOf(results, questions.flatMap(({ id }) => guardAttempts(state, arm, id)))
  const shownOtherwise = new Set(questions.map(({ id }) => id))
  const weighted = gateQuestions(state.parameters?.guard ?? [], state.parameters?.mix).filter(({ id }) => shownOtherwise.has(id))
  const decision = guardTest(state.parameters?.guardPolicy ?? "likely", weighted, tally(0), tally(generation))
  const found = { generation, reason: decision.reason, counts: decision.counts, figures: figuresOf(decision), results: resultsDigest(state, results) }
  if (decision.decision === "void" && state.guardVoids < voidsMax) {
    const again = [0, generation].flatMap((arm) => questions.flatMap(({ id }) => {
      const samples = guardAttempts(state, arm, id).filter(({ key }) => verdictOf(results, key) === "error" && !isGone(results, key)).map(({ sample }) => sample)
      return samples.length === 0 ? [] : [{ generation: arm, question: id, samples }]
    }))
    return [{ _tag: "GuardVoided", voids: state.guardVoids + 1, again, ...found }]
  }
  const passes = decision.decision === "accepted"
  const better = state.parameters?.branch === undefined ? "better than the empty generation on untouched questions" : "better than what it began with on untouched questions"
  const reason = passes ? better : `on untouched questions: ${decision.reason}${decision.decision === "void" ? `, ${mendVoid(generation)}` : ""}`
  return [{ _tag: "GuardTested", decision: decision.decision, ...found }, finished(passes ? generation : 0, reason)]
}

const notWaitedFor = (message: string) => new NotWaitedFor({ message })

/** Has a failed job of the stage under way done anew. What a stage has folded is decided, and nothing done later changes it. */
const retry = (state: RunState, { key, kind, outcome, step }: Extract<RunCommand, { readonly _tag: "RetryJob" }>): Result.Result<ReadonlyArray<RunEvent>, RunRefusal> => {
  if (state.retried.get(retriedPlace(step, kind, key))?.includes(outcome) === true) return Result.succeed([])
  const { parameters, phase } = state
  if (parameters === undefined) return Result.fail(notWaitedFor("nothing waits for it: no run of that name goes on in this log"))
  if (phase._tag === "Finished") return Result.fail(notWaitedFor(`the run is over and has counted it as an error; ${decidedOn}`))
  if (parameters.algorithm !== algorithmVersion) return Result.fail(notWaitedFor("the run was opened under other rules than this version's, and is not continued"))
  const stage = step > parameters.steps ? "the guard test does not wait for it any more" : `the stage of step ${step} that it belongs to is over`
  if (!isWaitedFor(state, { step, kind, key })) return Result.fail(notWaitedFor(`${stage} and has counted it as an error; ${decidedOn}`))
  return Result.succeed([{ _tag: "JobRetried", step, kind, key, outcome }])
}
const decidedOn = "what was decided since rests on that, and nothing done anew changes it. `metamem whatif` takes a run up again from a generation before; `metamem dead drop` takes the letter away"

/** What counts of a command's results; undefined where the stage waits for a job that is done anew meanwhile. */
const settledOf = (state: RunState, results: Results): Results | undefined => {
  const own = counted(state, results)
  return own === results || expectedJobs(state, { tenant: "", run: "" }, own).every(({ key, kind }) => own.has(resultKey(kind, key))) ? own : undefined
}

const importRun = (state: RunState, { digest, record }: Extract<RunCommand, { readonly _tag: "ImportRun" }>): Result.Result<ReadonlyArray<RunEvent>, RunRefusal> => {
  const { imported } = state
  if (state.parameters !== undefined) return Result.fail(taken("a run"))
  if (imported === undefined) return Result.succeed(importedEvents(record, digest))
  if (imported.digest !== digest) return Result.fail(taken(`the record of another run imported from ${imported.origin}`))
  // What was imported before texts were kept knows of no contents.
  return imported.contents === undefined || imported.contents === record.contents
    ? Result.succeed([])
    : Result.fail(taken(`the record of ${imported.origin} as it was, with the same generations and other attempts or evaluations,`))
}

type FoldCommand = Extract<RunCommand, { readonly results: Results }>

/** Folds the results of the stage under way; nothing where the command is for one that is over, or not all is settled that it waits for. */
const foldStage = (state: RunState, parameters: RunParameters, command: FoldCommand): ReadonlyArray<RunEvent> => {
  const { phase } = state
  const results = settledOf(state, command.results)
  if (results === undefined) return []
  switch (command._tag) {
    case "FoldRollouts":
      return phase._tag === "Rollouts" && phase.step === command.step ? foldRollouts(state, parameters, phase.step, phase.questions, results) : []
    case "FoldReflections":
      return phase._tag === "Reflections" && phase.step === command.step ? foldReflections(state, phase.step, results) : []
    case "FoldProposals":
      return phase._tag === "Proposals" && phase.step === command.step ? foldProposals(state, phase.step, results) : []
    case "FoldConsolidation":
      return phase._tag === "Consolidation" && phase.step === command.step ? foldConsolidation(state, parameters, phase.step, results) : []
    case "FoldGateRound":
      return phase._tag === "Gate" && phase.step === command.step && phase.round === command.round ? foldGateRound(state, phase, results) : []
    case "FinishRun":
      return isThrough(state) && (command.voids ?? 0) === state.guardVoids ? finish(state, results) : []
  }
}

const decide = (state: RunState, command: RunCommand): Result.Result<ReadonlyArray<RunEvent>, RunRefusal> => {
  const { parameters, phase } = state
  switch (command._tag) {
    case "OpenRun":
      return open(state, command.parameters)
    case "ImportRun":
      return importRun(state, command)
    case "RetryJob":
      return retry(state, command)
    case "OpenTest":
      return openTest(state, command)
    case "ReportTest":
      return reportTest(state, command)
    case "RecordWhatIf":
      return recordWhatIf(state, command.found)
    case "RecordComparison":
      return recordComparison(state, command.found)
    case "RecordCalibration":
      return Result.succeed(state.generations.length === 0 ? [] : [command.event])
    case "StartStep":
      return Result.succeed(parameters !== undefined && phase._tag === "Between" && phase.step === command.step && !isThrough(state) ? startStep(state, parameters, command.step) : [])
    default:
      return Result.succeed(parameters === undefined ? [] : foldStage(state, parameters, command))
  }
}

export const behaviour: Behaviour<RunState, RunCommand, RunEvent, RunRefusal> = { codec: reflectorCodec, initial: initialState, decide, evolve }
