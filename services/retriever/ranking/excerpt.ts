/** Excerpts of a long turn: the sentences that share most words with the question, each with what stands beside it. */
import { terms } from "#shared/memoryindex/words"
import { tokensOf } from "#shared/model/tokens"

/** Stands where something was left out. */
const gap = " … "
/** A piece longer than this is cut, so that a text without any full stop has pieces too. */
const pieceCharacters = 400
/** Pieces looked at; what stands beyond in a huge text is not excerpted. */
const piecesMax = 2_000

/** Halves until each part fits, so that a text in which every piece is too long (no full stops, or no spaces) is shown at all. */
const fitting = (piece: string, tokensMax: number): ReadonlyArray<string> => {
  if (piece.length < 2 || tokensOf(piece) <= tokensMax) return [piece]
  const half = Math.floor(piece.length / 2)
  const space = piece.lastIndexOf(" ", half)
  const isWithinPair = (piece.charCodeAt(half - 1) & 0xfc00) === 0xd800
  const at = space > 0 ? space + 1 : isWithinPair ? half + 1 : half
  return [piece.slice(0, at), piece.slice(at)].flatMap((part) => (part.length < piece.length ? fitting(part, tokensMax) : []))
}

/** Sentences and lines of a text in order, with the spaces that end them; parts of them where they are longer than the limit. */
const pieces = (text: string, tokensMax: number): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (const [piece] of text.matchAll(/[^.!?。！？؟۔।\n]+(?:[.!?。！？؟۔।]+["')\]」』”]*|\n|$)\s*|[.!?。！？؟۔।\n]+\s*/gu)) {
    for (let at = 0; at < piece.length && found.length < piecesMax; at += pieceCharacters) found.push(...fitting(piece.slice(at, at + pieceCharacters), tokensMax))
    if (found.length >= piecesMax) break
  }
  return found
}

/**
 * The part of a text that fits the limit and says most to the question; the text itself where it fits whole.
 *
 * @param tokensMax o200k tokens, the marks for gaps included
 * @returns "" where not even one piece fits
 */
export const excerpt = (text: string, question: string, tokensMax: number): string => {
  if (tokensOf(text) <= tokensMax) return text
  const asked = new Set(terms(question))
  // Room for the marks of what is left out on both sides of a piece.
  const all = pieces(text, Math.max(1, tokensMax - 4))
  const scores = all.map((piece) => new Set(terms(piece).filter((term) => asked.has(term))).size)
  // A piece also counts for its neighbours, which often hold what it refers to; the start breaks ties, as it says what the text is.
  const reach = scores.map((score, at) => score + 0.4 * Math.max(scores[at - 1] ?? 0, scores[at + 1] ?? 0))
  const order = [...all.keys()].sort((a, b) => (reach[b] ?? 0) - (reach[a] ?? 0) || a - b)
  const chosen = new Set<number>()
  let left = tokensMax
  for (const at of order) {
    const cost = tokensOf(all[at] ?? "") + (chosen.has(at - 1) || chosen.has(at + 1) ? 0 : 2)
    if (cost > left) continue
    chosen.add(at)
    left -= cost
  }
  let shown = ""
  let before = -1
  for (const at of [...chosen].sort((a, b) => a - b)) {
    shown = at === before + 1 ? shown + (all[at] ?? "") : `${shown.trimEnd()}${gap}${all[at] ?? ""}`
    before = at
  }
  if (shown === "") return ""
  return (before < all.length - 1 ? `${shown.trimEnd()}${gap}` : shown).trim()
}
