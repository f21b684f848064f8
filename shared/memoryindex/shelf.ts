/** One user's memories of one kind: rows in the order they came, their words and vectors, and each conversation in the order of time. */
import type { MemoryKind, StoredMemory } from "#shared/domain/memory"
import { grown } from "./columns.ts"
import { indexedText } from "./indexed-text.ts"
import { VectorIndex } from "./vector-index.ts"
import { queryTerms, type Standing, WordIndex } from "./word-index.ts"

/** A memory with where in the memory log it came to stand. */
export interface IndexedMemory extends StoredMemory {
  readonly sequence: number
  /** Was replaced or forgotten once and taken back; known of memories asked for by id. */
  readonly restored?: boolean
}

/** Which memories a search may find. All given conditions hold together; superseded memories are left out as of the same point. */
export interface Filter {
  readonly conversation?: string
  readonly kinds?: ReadonlyArray<MemoryKind>
  /** Said at or after, ISO. */
  readonly from?: string
  /** Said at or before, ISO. */
  readonly to?: string
  /** Only what stood in the log at this sequence. */
  readonly asOfSequence?: number
  /** Only what had been said by this time, ISO. */
  readonly asOfTime?: string
}

/** The rows of one kind that stand under a filter, and how they score. Row numbers index every array here; columns may be longer. */
export interface ShelfView {
  readonly memories: ReadonlyArray<IndexedMemory>
  /** 1 for each row that stands. */
  readonly standing: Uint8Array
  readonly standingCount: number
  /** Who speaks in each row, as a number. */
  readonly speakerCodes: Uint16Array
  /** The number of a speaker; nothing where nobody of that name speaks. */
  readonly speakerCode: (speaker: string) => number | undefined
  /** The conversation of each row, as a number below `conversationCount`. */
  readonly conversationCodes: Uint32Array
  readonly conversationCount: number
  /** One more than the rows before and after in the same conversation by time, 0 for none; those that do not stand included. */
  readonly before: Int32Array
  readonly after: Int32Array
  /** When each row was said, milliseconds since 1970. */
  readonly times: Float64Array
  /** Words of each row, the name of a participant who speaks included. */
  readonly wordCounts: Uint32Array
  /** BM25 of every row. */
  readonly words: (text: string) => Float32Array
  /** Cosine of every row; 0 where there is no vector. */
  readonly nearest: (vector: Float32Array) => Float32Array
  /** 1 for each row with a vector, and 0. */
  readonly vectored: Uint8Array
  readonly rowOf: (id: string) => number | undefined
}

/** Number of all speakers beyond so many names. */
const sharedSpeaker = 65_535
/** About what a memory takes beside its texts: the object, its list of turns, and its entry in a map. */
const memoryBytes = 320

export class Shelf {
  /** Of the memories alone, about. */
  #memoriesBytes = 0
  readonly memories: Array<IndexedMemory> = []
  readonly rows = new Map<string, number>()
  readonly gone = new Set<number>()
  /** Numbers of speakers; beyond 65,535 names the last number is shared. */
  readonly #speakers = new Map<string, number>()
  readonly #conversations = new Map<string, number>()
  /** One more than the last row of each conversation by time. */
  readonly #lastRows: Array<number> = []
  #speakerCodes = new Uint16Array(64)
  #conversationCodes = new Uint32Array(64)
  #before = new Int32Array(64)
  #after = new Int32Array(64)
  #times = new Float64Array(64)
  #wordCounts = new Uint32Array(64)
  readonly #words = new WordIndex()
  readonly #vectors: VectorIndex

  constructor(dimensions: number) {
    this.#vectors = new VectorIndex(dimensions)
  }

  /** Memory this takes, about; what grows with rows is counted exactly but for texts and maps. */
  get bytes(): number {
    const columns = [this.#speakerCodes, this.#conversationCodes, this.#before, this.#after, this.#times, this.#wordCounts]
    return columns.reduce((sum, { byteLength }) => sum + byteLength, this.#memoriesBytes + this.#words.bytes + this.#vectors.bytes)
  }

  /** Makes room for so many rows at once. */
  reserve(rows: number): void {
    this.#vectors.reserve(rows)
    if (rows <= this.#before.length) return
    this.#speakerCodes = grown(this.#speakerCodes, rows)
    this.#conversationCodes = grown(this.#conversationCodes, rows)
    this.#before = grown(this.#before, rows)
    this.#after = grown(this.#after, rows)
    this.#times = grown(this.#times, rows)
    this.#wordCounts = grown(this.#wordCounts, rows)
  }

  /** Adds a memory, or its vector if the memory is there; a memory's text never changes. */
  put(memory: IndexedMemory): void {
    const known = this.rows.get(memory.id)
    if (known !== undefined) {
      this.gone.delete(known)
      if (memory.vector !== undefined) this.#vectors.set(known, memory.vector)
      return
    }
    const row = this.memories.length
    if (memory.vector === undefined) this.memories.push(memory)
    else {
      // The vector is kept packed, not a second time with the memory.
      const { vector, ...rest } = memory
      this.memories.push(rest)
      this.#vectors.set(row, vector)
    }
    this.rows.set(memory.id, row)
    // Texts of wide characters take two bytes each; speaker and conversation are mostly shared with other rows.
    this.#memoriesBytes += memoryBytes + memory.text.length + memory.turns.reduce((sum, id) => sum + id.length, memory.id.length + memory.time.length)
    if (row >= this.#before.length) this.reserve(Math.ceil(row * 1.5))
    const speaker = this.#speakers.get(memory.speaker) ?? Math.min(this.#speakers.size, sharedSpeaker)
    this.#speakers.set(memory.speaker, speaker)
    this.#speakerCodes[row] = speaker
    this.#times[row] = Date.parse(memory.time)
    this.#wordCounts[row] = this.#words.add(indexedText(memory))
    this.#place(row, memory)
  }

  /** Puts a row behind those of its conversation that were said before or at the same time. */
  #place(row: number, { conversation, time }: IndexedMemory): void {
    let code = this.#conversations.get(conversation)
    if (code === undefined) {
      code = this.#conversations.size
      this.#conversations.set(conversation, code)
      this.#lastRows[code] = 0
    }
    this.#conversationCodes[row] = code
    // All one more than the row, so that 0 stands for none.
    let after = 0
    let before = this.#lastRows[code] ?? 0
    while (before > 0 && (this.memories[before - 1]?.time ?? "") > time) {
      after = before
      before = this.#before[before - 1] ?? 0
    }
    this.#before[row] = before
    this.#after[row] = after
    if (before > 0) this.#after[before - 1] = row + 1
    if (after > 0) this.#before[after - 1] = row + 1
    else this.#lastRows[code] = row + 1
  }

  setVector(row: number, vector: Float32Array | Float16Array): void {
    this.#vectors.set(row, vector)
  }

  vector(row: number): Float32Array | undefined {
    return this.#vectors.get(row)
  }

  remove(row: number): void {
    this.gone.add(row)
    this.#vectors.set(row, undefined)
  }

  /** @param hidden rows a filter would show but for what replaced them */
  view(filter: Filter, hidden: ReadonlySet<number>): ShelfView {
    const size = this.memories.length
    const standing = new Uint8Array(size)
    const { asOfSequence, asOfTime, conversation, from, kinds, to } = filter
    const until = asOfTime !== undefined && (to === undefined || asOfTime < to) ? asOfTime : to
    // Most questions filter by nothing, and then no memory need be looked at.
    if (conversation === undefined && from === undefined && until === undefined && kinds === undefined && asOfSequence === undefined) standing.fill(1)
    else {
      for (let row = 0; row < size; row++) {
        const memory = this.memories[row]
        if (memory === undefined) continue
        if (kinds !== undefined && !kinds.includes(memory.kind)) continue
        if (conversation !== undefined && memory.conversation !== conversation) continue
        if (from !== undefined && memory.time < from) continue
        if (until !== undefined && memory.time > until) continue
        if (asOfSequence !== undefined && memory.sequence > asOfSequence) continue
        standing[row] = 1
      }
    }
    for (const row of this.gone) standing[row] = 0
    for (const row of hidden) standing[row] = 0
    let standingCount = 0
    for (let row = 0; row < size; row++) standingCount += standing[row] ?? 0
    let counted: Standing | undefined
    return {
      memories: this.memories,
      standing,
      standingCount,
      speakerCodes: this.#speakerCodes,
      speakerCode: (speaker) => this.#speakers.get(speaker),
      conversationCodes: this.#conversationCodes,
      conversationCount: this.#conversations.size,
      before: this.#before,
      after: this.#after,
      times: this.#times,
      wordCounts: this.#wordCounts,
      words: (text) => this.#words.scores(queryTerms(text), (counted ??= this.#words.standing(standing))),
      nearest: (vector) => this.#vectors.scores(vector, standing, size),
      vectored: this.#vectors.present(size),
      rowOf: (id) => this.rows.get(id)
    }
  }

  /** Who speaks in rows that stand. */
  speakersOf(standing: Uint8Array): ReadonlySet<string> {
    const seen = new Uint8Array(sharedSpeaker + 1)
    const codes = this.#speakerCodes
    const speakers = new Set<string>()
    for (let row = 0; row < standing.length; row++) {
      const code = codes[row] ?? 0
      if (standing[row] !== 1 || (seen[code] === 1 && code !== sharedSpeaker)) continue
      seen[code] = 1
      speakers.add(this.memories[row]?.speaker ?? "")
    }
    return speakers
  }
}
