/** Who runs where: a bounded line of waiting requests before a few lanes, and samples of one prompt sent where that prompt is. */
import { Effect, type Scope } from "effect"
import { ApiError } from "./api-error.ts"

/** A request waits for a busy lane rather than take a free one when that saves evaluating this many tokens (about a second). */
const worthWaitingTokens = 192

/** What choosing needs to know of a lane. */
export interface Place {
  readonly reusable: (prompt: ReadonlyArray<number>) => number
}

export interface Dispatch<P extends Place> {
  /** A lane for as long as the scope lives; fails at once when the line is full. */
  readonly take: (prompt: ReadonlyArray<number>) => Effect.Effect<P, ApiError, Scope.Scope>
  readonly load: () => { readonly busy: number; readonly waiting: number }
}

interface Waiting<P> {
  readonly prompt: ReadonlyArray<number>
  readonly give: (place: P) => void
}

/** The free lane that suits the prompt, or none when a busy one suits so much better that it is to be waited for. */
const suited = <P extends Place>(free: ReadonlySet<P>, all: ReadonlyArray<P>, prompt: ReadonlyArray<number>): P | undefined => {
  let best: P | undefined
  let most = -1
  for (const place of free) {
    const reuse = place.reusable(prompt)
    if (reuse > most) [best, most] = [place, reuse]
  }
  const elsewhere = all.some((place) => !free.has(place) && place.reusable(prompt) - most >= worthWaitingTokens)
  return elsewhere ? undefined : best
}

export const makeDispatch = <P extends Place>(places: ReadonlyArray<P>, waitingLimit: number): Dispatch<P> => {
  const free = new Set(places)
  const line: Array<Waiting<P>> = []

  const share = (): void => {
    for (let at = 0; at < line.length && free.size > 0;) {
      const waiting = line[at]
      const place = waiting === undefined ? undefined : suited(free, places, waiting.prompt)
      if (waiting === undefined || place === undefined) at += 1
      else {
        line.splice(at, 1)
        free.delete(place)
        waiting.give(place)
      }
    }
  }

  const back = (place: P): void => {
    free.add(place)
    share()
  }

  const wait = (prompt: ReadonlyArray<number>): Effect.Effect<P, ApiError> =>
    Effect.callback<P, ApiError>((resume) => {
      if (free.size === 0 && line.length >= waitingLimit) {
        return resume(Effect.fail(new ApiError({
          status: 429,
          code: "queue_full",
          message: `${line.length} requests are waiting for the local model already; ask again later, or with fewer at once`,
          retryAfterSeconds: 2
        })))
      }
      let given: P | undefined
      const waiting: Waiting<P> = {
        prompt,
        give: (place) => {
          given = place
          resume(Effect.succeed(place))
        }
      }
      line.push(waiting)
      share()
      return Effect.sync(() => {
        const at = line.indexOf(waiting)
        if (at >= 0) line.splice(at, 1)
        else if (given !== undefined) back(given)
      })
    })

  return {
    take: (prompt) => Effect.acquireRelease(wait(prompt), (place) => Effect.sync(() => back(place)), { interruptible: true }),
    load: () => ({ busy: places.length - free.size, waiting: line.length })
  }
}
