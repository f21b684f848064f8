/** The ranking as its description says, turn by turn and without any shortcut: what the fast computation is compared with. */
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import type { UserView } from "#shared/memoryindex/user-index"
import type { QuestionPlan } from "#services/retriever/ranking/plan"
import { formOf, instructs } from "#services/retriever/ranking/traits"
import { coreVectors, weightsFor } from "#services/retriever/ranking/weights"

type Shelf = UserView["turns"]

const rowsOf = ({ standing }: Shelf): ReadonlyArray<number> => [...standing.keys()].filter((row) => standing[row] === 1)

/** Brings the scores of rows between 0 and 1. */
const scale = (rows: ReadonlyArray<number>, scores: Float32Array, floor: number): ((score: number) => number) => {
  const span = Math.max(floor, ...rows.map((row) => scores[row] ?? 0)) - floor
  return (score) => (span > 0 ? (score - floor) / span : 0)
}
const least = (rows: ReadonlyArray<number>, scores: Float32Array): number => Math.min(...rows.map((row) => scores[row] ?? 0))

/** Turns with their scores, best first, all of them. */
export const plainTurns = ({ turns }: UserView, plan: QuestionPlan, vector: Float32Array | undefined): ReadonlyArray<{ readonly memory: IndexedMemory; readonly score: number }> => {
  const weights = weightsFor(plan)
  const rows = rowsOf(turns)
  const matched = turns.words(plan.topic)
  const toWord = scale(rows, matched, 0)
  const cosines = vector === undefined ? undefined : turns.nearest(vector)
  // A turn without a vector is as near as its words say.
  const isNear = (row: number): boolean => cosines !== undefined && turns.vectored[row] === 1
  const toNear = cosines === undefined ? toWord : scale(rows.filter(isNear), cosines, least(rows.filter(isNear), cosines))
  const parts = rows.map((row) => {
    const memory = turns.memories[row] as IndexedMemory
    const word = toWord(matched[row] ?? 0)
    const near = isNear(row) ? toNear(cosines?.[row] ?? 0) : word
    const isSpeaker = memory.speaker === plan.speaker
    const isUser = plan.asksOrder && !plan.isBetweenPeople && memory.speaker === "user"
    const isInWindow = plan.windows.some(({ from, to }) => Date.parse(memory.time) >= from && Date.parse(memory.time) <= to)
    const core = coreVectors * near + (1 - coreVectors) * word + (isSpeaker ? (plan.isBetweenPeople ? 0.3 : 0.15) : 0)
    const own = weights.vectors * near + weights.words * word + (isSpeaker ? weights.speaker : 0) + (isInWindow ? weights.window : 0) + (isUser ? 10 : 0)
    return { memory, row, core, own }
  })
  const scored = [...Map.groupBy(parts, ({ memory }) => memory.conversation).values()].flatMap((talk) => {
    const inOrder = talk.toSorted((a, b) => (a.memory.time < b.memory.time ? -1 : a.memory.time > b.memory.time ? 1 : a.row - b.row))
    const best = inOrder.map(({ core }) => core).sort((a, b) => b - a)
    const shared = ((best[0] ?? 0) + (best[1] ?? 0) + (best[2] ?? 0)) / 3
    return inOrder.map(({ memory, own, row }, at) => {
      const beside = Math.max(inOrder[at - 1]?.core ?? 0, inOrder[at + 1]?.core ?? 0)
      return { memory, score: own + weights.neighbour * beside + weights.conversation * shared + formOf(memory, turns.wordCounts[row] ?? 0, plan, weights) }
    })
  })
  const byScore = (a: { readonly memory: IndexedMemory; readonly score: number }, b: typeof a): number => b.score - a.score || (a.memory.id < b.memory.id ? -1 : 1)
  scored.sort(byScore)
  if (plan.isBetweenPeople || plan.asksOrder || plan.asksOverview) return scored
  const lifted = scored.slice(0, 400).filter(({ memory }) => instructs(memory)).slice(0, 4)
  return scored.map((one) => (lifted.includes(one) ? { ...one, score: one.score + weights.instruction } : one)).sort(byScore)
}
