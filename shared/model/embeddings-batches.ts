/** Texts in the order in which they are embedded: those of questions first, all others in batches of near-equal length. */
import type { WantedText } from "./embeddings-wanted.ts"

export interface Batch {
  readonly texts: ReadonlyArray<WantedText>
  /** For questions somebody waits for. */
  readonly isInteractive: boolean
  /** Workers that died on it so far. */
  deaths: number
}

const batchTexts = 16
/** Padded tokens in a batch by estimate: four characters a token, 256 tokens at most. */
const batchTokens = 2_048
/** Texts looked at together when batches of near-equal length are cut. */
const windowTexts = 256

const estimatedTokens = (text: string): number => Math.min(256, Math.ceil(text.length / 4) + 2)

export class BatchQueue {
  readonly #isWanted: (text: WantedText) => boolean
  readonly #interactive: Array<WantedText> = []
  #waiting: Array<WantedText> = []
  readonly #cut: Array<Batch> = []

  /** @param isWanted asked before a text that was put off is embedded */
  constructor(isWanted: (text: WantedText) => boolean) {
    this.#isWanted = isWanted
  }

  add(text: WantedText, interactive: boolean): void {
    ;(interactive ? this.#interactive : this.#waiting).push(text)
  }

  /** For a text that others wait for already, and now a question too; it stays where it is once it is in a batch. */
  hasten(text: WantedText): void {
    const at = this.#waiting.indexOf(text)
    if (at >= 0) this.#interactive.push(...this.#waiting.splice(at, 1))
  }

  /** Puts a batch before all others but questions. */
  putBack(batch: Batch): void {
    this.#cut.unshift(batch)
  }

  nextInteractive(): Batch | undefined {
    return this.#interactive.length === 0 ? undefined : { texts: this.#interactive.splice(0, batchTexts), isInteractive: true, deaths: 0 }
  }

  hasBulk(): boolean {
    return this.#waiting.length + this.#cut.length > 0
  }

  nextBulk(): Batch | undefined {
    for (;;) {
      if (this.#cut.length === 0 && this.#waiting.length > 0) this.#cutWindow()
      const batch = this.#cut.shift()
      if (batch === undefined) return undefined
      const texts = batch.texts.filter(this.#isWanted)
      if (texts.length > 0) return { ...batch, texts }
    }
  }

  /** Takes all that waits. */
  drain(): ReadonlyArray<WantedText> {
    return [...this.#interactive.splice(0), ...this.#waiting.splice(0), ...this.#cut.splice(0).flatMap(({ texts }) => texts)]
  }

  /** Cuts the oldest waiting texts into batches of near-equal length; nobody waits longer than one window. */
  #cutWindow(): void {
    const window = this.#waiting.slice(0, windowTexts)
    this.#waiting = this.#waiting.slice(windowTexts)
    const kept = window.filter(this.#isWanted).sort((a, b) => b.text.length - a.text.length)
    for (let from = 0; from < kept.length;) {
      // Longest first, so a text's own estimate is the width of the batch it opens.
      const width = estimatedTokens(kept[from]?.text ?? "")
      const texts = kept.slice(from, from + Math.max(1, Math.min(batchTexts, Math.floor(batchTokens / width))))
      this.#cut.push({ texts, isInteractive: false, deaths: 0 })
      from += texts.length
    }
  }
}
