/** A range of time that a question speaks of, and the day it is measured in. */

/** In milliseconds. */
export const day = 86_400_000

/** Milliseconds since 1970, both ends included; infinite where a question only says "before" or "since". */
export interface TimeWindow {
  readonly from: number
  readonly to: number
}
