/**
 * What a run needs next, as pure functions of its fold and the results so far: the jobs of the stage under way, and the command to give
 * once all of them are settled. Any process that holds the fold comes to the same, which is what lets a run be taken over.
 */
import { Option, Schema } from "effect"
import type { Principle } from "#shared/domain/principle"
import { isErasedOutcome, type Job } from "#shared/actor/jobs"
import type { Verdict } from "#shared/domain/question"
import type { JobAddress, RunAddress } from "#shared/eventlog/subjects"
import { addTally, noTally, type Tally } from "#shared/metamemory/gate"
import { ledgerFor } from "#shared/metamemory/ledger"
import { digest, droppedPrinciples } from "#shared/metamemory/random"
import { inScope } from "#shared/metamemory/router"
import { type Ask, trialLedger } from "#shared/metamemory/trial"
import { nextRounds, type Round } from "#shared/metamemory/trials"
import type { Role } from "#shared/model/roles"
import type { JudgementInput } from "#services/evaluator/protocol"
import type { RolloutInput } from "#services/retriever/protocol"
import { type ConsolidationInput, type ProposalInput, type ReflectionInput, VerdictOnly } from "./job-data.ts"
import { type RunParameters, type RunQuestion, startOf } from "./parameters.ts"
import type { JobResult, Results, RunCommand } from "./protocol.ts"
import type { QuestionAttempts, StoppedEarly } from "./run-events.ts"
import { guardPlace, retriedPlace, type RunState } from "./state.ts"

/** Who does a kind of job. */
export const workerOf = { rollout: "retriever", judgement: "evaluator", reflection: "reflector", proposal: "reflector", consolidation: "reflector" } as const

/** A job of a run with the input of its kind. */
export type RunJob = Omit<Job, "input"> & (
  | { readonly kind: "rollout"; readonly input: RolloutInput }
  | { readonly kind: "judgement"; readonly input: JudgementInput }
  | { readonly kind: "reflection"; readonly input: ReflectionInput }
  | { readonly kind: "proposal"; readonly input: ProposalInput }
  | { readonly kind: "consolidation"; readonly input: ConsolidationInput }
)

export const resultKey = (kind: string, key: string): string => `${kind}/${key}`

const hashes = new Map<string, string>()
/** Short hash of a question's id, for keys. */
export const questionHash = (id: string): string => {
  const known = hashes.get(id) ?? digest("question", id).slice(0, 16)
  if (hashes.size > 10_000) hashes.clear()
  hashes.set(id, known)
  return known
}

/** Key of an attempt: what it is for, the draw, the question, the sample. */
export const attemptKey = (arm: string, draw: number, question: string, sample: number): string => `${arm}_${draw}_${questionHash(question)}_${sample}`
/** Hash of the question that a job's key is about; undefined where it is about no single one. */
export const questionHashIn = (key: string): string | undefined => /_([0-9a-f]{16})(?:_\d+)?$/.exec(key)?.[1]
export const trainingArm = "r"
export const incumbentArm = "i"

/** How many of a question's attempts came out so, of letters as `QuestionAttempts` has them. */
export const verdictCount = (verdicts: string, letter: "c" | "i" | "e"): number => verdicts.split(letter).length - 1
/** Came out both ways: what can be learnt from. */
export const isMixed = ({ verdicts }: Pick<QuestionAttempts, "verdicts">): boolean => verdicts.includes("c") && verdicts.includes("i")

/** The model a job asks: of that name as the run was opened with it, whatever is set where the job is done. */
const named = (state: RunState, role: Role): { readonly model?: string } => {
  const model = parametersOf(state).models[role]
  return model === undefined ? {} : { model }
}

const parametersOf = (state: RunState): RunParameters => {
  if (state.parameters === undefined) throw new RangeError("the run is not open")
  return state.parameters
}

export const questionOf = (state: RunState, id: string): RunQuestion => {
  const question = state.questions.get(id)
  if (question === undefined) throw new RangeError(`the run has no question ${id}`)
  return question
}

/** The principles a question is shown, in the order given. */
export const shownIn = (principles: ReadonlyArray<Principle>, { questionClass }: RunQuestion): ReadonlyArray<Principle> => principles.filter((principle) => inScope(principle, questionClass))

/** Principles a training attempt is shown, and those in scope that it goes without. */
export const shownTo = (state: RunState, step: number, question: RunQuestion, sample: number): { readonly shown: ReadonlyArray<Principle>; readonly dropped: ReadonlyArray<string> } => {
  const { dropShare, seed } = parametersOf(state)
  const routed = shownIn(state.trials.principles, question)
  const gone = droppedPrinciples({ runSeed: String(seed), step, question: question.id, sample }, routed.map(({ id }) => id), dropShare)
  return { shown: routed.filter(({ id }) => !gone.has(id)), dropped: routed.filter(({ id }) => gone.has(id)).map(({ id }) => id) }
}

interface RolloutOf {
  readonly question: RunQuestion
  readonly purpose: RolloutInput["purpose"]
  readonly arm: string
  readonly draw: number
  readonly sample: number
  readonly principles: ReadonlyArray<Principle>
  readonly temperature: number
}

/**
 * Why no further step is taken, and after which one; undefined while the run goes on or its last step is through. The rule: as many steps
 * in a row as its patience sealed nothing, and no trial is open. One that is open waits for answers to spend and may still be accepted.
 */
export const stoppedEarly = ({ generations, parameters, phase, trials }: RunState): StoppedEarly | undefined => {
  const patience = parameters?.patience ?? 0
  if (parameters === undefined || phase._tag !== "Between" || patience === 0 || phase.step > parameters.steps) return undefined
  const step = phase.step - 1
  const sealed = Math.max(generations.at(-1)?.step ?? 0, parameters.branch?.step ?? 0, 0)
  if (step - sealed < patience || trials.trials.some(({ state }) => state === "open")) return undefined
  return { step, reason: `${step - sealed} steps in a row sealed nothing, and no trial is open` }
}

/** True when no step is left to take: what follows is the guard test, or the end. */
export const isThrough = (state: RunState): boolean =>
  state.phase._tag === "Between" && (state.phase.step > parametersOf(state).steps || stoppedEarly(state) !== undefined)

/** Number under which the guard test's results stand: one more than the last step. */
export const guardStep = (state: RunState): number => parametersOf(state).steps + 1

/** Step under whose number the results of the stage under way stand. */
export const stageStep = (state: RunState): number => {
  switch (state.phase._tag) {
    case "Unopened":
    case "Finished":
      return 0
    case "Between":
      return isThrough(state) ? guardStep(state) : state.phase.step
    default:
      return state.phase.step
  }
}

export const rolloutJob = (state: RunState, address: RunAddress, step: number, of: RolloutOf): RunJob => {
  const parameters = parametersOf(state)
  const input: RolloutInput = {
    question: { id: of.question.id, user: of.question.user },
    ...named(state, "answer"),
    purpose: of.purpose,
    draw: of.draw,
    sample: of.sample,
    principles: of.principles.map(({ id, scope, text }) => ({ id, text, scope })),
    temperature: of.temperature,
    maxTokens: parameters.maxTokens,
    evidenceTokens: parameters.evidenceTokens,
    memoryPosition: parameters.memoryPosition,
    runSeed: parameters.seed
  }
  return { ...address, step, kind: "rollout", key: attemptKey(of.arm, of.draw, of.question.id, of.sample), input }
}

/** The rounds of the gate under way. */
export const roundsOf = (state: RunState): ReadonlyArray<Round> => nextRounds(state.trials)

const asks = (state: RunState, address: RunAddress, step: number, list: ReadonlyArray<Ask>, arm: string, principles: ReadonlyArray<Principle>): ReadonlyArray<RunJob> =>
  list.flatMap(({ draw, from, question: id, to }) => {
    const question = questionOf(state, id)
    return Array.from({ length: to - from }, (_, i) =>
      rolloutJob(state, address, step, { question, purpose: "gate", arm, draw, sample: from + i, principles: shownIn(principles, question), temperature: parametersOf(state).gateTemperature }))
  })

/** Lists with the same are shown as the same. */
export const asShown = (principles: ReadonlyArray<Principle>): string => JSON.stringify(principles.map(({ id, text }) => [id, text]))

/** Guard questions on which the last generation differs from generation 0: others would be answered alike. */
export const guardQuestions = (state: RunState): ReadonlyArray<RunQuestion> => {
  const start = startOf(state.parameters)
  return parametersOf(state).guard.filter((question) => asShown(shownIn(state.trials.principles, question)) !== asShown(shownIn(start, question)))
}

const guardArm = (generation: number): string => `g${generation}`

/** The answers of the guard test to one question under one generation, each in its last draw. */
export const guardAttempts = (state: RunState, generation: number, question: string) =>
  Array.from({ length: parametersOf(state).guardSamples }, (_, sample) => {
    const draw = state.guardDraws.get(guardPlace(generation, question, sample)) ?? 0
    return { question, sample, draw, key: attemptKey(guardArm(generation), draw, question, sample) }
  })

const guardJobs = (state: RunState, address: RunAddress): ReadonlyArray<RunJob> =>
  guardQuestions(state).flatMap((question) =>
    [0, state.trials.generation].flatMap((generation) => {
      const principles = shownIn(generation === 0 ? startOf(state.parameters) : state.trials.principles, question)
      return guardAttempts(state, generation, question.id).map(({ draw, sample }) =>
        rolloutJob(state, address, guardStep(state), {
          question, purpose: "report", arm: guardArm(generation), draw, sample, principles, temperature: parametersOf(state).gateTemperature
        }))
    })
  )

/** Samples of a question's attempts that were judged, with their keys. */
const judgedAttempts = (step: number, { question, verdicts }: QuestionAttempts): ReadonlyArray<{ readonly key: string; readonly sample: number; readonly correct: boolean }> =>
  [...verdicts].flatMap((verdict, sample) => (verdict === "e" ? [] : [{ key: attemptKey(trainingArm, step, question, sample), sample, correct: verdict === "c" }]))

/** Entries of the ledger a proposer is shown. */
const ledgerShown = 24

type Stage<Tag extends RunState["phase"]["_tag"]> = Extract<RunState["phase"], { readonly _tag: Tag }>

const trainingJobs = (state: RunState, address: RunAddress, { questions, step }: Stage<"Rollouts">): ReadonlyArray<RunJob> => {
  const { rolloutTemperature, samples } = parametersOf(state)
  return questions.flatMap((id) => {
    const question = questionOf(state, id)
    return Array.from({ length: samples }, (_, sample) =>
      rolloutJob(state, address, step, {
        question, purpose: "rollout", arm: trainingArm, draw: step, sample, principles: shownTo(state, step, question, sample).shown, temperature: rolloutTemperature
      }))
  })
}

/** What every job of the reflector's is told of its run. */
const commonInput = (state: RunState, role: "reflect" | "propose" | "consolidate", step: number) => {
  const { reflector, seed } = parametersOf(state)
  return { by: reflector, ...named(state, role), runSeed: seed, step }
}

const reflectionJobs = (state: RunState, address: RunAddress, { attempts, step }: Stage<"Reflections">): ReadonlyArray<RunJob> =>
  attempts.flatMap((one) => {
    const question = questionOf(state, one.question)
    return judgedAttempts(step, one).map(({ correct, key, sample }) => {
      const input: ReflectionInput = {
        ...commonInput(state, "reflect", step),
        question: { id: question.id, user: question.user },
        attempt: { key, correct },
        principles: shownTo(state, step, question, sample).shown.map(({ id, text }) => ({ id, text }))
      }
      return { ...address, step, kind: "reflection", key, input }
    })
  })

const proposalJobs = (state: RunState, address: RunAddress, { attempts, reflected, step }: Stage<"Proposals">): ReadonlyArray<RunJob> => {
  const { canaries, maxInScope } = parametersOf(state)
  // Nobody who sees one question's attempts can merge, and that two were no help as one says nothing of the words.
  const ledger = trialLedger(state.trials).filter(({ operation }) => operation !== "merge")
  return attempts.flatMap((one) => {
    const question = questionOf(state, one.question)
    const judged = judgedAttempts(step, one).filter(({ key }) => reflected.has(key))
    if (judged.length === 0) return []
    const input: ProposalInput = {
      ...commonInput(state, "propose", step),
      question: { id: question.id, user: question.user },
      attempts: judged.map(({ correct, key }) => ({ key, correct })),
      principles: state.trials.principles,
      ledger: ledgerFor(ledger, new Set(["all", "not-known", question.questionClass]), ledgerShown),
      reader: state.trials.reader,
      canaries,
      maxInScope
    }
    return [{ ...address, step, kind: "proposal", key: `p_${questionHash(question.id)}`, input }]
  })
}

const consolidationJobs = (state: RunState, address: RunAddress, { proposals, step }: Stage<"Consolidation">): ReadonlyArray<RunJob> => {
  if (proposals.length === 0) return []
  const { canaries, maxInScope, operationsPerStep } = parametersOf(state)
  const input: ConsolidationInput = {
    ...commonInput(state, "consolidate", step),
    proposals,
    principles: state.trials.principles,
    limit: operationsPerStep,
    questions: [...new Set(proposals.flatMap(({ sources }) => sources))].map((id) => questionOf(state, id)).map(({ id, user }) => ({ id, user })),
    canaries,
    maxInScope,
    triedMerges: trialLedger(state.trials).filter(({ operation }) => operation === "merge"),
    reader: state.trials.reader
  }
  return [{ ...address, step, kind: "consolidation", key: "all", input }]
}

const gateJobs = (state: RunState, address: RunAddress, { step }: Stage<"Gate">): ReadonlyArray<RunJob> =>
  roundsOf(state).flatMap((round) => [
    ...asks(state, address, step, round.incumbent, incumbentArm, state.trials.principles),
    ...asks(state, address, step, round.candidate, round.trial, round.principles)
  ])

/** The jobs a stage begins with, in canonical order; judgements follow as attempts are settled. */
export const plannedJobs = (state: RunState, address: RunAddress): ReadonlyArray<RunJob> => {
  const { phase } = state
  switch (phase._tag) {
    case "Unopened":
    case "Finished":
      return []
    case "Between":
      return isThrough(state) && state.trials.generation > 0 ? guardJobs(state, address) : []
    case "Rollouts":
      return trainingJobs(state, address, phase)
    case "Reflections":
      return reflectionJobs(state, address, phase)
    case "Proposals":
      return proposalJobs(state, address, phase)
    case "Consolidation":
      return consolidationJobs(state, address, phase)
    case "Gate":
      return gateJobs(state, address, phase)
  }
}

const decodeCallKey = Schema.decodeUnknownOption(Schema.Struct({ callKey: Schema.NonEmptyString }))

/** The judgement of an attempt that was answered; none for one that failed, which counts as an error. */
const judgementOf = (state: RunState, job: RunJob, result: JobResult): RunJob | undefined => {
  if (job.kind !== "rollout" || result.status === "failed") return undefined
  const rollout = job.input
  const answer = Option.getOrUndefined(decodeCallKey(result.data))
  if (answer === undefined) return undefined
  const input: JudgementInput = {
    question: rollout.question,
    callKey: answer.callKey,
    judge: parametersOf(state).judge,
    ...named(state, "judge"),
    sample: { runSeed: rollout.runSeed, purpose: rollout.purpose, draw: rollout.draw, question: rollout.question.id, sample: rollout.sample }
  }
  return { tenant: job.tenant, run: job.run, step: job.step, key: job.key, kind: "judgement", input }
}

/** The results of the stage under way that count: not those in whose place their job is done anew. */
export const counted = (state: RunState, results: Results): Results => {
  if (state.retried.size === 0) return results
  const step = stageStep(state)
  return new Map([...results].filter(([, { checksum, key, kind }]) => state.retried.get(retriedPlace(step, kind, key))?.includes(checksum) !== true))
}

/** Whether the stage under way needs this job, so that its outcome is not decided on yet. */
export const isWaitedFor = (state: RunState, { key, kind, step }: Pick<JobAddress, "step" | "kind" | "key">): boolean =>
  step === stageStep(state) &&
  plannedJobs(state, { tenant: "", run: "" }).some((job) => job.key === key && (job.kind === kind || (kind === "judgement" && job.kind === "rollout")))

/**
 * Every job the stage under way is known to need, settled or not: what was planned, and judgements of what was answered.
 *
 * @param results those that count
 */
export const expectedJobs = (state: RunState, address: RunAddress, results: Results, planned: ReadonlyArray<RunJob> = plannedJobs(state, address)): ReadonlyArray<RunJob> => {
  const judgements = planned.flatMap((job) => {
    const result = results.get(resultKey(job.kind, job.key))
    const judgement = result === undefined ? undefined : judgementOf(state, job, result)
    return judgement === undefined ? [] : [judgement]
  })
  const jobs = [...planned, ...judgements]
  if (state.retried.size === 0) return jobs
  return jobs.map((job) => {
    const again = state.retried.get(retriedPlace(job.step, job.kind, job.key))?.at(-1)
    return again === undefined ? job : { ...job, again }
  })
}

/** The command to give when every expected job is settled; undefined when the run is over or not open. */
export const stageCommand = (state: RunState, results: Results): RunCommand | undefined => {
  const { phase } = state
  switch (phase._tag) {
    case "Unopened":
    case "Finished":
      return undefined
    case "Between":
      return isThrough(state) ? { _tag: "FinishRun", results, ...(state.guardVoids === 0 ? {} : { voids: state.guardVoids }) } : { _tag: "StartStep", step: phase.step }
    case "Rollouts":
      return { _tag: "FoldRollouts", step: phase.step, results }
    case "Reflections":
      return { _tag: "FoldReflections", step: phase.step, results }
    case "Proposals":
      return { _tag: "FoldProposals", step: phase.step, results }
    case "Consolidation":
      return { _tag: "FoldConsolidation", step: phase.step, results }
    case "Gate":
      return { _tag: "FoldGateRound", step: phase.step, round: phase.round, results }
  }
}

/** What makes the run give a command; the same whoever gives it, so that two drivers make one commit. */
export const causeOf = (command: RunCommand): string =>
  command._tag === "FinishRun" && command.voids !== undefined ? `FinishRun ${command.voids}` : !("step" in command) ? command._tag : `${command._tag} ${command.step}${command._tag === "FoldGateRound" ? ` ${command.round}` : ""}`

const decodeVerdict = Schema.decodeUnknownOption(VerdictOnly)

/** How an attempt came out; one that could not be answered or judged is an error. Undefined = not settled yet. */
export const verdictOf = (results: Results, key: string): Verdict | undefined => {
  const rollout = results.get(resultKey("rollout", key))
  if (rollout === undefined) return undefined
  if (rollout.status === "failed" || Option.isNone(decodeCallKey(rollout.data))) return "error"
  const judgement = results.get(resultKey("judgement", key))
  if (judgement === undefined) return undefined
  return judgement.status === "failed" ? "error" : Option.match(decodeVerdict(judgement.data), { onNone: () => "error" as const, onSome: ({ verdict }) => verdict })
}

const one: Readonly<Record<Verdict, Tally>> = {
  correct: { correct: 1, incorrect: 0, errors: 0 },
  incorrect: { correct: 0, incorrect: 1, errors: 0 },
  error: { correct: 0, incorrect: 0, errors: 1 }
}

/** Whether an attempt could not be answered or judged because its user was erased. */
export const isGone = (results: Results, key: string): boolean =>
  ["rollout", "judgement"].some((kind) => {
    const result = results.get(resultKey(kind, key))
    return result?.status === "failed" && isErasedOutcome(result.data)
  })

/** Tallies of attempts by question, in the order given; what was asked of a user who was erased counts nowhere. @throws RangeError when one is not settled — a bug */
export const tallyOf = (results: Results, attempts: ReadonlyArray<{ readonly question: string; readonly key: string }>): Readonly<Record<string, Tally>> => {
  const tallies: Record<string, Tally> = {}
  for (const { key, question } of attempts) {
    const verdict = verdictOf(results, key)
    if (verdict === undefined) throw new RangeError(`attempt ${key} is not settled`)
    tallies[question] = addTally(tallies[question] ?? noTally, isGone(results, key) ? noTally : one[verdict])
  }
  return tallies
}

/** Keys of asked samples. */
export const asked = (list: ReadonlyArray<Ask>, arm: string): ReadonlyArray<{ readonly question: string; readonly key: string }> =>
  list.flatMap(({ draw, from, question, to }) => Array.from({ length: to - from }, (_, i) => ({ question, key: attemptKey(arm, draw, question, from + i) })))

/** Digest over keys and checksums of the results of the stage under way, in canonical order. */
export const resultsDigest = (state: RunState, results: Results): string =>
  digest(
    ...expectedJobs(state, { tenant: "", run: "" }, results)
      .map(({ key, kind }) => resultKey(kind, key))
      .sort()
      .flatMap((key) => [key, results.get(key)?.checksum ?? "missing"])
  ).slice(0, 32)
