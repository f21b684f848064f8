/** What can be seen of a turn without any question: how much it says, whether it only asks, whether it names a time. */
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import { tellsOwnPast } from "./own-past.ts"
import type { QuestionPlan } from "./plan.ts"
import type { Weights } from "./weights.ts"

const longWords = 100
const fullWords = 40
const time = new RegExp(
  "\\b(?:yesterday|today|tonight|recently|just|ago|" +
    "(?:last|next|this|past) (?:night|week|weekend|month|year|morning|summer|autumn|fall|winter|spring|\\w+day)|" +
    "(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october|november|december|\\d{4})\\b",
  "i"
)
const image = /\[image:[^\]]*\]/g

/** A trait is worked out when it is first asked for, and known for as long as the index holds the memory. */
const remembered = <A>(work: (memory: IndexedMemory) => A): ((memory: IndexedMemory) => A) => {
  const known = new WeakMap<object, A>()
  return (memory) => {
    const found = known.get(memory)
    if (found !== undefined) return found
    const trait = work(memory)
    known.set(memory, trait)
    return trait
  }
}

/** From 0 (nothing) to 1 (40 words or more): a greeting holds no answer. */
const substanceOf = (words: number): number => Math.min(1, Math.log(1 + words) / Math.log(1 + fullWords))

/** Logarithm of how many times longer than 100 words; 0 below. Long turns touch on everything. */
const lengthOf = (words: number): number => (words <= longWords ? 0 : Math.log(words / longWords))

/** Share of its sentences that are questions. */
const askingOf = remembered(({ text }) => {
  const sentences = text.replace(image, "").match(/[^.!?。！？؟۔।\n]*[\p{L}\p{N}][^.!?。！？؟۔।\n]*[.!?。！？؟۔।]*/gu) ?? []
  return sentences.length === 0 ? 0 : sentences.filter((sentence) => /[?？؟]\s*$/.test(sentence)).length / sentences.length
})

/** What is looked at of a text for what its speaker did: further on it is pasted material. */
const ownCharacters = 4_000
const tellsPast = remembered(({ text }) => tellsOwnPast(text.slice(0, ownCharacters)))

const namesTime = remembered(({ text }) => time.test(text))

/** An instruction for all later talk is short; what a longer text asks for belongs to the task it is about. */
const instructionCharacters = 500
const doing = "(?!(?:mind|again|been|had|heard|seen|thought|knew|was|were|really|\\p{L}+ed)\\b)\\p{L}+"
const instruction = new RegExp(
  [
    `(?:^|[.!?;:\\n]\\s*)(?:(?:also|and|so|but|then|oh),?\\s+)?(?:(?:please|remember to|(?:make|be) sure (?:to|you|that you)|I(?:['’]d| would) like you to|I want you to),?\\s+)?(?:always|never) ${doing}`,
    "\\b(?:when(?:ever)?|(?:every|any) ?time) I (?:ask|inquire)(?: you)?(?: about| for| how| what|,)",
    "\\bfrom (?:now|here) on,? (?:please|you|always|never|use|answer|reply|respond|call|keep|write|give|do not|don['’]t)\\b",
    "\\bin (?:all )?(?:your |the )?future (?:answers|replies|responses)\\b"
  ].join("|"),
  "iu"
)

/** An instruction how to answer, given once for all later questions. */
export const instructs = remembered(({ speaker, text }) => speaker === "user" && text.length <= instructionCharacters && instruction.test(text))

/** What the assistant said, and what a summary is made of, often stands in its long turns. */
const mayBeLong = ({ asksOverview, speaker }: QuestionPlan): boolean => asksOverview || speaker === "assistant"

/** What a turn's form adds to its score. @param words how many it has */
export const formOf = (memory: IndexedMemory, words: number, plan: QuestionPlan, weights: Weights): number =>
  (weights.substance === 0 ? 0 : weights.substance * substanceOf(words)) +
  (weights.length === 0 || mayBeLong(plan) ? 0 : weights.length * lengthOf(words)) +
  (weights.asking === 0 ? 0 : weights.asking * askingOf(memory)) +
  (weights.time !== 0 && plan.asksWhen && namesTime(memory) ? weights.time : 0) +
  (weights.past !== 0 && plan.asksOwnPast && memory.speaker === "user" && plan.speaker === "user" && tellsPast(memory) ? weights.past : 0)

/** The most a turn's form can add. */
export const mostForm = (plan: QuestionPlan, { asking, length, past, substance, time }: Weights): number =>
  Math.max(0, substance) + (length > 0 && !mayBeLong(plan) ? Infinity : 0) + Math.max(0, asking) + (plan.asksWhen ? Math.max(0, time) : 0) + (plan.asksOwnPast ? Math.max(0, past) : 0)
