/**
 * Equal calls at once in one process: the first is sent, the others wait for it and find its reply. Where the endpoint fails the first
 * it fails those who waited meanwhile too, so that all of them have waited one patience and not one after another.
 */
import { Effect, Semaphore } from "effect"
import { ModelError } from "./errors.ts"

interface Group {
  readonly semaphore: Semaphore.Semaphore
  users: number
  /** How the endpoint failed last, and the number of the first caller who came after that. */
  failed: { readonly error: ModelError; readonly before: number } | undefined
}

/** The endpoint would say the same to all. A bad reply may be better the next time, and the store is no part of the endpoint. */
const isOfEndpoint = ({ reason }: ModelError): boolean => reason._tag !== "BadReply" && reason._tag !== "StoreUnavailable"

/** Runs a caller's effect when nobody of the same key is being served, or fails without running it as the one before did. */
export const equalCalls = (): (<A, R>(key: string, effect: Effect.Effect<A, ModelError, R>, onShared: () => void) => Effect.Effect<A, ModelError, R>) => {
  const groups = new Map<string, Group>()
  let callers = 0
  return (key, effect, onShared) =>
    Effect.suspend(() => {
      const group: Group = groups.get(key) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0, failed: undefined }
      groups.set(key, group)
      const number = callers++
      group.users += 1
      const served = Effect.suspend(() => {
        if (group.failed === undefined || number >= group.failed.before) {
          return Effect.tapError(effect, (error) =>
            Effect.sync(() => {
              if (isOfEndpoint(error)) group.failed = { error, before: callers }
            }))
        }
        const { error: { reason, role } } = group.failed
        onShared()
        return Effect.fail(new ModelError({ role, reason, requests: 0 }))
      })
      return group.semaphore.withPermits(1)(served).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            group.users -= 1
            if (group.users === 0) groups.delete(key)
          })
        )
      )
    })
}
