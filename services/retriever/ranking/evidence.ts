/**
 * Evidence for one question: the best memories that fit a budget of o200k tokens, in the order of time. A turn too long for its share
 * is shown by excerpts. Facts never take a turn's room: they get what turns leave, and stand in for turns that are not shown.
 */
import type { EvidenceItem } from "#shared/domain/evidence"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import type { UserView } from "#shared/memoryindex/user-index"
import { tokensOf } from "#shared/model/tokens"
import { excerpt } from "./excerpt.ts"
import type { QuestionPlan } from "./plan.ts"
import { type RankedMemory, rankedMax, rankMemories } from "./rank.ts"
import { itemTokens, memoryTokens } from "./tokens.ts"

/** Share of the budget one turn may take before it is shown by excerpts, with a floor below which excerpts say nothing. */
const turnShare = 0.15
const turnTokensMin = 90
/** Excerpts shorter than this are not worth their line. */
const excerptTokensMin = 24

interface Chosen {
  readonly memory: IndexedMemory
  readonly score: number
  readonly text: string
  readonly tokens: number
}

/**
 * Greedy by score: turns first, and facts that have none; then facts none of whose turns is shown.
 *
 * @returns what is shown, best first
 */
export const packEvidence = (ranked: ReadonlyArray<RankedMemory>, question: string, budget: number): ReadonlyArray<Chosen> => {
  const share = Math.max(turnTokensMin, Math.floor(budget * turnShare))
  const chosen = new Map<string, Chosen>()
  const turns = new Set(ranked.flatMap(({ memory }) => (memory.kind === "turn" ? [memory.id] : [])))
  const isStandIn = ({ memory }: RankedMemory): boolean => memory.kind === "fact" && memory.turns.some((turn) => turns.has(turn))
  const first = ranked.filter((one) => !isStandIn(one)).slice(0, rankedMax)
  let left = budget
  for (const { memory, score } of [...first, ...ranked.filter(isStandIn)]) {
    const room = left - itemTokens
    if (room < excerptTokensMin) break
    if (memory.turns.some((turn) => chosen.has(turn))) continue
    const whole = memoryTokens(memory)
    const text = memory.kind === "fact" || (whole <= share && whole <= room) ? memory.text : excerpt(memory.text, question, Math.min(share, room))
    const tokens = text === memory.text ? whole : tokensOf(text)
    if (text === "" || tokens > room || (text !== memory.text && tokens < excerptTokensMin)) continue
    left -= tokens + itemTokens
    chosen.set(memory.id, { memory, score, text, tokens: tokens + itemTokens })
  }
  return [...chosen.values()].sort((a, b) => b.score - a.score)
}

/**
 * @param input.vectors of `plan.vectorQueries` in their order; empty when there is no embedder
 * @param input.tokens  budget in o200k tokens
 * @returns in the order of time; scores tell the rank
 */
export const selectEvidence = (input: {
  readonly view: UserView
  readonly plan: QuestionPlan
  readonly vectors: ReadonlyArray<Float32Array>
  readonly question: string
  readonly tokens: number
}): ReadonlyArray<EvidenceItem> =>
  packEvidence(rankMemories(input.view, input.plan, input.vectors), input.question, input.tokens)
    .toSorted(({ memory: a }, { memory: b }) => {
      if (a.time !== b.time) return a.time < b.time ? -1 : 1
      if (a.conversation !== b.conversation) return a.conversation < b.conversation ? -1 : 1
      if (a.kind !== b.kind) return a.kind === "turn" ? -1 : 1
      // Of turns said at one time, as exports have them, the order in which they came is the order of the talk. Between conversations
      // it would tell who was served first, which no answer may depend on.
      const { rowOf } = a.kind === "turn" ? input.view.turns : input.view.facts
      return (rowOf(a.id) ?? 0) - (rowOf(b.id) ?? 0)
    })
    .map(({ memory, score, text }): EvidenceItem => ({
      memoryId: memory.id,
      kind: memory.kind,
      text,
      time: memory.time,
      speaker: memory.speaker,
      conversation: memory.conversation,
      turns: memory.turns,
      score
    }))
