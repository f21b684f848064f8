/**
 * What each principle does, from rollouts that went without some of them by lot. Attempts at one question in one step differ only
 * in what was dropped and in chance, so a regression within them identifies all effects at once.
 */
import type { OperationKind, Principle } from "#shared/domain/principle"
import type { QuestionClass } from "#shared/domain/scope"

/** A principle in the words it was shown in. An update keeps the id, and what was measured of the old words says nothing of the new ones. */
export const wordingOf = ({ id, text }: Pick<Principle, "id" | "text">): string => `${id}\n${text}`

/** One judged rollout; those that ended in an error are left out by the caller. */
export interface DroppedRollout {
  readonly step: number
  readonly question: string
  /** Unit of resampling. */
  readonly cluster: string
  readonly questionClass: QuestionClass
  readonly correct: boolean
  /** Wordings of the principles shown, after dropping. */
  readonly shown: ReadonlyArray<string>
}

export interface PrincipleEffect {
  /** As in `shown`. */
  readonly wording: string
  /** Change of the chance of a right answer when shown, as a share (.05 = 5 points), from -1 to 1. */
  readonly effect: number
  readonly standardError: number
  /** 90 % interval. */
  readonly low: number
  readonly high: number
  /** Rollouts in groups where some had it and some had not. */
  readonly rollouts: number
  /** Steps with such groups. */
  readonly steps: number
}

const z90 = 1.645
/** Of Student's t with one and two degrees of freedom, where the expansion is too rough. */
const t90Few = [6.314, 2.92] as const
/** Half a 90 % interval in standard errors, with `freedom` degrees of freedom, from 1 (Cornish–Fisher expansion). */
const t90 = (freedom: number): number =>
  t90Few[freedom - 1] ?? z90 + (z90 ** 3 + z90) / (4 * freedom) + (5 * z90 ** 5 + 16 * z90 ** 3 + 3 * z90) / (96 * freedom ** 2)
/** Squared deviations from their mean of a right and a wrong attempt. */
const onePair = 0.5

/** Inverse of a symmetric positive matrix by Gauss–Jordan with pivoting; undefined when singular. */
const inverse = (matrix: ReadonlyArray<ReadonlyArray<number>>): Array<Array<number>> | undefined => {
  const n = matrix.length
  const rows = matrix.map((row, i) => [...row, ...Array.from({ length: n }, (_, j) => (i === j ? 1 : 0))])
  for (let column = 0; column < n; column++) {
    let pivot = column
    for (let r = column + 1; r < n; r++) if (Math.abs(rows[r]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = r
    if (Math.abs(rows[pivot]![column]!) < 1e-12) return undefined
    ;[rows[column], rows[pivot]] = [rows[pivot]!, rows[column]!]
    const scale = rows[column]![column]!
    rows[column] = rows[column]!.map((value) => value / scale)
    for (let r = 0; r < n; r++) {
      const factor = rows[r]![column]!
      if (r !== column && factor !== 0) rows[r] = rows[r]!.map((value, c) => value - factor * rows[column]![c]!)
    }
  }
  return rows.map((row) => row.slice(n))
}

/**
 * Effects of all principles that some attempts at a question had and others had not, in order of wording. Least squares on outcomes
 * and shown marks, both less their mean within (step, question); errors clustered (sandwich, CR1). Principles that were always
 * dropped together cannot be told apart and share the effect by a small ridge. A principle that varied in fewer than two clusters has
 * an infinite error, and the interval is as wide as so many clusters need (Student's t). Attempts that all came out alike prove no effect of zero: the error is what it would be had one more pair differed.
 */
export const principleEffects = (rollouts: ReadonlyArray<DroppedRollout>): ReadonlyArray<PrincipleEffect> => {
  const groups = new Map<string, Array<DroppedRollout>>()
  for (const rollout of rollouts) {
    const key = `${rollout.step}\n${rollout.question}`
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [rollout])
    else group.push(rollout)
  }
  const varying = new Map<string, { rollouts: number; steps: Set<number>; clusters: Set<string> }>()
  for (const group of groups.values()) {
    const counts = new Map<string, number>()
    for (const { shown } of group) for (const wording of shown) counts.set(wording, (counts.get(wording) ?? 0) + 1)
    for (const [wording, count] of counts) {
      if (count === group.length) continue
      const seen = varying.get(wording) ?? { rollouts: 0, steps: new Set<number>(), clusters: new Set<string>() }
      seen.rollouts += group.length
      seen.steps.add(group[0]!.step)
      for (const { cluster } of group) seen.clusters.add(cluster)
      varying.set(wording, seen)
    }
  }
  const wordings = [...varying.keys()].sort()
  if (wordings.length === 0) return []
  const rows: Array<{ x: Array<number>; y: number; cluster: string }> = []
  let telling = 0
  for (const group of groups.values()) {
    const marks = group.map(({ shown }) => wordings.map((wording) => (shown.includes(wording) ? 1 : 0)))
    const means = wordings.map((_, j) => marks.reduce((sum, mark) => sum + mark[j]!, 0) / group.length)
    if (means.every((mean) => mean === 0 || mean === 1)) continue
    telling += 1
    const meanY = group.filter(({ correct }) => correct).length / group.length
    group.forEach(({ correct, cluster }, i) => rows.push({ x: marks[i]!.map((mark, j) => mark - means[j]!), y: (correct ? 1 : 0) - meanY, cluster }))
  }
  const k = wordings.length
  const gram = Array.from({ length: k }, () => new Array<number>(k).fill(0))
  const moment = new Array<number>(k).fill(0)
  for (const { x, y } of rows) {
    for (let a = 0; a < k; a++) {
      if (x[a] === 0) continue
      moment[a]! += x[a]! * y
      for (let b = 0; b < k; b++) gram[a]![b]! += x[a]! * x[b]!
    }
  }
  for (let a = 0; a < k; a++) gram[a]![a]! += 1e-6
  const inverted = inverse(gram)
  if (inverted === undefined) return []
  const times = (row: ReadonlyArray<number>, vector: ReadonlyArray<number>): number => row.reduce((sum, value, i) => sum + value * vector[i]!, 0)
  const beta = inverted.map((row) => times(row, moment))
  const scores = new Map<string, Array<number>>()
  for (const { x, y, cluster } of rows) {
    const residual = y - times(x, beta)
    const sum = scores.get(cluster) ?? new Array<number>(k).fill(0)
    for (let a = 0; a < k; a++) sum[a]! += x[a]! * residual
    scores.set(cluster, sum)
  }
  const clusters = scores.size
  // One mean was taken out of each group that tells anything, besides the k effects; groups without rows took none.
  const freedom = Math.max(1, rows.length - telling - k)
  const factor = clusters < 2 ? Infinity : (clusters / (clusters - 1)) * ((rows.length - 1) / freedom)
  return wordings.map((wording, j) => {
    const row = inverted[j]!
    const { clusters: own, rollouts, steps } = varying.get(wording)!
    const variance = [...scores.values()].reduce((sum, score) => sum + times(row, score) ** 2, 0) * factor + (onePair / (freedom + 1)) * row[j]!
    const standardError = own.size < 2 || Number.isNaN(variance) ? Infinity : Math.sqrt(variance)
    const effect = beta[j]!
    const half = own.size < 2 ? Infinity : t90(own.size - 1) * standardError
    // No effect on a chance lies outside -1 … 1.
    const bounded = (bound: number): number => (Number.isFinite(bound) ? Math.max(-1, Math.min(1, bound)) : bound)
    return { wording, effect: bounded(effect), standardError, low: bounded(effect - half), high: bounded(effect + half), rollouts, steps: steps.size }
  })
}

/** Effects within each class of question, for principles that apply to several; classes without dropped principles are absent. */
export const effectsByClass = (rollouts: ReadonlyArray<DroppedRollout>): ReadonlyMap<QuestionClass, ReadonlyArray<PrincipleEffect>> => {
  const byClass = Map.groupBy(rollouts, (rollout) => rollout.questionClass)
  return new Map([...byClass].map(([questionClass, part]) => [questionClass, principleEffects(part)] as const).filter(([, effects]) => effects.length > 0))
}

/** A principle worth less than this is not worth its place in a prompt. */
const worthwhile = 0.01
/** Steps a principle is given before it can be proposed for retirement. */
export const fewestStepsSeen = 7

/** Whether a deletion goes back to the principle's own measured effect: no question suggests it. An imported record names no questions at all. */
export const isRetirement = (kind: OperationKind, sources: ReadonlyArray<string>): boolean => kind === "delete" && sources.length === 0

/** Wordings of principles to propose for deletion: 90 % sure to bring less than a point, after at least seven steps. The gate decides. */
export const retirements = (effects: ReadonlyArray<PrincipleEffect>): ReadonlyArray<string> =>
  effects.filter(({ high, steps }) => high < worthwhile && steps >= fewestStepsSeen).map(({ wording }) => wording)
