/**
 * The vectors of one user's memories of one kind, as the float16 numbers that vectors are made of. All rows are scanned for every
 * query: first as signed bytes, many at a time, then the best again as they are. Up to `exactRows` rows every score is exact; above, only those of the best rows are, and the
 * others are within a hundredth.
 */
import { grown } from "./columns.ts"
import { dotsOver, growMemory, makeMemory, type WasmMemory } from "./dot-kernel.ts"

/** Rows scored exactly without a first pass; 384 numbers each take about 3 ms. */
const exactRows = 4_096
/** Best rows of the first pass that are scored exactly. */
const exactBest = 256
/** Steps of the score between -1 and 1 in which rows are counted. */
const binCount = 2_048
/** Rows whose scores are worked out before those of the next are begun: what one pass over them leaves, the next finds in the cache. */
const scannedAtOnce = 8_192

export class VectorIndex {
  readonly #dimensions: number
  #rows: Float16Array
  #has = new Uint8Array(64)
  #size = 0
  #scores = new Float32Array(0)
  /** Built by the first query over more than `exactRows` rows: rows as bytes, at the start of a WebAssembly memory. */
  #bytes: { readonly memory: WasmMemory; readonly dots: ReturnType<typeof dotsOver>; scales: Float32Array; through: number } | undefined

  constructor(dimensions: number) {
    this.#dimensions = dimensions
    this.#rows = new Float16Array(64 * dimensions)
  }

  /** Bytes of the numbers kept. Room made for rows to come takes no memory before it is written to. */
  get bytes(): number {
    const { memory, scales } = this.#bytes ?? {}
    return this.#size * this.#dimensions * 2 + this.#has.byteLength + this.#scores.byteLength + (memory?.buffer.byteLength ?? 0) + (scales?.byteLength ?? 0)
  }

  /** 1 for each row with a vector and 0 for others, of `size` rows or more. */
  present(size: number): Uint8Array {
    if (size > this.#has.length) this.reserve(Math.max(size, Math.ceil(this.#has.length * 1.5)))
    return this.#has
  }

  /** Makes room for so many rows at once. */
  reserve(rows: number): void {
    if (rows <= this.#has.length) return
    const larger = new Float16Array(rows * this.#dimensions)
    larger.set(this.#rows.subarray(0, this.#size * this.#dimensions))
    this.#rows = larger
    this.#has = grown(this.#has, rows).subarray(0, rows)
  }

  /** Sets or replaces a row's vector, or takes it away. @throws RangeError when the length differs — a caller's bug */
  set(row: number, vector: Float32Array | Float16Array | undefined): void {
    if (vector !== undefined && vector.length !== this.#dimensions) throw new RangeError(`a vector of length ${vector.length} where ${this.#dimensions} are due`)
    if (row >= this.#has.length) this.reserve(Math.max(row + 1, Math.ceil(this.#has.length * 1.5)))
    const start = row * this.#dimensions
    if (vector === undefined) this.#rows.fill(0, start, start + this.#dimensions)
    else if (vector instanceof Float16Array) this.#rows.set(vector, start)
    else writeRow(vector, this.#rows, start)
    this.#has[row] = vector === undefined ? 0 : 1
    this.#size = Math.max(this.#size, row + 1)
    if (this.#bytes !== undefined && row < this.#bytes.through) this.#bytes.through = row
  }

  /** A copy of a row's vector. */
  get(row: number): Float32Array | undefined {
    return this.#has[row] === 1 ? Float32Array.from(this.#rows.subarray(row * this.#dimensions, (row + 1) * this.#dimensions)) : undefined
  }

  /**
   * Cosines of the query with all rows; 0 for rows that do not stand or have no vector. Valid until the next call: new numbers for every
   * row and question would keep the garbage collector busy.
   *
   * @param query unit length
   */
  scores(query: Float32Array, standing: Uint8Array, size: number): Float32Array {
    if (query.length !== this.#dimensions) throw new RangeError(`a query of length ${query.length} where ${this.#dimensions} are due`)
    if (this.#scores.length < size) this.#scores = new Float32Array(Math.max(size, this.#has.length))
    const scores = this.#scores.subarray(0, size)
    const rows = this.#rows
    const has = this.#has
    const through = Math.min(size, this.#size)
    const isExact = through <= exactRows || this.#dimensions % 8 !== 0
    scores.fill(0, isExact ? 0 : through)
    if (isExact) {
      for (let row = 0; row < through; row++) if (standing[row] === 1 && has[row] === 1) scores[row] = dot(query, rows, row)
      return scores
    }
    const scan = this.#scanOf(query, through)
    // A counting sort's first half finds the score that about `exactBest` rows reach.
    // What some rows reach is reached by all together, so that most of the later ones need not be counted.
    const bins = new Uint32Array(binCount)
    let floor = -1
    for (let from = 0; from < through; from += scannedAtOnce) {
      const to = Math.min(through, from + scannedAtOnce)
      scan(from, to, standing, scores)
      for (let row = from; row < to; row++) {
        const score = scores[row] ?? 0
        if (score < floor || standing[row] !== 1 || has[row] !== 1) continue
        const bin = Math.max(0, Math.min(binCount - 1, (score + 1) * (binCount / 2))) | 0
        bins[bin] = (bins[bin] ?? 0) + 1
      }
      let bin = binCount - 1
      for (let found = bins[bin] ?? 0; bin > 0 && found < exactBest; found += bins[bin] ?? 0) bin -= 1
      floor = bin / (binCount / 2) - 1
    }
    for (let row = 0; row < through; row++) {
      if ((scores[row] ?? 0) >= floor && standing[row] === 1 && has[row] === 1) scores[row] = dot(query, rows, row)
    }
    return scores
  }

  /** Gets ready for one question over the first `size` rows. @returns what writes the scores of some rows from their bytes */
  #scanOf(query: Float32Array, size: number): (from: number, to: number, standing: Uint8Array, scores: Float32Array) => void {
    const width = this.#dimensions
    const rowsEnd = Math.ceil((size * width) / 16) * 16
    const outStart = rowsEnd + width * 2
    if (this.#bytes === undefined) {
      const memory = makeMemory()
      this.#bytes = { memory, dots: dotsOver(memory, width), scales: new Float32Array(0), through: 0 }
    }
    const bytes = this.#bytes
    growMemory(bytes.memory, outStart + scannedAtOnce * 4)
    if (bytes.scales.length < size) bytes.scales = grown(bytes.scales, size)
    const { buffer } = bytes.memory
    const { scales } = bytes
    const rows = new Int8Array(buffer, 0, size * width)
    for (let row = bytes.through; row < size; row++) scales[row] = toBytes(this.#rows, rows, row * width, (row + 1) * width)
    bytes.through = size
    let most = 0
    for (const value of query) most = Math.max(most, Math.abs(value))
    // 384 × 127 × 32,767 stays below 2³¹.
    const scale = Math.min(32_767, Math.floor(2 ** 31 / (127 * width)) - 1) / Math.max(most, 1e-9)
    const asked = new Int16Array(buffer, rowsEnd, width)
    for (let n = 0; n < width; n++) asked[n] = Math.round((query[n] ?? 0) * scale)
    const sums = new Int32Array(buffer, outStart, scannedAtOnce)
    const has = this.#has
    const unit = 1 / scale
    return (from, to, standing, scores) => {
      bytes.dots(rowsEnd, from * width, width, to - from, outStart)
      // What does not count is masked to 0 rather than passed over, which takes half the time.
      for (let row = from; row < to; row++) scores[row] = (((sums[row - from] ?? 0) & -((standing[row] ?? 0) & (has[row] ?? 0))) * (scales[row] ?? 0)) * unit
    }
  }
}

/** A third of the time that the arrays' own `set` takes. */
const writeRow = (vector: Float32Array, rows: Float16Array, start: number): void => {
  for (let n = 0; n < vector.length; n++) rows[start + n] = vector[n] ?? 0
}

const dot = (query: Float32Array, rows: Float16Array, row: number): number => {
  const width = query.length
  const start = row * width
  let even = 0
  let odd = 0
  for (let n = 0; n < width; n += 2) {
    even += (query[n] ?? 0) * (rows[start + n] ?? 0)
    odd += (query[n + 1] ?? 0) * (rows[start + n + 1] ?? 0)
  }
  return even + odd
}

/** Writes some numbers as bytes. @returns what a byte stands for */
const toBytes = (from: Float16Array, bytes: Int8Array, start: number, end: number): number => {
  let most = 0
  for (let at = start; at < end; at++) {
    const size = Math.abs(from[at] ?? 0)
    if (size > most) most = size
  }
  const scale = most === 0 ? 0 : 127 / most
  for (let at = start; at < end; at++) bytes[at] = Math.floor((from[at] ?? 0) * scale + 0.5)
  return scale === 0 ? 0 : 1 / scale
}
