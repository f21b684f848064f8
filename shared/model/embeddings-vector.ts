/** Vectors as everything sees them: unit length, rounded to float16 values, checked. */
import { createHash } from "node:crypto"

/**
 * A raw vector scaled to unit length with each value rounded to float16.
 *
 * @returns nothing where the vector is not `dimensions` long, holds a value that is no finite number, or has no length
 */
export const roundedUnit = (raw: Float32Array, dimensions: number): Float32Array | undefined => {
  if (raw.length !== dimensions) return undefined
  let squares = 0
  for (const value of raw) squares += value * value
  if (!Number.isFinite(squares) || squares === 0) return undefined
  const scale = 1 / Math.sqrt(squares)
  return Float32Array.from(Float16Array.from(raw, (value) => value * scale))
}

/** Key of a text's vector: what is embedded is found by its content. */
export const contentKey = (text: string): string => createHash("sha256").update(text).digest("base64url")

/** Vectors by key up to so many bytes of them; the first that came leave first. One larger than that is not kept. */
export class VectorCache {
  readonly #bytesMax: number
  readonly #vectors = new Map<string, Float32Array>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get(key: string): Float32Array | undefined {
    return this.#vectors.get(key)
  }

  set(key: string, vector: Float32Array): void {
    this.#bytes += vector.byteLength - (this.#vectors.get(key)?.byteLength ?? 0)
    this.#vectors.set(key, vector)
    for (const [oldest, { byteLength }] of this.#vectors) {
      if (this.#bytes <= this.#bytesMax) return
      this.#vectors.delete(oldest)
      this.#bytes -= byteLength
    }
  }

  clear(): void {
    this.#vectors.clear()
    this.#bytes = 0
  }
}
