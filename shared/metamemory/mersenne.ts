/**
 * Python's random module where the reference's splits need it: MT19937 seeded by a whole number, and shuffle.
 * Source: Matsumoto & Nishimura 1998; seeding and rejection as documented for CPython's `random`.
 */
const size = 624
const period = 397

export interface PythonRandom {
  /** Whole number with `bits` random bits, 1 … 32. */
  readonly bits: (bits: number) => number
  /** Whole number in [0, below), by rejection. */
  readonly below: (below: number) => number
  /** The items in a new order; the state moves on, so a second shuffle differs. */
  readonly shuffled: <A>(items: ReadonlyArray<A>) => Array<A>
}

/** A generator in the state that `random.seed(seed)` leaves. @param seed whole number, 0 … 2^53 − 1 */
export const pythonRandom = (seed: number): PythonRandom => {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`the seed must be a whole number from 0, not ${seed}`)
  const state = seeded(seed > 0xffffffff ? [seed >>> 0, Math.floor(seed / 2 ** 32)] : [seed])
  let at = size

  const next = (): number => {
    if (at >= size) {
      for (let i = 0; i < size; i++) {
        const y = (state[i]! & 0x80000000) | (state[(i + 1) % size]! & 0x7fffffff)
        state[i] = state[(i + period) % size]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)
      }
      at = 0
    }
    let y = state[at++]!
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    y ^= y >>> 18
    return y >>> 0
  }

  const bits = (count: number): number => {
    if (!Number.isInteger(count) || count < 1 || count > 32) throw new RangeError(`between 1 and 32 bits, not ${count}`)
    return next() >>> (32 - count)
  }
  const below = (limit: number): number => {
    if (!Number.isInteger(limit) || limit < 1) throw new RangeError(`a draw below ${limit} is empty`)
    const width = 32 - Math.clz32(limit)
    for (;;) {
      const drawn = bits(width)
      if (drawn < limit) return drawn
    }
  }
  return {
    bits,
    below,
    shuffled: (items) => {
      const out = [...items]
      for (let i = out.length - 1; i > 0; i--) {
        const j = below(i + 1)
        const moved = out[i]!
        out[i] = out[j]!
        out[j] = moved
      }
      return out
    }
  }
}

/** `init_by_array` of the published generator. */
const seeded = (key: ReadonlyArray<number>): Uint32Array => {
  const state = new Uint32Array(size)
  state[0] = 19650218
  for (let i = 1; i < size; i++) state[i] = Math.imul(1812433253, state[i - 1]! ^ (state[i - 1]! >>> 30)) + i
  let i = 1
  let j = 0
  for (let k = Math.max(size, key.length); k > 0; k--) {
    state[i] = (state[i]! ^ Math.imul(state[i - 1]! ^ (state[i - 1]! >>> 30), 1664525)) + key[j]! + j
    i++
    j = (j + 1) % key.length
    if (i >= size) {
      state[0] = state[size - 1]!
      i = 1
    }
  }
  for (let k = size - 1; k > 0; k--) {
    state[i] = (state[i]! ^ Math.imul(state[i - 1]! ^ (state[i - 1]! >>> 30), 1566083941)) - i
    i++
    if (i >= size) {
      state[0] = state[size - 1]!
      i = 1
    }
  }
  state[0] = 0x80000000
  return state
}
