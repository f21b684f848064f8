/**
 * What the gate's trials are made of: their state, their bounds, and what can be read from it. How trials are put up, planned and
 * settled stands in `trials.ts`.
 */
import type { Operation, Principle } from "#shared/domain/principle"
import type { PrincipleScope } from "#shared/domain/scope"
import { addTally, type GatePolicy, type GateQuestion, judged, likelyThreshold, noTally, type Tallies, type Tally } from "./gate.ts"
import type { LedgerEntry } from "./ledger.ts"
import { digest } from "./random.ts"
import { inScope } from "./router.ts"

/**
 * The looks at one trial: samples a question each adds to the candidate's arm, and the z at which the trial stops. The last look
 * decides by the gate's own rule (.84 standard errors, or p ≤ .05 under `proven`, where no look before it may accept).
 * The chances of a false stop add up to less than one plain look gives: on 20 questions whose principle does nothing, .19 are accepted
 * (one look at three samples: .20); of those that help by 1.3 logits .93 (.79); of those that harm by .45 logits .03 (.05). 6,000 trials
 * simulated; candidates cost 4.7 samples a question on average.
 */
export const looks = [
  { samples: 2, rejectBelow: -0.3, acceptFrom: 2 },
  { samples: 3, rejectBelow: 0.3, acceptFrom: 1.6 },
  { samples: 4, rejectBelow: likelyThreshold, acceptFrom: likelyThreshold }
] as const

/** Samples of the incumbent that a trial is compared with, the same as a candidate has in the end; kept until the scope's list changes. */
export const incumbentSamples = 9

/** Answers a step may spend, per validation question: 450 at 120 questions. What a step leaves is kept for the next one. */
export const answersPerQuestion = 3.75

/** Validation questions below which the allowance counts candidates' answers alone. */
export const fewQuestions = 40

/** Fewest validation questions of a class; below, its operations are tried on all questions, as scope `all`. */
export const fewestQuestions = 3

/** Times a trial is opened again after another acceptance in its scope, since some principles only help beside others. */
export const reopenings = 2

/** Times a look may be void before the trial is given up. */
export const voidsMax = 2

export interface Trial {
  /** Id of the operation. */
  readonly id: string
  readonly step: number
  /** Place within the step. */
  readonly index: number
  readonly operation: Operation
  /** Where it is tried, and where it will hold. */
  readonly scope: PrincipleScope
  /** True when it was proposed for all questions and is tried class by class. */
  readonly spreading: boolean
  readonly state: "open" | "accepted" | "undecided" | "rejected" | "void" | "obsolete"
  /** Looks taken in this opening. */
  readonly looks: number
  readonly reopened: number
  readonly voids: number
  /** Samples of the candidate in this opening, by question. */
  readonly candidate: Tallies
  /** Fingerprint of the principles it was compared with. */
  readonly base: string
  /** z at the last look. */
  readonly z: number
}

export interface TrialsState {
  readonly runSeed: string
  readonly policy: GatePolicy
  readonly reader: string
  readonly questions: ReadonlyArray<GateQuestion>
  readonly principles: ReadonlyArray<Principle>
  /** Number of the generation the principles form. */
  readonly generation: number
  /** Samples of the incumbent by question, since the question's scope last changed. */
  readonly incumbent: Tallies
  /** How often each class was drawn anew. */
  readonly draws: Readonly<Record<string, number>>
  /** In order of opening. */
  readonly trials: ReadonlyArray<Trial>
  /** Answers left to spend. */
  readonly allowance: number
  readonly maxInScope: number
  /** What this reader was found not helped by before the first trial. */
  readonly earlier: ReadonlyArray<LedgerEntry>
}

export interface TrialsOptions {
  readonly runSeed: string
  readonly policy: GatePolicy
  /** Identity of the reader; what failed with another is tried again. */
  readonly reader: string
  readonly questions: ReadonlyArray<GateQuestion>
  readonly maxInScope?: number
  /** Ledger taken over from runs before this one; entries of other readers are left out, and all where everything is accepted. */
  readonly earlier?: ReadonlyArray<LedgerEntry>
}

/** Most principles a question is shown. */
export const shownMax = 12

export const openTrials = (options: TrialsOptions): TrialsState => ({
  runSeed: options.runSeed,
  policy: options.policy,
  reader: options.reader,
  questions: options.questions,
  principles: [],
  generation: 0,
  incumbent: {},
  draws: {},
  trials: [],
  allowance: 0,
  maxInScope: options.maxInScope ?? shownMax,
  earlier: options.policy === "always" ? [] : (options.earlier ?? []).filter(({ reader }) => reader === options.reader)
})

/** Questions a scope bears on. */
export const questionsOf = (state: TrialsState, scope: PrincipleScope): ReadonlyArray<GateQuestion> =>
  state.questions.filter(({ questionClass }) => inScope({ scope }, questionClass))

/** The principles that questions of a scope are shown, in one short string. */
export const fingerprint = (principles: ReadonlyArray<Principle>, scope: PrincipleScope): string => {
  const whole = scope === "all" || scope === "not-known"
  const shown = principles.filter((p) => whole || inScope(p, scope))
  return digest(JSON.stringify(shown.map(({ id, text, scope: of }) => [id, text, of]))).slice(0, 16)
}

/** The text a trial is about: the one proposed, or the one that would go. */
export const textOf = (state: TrialsState, trial: Pick<Trial, "operation">): string =>
  trial.operation.operation === "delete" ? (state.principles.find((p) => p.id === trial.operation.id)?.text ?? "") : (trial.operation.content ?? "")

/** Samples to ask of one question: numbers `from` (inclusive) to `to` (exclusive) of the current draw. */
export interface Ask {
  readonly question: string
  readonly from: number
  readonly to: number
  readonly draw: number
}

/** Samples asked so far, errors included. */
export const asked = (tally: Tally | undefined): number => (tally === undefined ? 0 : judged(tally) + tally.errors)

/** Tallies with more samples added. */
export const added = (tallies: Tallies, more: Tallies): Tallies => ({ ...tallies, ...Object.fromEntries(Object.entries(more).map(([id, tally]) => [id, addTally(tallies[id] ?? noTally, tally)])) })

/** Takes the number of the generation just sealed, so that principles accepted later name the right one. */
export const sealed = (state: TrialsState, generation: number): TrialsState => ({ ...state, generation })

/** The ledger the trials amount to: what was taken over, then what is closed and not in force. */
export const trialLedger = (state: TrialsState): ReadonlyArray<LedgerEntry> => [
  ...state.earlier,
  ...state.trials.flatMap((trial): ReadonlyArray<LedgerEntry> =>
    trial.state === "rejected" || trial.state === "undecided"
      ? [{ id: trial.id, step: trial.step, operation: trial.operation.operation, scope: trial.scope, text: textOf(state, trial), ...(trial.operation.ids === undefined ? {} : { ids: trial.operation.ids }), outcome: trial.state, reader: state.reader }]
      : []
  )
]
