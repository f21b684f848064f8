/**
 * Scores of all turns of a user for one question, as plain passes over columns: a large store has a hundred thousand rows, and
 * each question goes over all of them. Where a row has a number to multiply by, the loops do that instead of branching on it: that
 * takes a third of the time.
 */
import type { ShelfView } from "#shared/memoryindex/shelf"
import type { QuestionPlan } from "./plan.ts"
import { coreVectors, type Weights } from "./weights.ts"

/** A speaker's part in the core score. */
const coreSpeaker = { withAssistant: 0.15, betweenPeople: 0.3 }

/** Lets user turns come before all others where the order of what a user brought up is asked. */
const timelineLead = 10

/** Brings scores between 0 and 1: the least is taken off, and what is left multiplied. The scale is 0 where all scores are equal. */
export interface Range {
  readonly floor: number
  readonly scale: number
}

/** Further than any score. */
const farAway = 1e12

/** Range of the scores of rows that stand and of which there is one, from their least or from 0. @param scored 1 for each row that has a score; absent = all have */
export const rangeOf = (scores: Float32Array, standing: Uint8Array, fromLeast: boolean, scored = standing): Range => {
  let least = Infinity
  let greatest = -Infinity
  for (let row = 0; row < scores.length; row++) {
    const score = scores[row] ?? 0
    // What does not count is moved out of the way.
    const away = (1 - (standing[row] ?? 0) * (scored[row] ?? 0)) * farAway
    const above = score + away
    const below = score - away
    if (above < least) least = above
    if (below > greatest) greatest = below
  }
  if (greatest <= -farAway / 2) return { floor: 0, scale: 0 }
  const floor = fromLeast ? least : 0
  return { floor, scale: greatest > floor ? 1 / (greatest - floor) : 0 }
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

/** A score within a range. */
export const within = (score: number, { floor, scale }: Range): number => (score - floor) * scale

const isWithinAny = (windows: QuestionPlan["windows"], time: number): boolean => windows.some(({ from, to }) => time >= from && time <= to)

/** How near turns come to the question by their own vectors and words, each between 0 and 1. */
export interface TurnScores {
  readonly near: (row: number) => number
  readonly words: (row: number) => number
  /** Row of the one turn that has more than half as much again of the question's words as any other, each counted by how rare it is. */
  readonly outstanding: () => number | undefined
  /** The same to each of the question's vectors. */
  readonly nearness: ReadonlyArray<Nearness>
  /** Scores by row, without their traits; rows that do not stand have none that means anything. Valid until the next question's. */
  readonly total: () => Float32Array
}

/** How many times the next best score the best one stands out with. */
const outstandingRatio = 1.5

/** Row that stands and whose score is more than half as much again as any other; undefined where there is none. */
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

/** What each conversation adds to the scores of its turns, from its three best core scores; a missing one counts 0. @param core 0 in rows that do not stand, each one place later */
const sharesOf = ({ conversationCodes, conversationCount, standing }: ShelfView, core: Float32Array, weight: number): Float64Array => {
  const size = standing.length
  const best = new Float32Array(conversationCount * 3)
  // Turns of a conversation mostly stand together: its three are written when another's turn comes.
  let at = 0
  let first = 0
  let second = 0
  let third = 0
  for (let row = 0; row < size; row++) {
    const own = core[row + 1] ?? 0
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
    if (own <= third) continue
    const low = Math.min(own, first)
    first = Math.max(own, first)
    third = Math.max(Math.min(low, second), third)
    second = Math.max(low, second)
  }
  best.set([first, second, third].slice(0, best.length), at)
  const shares = new Float64Array(conversationCount)
  for (let code = 0, at = 0; code < conversationCount; code++, at += 3) shares[code] = weight * (((best[at] ?? 0) + (best[at + 1] ?? 0) + (best[at + 2] ?? 0)) / 3)
  return shares
}

/** The neighbours before each row, or after it, that stand. Each is one more than the row, as in the index. */
const standingOnes = (neighbours: Int32Array, { standing, standingCount }: ShelfView): Int32Array => {
  if (standingCount === standing.length) return neighbours
  const found = new Int32Array(standing.length)
  for (let row = 0; row < standing.length; row++) {
    let next = neighbours[row] ?? 0
    while (next > 0 && standing[next - 1] !== 1) next = neighbours[next - 1] ?? 0
    found[row] = next
  }
  return found
}

/** Adds to each score what the better neighbour and the conversation give. @param core each one place later, and 0 in front for no neighbour */
const addContext = (scores: Float32Array, core: Float32Array, before: Int32Array, after: Int32Array, conversationCodes: Uint32Array, shares: Float64Array, weight: number): void => {
  const size = scores.length
  for (let row = 0; row < size; row++) {
    const left = core[before[row] ?? 0] ?? 0
    const right = core[after[row] ?? 0] ?? 0
    scores[row] = (scores[row] ?? 0) + weight * (left > right ? left : right) + (shares[conversationCodes[row] ?? 0] ?? 0)
  }
}

/** Adds so much to the score of each row that said it within one of the windows. */
const addWindows = (scores: Float32Array, times: Float64Array, windows: QuestionPlan["windows"], lead: number): void => {
  for (let row = 0; row < scores.length; row++) if (isWithinAny(windows, times[row] ?? 0)) scores[row] = (scores[row] ?? 0) + lead
}

/** Adds so much to the score of each row of a speaker. */
const addSpeaker = (scores: Float32Array, speakerCodes: Uint16Array, speaker: number, lead: number): void => {
  for (let row = 0; row < scores.length; row++) if (speakerCodes[row] === speaker) scores[row] = (scores[row] ?? 0) + lead
}

/** For the scores of the question at hand: new numbers for every row and question would keep the garbage collector busy. */
let held = { core: new Float32Array(1), scores: new Float32Array(0) }
const room = (size: number): typeof held => {
  if (held.scores.length < size) held = { core: new Float32Array(Math.ceil(size * 1.25) + 1), scores: new Float32Array(Math.ceil(size * 1.25)) }
  return { core: held.core, scores: held.scores.subarray(0, size) }
}

/** All columns are taken into variables of their own, and each loop has its own function, since what is looked up in a loop over a hundred thousand rows is most of its time. */
const totals = (shelf: ShelfView, plan: QuestionPlan, matches: Matches, weights: Weights): Float32Array => {
  const { speakerCodes, standing } = shelf
  const size = standing.length
  const { near, nearKnown, words } = matches
  const wordFloor = matches.wordRange.floor
  const wordScale = matches.wordRange.scale
  const nearFloor = matches.nearRange.floor
  const nearScale = matches.nearRange.scale
  const { conversation: conversationWeight, neighbour: neighbourWeight, speaker: speakerWeight, vectors: vectorWeight, window: windowWeight, words: wordWeight } = weights
  const coreLead = plan.isBetweenPeople ? coreSpeaker.betweenPeople : coreSpeaker.withAssistant
  // No row has a number below 0.
  const speaker = (plan.speaker === undefined ? undefined : shelf.speakerCode(plan.speaker)) ?? -1
  const { core, scores } = room(size)
  for (let row = 0; row < size; row++) {
    const word = ((words[row] ?? 0) - wordFloor) * wordScale
    const isKnown = nearKnown[row] ?? 0
    const close = isKnown * (((near[row] ?? 0) - nearFloor) * nearScale) + (1 - isKnown) * word
    const isSpeaker = speakerCodes[row] === speaker ? 1 : 0
    core[row + 1] = (coreVectors * close + (1 - coreVectors) * word + isSpeaker * coreLead) * (standing[row] ?? 0)
    scores[row] = vectorWeight * close + wordWeight * word + isSpeaker * speakerWeight
  }
  if (plan.windows.length > 0) addWindows(scores, shelf.times, plan.windows, windowWeight)
  const user = plan.asksOrder && !plan.isBetweenPeople ? shelf.speakerCode("user") : undefined
  if (user !== undefined) addSpeaker(scores, speakerCodes, user, timelineLead)
  const shares = sharesOf(shelf, core, conversationWeight)
  addContext(scores, core, standingOnes(shelf.before, shelf), standingOnes(shelf.after, shelf), shelf.conversationCodes, shares, neighbourWeight)
  return scores
}

/** How near rows are to one of the question's vectors. */
export interface Nearness {
  readonly cosines: Float32Array
  readonly range: Range
  readonly mean: () => number
}

const nearnessOf = (shelf: ShelfView, vector: Float32Array, isOneOfSeveral: boolean): Nearness => {
  // The index gives every answer in the same array.
  const cosines = isOneOfSeveral ? shelf.nearest(vector).slice() : shelf.nearest(vector)
  return { cosines, range: rangeOf(cosines, shelf.standing, true, shelf.vectored), mean: () => meanOf(cosines, shelf.standing, shelf.vectored) }
}

/** Of a question about several things, what is nearest to one of them is as near as can be, whichever it is. */
const nearestOf = (all: ReadonlyArray<Nearness>): Pick<Nearness, "cosines" | "range"> | undefined => {
  const [first] = all
  if (first === undefined || all.length === 1) return first
  const best = new Float32Array(first.cosines.length)
  for (const { cosines, range: { floor, scale } } of all) {
    for (let row = 0; row < best.length; row++) best[row] = Math.max(best[row] ?? 0, ((cosines[row] ?? 0) - floor) * scale)
  }
  return { cosines: best, range: { floor: 0, scale: 1 } }
}

/** @param vectors of the question and of its parts; empty when there is no embedder */
export const turnScores = (shelf: ShelfView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, weights: Weights): TurnScores => {
  const words = shelf.words(plan.topic)
  const wordRange = rangeOf(words, shelf.standing, false)
  const nearness = vectors.map((vector) => nearnessOf(shelf, vector, vectors.length > 1))
  const nearest = nearestOf(nearness)
  const near = nearest?.cosines ?? words
  const nearKnown = nearest === undefined ? shelf.standing : shelf.vectored
  const nearRange = nearest?.range ?? wordRange
  const wordsOf = (row: number): number => within(words[row] ?? 0, wordRange)
  return {
    near: (row) => (nearKnown[row] === 1 ? within(near[row] ?? 0, nearRange) : wordsOf(row)),
    words: wordsOf,
    outstanding: () => outstandingOf(words, shelf.standing),
    nearness,
    total: () => totals(shelf, plan, { words, wordRange, near, nearKnown, nearRange }, weights)
  }
}
