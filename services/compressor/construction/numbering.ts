/**
 * Numbers the turns of one extraction batch, so that a model can name its sources, and turns such numbers back into turn ids. Numbers
 * belong to their batch alone: whatever another batch gave, or failed to give, cannot move a fact to a wrong turn.
 */
import type { Turn } from "#shared/domain/turn"

export interface NumberedTurn {
  /** From 1, in the batch's order. */
  readonly number: number
  /** Number of the segment within its conversation. */
  readonly topic: number
  readonly turn: Turn
}

/** @param firstTopic number of the batch's first segment within its conversation; the caller counts on from there */
export const numberBatch = (segments: ReadonlyArray<ReadonlyArray<Turn>>, firstTopic: number): ReadonlyArray<NumberedTurn> => {
  const numbered: Array<NumberedTurn> = []
  segments.forEach((turns, i) => {
    for (const turn of turns) numbered.push({ number: numbered.length + 1, topic: firstTopic + i, turn })
  })
  return numbered
}

/** Turns for the numbers a model gave: `turns` in the order they were said, each once; `refused` what is no number of this batch. */
export const turnsOf = (
  batch: ReadonlyArray<NumberedTurn>,
  numbers: ReadonlyArray<unknown>
): { readonly turns: ReadonlyArray<NumberedTurn>; readonly refused: ReadonlyArray<unknown> } => {
  const wanted = new Set<number>()
  const refused: Array<unknown> = []
  for (const raw of numbers) {
    const number = typeof raw === "string" && /^\d{1,9}$/.test(raw.trim()) ? Number(raw) : raw
    if (typeof number === "number" && Number.isInteger(number) && number >= 1 && number <= batch.length) wanted.add(number)
    else refused.push(raw)
  }
  return { turns: batch.filter(({ number }) => wanted.has(number)), refused }
}
