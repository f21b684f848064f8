/**
 * The live segmenter: cuts a conversation's turns into segments on one topic as they arrive. A fold over the ordered turns and nothing
 * else: it reads no clock, and it does not matter how many turns a worker finds when it wakes. Works by words alone; vectors are used
 * where both sides of a gap have them. The original's buffer-driven method is in `segmentation.ts`; `../boundaries.ts` chooses.
 *
 * Source of the idea: Hearst 1997, TextTiling (cohesion of blocks on both sides of a gap), with rounds as blocks and decided one round
 * after the gap, so that a segment closes while the talk goes on.
 */
import type { Turn } from "#shared/domain/turn"
import { cosine } from "./cosine.ts"
import { addStems, cohesion, stemsOf } from "./stems.ts"

/** A turn with its size; how tokens are counted is the caller's choice, but must not change within a conversation. */
export interface SizedTurn extends Turn {
  readonly tokens: number
}

/** A round still open, with the mean vector of its turns where all of them have one. */
interface OpenRound {
  readonly turns: ReadonlyArray<SizedTurn>
  readonly vectors: ReadonlyArray<ArrayLike<number>>
}

export interface SegmenterState {
  readonly rounds: ReadonlyArray<OpenRound>
}
export const initialSegmenter: SegmenterState = { rounds: [] }

/** `topic`: cohesion dipped; `gap`: a long silence; `size`: the token limit; `closed`: closed, idle or end of stream. */
export type SegmentReason = "topic" | "gap" | "size" | "closed"

export interface Segment {
  readonly turns: ReadonlyArray<SizedTurn>
  readonly reason: SegmentReason
}

export interface SegmenterSettings {
  /** Cohesion of words below which a gap is a boundary, [0, 1]. */
  readonly cohesionMin: number
  /** Cosine of vectors below which a gap is a boundary. */
  readonly cosineMin: number
  /** Rounds compared before the gap. */
  readonly blockRounds: number
  /** Stems the later side must have before words may decide: "thanks, and the other one?" is no new topic. */
  readonly stemsMin: number
  /** Silence that ends a segment, milliseconds. */
  readonly gapMs: number
  /** Tokens of one segment at most, unless a single turn is larger. */
  readonly tokensMax: number
}
export const defaultSegmenterSettings: SegmenterSettings = {
  cohesionMin: 0.15,
  cosineMin: 0.3,
  blockRounds: 3,
  stemsMin: 15,
  gapMs: 3 * 3_600_000,
  tokensMax: 2_000
}

export interface SegmenterStep {
  readonly state: SegmenterState
  /** Segments closed by this step, in order. */
  readonly segments: ReadonlyArray<Segment>
}

// Stems are a pure function of the turn; keeping those of the last turns saves counting a turn once per later gap. Those of every open
// turn took more memory than all else that is known of a conversation.
const stemCache = new Map<SizedTurn, Map<string, number>>()
const stemsKept = 1_024
const stemsOfTurn = (turn: SizedTurn): Map<string, number> => {
  const kept = stemCache.get(turn)
  if (kept !== undefined) return kept
  const stems = stemsOf(turn.text)
  stemCache.set(turn, stems)
  if (stemCache.size > stemsKept) for (const oldest of stemCache.keys()) {
    stemCache.delete(oldest)
    break
  }
  return stems
}
const stemsOfRounds = (rounds: ReadonlyArray<OpenRound>, next?: SizedTurn): Map<string, number> => {
  const stems = new Map<string, number>()
  for (const { turns } of rounds) for (const turn of turns) addStems(stems, stemsOfTurn(turn))
  if (next !== undefined) addStems(stems, stemsOfTurn(next))
  return stems
}

const meanOf = (rounds: ReadonlyArray<OpenRound>): ReadonlyArray<number> | undefined => {
  const all = rounds.flatMap(({ vectors }) => vectors)
  if (all.length === 0 || rounds.some(({ turns, vectors }) => vectors.length < turns.length)) return undefined
  return Array.from(all[0] as ArrayLike<number>, (_, i) => all.reduce((sum, vector) => sum + (vector[i] ?? 0), 0) / all.length)
}

/** How far the gap before round `at` lies below its limit; positive = a boundary. `next` is the turn that opens the round after. */
const dip = (rounds: ReadonlyArray<OpenRound>, at: number, settings: SegmenterSettings, next?: SizedTurn): number => {
  const left = rounds.slice(Math.max(0, at - settings.blockRounds), at)
  const right = rounds.slice(at, at + 1)
  const leftMean = meanOf(left)
  const rightMean = meanOf(right)
  if (leftMean !== undefined && rightMean !== undefined && leftMean.length === rightMean.length) {
    return settings.cosineMin - cosine(leftMean, rightMean)
  }
  const own = stemsOfRounds(right)
  if (own.size < settings.stemsMin) return -1
  return settings.cohesionMin - cohesion(stemsOfRounds(left), stemsOfRounds(right, next))
}

const tokensOf = (rounds: ReadonlyArray<OpenRound>): number =>
  rounds.reduce((sum, { turns }) => sum + turns.reduce((own, { tokens }) => own + tokens, 0), 0)
const segmentOf = (rounds: ReadonlyArray<OpenRound>, reason: SegmentReason): Segment => ({ turns: rounds.flatMap(({ turns }) => turns), reason })

/** A round opens when the speaker who opened the segment's talk speaks again after somebody else. */
const opensRound = (rounds: ReadonlyArray<OpenRound>, turn: SizedTurn): boolean => {
  const last = rounds.at(-1)?.turns.at(-1)
  if (last === undefined) return true
  if (turn.speaker === "assistant" || last.speaker === turn.speaker) return false
  const opener = rounds.flatMap(({ turns }) => turns).find(({ speaker }) => speaker !== "assistant")?.speaker
  // What an assistant says first belongs to the round of the person it greets.
  return opener === turn.speaker
}

const withTurn = (round: OpenRound | undefined, turn: SizedTurn, vector: ArrayLike<number> | undefined): OpenRound => ({
  turns: [...(round?.turns ?? []), turn],
  vectors: vector === undefined ? (round?.vectors ?? []) : [...(round?.vectors ?? []), vector]
})

/** Takes the next turn in the conversation's order. A turn that is late (before its forerunner's time) opens no gap. */
export const pushTurn = (
  state: SegmenterState,
  turn: SizedTurn,
  settings: SegmenterSettings = defaultSegmenterSettings,
  vector?: ArrayLike<number>
): SegmenterStep => {
  const segments: Array<Segment> = []
  let rounds = state.rounds
  const last = rounds.at(-1)?.turns.at(-1)
  if (last !== undefined && Date.parse(turn.time) - Date.parse(last.time) > settings.gapMs) {
    segments.push(segmentOf(rounds, "gap"))
    rounds = []
  }
  const opens = opensRound(rounds, turn)
  if (opens && rounds.length >= 2 && dip(rounds, rounds.length - 1, settings, turn) > 0) {
    segments.push(segmentOf(rounds.slice(0, -1), "topic"))
    rounds = rounds.slice(-1)
  }
  while (rounds.length > 0 && tokensOf(rounds) + turn.tokens > settings.tokensMax) {
    const at = opens || rounds.length > 1 ? weakestGap(rounds, opens, settings) : rounds.length
    segments.push(segmentOf(rounds.slice(0, at), "size"))
    rounds = rounds.slice(at)
  }
  const grown = opens || rounds.length === 0
    ? [...rounds, withTurn(undefined, turn, vector)]
    : [...rounds.slice(0, -1), withTurn(rounds.at(-1), turn, vector)]
  return { state: { rounds: grown }, segments }
}

/** Where to cut for size: the gap of least cohesion. The round that the next turn belongs to stays whole where it can. */
const weakestGap = (rounds: ReadonlyArray<OpenRound>, opens: boolean, settings: SegmenterSettings): number => {
  if (rounds.length === 1) return 1
  const ends = opens ? rounds.length : rounds.length - 1
  let best = ends
  let depth = Number.NEGATIVE_INFINITY
  for (let at = 1; at < rounds.length; at++) {
    const own = dip(rounds, at, { ...settings, stemsMin: 0 })
    if (own > depth) {
      depth = own
      best = at
    }
  }
  return best
}

/** Closes what is open: at the end of a stream, on close, or on idle. Nothing stays behind. */
export const flushSegmenter = (state: SegmenterState): SegmenterStep => ({
  state: initialSegmenter,
  segments: state.rounds.length === 0 ? [] : [segmentOf(state.rounds, "closed")]
})
