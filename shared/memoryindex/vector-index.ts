/**
 * The vectors of one user's memories of one kind. All rows are scanned for every query: first as signed bytes, eight at a time,
 * then the best again as they are. Up to `exactRows` rows every score is exact; above, only those of the best rows are, and the
 * others are within a hundredth.
 */
import { dotsOver, makeMemory, type WasmMemory } from "./dot-kernel.ts"

/** Rows scored exactly without a first pass; 384 numbers each take about 3 ms. */
const exactRows = 4_096
/** Best rows of the first pass that are scored exactly. */
const exactBest = 1_024

export class VectorIndex {
  readonly #dimensions: number
  #rows: Float32Array
  #has = new Uint8Array(64)
  #size = 0
  /** Built by the first query over more than `exactRows` rows: rows as bytes, at the start of a WebAssembly memory. */
  #bytes: { readonly memory: WasmMemory; readonly dots: ReturnType<typeof dotsOver>; scales: Float32Array; through: number } | undefined

  constructor(dimensions: number) {
    this.#dimensions = dimensions
    this.#rows = new Float32Array(64 * dimensions)
  }

  /** Rows that have a vector; length ≥ the highest row set. */
  get has(): Uint8Array {
    return this.#has
  }

  /** Sets or replaces a row's vector, or takes it away. @throws RangeError when the length differs — a caller's bug */
  set(row: number, vector: Float32Array | undefined): void {
    if (vector !== undefined && vector.length !== this.#dimensions) throw new RangeError(`a vector of length ${vector.length} where ${this.#dimensions} are due`)
    if (row >= this.#has.length) {
      const capacity = Math.max(row + 1, this.#has.length * 2)
      const rows = new Float32Array(capacity * this.#dimensions)
      rows.set(this.#rows.subarray(0, this.#size * this.#dimensions))
      const has = new Uint8Array(capacity)
      has.set(this.#has)
      this.#rows = rows
      this.#has = has
    }
    const start = row * this.#dimensions
    if (vector === undefined) this.#rows.fill(0, start, start + this.#dimensions)
    else this.#rows.set(vector, start)
    this.#has[row] = vector === undefined ? 0 : 1
    this.#size = Math.max(this.#size, row + 1)
    if (this.#bytes !== undefined && row < this.#bytes.through) this.#bytes.through = row
  }

  /** A row's vector as stored; a view, not to be changed. */
  get(row: number): Float32Array | undefined {
    return this.#has[row] === 1 ? this.#rows.subarray(row * this.#dimensions, (row + 1) * this.#dimensions) : undefined
  }

  #dot(query: Float32Array, row: number): number {
    const rows = this.#rows
    const start = row * this.#dimensions
    let even = 0
    let odd = 0
    for (let n = 0; n < this.#dimensions; n += 2) {
      even += (query[n] ?? 0) * (rows[start + n] ?? 0)
      odd += (query[n + 1] ?? 0) * (rows[start + n + 1] ?? 0)
    }
    return even + odd
  }

  /**
   * Cosines of the query with all rows; 0 for rows that do not stand or have no vector.
   *
   * @param query unit length
   */
  scores(query: Float32Array, standing: Uint8Array, size: number): Float32Array {
    if (query.length !== this.#dimensions) throw new RangeError(`a query of length ${query.length} where ${this.#dimensions} are due`)
    const scores = new Float32Array(size)
    const through = Math.min(size, this.#size)
    if (through <= exactRows || this.#dimensions % 8 !== 0) {
      for (let row = 0; row < through; row++) if (standing[row] === 1 && this.#has[row] === 1) scores[row] = this.#dot(query, row)
      return scores
    }
    this.#approximate(query, through, scores)
    // A counting sort's first half finds the score that about `exactBest` rows reach.
    const bins = new Uint32Array(2_048)
    for (let row = 0; row < through; row++) {
      if (standing[row] !== 1 || this.#has[row] !== 1) scores[row] = 0
      else {
        const bin = Math.max(0, Math.min(2_047, ((scores[row] ?? 0) + 1) * 1_024)) | 0
        bins[bin] = (bins[bin] ?? 0) + 1
      }
    }
    let bin = 2_047
    for (let found = bins[bin] ?? 0; bin > 0 && found < exactBest; found += bins[bin] ?? 0) bin -= 1
    const floor = bin / 1_024 - 1
    for (let row = 0; row < through; row++) {
      if ((scores[row] ?? 0) >= floor && standing[row] === 1 && this.#has[row] === 1) scores[row] = this.#dot(query, row)
    }
    return scores
  }

  /** Writes the scores of the first `size` rows, from bytes. */
  #approximate(query: Float32Array, size: number, scores: Float32Array): void {
    const width = this.#dimensions
    const rowsEnd = Math.ceil((size * width) / 16) * 16
    const outStart = rowsEnd + width * 2
    const needed = outStart + size * 4
    let bytes = this.#bytes
    if (bytes === undefined || bytes.memory.buffer.byteLength < needed || bytes.scales.length < size) {
      // A half more than needed, so that growing rows do not ask for a new memory each time.
      const memory = makeMemory(needed * 1.5)
      bytes = { memory, dots: dotsOver(memory), scales: new Float32Array(Math.ceil(size * 1.5)), through: 0 }
      this.#bytes = bytes
    }
    const { buffer } = bytes.memory
    const rows = new Int8Array(buffer, 0, size * width)
    for (let row = bytes.through; row < size; row++) {
      let most = 0
      for (let at = row * width; at < (row + 1) * width; at++) most = Math.max(most, Math.abs(this.#rows[at] ?? 0))
      const scale = most === 0 ? 0 : 127 / most
      bytes.scales[row] = scale === 0 ? 0 : 1 / scale
      for (let at = row * width; at < (row + 1) * width; at++) rows[at] = Math.round((this.#rows[at] ?? 0) * scale)
    }
    bytes.through = size
    let most = 0
    for (const value of query) most = Math.max(most, Math.abs(value))
    // 384 × 127 × 32,767 stays below 2³¹.
    const scale = Math.min(32_767, Math.floor(2 ** 31 / (127 * width)) - 1) / Math.max(most, 1e-9)
    const asked = new Int16Array(buffer, rowsEnd, width)
    for (let n = 0; n < width; n++) asked[n] = Math.round((query[n] ?? 0) * scale)
    bytes.dots(rowsEnd, 0, width, size, outStart)
    const sums = new Int32Array(buffer, outStart, size)
    const { scales } = bytes
    for (let row = 0; row < size; row++) scores[row] = ((sums[row] ?? 0) * (scales[row] ?? 0)) / scale
  }
}
