/**
 * Numbers the turns of one extraction batch, so that a model can name its sources, and turns such numbers back into turn ids. Numbers
 * belong to their batch alone: whatever another batch gave, or failed to give, cannot move a fact to a wrong turn.
 */
import type { Turn } from "#shared/domain/turn"

/** Characters of one entry; a longer turn is shown as several, each with the turn's id. */
export const entryCharacters = 6_000

/** Of a line, of a sentence, of a word. */
const ends = [/\n/g, /[.!?…。！？؟](?=\s|[^\x00-\x7f])/g, /\s/g]

/** A text in pieces of at most so many characters, cut behind a line, a sentence or a word where one ends in the last half; nothing is left out. */
export const piecesOf = (text: string, limit = entryCharacters): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  let rest = text
  while (rest.length > limit) {
    const head = rest.slice(0, limit)
    const cut = ends.map((end) => ([...head.matchAll(end)].at(-1)?.index ?? -1) + 1).find((end) => end > limit / 2) ?? limit
    // A pair of surrogates stays together.
    const at = /[\ud800-\udbff]/.test(rest[cut - 1] ?? "") ? cut - 1 : cut
    pieces.push(rest.slice(0, at))
    rest = rest.slice(at)
  }
  return [...pieces, rest]
}

export interface NumberedTurn {
  /** From 1, in the batch's order. */
  readonly number: number
  /** Number of the segment within its conversation. */
  readonly topic: number
  /** Of a long one, with one piece of its text. */
  readonly turn: Turn
}

/** @param firstTopic number of the batch's first segment within its conversation; the caller counts on from there */
export const numberBatch = (segments: ReadonlyArray<ReadonlyArray<Turn>>, firstTopic: number): ReadonlyArray<NumberedTurn> => {
  const numbered: Array<NumberedTurn> = []
  segments.forEach((turns, i) => {
    for (const turn of turns) {
      for (const text of piecesOf(turn.text)) numbered.push({ number: numbered.length + 1, topic: firstTopic + i, turn: { ...turn, text } })
    }
  })
  return numbered
}

/** A batch in parts of at most so many characters, one a call, each numbered from 1; one part unless turns are very long. */
export const callsOf = (batch: ReadonlyArray<NumberedTurn>, characters: number): ReadonlyArray<ReadonlyArray<NumberedTurn>> => {
  const parts: Array<Array<NumberedTurn>> = []
  let left = 0
  for (const { topic, turn } of batch) {
    if (parts.length === 0 || turn.text.length > left) {
      parts.push([])
      left = characters
    }
    const part = parts.at(-1)!
    part.push({ number: part.length + 1, topic, turn })
    left -= turn.text.length
  }
  return parts
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
