/** How commands show shares, counts, times and texts. */

/** 0 of none. */
export const share = (part: number, all: number): number => (all === 0 ? 0 : part / all)
export const percent = (share: number): string => (share * 100).toFixed(1)
/** With a sign; what rounds to nothing is `+0.0`. */
export const points = (share: number | null): string => {
  if (share === null) return "?"
  const rounded = Number((share * 100).toFixed(1))
  return `${rounded < 0 ? "" : "+"}${Math.abs(rounded) === 0 ? "0.0" : rounded.toFixed(1)}`
}
/** A number of things in words. @param many where it is more than an s */
export const some = (count: number, what: string, many = `${what}s`): string => `${count} ${count === 1 ? what : many}`
/** A name, with how often it stands there where that is more than once. */
export const timesNamed = (name: string, count: number): string => (count === 1 ? name : `${name} × ${count}`)
/** Kind of an operation; of a merge, of which principles it is. */
export const kindText = (kind: string, merged: ReadonlyArray<string> = []): string => (merged.length === 0 ? kind : `${kind} of ${merged.join(", ")}`)
/** A time to the minute. */
export const toMinute = (time: string): string => time.slice(0, 16).replace("T", " ")
/** A time to the second. */
export const toSecond = (time: string): string => time.slice(0, 19).replace("T", " ")
/** A text in one line, cut to so many characters. */
export const oneLine = (text: string, most: number): string => text.replace(/\s+/g, " ").slice(0, most)
