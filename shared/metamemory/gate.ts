/**
 * The gate: whether a candidate is better than the incumbent on validation questions, one scope at a time. It counts; what to ask
 * next is decided in `trials.ts`.
 */
import type { QuestionClass } from "#shared/domain/scope"
import type { GateCounts } from "./generation.ts"
import { type Difference, meanDifference, type MeanDifference, signFlip } from "./statistics.ts"

/** `likely` is about 80 % sure, `proven` means exact p ≤ .05, `always` is the published system. */
export type GatePolicy = "likely" | "proven" | "always"

/** Standard errors a mean difference must reach under `likely`. */
export const likelyThreshold = 0.84
const provenP = 0.05
/** Most that abstention questions may lose on average by one acceptance. */
const abstentionLoss = 0.05
export const errorShareMax = 0.02
const errorShareDifferenceMax = 0.01

/** A validation question as the gate sees it; the class is the router's. */
export interface GateQuestion {
  readonly id: string
  readonly questionClass: QuestionClass
  readonly cluster: string
  readonly abstention: boolean
  /** Relative weight back to the natural mix; default 1. */
  readonly weight?: number
}

/** Judged samples of one question in one arm. */
export interface Tally {
  readonly correct: number
  readonly incorrect: number
  readonly errors: number
}

export const noTally: Tally = { correct: 0, incorrect: 0, errors: 0 }
export const addTally = (a: Tally, b: Tally): Tally => ({ correct: a.correct + b.correct, incorrect: a.incorrect + b.incorrect, errors: a.errors + b.errors })
export const judged = (tally: Tally): number => tally.correct + tally.incorrect

/** Tallies by question id. */
export type Tallies = Readonly<Record<string, Tally>>

export interface GateInput {
  readonly policy: GatePolicy
  /** Questions in scope of the change. */
  readonly questions: ReadonlyArray<GateQuestion>
  /**
   * Abstention questions of the whole validation set, of which those out of scope count as unchanged; 0 leaves them unguarded. They count
   * alike whatever they weigh: a guard protects what is there.
   */
  readonly abstentionQuestions: number
  readonly incumbent: Tallies
  readonly candidate: Tallies
  /** Names the draws of a Monte-Carlo p. */
  readonly seed: string
}

export interface GateDecision {
  /** `undecided`: better, but not by enough to be sure; `rejected`: not better; `void`: too many errors to tell. */
  readonly decision: "accepted" | "undecided" | "rejected" | "void"
  readonly reason: string
  readonly difference: MeanDifference
  /** mean / standard error; ±Infinity when the error is 0, 0 when both are. */
  readonly z: number
  /** One-sided sign-flip p over clusters; only under `proven`. */
  readonly p?: number
  readonly counts: GateCounts
}

const total = (tallies: Tallies, ids: ReadonlyArray<string>): Tally => ids.reduce((sum, id) => addTally(sum, tallies[id] ?? noTally), noTally)
const errorShare = (tally: Tally): number => tally.errors / Math.max(1, judged(tally) + tally.errors)

/** d of each question that has judged samples in both arms: candidate mean − incumbent mean. */
export const differences = (questions: ReadonlyArray<GateQuestion>, incumbent: Tallies, candidate: Tallies): ReadonlyArray<Difference & { readonly abstention: boolean }> =>
  questions.flatMap(({ id, cluster, weight, abstention }) => {
    const [old, now] = [incumbent[id] ?? noTally, candidate[id] ?? noTally]
    if (judged(old) === 0 || judged(now) === 0) return []
    return [{ value: now.correct / judged(now) - old.correct / judged(old), cluster, abstention, ...(weight !== undefined && { weight }) }]
  })

/** z of a mean difference, without dividing by zero. */
const zOf = ({ mean, standardError }: MeanDifference): number => (standardError > 0 ? (standardError === Infinity ? 0 : mean / standardError) : mean === 0 ? 0 : Math.sign(mean) * Infinity)

/** Cluster sums as whole numbers where all questions have the same numbers of samples and weigh alike, so that the exact test applies. */
const clusterSums = (questions: ReadonlyArray<GateQuestion>, incumbent: Tallies, candidate: Tallies): ReadonlyArray<number> => {
  const sums = new Map<string, number>()
  const usable = questions.filter(({ id }) => judged(incumbent[id] ?? noTally) > 0 && judged(candidate[id] ?? noTally) > 0)
  const sizes = new Set(usable.map(({ id }) => `${judged(incumbent[id]!)}/${judged(candidate[id]!)}`))
  const alike = sizes.size === 1 && usable.every(({ weight }) => (weight ?? 1) === 1)
  for (const { id, cluster, weight = 1 } of usable) {
    const [old, now] = [incumbent[id]!, candidate[id]!]
    const value = alike
      ? now.correct * judged(old) - old.correct * judged(now)
      : weight * (now.correct / judged(now) - old.correct / judged(old))
    sums.set(cluster, (sums.get(cluster) ?? 0) + value)
  }
  return [...sums.values()]
}

/**
 * The decision on one change in one scope. `likely` accepts iff the mean difference is above 0 and at least .84 standard errors,
 * clusters as the unit; `proven` iff the sign-flip p is ≤ .05. Neither accepts what costs the abstention stratum more than 5 points, and
 * both are void when more than 2 % of an arm's samples are errors or the arms differ in that by more than 1 %;
 * what could not be had because its user was erased is in no tally. That nothing speaks against a change is no reason to accept it.
 */
export const decideGate = (input: GateInput): GateDecision => {
  const { policy, questions, incumbent, candidate } = input
  const ids = questions.map(({ id }) => id)
  const [old, now] = [total(incumbent, ids), total(candidate, ids)]
  const found = differences(questions, incumbent, candidate)
  const difference = meanDifference(found)
  const z = zOf(difference)
  const counts: GateCounts = {
    questions: found.length,
    samples: Math.max(0, ...ids.map((id) => judged(candidate[id] ?? noTally))),
    incumbentCorrect: old.correct,
    candidateCorrect: now.correct,
    incumbentErrors: old.errors,
    candidateErrors: now.errors
  }
  const decided = (decision: GateDecision["decision"], reason: string, p?: number): GateDecision => ({ decision, reason, difference, z, counts, ...(p !== undefined && { p }) })

  if (policy === "always") return decided("accepted", "the policy accepts everything")
  const shares = [errorShare(old), errorShare(now)] as const
  if (Math.max(...shares) > errorShareMax) return decided("void", `${(100 * Math.max(...shares)).toFixed(1)} % of an arm's samples are errors`)
  if (Math.abs(shares[0] - shares[1]) > errorShareDifferenceMax) return decided("void", "one arm has more errors than the other")
  if (difference.clusters < 2) return decided("undecided", "too few questions in scope to tell")
  if (difference.mean <= 0) return decided("rejected", "not better than the incumbent")
  const lost = found.filter(({ abstention }) => abstention).reduce((sum, { value }) => sum - value, 0)
  if (input.abstentionQuestions > 0 && lost / input.abstentionQuestions > abstentionLoss) return decided("rejected", "costs abstention questions more than five points")
  if (policy === "likely") {
    return difference.mean >= likelyThreshold * difference.standardError
      ? decided("accepted", "better by at least .84 standard errors")
      : decided("undecided", "better, by less than .84 standard errors")
  }
  const { p } = signFlip(clusterSums(questions, incumbent, candidate), input.seed)
  return p <= provenP ? decided("accepted", "better at p ≤ .05", p) : decided("undecided", "better, at p > .05", p)
}

/** How sure the guard test has to be; accepting everything would be none. */
export type GuardPolicy = Exclude<GatePolicy, "always">

/**
 * The guard test before a run's best generation is recommended: against the empty generation on questions no step and no gate has
 * touched. Anything but a pass means that the empty generation is recommended. Abstention questions count as any other here: they
 * are a handful, and a veto by them was seen to turn down one good generation in ten.
 *
 * Measured in the simulation that `trials.ts` describes, on 100 guard questions, two sets of 120 seeds a kind. In the null world, where all that is
 * learnt is chance, `likely` let 20 % pass at 3 samples a question and arm and 13 % at 9 (1.7 % more than a point below the start with either), `proven`
 * 2.5 % at 9 (none by more than a point). In the friendly, hostile and shifted worlds `proven` turned down 2 of 720 good lists at 9 samples, and 4 %, 1 %
 * and 2 % at 3. It costs power where little was learnt: of lists worth 1 to 3 points it lets half pass (`likely` 80 %), of 3 to 6 points 82 % (97 %).
 * Nine samples are about 1,500 answers, of 17,000 in the run.
 */
export const guardTest = (policy: GuardPolicy, questions: ReadonlyArray<GateQuestion>, empty: Tallies, best: Tallies): GateDecision =>
  decideGate({
    policy,
    questions,
    abstentionQuestions: 0,
    incumbent: empty,
    candidate: best,
    seed: "guard"
  })

export interface Reliability {
  /** Share of the variance of single verdicts that lies between questions, at least 0. */
  readonly intraclass: number
  /** Standard deviations by which questions differ more than chance alone would make them. */
  readonly z: number
  readonly reliable: boolean
}

/** Standard deviations below which verdicts are taken for noise. */
const reliableZ = 2.33

/**
 * Whether verdicts carry information at all: repeated samples of one question agree more with each other than with those of other
 * questions. A judge that tosses a coin fails this, and so does one that always says the same; nothing may be accepted on their
 * word. Homogeneity test of shares in its normal form. Source: Fleiss, Statistical Methods for Rates and Proportions, ch. 9.
 */
export const verdictReliability = (tallies: Tallies): Reliability => {
  const used = Object.values(tallies).filter((tally) => judged(tally) >= 2)
  const all = used.reduce(addTally, noTally)
  const n = judged(all)
  const share = n === 0 ? 0 : all.correct / n
  if (used.length < 2 || share === 0 || share === 1) return { intraclass: 0, z: 0, reliable: false }
  const chi = used.reduce((sum, tally) => sum + (judged(tally) * (tally.correct / judged(tally) - share) ** 2) / (share * (1 - share)), 0)
  const freedom = used.length - 1
  const samples = n / used.length
  const z = (chi - freedom) / Math.sqrt(2 * freedom)
  return { intraclass: Math.max(0, (chi / freedom - 1) / (samples - 1)), z, reliable: z >= reliableZ }
}
