/**
 * How much of an evaluated prompt may serve another, exactly.
 *
 * The state of a token depends, in its last bits, on the size of the batch it was evaluated in and its place there: a prefix cut at any
 * token gave other texts (seen). So prompts are evaluated in chunks that begin at multiples of `chunkTokens`, the last token of the prompt
 * always alone, and only what would be evaluated in just the same chunks is used again. Then reuse cannot be seen in the reply.
 */

/** Tokens evaluated at once; larger is hardly faster on a processor, smaller finds more to use again. */
export const chunkTokens = 64

/** A prompt whose first `evaluated` tokens are in a sequence's state; generated tokens behind them do not count. */
export interface HeldPrompt {
  readonly tokens: ReadonlyArray<number>
  readonly evaluated: number
}

/** The tokens before the last, which are evaluated in chunks. */
export const bodyLength = (prompt: ReadonlyArray<number>): number => prompt.length - 1

/** How many leading tokens of `prompt` need no evaluation when it follows `held` in a sequence. */
export const reusableTokens = (held: HeldPrompt, prompt: ReadonlyArray<number>): number => {
  const body = bodyLength(prompt)
  const limit = Math.min(held.evaluated, body)
  let common = 0
  while (common < limit && held.tokens[common] === prompt[common]) common++
  // The chunk that the prompt's end cuts short is the same only where both end at the same place.
  if (common === body && bodyLength(held.tokens) === body) return body
  return common - (common % chunkTokens)
}

/** Where the chunk that begins at `from` ends. */
export const chunkEnd = (from: number, prompt: ReadonlyArray<number>): number =>
  Math.min((Math.floor(from / chunkTokens) + 1) * chunkTokens, bodyLength(prompt))
