/** A run as folded from its events. */
import type { Principle } from "#shared/domain/principle"
import type { Tried } from "#shared/metamemory/batch"
import { type DroppedRollout, wordingOf } from "#shared/metamemory/effect"
import type { DecidedOperation } from "#shared/metamemory/generation"
import { digest } from "#shared/metamemory/random"
import { inScope } from "#shared/metamemory/router"
import { openTrials, type Trial, type TrialsState } from "#shared/metamemory/trial"
import type { RunParameters, RunQuestion } from "./parameters.ts"
import type { BranchesCompared, GateDecided, JudgeCalibrated, QuestionAttempts, RunEvent, RunImported, SourcedOperation, StoppedEarly, TestOpened, TestReported, TrialsPatch, WhatIfAnswered } from "./run-events.ts"

export type Phase =
  | { readonly _tag: "Unopened" }
  /** `step` is the next to start; beyond the last one comes the guard test. */
  | { readonly _tag: "Between"; readonly step: number }
  | { readonly _tag: "Rollouts"; readonly step: number; readonly questions: ReadonlyArray<string> }
  /** Only questions that came out both ways. */
  | { readonly _tag: "Reflections"; readonly step: number; readonly attempts: ReadonlyArray<QuestionAttempts> }
  | { readonly _tag: "Proposals"; readonly step: number; readonly attempts: ReadonlyArray<QuestionAttempts>; readonly reflected: ReadonlySet<string> }
  | { readonly _tag: "Consolidation"; readonly step: number; readonly proposals: ReadonlyArray<SourcedOperation> }
  | { readonly _tag: "Gate"; readonly step: number; readonly round: number; readonly operations: number; readonly decided: ReadonlyArray<GateDecided> }
  | { readonly _tag: "Finished" }

export interface Sealed {
  readonly number: number
  readonly step: number
  readonly principles: ReadonlyArray<Principle>
  readonly hash: string
  /** Place of its commit in the metamem log. */
  readonly sequence: number
  /** Decisions of the step that sealed it, in order. */
  readonly decisions: ReadonlyArray<GateDecided>
}

/** What a step found; `generation` is the one its attempts were guided by. */
export interface StepRecord {
  readonly step: number
  readonly generation: number
  readonly attempts: ReadonlyArray<QuestionAttempts>
}

export interface TestLook extends Omit<TestOpened, "_tag"> {
  report: TestReported | undefined
}

/** What is known of a what-if by its last record. */
export interface WhatIf extends Omit<WhatIfAnswered, "_tag"> {
  /** Place of its last record in the metamem log. */
  readonly sequence: number
}

/** What is known of branches that were compared, by their last record. */
export interface ComparedBranches extends Omit<BranchesCompared, "_tag"> {
  /** Place of its last record in the metamem log. */
  readonly sequence: number
}

export interface RunState {
  phase: Phase
  parameters: RunParameters | undefined
  budget: ReadonlyArray<string>
  expectedCalls: number
  undersized: boolean
  /** Training, validation, guard and test questions by id. */
  questions: ReadonlyMap<string, RunQuestion>
  trials: TrialsState
  readonly generations: Array<Sealed>
  readonly operations: Array<DecidedOperation & { readonly sequence: number }>
  readonly history: Array<Tried>
  readonly steps: Array<StepRecord>
  /** Questions that led to an operation, by step and index. */
  readonly sources: Map<string, ReadonlyArray<string>>
  /** Index of the first fresh question of the step under way. */
  repeated: number
  /** Sequence after which all results of the step under way stand. */
  stepSequence: number
  /** Outcomes that no longer count, by `{step}/{kind}/{key}` of their job: their checksums, the last one's last. */
  readonly retried: Map<string, ReadonlyArray<string>>
  /** Chained digest over all results folded so far. */
  digest: string
  recommended: number | undefined
  /** Why it recommends that, in words; undefined = it is not over. */
  reason: string | undefined
  /** What the guard test came to; undefined = there was none. */
  guard: Extract<RunEvent, { readonly _tag: "GuardTested" }> | undefined
  /** How often errors made the guard test void so far, and the draw of each of its answers that was drawn anew, by `guardPlace`. */
  guardVoids: number
  readonly guardDraws: Map<string, number>
  /** Why the run ended before its last step, and after which one; undefined = it went through, or goes on. */
  stopped: StoppedEarly | undefined
  readonly alarms: Array<string>
  /** Where an imported run comes from; such a run has no parameters. */
  imported: Pick<RunImported, "origin" | "digest" | "contents" | "evaluation"> | undefined
  readonly calibrations: Array<JudgeCalibrated>
  /** Looks at the test split, in order; one without a report was broken off. */
  readonly tests: Array<TestLook>
  /** What-ifs about its generations, in order of number. Paid is what all askings took, reused what stood before the first. */
  readonly whatIfs: Array<WhatIf>
  /** Branches compared, in the order first compared. Paid is what all comparisons took, reused what stood before the first. */
  readonly comparisons: Array<ComparedBranches>
}

export const initialState = (): RunState => ({
  phase: { _tag: "Unopened" },
  parameters: undefined,
  budget: [],
  expectedCalls: 0,
  undersized: false,
  questions: new Map(),
  trials: openTrials({ runSeed: "", policy: "likely", reader: "", questions: [] }),
  generations: [],
  operations: [],
  history: [],
  steps: [],
  sources: new Map(),
  repeated: 0,
  stepSequence: 0,
  retried: new Map(),
  digest: "",
  recommended: undefined,
  reason: undefined,
  guard: undefined,
  guardVoids: 0,
  guardDraws: new Map(),
  stopped: undefined,
  alarms: [],
  imported: undefined,
  calibrations: [],
  tests: [],
  whatIfs: [],
  comparisons: []
})

const infinite = 1e9
const bounded = (z: number): number => Math.max(-infinite, Math.min(infinite, z))

/** What one state of the trials differs from another in. */
export const patchOf = (before: TrialsState, after: TrialsState): TrialsPatch => {
  const standing = new Map(before.trials.map((trial) => [trial.id, trial]))
  const ids = new Set([...Object.keys(before.incumbent), ...Object.keys(after.incumbent)])
  const incumbent = Object.fromEntries(
    [...ids].filter((id) => before.incumbent[id] !== after.incumbent[id]).sort().map((id) => [id, after.incumbent[id] ?? null])
  )
  return {
    ...(before.principles === after.principles ? {} : { principles: after.principles }),
    trials: after.trials.filter((trial) => standing.get(trial.id) !== trial).map((trial) => ({ ...trial, z: bounded(trial.z) })),
    incumbent,
    ...(before.draws === after.draws ? {} : { draws: after.draws }),
    allowance: after.allowance
  }
}

export const patched = (state: TrialsState, patch: TrialsPatch): TrialsState => {
  const changed = new Map<string, Trial>(patch.trials.map((trial) => [trial.id, trial]))
  const known = new Set(state.trials.map(({ id }) => id))
  const incumbent = { ...state.incumbent }
  for (const [id, tally] of Object.entries(patch.incumbent)) {
    if (tally === null) delete incumbent[id]
    else incumbent[id] = tally
  }
  return {
    ...state,
    principles: patch.principles ?? state.principles,
    trials: [...state.trials.map((trial) => changed.get(trial.id) ?? trial), ...patch.trials.filter(({ id }) => !known.has(id))],
    incumbent,
    draws: patch.draws ?? state.draws,
    allowance: patch.allowance
  }
}

/** Judged attempts of one step with what each was shown. */
export const rolloutsOf = (state: RunState, { attempts, generation, step }: StepRecord): ReadonlyArray<DroppedRollout> => {
  const principles = state.generations.find(({ number }) => number === generation)?.principles ?? []
  return attempts.flatMap(({ dropped, question: id, verdicts }) => {
    const question = state.questions.get(id)
    if (question === undefined) return []
    const { cluster, questionClass } = question
    const routed = principles.filter((principle) => inScope(principle, questionClass))
    // Nothing could be dropped of no principles.
    if (routed.length === 0) return []
    return [...verdicts].flatMap((verdict, sample): ReadonlyArray<DroppedRollout> =>
      verdict === "e" ? [] : [{ step, question: id, cluster, questionClass, correct: verdict === "c", shown: routed.filter(({ id }) => !dropped[sample]?.includes(id)).map(wordingOf) }])
  })
}

/** Trials that spread to other classes keep the place of their operation below a thousand. */
export const sourceKey = (step: number, index: number): string => `${step}/${index % 1000}`

/** Digest over all results so far, with those of one more stage. */
export const chained = (digestSoFar: string, results: string): string => digest(digestSoFar, results).slice(0, 32)

/** Where it stands how often an answer of the guard test was drawn anew. */
export const guardPlace = (generation: number, question: string, sample: number): string => JSON.stringify([generation, question, sample])

/** Where it stands which outcomes of a job no longer count. */
export const retriedPlace = (step: number, kind: string, key: string): string => `${step}/${kind}/${key}`
