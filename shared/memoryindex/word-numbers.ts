/**
 * Numbers for words by how they are written, found in a text where they stand: loading a large user goes over millions of words, and to
 * make a string of each took most of the time. The words are those of `words.ts`.
 */
import { grown } from "./columns.ts"
import { isAscii, runLengthMax, wordLengthMax, words } from "./words.ts"

/** What an ASCII character counts as. */
type Fold = Uint8Array
/** The lower case of letters, and digits; 0 for what is part of no word. */
const folded: Fold = Uint8Array.from({ length: 128 }, (_, code) => (/[a-z0-9]/i.test(String.fromCharCode(code)) ? String.fromCharCode(code).toLowerCase().charCodeAt(0) : 0))
/** Words that were cut out of a text before are taken as they are. */
const asIs: Fold = Uint8Array.from({ length: 128 }, (_, code) => code)
const codeAt = (text: string, at: number, fold: Fold): number => {
  const code = text.charCodeAt(at)
  return code < 128 ? (fold[code] ?? 0) : code
}

/** About what a string of a word's length takes, with its place in a list. */
const wordBytes = 40

export class WordNumbers {
  readonly #numberOf: (word: string) => number
  /** Words seen, with their hashes and numbers; `#slots` holds their places by hash, one more than each, and 0 where there is none. */
  readonly #words: Array<string> = []
  #hashes = new Int32Array(1_024)
  #numbers = new Int32Array(1_024)
  #slots = new Int32Array(2_048)
  #found = new Int32Array(256)

  /** @param numberOf asked once for each word, in lower case */
  constructor(numberOf: (word: string) => number) {
    this.#numberOf = numberOf
  }

  /** Bytes of the numbers kept, and about those of the words. */
  get bytes(): number {
    return this.#hashes.byteLength + this.#numbers.byteLength + this.#slots.byteLength + this.#found.byteLength + this.#words.length * wordBytes
  }

  /** Numbers of all words of a text in order; valid until the next call. */
  of(text: string): Int32Array {
    let count = 0
    const add = (of: string, from: number, to: number, fold: Fold): void => {
      if (count === this.#found.length) this.#found = grown(this.#found, count + 1)
      this.#found[count++] = this.#find(of, from, to, fold)
    }
    if (isAscii(text)) {
      let from = -1
      for (let at = 0; at <= text.length; at++) {
        const isWithin = at < text.length && folded[text.charCodeAt(at)] !== 0
        if (from >= 0 && (!isWithin || at - from === runLengthMax)) {
          add(text, from, Math.min(at, from + wordLengthMax), folded)
          from = -1
        }
        if (isWithin && from < 0) from = at
      }
    } else for (const word of words(text)) add(word, 0, word.length, asIs)
    return this.#found.subarray(0, count)
  }

  #find(text: string, from: number, to: number, fold: Fold): number {
    let hash = 0x811c9dc5
    for (let at = from; at < to; at++) hash = Math.imul(hash ^ codeAt(text, at, fold), 0x01000193)
    hash ^= hash >>> 15
    const mask = this.#slots.length - 1
    let slot = hash & mask
    for (let place = this.#slots[slot] ?? 0; place > 0; place = this.#slots[slot] ?? 0) {
      if (this.#hashes[place - 1] === hash && isAt(text, from, to, fold, this.#words[place - 1] ?? "")) return this.#numbers[place - 1] ?? 0
      slot = (slot + 1) & mask
    }
    const word = fold === folded ? text.slice(from, to).toLowerCase() : text.slice(from, to)
    const number = this.#numberOf(word)
    const place = this.#words.push(word)
    if (place > this.#hashes.length) {
      this.#hashes = grown(this.#hashes, place)
      this.#numbers = grown(this.#numbers, place)
    }
    this.#hashes[place - 1] = hash
    this.#numbers[place - 1] = number
    this.#slots[slot] = place
    if (place * 2 > this.#slots.length) this.#spread()
    return number
  }

  /** Twice the slots, so that a word is found within a few. */
  #spread(): void {
    const mask = this.#slots.length * 2 - 1
    this.#slots = new Int32Array(mask + 1)
    for (let place = 1; place <= this.#words.length; place++) {
      let slot = (this.#hashes[place - 1] ?? 0) & mask
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask
      this.#slots[slot] = place
    }
  }
}

const isAt = (text: string, from: number, to: number, fold: Fold, word: string): boolean => {
  if (word.length !== to - from) return false
  for (let at = 0; at < word.length; at++) if (codeAt(text, from + at, fold) !== word.charCodeAt(at)) return false
  return true
}
