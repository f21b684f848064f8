/**
 * BM25 over one user's memories of one kind. Statistics (how many memories hold a term, how long they are) are taken from the rows
 * that stand under the query's filter, so neither another user's writing nor a later one changes a score.
 * Source: Robertson & Zaragoza 2009, k1 and b as measured on conversations.
 *
 * What a row holds is first noted at the end of one list, which costs nothing but the row's words; a search over a long list sorts
 * it by term first, so that loading a user sorts once.
 */
import { grown, joined } from "./columns.ts"
import { WordNumbers } from "./word-numbers.ts"
import { termOf, terms } from "./words.ts"

const k1 = 1.2
const b = 0.75

/** Entries noted that are searched as they are: so many, and a part of those sorted. */
const notedMax = 4_096
const notedShare = 1 / 32

/** About what a term takes with its entry in a map. */
const termBytes = 80

/** How many rows stand, and the terms in all of them. */
export interface Standing {
  /** 1 for each row that counts, length ≥ rows. */
  readonly rows: Uint8Array
  readonly count: number
  readonly terms: number
}

export class WordIndex {
  readonly #numbers = new Map<string, number>()
  /** Number of a word's term by the word as it was written; -1 for words that are not indexed. */
  readonly #words = new WordNumbers((word) => {
    const term = termOf(word)
    if (term === undefined) return -1
    const number = this.#numbers.get(term) ?? this.#numbers.size
    this.#numbers.set(term, number)
    return number
  })
  /** Terms in each row. */
  #lengths = new Uint32Array(64)
  #size = 0
  #scores = new Float32Array(0)

  /** Entries sorted by term, then row: those of term n stand from `#starts[n]` to `#starts[n + 1]`. */
  #starts = new Uint32Array(1)
  #sortedRows = new Uint32Array(0)
  #sortedCounts = new Uint16Array(0)
  /** Terms that had numbers when entries were sorted last. */
  #sortedTerms = 0

  /** Entries not yet sorted, in the order of rows. */
  #noted = 0
  #notedRows = new Uint32Array(256)
  #notedNumbers = new Uint32Array(256)
  #notedCounts = new Uint16Array(256)

  /** For the row being added: how often each term was found, and which were. Zeros between rows. */
  #found = new Uint32Array(256)
  #foundNumbers = new Uint32Array(256)

  /** Bytes of the numbers kept, and about those of the terms. */
  get bytes(): number {
    const columns = [this.#lengths, this.#scores, this.#starts, this.#sortedRows, this.#sortedCounts, this.#notedRows, this.#notedNumbers, this.#notedCounts, this.#found, this.#foundNumbers]
    return columns.reduce((sum, { byteLength }) => sum + byteLength, this.#words.bytes + this.#numbers.size * termBytes)
  }

  /** Adds the next row's text: rows are numbered from 0 in the order added. @returns its words, those included that are not indexed */
  add(text: string): number {
    let length = 0
    let distinct = 0
    let found = this.#found
    let foundNumbers = this.#foundNumbers
    const numbers = this.#words.of(text)
    for (let at = 0; at < numbers.length; at++) {
      const number = numbers[at] ?? -1
      if (number < 0) continue
      if (number >= found.length) found = this.#found = grown(found, number + 1)
      length += 1
      const times = found[number] ?? 0
      if (times === 0) {
        if (distinct === foundNumbers.length) foundNumbers = this.#foundNumbers = grown(foundNumbers, distinct + 1)
        foundNumbers[distinct++] = number
      }
      found[number] = times + 1
    }
    if (this.#noted + distinct > this.#notedRows.length) {
      this.#notedRows = grown(this.#notedRows, this.#noted + distinct)
      this.#notedNumbers = grown(this.#notedNumbers, this.#noted + distinct)
      this.#notedCounts = grown(this.#notedCounts, this.#noted + distinct)
    }
    for (let n = 0, at = this.#noted; n < distinct; n++, at++) {
      const number = foundNumbers[n] ?? 0
      this.#notedRows[at] = this.#size
      this.#notedNumbers[at] = number
      this.#notedCounts[at] = Math.min(found[number] ?? 0, 65_535)
      found[number] = 0
    }
    this.#noted += distinct
    if (this.#size === this.#lengths.length) this.#lengths = grown(this.#lengths, this.#size + 1)
    this.#lengths[this.#size++] = length
    return numbers.length
  }

  /** Puts the entries noted behind those of their terms. Rows only grow, so each term's stay in order. */
  #sort(): void {
    const termCount = this.#numbers.size
    const { length } = this.#sortedRows
    const starts = new Uint32Array(termCount + 1)
    for (let at = 0; at < this.#noted; at++) {
      const next = (this.#notedNumbers[at] ?? 0) + 1
      starts[next] = (starts[next] ?? 0) + 1
    }
    for (let n = 0; n < termCount; n++) {
      const before = n < this.#sortedTerms ? (this.#starts[n + 1] ?? 0) - (this.#starts[n] ?? 0) : 0
      starts[n + 1] = (starts[n + 1] ?? 0) + (starts[n] ?? 0) + before
    }
    const rows = new Uint32Array(length + this.#noted)
    const counts = new Uint16Array(length + this.#noted)
    const ends = starts.slice()
    for (let n = 0; n < this.#sortedTerms; n++) {
      const from = this.#starts[n] ?? 0
      const to = this.#starts[n + 1] ?? 0
      const start = starts[n] ?? 0
      rows.set(this.#sortedRows.subarray(from, to), start)
      counts.set(this.#sortedCounts.subarray(from, to), start)
      ends[n] = start + to - from
    }
    for (let at = 0; at < this.#noted; at++) {
      const number = this.#notedNumbers[at] ?? 0
      const end = ends[number] ?? 0
      rows[end] = this.#notedRows[at] ?? 0
      counts[end] = this.#notedCounts[at] ?? 0
      ends[number] = end + 1
    }
    this.#starts = starts
    this.#sortedRows = rows
    this.#sortedCounts = counts
    this.#sortedTerms = termCount
    this.#noted = 0
    this.#notedRows = new Uint32Array(notedMax)
    this.#notedNumbers = new Uint32Array(notedMax)
    this.#notedCounts = new Uint16Array(notedMax)
  }

  /** @param rows 1 for each row that counts, length ≥ rows added */
  standing(rows: Uint8Array): Standing {
    const lengths = this.#lengths
    let count = 0
    let termCount = 0
    for (let row = 0; row < this.#size; row++) {
      if (rows[row] !== 1) continue
      count += 1
      termCount += lengths[row] ?? 0
    }
    return { rows, count, terms: termCount }
  }

  /** BM25 scores of all rows for weighted query terms; 0 where nothing matches or the row does not stand. Valid until the next call. */
  scores(query: ReadonlyMap<string, number>, standing: Standing): Float32Array {
    if (this.#scores.length < this.#size) this.#scores = new Float32Array(this.#lengths.length)
    const scores = this.#scores.subarray(0, this.#size).fill(0)
    if (standing.terms === 0) return scores
    if (this.#noted > notedMax + this.#sortedRows.length * notedShare) this.#sort()
    const meanLength = standing.terms / standing.count
    const lengths = this.#lengths
    for (const [term, weight] of query) {
      const number = this.#numbers.get(term)
      if (number === undefined) continue
      const holders = this.#holders(number, standing.rows)
      if (holders.count === 0) continue
      const idf = Math.log(1 + (standing.count - holders.count + 0.5) / (holders.count + 0.5))
      const { counts, rows } = holders
      for (let at = 0; at < rows.length; at++) {
        const row = rows[at] ?? 0
        if (standing.rows[row] !== 1) continue
        const count = counts[at] ?? 0
        const norm = 1 - b + (b * (lengths[row] ?? 0)) / meanLength
        scores[row] = (scores[row] ?? 0) + (weight * idf * count * (k1 + 1)) / (count + k1 * norm)
      }
    }
    return scores
  }

  /** Rows that hold a term and how often, in the order of rows; `count` of them stand. */
  #holders(number: number, standing: Uint8Array): { readonly rows: Uint32Array; readonly counts: Uint16Array; readonly count: number } {
    const [from, to] = number < this.#sortedTerms ? [this.#starts[number] ?? 0, this.#starts[number + 1] ?? 0] : [0, 0]
    let rows = this.#sortedRows.subarray(from, to)
    let counts = this.#sortedCounts.subarray(from, to)
    const noted: Array<number> = []
    const numbers = this.#notedNumbers
    for (let at = 0; at < this.#noted; at++) if (numbers[at] === number) noted.push(at)
    if (noted.length > 0) {
      rows = joined(rows, Uint32Array.from(noted, (at) => this.#notedRows[at] ?? 0))
      counts = joined(counts, Uint16Array.from(noted, (at) => this.#notedCounts[at] ?? 0))
    }
    let count = 0
    for (let at = 0; at < rows.length; at++) count += standing[rows[at] ?? 0] ?? 0
    return { rows, counts, count }
  }
}

/** Query terms with how often each is asked. */
export const queryTerms = (text: string): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const term of terms(text)) counts.set(term, (counts.get(term) ?? 0) + 1)
  return counts
}
