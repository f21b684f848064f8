/** Texts whose vectors somebody waits for: each distinct text once, with everybody who wants its vector; recent vectors are kept. */
import { contentKey, roundedUnit, VectorCache } from "./embeddings-vector.ts"

export type EmbeddingFailure = "ModelUnsuitable" | "WorkerFailed" | "BadVector" | "Closed"
export type EmbeddingOutcome =
  | { readonly ok: true; readonly vectors: ReadonlyArray<Float32Array> }
  | { readonly ok: false; readonly reason: EmbeddingFailure; readonly message: string }

/** One distinct text that waits or is being embedded. */
export interface WantedText {
  readonly key: string
  readonly text: string
  /** Empty when all who wanted it have gone. */
  readonly by: Set<Submission>
}
/** The texts of one caller. */
interface Submission {
  readonly keys: ReadonlyArray<string>
  readonly missing: Set<string>
  readonly found: Map<string, Float32Array>
  readonly done: (outcome: EmbeddingOutcome) => void
}

export class WantedTexts {
  readonly #cache: VectorCache
  readonly #texts = new Map<string, WantedText>()
  #dimensions = 0

  constructor(cachedBytesMax: number) {
    this.#cache = new VectorCache(cachedBytesMax)
  }

  /**
   * Calls `done` once, unless the returned function is called first.
   *
   * @param each takes the texts whose vectors are not kept, in order; `isNew`: nobody else wanted it
   */
  want(texts: ReadonlyArray<string>, each: (wanted: WantedText, isNew: boolean) => void, done: Submission["done"]): () => void {
    const keys = texts.map(contentKey)
    const submission: Submission = { keys, missing: new Set(), found: new Map(), done }
    texts.forEach((text, at) => {
      const key = keys[at] ?? ""
      const cached = this.#cache.get(key)
      if (cached !== undefined) {
        submission.found.set(key, cached)
        return
      }
      submission.missing.add(key)
      const known = this.#texts.get(key)
      const wanted = known ?? { key, text, by: new Set() }
      this.#texts.set(key, wanted)
      each(wanted, known === undefined)
      wanted.by.add(submission)
    })
    this.#settle(submission)
    return () => this.#withdraw(submission)
  }

  /** False for a text that nobody wants any longer, which is forgotten. */
  keeps(wanted: WantedText): boolean {
    if (wanted.by.size === 0) this.#texts.delete(wanted.key)
    return wanted.by.size > 0
  }

  /** Fails all who want a text, in everything they asked for. */
  fail(wanted: WantedText, reason: EmbeddingFailure, message: string): void {
    this.#texts.delete(wanted.key)
    for (const submission of wanted.by) {
      this.#withdraw(submission)
      submission.done({ ok: false, reason, message })
    }
    wanted.by.clear()
  }

  /** Gives what the model made of a text to all who want it. */
  accept(wanted: WantedText, raw: Float32Array | undefined): void {
    if (raw !== undefined && this.#dimensions === 0) this.#dimensions = raw.length
    const vector = raw === undefined ? undefined : roundedUnit(raw, this.#dimensions)
    if (vector === undefined) {
      this.fail(wanted, "BadVector", `the model gave no usable vector of ${this.#dimensions} numbers for a text of ${wanted.text.length} characters`)
      return
    }
    this.#cache.set(wanted.key, vector)
    this.#texts.delete(wanted.key)
    for (const submission of wanted.by) {
      submission.found.set(wanted.key, vector)
      submission.missing.delete(wanted.key)
      this.#settle(submission)
    }
    wanted.by.clear()
  }

  /** Drops what is kept of earlier texts. */
  forget(): void {
    this.#cache.clear()
  }

  #withdraw(submission: Submission): void {
    for (const key of submission.missing) this.#texts.get(key)?.by.delete(submission)
  }

  #settle({ done, found, keys, missing }: Submission): void {
    if (missing.size > 0) return
    done({ ok: true, vectors: keys.map((key) => found.get(key) ?? new Float32Array(this.#dimensions)) })
  }
}
