/** Dates that English text speaks of, as chrono-node finds them, the same wherever the machine stands. */
import * as chrono from "chrono-node"

export type FoundDate = ReturnType<typeof chrono.en.casual.parse>[number]
export type DateParts = FoundDate["start"]

/**
 * Some phrases ("the day before yesterday") chrono-node reckons by the machine's clock even where it is told a zone. So it is told none, and
 * a moment at which that clock shows what UTC does: what it finds is to be read by its parts, as UTC.
 *
 * @param at milliseconds since 1970
 */
export const datesIn = (text: string, at: number, options: { readonly forwardDate: boolean }): ReadonlyArray<FoundDate> => {
  const utc = new Date(at)
  const shown = new Date(0)
  shown.setFullYear(utc.getUTCFullYear(), utc.getUTCMonth(), utc.getUTCDate())
  shown.setHours(utc.getUTCHours(), utc.getUTCMinutes(), utc.getUTCSeconds(), utc.getUTCMilliseconds())
  return chrono.en.casual.parse(text, shown, options)
}
