/**
 * The parts of a question about several things: "how many days between A and B?", "which came first, A or B?", "what is A, and where did
 * I B?", "considering A, B and C, how …?". The vector of the whole lies between the things and may be near to none, so each is looked for
 * by one of its own as well.
 */
import { terms } from "#shared/memoryindex/words"

/** A longer question is pasted material, and its commas and "or" divide something else. */
const questionCharacters = 600
/** Parts looked for, at most. */
const partsMax = 4
/** Words that a part needs to be looked for by itself: a single one is near to anything. */
const termsMin = 2

const questionWord = "(?:what|when|where|who|whom|whose|which|why|how)"
const sentenceEnd = /(?<=[?.!])\s+(?=\p{Lu})/u
const nextQuestion = new RegExp(`,? and (?=${questionWord}\\b|(?:did|does|do|is|are|was|were|have|has|had|can|could|should|would) (?:I|you|we|they|he|she|it)\\b)`, "i")
/** "And" joins words within a thing as well: it parts two where the second begins as things do, and else at its first place. */
const pairs: ReadonlyArray<RegExp> = [
  /\bbetween (when .+?),? and (when .+)$/iu,
  /\bbetween (.+),? and ((?:the|my|our|your|his|her|their|its|an?|when|\p{L}+ing)\b.+)$/iu,
  /\bbetween (.+?),? and (.+)$/iu,
  /\b(?:since|after|before) ((?:I|we|they|he|she) .+?),? when ((?:I|we|they|he|she) .+)$/iu
]
/** "Between A and B, which is the faster?" */
const askedAfterwards = new RegExp(`, ${questionWord}\\b.*$`, "i")
const choice = /(?:,|:| [-–])\s+([^?]+?),? or ([^?]+)\?*$/i
/** "Considering A, B and C, how should I…?" */
const considered = new RegExp(`^\\W*(?:considering|given|based on|in (?:view|light) of|taking into account) (.+), (?=${questionWord}\\b|(?:can|could|should|would|do|did|is|are) )`, "i")
const choosing = /\b(?:which|what|who|first|last|earlier|later|sooner|more|longer|better|cheaper|older|newer)\b/i

const pairIn = (question: string): ReadonlyArray<string> => {
  const pair = pairs.map((form) => form.exec(question)).find((found) => found !== null)
  if (pair !== undefined) return [pair[1] ?? "", (pair[2] ?? "").replace(askedAfterwards, "")]
  const list = considered.exec(question)?.[1]?.split(/,\s+(?:and\s+)?|\s+and\s+(?=(?:the|my|our|your|his|her|their|its|an?)\b)/) ?? []
  if (list.length > 1) return list
  const found = choice.exec(question)
  return found !== null && choosing.test(question.slice(0, found.index)) ? [...(found[1] ?? "").split(/,\s+/), found[2] ?? ""] : []
}

const questionsIn = (text: string): ReadonlyArray<string> => {
  const sentences = text.split(sentenceEnd).filter((sentence) => /\?\s*$/.test(sentence))
  return (sentences.length > 1 ? sentences : [text]).flatMap((sentence) => sentence.split(nextQuestion))
}

/** In the order they are named; none where a question is about one thing. */
export const partsOf = (question: string): ReadonlyArray<string> => {
  if (question.length > questionCharacters) return []
  const pair = pairIn(question)
  const parts = (pair.length > 0 ? pair : questionsIn(question)).map((part) => part.replace(/^[\s,;:]+|[\s,;:?.!]+$/g, "")).filter((part) => terms(part).length >= termsMin)
  return parts.length < 2 ? [] : parts.slice(0, partsMax)
}
