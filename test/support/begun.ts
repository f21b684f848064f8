/** Scenarios that mostly wait (for a lease to end, for a delivery to be repeated) run beside each other; each test then awaits its own. */
import { Effect, type Scope } from "effect"

/** Starts at once; the effect it returns ends as the scenario ends. */
export const begun = <A, E>(body: Effect.Effect<A, E, Scope.Scope>, limitMs: number): Effect.Effect<A, unknown> => {
  const exit = Effect.runPromiseExit(body.pipe(Effect.scoped, Effect.timeout(limitMs)))
  return Effect.flatten(Effect.promise(() => exit))
}
