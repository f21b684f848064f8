/**
 * Turns for the stream bench: plain sentences out of a seed, each with one word that stands in no other turn. So a question has one right
 * answer: by words it is that word, and by vector the whole sentence in a spelling that shares no word with it.
 */
import { terms } from "#shared/memoryindex/words"
import type { Draw } from "./load.ts"

export interface StreamTurn {
  /** Its place in the stream, from 0. */
  readonly place: number
  readonly user: string
  readonly conversation: string
  readonly speaker: "user" | "assistant"
  readonly text: string
  /** The word that stands in this turn alone. */
  readonly marker: string
  /** What it is about; other turns are about the like. */
  readonly what: string
}

const consonants = "bdfgklmnprstvz"
const vowels = "aeiou"
const syllableCount = consonants.length * vowels.length
/** Markers there are: three syllables. */
export const markersMax = syllableCount ** 3
/** Shares no factor with their number, so that neighbours in the stream look nothing like one another. */
const stride = 61_417

/** The word of one place; no two places below {@link markersMax} have the same, and no English word ends like it. */
export const markerOf = (place: number): string => {
  let rest = (place * stride) % markersMax
  let word = ""
  for (let n = 0; n < 3; n++, rest = Math.floor(rest / syllableCount)) {
    const syllable = rest % syllableCount
    word += `${consonants.charAt(Math.floor(syllable / vowels.length))}${vowels.charAt(syllable % vowels.length)}`
  }
  return `${word}x`
}

const things = "bicycle violin kayak telescope ferret greenhouse typewriter harmonica bookcase tent lantern sweater canoe teapot rug bakery sculpture puzzle orchard workshop".split(" ")
const qualities = "old red narrow quiet heavy bright wooden tiny rusty gentle crooked polished".split(" ")
const deeds = "bought repaired sold painted borrowed photographed cleaned drew found carried".split(" ")
const places = "Oslo Turku Porto Ghent Graz Split Cork Bergen Lyon Padua Bremen Tartu".split(" ")
const people = "Anna Bruno Carla Dmitri Elena Farid Greta Hiro".split(" ")
const wishes = [
  "I want to show it to everyone at work",
  "my brother keeps asking about it",
  "it cost far more than I had planned",
  "the neighbours were not amused at all",
  "I still need a proper place for it",
  "it reminds me of the house I grew up in"
]
const advice = [
  "let two thin coats dry before you touch it",
  "a little oil on the hinges will help",
  "keep it away from the damp wall",
  "write down what you paid, for the insurance",
  "ask the shop for the missing parts",
  "measure the door before you move it"
]

const pick = <A>(draw: Draw, from: readonly [A, ...Array<A>] | ReadonlyArray<A>): A => from[Math.floor(draw() * from.length)] as A

/** Turns on one thing before a conversation comes to the next. */
const topicTurns = 8

/** Turns of one conversation before another takes its place. */
export const conversationTurns = 100

/**
 * Spread over `conversations` conversations at a time, five to a user, at random; speakers take turns in each, and topics change. One that has
 * become {@link conversationTurns} long is left and another takes its place, of another user: who talked all day without end would be
 * nobody. The first ones are of all lengths, so that they do not all end at once.
 */
export const streamTurns = (draw: Draw, conversations: number, firstPlace = 0): (() => StreamTurn) => {
  const said = new Map<number, number>()
  let place = firstPlace
  return () => {
    const at = Math.floor(draw() * conversations)
    const begun = Math.floor((at * conversationTurns) / conversations)
    const before = said.get(at) ?? begun - (begun % 2)
    said.set(at, before + 1)
    const ended = Math.floor(before / conversationTurns)
    const conversation = at + conversations * ended
    const marker = markerOf(place)
    const what = `${pick(draw, qualities)} ${things[(conversation * 7 + Math.floor(before / topicTurns) * 3) % things.length] ?? ""}`
    const speaker = before % 2 === 0 ? "user" : "assistant"
    const text = speaker === "user"
      ? `I ${pick(draw, deeds)} a ${what} named ${marker} in ${pick(draw, places)} with ${pick(draw, people)}, and ${pick(draw, wishes)}.`
      : `The ${what} named ${marker} sounds lovely, and ${pick(draw, people)} would agree; ${pick(draw, advice)}, and ${pick(draw, advice)}.`
    return { place: place++, user: `u${Math.floor(at / 5) + Math.ceil(conversations / 5) * ended}`, conversation: `c${conversation}`, speaker, text, marker, what }
  }
}

/** As somebody asks for one turn: who said it, what it is about, and the word that no other has. */
export const wordQuestion = ({ marker, speaker, what }: Pick<StreamTurn, "marker" | "speaker" | "what">): string =>
  speaker === "user" ? `Which ${what} is it that I named ${marker}?` : `What did you tell me about the ${what} named ${marker}?`

/**
 * The text with a soft hyphen in every word. The embedding model reads over it, so that its vector is that of the text itself; the index
 * of words sees two pieces that are no words.
 *
 * @throws RangeError where a term is shared all the same, and the question would not tell vectors from words
 */
export const vectorQuestion = (text: string): string => {
  const own = new Set(terms(text))
  return text.replace(/\p{L}{2,}/gu, (word) => {
    for (let at = 1; at < word.length; at++) {
      const pieces = `${word.slice(0, at)}\u00ad${word.slice(at)}`
      if (!terms(pieces).some((term) => own.has(term))) return pieces
    }
    throw new RangeError(`a question by vector cannot do without the word "${word}" of its turn`)
  })
}
