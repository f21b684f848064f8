/** The rows that score best, found without sorting all of them. */

/** Rows from one that is sampled to the next: a prime, so that no order of rows, as of speakers in turn, is met by it. */
const sampledEvery = 61
/** How many times the rows wanted are looked for from a floor that a sample told; it is lowered where it left too few. */
const margin = 2

/** A score that about `count` rows reach, by every 61st; −∞ where those are too few to tell. */
const floorBySample = (scores: Float32Array, standing: Uint8Array, count: number): number => {
  const sample: Array<number> = []
  for (let row = 0; row < standing.length; row += sampledEvery) if (standing[row] === 1) sample.push(row)
  return leastOfBest(sample, scores, Math.ceil(count / sampledEvery))
}

/**
 * Rows that stand and score as high as the `count`-th best of them or higher, in order: more than `count` only where scores are equal.
 *
 * @param scores finite, by row, also of rows that do not stand
 */
export const bestRows = (scores: Float32Array, standing: Uint8Array, count: number): ReadonlyArray<number> => {
  for (let wanted = count * margin;; wanted *= margin) {
    const least = wanted < standing.length ? floorBySample(scores, standing, wanted) : -Infinity
    const rows: Array<number> = []
    for (let row = 0; row < standing.length; row++) if ((scores[row] ?? 0) >= least && standing[row] === 1) rows.push(row)
    if (rows.length < count && least > -Infinity) continue
    const floor = leastOfBest(rows, scores, count)
    return floor === -Infinity ? rows : rows.filter((row) => (scores[row] ?? 0) >= floor)
  }
}

/** Score of the `count`-th best of some rows; −∞ where there are not so many. */
export const leastOfBest = (rows: ReadonlyArray<number>, scores: Float32Array, count: number): number => {
  if (rows.length <= count) return -Infinity
  const sorted = new Float32Array(rows.length)
  for (let at = 0; at < rows.length; at++) sorted[at] = scores[rows[at] ?? 0] ?? 0
  return sorted.sort()[sorted.length - count] ?? -Infinity
}
