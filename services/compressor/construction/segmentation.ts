/**
 * Segmentation as LightMem does it, with its defects mended: a sensory buffer that is cut when a user's message no longer fits, at
 * boundaries where attention between messages peaks and where neighbouring rounds' vectors differ. Attention and vectors come from
 * models, so the caller hands in functions for them; the segmenter that needs neither is in `segmenter.ts`, and `../boundaries.ts` chooses.
 *
 * Source: LightMem (arXiv 2510.18866), section on topic segmentation. Differences: a flush gives back everything and replaces nothing;
 * assistant messages without a user's before them are kept; rounds are found by their speakers instead of by counting pairs; without
 * attention the vector boundaries stand alone.
 */
import type { Turn } from "#shared/domain/turn"
import { cosine } from "./cosine.ts"

/** Tokens of user messages the buffer holds, special tokens of the classifier included. */
const sensoryBudget = 512
/** Rounds by which a vector boundary may miss an attention boundary. */
const boundaryTolerance = 3
/** Positions at each end of the classifier's input that draw attention for being ends. */
const trimmed = 3

/** Square attention matrix, averaged over layers and heads: `values[query * size + key]`. */
export interface AttentionMatrix {
  readonly size: number
  readonly values: ArrayLike<number>
}

/** Half-open range of token positions of one sentence. */
export type Span = readonly [start: number, end: number]

/**
 * Row-normalised attention of every sentence on the sentences before it: `result[i][j]` for j < i, rows summing to 1 or all 0.
 * The first and last 3 positions are left out (of inputs shorter than 6 only the special tokens).
 */
export const sentenceAttention = (attention: AttentionMatrix, spans: ReadonlyArray<Span>): ReadonlyArray<ReadonlyArray<number>> => {
  const { size, values } = attention
  const margin = size >= 2 * trimmed ? trimmed : 1
  const isValid = (position: number): boolean => position >= margin && position < size - margin
  return spans.map(([start, end], i) => {
    const sums = spans.slice(0, i).map(([from, to]) => {
      let sum = 0
      let queries = 0
      for (let p = start; p < end; p++) {
        if (!isValid(p)) continue
        queries += 1
        for (let q = from; q < to; q++) if (isValid(q)) sum += values[p * size + q] ?? 0
      }
      return queries === 0 ? 0 : sum / queries
    })
    const total = sums.reduce((a, b) => a + b, 0)
    return sums.map((sum) => (total === 0 ? 0 : sum / total))
  })
}

/**
 * Attention boundaries: k, for the gap between messages k and k+1, wherever the attention of a message on its forerunner is a strict
 * local maximum. The first possible one needs five messages.
 */
export const coarseBoundaries = (attention: AttentionMatrix, spans: ReadonlyArray<Span>): ReadonlyArray<number> => {
  const rows = sentenceAttention(attention, spans)
  const outer = rows.slice(1).map((row, t) => row[t] ?? 0)
  const found: Array<number> = []
  for (let k = 1; k <= outer.length - 2; k++) {
    const here = outer[k] as number
    if (here > (outer[k - 1] as number) && here > (outer[k + 1] as number)) found.push(k)
  }
  return found
}

/** Similarities below which neighbouring rounds are apart, tried in this order; floating sums, so the last ones end in …96 and …94. */
export const similarityThresholds: ReadonlyArray<number> = (() => {
  const tried: Array<number> = []
  for (let threshold = 0.2; threshold <= 0.5; threshold += 0.05) tried.push(threshold)
  return tried
})()

/** Boundaries i + 1 between rounds i and i + 1 whose cosine is below the first threshold that finds any; none when all are alike. */
export const fineBoundaries = (vectors: ReadonlyArray<ArrayLike<number>>): ReadonlyArray<number> => {
  const similarity = vectors.slice(1).map((vector, i) => cosine(vectors[i] as ArrayLike<number>, vector))
  for (const threshold of similarityThresholds) {
    const found = similarity.flatMap((value, i) => (value < threshold ? [i + 1] : []))
    if (found.length > 0) return found
  }
  return []
}

/** Vector boundaries within the tolerance of an attention boundary; all of them when none is. */
export const agreedBoundaries = (fine: ReadonlyArray<number>, coarse: ReadonlyArray<number>): ReadonlyArray<number> => {
  const near = fine.filter((boundary) => coarse.some((other) => Math.abs(boundary - other) <= boundaryTolerance))
  return [...new Set(near.length > 0 ? near : fine)].sort((a, b) => a - b)
}

export interface SensoryTools {
  /** Tokens of a user message in the classifier's tokenizer, its two special tokens included. */
  readonly tokenCount: (text: string) => number
  /** Attention boundaries of the users' messages; undefined where there is no attention to be had. */
  readonly coarse?: (userTexts: ReadonlyArray<string>) => Promise<ReadonlyArray<number> | undefined>
  /** One vector per round. */
  readonly embed: (roundTexts: ReadonlyArray<string>) => Promise<ReadonlyArray<ArrayLike<number>>>
}

/** Plain JSON. `oversize` is a user's message too long for the buffer that waits for its reply. */
export interface SensoryState {
  readonly turns: ReadonlyArray<Turn>
  readonly oversize: ReadonlyArray<Turn>
  /** Tokens of the user messages in `turns`. */
  readonly tokenCount: number
}
export const emptySensory: SensoryState = { turns: [], oversize: [], tokenCount: 0 }

export interface SensoryStep {
  readonly state: SensoryState
  readonly segments: ReadonlyArray<ReadonlyArray<Turn>>
}

const isUser = (turn: Turn): boolean => turn.speaker !== "assistant"
const count = (turns: ReadonlyArray<Turn>, tools: SensoryTools): number =>
  turns.reduce((sum, turn) => (isUser(turn) ? sum + tools.tokenCount(turn.text) : sum), 0)

/** Rounds: each opened by a user's message; what an assistant says before the first one belongs to the first. */
const roundsOf = (turns: ReadonlyArray<Turn>): ReadonlyArray<ReadonlyArray<Turn>> => {
  const rounds: Array<Array<Turn>> = []
  for (const turn of turns) {
    const open = rounds.at(-1)
    if (open === undefined || (isUser(turn) && open.some(isUser))) rounds.push([turn])
    else open.push(turn)
  }
  return rounds
}

/** Segments of the buffer; more than one only where boundaries are found. */
const cut = async (turns: ReadonlyArray<Turn>, tools: SensoryTools): Promise<ReadonlyArray<ReadonlyArray<Turn>>> => {
  if (turns.length === 0) return []
  const rounds = roundsOf(turns)
  const coarse = tools.coarse === undefined ? undefined : await tools.coarse(turns.filter(isUser).map(({ text }) => text))
  if (coarse?.length === 0 || rounds.length < 2) return [turns]
  const fine = fineBoundaries(await tools.embed(rounds.map((round) => round.map(({ text }) => text).join(" "))))
  const boundaries = agreedBoundaries(fine, coarse ?? fine)
  const edges = [0, ...boundaries, rounds.length]
  return edges.slice(1).map((end, i) => rounds.slice(edges[i], end).flat())
}

/** Takes the next message; at most a few cuts, each of which empties part of the buffer. Rejects only when a tool does. */
export const pushSensory = async (
  state: SensoryState,
  turn: Turn,
  tools: SensoryTools,
  budget = sensoryBudget
): Promise<SensoryStep> => {
  const segments: Array<ReadonlyArray<Turn>> = []
  let { turns, oversize, tokenCount } = state
  if (oversize.length > 0) {
    if (!isUser(turn)) return { state: { turns, oversize: [], tokenCount }, segments: [[...oversize, turn]] }
    segments.push(oversize)
    oversize = []
  }
  if (!isUser(turn)) return { state: { turns: [...turns, turn], oversize, tokenCount }, segments }
  const needed = tools.tokenCount(turn.text)
  while (tokenCount + needed > budget && turns.some(isUser)) {
    const parts = await cut(turns, tools)
    // The last part stays for its topic may go on; a buffer without a boundary goes as a whole.
    const kept = parts.length > 1 ? (parts.at(-1) as ReadonlyArray<Turn>) : []
    segments.push(...(parts.length > 1 ? parts.slice(0, -1) : parts))
    turns = kept
    tokenCount = count(kept, tools)
  }
  return needed > budget
    ? { state: { turns: [], oversize: [...turns, turn], tokenCount: 0 }, segments }
    : { state: { turns: [...turns, turn], oversize, tokenCount: tokenCount + needed }, segments }
}

/** Everything that is still open, cut like any buffer; on close, idle or end of stream. Adds to what was given before, never replaces it. */
export const flushSensory = async (state: SensoryState, tools: SensoryTools): Promise<SensoryStep> => ({
  state: emptySensory,
  segments: [...(state.oversize.length > 0 ? [state.oversize] : []), ...(await cut(state.turns, tools))]
})
