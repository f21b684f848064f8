/**
 * What a question asks of the index, read from its text and from who speaks in the user's memory: texts to embed and to look up,
 * ranges of time, the person it is about, whether it asks for what the assistant said, for an order of events, or for several pieces.
 */
import { isRole } from "#shared/memoryindex/indexed-text"
import { dateWindows, type TimeWindow } from "./date-windows.ts"

export interface QuestionPlan {
  /** Looked up by words; the first is the question itself. */
  readonly wordQueries: ReadonlyArray<string>
  /** To be embedded; the first stands for the question itself. */
  readonly vectorQueries: ReadonlyArray<string>
  readonly windows: ReadonlyArray<TimeWindow>
  /** A chat between people rather than with an assistant. */
  readonly isBetweenPeople: boolean
  /** Speaker whose turns are preferred: the one participant named, or the role asked about. */
  readonly speaker: string | undefined
  /** Asks in which order things came up: answered from the user's own turns over time. */
  readonly asksOrder: boolean
}

const assistantSaid = new RegExp(
  [
    "\\byou (?:\\w+ )?(?:said|told|mentioned|recommended|suggested|gave|provided|listed|explained|described|advised|wrote|shared)\\b",
    "\\bdid you\\b",
    "\\byour (?:\\w+ )?(?:suggestion|recommendation|advice|answer|explanation|list)s?\\b",
    "\\bremind me\\b",
    "\\bour (?:\\w+ )?(?:conversation|chat|discussion)s?\\b",
    "\\bwe (?:\\w+ )?(?:discussed|talked|spoke)\\b"
  ].join("|"),
  "i"
)
/** An order of mentioning, not merely which of two things was first. */
const order = /\b(?:in (?:what|which) order|the order (?:in which|of|that)|in (?:chronological )?order|sequence (?:in which|of)|chronolog\w+)\b/i

const escaped = (name: string): string => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

/** Participants a question names, by full name or first name. */
const namedIn = (question: string, participants: ReadonlyArray<string>): ReadonlyArray<string> =>
  participants.filter((name) => [name, name.split(/\s+/)[0] ?? name].some((form) => new RegExp(`(?<![\\p{L}\\p{N}])${escaped(form)}(?![\\p{L}\\p{N}])`, "iu").test(question)))

/** The question with participants' names as pronouns, because a name pulls its vector towards every turn that holds it. */
const withPronouns = (question: string, names: ReadonlyArray<string>): string =>
  names.reduce(
    (text, name) => {
      const form = `(?<![\\p{L}\\p{N}])${escaped(name)}`
      return text.replace(new RegExp(`${form}['’]s?(?![\\p{L}\\p{N}])`, "giu"), "their").replace(new RegExp(`${form}(?![\\p{L}\\p{N}])`, "giu"), "they")
    },
    question
  )

/**
 * @param speakers who speaks in the memories that may be found
 * @param askedAt  ISO, when the question is asked; absent if not known
 */
export const planQuestion = (question: string, speakers: ReadonlySet<string>, askedAt?: string): QuestionPlan => {
  const participants = [...speakers].filter((speaker) => !isRole(speaker)).sort()
  const isBetweenPeople = participants.length > 0
  const named = namedIn(question, participants)
  const role = assistantSaid.test(question) ? "assistant" : "user"
  return {
    wordQueries: [question],
    vectorQueries: [withPronouns(question, named)],
    windows: dateWindows(question, askedAt),
    isBetweenPeople,
    speaker: isBetweenPeople ? (named.length === 1 ? named[0] : undefined) : role,
    asksOrder: order.test(question)
  }
}
