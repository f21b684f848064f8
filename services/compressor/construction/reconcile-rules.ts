/**
 * Decides without a model what a later statement means for an earlier one of the same user: keep both, let the later supersede the
 * earlier, or merge two wordings of one fact. Doubt keeps both: a kept pair costs a line of evidence, a wrong supersession hides a truth.
 *
 * A few plain rules come first; the rest is a linear model over the features of `reconcile-features.ts`, fitted on the labelled pairs of
 * this project (`data/reconcile-pairs.jsonl`) by `metamem bench reconcile`, which prints how it does on pairs it was not fitted on.
 */
import { type Features, featureNames, featuresOf, type FeatureName, statementOf } from "./reconcile-features.ts"

/** Recorded with every decision; changes whenever a rule, a feature or a weight does. */
export const reconcileTemplate = "reconcile-rules/1"

export const reconcileActions = ["keep", "supersede", "merge"] as const
export type ReconcileAction = (typeof reconcileActions)[number]

export interface ReconcileStatement {
  readonly text: string
  /** When it was said. */
  readonly time: string
  readonly speaker?: string
  /** Date or interval it speaks of, where known. */
  readonly meant?: string
}

export interface ReconcileDecision {
  readonly action: ReconcileAction
  /** Wording that stays when two are merged: the fuller one, the later of equals. */
  readonly text?: string
  /** Which rule decided, or the model's confidence; goes into the event. */
  readonly reason: string
}

/** Confidence from which a pair is touched at all. */
export const actionConfidenceMin = 0.6

/** Weight of each feature for keep, supersede and merge, in this order. */
export type ReconcileWeights = Readonly<Record<FeatureName | "bias", readonly [number, number, number]>>

export const reconcileWeights: ReconcileWeights = {
  bias: [0.63, -0.07, -0.55],
  overlap: [-0.17, -0.46, 0.64],
  contained: [-0.68, -0.61, 1.29],
  sameNames: [-0.46, 0.08, 0.39],
  otherNames: [0.25, 0.96, -1.21],
  sameNumbers: [-1.07, -0.39, 1.47],
  otherNumbers: [0.56, 1.19, -1.74],
  newNumbers: [0.48, -0.40, -0.08],
  otherDays: [0.55, 0.53, -1.08],
  polarity: [-0.46, -0.10, 0.56],
  change: [-1.08, 1.76, -0.68],
  changeWithOverlap: [0.70, -0.47, -0.24],
  ended: [0.76, -1.49, 0.73],
  addition: [1.13, -0.79, -0.34],
  exception: [1.04, -0.36, -0.68],
  correction: [-0.56, 0.64, -0.08],
  sameSubject: [0.37, 0.62, -0.99],
  otherSubject: [0.34, -0.35, 0.00],
  prefix: [1.68, -0.78, -0.90],
  suffix: [0.85, 0.01, -0.86],
  stateFrame: [-1.33, 2.20, -0.86],
  openFrame: [1.22, -0.55, -0.67],
  eventFrame: [0.29, -0.24, -0.05],
  bothEvents: [2.17, -1.14, -1.02],
  otherKin: [1.06, 0.06, -1.12],
  reordered: [-0.60, 1.11, -0.51],
  longer: [-0.56, 1.51, -0.95],
  polarityAlone: [-0.33, 0.64, -0.31],
  stateValue: [-0.65, -0.17, 0.81],
  changeSameSubject: [-0.12, 0.69, -0.56]
}

/** Probabilities of keep, supersede and merge: softmax of the weighted features. */
export const actionProbabilities = (features: Features, weights: ReconcileWeights): readonly [number, number, number] => {
  const scores = [0, 1, 2].map((action) =>
    featureNames.reduce((sum, name) => sum + features[name] * (weights[name][action] as number), weights.bias[action] as number))
  const top = Math.max(...scores)
  const powers = scores.map((score) => Math.exp(score - top))
  const total = powers.reduce((a, b) => a + b, 0)
  return powers.map((power) => power / total) as unknown as readonly [number, number, number]
}

const normal = (text: string): string => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim()
const hasEnds = (meant: string): readonly [string, string] => {
  const [from = "", to = from] = meant.split("/")
  return [from, to]
}
const isApart = (a: string, b: string): boolean => {
  const [from, to] = hasEnds(a)
  const [start, end] = hasEnds(b)
  return to < start || end < from
}
/** Two days: the same thing is often said twice about one occasion within them. */
const occasionMs = 2 * 86_400_000

/**
 * Decides one pair. `earlier` must be older than `later`; the same pair always gives the same decision.
 *
 * @param cosine of the two vectors where there are any; far-apart texts are kept without looking further
 */
export const decideReconcile = (
  earlier: ReconcileStatement,
  later: ReconcileStatement,
  cosine?: number,
  weights: ReconcileWeights = reconcileWeights
): ReconcileDecision => {
  if (earlier.speaker !== undefined && later.speaker !== undefined && earlier.speaker !== later.speaker) return { action: "keep", reason: "different speakers" }
  const a = statementOf(earlier.text)
  const b = statementOf(later.text)
  const features = featuresOf(a, b)
  if (normal(earlier.text) === normal(later.text)) {
    const isAgain = features.bothEvents === 1 && Date.parse(later.time) - Date.parse(earlier.time) > occasionMs
    return isAgain ? { action: "keep", reason: "the same words about two occasions" } : { action: "merge", text: later.text, reason: "the same words" }
  }
  if (features.bothEvents === 1 && earlier.meant !== undefined && later.meant !== undefined && isApart(earlier.meant, later.meant)) {
    return { action: "keep", reason: "two occasions" }
  }
  if (features.overlap === 0 && cosine !== undefined && cosine < 0.4) return { action: "keep", reason: "nothing in common" }
  const probabilities = actionProbabilities(features, weights)
  const best = probabilities.indexOf(Math.max(...probabilities))
  const confidence = probabilities[best] as number
  const action = reconcileActions[best] as ReconcileAction
  const reason = `rules, ${action} at ${confidence.toFixed(2)}`
  if (action === "keep" || confidence < actionConfidenceMin) return { action: "keep", reason }
  return action === "merge"
    ? { action, text: a.content.size + a.numbers.size > b.content.size + b.numbers.size ? earlier.text : later.text, reason }
    : { action, reason }
}
