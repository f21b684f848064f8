/**
 * A look at a model file before anything native touches it. A file "GGUF" with garbage behind it was seen to keep the loader busy for
 * minutes, and a file cut short ends in a crash or in nonsense; here every count is held against the file's size.
 * Source: the GGUF specification, versions 2 and 3 (little endian).
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { basename } from "node:path"
import { Effect } from "effect"
import { LocalModelUnavailable } from "./unavailable.ts"

/** What the header says of a model. */
export interface ModelHeader {
  readonly name: string | undefined
  readonly architecture: string
  /** Bytes of the file. */
  readonly bytes: number
}

class NotGguf extends Error {}
class CutShort extends Error {}

/** [elements in a block, bytes of a block] by tensor type; of a type not listed only the start is checked. */
const tensorTypes: Readonly<Record<number, readonly [number, number]>> = {
  0: [1, 4], 1: [1, 2], 2: [32, 18], 3: [32, 20], 6: [32, 22], 7: [32, 24], 8: [32, 34], 9: [32, 36], 10: [256, 84], 11: [256, 110],
  12: [256, 144], 13: [256, 176], 14: [256, 210], 15: [256, 292], 16: [256, 66], 17: [256, 74], 18: [256, 98], 19: [256, 50], 20: [32, 18],
  21: [256, 110], 22: [256, 82], 23: [256, 136], 24: [1, 1], 25: [1, 2], 26: [1, 4], 27: [1, 8], 28: [1, 8], 29: [256, 56], 30: [1, 2],
  34: [256, 54], 35: [256, 66], 39: [32, 17]
}
/** Bytes of a metadata value by type; strings (8) and arrays (9) have their own length. */
const scalarBytes: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 }
const stringType = 8
const arrayType = 9

/** Metadata and tensor list of real models are a few MB, most of it vocabulary. */
const headerLimitBytes = 256 * 1024 * 1024
const windowBytes = 1 << 20

/** Reads forward through a file, a window at a time, and never past its end. */
class Cursor {
  private window = Buffer.alloc(0)
  private windowStart = 0
  position = 0
  private readonly file: number
  readonly size: number

  constructor(file: number, size: number) {
    this.file = file
    this.size = size
  }

  private need(count: number): number {
    if (count > windowBytes) throw new NotGguf(`a text of ${count} bytes in the header`)
    if (this.position + count > this.size) throw new CutShort(`its header ends at byte ${this.size}`)
    if (this.position > headerLimitBytes) throw new NotGguf("a header of more than 256 MB")
    if (this.position < this.windowStart || this.position + count > this.windowStart + this.window.length) {
      const bytes = Buffer.alloc(Math.min(windowBytes, this.size - this.position))
      let filled = 0
      while (filled < bytes.length) {
        const read = readSync(this.file, bytes, filled, bytes.length - filled, this.position + filled)
        if (read === 0) throw new CutShort(`it could be read up to byte ${this.position + filled}`)
        filled += read
      }
      this.window = bytes
      this.windowStart = this.position
    }
    const at = this.position - this.windowStart
    this.position += count
    return at
  }

  skip(count: number): void {
    this.position += count
    if (this.position > this.size) throw new CutShort(`its header ends at byte ${this.size}`)
  }

  u32(): number {
    const at = this.need(4)
    return this.window.readUInt32LE(at)
  }

  /** A count or an offset; what is not exact as a number is no count of anything in a file. */
  u64(): number {
    const at = this.need(8)
    const value = this.window.readBigUInt64LE(at)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new NotGguf(`a count of ${value}`)
    return Number(value)
  }

  text(): string {
    const length = this.u64()
    const at = this.need(length)
    return this.window.toString("utf8", at, at + length)
  }
}

const skipValue = (cursor: Cursor, type: number, depth: number): void => {
  const fixed = scalarBytes[type]
  if (fixed !== undefined) return cursor.skip(fixed)
  if (type === stringType) return cursor.skip(cursor.u64())
  if (type !== arrayType || depth > 3) throw new NotGguf(`a value of type ${type}`)
  const elementType = cursor.u32()
  const count = cursor.u64()
  const elementBytes = scalarBytes[elementType]
  if (elementBytes !== undefined) return cursor.skip(elementBytes * count)
  for (let i = 0; i < count; i++) skipValue(cursor, elementType, depth + 1)
}

const readHeader = (cursor: Cursor): ModelHeader => {
  if (cursor.u32() !== 0x46554747) throw new NotGguf("it does not begin with GGUF")
  const version = cursor.u32()
  if (version !== 2 && version !== 3) throw new NotGguf(`version ${version}`)
  const tensorCount = cursor.u64()
  const valueCount = cursor.u64()
  const texts = new Map<string, string>()
  let alignment = 32
  for (let i = 0; i < valueCount; i++) {
    const key = cursor.text()
    const type = cursor.u32()
    if (type === stringType && key.startsWith("general.")) texts.set(key, cursor.text())
    else if (key === "general.alignment" && type === 4) alignment = cursor.u32()
    else skipValue(cursor, type, 0)
  }
  let dataBytes = 0
  for (let i = 0; i < tensorCount; i++) {
    cursor.text()
    const dimensions = cursor.u32()
    if (dimensions > 8) throw new NotGguf(`a tensor of ${dimensions} dimensions`)
    let elements = 1
    for (let d = 0; d < dimensions; d++) elements *= cursor.u64()
    const [blockElements, blockBytes] = tensorTypes[cursor.u32()] ?? [1, 0]
    dataBytes = Math.max(dataBytes, cursor.u64() + Math.ceil(elements / blockElements) * blockBytes)
  }
  const architecture = texts.get("general.architecture")
  if (architecture === undefined || tensorCount === 0) throw new NotGguf("it holds no model")
  if (alignment === 0) throw new NotGguf("an alignment of 0")
  const wanted = Math.ceil(cursor.position / alignment) * alignment + dataBytes
  if (wanted > cursor.size) throw new CutShort(`it has ${cursor.size} of ${wanted} bytes`)
  return { name: texts.get("general.name"), architecture, bytes: cursor.size }
}

const mend = "Fetch it again with `npm run setup` (delete the file first), or name another GGUF file in METAMEM_LOCAL_MODEL."

const refusal = (path: string, error: unknown): LocalModelUnavailable => {
  if (error instanceof CutShort) return new LocalModelUnavailable({ path, reason: "cut-short", message: `the model file ${path} is cut short: ${error.message}. ${mend}` })
  if (error instanceof NotGguf) return new LocalModelUnavailable({ path, reason: "not-gguf", message: `${path} is not a GGUF model (${error.message}). ${mend}` })
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error)
  return code === "ENOENT"
    ? new LocalModelUnavailable({ path, reason: "missing", message: `there is no model file ${path}. ${mend}` })
    : new LocalModelUnavailable({ path, reason: "unreadable", message: `the model file ${path} cannot be read (${code}). ${mend}` })
}

/** Checks that the file is a GGUF model and complete. Reads the header alone: some MB, tens of milliseconds. */
export const checkModelFile = (path: string): Effect.Effect<ModelHeader, LocalModelUnavailable> =>
  Effect.try({
    try: () => {
      const file = openSync(path, "r")
      try {
        return readHeader(new Cursor(file, fstatSync(file).size))
      } finally {
        closeSync(file)
      }
    },
    catch: (error) => refusal(path, error)
  })

const slug = (text: string): string => text.toLowerCase().replaceAll(/[^a-z0-9.]+/g, "-").replaceAll(/^-+|-+$/g, "")

/** What a model is called: the file's own name for itself, else the file's. Lower case. */
export const modelName = (path: string, { name }: ModelHeader): string => slug(name ?? "") || slug(basename(path, ".gguf")) || "model"
