/**
 * What can be seen of a judged attempt without a model: how the reference answer, the evidence and the response lie to one another.
 * The rule-based reflector works from these.
 */
import type { EvidenceItem } from "#shared/domain/evidence"
import type { Question } from "#shared/domain/question"
import type { QuestionClass } from "#shared/domain/scope"
import { acceptedForms, answerTokens, isAbstention } from "./lexical.ts"
import { routeQuestion } from "./router.ts"

export const features = [
  /** Says that it is not known. */
  "abstained",
  /** Answers a question that cannot be answered. */
  "answered-unanswerable",
  /** The reference answer stands word for word in one memory. */
  "answer-in-evidence",
  /** The reference answer stands in what the assistant said. */
  "answer-by-assistant",
  /** The words of the reference answer are spread over several memories. */
  "answer-spread",
  /** Hardly any word of the reference answer is in the evidence. */
  "answer-missing",
  /** The response holds a part of the reference answer, not all. */
  "partial",
  /** The response takes words from an older memory than the one that holds the answer. */
  "older-value-used",
  /** A number is wanted and the response gives a lower one. */
  "number-too-low",
  /** A number is wanted and the response gives a higher one. */
  "number-too-high",
  /** A number is wanted and the response gives none. */
  "number-missing",
  /** Memories say yesterday, last week and the like. */
  "relative-dates",
  /** Memories of more than one conversation were shown. */
  "many-conversations",
  /** More than twelve memories were shown. */
  "many-memories",
  /** The response is longer than sixty words. */
  "wordy"
] as const
export type Feature = (typeof features)[number]

export interface JudgedAttempt {
  readonly question: Pick<Question, "id" | "text" | "answer" | "abstention">
  readonly evidence: ReadonlyArray<EvidenceItem>
  readonly response: string
  readonly correct: boolean
}

export interface AttemptFeatures {
  readonly questionClass: QuestionClass
  readonly correct: boolean
  readonly features: ReadonlySet<Feature>
}

const numbersIn = (tokens: ReadonlyArray<string>): ReadonlyArray<number> => tokens.filter((token) => /^\d+(?:\.\d+)?$/.test(token)).map(Number)
const contentOf = (tokens: ReadonlyArray<string>): ReadonlySet<string> => new Set(tokens.filter((token) => token.length > 2 || /\d/.test(token)))
const relativeDate = /\b(?:yesterday|today|tomorrow|last (?:night|week|month|year|weekend)|(?:this|next) (?:week|month|weekend)|\w+ (?:days?|weeks?|months?) ago)\b/i

/** The features of one attempt; a lexical look, so paraphrases go unseen. */
export const attemptFeatures = (attempt: JudgedAttempt): AttemptFeatures => {
  const found = new Set<Feature>()
  const { question, evidence, response } = attempt
  const said = answerTokens(response)
  const saidSet = new Set(said)
  const wanted = answerTokens(acceptedForms(question.answer)[0] ?? question.answer)
  const content = [...contentOf(wanted)]
  const shareIn = (tokens: ReadonlySet<string>): number => (content.length === 0 ? 0 : content.filter((token) => tokens.has(token)).length / content.length)
  const items = evidence.map((item) => ({ item, tokens: new Set(answerTokens(item.text)) }))
  const holders = items.filter(({ tokens }) => shareIn(tokens) === 1)

  if (isAbstention(response)) found.add("abstained")
  else if (question.abstention) found.add("answered-unanswerable")
  if (!question.abstention) {
    if (holders.length > 0) found.add("answer-in-evidence")
    if (holders.some(({ item }) => item.speaker === "assistant")) found.add("answer-by-assistant")
    const union = new Set(items.flatMap(({ tokens }) => [...tokens]))
    if (holders.length === 0 && content.length > 1 && shareIn(union) >= 0.8) found.add("answer-spread")
    if (shareIn(union) < 0.3) found.add("answer-missing")
    const share = shareIn(saidSet)
    if (share > 0 && share < 1) found.add("partial")
    const newest = holders.at(-1)
    if (newest !== undefined && !attempt.correct) {
      const own = [...saidSet].filter((token) => (token.length > 3 || /\d/.test(token)) && !newest.tokens.has(token))
      const older = items.filter(({ item }) => item.time < newest.item.time)
      if (own.some((token) => older.some(({ tokens }) => tokens.has(token)))) found.add("older-value-used")
    }
    const [goal] = numbersIn(wanted)
    if (goal !== undefined && !attempt.correct) {
      const given = numbersIn(said).at(-1)
      if (given === undefined) found.add("number-missing")
      else if (given < goal) found.add("number-too-low")
      else if (given > goal) found.add("number-too-high")
    }
  }
  if (evidence.some((item) => relativeDate.test(item.text))) found.add("relative-dates")
  if (new Set(evidence.map((item) => item.conversation)).size > 1) found.add("many-conversations")
  if (evidence.length > 12) found.add("many-memories")
  if (response.split(/\s+/).length > 60) found.add("wordy")
  return { questionClass: routeQuestion(question.text), correct: attempt.correct, features: found }
}
