/**
 * BM25 over one user's memories of one kind. Statistics (how many memories hold a term, how long they are) are taken from the rows
 * that stand under the query's filter, so neither another user's writing nor a later one changes a score.
 * Source: Robertson & Zaragoza 2009, k1 and b as measured on conversations.
 */
import { terms } from "./words.ts"

const k1 = 1.2
const b = 0.75

/** Rows that hold one term and how often, in the order added. */
interface Postings {
  rows: Uint32Array
  counts: Uint16Array
  length: number
}

export class WordIndex {
  readonly #postings = new Map<string, Postings>()
  /** Terms in each row. */
  #lengths = new Uint32Array(64)

  /** Adds a row's text; rows are numbered from 0 and each is added once. */
  add(row: number, text: string): void {
    const counts = new Map<string, number>()
    const found = terms(text)
    for (const term of found) counts.set(term, (counts.get(term) ?? 0) + 1)
    if (row >= this.#lengths.length) {
      const grown = new Uint32Array(Math.max(row + 1, this.#lengths.length * 2))
      grown.set(this.#lengths)
      this.#lengths = grown
    }
    this.#lengths[row] = found.length
    for (const [term, count] of counts) {
      let postings = this.#postings.get(term)
      if (postings === undefined) {
        postings = { rows: new Uint32Array(2), counts: new Uint16Array(2), length: 0 }
        this.#postings.set(term, postings)
      }
      if (postings.length === postings.rows.length) {
        const rows = new Uint32Array(postings.length * 2)
        const grown = new Uint16Array(postings.length * 2)
        rows.set(postings.rows)
        grown.set(postings.counts)
        postings.rows = rows
        postings.counts = grown
      }
      postings.rows[postings.length] = row
      postings.counts[postings.length] = Math.min(count, 65_535)
      postings.length += 1
    }
  }

  /**
   * BM25 scores of all rows for weighted query terms; 0 where nothing matches or the row does not stand.
   *
   * @param standing 1 for each row that counts, length ≥ size
   * @param size     number of rows
   */
  scores(query: ReadonlyMap<string, number>, standing: Uint8Array, size: number): Float32Array {
    const scores = new Float32Array(size)
    let total = 0
    let standingCount = 0
    for (let row = 0; row < size; row++) {
      if (standing[row] === 1) {
        total += this.#lengths[row] ?? 0
        standingCount += 1
      }
    }
    if (total === 0) return scores
    const meanLength = total / standingCount
    for (const [term, weight] of query) {
      const postings = this.#postings.get(term)
      if (postings === undefined) continue
      const { counts, length, rows } = postings
      let holding = 0
      for (let at = 0; at < length; at++) holding += standing[rows[at] ?? 0] ?? 0
      if (holding === 0) continue
      const idf = Math.log(1 + (standingCount - holding + 0.5) / (holding + 0.5))
      for (let at = 0; at < length; at++) {
        const row = rows[at] ?? 0
        if (standing[row] !== 1) continue
        const count = counts[at] ?? 0
        const norm = 1 - b + (b * (this.#lengths[row] ?? 0)) / meanLength
        scores[row] = (scores[row] ?? 0) + (weight * idf * count * (k1 + 1)) / (count + k1 * norm)
      }
    }
    return scores
  }
}

/** Query terms with how often each is asked. */
export const queryTerms = (text: string): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const term of terms(text)) counts.set(term, (counts.get(term) ?? 0) + 1)
  return counts
}
