/** Figures of retrieval: how much of the gold evidence a ranking finds, and how sure the mean over questions is. */

/** Figures of one question. Session figures are absent where the set's gold names no conversation. */
export interface QuestionFigures {
  readonly sAny5: number
  readonly sAll5: number
  readonly sR10: number
  readonly sNdcg10: number
  readonly r10: number
  readonly r20: number
  readonly r50: number
  readonly all20: number
  /** 1 where all gold turns stand whole in 4,000 tokens, turns taken in the order of rank. */
  readonly a4k: number
  /** 1 where all gold turns would fit in 4,000 tokens at all. */
  readonly a4kCeiling: number
  /** 1 where all gold turns are shown, whole, by excerpts or by a fact, in the evidence as the reader gets it. */
  readonly shown4k: number
  /** Tokens of the evidence as the reader gets it. */
  readonly tokens: number
}
export const figureNames = ["sAny5", "sAll5", "sR10", "sNdcg10", "r10", "r20", "r50", "all20", "a4k", "a4kCeiling", "shown4k", "tokens"] as const

/** Conversations in the order of their best turn. */
const conversationOrder = (ranked: ReadonlyArray<{ readonly conversation: string }>): ReadonlyArray<string> => [...new Set(ranked.map(({ conversation }) => conversation))]

const share = (found: ReadonlyArray<string>, gold: ReadonlySet<string>): number => found.filter((id) => gold.has(id)).length / gold.size

/**
 * @param ranked all turns, best first
 * @param packed ids of the whole turns in 4,000 tokens
 * @param shown  ids of the turns in the evidence as the reader gets it
 */
export const questionFigures = (input: {
  readonly ranked: ReadonlyArray<{ readonly id: string; readonly conversation: string }>
  readonly goldTurns: ReadonlySet<string>
  readonly goldConversations: ReadonlySet<string>
  readonly packed: ReadonlySet<string>
  readonly shown: ReadonlySet<string>
  readonly fitsWhole: boolean
  readonly tokens: number
}): QuestionFigures => {
  const { goldConversations, fitsWhole, goldTurns, packed, ranked, shown, tokens } = input
  const ids = ranked.map(({ id }) => id)
  const conversations = conversationOrder(ranked)
  const gain = (place: number): number => 1 / Math.log2(place + 2)
  const dcg = conversations.slice(0, 10).reduce((sum, id, place) => sum + (goldConversations.has(id) ? gain(place) : 0), 0)
  const ideal = [...goldConversations].slice(0, 10).reduce((sum, _, place) => sum + gain(place), 0)
  const top5 = conversations.slice(0, 5)
  const recall = (k: number) => share(ids.slice(0, k), goldTurns)
  return {
    sAny5: top5.some((id) => goldConversations.has(id)) ? 1 : 0,
    sAll5: [...goldConversations].every((id) => top5.includes(id)) ? 1 : 0,
    sR10: share(conversations.slice(0, 10), goldConversations),
    sNdcg10: ideal === 0 ? 0 : dcg / ideal,
    r10: recall(10),
    r20: recall(20),
    r50: recall(50),
    all20: recall(20) === 1 ? 1 : 0,
    a4k: [...goldTurns].every((id) => packed.has(id)) ? 1 : 0,
    a4kCeiling: fitsWhole ? 1 : 0,
    shown4k: [...goldTurns].every((id) => shown.has(id)) ? 1 : 0,
    tokens
  }
}

/** A small generator of its own, so that intervals are the same in every run. Source: Marsaglia's xorshift, 32 bits. */
const generator = (seed: number) => {
  let state = seed | 1
  return (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 4_294_967_296
  }
}

/**
 * 95 % percentile interval of a mean over questions, drawing whole clusters (questions about one user's memory are not independent).
 * Absent with fewer than two clusters, where nothing can be drawn.
 */
export const bootstrapInterval = (values: ReadonlyArray<{ readonly cluster: string; readonly value: number }>, draws = 2_000): readonly [number, number] | undefined => {
  const clusters = new Map<string, { sum: number; count: number }>()
  for (const { cluster, value } of values) {
    const found = clusters.get(cluster) ?? { sum: 0, count: 0 }
    found.sum += value
    found.count += 1
    clusters.set(cluster, found)
  }
  const all = [...clusters.values()]
  if (all.length < 2) return undefined
  const next = generator(20_261_125)
  const means: Array<number> = []
  for (let draw = 0; draw < draws; draw++) {
    let sum = 0
    let count = 0
    for (let n = 0; n < all.length; n++) {
      const cluster = all[Math.floor(next() * all.length)]
      sum += cluster?.sum ?? 0
      count += cluster?.count ?? 0
    }
    means.push(sum / count)
  }
  means.sort((a, b) => a - b)
  return [means[Math.floor(draws * 0.025)] ?? 0, means[Math.ceil(draws * 0.975) - 1] ?? 0]
}
