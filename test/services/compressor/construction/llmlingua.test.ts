import { suite } from "uvu"
import * as assert from "uvu/assert"
import {
  attentionInput,
  chunkSpans,
  compress,
  compressionCharacterLimit,
  defaultCompression,
  joinPieces,
  type KeepClassifier,
  percentile,
  percentileOf,
  pieceCount,
  type PieceTokenizer,
  rowLimit,
  rowsPerCall,
  strictCompression
} from "#services/compressor/construction/llmlingua"
import { wordPieces } from "#services/compressor/construction/word-pieces"
import { tokenizerOf } from "./tiny-classifier.ts"

const test = suite("LLMLingua-2")

const vocabulary = ["I", "don", "'", "t", "know", ".", ",", "?", "!", ":", "10", "30", "am", "$", "5", "play", "##ing", "##ed", "the", "cat", "sat", "on", "mat", "old", "very", "March", "not", "Nora", "incomprehensibilities", "w", "x", "y", "z", "v", "u", "s"]
const tokenizer: PieceTokenizer = wordPieces(tokenizerOf(vocabulary))
const piece = new Map(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ...vocabulary].map((text, id) => [id, text]))

/** Probability by piece; what is not named gets 0.5. */
const by = (keep: Readonly<Record<string, number>>): KeepClassifier => async (rows) =>
  rows.map((row) => row.map((id) => keep[piece.get(id) ?? ""] ?? 0.5))
const strict = (text: string, keep: Readonly<Record<string, number>>, rate = 0.5): Promise<string> =>
  compress(text, tokenizer, by(keep), { ...strictCompression, rate })

test("percentiles carry the rate's rounding", () => {
  assert.equal([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.33].map(percentileOf), [10, 20, 31, 41, 51, 61, 68])
})

test("a percentile is interpolated between neighbours", () => {
  assert.is(percentile([0.1, 0.9, 0.5, 0.7, 0.2, 0.2, 0.95], 20), 0.2)
  assert.is(percentile([1, 2], 50), 1.5)
  assert.is(percentile([3], 99), 3)
  assert.is(percentile([4, 1, 3, 2], 100), 4)
})

test("words at the threshold are dropped", async () => {
  assert.is(await strict("w x y z v u s", { w: 0.1, x: 0.9, y: 0.5, z: 0.7, v: 0.2, u: 0.2, s: 0.95 }, 0.8), "x y z s")
})

test("kept words are joined by single spaces with none before stops", () => {
  assert.is(joinPieces(["I", "don", "'", "t", "know", "."]), "I don ' t know.")
  assert.is(joinPieces(["10", ":", "30", "am", ","]), "10 : 30 am,")
  assert.is(joinPieces(["play", "##ing"]), "playing")
  assert.is(joinPieces(["$", "5", "!"]), "$ 5!")
  assert.is(joinPieces([]), "")
})

test("a word's probability is the mean of its pieces", async () => {
  // playing: (0.9 + 0.3) / 2 = 0.6 stays above old, 0.4; played: (0.9 + 0.1) / 2 ties with the threshold.
  assert.is(await strict("playing old cat", { play: 0.9, "##ing": 0.3, old: 0.4, cat: 0.7 }, 0.7), "playing cat")
})

test("the threshold counts a word once per cl100k token", async () => {
  // One word of several tokens and a low probability pulls the percentile down, so that the next lowest word stays.
  assert.is(await strict("incomprehensibilities old very cat", { incomprehensibilities: 0.1, old: 0.2, very: 0.3, cat: 0.9 }, 0.5), "old very cat")
  assert.is(await strict("sat old very cat", { sat: 0.1, old: 0.2, very: 0.3, cat: 0.9 }, 0.5), "very cat")
})

test("strict mode may lose digits, names and negations; otherwise they stay", async () => {
  const text = "Nora sat on 10 March, not on the mat."
  const keep = { sat: 0.9, mat: 0.9, on: 0.8, "10": 0.1, March: 0.1, not: 0.1, Nora: 0.1, the: 0.2 }
  const lost = await compress(text, tokenizer, by(keep), { ...strictCompression, rate: 0.5 })
  for (const word of ["Nora", "10", "March", "not"]) assert.not(lost.includes(word))
  const kept = await compress(text, tokenizer, by(keep), { ...defaultCompression, rate: 0.5 })
  for (const word of ["Nora", "10", "March", "not"]) assert.ok(kept.includes(word), `${word} in ${kept}`)
  assert.not(kept.includes("the"))
})

test("a split negation and a time stay whole", async () => {
  const kept = await compress("I don't know the very old cat sat on 10:30.", tokenizer, by({ don: 0.1, "'": 0.1, t: 0.1, ":": 0.1, "10": 0.1, "30": 0.1, cat: 0.9, sat: 0.9 }), { ...defaultCompression, rate: 0.5 })
  assert.match(kept, /don ' t/)
  assert.match(kept, /10 : 30/)
})

test("strict mode loses what the vocabulary lacks, otherwise it stays", async () => {
  assert.is(await strict("the Quetzal sat", { the: 0.1, sat: 0.9 }, 0.5), "sat")
  assert.match(await compress("the Quetzal 🗺️ sat on the mat", tokenizer, by({ the: 0.1, sat: 0.9 }), { ...defaultCompression, rate: 0.7 }), /Quetzal/)
})

test("a rate of one asks no model and gives the text as its pieces say it", async () => {
  let asked = 0
  const text = await compress("I don't know.", tokenizer, async () => { asked += 1; return [] }, { ...strictCompression, rate: 1 })
  assert.is(text, "I don ' t know.")
  assert.is(asked, 0)
})

test("a text of which nothing would stay is left as it is", async () => {
  assert.is(await strict("cat", { cat: 0.5 }), "cat")
  assert.is(await strict("  ", {}), "  ")
  assert.is(await strict("🗺️", {}), "🗺️")
})

test("chunks end after a full stop inside the window, else at 511 pieces", () => {
  const pieces = Array.from({ length: 1200 }, () => "w")
  assert.equal(chunkSpans(pieces), [[0, 511], [511, 1022], [1022, 1200]])
  pieces[300] = "."
  pieces[2] = "."
  assert.equal(chunkSpans(pieces).slice(0, 2), [[0, 301], [301, 812]])
  assert.equal(chunkSpans(Array.from({ length: 510 }, () => "w")), [[0, 510]])
  assert.equal(chunkSpans(Array.from({ length: 511 }, () => "w")), [[0, 511]])
  assert.equal(chunkSpans(["."]), [[0, 1]])
  assert.equal(chunkSpans([]), [])
})

test("a full stop that opens the window does not end the chunk", () => {
  const pieces = Array.from({ length: 600 }, (_, i) => (i === 0 ? "." : "w"))
  assert.equal(chunkSpans(pieces), [[0, 511], [511, 600]])
})

const long = (sentences: number): string => Array.from({ length: sentences }, () => "the cat sat on mat.").join(" ")

test("rows never exceed the limit and calls never fifty rows", async () => {
  const sizes: Array<number> = []
  const rowSizes: Array<number> = []
  await compress("w ".repeat(40_000), tokenizer, async (rows) => {
    sizes.push(rows.length)
    rowSizes.push(...rows.map((row) => row.length))
    return rows.map((row) => row.map((_, i) => (i % 2 === 0 ? 0.9 : 0.1)))
  }, { ...strictCompression, rate: 0.5, passesMax: 1 })
  assert.equal(Math.max(...rowSizes), rowLimit)
  assert.equal(Math.max(...sizes), rowsPerCall)
})

test("strict mode fuses chunks, otherwise a space parts them", async () => {
  const text = `${"w ".repeat(511)}${"x ".repeat(20)}`
  const classify: KeepClassifier = async (rows) => rows.map((row) => row.map((_, i) => (i % 3 === 0 ? 0.1 : 0.9 + i / 1e5)))
  assert.match(await compress(text, tokenizer, classify, { ...strictCompression, rate: 0.6, passesMax: 1 }), /wx/)
  assert.not.match(await compress(text, tokenizer, classify, { ...defaultCompression, rate: 0.6, passesMax: 1 }), /wx/)
})

test("a long text is compressed again until it fits", async () => {
  let calls = 0
  const classify: KeepClassifier = async (rows) => {
    calls += 1
    return rows.map((row) => row.map((id, i) => (piece.get(id) === "." ? 0.95 : ((i * 7919) % 101) / 101)))
  }
  const result = await compress(long(200), tokenizer, classify, strictCompression)
  assert.ok(pieceCount(result, tokenizer) < rowLimit)
  assert.ok(calls > 2)
})

test("passes are bounded, and a text that does not shrink ends them", async () => {
  let calls = 0
  const keepAlmostAll: KeepClassifier = async (rows) => {
    calls += 1
    return rows.map((row) => row.map((_, i) => (i === 1 ? 0.1 : 1)))
  }
  await compress(long(200), tokenizer, keepAlmostAll, { ...strictCompression, passesMax: 5 })
  assert.ok(calls <= 5)
  calls = 0
  const numbers = "10 30 5 ".repeat(400)
  assert.ok((await compress(numbers, tokenizer, async (rows) => { calls += 1; return rows.map((row) => row.map(() => 0.1)) }, defaultCompression)).length > 100)
  assert.ok(calls <= 3)
})

test("a classifier that fails rejects for this text alone", async () => {
  try {
    await compress("the cat sat", tokenizer, () => Promise.reject(new Error("gone")))
    assert.unreachable()
  } catch (error) {
    assert.match((error as Error).message, /gone/)
  }
})

test("a text beyond the limit stays as it is", async () => {
  const text = "w ".repeat(compressionCharacterLimit)
  assert.is(await compress(text, tokenizer, () => Promise.reject(new Error("asked"))), text)
})

test("special tokens written by people are text", () => {
  assert.equal(tokenizer.words("[SEP]").map(({ source }) => source), ["[", "SEP", "]"])
})

test("several messages share one row and know where they stand", () => {
  const { ids, spans } = attentionInput(["the cat", "sat", ""], tokenizer)
  assert.is(ids.length, 5)
  assert.equal(spans, [[1, 3], [3, 4], [4, 4]])
  assert.is(attentionInput(["w ".repeat(900)], tokenizer).ids.length, rowLimit)
})

test("a tokenizer of another kind is refused", () => {
  assert.throws(() => wordPieces({ model: { type: "BPE" } }), /WordPiece/)
  assert.throws(() => wordPieces(null), /WordPiece/)
})

test.run()
