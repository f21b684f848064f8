/**
 * Which pairs of memories are worth a decision, and what becomes of several decisions about one memory. Order is strict (time, then id),
 * so that two near-duplicates can never each replace the other.
 */

export interface PairMember {
  readonly id: string
  readonly kind: "turn" | "fact"
  readonly time: string
  readonly supersededBy?: string
  /** Was taken back after it had been replaced: a person's word, which is not decided over again. */
  readonly restored?: boolean
}

/** A memory and its cosine to the one asked about. */
export interface Neighbour<Member extends PairMember> {
  readonly memory: Member
  readonly cosine: number
}

export interface CandidatePair<Member extends PairMember> {
  readonly earlier: Member
  readonly later: Member
  readonly cosine: number
}

/** Cosine of MiniLM vectors from which two facts may be about the same thing. */
export const candidateCosineMin = 0.55
/** Earlier memories looked at for one later memory. */
export const candidatesPerMemory = 5

/** True when `a` is older; equal times are ordered by id. */
export const isOlder = (a: PairMember, b: PairMember): boolean => (a.time === b.time ? a.id < b.id : a.time < b.time)

/** The closest older facts still in force, closest first, ties by id. */
export const candidatePairs = <Member extends PairMember>(later: Member, neighbours: ReadonlyArray<Neighbour<Member>>): ReadonlyArray<CandidatePair<Member>> =>
  later.kind !== "fact" || later.supersededBy !== undefined
    ? []
    : neighbours
      .filter(({ memory, cosine }) =>
        memory.kind === "fact" && memory.supersededBy === undefined && memory.restored !== true && memory.id !== later.id && cosine >= candidateCosineMin && isOlder(memory, later))
      .toSorted((a, b) => b.cosine - a.cosine || (a.memory.id < b.memory.id ? -1 : 1))
      .slice(0, candidatesPerMemory)
      .map(({ memory, cosine }) => ({ earlier: memory, later, cosine }))

export interface DecidedPair<Member extends PairMember> {
  readonly earlier: Member
  readonly later: Member
  readonly action: "keep" | "supersede" | "merge"
}

/**
 * At most one replacement per earlier memory: the latest statement about it, whatever order the decisions came in. A memory that is
 * itself replaced may still replace an older one, as it was true in between.
 */
export const settlePairs = <Pair extends DecidedPair<PairMember>>(decided: ReadonlyArray<Pair>): ReadonlyArray<Pair> => {
  const latest = new Map<string, Pair>()
  for (const pair of decided) {
    if (pair.action === "keep" || !isOlder(pair.earlier, pair.later)) continue
    const before = latest.get(pair.earlier.id)
    if (before === undefined || isOlder(before.later, pair.later)) latest.set(pair.earlier.id, pair)
  }
  return [...latest.values()].toSorted((a, b) => (isOlder(a.earlier, b.earlier) ? -1 : 1))
}
