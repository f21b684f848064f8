/**
 * Ranks one user's memories for a question. Pure: the same view, plan and vectors give the same order, ties broken by memory id.
 * Words and vectors are weighed together over all rows; then come the speaker asked about, neighbouring turns, the conversation's
 * best turns and the time asked about. Weights were measured on conversations of both kinds, see the retrieval bench.
 */
import type { IndexedMemory, ShelfView, UserView } from "#shared/memoryindex/user-index"
import type { QuestionPlan } from "./plan.ts"

export interface RankedMemory {
  readonly memory: IndexedMemory
  readonly score: number
}

export interface Weights {
  readonly vectors: number
  readonly role: number
  readonly person: number
  readonly neighbour: number
  readonly conversation: number
  readonly window: number
}

export const weights: Weights = { vectors: 0.65, role: 0.15, person: 0.3, neighbour: 0.2, conversation: 0.3, window: 0.3 }

/** Scales scores of standing rows to [0, 1] by their least and greatest, or by the greatest alone. */
const scaled = (scores: Float32Array, standing: Uint8Array, fromLeast: boolean): Float32Array => {
  let least = Infinity
  let greatest = -Infinity
  for (let row = 0; row < scores.length; row++) {
    if (standing[row] !== 1) continue
    least = Math.min(least, scores[row] ?? 0)
    greatest = Math.max(greatest, scores[row] ?? 0)
  }
  const floor = fromLeast ? least : 0
  const span = greatest - floor
  return scores.map((score) => (span > 0 ? (score - floor) / span : 0))
}

/** Words and vectors together, each scaled over the shelf. */
export const fusedScores = (shelf: ShelfView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, { vectors: share }: Weights): Float32Array => {
  const words = scaled(shelf.words(plan.wordQueries[0] ?? ""), shelf.standing, false)
  const vector = vectors[0]
  if (vector === undefined) return words
  const near = scaled(shelf.nearest(vector), shelf.standing, true)
  return near.map((score, row) => share * score + (1 - share) * (words[row] ?? 0))
}

/**
 * @param vectors of `plan.vectorQueries`, in their order; empty when there is no embedder, and then words decide alone
 * @returns all turns that stand, best first
 */
export const rankTurns = (view: UserView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, use: Weights = weights): ReadonlyArray<RankedMemory> => {
  const shelf = view.turns
  const { memories, standing } = shelf
  const base = fusedScores(shelf, plan, vectors, use)
  const prior = plan.isBetweenPeople ? use.person : use.role
  for (let row = 0; row < base.length; row++) if (plan.speaker !== undefined && memories[row]?.speaker === plan.speaker) base[row] = (base[row] ?? 0) + prior
  const scores = base.slice()
  for (const all of shelf.conversations.values()) {
    const rows = all.filter((row) => standing[row] === 1)
    const top = [0, 0, 0] as [number, number, number]
    for (const row of rows) {
      const score = base[row] ?? 0
      if (score > top[0]) { top[2] = top[1]; top[1] = top[0]; top[0] = score }
      else if (score > top[1]) { top[2] = top[1]; top[1] = score }
      else if (score > top[2]) top[2] = score
    }
    const shared = (use.conversation * (top[0] + top[1] + top[2])) / 3
    rows.forEach((row, at) => {
      const before = base[rows[at - 1] ?? -1] ?? 0
      const after = base[rows[at + 1] ?? -1] ?? 0
      scores[row] = (scores[row] ?? 0) + use.neighbour * Math.max(before, after) + shared
    })
  }
  if (plan.windows.length > 0) {
    for (let row = 0; row < scores.length; row++) {
      const said = Date.parse(memories[row]?.time ?? "")
      if (plan.windows.some(({ from, to }) => said >= from && said <= to)) scores[row] = (scores[row] ?? 0) + use.window
    }
  }
  return memories
    .flatMap((memory, row) => (standing[row] === 1 ? [{ memory, score: scores[row] ?? 0 }] : []))
    .sort((a, b) => b.score - a.score || (a.memory.id < b.memory.id ? -1 : 1))
}

/** Turns and facts together, best first. */
export const rankMemories = (view: UserView, plan: QuestionPlan, vectors: ReadonlyArray<Float32Array>, use: Weights = weights): ReadonlyArray<RankedMemory> =>
  rankTurns(view, plan, vectors, use)
