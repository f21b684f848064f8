/**
 * Ranks one user's memories for a question. Pure: the same view, plan and vectors give the same order, ties broken by memory id.
 * Every turn has a core score of vectors, words and the speaker asked about, each scaled over all turns; to it come the best
 * neighbour, the conversation's best turns, the time asked about and what the turn's form says.
 */
import type { IndexedMemory, ShelfView } from "#shared/memoryindex/shelf"
import type { UserView } from "#shared/memoryindex/user-index"
import { bestRows, leastOfBest } from "./best-rows.ts"
import type { QuestionPlan } from "./plan.ts"
import { itemTokens, memoryTokens } from "./tokens.ts"
import { formOf, instructs, mostForm } from "./traits.ts"
import { meanOf, rangeOf, type TurnScores, turnScores, within } from "./turn-scores.ts"
import { coreVectors, type Weights, weightsFor } from "./weights.ts"
import { day } from "./time-window.ts"

export interface RankedMemory {
  readonly memory: IndexedMemory
  readonly score: number
}

/** Memories of a kind that may be ranked; past these a turn's form is not looked at. */
const candidatesMax = { turns: 1_000, facts: 2_000 }
/** Turns ranked; nothing relevant is left past these. */
export const rankedMax = 400

/** Instructions lifted for one question. */
const instructionsMax = 4
/** Place that the turn which stands out by its words has at least, and how far before the next it then stands. */
const outstandingPlace = 10
const outstandingLead = 1e-6
/** How far behind its turn a fact stands. */
const behindTurn = 1e-4
/** Turns that facts may bring into another order: at most so many, and of so many tokens together. */
const headMax = 20
const headTokens = 4_000

/**
 * How near each fact comes to the question by itself, on the scale of the turns' scores, so that the best of poor facts is not taken for
 * good. A short sentence is nearer to any question than a long turn is: facts are brought down by what they are nearer on the whole.
 */
const factScores = ({ facts }: UserView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, { nearness }: TurnScores): Float32Array => {
  const matched = facts.words(plan.topic)
  const matchedRange = rangeOf(matched, facts.standing, false)
  const scores = matched.map((score) => within(score, matchedRange))
  vectors.forEach((vector, at) => {
    const near = facts.nearest(vector)
    const turns = nearness[at]
    const isScaled = turns !== undefined && turns.range.scale > 0
    const range = isScaled ? turns.range : rangeOf(near, facts.standing, true, facts.vectored)
    const nearer = isScaled ? Math.max(0, meanOf(near, facts.standing, facts.vectored) - turns.mean()) : 0
    for (let row = 0; row < scores.length; row++) {
      if (facts.vectored[row] !== 1) continue
      const score = coreVectors * within((near[row] ?? 0) - nearer, range) + (1 - coreVectors) * within(matched[row] ?? 0, matchedRange)
      scores[row] = at === 0 ? score : Math.max(scores[row] ?? 0, score)
    }
  })
  return scores
}

/** Whether a fact was said within one of the windows, or speaks of a time in one. */
const isOfWindow = ({ meant, time }: IndexedMemory, { windows }: QuestionPlan): boolean => {
  const [first = time, last = first] = meant?.split("/") ?? []
  const spans = [[Date.parse(time), Date.parse(time)], ...(meant === undefined ? [] : [[Date.parse(first), Date.parse(last) + day - 1]])] as const
  return spans.some(([since = 0, until = 0]) => windows.some(({ from, to }) => since <= to && until >= from))
}

const byScore = (a: RankedMemory, b: RankedMemory): number => b.score - a.score || (a.memory.id < b.memory.id ? -1 : 1)

/**
 * Lifts what the user asked to be kept to from then on ("always give dates in full when I ask about deadlines"), the nearest first: it
 * bears on the answer though it shares nothing with the question. A timeline or a summary is about what happened.
 */
const withInstructions = (turns: ReadonlyArray<RankedMemory>, plan: QuestionPlan, weights: Weights): ReadonlyArray<RankedMemory> => {
  if (weights.instruction === 0 || plan.asksOrder || plan.asksOverview) return turns
  const lifted = new Set(turns.filter(({ memory }) => instructs(memory)).slice(0, instructionsMax))
  return lifted.size === 0 ? turns : turns.map((one) => (lifted.has(one) ? { ...one, score: one.score + weights.instruction } : one)).sort(byScore)
}

/**
 * Lifts the turn that stands out by its words among the first ten: a name, number or code that is said in one place alone finds that
 * place, whatever vectors make of it. A question about order or for a summary is about many turns.
 */
const withOutstanding = (turns: ReadonlyArray<RankedMemory>, { memories }: ShelfView, plan: QuestionPlan, row: number | undefined): ReadonlyArray<RankedMemory> => {
  const memory = row === undefined ? undefined : memories[row]
  const before = turns[outstandingPlace - 2]
  if (memory === undefined || before === undefined || plan.asksOrder || plan.asksOverview || turns.slice(0, outstandingPlace).some((one) => one.memory === memory)) return turns
  return [...turns.filter((one) => one.memory !== memory), { memory, score: before.score + outstandingLead }].sort(byScore).slice(0, rankedMax)
}

/** The best turns with what their form adds. A turn's form is looked at only if it could still be among them. */
const rankedTurns = (shelf: ShelfView, plan: QuestionPlan, weights: Weights, { outstanding, total }: TurnScores): ReadonlyArray<RankedMemory> => {
  const scores = total()
  const rows = bestRows(scores, shelf.standing, candidatesMax.turns)
  const most = mostForm(plan, weights)
  /** Scores, with form, of the rows that are looked at; −∞ of the others. */
  const formed = new Float64Array(rows.length)
  const lookAt = (at: number): void => {
    const row = rows[at] ?? 0
    const memory = shelf.memories[row]
    formed[at] = (scores[row] ?? 0) + (memory === undefined ? 0 : formOf(memory, shelf.wordCounts[row] ?? 0, plan, weights))
  }
  const leastOfFirst = leastOfBest(rows, scores, rankedMax * 1.5)
  const later: Array<number> = []
  for (let at = 0; at < rows.length; at++) {
    if ((scores[rows[at] ?? 0] ?? 0) >= leastOfFirst) lookAt(at)
    else {
      formed[at] = -Infinity
      later.push(at)
    }
  }
  const floor = formed.toSorted()[rows.length - rankedMax] ?? -Infinity
  for (const at of later) if ((scores[rows[at] ?? 0] ?? 0) + most >= floor) lookAt(at)
  const turns: Array<RankedMemory> = []
  for (let at = 0; at < rows.length; at++) {
    const memory = shelf.memories[rows[at] ?? 0]
    const score = formed[at] ?? 0
    if (memory !== undefined && score >= floor) turns.push({ memory, score })
  }
  turns.sort(byScore)
  return withOutstanding(withInstructions(turns.slice(0, rankedMax), plan, weights), shelf, plan, outstanding())
}

/**
 * How many of the best turns all fit the evidence whole: these are shown whatever stands first among them. Facts decide that order and
 * nothing more, so that with facts the first 20 turns, and what 4,000 tokens hold, are what they are without.
 */
const headOf = (turns: ReadonlyArray<RankedMemory>): number => {
  let left = headTokens
  for (let place = 0; place < Math.min(headMax, turns.length); place++) {
    const turn = turns[place]
    left -= turn === undefined ? 0 : memoryTokens(turn.memory) + itemTokens
    if (left < 0) return place
  }
  return Math.min(headMax, turns.length)
}

/** Best score of a fact said by the one asked about, by turn id. */
const bestFacts = ({ facts }: UserView, { speaker }: QuestionPlan, scores: Float32Array, rows: ReadonlyArray<number>): ReadonlyMap<string, number> => {
  const best = new Map<string, number>()
  for (const row of rows) {
    const memory = facts.memories[row]
    if (memory === undefined || (speaker !== undefined && memory.speaker !== speaker)) continue
    const score = scores[row] ?? 0
    for (const turn of memory.turns) if (score > (best.get(turn) ?? -Infinity)) best.set(turn, score)
  }
  return best
}

/** The head in the order that facts give it: a turn gets part of what its best fact is nearer to the question than itself. */
const headByFacts = (head: ReadonlyArray<RankedMemory>, { turns }: UserView, { near, words }: TurnScores, best: ReadonlyMap<string, number>, weight: number): ReadonlyArray<RankedMemory> =>
  head.map(({ memory, score }) => {
    const row = turns.rowOf(memory.id) ?? -1
    const lead = (best.get(memory.id) ?? 0) - (coreVectors * near(row) + (1 - coreVectors) * words(row))
    return { memory, score: score + weight * Math.max(0, lead) }
  }).sort(byScore)

/**
 * Turns alone, best first, at most 400.
 *
 * @param vectors of `plan.vectorQueries`, in their order; empty when there is no embedder, and then words decide alone
 */
export const rankTurns = (view: UserView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, weights: Weights = weightsFor(plan)): ReadonlyArray<RankedMemory> =>
  rankedTurns(view.turns, plan, weights, turnScores(view.turns, plan, vectors, weights))

/**
 * Turns and facts together, best first. Facts order the head of the turns; a fact stands just behind its best turn, so it never pushes
 * another turn down. Facts whose turns are not there are ranked by themselves.
 */
export const rankMemories = (view: UserView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, weights: Weights = weightsFor(plan)): ReadonlyArray<RankedMemory> => {
  if (view.facts.standingCount === 0) return rankTurns(view, plan, vectors, weights)
  const own = turnScores(view.turns, plan, vectors, weights)
  const alone = factScores(view, plan, vectors, own)
  const rows = bestRows(alone, view.facts.standing, candidatesMax.facts)
  const unaided = rankedTurns(view.turns, plan, weights, own)
  const head = headOf(unaided)
  const turns = [...headByFacts(unaided.slice(0, head), view, own, bestFacts(view, plan, alone, rows), weights.fact), ...unaided.slice(head)]
  const scoreOf = new Map(turns.map(({ memory, score }) => [memory.id, score]))
  const facts = rows.flatMap((row): ReadonlyArray<RankedMemory> => {
    const memory = view.facts.memories[row]
    if (memory === undefined) return []
    const standing = memory.turns.filter((id) => view.turns.standing[view.turns.rowOf(id) ?? -1] === 1)
    if (standing.length === 0) return [{ memory, score: (alone[row] ?? 0) + (isOfWindow(memory, plan) ? weights.window : 0) }]
    // A fact whose turns are not among the best is not either.
    const best = Math.max(...standing.map((id) => scoreOf.get(id) ?? -Infinity))
    return best === -Infinity ? [] : [{ memory, score: best - behindTurn }]
  })
  return [...turns, ...facts].sort(byScore)
}
