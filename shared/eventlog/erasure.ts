/** Who has data in the log, and how all data of one user is removed from it. */
import { Effect } from "effect"
import { attempt, type LogUnavailable, Nats } from "./nats.ts"
import { encodeToken, parseMemorySubject } from "./subjects.ts"

/** Users of a tenant with anything in the memory log, sorted. */
export const usersOf = (tenant: string): Effect.Effect<ReadonlyArray<string>, LogUnavailable, Nats> =>
  Effect.gen(function*() {
    const { jsm } = yield* Nats
    const { state } = yield* attempt("list the users of the memory log", () => jsm.streams.info("MEMORY", { subjects_filter: `memory.${encodeToken(tenant)}.>` }))
    return [...new Set(Object.keys(state.subjects ?? {}).map((subject) => parseMemorySubject(subject).user))].sort()
  })
