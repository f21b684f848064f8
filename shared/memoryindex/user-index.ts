/**
 * All memories of one user, ready to be searched: rows in the order they came, words and vectors per kind, and each conversation in
 * the order of time. Facts have statistics of their own, so that recording facts never changes what the turns score.
 */
import type { MemoryKind, StoredMemory } from "#shared/domain/memory"
import { indexedText } from "./indexed-text.ts"
import { VectorIndex } from "./vector-index.ts"
import { queryTerms, WordIndex } from "./word-index.ts"

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

/** A memory replaced by another, from one sequence on and until another if it was restored. */
interface Supersession {
  readonly by: string
  readonly bySequence: number
  readonly byTime: string
  until: number
}

/** The rows of one kind that stand under a filter, and how they score. Row numbers index every array here. */
export interface ShelfView {
  readonly memories: ReadonlyArray<IndexedMemory>
  /** 1 for each row that stands. */
  readonly standing: Uint8Array
  readonly standingCount: number
  /** Who speaks in each row, as a number; length ≥ rows. */
  readonly speakerCodes: Uint16Array
  /** The number of a speaker; nothing where nobody of that name speaks. */
  readonly speakerCode: (speaker: string) => number | undefined
  /** Rows of each conversation in the order of time, those that do not stand included. */
  readonly conversations: ReadonlyMap<string, ReadonlyArray<number>>
  /** BM25 of every row. */
  readonly words: (text: string) => Float32Array
  /** Cosine of every row; 0 where there is no vector. */
  readonly nearest: (vector: Float32Array) => Float32Array
  readonly rowOf: (id: string) => number | undefined
}

/** One user's memories as a filter shows them; valid until the next change of the index. */
export interface UserView {
  readonly turns: ShelfView
  readonly facts: ShelfView
  /** Who speaks in the turns that stand. */
  readonly speakers: ReadonlySet<string>
}

class Shelf {
  readonly memories: Array<IndexedMemory> = []
  readonly rows = new Map<string, number>()
  readonly conversations = new Map<string, Array<number>>()
  readonly gone = new Set<number>()
  /** Numbers of speakers; beyond 65,535 names the last number is shared. */
  readonly #speakers = new Map<string, number>()
  #codes = new Uint16Array(64)
  readonly #words = new WordIndex()
  readonly #vectors: VectorIndex

  constructor(dimensions: number) {
    this.#vectors = new VectorIndex(dimensions)
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
    // The vector is kept packed, not a second time with the memory.
    const { vector, ...rest } = memory
    this.memories.push(rest)
    this.rows.set(memory.id, row)
    const code = this.#speakers.get(memory.speaker) ?? Math.min(this.#speakers.size, 65_535)
    this.#speakers.set(memory.speaker, code)
    if (row >= this.#codes.length) {
      const grown = new Uint16Array(this.#codes.length * 2)
      grown.set(this.#codes)
      this.#codes = grown
    }
    this.#codes[row] = code
    this.#words.add(row, indexedText(memory))
    if (vector !== undefined) this.#vectors.set(row, vector)
    const conversation = this.conversations.get(memory.conversation) ?? []
    if (conversation.length === 0) this.conversations.set(memory.conversation, conversation)
    let at = conversation.length
    while (at > 0 && (this.memories[conversation[at - 1] ?? 0]?.time ?? "") > memory.time) at -= 1
    conversation.splice(at, 0, row)
  }

  setVector(row: number, vector: Float32Array): void {
    this.#vectors.set(row, vector)
  }

  vector(row: number): Float32Array | undefined {
    return this.#vectors.get(row)
  }

  remove(row: number): void {
    this.gone.add(row)
    this.#vectors.set(row, undefined)
  }

  view(filter: Filter, hidden: (memory: IndexedMemory) => boolean): ShelfView {
    const size = this.memories.length
    const standing = new Uint8Array(size)
    let standingCount = 0
    const until = filter.asOfTime !== undefined && (filter.to === undefined || filter.asOfTime < filter.to) ? filter.asOfTime : filter.to
    for (let row = 0; row < size; row++) {
      const memory = this.memories[row]
      if (memory === undefined || this.gone.has(row)) continue
      if (filter.kinds !== undefined && !filter.kinds.includes(memory.kind)) continue
      if (filter.conversation !== undefined && memory.conversation !== filter.conversation) continue
      if (filter.from !== undefined && memory.time < filter.from) continue
      if (until !== undefined && memory.time > until) continue
      if (filter.asOfSequence !== undefined && memory.sequence > filter.asOfSequence) continue
      if (hidden(memory)) continue
      standing[row] = 1
      standingCount += 1
    }
    return {
      memories: this.memories,
      standing,
      standingCount,
      speakerCodes: this.#codes,
      speakerCode: (speaker) => this.#speakers.get(speaker),
      conversations: this.conversations,
      words: (text) => this.#words.scores(queryTerms(text), standing, size),
      nearest: (vector) => this.#vectors.scores(vector, standing, size),
      rowOf: (id) => this.rows.get(id)
    }
  }
}

export class UserIndex {
  readonly #shelves: Readonly<Record<MemoryKind, Shelf>>
  readonly #superseded = new Map<string, Array<Supersession>>()
  #kept: { readonly key: string; readonly view: UserView } | undefined

  constructor(dimensions: number) {
    this.#shelves = { turn: new Shelf(dimensions), fact: new Shelf(dimensions) }
  }

  get size(): number {
    return this.#shelves.turn.memories.length + this.#shelves.fact.memories.length
  }

  /** @throws RangeError when a vector has the wrong length; layers check before */
  put(memory: IndexedMemory): void {
    this.#kept = undefined
    this.#shelves[memory.kind].put(memory)
  }

  /** False where the memory is not there. */
  setVector(id: string, vector: Float32Array): boolean {
    return this.#at(id, (shelf, row) => shelf.setVector(row, vector))
  }

  /** A memory's vector; absent until the embedder has been there. */
  vector(id: string): Float32Array | undefined {
    let found: Float32Array | undefined
    this.#at(id, (shelf, row) => {
      found = shelf.vector(row)
    })
    return found
  }

  supersede(id: string, by: string, sequence: number): void {
    this.#kept = undefined
    const past = this.#superseded.get(id) ?? []
    if (past.some((one) => one.by === by && one.bySequence === sequence)) return
    past.push({ by, bySequence: sequence, byTime: this.#memory(by)?.time ?? "", until: Infinity })
    this.#superseded.set(id, past)
  }

  restore(id: string, sequence: number): void {
    this.#kept = undefined
    for (const one of this.#superseded.get(id) ?? []) one.until = Math.min(one.until, sequence)
  }

  remove(id: string): void {
    this.#kept = undefined
    this.#at(id, (shelf, row) => shelf.remove(row))
  }

  /** What replaced a memory and still does. */
  supersededBy(id: string): string | undefined {
    return this.#superseded.get(id)?.find((one) => one.until === Infinity)?.by
  }

  get(id: string): IndexedMemory | undefined {
    const memory = this.#memory(id)
    const past = this.#superseded.get(id)
    if (memory === undefined || past === undefined) return memory
    const by = this.supersededBy(id)
    return { ...memory, ...(by === undefined ? {} : { supersededBy: by }), ...(past.some(({ until }) => until !== Infinity) ? { restored: true } : {}) }
  }

  /** The view of a filter is kept until the next change, since one question looks twice and many questions use the same filter. */
  view(filter: Filter = {}): UserView {
    const key = JSON.stringify(filter)
    if (this.#kept?.key === key) return this.#kept.view
    const view = this.#makeView(filter)
    this.#kept = { key, view }
    return view
  }

  #makeView(filter: Filter): UserView {
    const hidden = this.#superseded.size === 0 ? () => false : (memory: IndexedMemory) => this.#hidden(memory, filter)
    const turns = this.#shelves.turn.view(filter, hidden)
    const speakers = new Set<string>()
    for (let row = 0; row < turns.memories.length; row++) if (turns.standing[row] === 1) speakers.add(turns.memories[row]?.speaker ?? "")
    return { turns, facts: this.#shelves.fact.view(filter, hidden), speakers }
  }

  #memory(id: string): IndexedMemory | undefined {
    for (const shelf of [this.#shelves.turn, this.#shelves.fact]) {
      const row = shelf.rows.get(id)
      if (row !== undefined && !shelf.gone.has(row)) return shelf.memories[row]
    }
    return undefined
  }

  #at(id: string, change: (shelf: Shelf, row: number) => void): boolean {
    for (const shelf of [this.#shelves.turn, this.#shelves.fact]) {
      const row = shelf.rows.get(id)
      if (row === undefined || shelf.gone.has(row)) continue
      change(shelf, row)
      return true
    }
    return false
  }

  #hidden(memory: IndexedMemory, { asOfSequence, asOfTime }: Filter): boolean {
    return (this.#superseded.get(memory.id) ?? []).some((one) => {
      if (asOfSequence !== undefined) return one.bySequence <= asOfSequence && asOfSequence < one.until
      // A restoration has no event time: what is restored counts as never replaced.
      return one.until === Infinity && (asOfTime === undefined || one.byTime <= asOfTime)
    })
  }
}
