/**
 * Cuts a stream of text into JSON values without holding the whole of it: the elements of one array, the lines of a JSONL file, or a
 * single object. Memory is bounded by the largest value.
 */
import { Schema } from "effect"

/** The file as a whole cannot be imported; `message` says what it seems to be and what to do. */
export class NotImportable extends Schema.TaggedError<NotImportable>()("NotImportable", {
  message: Schema.String,
  /** Set when it is a benchmark's data set, which `#shared/datasets/read-dataset` reads. */
  dataset: Schema.optionalKey(Schema.Literals(["longmemeval", "locomo", "beam"]))
}) {}

/** Characters of one value at most: a conversation of a large export, or one line. */
const valueLimit = 128 * 1024 * 1024

/** One value with its place: the line (JSONL) or the element's number, from 1. `error` in place of a value that is not JSON. */
export type PlacedValue =
  | { readonly place: number; readonly value: unknown }
  | { readonly place: number; readonly error: string }

export type Layout = "lines" | "array" | "object"

export type Chunks = AsyncIterable<Uint8Array | string>

const zip = [0x50, 0x4b, 0x03, 0x04]
const gzip = [0x1f, 0x8b]
const beginsWith = (bytes: Uint8Array, magic: ReadonlyArray<number>): boolean => magic.every((byte, i) => bytes[i] === byte)

/** Stands in decoded text where the bytes were no UTF-8; the sign for that alone may as well have been written. */
const notUtf8 = "\ufffd\uffff\ufffd"
const replacement = Buffer.from("\ufffd")

/** Decodes a stream, with a mark where bytes are no UTF-8; a replacement sign that was written stays what it is. */
const marking = (): (chunk?: Uint8Array) => string => {
  const decoder = new TextDecoder("utf-8")
  /** Bytes at the end of a chunk that may be the beginning of a written sign. */
  let held = Buffer.alloc(0)
  return (chunk) => {
    const bytes = Buffer.concat([held, chunk ?? new Uint8Array(0)])
    const open = chunk === undefined ? 0 : [2, 1].find((length) => replacement.subarray(0, length).equals(bytes.subarray(bytes.length - length))) ?? 0
    held = bytes.subarray(bytes.length - open)
    let text = ""
    for (let from = 0, end = bytes.length - open; from <= end;) {
      const at = bytes.subarray(0, end).indexOf(replacement, from)
      const part = decoder.decode(bytes.subarray(from, at < 0 ? end : at), { stream: at < 0 && chunk !== undefined })
      text += part.replaceAll("\ufffd", notUtf8)
      if (at < 0) break
      text += "\ufffd"
      from = at + replacement.length
    }
    return text
  }
}

/** Text of the chunks without a byte order mark; refuses archives and UTF-16 by their first bytes. */
async function* decoded(chunks: Chunks): AsyncGenerator<string> {
  const decode = marking()
  let isFirst = true
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue
    if (isFirst && typeof chunk !== "string") {
      if (beginsWith(chunk, zip)) throw new NotImportable({ message: "this is a zip archive; unpack it and give the conversations.json inside" })
      if (beginsWith(chunk, gzip)) throw new NotImportable({ message: "this is a gzip file; unpack it first (gunzip FILE)" })
      if (beginsWith(chunk, [0xff, 0xfe]) || beginsWith(chunk, [0xfe, 0xff])) throw new NotImportable({ message: "this file is UTF-16; save it as UTF-8" })
    }
    const text = typeof chunk === "string" ? chunk : decode(chunk)
    yield isFirst ? text.replace(/^\ufeff/, "") : text
    isFirst = false
  }
  yield decode()
}

const parse = (place: number, text: string): PlacedValue => {
  if (text.includes(notUtf8)) return { place, error: "it holds bytes that are no UTF-8, and its words would be lost; save the file as UTF-8" }
  try {
    return { place, value: JSON.parse(text) as unknown }
  } catch (error) {
    return { place, error: `not valid JSON: ${error instanceof Error ? error.message.slice(0, 120) : "unreadable"}` }
  }
}

/** A first line that only opens something belongs to an object written over several lines. */
const opensObject = (line: string): boolean => /[{[,:]$/.test(line)

async function* lines(source: AsyncGenerator<string>, start: string, startPlace: number): AsyncGenerator<PlacedValue> {
  let rest = start
  let place = startPlace
  let isSkipping = false
  const take = function*(text: string): Generator<PlacedValue> {
    rest += text
    let from = 0
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n", from)) {
      const line = rest.slice(from, end).trim()
      from = end + 1
      if (isSkipping) isSkipping = false
      else if (line !== "") yield parse(place, line)
      place += 1
    }
    rest = rest.slice(from)
    if (rest.length > valueLimit) {
      if (!isSkipping) yield { place, error: `a line of more than ${valueLimit} characters; split it` }
      isSkipping = true
      rest = ""
    }
  }
  yield* take("")
  for await (const text of source) yield* take(text)
  if (!isSkipping && rest.trim() !== "") yield parse(place, rest.trim())
}

async function* elements(source: AsyncGenerator<string>, start: string): AsyncGenerator<PlacedValue> {
  let place = 0
  let depth = 0
  let isString = false
  let isEscaped = false
  let isDone = false
  let held = ""
  const scan = function*(text: string): Generator<PlacedValue> {
    let from = 0
    for (let i = 0; i < text.length && !isDone; i++) {
      const code = text.charCodeAt(i)
      if (isString) {
        if (isEscaped) isEscaped = false
        else if (code === 92) isEscaped = true
        else if (code === 34) isString = false
        continue
      }
      if (code === 34) isString = true
      else if (code === 123 || code === 91) {
        depth += 1
        if (depth === 1) from = i + 1
      } else if (code === 125 || code === 93 || (code === 44 && depth === 1)) {
        if (depth === 1) {
          const value = (held + text.slice(from, i)).trim()
          held = ""
          from = i + 1
          if (value !== "") yield parse(place += 1, value)
        }
        if (code !== 44) depth -= 1
        isDone = depth === 0
      }
    }
    if (isDone) return
    held += text.slice(from)
    if (held.length > valueLimit) throw new NotImportable({ message: `element ${place + 1} has more than ${valueLimit} characters; split the file` })
  }
  yield* scan(start)
  for await (const text of source) {
    yield* scan(text)
    if (isDone) return
  }
  if (!isDone) yield { place: place + 1, error: "the file ends in the middle of this element; it was cut off, get it again" }
}

/**
 * Decides how the values are laid out by the first line, then gives them one by one.
 *
 * @param isLive what comes is still being written: empty is no error, and a first line that is no JSON is a bad line like any other
 */
export async function* readValues(chunks: Chunks, isLive = false): AsyncGenerator<PlacedValue & { readonly layout: Layout }> {
  const source = decoded(chunks)
  let head = ""
  for (;;) {
    const next = await source.next()
    if (next.done === true) break
    head += next.value
    const begun = head.trimStart()
    if (begun.startsWith("[") || begun.includes("\n") || (begun !== "" && !begun.startsWith("{")) || head.length > valueLimit) break
  }
  const blank = head.length - head.trimStart().length
  const startPlace = 1 + (head.slice(0, blank).match(/\n/g)?.length ?? 0)
  const begun = head.slice(blank)
  if (begun === "") {
    if (isLive) return
    throw new NotImportable({ message: "the file is empty" })
  }
  if (begun.startsWith("[")) {
    for await (const value of elements(source, begun)) yield { ...value, layout: "array" }
    return
  }
  if (!begun.startsWith("{")) {
    // One bad line at the head of a good file costs that line alone.
    if (isLive || /\n[ \t]*\{/.test(begun)) {
      for await (const value of lines(source, begun, startPlace)) yield { ...value, layout: "lines" }
      return
    }
    throw new NotImportable({ message: `the file begins with ${JSON.stringify(begun.replaceAll(notUtf8, "\ufffd").slice(0, 20))}, not with { or [; turns are read from JSON or JSONL` })
  }
  const firstLine = begun.split("\n", 1)[0]?.trim() ?? ""
  if (begun.includes("\n") && opensObject(firstLine)) {
    let whole = begun
    for await (const text of source) {
      whole += text
      if (whole.length > valueLimit) throw new NotImportable({ message: `one JSON object of more than ${valueLimit} characters; split it` })
    }
    yield { ...parse(1, whole), layout: "object" }
    return
  }
  for await (const value of lines(source, begun, startPlace)) yield { ...value, layout: "lines" }
}
