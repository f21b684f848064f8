/** Plain rankers over the same index, to measure the real one against: words alone, vectors alone, and both by reciprocal ranks. */
import type { UserView } from "#shared/memoryindex/user-index"
import type { RankedMemory } from "./rank.ts"

export const plainRankers = ["bm25", "dense", "rrf"] as const
export type PlainRanker = (typeof plainRankers)[number]

/** Constant of reciprocal rank fusion. Source: Cormack, Clarke & Büttcher 2009. */
const fusionConstant = 60

/**
 * Turns that stand, best first.
 *
 * @param vector of the question as it is written
 */
export const rankPlainly = (ranker: PlainRanker, view: UserView, question: string, vector: Float32Array): ReadonlyArray<RankedMemory> => {
  const { memories, standing } = view.turns
  const rows = [...memories.keys()].filter((row) => standing[row] === 1)
  const best = (scores: Float32Array) => [...rows].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || ((memories[a]?.id ?? "") < (memories[b]?.id ?? "") ? -1 : 1))
  const fused = (): Float32Array => {
    const scores = new Float32Array(standing.length)
    for (const order of [best(view.turns.words(question)), best(view.turns.nearest(vector))]) {
      order.forEach((row, place) => {
        scores[row] = (scores[row] ?? 0) + 1 / (fusionConstant + place + 1)
      })
    }
    return scores
  }
  const scores = ranker === "bm25" ? view.turns.words(question) : ranker === "dense" ? view.turns.nearest(vector) : fused()
  return best(scores).flatMap((row) => {
    const memory = memories[row]
    return memory === undefined ? [] : [{ memory, score: scores[row] ?? 0 }]
  })
}
