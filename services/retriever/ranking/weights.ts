/** What counts how much in the score of a turn. Weights differ by the kind of chat and were fitted by listwise regression with whole conversations left out, then rounded. */
import type { QuestionPlan } from "./plan.ts"

/** Weights of scores that lie between 0 and 1. */
export interface Weights {
  readonly vectors: number
  readonly words: number
  readonly speaker: number
  /** Of the better neighbour's core score. */
  readonly neighbour: number
  /** Of the mean core score of the conversation's three best turns. */
  readonly conversation: number
  readonly window: number
  readonly substance: number
  readonly length: number
  readonly asking: number
  /** Turns that name a time, where the question asks when. */
  readonly time: number
  /** The user's turns that tell what they did, where the question is about that. */
  readonly past: number
  /** Turns that instruct how to answer from then on. */
  readonly instruction: number
  /** Share of a fact's lead over its turn that the turn gets, among the first turns. */
  readonly fact: number
}

/** Share of vectors in the core score that neighbours and conversations are judged by. */
export const coreVectors = 0.65

const withAssistant: Weights = { vectors: 0.65, words: 0.35, speaker: 0.2, neighbour: 0.15, conversation: 0.3, window: 0.4, substance: 0, length: -0.15, asking: 0, time: 0, past: 0.075, instruction: 0.35, fact: 0.7 }
const betweenPeople: Weights = { vectors: 0.65, words: 0.5, speaker: 0.8, neighbour: 0.5, conversation: 0.8, window: 0.7, substance: 0.6, length: 0, asking: -0.25, time: 0.35, past: 0, instruction: 0, fact: 0.5 }

/** Puts all that was said in a time before the rest, where nothing but the time is asked about. */
const timeLead = 10

export const weightsFor = (plan: QuestionPlan): Weights => {
  const weights = plan.isBetweenPeople ? betweenPeople : withAssistant
  return plan.asksTimeAlone ? { ...weights, window: timeLead } : weights
}
