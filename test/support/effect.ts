/** Runs Effects as uvu tests: scoped, limited in time, every failure turned into an Error, which is all that uvu counts as one. */
import { Cause, Effect, Exit, type Scope } from "effect"
import type { Test } from "uvu"

export const effect = <A, E>(
  test: Pick<Test, never> & ((name: string, body: () => Promise<void>) => void),
  name: string,
  body: () => Effect.Effect<A, E, Scope.Scope>,
  limitMs = 20_000
): void => {
  test(name, async () => {
    const exit = await Effect.runPromiseExit(body().pipe(Effect.scoped, Effect.timeout(limitMs)))
    if (Exit.isFailure(exit)) throw new Error(Cause.pretty(exit.cause))
  })
}
