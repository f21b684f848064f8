/**
 * Decides without a model what a later statement means for an earlier one of the same user: keep both, let the later supersede the
 * earlier, or merge two wordings of one fact. Doubt keeps both: a kept pair costs a line of evidence, a wrong supersession hides a truth.
 *
 * A few plain rules come first; the rest is a linear model over the features of `reconcile-features.ts`, fitted on the labelled pairs of
 * this project (`data/reconcile-pairs.jsonl`) by `metamem bench reconcile`, which prints how it does on pairs it was not fitted on.
 */
import { coverage, type FeatureName, featureNames, type Features, featuresOf, hasSubject, isOpen, saysChange, statementOf, subjectStays } from "./reconcile-features.ts"

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
const actionConfidenceMin = 0.6

/** Share of the shorter statement's content words that both must have. */
const containedMin = 0.25
/** Share of all content words that two wordings of one fact must have in common. */
const mergeOverlapMin = 0.3
const mergeContainedMin = 0.5

/** Share of the earlier statement's content that a later one must name when it says outright that something changed. */
const statedCoverageMin = 0.6

/** Weight of each feature for keep, supersede and merge, in this order. */
export type ReconcileWeights = Readonly<Record<FeatureName | "bias", readonly [number, number, number]>>

export const reconcileWeights: ReconcileWeights = {
  bias: [0.65, 0.06, -0.71],
  overlap: [-0.16, -0.72, 0.89],
  contained: [-0.75, -0.54, 1.29],
  sameNames: [-0.52, 0.10, 0.42],
  otherNames: [0.31, 0.85, -1.17],
  sameNumbers: [-1.06, -0.49, 1.54],
  otherNumbers: [0.66, 1.04, -1.70],
  newNumbers: [0.52, -0.48, -0.04],
  otherDays: [0.59, 0.40, -0.99],
  polarity: [-0.53, -0.12, 0.65],
  change: [-1.23, 1.90, -0.67],
  changeWithOverlap: [1.04, -0.69, -0.35],
  ended: [0.79, -1.55, 0.77],
  addition: [1.04, -0.66, -0.38],
  exception: [1.08, -0.45, -0.63],
  correction: [-0.54, 0.70, -0.16],
  sameSubject: [0.31, 0.65, -0.96],
  otherSubject: [0.31, -0.20, -0.11],
  prefix: [1.67, -0.80, -0.86],
  suffix: [0.85, -0.05, -0.80],
  stateFrame: [-1.32, 2.21, -0.89],
  openFrame: [1.33, -0.61, -0.72],
  eventFrame: [0.31, -0.26, -0.05],
  bothEvents: [2.24, -1.21, -1.04],
  otherKin: [0.99, 0.11, -1.10],
  reordered: [-0.64, 1.19, -0.56],
  polarityAlone: [0.37, 0.27, -0.63],
  stateValue: [-0.62, -0.14, 0.77],
  changeSameSubject: [-0.23, 0.89, -0.66]
}

/** Probabilities of keep, supersede and merge: softmax of the weighted features. */
const actionProbabilities = (features: Features, weights: ReconcileWeights): readonly [number, number, number] => {
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
  if (features.bothEvents === 0 && features.otherKin === 0 && saysChange(b) && !saysChange(a) && coverage(a, b) >= statedCoverageMin && (!hasSubject(a) || subjectStays(a, b))) {
    return { action: "supersede", reason: "said to have changed" }
  }
  const probabilities = actionProbabilities(features, weights)
  const best = probabilities.indexOf(Math.max(...probabilities))
  const confidence = probabilities[best] as number
  const action = reconcileActions[best] as ReconcileAction
  const reason = `rules, ${action} at ${confidence.toFixed(2)}`
  if (action === "keep" || confidence < actionConfidenceMin) return { action: "keep", reason }
  // Gates that hold whatever the weights say: little in common is no ground for a change, and plans and opinions add up unless one
  // says that another is off.
  if (features.contained < containedMin) return { action: "keep", reason: "too little in common" }
  const isStated = saysChange(b)
  if (action === "supersede" && !isStated && isOpen(a)) return { action: "keep", reason: "wishes, plans and opinions add up" }
  if (action === "supersede" && !isStated && features.stateFrame === 0 && features.polarity === 0 && features.otherNumbers === 0 && !subjectStays(a, b)) {
    return { action: "keep", reason: "no sign of a change" }
  }
  if (action === "merge" && (features.overlap < mergeOverlapMin || features.contained < mergeContainedMin)) return { action: "keep", reason: "too little in common" }
  return action === "merge"
    ? { action, text: a.content.size + a.numbers.size > b.content.size + b.numbers.size ? earlier.text : later.text, reason }
    : { action, reason }
}
