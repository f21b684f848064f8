/** Requests a run sent once more, because an earlier one failed or its reply could not be used. Results count calls, and each kept reply its requests. */
import { Effect } from "effect"
import { CallStore } from "#shared/model/call-store"
import type { Role } from "#shared/model/roles"
import { callKeysOf, usersOfRun } from "./restore.ts"
import { type RunResult, runResults, type RunState } from "./runs.ts"

export interface Repeated {
  /** Requests beyond the first of each call that came to a reply, by role. */
  readonly requests: Readonly<Partial<Record<Role, number>>>
  /** Tries of jobs that failed and were made anew; each had sent a request or several, which nothing keeps. */
  readonly tries: number
}

/** Of calls that this run paid for; those of another, whose replies it took from the log, are that one's. */
export const repeatedOf = (tenant: string, run: string, state: RunState, results: ReadonlyArray<RunResult>) =>
  Effect.gen(function*() {
    const store = yield* CallStore
    const keys = callKeysOf(results)
    const requests: Partial<Record<Role, number>> = {}
    yield* Effect.forEach(
      [...usersOfRun(state, results), `run:${run}`],
      (scope) => Effect.map(store.loadAll(tenant, scope), (kept) => {
        for (const [key, call] of kept) {
          if (keys.has(key) && call.tags.run === run && call.requests > 1) requests[call.role] = (requests[call.role] ?? 0) + call.requests - 1
        }
      }),
      { concurrency: 8, discard: true }
    )
    return { requests, tries: results.reduce((sum, { settled }) => sum + Math.max(0, settled.attempts - 1), 0) } satisfies Repeated as Repeated
  })

/** The same, from the log; of an imported run nobody knows. */
export const repeatedRequests = (tenant: string, run: string, state: RunState) =>
  Effect.flatMap(state.imported === undefined ? runResults(tenant, run) : Effect.succeed([]), (results) => repeatedOf(tenant, run, state, results))

/** In words; nothing where nothing was asked twice. */
export const repeatedLines = ({ requests, tries }: Repeated): ReadonlyArray<string> => {
  const all = Object.values(requests).reduce((sum, count) => sum + count, 0)
  return [
    ...(all === 0 ? [] : [`${all} requests were sent again after a fault or a reply that could not be used: ${Object.entries(requests).map(([role, count]) => `${role} ${count}`).join(", ")}`]),
    ...(tries === 0 ? [] : [`${tries} tries of jobs failed and were made anew; what they had sent is in none of these figures`])
  ]
}
