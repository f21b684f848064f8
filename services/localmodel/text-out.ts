/** Turns pieces of generated text into what may be sent: nothing behind a stop text, and nothing that may still become one. */

export interface TextOut {
  /** What of the text so far is settled and not yet given; `stopped` when a stop text was met. */
  readonly push: (piece: string) => { readonly text: string; readonly stopped: boolean }
  /** What was held back, when nothing more comes. */
  readonly rest: () => string
}

/** The length of the longest end of `text` that a stop text begins with. */
const undecided = (text: string, stops: ReadonlyArray<string>): number => {
  let longest = 0
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length
    }
  }
  return longest
}

export const makeTextOut = (stops: ReadonlyArray<string>): TextOut => {
  let pending = ""
  return {
    push: (piece) => {
      pending += piece
      const found = stops.map((stop) => pending.indexOf(stop)).filter((at) => at >= 0)
      if (found.length > 0) {
        const text = pending.slice(0, Math.min(...found))
        pending = ""
        return { text, stopped: true }
      }
      const keep = undecided(pending, stops)
      const text = pending.slice(0, pending.length - keep)
      pending = pending.slice(pending.length - keep)
      return { text, stopped: false }
    },
    rest: () => {
      const text = pending
      pending = ""
      return text
    }
  }
}
