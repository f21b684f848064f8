/**
 * The queue before the embedding workers: gathers texts of concurrent callers, gives each distinct text once to one worker in
 * batches of near-equal length, lets interactive texts pass, and keeps recent vectors by the hash of their text.
 * A plain class, because its work is callbacks of worker threads; `embeddings.ts` is its face.
 */
import { Worker } from "node:worker_threads"
import { contentKey, roundedUnit, VectorCache } from "./embeddings-vector.ts"

export type WorkerRequest = { readonly kind: "embed"; readonly texts: ReadonlyArray<string> } | { readonly kind: "close" }
export type WorkerReply =
  | { readonly kind: "vectors"; readonly vectors: ReadonlyArray<Float32Array> }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "unusable"; readonly message: string }

export type PoolFailure = "ModelUnsuitable" | "WorkerFailed" | "BadVector" | "Closed"
export type PoolOutcome =
  | { readonly ok: true; readonly vectors: ReadonlyArray<Float32Array> }
  | { readonly ok: false; readonly reason: PoolFailure; readonly message: string }

/** One distinct text that waits or is being embedded, with everybody who wants its vector. */
interface Item {
  readonly key: string
  readonly text: string
  readonly wanted: Set<Submission>
}
interface Submission {
  readonly keys: ReadonlyArray<string>
  readonly missing: Set<string>
  readonly found: Map<string, Float32Array>
  readonly done: (outcome: PoolOutcome) => void
}
interface Batch {
  readonly items: ReadonlyArray<Item>
  /** For questions somebody waits for. */
  readonly isInteractive: boolean
  /** Workers that died on it so far. */
  deaths: number
}
interface Slot {
  readonly worker: Worker
  /** Batches sent and not yet answered, in order. */
  readonly batches: Array<Batch>
}

const batchTexts = 16
/** Padded tokens in a batch by estimate: four characters a token, 256 tokens at most. */
const batchTokens = 2_048
/** Texts looked at together when batches of near-equal length are cut. */
const windowTexts = 256
/** Batches a worker holds, so that it never waits for this thread. */
const batchesAhead = 2
/** Workers one batch may bring down before its texts are given up. */
const deathsMax = 2

const estimatedTokens = (text: string): number => Math.min(256, Math.ceil(text.length / 4) + 2)

export class EmbeddingPool {
  readonly #dir: string
  readonly #threads: number
  readonly #cache: VectorCache
  readonly #items = new Map<string, Item>()
  readonly #interactive: Array<Item> = []
  #waiting: Array<Item> = []
  readonly #cut: Array<Batch> = []
  readonly #slots = new Set<Slot>()
  #dimensions = 0
  #closing = false
  #closed: (() => void) | undefined

  constructor(options: { readonly dir: string; readonly threads: number; readonly cachedBytesMax: number }) {
    this.#dir = options.dir
    this.#threads = Math.max(1, options.threads)
    this.#cache = new VectorCache(options.cachedBytesMax)
  }

  /** Calls `done` once, unless the returned function is called first. */
  submit(texts: ReadonlyArray<string>, interactive: boolean, done: (outcome: PoolOutcome) => void): () => void {
    if (this.#closing) {
      done({ ok: false, reason: "Closed", message: "the embedding model is being closed" })
      return () => undefined
    }
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
      const item = this.#items.get(key) ?? { key, text, wanted: new Set() }
      if (!this.#items.has(key)) {
        this.#items.set(key, item)
        ;(interactive ? this.#interactive : this.#waiting).push(item)
      } else if (interactive) {
        const at = this.#waiting.indexOf(item)
        if (at >= 0) {
          this.#waiting.splice(at, 1)
          this.#interactive.push(item)
        }
      }
      item.wanted.add(submission)
    })
    this.#settle(submission)
    this.#dispatch()
    return () => {
      for (const key of submission.missing) this.#items.get(key)?.wanted.delete(submission)
    }
  }

  /** Drops what is kept of earlier texts. */
  forget(): void {
    this.#cache.clear()
  }

  /** Fails what waits, lets running batches end, and resolves when every worker has ended by itself. */
  close(): Promise<void> {
    this.#closing = true
    for (const item of [...this.#interactive.splice(0), ...this.#waiting.splice(0), ...this.#cut.splice(0).flatMap((batch) => batch.items)]) {
      this.#fail(item, "Closed", "the embedding model is being closed")
    }
    return new Promise((resolve) => {
      this.#closed = resolve
      for (const { worker } of this.#slots) {
        worker.ref()
        worker.postMessage({ kind: "close" } satisfies WorkerRequest)
      }
      if (this.#slots.size === 0) resolve()
    })
  }

  #settle(submission: Submission): void {
    if (submission.missing.size > 0) return
    submission.done({ ok: true, vectors: submission.keys.map((key) => submission.found.get(key) ?? new Float32Array(this.#dimensions)) })
  }

  #fail(item: Item, reason: PoolFailure, message: string): void {
    this.#items.delete(item.key)
    for (const submission of item.wanted) {
      for (const key of submission.missing) this.#items.get(key)?.wanted.delete(submission)
      submission.done({ ok: false, reason, message })
    }
    item.wanted.clear()
  }

  /** Cuts the oldest waiting texts into batches of near-equal length; nobody waits longer than one window. */
  #cutWindow(): void {
    const window = this.#waiting.slice(0, windowTexts)
    this.#waiting = this.#waiting.slice(windowTexts)
    const kept = window.filter((item) => {
      if (item.wanted.size === 0) this.#items.delete(item.key)
      return item.wanted.size > 0
    })
    kept.sort((a, b) => b.text.length - a.text.length)
    for (let from = 0; from < kept.length;) {
      // Longest first, so a text's own estimate is the width of the batch it opens.
      const width = estimatedTokens(kept[from]?.text ?? "")
      const items = kept.slice(from, from + Math.max(1, Math.min(batchTexts, Math.floor(batchTokens / width))))
      this.#cut.push({ items, isInteractive: false, deaths: 0 })
      from += items.length
    }
  }

  #nextBulk(): Batch | undefined {
    for (;;) {
      if (this.#cut.length === 0 && this.#waiting.length > 0) this.#cutWindow()
      const batch = this.#cut.shift()
      if (batch === undefined) return undefined
      const wanted = batch.items.filter((item) => item.wanted.size > 0)
      for (const item of batch.items) if (item.wanted.size === 0) this.#items.delete(item.key)
      if (wanted.length > 0) return { items: wanted, isInteractive: batch.isInteractive, deaths: batch.deaths }
    }
  }

  #dispatch(): void {
    if (this.#closing) return
    while (this.#interactive.length > 0) {
      const items = this.#interactive.splice(0, batchTexts)
      const idle = [...this.#slots].find((slot) => slot.batches.length === 0)
      const leastBusy = [...this.#slots].sort((a, b) => a.batches.length - b.batches.length)[0]
      // Behind questions a question waits a few milliseconds; behind other texts it does not wait at all, at the price of another worker.
      const isBehindBulk = [...this.#slots].every(({ batches }) => batches.some(({ isInteractive }) => !isInteractive))
      const mayOpen = this.#slots.size < this.#threads || (this.#slots.size === this.#threads && isBehindBulk)
      const slot = idle ?? (mayOpen || leastBusy === undefined ? this.#open() : leastBusy)
      this.#send(slot, { items, isInteractive: true, deaths: 0 })
    }
    while (this.#waiting.length + this.#cut.length > 0) {
      const free = [...this.#slots].filter((slot) => slot.batches.length === 0)
      const busy = this.#slots.size - free.length
      const slot = busy < this.#threads
        ? (free[0] ?? this.#open())
        : [...this.#slots].filter((slot) => slot.batches.length > 0 && slot.batches.length < batchesAhead)[0]
      if (slot === undefined) return
      const batch = this.#nextBulk()
      if (batch === undefined) return
      this.#send(slot, batch)
    }
  }

  #send(slot: Slot, batch: Batch): void {
    slot.batches.push(batch)
    slot.worker.ref()
    slot.worker.postMessage({ kind: "embed", texts: batch.items.map(({ text }) => text) } satisfies WorkerRequest)
  }

  #open(): Slot {
    const worker = new Worker(new URL("./embeddings-worker.ts", import.meta.url), { workerData: { dir: this.#dir } })
    const slot: Slot = { worker, batches: [] }
    this.#slots.add(slot)
    let last = "the worker ended"
    worker.on("message", (reply: WorkerReply) => {
      switch (reply.kind) {
        case "unusable":
          this.#giveUp(slot, "ModelUnsuitable", `the model in ${this.#dir} cannot be opened: ${reply.message}; run \`npm run setup\` to fetch it anew`)
          return
        case "failed":
          this.#answered(slot, (item) => this.#fail(item, "WorkerFailed", `embedding failed: ${reply.message}`))
          return
        case "vectors":
          this.#answered(slot, (item, at) => this.#accept(item, reply.vectors[at]))
      }
    })
    worker.on("error", (error) => {
      last = error.message
    })
    worker.on("exit", () => {
      this.#slots.delete(slot)
      for (const batch of slot.batches.splice(0)) {
        batch.deaths += 1
        if (this.#closing || batch.deaths >= deathsMax) {
          for (const item of batch.items) this.#fail(item, this.#closing ? "Closed" : "WorkerFailed", `an embedding worker died on this text: ${last}`)
        } else this.#cut.unshift(batch)
      }
      if (this.#slots.size === 0) this.#closed?.()
      this.#dispatch()
    })
    return slot
  }

  #giveUp(slot: Slot, reason: PoolFailure, message: string): void {
    for (const batch of slot.batches.splice(0)) for (const item of batch.items) this.#fail(item, reason, message)
    slot.worker.postMessage({ kind: "close" } satisfies WorkerRequest)
    this.#slots.delete(slot)
  }

  #answered(slot: Slot, each: (item: Item, at: number) => void): void {
    const batch = slot.batches.shift()
    batch?.items.forEach(each)
    // An idle worker does not keep the process alive, and may be left behind; a busy one must not be.
    if (slot.batches.length === 0 && !this.#closing) slot.worker.unref()
    this.#dispatch()
  }

  #accept(item: Item, raw: Float32Array | undefined): void {
    if (raw !== undefined && this.#dimensions === 0) this.#dimensions = raw.length
    const vector = raw === undefined ? undefined : roundedUnit(raw, this.#dimensions)
    if (vector === undefined) {
      this.#fail(item, "BadVector", `the model gave no usable vector of ${this.#dimensions} numbers for a text of ${item.text.length} characters`)
      return
    }
    this.#cache.set(item.key, vector)
    this.#items.delete(item.key)
    for (const submission of item.wanted) {
      submission.found.set(item.key, vector)
      submission.missing.delete(item.key)
      this.#settle(submission)
    }
    item.wanted.clear()
  }
}
