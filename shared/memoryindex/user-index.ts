/**
 * All memories of one user, ready to be searched: a shelf for each kind, and what replaced what. Facts have statistics
 * of their own, so that recording facts never changes what the turns score.
 */
import type { MemoryKind } from "#shared/domain/memory"
import { type Filter, type IndexedMemory, Shelf, type ShelfView } from "./shelf.ts"

/** A memory replaced by another, from one sequence on and until another if it was restored. */
interface Supersession {
  readonly by: string
  readonly bySequence: number
  readonly byTime: string
  until: number
}

/** Stands for what replaced a memory that a person wished left out. */
export const forgotten = "forgotten"

const isInForce = ({ bySequence, byTime, until }: Supersession, { asOfSequence, asOfTime }: Filter): boolean =>
  asOfSequence !== undefined
    ? bySequence <= asOfSequence && asOfSequence < until
    // A restoration has no event time: what is restored counts as never replaced.
    : until === Infinity && (asOfTime === undefined || byTime <= asOfTime)

/** One user's memories as a filter shows them; valid until the next change of the index. */
export interface UserView {
  readonly turns: ShelfView
  readonly facts: ShelfView
  /** Who speaks in the turns that stand. */
  readonly speakers: ReadonlySet<string>
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

  /** Memory this takes, about. */
  get bytes(): number {
    return this.#shelves.turn.bytes + this.#shelves.fact.bytes
  }

  /** Makes room for so many turns at once. */
  reserve(turns: number): void {
    this.#shelves.turn.reserve(turns)
  }

  /** @throws RangeError when a vector has the wrong length; layers check before */
  put(memory: IndexedMemory): void {
    this.#kept = undefined
    this.#shelves[memory.kind].put(memory)
  }

  /** False where the memory is not there. */
  setVector(id: string, vector: Float32Array | Float16Array): boolean {
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
    // Told again, it takes nothing back that came after it.
    for (const one of this.#superseded.get(id) ?? []) if (one.bySequence <= sequence) one.until = Math.min(one.until, sequence)
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
    if (memory === undefined) return undefined
    const past = this.#superseded.get(id) ?? []
    const by = this.supersededBy(id) ?? (memory.kind === "fact" && memory.turns.every((turn) => this.supersededBy(turn) === forgotten) ? forgotten : undefined)
    if (past.length === 0 && by === undefined) return memory
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
    const { fact, turn } = this.#shelves
    const turns = turn.view(filter, this.#hiddenRows(turn, filter))
    const hidden = this.#hiddenRows(fact, filter)
    const gone = this.#forgottenTurns(filter)
    // A fact of which nobody's words are left is forgotten with the last of its turns.
    if (gone.size > 0) fact.memories.forEach((memory, row) => void (memory.turns.every((id) => gone.has(id)) && hidden.add(row)))
    return { turns, facts: fact.view(filter, hidden), speakers: turn.speakersOf(turns.standing) }
  }

  /** Ids of the turns that are forgotten as a filter sees them. */
  #forgottenTurns(filter: Filter): ReadonlySet<string> {
    const ids = new Set<string>()
    for (const [id, past] of this.#superseded) {
      if (this.#shelves.turn.rows.has(id) && past.some((one) => one.by === forgotten && isInForce(one, filter))) ids.add(id)
    }
    return ids
  }

  #hiddenRows(shelf: Shelf, filter: Filter): Set<number> {
    const hidden = new Set<number>()
    for (const id of this.#superseded.keys()) {
      const row = shelf.rows.get(id)
      if (row !== undefined && this.#isHidden(id, filter)) hidden.add(row)
    }
    return hidden
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

  #isHidden(id: string, filter: Filter): boolean {
    return (this.#superseded.get(id) ?? []).some((one) => isInForce(one, filter))
  }
}
