/**
 * Splits of a data set: the reference's folds, to compare with it, and the default, which is stratified by type and keeps
 * together what would leak from one part into another.
 */
import { pythonRandom } from "./mersenne.ts"
import { chosen, shuffled } from "./random.ts"

export interface Fold<A> {
  readonly train: ReadonlyArray<A>
  readonly val: ReadonlyArray<A>
  readonly test: ReadonlyArray<A>
}

export interface ReferenceSplitOptions {
  readonly seed: number
  readonly folds: number
  readonly total: number
  readonly test: number
  readonly val: number
}

/** The published split of 500 questions: 5 folds of 350/50/100. */
export const referenceSplitDefaults: ReferenceSplitOptions = { seed: 42, folds: 5, total: 500, test: 100, val: 50 }

/**
 * The reference's folds, item for item. Its weakness is kept, since the mode exists for comparison: all folds but the first share
 * their validation items, which are half of the first fold's test items.
 * With fewer items than `total` the test size shrinks in proportion, so that every fold has a test part, where the reference's later
 * folds came out empty. @throws RangeError when folds × test exceed the total, or a part would be empty
 */
export const referenceSplit = <A>(items: ReadonlyArray<A>, options: Partial<ReferenceSplitOptions> = {}): ReadonlyArray<Fold<A>> => {
  const { seed, folds, total, test, val } = { ...referenceSplitDefaults, ...options }
  if (folds * test > total) throw new RangeError(`${folds} folds of ${test} test items need more than the ${total} items asked for`)
  const drawn = pythonRandom(seed).shuffled(items).slice(0, total)
  const scale = Math.min(1, drawn.length / total)
  const testSize = Math.floor(test * scale)
  const valSize = Math.floor(val * scale)
  if (testSize < 1 || valSize < 1) throw new RangeError(`${drawn.length} items are too few for ${folds} folds in reference mode`)
  return Array.from({ length: folds }, (_, fold) => {
    const rest = [...drawn.slice(0, fold * testSize), ...drawn.slice((fold + 1) * testSize)]
    return { test: drawn.slice(fold * testSize, (fold + 1) * testSize), val: rest.slice(0, valSize), train: rest.slice(valSize) }
  })
}

/** What a split has to know of an item. Items that share a value in `bonds` (user, conversation, cluster, evidence session) stay together. */
export interface Splittable {
  readonly id: string
  readonly type: string
  readonly bonds: ReadonlyArray<string>
}

/** Pairs of ids whose question texts are nearly the same (cosine > .9 in the default mode). */
export type SimilarPairs = ReadonlyArray<readonly [string, string]>

/** Items gathered so that no bond and no similar pair crosses from one group to another; in order of first appearance. */
export const groupsOf = <A extends Splittable>(items: ReadonlyArray<A>, similar: SimilarPairs = []): ReadonlyArray<ReadonlyArray<A>> => {
  const parent = items.map((_, i) => i)
  const root = (i: number): number => {
    let at = i
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!
      at = parent[at]!
    }
    return at
  }
  const join = (a: number, b: number): void => {
    const [low, high] = [root(a), root(b)].sort((x, y) => x - y) as [number, number]
    parent[high] = low
  }
  const firstWith = new Map<string, number>()
  const byId = new Map(items.map((item, i) => [item.id, i]))
  items.forEach((item, i) => {
    for (const bond of item.bonds) {
      const other = firstWith.get(bond)
      if (other === undefined) firstWith.set(bond, i)
      else join(i, other)
    }
  })
  for (const [a, b] of similar) {
    const [i, j] = [byId.get(a), byId.get(b)]
    if (i !== undefined && j !== undefined) join(i, j)
  }
  const groups = new Map<number, Array<A>>()
  items.forEach((item, i) => {
    const key = root(i)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  })
  return [...groups.values()]
}

/**
 * Groups dealt to parts of given shares so that each type comes close to its share in each part: largest groups first, each to the
 * part whose types it leaves nearest to their due. Ties fall to the earlier part; the order is drawn from the seed.
 */
const dealt = <A extends Splittable>(groups: ReadonlyArray<ReadonlyArray<A>>, shares: ReadonlyArray<number>, seed: string): ReadonlyArray<Array<A>> => {
  const totals = new Map<string, number>()
  for (const item of groups.flat()) totals.set(item.type, (totals.get(item.type) ?? 0) + 1)
  const parts = shares.map(() => ({ items: [] as Array<A>, byType: new Map<string, number>() }))
  const all = groups.flat().length
  const order = shuffled(groups, "split", seed).sort((a, b) => b.length - a.length)
  for (const group of order) {
    const needs = parts.map((part, p) => {
      const share = shares[p]!
      if (share === 0) return -Infinity
      const byType = group.reduce((sum, item) => sum + share - (part.byType.get(item.type) ?? 0) / totals.get(item.type)!, 0)
      const inAll = share - part.items.length / all
      return (byType / group.length + 0.25 * inAll) / share
    })
    const part = parts[needs.indexOf(Math.max(...needs))]!
    for (const item of group) {
      part.items.push(item)
      part.byType.set(item.type, (part.byType.get(item.type) ?? 0) + 1)
    }
  }
  return parts.map((part) => part.items)
}

export interface StratifiedSplitOptions {
  readonly seed: string
  readonly folds: number
  readonly similar?: SimilarPairs
}

/**
 * `folds` folds whose test parts cover the data once and whose validation parts are disjoint too: fold i is tested on part i and
 * validated on half of part i + 1. @throws RangeError with fewer than two folds, or more folds than groups
 */
export const stratifiedSplit = <A extends Splittable>(items: ReadonlyArray<A>, options: StratifiedSplitOptions): ReadonlyArray<Fold<A>> => {
  const { seed, folds, similar } = options
  const groups = groupsOf(items, similar)
  if (folds < 2) throw new RangeError("a split in folds needs at least two of them")
  if (groups.length < folds) throw new RangeError(`${items.length} items form ${groups.length} groups that belong together: too few for ${folds} folds`)
  const parts = dealt(groups, Array.from({ length: folds }, () => 1 / folds), seed)
  const halves = parts.map((part, p) => dealt(groupsOf(part, similar), [0.5, 0.5], `${seed}/${p}`))
  return parts.map((test, fold) => {
    const next = (fold + 1) % folds
    const [val, rest] = halves[next]! as [Array<A>, Array<A>]
    const train = [...rest, ...parts.flatMap((part, p) => (p === fold || p === next ? [] : part))]
    return folds === 2 ? { test, val, train: rest } : { test, val, train }
  })
}

/** One split by the given shares of train, validation and test (default 50/30/20), stratified and with groups kept together. */
export const plainSplit = <A extends Splittable>(
  items: ReadonlyArray<A>,
  options: { readonly seed: string; readonly shares?: readonly [number, number, number]; readonly similar?: SimilarPairs }
): Fold<A> => {
  const [train, val, test] = dealt(groupsOf(items, options.similar), options.shares ?? [0.5, 0.3, 0.2], options.seed) as [Array<A>, Array<A>, Array<A>]
  return { train, val, test }
}

/** The type by which questions are drawn and weighted: those that cannot be answered are a type of their own beside each. */
export const typeOf = ({ abstention, type }: { readonly type: string; readonly abstention: boolean }): string => (abstention ? `${type} (abstention)` : type)

/** How many items there are of each type, in order of type. */
export const mixOf = (types: ReadonlyArray<string>): Readonly<Record<string, number>> =>
  Object.fromEntries([...Map.groupBy(types, (type) => type)].map(([type, own]) => [type, own.length] as const).sort(([a], [b]) => (a < b ? -1 : 1)))

/** Fewest items of a type that a draw takes where there are that many: fewer say nothing about the type. */
export const fewestOfType = 20

/**
 * `size` items, all when there are no more: of each type at least 20 where there are that many and `size` allows it, the rest so that
 * types come as near to their shares as that leaves. In the order given.
 */
export const drawByType = <A extends Pick<Splittable, "type">>(items: ReadonlyArray<A>, size: number, seed: string): ReadonlyArray<A> => {
  if (items.length <= size) return items
  const byType = [...Map.groupBy(items, ({ type }) => type)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([type, own]) => ({ type, own, taken: 0 }))
  /** The type that the next item is taken of: one still below the fewest, the least taken first; else the one farthest below its share. */
  const next = () => {
    const left = byType.filter(({ own, taken }) => taken < own.length)
    const few = left.filter(({ taken }) => taken < fewestOfType)
    const lack = ({ own, taken }: (typeof byType)[number]): number => (few.length > 0 ? -taken : (own.length * size) / items.length - taken)
    return (few.length > 0 ? few : left).reduce((one, other) => (lack(other) > lack(one) ? other : one))
  }
  for (let i = 0; i < size; i++) next().taken += 1
  const drawn = new Set(byType.flatMap(({ own, taken, type }) => chosen(own, taken, "by type", seed, type)))
  return items.filter((item) => drawn.has(item))
}
