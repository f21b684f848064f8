/** What can be seen of a turn without any question: how much it says, whether it only asks, whether it names a time. */
import type { IndexedMemory } from "#shared/memoryindex/user-index"

export interface Traits {
  /** From 0 (nothing) to 1 (40 words or more): a greeting holds no answer. */
  readonly substance: number
  /** Logarithm of how many times longer than 100 words; 0 below. Long turns touch on everything. */
  readonly length: number
  /** Share of its sentences that are questions. */
  readonly asking: number
  readonly namesTime: boolean
}

const longWords = 100
const fullWords = 40
const time = new RegExp(
  "\\b(?:yesterday|today|tonight|recently|just|ago|" +
    "(?:last|next|this|past) (?:night|week|weekend|month|year|morning|summer|autumn|fall|winter|spring|\\w+day)|" +
    "(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october|november|december|\\d{4})\\b",
  "i"
)
const image = /\[image:[^\]]*\]/g

const known = new WeakMap<object, Traits>()

/** Traits of a memory, worked out once for as long as the index holds it. */
export const traitsOf = (memory: IndexedMemory): Traits => {
  const found = known.get(memory)
  if (found !== undefined) return found
  const words = memory.text.match(/[\p{L}\p{N}]+/gu)?.length ?? 0
  const sentences = memory.text.replace(image, "").match(/[^.!?。！？\n]*[\p{L}\p{N}][^.!?。！？\n]*[.!?。！？]*/gu) ?? []
  const traits: Traits = {
    substance: Math.min(1, Math.log(1 + words) / Math.log(1 + fullWords)),
    length: Math.max(0, Math.log(Math.max(1, words) / longWords)),
    asking: sentences.length === 0 ? 0 : sentences.filter((sentence) => /[?？]\s*$/.test(sentence)).length / sentences.length,
    namesTime: time.test(memory.text)
  }
  known.set(memory, traits)
  return traits
}
