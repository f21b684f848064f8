/** Requests a run sent once more, because an earlier one failed or its reply could not be used. Results count calls, and each kept reply its requests. */
import { Effect } from "effect"
import { CallStore } from "#shared/model/call-store"
import type { Role } from "#shared/model/roles"
import { makeReferred } from "./run-references.ts"
import { costOfRun, type RunResult, type RunState } from "./runs.ts"

export interface Repeated {
  /** Requests beyond the first of each call that came to a reply, by role. */
  readonly requests: Readonly<Partial<Record<Role, number>>>
  /** Tries of jobs that failed and were made anew; each had sent a request or several, which nothing keeps. */
  readonly tries: number
}

/** Counts from the run's results, and then from its users' calls. Of calls that this run paid for; those of another, whose replies it took from the log, are that one's. */
export const makeRepeated = (tenant: string, run: string, state: RunState) => {
  const { add, keys, users } = makeReferred(state)
  let tries = 0
  return {
    add: (result: RunResult): void => {
      add(result)
      tries += Math.max(0, result.settled.attempts - 1)
    },
    end: Effect.gen(function*() {
      const store = yield* CallStore
      const requests: Partial<Record<Role, number>> = {}
      if (keys.size === 0) return { requests, tries } satisfies Repeated as Repeated
      yield* store.each(tenant, [...users, `run:${run}`], ({ key, requests: sent, role, tags }) => {
        if (sent > 1 && tags.run === run && keys.has(key)) requests[role] = (requests[role] ?? 0) + sent - 1
      })
      return { requests, tries } satisfies Repeated as Repeated
    })
  }
}

/** What a run cost by role and step, and what of it was sent again. Its results are read once. Of an imported run nobody knows what was sent again. */
export const spentOf = (tenant: string, run: string, state: RunState) =>
  Effect.gen(function*() {
    const repeated = makeRepeated(tenant, run, state)
    const rows = yield* costOfRun(tenant, run, state.imported === undefined ? repeated.add : undefined)
    return { rows, repeated: yield* repeated.end }
  })

/** In words; nothing where nothing was asked twice. */
export const repeatedLines = ({ requests, tries }: Repeated): ReadonlyArray<string> => {
  const all = Object.values(requests).reduce((sum, count) => sum + count, 0)
  return [
    ...(all === 0 ? [] : [`${all} requests were sent again after a fault or a reply that could not be used: ${Object.entries(requests).map(([role, count]) => `${role} ${count}`).join(", ")}`]),
    ...(tries === 0 ? [] : [`${tries} tries of jobs failed and were made anew; what they had sent is in none of these figures`])
  ]
}
