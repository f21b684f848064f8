/**
 * The embedding workers and who of them gets which batch: the texts of concurrent callers (`embeddings-wanted.ts`) wait in one queue
 * (`embeddings-batches.ts`), and interactive ones pass. A plain class, because its work is callbacks of worker threads; `embeddings.ts` is its face.
 */
import { Worker } from "node:worker_threads"
import { type Batch, BatchQueue } from "./embeddings-batches.ts"
import { type EmbeddingFailure, type EmbeddingOutcome, type WantedText, WantedTexts } from "./embeddings-wanted.ts"

export type WorkerRequest = { readonly kind: "embed"; readonly texts: ReadonlyArray<string> } | { readonly kind: "close" }
/** What a worker is begun with: the model's folder, processor threads it runs on, and whether it stands back where others want the processor. */
export interface WorkerStart {
  readonly dir: string
  readonly threads: number
  readonly isInBackground: boolean
}
export type WorkerReply =
  | { readonly kind: "vectors"; readonly vectors: ReadonlyArray<Float32Array> }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "unusable"; readonly message: string }

interface Slot {
  readonly worker: Worker
  readonly isForQuestions: boolean
  /** Batches sent and not yet answered, in order. */
  readonly batches: Array<Batch>
}

/** Batches a worker holds, so that it never waits for this thread. */
const batchesAhead = 2
/**
 * Processor threads that a question is embedded on, where there are as many: .7 of the time of one with a core idle, and no more with none.
 * Other texts are many: a worker a thread does more of them.
 */
const questionThreads = 2
/** Workers one batch may bring down before its texts are given up. */
const deathsMax = 2

export class EmbeddingPool {
  readonly #dir: string
  readonly #threads: number
  readonly #wanted: WantedTexts
  readonly #queue: BatchQueue
  readonly #slots = new Set<Slot>()
  #closing = false
  #closed: (() => void) | undefined

  constructor(options: { readonly dir: string; readonly threads: number; readonly cachedBytesMax: number }) {
    this.#dir = options.dir
    this.#threads = Math.max(1, options.threads)
    this.#wanted = new WantedTexts(options.cachedBytesMax)
    this.#queue = new BatchQueue((text) => this.#wanted.keeps(text))
  }

  /** Calls `done` once, unless the returned function is called first. */
  submit(texts: ReadonlyArray<string>, interactive: boolean, done: (outcome: EmbeddingOutcome) => void): () => void {
    if (this.#closing) {
      done({ ok: false, reason: "Closed", message: "the embedding model is being closed" })
      return () => undefined
    }
    const withdraw = this.#wanted.want(texts, (text, isNew) => {
      if (isNew) this.#queue.add(text, interactive)
      else if (interactive) this.#queue.hasten(text)
    }, done)
    this.#dispatch()
    return withdraw
  }

  /** Drops what is kept of earlier texts. */
  forget(): void {
    this.#wanted.forget()
  }

  /** Fails what waits, lets running batches end, and resolves when every worker has ended by itself. */
  close(): Promise<void> {
    this.#closing = true
    for (const text of this.#queue.drain()) this.#wanted.fail(text, "Closed", "the embedding model is being closed")
    return new Promise((resolve) => {
      this.#closed = resolve
      for (const { worker } of this.#slots) {
        worker.ref()
        worker.postMessage({ kind: "close" } satisfies WorkerRequest)
      }
      if (this.#slots.size === 0) resolve()
    })
  }

  #dispatch(): void {
    if (this.#closing) return
    for (let batch = this.#queue.nextInteractive(); batch !== undefined; batch = this.#queue.nextInteractive()) this.#send(this.#slotForQuestion(), batch)
    while (this.#queue.hasBulk()) {
      const slot = this.#slotForBulk()
      if (slot === undefined) return
      const batch = this.#queue.nextBulk()
      if (batch === undefined) return
      this.#send(slot, batch)
    }
  }

  /** A question waits a few milliseconds behind others, and never behind other texts: those have workers of their own. */
  #slotForQuestion(): Slot {
    const slots = this.#slotsOf(true).sort((a, b) => a.batches.length - b.batches.length)
    const leastBusy = slots[0]
    if (leastBusy === undefined) return this.#open(true)
    return leastBusy.batches.length > 0 && (slots.length + 1) * questionThreads <= this.#threads ? this.#open(true) : leastBusy
  }

  /** Undefined while as many workers as there are threads have all that they may hold. */
  #slotForBulk(): Slot | undefined {
    const slots = this.#slotsOf(false)
    const free = slots.find(({ batches }) => batches.length === 0)
    if (free !== undefined || slots.length < this.#threads) return free ?? this.#open(false)
    return slots.find(({ batches }) => batches.length < batchesAhead)
  }

  #slotsOf(questions: boolean): Array<Slot> {
    return [...this.#slots].filter(({ isForQuestions }) => isForQuestions === questions)
  }

  #send(slot: Slot, batch: Batch): void {
    slot.batches.push(batch)
    slot.worker.ref()
    slot.worker.postMessage({ kind: "embed", texts: batch.texts.map(({ text }) => text) } satisfies WorkerRequest)
  }

  #open(isForQuestions: boolean): Slot {
    const threads = isForQuestions ? Math.min(questionThreads, this.#threads) : 1
    const workerData: WorkerStart = { dir: this.#dir, threads, isInBackground: !isForQuestions }
    const worker = new Worker(new URL("./embeddings-worker.ts", import.meta.url), { workerData })
    const slot: Slot = { worker, isForQuestions, batches: [] }
    this.#slots.add(slot)
    let last = "the worker ended"
    worker.on("message", (reply: WorkerReply) => {
      switch (reply.kind) {
        case "unusable":
          this.#giveUp(slot, "ModelUnsuitable", `the model in ${this.#dir} cannot be opened: ${reply.message}; run \`npm run setup\` to fetch it anew`)
          return
        case "failed":
          this.#answered(slot, (text) => this.#wanted.fail(text, "WorkerFailed", `embedding failed: ${reply.message}`))
          return
        case "vectors":
          this.#answered(slot, (text, at) => this.#wanted.accept(text, reply.vectors[at]))
      }
    })
    worker.on("error", (error) => {
      last = error.message
    })
    worker.on("exit", () => this.#ended(slot, last))
    return slot
  }

  /** A worker that ended by itself or died: what it held goes to another, but for what brings down one after the other. */
  #ended(slot: Slot, why: string): void {
    this.#slots.delete(slot)
    for (const batch of slot.batches.splice(0)) {
      batch.deaths += 1
      if (this.#closing || batch.deaths >= deathsMax) {
        for (const text of batch.texts) this.#wanted.fail(text, this.#closing ? "Closed" : "WorkerFailed", `an embedding worker died on this text: ${why}`)
      } else this.#queue.putBack(batch)
    }
    if (this.#slots.size === 0) this.#closed?.()
    this.#dispatch()
  }

  #giveUp(slot: Slot, reason: EmbeddingFailure, message: string): void {
    for (const batch of slot.batches.splice(0)) for (const text of batch.texts) this.#wanted.fail(text, reason, message)
    slot.worker.postMessage({ kind: "close" } satisfies WorkerRequest)
    this.#slots.delete(slot)
  }

  #answered(slot: Slot, each: (text: WantedText, at: number) => void): void {
    const batch = slot.batches.shift()
    batch?.texts.forEach(each)
    // An idle worker does not keep the process alive, and may be left behind; a busy one must not be.
    if (slot.batches.length === 0 && !this.#closing) slot.worker.unref()
    this.#dispatch()
  }
}
