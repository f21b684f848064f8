/** Proposes pairs of one user's facts that may be about the same thing: each fact that stands with its nearest older neighbours. */
import { Effect } from "effect"
import { candidateCosineMin, candidatePairs } from "#shared/domain/reconcile-pairs"
import type { MemoryIndex, MemoryIndexError } from "#shared/memoryindex/memory-index"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import type { PairedFact } from "#services/compressor/protocol"
import type { CandidatesReply } from "./protocol.ts"

/** Facts compared with all others between two pauses, in which other requests are served. */
const factsAtOnce = 16

const paired = ({ conversation, id, kind, meant, speaker, text, time, turns }: IndexedMemory): PairedFact => ({
  id, kind, text, speaker, time, turns, conversation, ...(meant === undefined ? {} : { meant })
})

/**
 * Pairs whose later side is one of the facts `from` … `from + count`, in the order of time, then id.
 *
 * @param user key of the user's part of the index: no other user's facts are ever looked at
 */
export const candidatesOf = (index: Pick<MemoryIndex["Service"], "view" | "get">, user: string, from: number, count: number): Effect.Effect<Omit<CandidatesReply, "seen">, MemoryIndexError> =>
  Effect.gen(function*() {
    const facts = yield* Effect.map(index.view(user, { kinds: ["fact"] }), ({ facts: { memories, standing } }) =>
      memories.filter((_, row) => standing[row] === 1).sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : a.id < b.id ? -1 : 1)))
    const page = facts.slice(from, from + count)
    const pairs: Array<CandidatesReply["pairs"][number]> = []
    let withoutVector = 0
    for (let at = 0; at < page.length; at += factsAtOnce) {
      if (at > 0) yield* Effect.sleep(0)
      const laters = yield* index.get(user, page.slice(at, at + factsAtOnce).map(({ id }) => id))
      // Taken anew after each pause: a view is valid only until the next change.
      const { memories, nearest, standing } = (yield* index.view(user, { kinds: ["fact"] })).facts
      for (const later of laters) {
        if (later.vector === undefined) {
          withoutVector += 1
          continue
        }
        const cosines = nearest(later.vector)
        const near = memories.flatMap((memory, row) => (standing[row] === 1 && (cosines[row] ?? 0) >= candidateCosineMin ? [{ id: memory.id, cosine: cosines[row] ?? 0 }] : []))
        const known = new Map((yield* index.get(user, near.map(({ id }) => id))).map((memory) => [memory.id, memory]))
        const neighbours = near.flatMap(({ cosine, id }) => {
          const memory = known.get(id)
          return memory === undefined ? [] : [{ memory, cosine }]
        })
        for (const pair of candidatePairs(later, neighbours)) pairs.push({ earlier: paired(pair.earlier), later: paired(pair.later), cosine: pair.cosine })
      }
    }
    const next = from + count
    return { pairs, facts: facts.length, withoutVector, ...(next < facts.length ? { next } : {}) }
  })
