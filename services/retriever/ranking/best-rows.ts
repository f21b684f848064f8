/** The rows that score best, found without sorting all of them. */

const bins = 4_096

/**
 * Rows that stand and score as high as the `count`-th best of them or higher, in order: more than `count` only where scores are equal.
 *
 * @param scores finite, by row, also of rows that do not stand
 */
export const bestRows = (scores: Float32Array, standing: Uint8Array, count: number): ReadonlyArray<number> => {
  const size = standing.length
  const sizes = new Uint32Array(bins)
  let least = Infinity
  let greatest = -Infinity
  for (let row = 0; row < size; row++) {
    const score = scores[row] ?? 0
    if (score < least) least = score
    if (score > greatest) greatest = score
  }
  const perBin = greatest > least ? (bins - 1) / (greatest - least) : 0
  let left = 0
  for (let row = 0; row < size; row++) {
    const bin = (((scores[row] ?? 0) - least) * perBin) | 0
    const stands = standing[row] ?? 0
    sizes[bin] = (sizes[bin] ?? 0) + stands
    left += stands
  }
  // Bins are left out from below while enough rows stand above; the rows are few then, and what is too much of the last bin is cut off.
  let lowest = 0
  while (left - (sizes[lowest] ?? 0) >= count) left -= sizes[lowest++] ?? 0
  const rows: Array<number> = []
  for (let row = 0; row < size; row++) if (((((scores[row] ?? 0) - least) * perBin) | 0) >= lowest && standing[row] === 1) rows.push(row)
  const floor = leastOfBest(rows, scores, count)
  return rows.filter((row) => (scores[row] ?? 0) >= floor)
}

/** Score of the `count`-th best of some rows; −∞ where there are not so many. */
export const leastOfBest = (rows: ReadonlyArray<number>, scores: Float32Array, count: number): number => {
  if (rows.length <= count) return -Infinity
  const sorted = new Float32Array(rows.length)
  for (let at = 0; at < rows.length; at++) sorted[at] = scores[rows[at] ?? 0] ?? 0
  return sorted.sort()[sorted.length - count] ?? -Infinity
}
