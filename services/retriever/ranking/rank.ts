/**
 * Ranks one user's memories for a question. Pure: the same view, plan and vectors give the same order, ties broken by memory id.
 * Every turn has a core score of vectors, words and the speaker asked about, each scaled over all turns; to it come the best
 * neighbour, the conversation's best turns, the time asked about and what the turn's form says.
 */
import type { IndexedMemory, ShelfView, UserView } from "#shared/memoryindex/user-index"
import { bestOf, bestRows } from "./best-rows.ts"
import type { QuestionPlan } from "./plan.ts"
import { mostForm, formOf } from "./traits.ts"
import { rangeOf, type TurnScores, turnScores, within } from "./turn-scores.ts"
import { coreVectors, type Weights, weightsFor } from "./weights.ts"

export interface RankedMemory {
  readonly memory: IndexedMemory
  readonly score: number
}

/** Memories of a kind that may be ranked; past these a turn's form is not looked at. */
const candidatesMax = 2_000
/** Turns ranked; nothing relevant is left past these. */
export const rankedMax = 400

/** How far behind its turn a fact stands. */
const behindTurn = 1e-4

/** How near each fact comes to the question by itself, on the scale of the turns' vectors, so that the best of poor facts is not taken for good. */
const factScores = ({ facts }: UserView, plan: QuestionPlan, vector: Float32Array | undefined, { cosines }: TurnScores): Float32Array => {
  const matched = facts.words(plan.topic)
  const matchedRange = rangeOf(matched, facts.standing, false)
  if (vector === undefined) return matched.map((score) => within(score, matchedRange))
  const near = facts.nearest(vector)
  const nearRange = cosines !== undefined && cosines.span > 0 ? cosines : rangeOf(near, facts.standing, true)
  return near.map((score, row) => coreVectors * within(score, nearRange) + (1 - coreVectors) * within(matched[row] ?? 0, matchedRange))
}

/** What a turn gets of what its best fact is nearer to the question than itself, by turn row. */
const factLeads = ({ facts, turns }: UserView, { near, words }: TurnScores, scores: Float32Array, rows: ReadonlyArray<number>, weight: number): ReadonlyMap<number, number> => {
  const best = new Map<number, number>()
  for (const row of rows) {
    for (const id of facts.memories[row]?.turns ?? []) {
      const turn = turns.rowOf(id)
      if (turn !== undefined && (scores[row] ?? 0) > (best.get(turn) ?? 0)) best.set(turn, scores[row] ?? 0)
    }
  }
  for (const [turn, score] of best) best.set(turn, weight * Math.max(0, score - (coreVectors * near(turn) + (1 - coreVectors) * words(turn))))
  return best
}

const byScore = (a: RankedMemory, b: RankedMemory): number => b.score - a.score || (a.memory.id < b.memory.id ? -1 : 1)

/** The best turns with what their form adds. A turn's form is looked at only if it could still be among them. */
const rankedTurns = (shelf: ShelfView, plan: QuestionPlan, weights: Weights, scores: Float32Array): Array<RankedMemory> => {
  const rows = bestRows(scores, shelf.standing, candidatesMax)
  const most = mostForm(plan, weights)
  const ranked = (rows: ReadonlyArray<number>): Array<RankedMemory> => {
    const found: Array<RankedMemory> = []
    for (const row of rows) {
      const memory = shelf.memories[row]
      if (memory !== undefined) found.push({ memory, score: (scores[row] ?? 0) + formOf(memory, plan, weights) })
    }
    return found
  }
  const first = bestOf(rows, scores, rankedMax * 1.5)
  const turns = ranked(first).sort(byScore)
  const floor = turns[rankedMax - 1]?.score ?? -Infinity
  if (first.length < rows.length) {
    const known = new Set(first)
    turns.push(...ranked(rows.filter((row) => (scores[row] ?? 0) + most >= floor && !known.has(row))))
    turns.sort(byScore)
  }
  return turns.slice(0, rankedMax)
}

/**
 * Turns alone, best first, at most 400.
 *
 * @param vectors of `plan.vectorQueries`, in their order; empty when there is no embedder, and then words decide alone
 */
export const rankTurns = (view: UserView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, weights: Weights = weightsFor(plan)): ReadonlyArray<RankedMemory> =>
  rankedTurns(view.turns, plan, weights, turnScores(view.turns, plan, vectors[0], weights).total(new Map()))

/**
 * Turns and facts together, best first. A turn gets part of what its best fact is nearer to the question than itself; a fact stands
 * just behind its best turn, so it never pushes another turn down. Facts whose turns are not there are ranked by themselves.
 */
export const rankMemories = (view: UserView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, weights: Weights = weightsFor(plan)): ReadonlyArray<RankedMemory> => {
  if (view.facts.standingCount === 0) return rankTurns(view, plan, vectors, weights)
  const own = turnScores(view.turns, plan, vectors[0], weights)
  const alone = factScores(view, plan, vectors[0], own)
  const rows = bestRows(alone, view.facts.standing, candidatesMax)
  const turns = rankedTurns(view.turns, plan, weights, own.total(factLeads(view, own, alone, rows, weights.fact)))
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
