/**
 * Chance that can be repeated: every draw is a pure function of named parts, through SHA-256. Two draws with the same parts are
 * equal in any process and in any order of calls, which is what lets a run be replayed and resumed.
 */
import { hash } from "node:crypto"

export type Part = string | number | boolean

/** Lower-case hex SHA-256 over the parts; parts cannot run into each other (`"a", "bc"` differs from `"ab", "c"`). */
export const digest = (...parts: ReadonlyArray<Part>): string => hash("sha256", JSON.stringify(parts))

/** A uniform draw in [0, 1) with 52 bits. */
export const uniform = (...parts: ReadonlyArray<Part>): number => Number.parseInt(digest(...parts).slice(0, 13), 16) / 2 ** 52

/** A uniform whole number in [0, below). */
export const wholeNumber = (below: number, ...parts: ReadonlyArray<Part>): number => {
  if (!Number.isInteger(below) || below < 1) throw new RangeError(`a draw below ${below} is empty`)
  return Math.floor(uniform(...parts) * below)
}

/** The items in a drawn order (Fisher–Yates); the input is left as it is. */
export const shuffled = <A>(items: ReadonlyArray<A>, ...parts: ReadonlyArray<Part>): Array<A> => {
  const out = [...items]
  for (let i = out.length - 1; i > 0; i--) {
    const j = wholeNumber(i + 1, ...parts, i)
    const moved = out[i]!
    out[i] = out[j]!
    out[j] = moved
  }
  return out
}

/** `count` of the items, or all where there are fewer, in a drawn order. */
export const chosen = <A>(items: ReadonlyArray<A>, count: number, ...parts: ReadonlyArray<Part>): Array<A> =>
  shuffled(items, ...parts).slice(0, Math.max(0, count))

/** A fast stream of uniform draws in [0, 1) from one seed, for loops that need thousands (bootstrap, Monte-Carlo). SFC32 generator. */
export const stream = (...parts: ReadonlyArray<Part>): (() => number) => {
  const seed = digest(...parts)
  let [a, b, c, d] = [0, 8, 16, 24].map((at) => Number.parseInt(seed.slice(at, at + 8), 16) | 0) as [number, number, number, number]
  return () => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return (t >>> 0) / 4294967296
  }
}

/** What one rollout is: the key of everything drawn for it. */
export interface RolloutKey {
  readonly runSeed: string
  readonly step: number
  readonly question: string
  readonly sample: number
}

/** Share of principles each rollout goes without, so that their effects can be told apart afterwards. */
export const dropShare = 0.2

/** The ids of the principles a rollout goes without; each is drawn by itself, so adding one changes no other's draw. */
export const droppedPrinciples = (key: RolloutKey, ids: ReadonlyArray<string>, share: number = dropShare): ReadonlySet<string> =>
  new Set(ids.filter((id) => uniform("drop", key.runSeed, key.step, key.question, key.sample, id) < share))
