/**
 * A token classifier small enough to write by hand: its logits are a table looked up by token id, its attention the softmax of the same
 * table's products. ONNX is protobuf, so a few lines of encoder suffice.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"

type Field = readonly [number: number, value: number | string | Uint8Array]

const varint = (value: number): ReadonlyArray<number> => (value < 128 ? [value] : [(value & 127) | 128, ...varint(Math.floor(value / 128))])
const message = (...fields: ReadonlyArray<Field>): Uint8Array =>
  Uint8Array.from(
    fields.flatMap(([number, value]) => {
      if (typeof value === "number") return [...varint(number * 8), ...varint(value)]
      const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value
      return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes]
    })
  )

const node = (type: string, inputs: ReadonlyArray<string>, output: string, ...attributes: ReadonlyArray<Uint8Array>): Uint8Array =>
  message(...inputs.map((name): Field => [1, name]), [2, output], [4, type], ...attributes.map((attribute): Field => [5, attribute]))
const tensor = (name: string, type: 1 | 7, dims: ReadonlyArray<number>, data: Float32Array | BigInt64Array): Uint8Array =>
  message(...dims.map((dim): Field => [1, dim]), [2, type], [8, name], [9, new Uint8Array(data.buffer)])
const port = (name: string, type: 1 | 7, dims: ReadonlyArray<string | number>): Uint8Array =>
  message([1, name], [2, message([1, message([1, type], [2, message(...dims.map((dim): Field => [1, message(typeof dim === "string" ? [2, dim] : [1, dim])]))])])])

const model = (graph: ReadonlyArray<Field>): Uint8Array => message([1, 8], [7, message(...graph)], [8, message([2, 17])])

/** @param keepLogits logit of label 1 by token id; label 0 is 0. */
const classifierModel = (keepLogits: ReadonlyArray<number>, hasAttention: boolean): Uint8Array => {
  const table = Float32Array.from(keepLogits.flatMap((logit) => [0, logit]))
  const shape = ["rows", "tokens", 2]
  return model([
    [1, node("Gather", ["table", "input_ids"], "logits")],
    ...(hasAttention
      ? [
        [1, node("Transpose", ["logits"], "turned", message([1, "perm"], [20, 7], [8, 0], [8, 2], [8, 1]))],
        [1, node("MatMul", ["logits", "turned"], "products")],
        [1, node("Softmax", ["products"], "weights")],
        [1, node("Unsqueeze", ["weights", "axis"], "attentions.0")],
        [5, tensor("axis", 7, [1], BigInt64Array.of(1n))],
        [12, port("attentions.0", 1, ["rows", 1, "tokens", "tokens"])]
      ] as ReadonlyArray<Field>
      : []),
    [2, "tiny"],
    [5, tensor("table", 1, [keepLogits.length, 2], table)],
    [11, port("input_ids", 7, ["rows", "tokens"])],
    [12, port("logits", 1, shape)]
  ])
}

/** A model that is no classifier: it hands its one input through. */
export const passThroughModel = (): Uint8Array =>
  model([[1, node("Identity", ["x"], "y")], [2, "none"], [11, port("x", 1, ["n"])], [12, port("y", 1, ["n"])]])

/** An encoder whose states are a table looked up by token id; `isShared` adds the sum over the whole batch to each, as dynamic quantisation lets texts change each other. */
export const encoderModel = (isShared: boolean): Uint8Array =>
  model([
    [1, node("Gather", ["table", "input_ids"], isShared ? "own" : "last_hidden_state")],
    ...(isShared ? [[1, node("ReduceSum", ["own"], "all")], [1, node("Add", ["own", "all"], "last_hidden_state")]] as ReadonlyArray<Field> : []),
    [2, "tiny"],
    [5, tensor("table", 1, [8, 2], Float32Array.from({ length: 16 }, (_, n) => Math.cos(n * n)))],
    [11, port("input_ids", 7, ["rows", "tokens"])],
    [11, port("attention_mask", 7, ["rows", "tokens"])],
    [12, port("last_hidden_state", 1, ["rows", "tokens", 2])]
  ])

const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

/** WordPiece as multilingual BERT's: cased, split at punctuation and CJK. */
export const tokenizerOf = (pieces: ReadonlyArray<string>): object => ({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: specials.map((content, id) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
  normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: false },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: null,
  decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries([...specials, ...pieces].map((piece, id) => [piece, id]))
  }
})

/** Writes `model.onnx` and `tokenizer.json`; `keep` gives each piece's probability of being kept, in (0, 1). */
export const writeClassifier = (folder: string, keep: Readonly<Record<string, number>>, hasAttention = true): void => {
  mkdirSync(folder, { recursive: true })
  const pieces = Object.keys(keep)
  const logits = [...specials.map(() => 0.5), ...pieces.map((piece) => keep[piece] as number)].map((p) => Math.log(p / (1 - p)))
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizerOf(pieces)))
  writeFileSync(join(folder, "model.onnx"), classifierModel(logits, hasAttention))
}
