/**
 * The statistics that gates, evaluations and reports share. The unit of sampling is the cluster: questions of one cluster share a
 * user or evidence and do not count as independent.
 */
import { stream } from "./random.ts"

/** One paired difference (candidate minus incumbent) of one question. */
export interface Difference {
  readonly value: number
  readonly cluster: string
  /** Relative weight, e.g. back to the natural mix of types; default 1. */
  readonly weight?: number
}

export interface MeanDifference {
  readonly mean: number
  /** Clustered standard error; 0 when all differences are equal, Infinity with fewer than two clusters. */
  readonly standardError: number
  readonly questions: number
  readonly clusters: number
}

/** Weighted mean and its clustered standard error (linearised ratio estimator, with the small-sample factor G / (G − 1)). */
export const meanDifference = (differences: ReadonlyArray<Difference>): MeanDifference => {
  const total = differences.reduce((sum, d) => sum + (d.weight ?? 1), 0)
  if (total === 0) return { mean: 0, standardError: Infinity, questions: 0, clusters: 0 }
  const mean = differences.reduce((sum, d) => sum + (d.weight ?? 1) * d.value, 0) / total
  const residuals = new Map<string, number>()
  for (const d of differences) residuals.set(d.cluster, (residuals.get(d.cluster) ?? 0) + (d.weight ?? 1) * (d.value - mean))
  const clusters = residuals.size
  const squares = [...residuals.values()].reduce((sum, r) => sum + r * r, 0)
  const standardError = clusters < 2 ? Infinity : Math.sqrt((clusters / (clusters - 1)) * squares) / total
  return { mean, standardError, questions: differences.length, clusters }
}

export interface SignFlip {
  /** One-sided: the chance of a sum at least as large when each cluster's sign is a coin. */
  readonly p: number
  readonly method: "exact" | "monte-carlo"
  readonly draws: number
}

/** Draws of the Monte-Carlo form; its standard error at p = .05 is .0015. */
const signFlipDraws = 20_000

/**
 * Sign-flip test of cluster sums against "no better". Whole-number sums (correct answers gained or lost, at equal numbers of samples)
 * are tested exactly for any n by convolution; others exactly up to 16 clusters that differ from 0, above that by seeded draws.
 * Source: Fisher 1935, randomisation test.
 */
export const signFlip = (sums: ReadonlyArray<number>, seed: string): SignFlip => {
  const moved = sums.filter((sum) => sum !== 0).map(Math.abs)
  const observed = sums.reduce((a, b) => a + b, 0)
  if (moved.length === 0) return { p: 1, method: "exact", draws: 0 }
  const span = moved.reduce((a, b) => a + b, 0)
  if (moved.every(Number.isInteger) && span <= 100_000) {
    let chances = new Float64Array(2 * span + 1)
    chances[span] = 1
    for (const size of moved) {
      const next = new Float64Array(2 * span + 1)
      for (let i = 0; i < chances.length; i++) {
        const chance = chances[i]!
        if (chance === 0) continue
        next[i + size]! += chance / 2
        next[i - size]! += chance / 2
      }
      chances = next
    }
    let p = 0
    for (let i = span + observed; i < chances.length; i++) p += chances[i]!
    return { p: Math.min(1, p), method: "exact", draws: 0 }
  }
  const tolerance = 1e-9 * span
  if (moved.length <= 16) {
    let hits = 0
    for (let mask = 0; mask < 2 ** moved.length; mask++) {
      const sum = moved.reduce((s, size, i) => s + (mask & (1 << i) ? size : -size), 0)
      if (sum >= observed - tolerance) hits++
    }
    return { p: hits / 2 ** moved.length, method: "exact", draws: 0 }
  }
  const next = stream("sign-flip", seed)
  let hits = 1
  for (let draw = 0; draw < signFlipDraws; draw++) {
    let sum = 0
    for (const size of moved) sum += next() < 0.5 ? size : -size
    if (sum >= observed - tolerance) hits++
  }
  return { p: hits / (signFlipDraws + 1), method: "monte-carlo", draws: signFlipDraws }
}

export interface Interval {
  readonly low: number
  readonly high: number
}

/** Wilson's score interval of a share. @param z 1.96 for 95 %, 1.645 for 90 % */
export const wilson = (hits: number, n: number, z = 1.96): Interval => {
  if (n === 0) return { low: 0, high: 1 }
  const share = hits / n
  const centre = (share + (z * z) / (2 * n)) / (1 + (z * z) / n)
  const half = (z * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n))) / (1 + (z * z) / n)
  return { low: Math.max(0, centre - half), high: Math.min(1, centre + half) }
}

/** Percentile interval of a weighted mean over resampled clusters. @param level e.g. .95 */
export const clusterBootstrap = (values: ReadonlyArray<Difference>, seed: string, level = 0.95, draws = 2000): Interval => {
  if (values.length === 0) return { low: 0, high: 1 }
  const sums = new Map<string, { value: number; weight: number }>()
  for (const v of values) {
    const sum = sums.get(v.cluster) ?? { value: 0, weight: 0 }
    sum.value += v.value * (v.weight ?? 1)
    sum.weight += v.weight ?? 1
    sums.set(v.cluster, sum)
  }
  const clusters = [...sums.values()]
  const next = stream("bootstrap", seed)
  const means = Float64Array.from({ length: draws }, () => {
    let value = 0
    let weight = 0
    for (let i = 0; i < clusters.length; i++) {
      const cluster = clusters[Math.floor(next() * clusters.length)]!
      value += cluster.value
      weight += cluster.weight
    }
    return value / weight
  }).sort()
  const at = (q: number): number => means[Math.min(draws - 1, Math.max(0, Math.round(q * (draws - 1))))]!
  return { low: at((1 - level) / 2), high: at((1 + level) / 2) }
}

/** 95 % interval of a share over resampled clusters: all there is with fewer than two of them, since one tells nothing of others. */
export const shareInterval = (values: ReadonlyArray<Difference>, seed: string): readonly [number, number] => {
  if (new Set(values.map(({ cluster }) => cluster)).size < 2) return [0, 1]
  const { high, low } = clusterBootstrap(values, seed)
  return [low, high]
}

/** Weights that bring questions drawn by type back to the natural mix; they average 1. Types missing from the mix weigh 0. */
export const mixWeights = (types: ReadonlyArray<string>, natural: ReadonlyMap<string, number>): ReadonlyArray<number> => {
  const seen = new Map<string, number>()
  for (const type of types) seen.set(type, (seen.get(type) ?? 0) + 1)
  const present = [...seen.keys()].reduce((sum, type) => sum + (natural.get(type) ?? 0), 0)
  if (present === 0) return types.map(() => 1)
  return types.map((type) => ((natural.get(type) ?? 0) / present) * (types.length / seen.get(type)!))
}

/** z of one-sided 80 % power. */
const powerZ = 0.8416

export interface Detectable {
  readonly questions: number
  readonly samples: number
  /** Variance of one sampled answer to a fixed question, mean over questions; .12 until measured. */
  readonly answerVariance?: number
  /** Variance between questions of the effect itself; .02 until measured. */
  readonly effectVariance?: number
  /** Standard errors the gate asks for: .84 `likely`, 1.645 `proven`. */
  readonly threshold: number
}

/** Smallest true difference (a share, .05 = 5 points) that passes with 80 % power when both arms have k samples on the same n questions. */
export const minimalDetectableEffect = (input: Detectable): number => {
  const { questions, samples, answerVariance = 0.12, effectVariance = 0.02, threshold } = input
  if (questions < 1 || samples < 1) return Infinity
  return (threshold + powerZ) * Math.sqrt(((2 * answerVariance) / samples + effectVariance) / questions)
}

/** Cohen's kappa of two raters' yes/no labels in the same order; 1 when both always agree, 0 at chance. @throws RangeError on unequal lengths */
export const kappa = (a: ReadonlyArray<boolean>, b: ReadonlyArray<boolean>): number => {
  if (a.length !== b.length) throw new RangeError(`${a.length} and ${b.length} labels cannot be paired`)
  if (a.length === 0) return 0
  const share = (labels: ReadonlyArray<boolean>): number => labels.filter(Boolean).length / labels.length
  const agreed = a.filter((label, i) => label === b[i]).length / a.length
  const [yesA, yesB] = [share(a), share(b)]
  const byChance = yesA * yesB + (1 - yesA) * (1 - yesB)
  return byChance === 1 ? 1 : (agreed - byChance) / (1 - byChance)
}

export interface JudgeQuality {
  /** Share of truly right answers judged right. */
  readonly sensitivity: number
  /** Share of truly wrong answers judged wrong. */
  readonly specificity: number
}

/** True share estimated from a raw one; below 0 or above 1 where chance had it so, which shares put together keep. Undefined when the judge is no better than a coin. Source: Rogan & Gladen 1978. */
export const corrected = (raw: number, quality: JudgeQuality): number | undefined => {
  const power = quality.sensitivity + quality.specificity - 1
  return power <= 0 ? undefined : (raw + quality.specificity - 1) / power
}
