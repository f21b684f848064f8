/** Typed arrays that grow: one number a row for each column of a user's index. */

type Column = Float32Array | Float64Array | Int32Array | Uint8Array | Uint16Array | Uint32Array

/** A copy with room for at least `length` numbers, and half as many again, so that growing one by one copies seldom. */
export const grown = <A extends Column>(column: A, length: number): A => {
  const larger = new (column.constructor as new(length: number) => A)(Math.max(length, Math.ceil(column.length * 1.5)))
  larger.set(column)
  return larger
}

/** The numbers of both, one after the other. */
export const joined = <A extends Column>(first: A, second: A): A => {
  const all = new (first.constructor as new(length: number) => A)(first.length + second.length)
  all.set(first)
  all.set(second, first.length)
  return all
}
