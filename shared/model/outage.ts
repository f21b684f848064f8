/** What a process says of an endpoint that stopped answering: once at the beginning, once a minute while it lasts, and when it is over. */

/** Between two words on the same outage. */
const tellEveryMs = 60_000

export interface Outage {
  /** Told after a failure that is no fault of the request. @returns what is to be said now @param isCertain one failure is enough to tell: nothing listens, or the key is turned down */
  readonly failed: (nowMs: number, message: string, isCertain: boolean) => string | undefined
  /** Told after any reply. */
  readonly answered: (nowMs: number) => string | undefined
}

const seconds = (ms: number): string => `${Math.max(1, Math.round(ms / 1_000))} s`

export const outage = (): Outage => {
  let sinceMs: number | undefined
  let toldMs = Number.NEGATIVE_INFINITY
  let isTold = false
  return {
    failed: (nowMs, message, isCertain) => {
      sinceMs ??= nowMs
      if ((!isCertain && !isTold) || nowMs - toldMs < tellEveryMs) return undefined
      const lasts = nowMs - sinceMs
      const text = isTold ? `${message}; for ${seconds(lasts)} now` : message
      isTold = true
      toldMs = nowMs
      return text
    },
    answered: (nowMs) => {
      const text = isTold && sinceMs !== undefined ? `answers again, after ${seconds(nowMs - sinceMs)}` : undefined
      sinceMs = undefined
      toldMs = Number.NEGATIVE_INFINITY
      isTold = false
      return text
    }
  }
}
