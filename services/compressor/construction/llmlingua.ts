/**
 * LLMLingua-2: prompt compression by a classifier that says of every word piece how likely it is worth keeping. This file is the method
 * around the classifier; the classifier itself, a model, is handed in (`onnx-classifier.ts` makes one from a folder).
 *
 * Source: Pan et al. 2024, LLMLingua-2 (arXiv 2403.12968), as used by LightMem: chunks of at most 511 pieces, mean over a word's pieces,
 * threshold at a percentile weighted by cl100k tokens. With `strict` the results are those of the reference, faults included: digits
 * may be lost, chunks fuse. Without it digits, dates, names and negations stay, words outside the vocabulary stay, chunks keep a space.
 */
import { encode as cl100k } from "gpt-tokenizer/encoding/cl100k_base"
import { protectedWords } from "./protection.ts"

/** A word as the tokenizer splits text, with its pieces; `##` marks the pieces that continue it. */
export interface PieceWord {
  /** The word as it stood in the text (normalised). */
  readonly source: string
  readonly pieces: ReadonlyArray<{ readonly id: number; readonly piece: string }>
}

export interface PieceTokenizer {
  readonly words: (text: string) => ReadonlyArray<PieceWord>
  readonly beginId: number
  readonly endId: number
  /** Pieces that stand for no text, e.g. `[UNK]`. */
  readonly special: ReadonlySet<string>
}

/** Keep probabilities, [0, 1], of every id of every row, in order; rows are not padded and hold at most 512 ids. */
export type KeepClassifier = (rows: ReadonlyArray<ReadonlyArray<number>>) => Promise<ReadonlyArray<ArrayLike<number>>>

export interface CompressionSettings {
  /** Share of tokens to keep, (0, 1]. */
  readonly rate: number
  /** Exactly the reference's results. */
  readonly strict: boolean
  /** Passes at most while a text has 512 pieces or more; the reference goes on until it fits. */
  readonly passesMax: number
}
export const defaultCompression: CompressionSettings = { rate: 0.8, strict: false, passesMax: 3 }
export const strictCompression: CompressionSettings = { rate: 0.8, strict: true, passesMax: 64 }

/** Ids of one row, the two special ones included. */
export const rowLimit = 512
const window = rowLimit - 2
/** Rows of one call of the classifier. */
export const rowsPerCall = 50
/** Characters of one text; beyond it a text is pasted material and stays as it is. */
export const compressionCharacterLimit = 400_000

/** Percentile used for a rate. The difference is the double it is, so 0.8 gives 20 and not 21. */
export const percentileOf = (rate: number): number => Math.trunc(100 * (1 - rate) + 1)

/** Linear-interpolated percentile, as numpy computes it; `q` in [0, 100], values not empty. */
export const percentile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (q / 100) * (sorted.length - 1)
  const low = Math.floor(at)
  const t = at - low
  const a = sorted[low] as number
  const b = sorted[Math.min(low + 1, sorted.length - 1)] as number
  return t >= 0.5 ? b - (b - a) * (1 - t) : a + (b - a) * t
}

/** Words or pieces to text: a space between words, none before a continuation or one of `. , ? !`; other marks stay detached. */
export const joinPieces = (pieces: ReadonlyArray<string>): string =>
  pieces.map((piece, i) => (i === 0 ? piece : piece.startsWith("##") ? piece.slice(2) : /^[.,?!]$/.test(piece) ? piece : ` ${piece}`)).join("")

/** Start and end (exclusive) of each chunk of a text's pieces: at most 511, ending after a full stop where the window holds one. */
export const chunkSpans = (pieces: ReadonlyArray<string>): ReadonlyArray<readonly [number, number]> => {
  const spans: Array<readonly [number, number]> = []
  const n = pieces.length
  for (let start = 0; start < n;) {
    let end = start + window
    if (end > n - 1) {
      spans.push([start, n])
      break
    }
    for (let at = end; at > start; at--) {
      if (pieces[at] === ".") {
        end = at
        break
      }
    }
    spans.push([start, end + 1])
    start = end + 1
  }
  return spans
}

interface ScoredWord {
  readonly text: string
  readonly probability: number
}

/** Words of one classified row with the mean probability of their pieces. Special pieces are skipped when strict, else shown as they stood. */
const scored = (words: ReadonlyArray<PieceWord>, keep: ArrayLike<number>, tokenizer: PieceTokenizer, strict: boolean): ReadonlyArray<ScoredWord> => {
  const found: Array<ScoredWord> = []
  // Position 0 is the begin token.
  let position = 1
  for (const { source, pieces } of words) {
    let text = ""
    let sum = 0
    let counted = 0
    for (const { piece } of pieces) {
      // What a row cut to the limit lost has no probability: the reference drops it, otherwise it stays.
      const probability = keep[position] ?? (strict ? undefined : 1)
      position += 1
      if (probability === undefined || (strict && tokenizer.special.has(piece))) continue
      text += piece.startsWith("##") ? piece.replace(/^#+/, "") : tokenizer.special.has(piece) ? source : piece
      sum += probability
      counted += 1
    }
    if (counted > 0) found.push({ text, probability: sum / counted })
  }
  return found
}

const select = (words: ReadonlyArray<ScoredWord>, { rate, strict }: CompressionSettings): ReadonlyArray<string> => {
  if (words.length === 0) return []
  const guarded = strict ? [] : protectedWords(words.map(({ text }) => text))
  const probability = (i: number): number => (guarded[i] === true ? 1 : (words[i] as ScoredWord).probability)
  const weighted = words.flatMap(({ text }, i) => cl100k(text, { disallowedSpecial: new Set() }).map(() => probability(i)))
  if (weighted.length === 0) return []
  const threshold = percentile(weighted, percentileOf(rate))
  return words.flatMap(({ text }, i) => {
    const p = probability(i)
    return p > threshold || (threshold === 1 && p === 1) ? [text] : []
  })
}

const piecesOf = (words: ReadonlyArray<PieceWord>, special: ReadonlySet<string>): ReadonlyArray<string> =>
  words.flatMap(({ source, pieces }) => pieces.map(({ piece }) => (special.has(piece) ? source : piece)))

/** Pieces of a text with the two special ones. */
export const pieceCount = (text: string, tokenizer: PieceTokenizer): number =>
  tokenizer.words(text).reduce((sum, { pieces }) => sum + pieces.length, 2)

/** One pass over a text. Rejects when the classifier does. */
const compressOnce = async (
  text: string,
  tokenizer: PieceTokenizer,
  classify: KeepClassifier,
  settings: CompressionSettings
): Promise<string> => {
  const pieces = piecesOf(tokenizer.words(text), tokenizer.special)
  const chunks = chunkSpans(pieces).map(([start, end]) => joinPieces(pieces.slice(start, end)))
  const separator = settings.strict ? "" : " "
  if (settings.rate >= 1) return chunks.join(separator)
  const rows = chunks.map((chunk) => tokenizer.words(chunk))
  const parts: Array<string> = []
  for (let from = 0; from < rows.length; from += rowsPerCall) {
    const batch = rows.slice(from, from + rowsPerCall)
    const ids = batch.map((words) =>
      [tokenizer.beginId, ...words.flatMap(({ pieces: own }) => own.map(({ id }) => id)), tokenizer.endId].slice(0, rowLimit))
    const keep = await classify(ids)
    batch.forEach((words, i) => {
      parts.push(joinPieces(select(scored(words, keep[i] ?? [], tokenizer, settings.strict), settings)))
    })
  }
  return parts.join(separator)
}

/**
 * Compresses one text; never gives an empty one: where everything would go, the text stays as it is. Long texts are compressed again
 * until they have fewer than 512 pieces, the passes are spent, or nothing more goes. Rejects only when the classifier does, and then
 * concerns this text alone.
 */
export const compress = async (
  text: string,
  tokenizer: PieceTokenizer,
  classify: KeepClassifier,
  settings: CompressionSettings = defaultCompression
): Promise<string> => {
  if (text.trim() === "" || text.length > compressionCharacterLimit) return text
  let result = await compressOnce(text, tokenizer, classify, settings)
  for (let pass = 1; pass < settings.passesMax && settings.rate < 1 && result.trim() !== "" && pieceCount(result, tokenizer) >= rowLimit; pass++) {
    const again = await compressOnce(result, tokenizer, classify, settings)
    if (again.length >= result.length) break
    result = again
  }
  const stripped = result.trim()
  return stripped === "" ? text : stripped
}

/** Input of one attention pass over several messages: ids of all of them in one row, and where each stands. Beyond 512 ids the rest is cut. */
export const attentionInput = (
  texts: ReadonlyArray<string>,
  tokenizer: PieceTokenizer
): { readonly ids: ReadonlyArray<number>; readonly spans: ReadonlyArray<readonly [number, number]> } => {
  const ids = [tokenizer.beginId]
  const spans: Array<readonly [number, number]> = []
  for (const text of texts) {
    const start = ids.length
    for (const { pieces } of tokenizer.words(text)) for (const { id } of pieces) if (ids.length < rowLimit - 1) ids.push(id)
    spans.push([start, ids.length])
  }
  return { ids: [...ids, tokenizer.endId], spans }
}
