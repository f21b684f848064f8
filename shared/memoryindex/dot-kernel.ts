/**
 * Dot products of one query with many rows of signed bytes, in WebAssembly with 128-bit lanes, which
 * JavaScript alone cannot use: more than ten times as fast as its own loop. The module is assembled here, since it is a single loop.
 */

/** The part of the WebAssembly interface used here; the compiler's own types for it come only with those of a browser. */
declare const WebAssembly: {
  readonly Module: new(bytes: Uint8Array) => object
  readonly Instance: new(module: object, imports: { readonly m: { readonly memory: WasmMemory } }) => { readonly exports: Readonly<Record<string, unknown>> }
  readonly Memory: new(size: { readonly initial: number }) => WasmMemory
}
export interface WasmMemory {
  /** Another one after each `grow`. */
  readonly buffer: ArrayBuffer
  readonly grow: (pages: number) => number
}
const pageBytes = 65_536
export const makeMemory = (): WasmMemory => new WebAssembly.Memory({ initial: 0 })
/** Makes a memory at least so large, where it is; what is new is zeroed. */
export const growMemory = (memory: WasmMemory, bytes: number): void => {
  const pages = Math.ceil((bytes - memory.buffer.byteLength) / pageBytes)
  if (pages > 0) memory.grow(pages)
}

const leb = (value: number): Array<number> => {
  const bytes: Array<number> = []
  let rest = value
  do {
    bytes.push((rest & 0x7f) | (rest >>> 7 === 0 ? 0 : 0x80))
    rest >>>= 7
  } while (rest !== 0)
  return bytes
}
const section = (id: number, body: ReadonlyArray<number>): Array<number> => [id, ...leb(body.length), ...body]
const name = (text: string): Array<number> => [text.length, ...new TextEncoder().encode(text)]

const i32 = 0x7f
const v128 = 0x7b
const get = (local: number) => [0x20, local]
const set = (local: number) => [0x21, local]
/** Constants are signed: one whose last byte would have the bit of the sign gets another byte. @param value below 128 */
const constant = (value: number) => [0x41, ...(value < 64 ? [value] : [value | 0x80, 0])]
const add = [0x6a]
const simd = (code: number, ...immediates: ReadonlyArray<number>) => [0xfd, ...leb(code), ...immediates]

/**
 * Blocks of rows that are gone through side by side. One query goes over more than the caches hold: a processor fetches several streams of
 * memory at once, and four take less than half the time of one.
 */
const blocks = 4
const each = <A>(of: (block: number) => A): ReadonlyArray<A> => Array.from({ length: blocks }, (_, block) => of(block))

/** Parameters: query (int16 numbers), bytes a row, rows of a block, and for each block its rows (int8) and its place for the results (int32). */
const [query, width, count] = [0, 1, 2]
const rowOf = (block: number): number => 3 + block
const outOf = (block: number): number => 3 + blocks + block
const parameters = 3 + 2 * blocks
/** Locals: column and end of the row, eight numbers of the query, and each block's accumulator. */
const [column, end, eight] = [parameters, parameters + 1, parameters + 2]
const sumOf = (block: number): number => parameters + 3 + block

/** @param step numbers of a row taken at once, a multiple of 8 */
const bodyOf = (step: number): ReadonlyArray<number> => [
  ...[2, 2, i32, 1 + blocks, v128],
  // while (count != 0)
  ...[0x02, 0x40, 0x03, 0x40],
  ...[...get(count), 0x45, 0x0d, 1],
  ...each((block) => [...simd(12, ...new Array<number>(16).fill(0)), ...set(sumOf(block))]).flat(),
  ...[...get(query), ...set(column)],
  ...[...get(rowOf(0)), ...get(width), ...add, ...set(end)],
  // while (the first block's row < its end): sum += dot(widen(eight bytes of the row), eight numbers of the query), for each eight of a step
  ...[0x02, 0x40, 0x03, 0x40],
  ...[...get(rowOf(0)), ...get(end), 0x4f, 0x0d, 1],
  ...Array.from({ length: step / 8 }, (_, at) => [
    ...get(column), ...simd(0, 0, ...leb(at * 16)), ...set(eight),
    ...each((block) => [
      ...get(rowOf(block)), ...simd(1, 0, ...leb(at * 8)),
      ...get(eight),
      ...simd(186),
      ...get(sumOf(block)), ...simd(174), ...set(sumOf(block))
    ]).flat()
  ]).flat(),
  ...each((block) => [...get(rowOf(block)), ...constant(step), ...add, ...set(rowOf(block))]).flat(),
  ...[...get(column), ...constant(step * 2), ...add, ...set(column)],
  ...[0x0c, 0, 0x0b, 0x0b],
  // out[0] = the four lanes together
  ...each((block) => [
    ...get(outOf(block)),
    ...[0, 1, 2, 3].flatMap((lane) => [...get(sumOf(block)), ...simd(27, lane), ...(lane === 0 ? [] : add)]),
    ...[0x36, 2, 0],
    ...[...get(outOf(block)), ...constant(4), ...add, ...set(outOf(block))]
  ]).flat(),
  ...[...get(count), ...constant(1), 0x6b, ...set(count)],
  ...[0x0c, 0, 0x0b, 0x0b],
  0x0b
]

const moduleOf = (body: ReadonlyArray<number>) => new WebAssembly.Module(Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(1, [1, 0x60, parameters, ...new Array<number>(parameters).fill(i32), 0]),
  ...section(2, [1, ...name("m"), ...name("memory"), 2, 0, 0]),
  ...section(3, [1, 0]),
  ...section(7, [1, ...name("dots"), 0, 0]),
  ...section(10, [1, ...leb(body.length), ...body])
]))

/**
 * @param query byte offset of `width` int16 numbers
 * @param rows  byte offset of `count` × `width` int8 numbers
 * @param width numbers in a row, a multiple of 8
 * @param out   byte offset of `count` int32 results; sums must fit, so |query number| × 127 × width < 2³¹
 */
export type Dots = (query: number, rows: number, width: number, count: number, out: number) => void

/** For rows of any multiple of 8 numbers, and for those of a multiple of 32, whose loop turns a fourth as often. */
const [byEight, byMore] = [moduleOf(bodyOf(8)), moduleOf(bodyOf(32))]

/** The kernel over a memory of the caller's, for rows of so many numbers. */
export const dotsOver = (memory: WasmMemory, width: number): Dots => {
  const dots = new WebAssembly.Instance(width % 32 === 0 ? byMore : byEight, { m: { memory } }).exports["dots"] as (...numbers: ReadonlyArray<number>) => void
  return (query, rows, width, count, out) => {
    const size = Math.ceil(count / blocks)
    // Where rows do not divide evenly, the last blocks overlap: a row or two come out twice, the same.
    const starts = each((block) => Math.min(block * size, count - size))
    dots(query, width, size, ...starts.map((start) => rows + start * width), ...starts.map((start) => out + start * 4))
  }
}
