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
