/**
 * What a question asks of the index, read from its text and from who speaks in the user's memory: texts to embed and to look up,
 * ranges of time, the person it is about, whether it asks for what the assistant said, for an order of events, or for several pieces.
 */
import { isRole } from "#shared/memoryindex/indexed-text"
import { termOf, terms, words } from "#shared/memoryindex/words"
import { dateWindows } from "./date-windows.ts"
import { namedIn, withoutMonthNames, withPronouns } from "./names.ts"
import { asksOwnPast } from "./own-past.ts"
import { partsOf } from "./parts.ts"
import type { TimeWindow } from "./time-window.ts"

export interface QuestionPlan {
  /** What is looked up by words: the question, or its topic where the rest only says what form the answer should have. */
  readonly topic: string
  /** To be embedded: the question itself, then its parts where it asks about several things. */
  readonly vectorQueries: ReadonlyArray<string>
  readonly windows: ReadonlyArray<TimeWindow>
  /** A chat between people rather than with an assistant. */
  readonly isBetweenPeople: boolean
  /** Speaker whose turns are preferred: the one participant named, or the role asked about. */
  readonly speaker: string | undefined
  readonly asksWhen: boolean
  /** Speaks of what the one who asks did or had. */
  readonly asksOwnPast: boolean
  /** Asks in which order things came up: answered from the user's own turns over time. */
  readonly asksOrder: boolean
  /** Names a time and nothing else that could be looked for, as in "what happened last Tuesday?": all that was said then comes first. */
  readonly asksTimeAlone: boolean
  /** Asks for a summary: long turns are not held against themselves. */
  readonly asksOverview: boolean
}

const assistantSaid = new RegExp(
  [
    "\\byou (?:\\w+ )?(?:said|told|mentioned|recommended|suggested|gave|provided|listed|explained|described|advised|wrote|shared)\\b",
    "\\bdid you\\b",
    "\\byour (?:\\w+ )?(?:suggestion|recommendation|advice|answer|explanation|list)s?\\b",
    // Of what is theirs they told themselves.
    "\\bremind me\\b(?![^.?!]*\\b(?:my|mine)\\b)",
    "\\bour (?:previous|last|earlier|past|recent) (?:conversation|chat|discussion)s?\\b",
    "\\bwe (?:\\w+ )?(?:discussed|talked|spoke)\\b"
  ].join("|"),
  "i"
)
/** The user's own words are asked about, even where the assistant is addressed. */
const userSaid = /\bI (?:\w+ )?(?:said|told|mentioned|brought up|asked|shared|described|discussed)\b/i
/** An order of mentioning, not merely which of two things was first. */
const order = /\b(?:in (?:what|which) order|the order (?:in which|of|that)|in (?:chronological )?order|sequence (?:in which|of)|chronolog\w+)\b/i

const overview = /\b(?:summar(?:y|ies|i[sz]e)|overview|recap)\b/i

/** Wording around the topic of a question about an order or a summary. */
const frames: ReadonlyArray<RegExp> = [
  /^.*?\b(?:in which|how) I (?:\w+ )?(?:brought up|mentioned|discussed|talked about|asked about|raised)\b/i,
  /^.*?\b(?:summary|overview|recap|summari[sz]e)\b(?: of)?(?: how)?/i,
  /\b(?:throughout|across|during|over|in) (?:all )?our (?:\w+ )?(?:conversation|chat|discussion)s?\b,?/gi,
  /,?\s*\bin (?:chronological )?order\b/gi,
  /^.*?\bthe order of\b/i,
  /,?\s*\b(?:starting )?(?:from|with) (?:the )?(?:earliest|oldest|first)(?: to (?:the )?(?:latest|newest|last|most recent))?\b/gi,
  /\b(?:different|various) (?:aspects|parts|topics|details|things) (?:of|about|related to|regarding)\b/gi
]

/** The topic of such a question: its first sentence without the frame, or the question itself where nothing is left. */
const topicOf = (question: string): string => {
  const first = question.split(/(?<=[.?!])\s+/)[0] ?? question
  const left = frames.reduce((text, frame) => text.replace(frame, " "), first).replace(/\s+/g, " ").trim()
  return /[\p{L}\p{N}]{3}/u.test(left) ? left : question
}

const when = /^\W*(?:when\b|what (?:date|day|month|year|time)\b|(?:in|on) (?:which|what) (?:date|day|month|year)\b|how long\b)/i

/** Words that say when, and words that ask what happened or was said without saying what. */
const timeWords = new Set(
  terms(
    "january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept oct nov dec " +
      "monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays saturdays sundays " +
      "spring summer autumn fall winter day days week weeks weekend weekends month months year years hour hours minute minutes ago back last past previous next early mid late " +
      "start beginning begin end middle half first second yesterday today tonight morning afternoon evening night time date between since until till around following " +
      "one two three four five six seven eight nine ten eleven twelve couple few several " +
      "happen happened happening go going gone went talk talked talking discuss discussed tell told say said mention mentioned chat chatted conversation conversations speak spoke spoken " +
      "thing things anything everything something event events take took taken place up new remember recall bring brought come came please let know"
  )
)
const written = /^\d+(?:st|nd|rd|th|s)?$/

const isTimeAlone = (question: string): boolean =>
  words(question).every((word) => {
    const term = termOf(word)
    return term === undefined || timeWords.has(term) || written.test(word)
  })

/**
 * @param speakers who speaks in the memories that may be found
 * @param askedAt  ISO, when the question is asked; absent if not known
 */
export const planQuestion = (question: string, speakers: ReadonlySet<string>, askedAt?: string): QuestionPlan => {
  const participants = [...speakers].filter((speaker) => !isRole(speaker)).sort()
  const isBetweenPeople = participants.length > 0
  const named = namedIn(question, participants)
  const role = assistantSaid.test(question) && !userSaid.test(question) ? "assistant" : "user"
  const asksOrder = order.test(question)
  const asksOverview = overview.test(question)
  const topic = asksOrder || asksOverview ? topicOf(question) : question
  // The days in "between August 3 and August 9" are one range, which the windows are.
  const parts = asksOrder || asksOverview ? [] : partsOf(topic).filter((_, __, all) => !all.some(isTimeAlone))
  const windows = dateWindows(withoutMonthNames(question, participants), askedAt)
  return {
    topic,
    vectorQueries: [topic, ...parts].map((query) => withPronouns(query, named)),
    windows,
    isBetweenPeople,
    speaker: isBetweenPeople ? (named.length === 1 ? named[0] : undefined) : role,
    asksWhen: when.test(question),
    asksOwnPast: asksOwnPast(question),
    asksOrder,
    asksTimeAlone: windows.length > 0 && !asksOrder && isTimeAlone(withPronouns(question, named)),
    asksOverview
  }
}
