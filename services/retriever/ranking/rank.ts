/**
 * Ranks one user's memories for a question. Pure: the same view, plan and vectors give the same order, ties broken by memory id.
 * Every turn has a core score of vectors, words and the speaker asked about, each scaled over all turns; to it come the best
 * neighbour, the conversation's best turns, the time asked about and what the turn's form says. Weights differ by the kind of chat
 * and were fitted by listwise regression with whole conversations left out, then rounded.
 */
import type { IndexedMemory, ShelfView, UserView } from "#shared/memoryindex/user-index"
import type { QuestionPlan } from "./plan.ts"
import { traitsOf } from "./traits.ts"

export interface RankedMemory {
  readonly memory: IndexedMemory
  readonly score: number
}

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
  /** Share of a fact's lead over its turn that the turn gets. */
  readonly fact: number
}

/** Share of vectors in the core score that neighbours and conversations are judged by. */
const coreVectors = 0.65

const withAssistant: Weights = { vectors: 0.65, words: 0.35, speaker: 0.2, neighbour: 0.15, conversation: 0.3, window: 0.3, substance: 0, length: -0.15, asking: 0, time: 0, fact: 0.35 }
const betweenPeople: Weights = { vectors: 0.65, words: 0.5, speaker: 0.8, neighbour: 0.5, conversation: 0.8, window: 0.7, substance: 0.6, length: 0, asking: -0.25, time: 0.35, fact: 0.35 }
/** A speaker's part in the core score. */
const coreSpeaker = { withAssistant: 0.15, betweenPeople: 0.3 }

export const weightsFor = (plan: QuestionPlan): Weights => (plan.isBetweenPeople ? betweenPeople : withAssistant)

/** Lets user turns come before all others where the order of what a user brought up is asked. */
const timelineLead = 10

/** Memories of a kind that are ranked; the rest of a large store is not sorted. */
const rankedMax = 2_000

/** How far behind its turn a fact stands. */
const behindTurn = 1e-4

/** Scales scores of standing rows to [0, 1], from their least or from 0 to their greatest. */
const scaled = (scores: Float32Array, standing: Uint8Array, fromLeast: boolean): Float32Array => {
  let least = Infinity
  let greatest = -Infinity
  for (let row = 0; row < scores.length; row++) {
    if (standing[row] !== 1) continue
    const score = scores[row] ?? 0
    if (score < least) least = score
    if (score > greatest) greatest = score
  }
  const floor = fromLeast ? least : 0
  const span = greatest - floor
  if (!(span > 0)) return new Float32Array(scores.length)
  return scores.map((score) => (score - floor) / span)
}

/** Mean of the three highest scores among rows; missing ones, and rows that do not stand, count 0. */
const meanOfBest = (rows: ReadonlyArray<number>, scores: Float32Array): number => {
  let first = 0
  let second = 0
  let third = 0
  for (const row of rows) {
    const score = scores[row] ?? 0
    if (score > first) {
      third = second
      second = first
      first = score
    } else if (score > second) {
      third = second
      second = score
    } else if (score > third) third = score
  }
  return (first + second + third) / 3
}

/** How near each fact comes to the question by itself, on the scale of the turns' vectors, so that the best of poor facts is not taken for good. */
const factScores = (view: UserView, plan: QuestionPlan, vector: Float32Array | undefined): Float32Array => {
  const { facts, turns } = view
  const words = scaled(facts.words(plan.topic), facts.standing, false)
  if (vector === undefined) return words
  const ofTurns = turns.nearest(vector)
  let least = Infinity
  let greatest = -Infinity
  for (let row = 0; row < ofTurns.length; row++) {
    if (turns.standing[row] !== 1) continue
    least = Math.min(least, ofTurns[row] ?? 0)
    greatest = Math.max(greatest, ofTurns[row] ?? 0)
  }
  const span = greatest - least
  const near = span > 0 ? facts.nearest(vector).map((score) => (score - least) / span) : scaled(facts.nearest(vector), facts.standing, true)
  return near.map((score, row) => coreVectors * score + (1 - coreVectors) * (words[row] ?? 0))
}

/** The best fact of each turn, by turn row. */
const bestFacts = (view: UserView, scores: Float32Array, rows: ReadonlyArray<number>): ReadonlyMap<number, number> => {
  const best = new Map<number, number>()
  for (const row of rows) {
    for (const id of view.facts.memories[row]?.turns ?? []) {
      const turn = view.turns.rowOf(id)
      if (turn !== undefined && (scores[row] ?? 0) > (best.get(turn) ?? 0)) best.set(turn, scores[row] ?? 0)
    }
  }
  return best
}

/** Rows that stand and score best, at most `rankedMax`, in the order of rows. */
const bestRows = (standing: Uint8Array, scores: Float32Array): ReadonlyArray<number> => {
  let rows: Array<number> = []
  let floor = -Infinity
  const cut = () => {
    const kept = Float32Array.from(rows, (row) => scores[row] ?? 0).sort()
    floor = kept[kept.length - rankedMax] ?? floor
    rows = rows.filter((row) => (scores[row] ?? 0) >= floor)
  }
  for (let row = 0; row < scores.length; row++) {
    if (standing[row] !== 1 || (scores[row] ?? 0) < floor) continue
    rows.push(row)
    if (rows.length >= 8 * rankedMax) cut()
  }
  if (rows.length > rankedMax) cut()
  return rows
}

/** Scores of the turns, by row, without their traits; rows that do not stand have none that means anything. */
const turnScores = (shelf: ShelfView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, weights: Weights, facts: ReadonlyMap<number, number>): Float32Array => {
  const { memories, speakerCodes, standing } = shelf
  const size = standing.length
  const words = scaled(shelf.words(plan.topic), standing, false)
  const vector = vectors[0]
  // Without an embedder, words take the whole part of both.
  const near = vector === undefined ? words : scaled(shelf.nearest(vector), standing, true)
  const leads = plan.isBetweenPeople ? coreSpeaker.betweenPeople : coreSpeaker.withAssistant
  const windows = plan.windows.map(({ from, to }) => [new Date(from).toISOString(), new Date(to).toISOString()] as const)
  const speaker = plan.speaker === undefined ? undefined : shelf.speakerCode(plan.speaker)
  const user = plan.asksOrder && !plan.isBetweenPeople ? shelf.speakerCode("user") : undefined
  const core = new Float32Array(size)
  const scores = new Float32Array(size)
  for (let row = 0; row < size; row++) {
    if (standing[row] !== 1) continue
    const word = words[row] ?? 0
    const close = near[row] ?? 0
    const isSpeaker = speaker !== undefined && speakerCodes[row] === speaker
    core[row] = coreVectors * close + (1 - coreVectors) * word + (isSpeaker ? leads : 0)
    let score = weights.vectors * close + weights.words * word + (isSpeaker ? weights.speaker : 0)
    if (windows.length > 0) {
      const time = memories[row]?.time ?? ""
      if (windows.some(([from, to]) => time >= from && time <= to)) score += weights.window
    }
    if (user !== undefined && speakerCodes[row] === user) score += timelineLead
    scores[row] = score
  }
  for (const [row, score] of facts) {
    const alone = coreVectors * (near[row] ?? 0) + (1 - coreVectors) * (words[row] ?? 0)
    if (standing[row] === 1) scores[row] = (scores[row] ?? 0) + weights.fact * Math.max(0, score - alone)
  }
  for (const rows of shelf.conversations.values()) {
    const shared = weights.conversation * meanOfBest(rows, core)
    let before = 0
    let last = -1
    for (const row of rows) {
      if (standing[row] !== 1) continue
      const own = core[row] ?? 0
      // Each turn is finished when its successor is known.
      if (last >= 0) scores[last] = (scores[last] ?? 0) + weights.neighbour * Math.max(before, own) + shared
      before = last >= 0 ? core[last] ?? 0 : 0
      last = row
    }
    if (last >= 0) scores[last] = (scores[last] ?? 0) + weights.neighbour * before + shared
  }
  return scores
}

/** What a turn's form adds to its score. */
const formScore = (memory: IndexedMemory, plan: QuestionPlan, weights: Weights): number => {
  const { asking, length, namesTime, substance } = traitsOf(memory)
  // What the assistant said, and what a summary is made of, often stands in its long turns.
  const mayBeLong = plan.asksOverview || plan.speaker === "assistant"
  return weights.substance * substance + (mayBeLong ? 0 : weights.length * length) + weights.asking * asking + (plan.asksWhen && namesTime ? weights.time : 0)
}

const byScore = (a: RankedMemory, b: RankedMemory): number => b.score - a.score || (a.memory.id < b.memory.id ? -1 : 1)

const rankedTurns = (shelf: ShelfView, plan: QuestionPlan, weights: Weights, scores: Float32Array): Array<RankedMemory> =>
  bestRows(shelf.standing, scores).flatMap((row) => {
    const memory = shelf.memories[row]
    return memory === undefined ? [] : [{ memory, score: (scores[row] ?? 0) + formScore(memory, plan, weights) }]
  })

/**
 * Turns alone, best first, at most 2,000: past these a turn's form is not looked at.
 *
 * @param vectors of `plan.vectorQueries`, in their order; empty when there is no embedder, and then words decide alone
 */
export const rankTurns = (view: UserView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, weights: Weights = weightsFor(plan)): ReadonlyArray<RankedMemory> =>
  rankedTurns(view.turns, plan, weights, turnScores(view.turns, plan, vectors, weights, new Map())).sort(byScore)

/**
 * Turns and facts together, best first. A turn gets part of what its best fact is nearer to the question than itself; a fact stands
 * just behind its best turn, so it never pushes another turn down. Facts whose turns are not there are ranked by themselves.
 */
export const rankMemories = (view: UserView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, weights: Weights = weightsFor(plan)): ReadonlyArray<RankedMemory> => {
  if (view.facts.standingCount === 0) return rankTurns(view, plan, vectors, weights)
  const alone = factScores(view, plan, vectors[0])
  const rows = bestRows(view.facts.standing, alone)
  const turns = rankedTurns(view.turns, plan, weights, turnScores(view.turns, plan, vectors, weights, bestFacts(view, alone, rows)))
  const scoreOf = new Map(turns.map(({ memory, score }) => [memory.id, score]))
  const facts = rows.flatMap((row): ReadonlyArray<RankedMemory> => {
    const memory = view.facts.memories[row]
    if (memory === undefined) return []
    const standing = memory.turns.filter((id) => view.turns.standing[view.turns.rowOf(id) ?? -1] === 1)
    if (standing.length === 0) return [{ memory, score: alone[row] ?? 0 }]
    // A fact whose turns are not among the best is not either.
    const best = Math.max(...standing.map((id) => scoreOf.get(id) ?? -Infinity))
    return best === -Infinity ? [] : [{ memory, score: best - behindTurn }]
  })
  return [...turns, ...facts].sort(byScore)
}
