/**
 * Scores of all turns of a user for one question, as plain passes over columns: a large store has a hundred thousand rows, and
 * each question goes over all of them.
 */
import type { ShelfView } from "#shared/memoryindex/user-index"
import type { QuestionPlan } from "./plan.ts"
import { coreVectors, type Weights } from "./weights.ts"

/** A speaker's part in the core score. */
const coreSpeaker = { withAssistant: 0.15, betweenPeople: 0.3 }

/** Lets user turns come before all others where the order of what a user brought up is asked. */
const timelineLead = 10

/** Least score and distance to the greatest, by which scores are brought between 0 and 1; no span where all are equal. */
export interface Range {
  readonly floor: number
  readonly span: number
}

/** Range of the scores of rows that stand and of which there is one, from their least or from 0. @param scored 1 for each row that has a score; absent = all have */
export const rangeOf = (scores: Float32Array, standing: Uint8Array, fromLeast: boolean, scored = standing): Range => {
  let least = Infinity
  let greatest = -Infinity
  for (let row = 0; row < scores.length; row++) {
    if (standing[row] !== 1 || scored[row] !== 1) continue
    const score = scores[row] ?? 0
    if (score < least) least = score
    if (score > greatest) greatest = score
  }
  if (greatest === -Infinity) return { floor: 0, span: 0 }
  const floor = fromLeast ? least : 0
  return { floor, span: greatest - floor }
}

/** Mean of the scores of rows that stand and of which there is one; 0 of none. */
export const meanOf = (scores: Float32Array, standing: Uint8Array, scored: Uint8Array): number => {
  let sum = 0
  let count = 0
  for (let row = 0; row < scores.length; row++) {
    if (standing[row] !== 1 || scored[row] !== 1) continue
    sum += scores[row] ?? 0
    count += 1
  }
  return sum / Math.max(1, count)
}

/** A score within a range; 0 where the range has no span. */
export const within = (score: number, { floor, span }: Range): number => (span > 0 ? Math.fround((score - floor) / span) : 0)

const isWithinAny = (windows: QuestionPlan["windows"], time: number): boolean => windows.some(({ from, to }) => time >= from && time <= to)

/** How near turns come to the question by their own vectors and words, each between 0 and 1. */
export interface TurnScores {
  readonly near: (row: number) => number
  readonly words: (row: number) => number
  /** Row of the one turn that has more than twice as much of the question's words as any other, each counted by how rare it is. */
  readonly outstanding: () => number | undefined
  /** Range and mean of their cosines; absent without a vector of the question. */
  readonly cosines: (Range & { readonly mean: () => number }) | undefined
  /** Scores by row, without their traits; rows that do not stand have none that means anything. */
  readonly total: () => Float32Array
}

/** How many times the next best score the best one stands out with. */
const outstandingRatio = 2

/** Row that stands and whose score is more than twice that of any other; undefined where there is none. */
const outstandingOf = (scores: Float32Array, standing: Uint8Array): number | undefined => {
  let best = 0
  let second = 0
  let found: number | undefined
  for (let row = 0; row < scores.length; row++) {
    const score = scores[row] ?? 0
    if (score <= second || standing[row] !== 1) continue
    if (score > best) {
      second = best
      best = score
      found = row
    } else second = score
  }
  return best > outstandingRatio * second ? found : undefined
}

/** What the question gave of all rows. */
interface Matches {
  readonly words: Float32Array
  readonly wordRange: Range
  /** Words take the part of vectors where there is none of the question. */
  readonly near: Float32Array
  /** 1 for each row that has a score of its own there; in the others, said a moment ago, words take its part. */
  readonly nearKnown: Uint8Array
  readonly nearRange: Range
}

/** What each conversation adds to the scores of its turns, from its three best core scores; a missing one counts 0. @param core 0 in rows that do not stand */
const sharesOf = ({ conversationCodes, conversationCount, standing }: ShelfView, core: Float32Array, weight: number): Float64Array => {
  const size = standing.length
  const best = new Float32Array(conversationCount * 3)
  // Turns of a conversation mostly stand together: its three are written when another's turn comes.
  let at = 0
  let first = 0
  let second = 0
  let third = 0
  for (let row = 0; row < size; row++) {
    const own = core[row] ?? 0
    const here = (conversationCodes[row] ?? 0) * 3
    if (here !== at) {
      best[at] = first
      best[at + 1] = second
      best[at + 2] = third
      at = here
      first = best[at] ?? 0
      second = best[at + 1] ?? 0
      third = best[at + 2] ?? 0
    }
    const low = own > first ? first : own
    const lower = low > second ? second : low
    first = own > first ? own : first
    second = low > second ? low : second
    third = lower > third ? lower : third
  }
  best.set([first, second, third].slice(0, best.length), at)
  const shares = new Float64Array(conversationCount)
  for (let code = 0, at = 0; code < conversationCount; code++, at += 3) shares[code] = weight * (((best[at] ?? 0) + (best[at + 1] ?? 0) + (best[at + 2] ?? 0)) / 3)
  return shares
}

/** Adds to each score what the better neighbour and the conversation give. */
const addContext = ({ after, before, conversationCodes, standing, standingCount }: ShelfView, scores: Float32Array, core: Float32Array, shares: Float64Array, weight: number): void => {
  const size = standing.length
  const hasGaps = standingCount < size
  for (let row = 0; row < size; row++) {
    if (standing[row] !== 1) continue
    let previous = before[row] ?? -1
    let next = after[row] ?? -1
    if (hasGaps) {
      while (previous >= 0 && standing[previous] !== 1) previous = before[previous] ?? -1
      while (next >= 0 && standing[next] !== 1) next = after[next] ?? -1
    }
    const left = previous < 0 ? 0 : (core[previous] ?? 0)
    const right = next < 0 ? 0 : (core[next] ?? 0)
    scores[row] = (scores[row] ?? 0) + weight * (left > right ? left : right) + (shares[conversationCodes[row] ?? 0] ?? 0)
  }
}

/** All columns are taken into variables of their own, and each loop has its own function, since what is looked up in a loop over a hundred thousand rows is most of its time. */
const totals = (shelf: ShelfView, plan: QuestionPlan, matches: Matches, weights: Weights): Float32Array => {
  const { speakerCodes, standing, times } = shelf
  const size = standing.length
  const { near, nearKnown, words } = matches
  const wordFloor = matches.wordRange.floor
  const wordSpan = matches.wordRange.span
  const nearFloor = matches.nearRange.floor
  const nearSpan = matches.nearRange.span
  const { conversation: conversationWeight, neighbour: neighbourWeight, speaker: speakerWeight, vectors: vectorWeight, window: windowWeight, words: wordWeight } = weights
  const coreLead = plan.isBetweenPeople ? coreSpeaker.betweenPeople : coreSpeaker.withAssistant
  // No row has a number below 0.
  const speaker = (plan.speaker === undefined ? undefined : shelf.speakerCode(plan.speaker)) ?? -1
  const user = (plan.asksOrder && !plan.isBetweenPeople ? shelf.speakerCode("user") : undefined) ?? -1
  const { windows } = plan
  const hasWindows = windows.length > 0
  const core = new Float32Array(size)
  const scores = new Float32Array(size)
  for (let row = 0; row < size; row++) {
    if (standing[row] !== 1) continue
    const word = wordSpan > 0 ? Math.fround(((words[row] ?? 0) - wordFloor) / wordSpan) : 0
    const close = nearKnown[row] !== 1 ? word : nearSpan > 0 ? Math.fround(((near[row] ?? 0) - nearFloor) / nearSpan) : 0
    const isSpeaker = speakerCodes[row] === speaker
    core[row] = coreVectors * close + (1 - coreVectors) * word + (isSpeaker ? coreLead : 0)
    let score = vectorWeight * close + wordWeight * word + (isSpeaker ? speakerWeight : 0)
    if (hasWindows && isWithinAny(windows, times[row] ?? 0)) score += windowWeight
    if (speakerCodes[row] === user) score += timelineLead
    scores[row] = score
  }
  addContext(shelf, scores, core, sharesOf(shelf, core, conversationWeight), neighbourWeight)
  return scores
}

export const turnScores = (shelf: ShelfView, plan: QuestionPlan, vector: Float32Array | undefined, weights: Weights): TurnScores => {
  const words = shelf.words(plan.topic)
  const wordRange = rangeOf(words, shelf.standing, false)
  const near = vector === undefined ? words : shelf.nearest(vector)
  const nearKnown = vector === undefined ? shelf.standing : shelf.vectored
  const nearRange = vector === undefined ? wordRange : rangeOf(near, shelf.standing, true, nearKnown)
  const wordsOf = (row: number): number => within(words[row] ?? 0, wordRange)
  return {
    near: (row) => (nearKnown[row] === 1 ? within(near[row] ?? 0, nearRange) : wordsOf(row)),
    words: wordsOf,
    outstanding: () => outstandingOf(words, shelf.standing),
    cosines: vector === undefined ? undefined : { ...nearRange, mean: () => meanOf(near, shelf.standing, nearKnown) },
    total: () => totals(shelf, plan, { words, wordRange, near, nearKnown, nearRange }, weights)
  }
}
