/**
 * Vectors kept on disk between bench runs, by the hash of their text: a bench measures retrieval, and embedding the same haystacks
 * again would take minutes. One file a model; records of 32 bytes of SHA-256 and the float16 values; a torn last record is dropped.
 */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Embeddings, type EmbeddingError } from "#shared/model/embeddings"

const hashBytes = 32
/** Texts embedded between two writes. */
const sliceSize = 512

/** Vectors of texts through the cache in `folder`; what is missing is embedded, `onProgress` told, and appended. */
export const openVectorCache = Effect.fnUntraced(function*(folder: string, onProgress: (done: number, of: number) => void) {
  const embeddings = yield* Embeddings
  const file = join(folder, `vectors-${embeddings.modelHash}.bin`)
  const recordBytes = hashBytes + embeddings.dimensions * 2
  mkdirSync(folder, { recursive: true })
  const stored = existsSync(file) ? readFileSync(file) : Buffer.alloc(0)
  const records = new Map<string, Float32Array>()
  for (let at = 0; at + recordBytes <= stored.length; at += recordBytes) {
    const values = new Float16Array(stored.buffer.slice(stored.byteOffset + at + hashBytes, stored.byteOffset + at + recordBytes) as ArrayBuffer)
    records.set(stored.toString("base64url", at, at + hashBytes), Float32Array.from(values))
  }
  const torn = stored.length % recordBytes
  if (torn !== 0) appendFileSync(file, Buffer.alloc(recordBytes - torn))

  const keyOf = (text: string): string => createHash("sha256").update(text).digest("base64url")
  const embed = Effect.fnUntraced(function*(texts: ReadonlyArray<string>): Effect.fn.Return<ReadonlyArray<Float32Array>, EmbeddingError> {
    const keys = texts.map(keyOf)
    const missing = [...new Map(texts.map((text, at) => [keys[at] ?? "", text] as const)).entries()].filter(([key]) => !records.has(key))
    for (let from = 0; from < missing.length; from += sliceSize) {
      const slice = missing.slice(from, from + sliceSize)
      const vectors = yield* embeddings.embed(slice.map(([, text]) => text))
      const bytes: Array<Uint8Array> = []
      for (const [at, [key]] of slice.entries()) {
        const vector = vectors[at]
        if (vector === undefined) continue
        records.set(key, vector)
        bytes.push(Buffer.from(key, "base64url"), new Uint8Array(Float16Array.from(vector).buffer))
      }
      appendFileSync(file, Buffer.concat(bytes))
      onProgress(from + slice.length, missing.length)
    }
    return keys.map((key) => records.get(key) ?? new Float32Array(embeddings.dimensions))
  })
  return { embed, cached: records.size }
})
