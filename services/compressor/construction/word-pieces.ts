/** A {@link PieceTokenizer} from a `tokenizer.json` with a WordPiece model, the kind multilingual BERT has. */
import { Tokenizer } from "@huggingface/tokenizers"
import type { PieceTokenizer, PieceWord } from "./llmlingua.ts"

const required = (tokenizer: Tokenizer, piece: string): number => {
  const id = tokenizer.token_to_id(piece)
  if (id === undefined) throw new TypeError(`the vocabulary has no ${piece}`)
  return id
}

/** @throws TypeError when the file describes no WordPiece tokenizer with [CLS] and [SEP] */
export const wordPieces = (tokenizerJson: unknown): PieceTokenizer => {
  const model = (tokenizerJson as { model?: { type?: string } } | null)?.model
  if (model?.type !== "WordPiece") throw new TypeError(`a WordPiece tokenizer is needed, the file has ${String(model?.type)}`)
  const tokenizer = new Tokenizer(tokenizerJson as object, {})
  const { model: pieces, normalizer, pre_tokenizer: splitter } = tokenizer
  if (pieces === null || splitter === null) throw new TypeError("the tokenizer has no vocabulary or no pre-tokenizer")
  const unknownId = pieces.unk_token_id ?? required(tokenizer, "[UNK]")
  const words = (text: string): ReadonlyArray<PieceWord> => {
    const normal = normalizer === null ? text : normalizer.normalize(text)
    return (splitter.pre_tokenize(normal) as ReadonlyArray<string>).map((source) => ({
      source,
      pieces: (pieces([source]) as ReadonlyArray<string>).map((piece) => ({ piece, id: pieces.tokens_to_ids.get(piece) ?? unknownId }))
    }))
  }
  return {
    words,
    beginId: required(tokenizer, "[CLS]"),
    endId: required(tokenizer, "[SEP]"),
    special: new Set(["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"])
  }
}
