/** Whoever follows a run waits for actors that others may have started, and that may end without a word: this tells of it, and ends the wait. */
import { Clock, Effect } from "effect"
import { request } from "#shared/actor/requests"
import type { Nats } from "#shared/eventlog/nats"
import { type ActorName, requestSubject } from "#shared/eventlog/subjects"
import { CommandFailed } from "./root.ts"

const answers = (actor: ActorName): Effect.Effect<boolean, never, Nats> => request(requestSubject(actor, "ping"), {}, 5_000).pipe(Effect.as(true), Effect.orElseSucceed(() => false))

/** Those of these actors that do not answer just now. */
export const absent = (actors: ReadonlyArray<ActorName>) => Effect.filter(actors, (actor) => Effect.map(answers(actor), (here) => !here), { concurrency: "unbounded" })

export interface Watch<R> {
  readonly missing: Effect.Effect<ReadonlyArray<ActorName>, never, R>
  readonly tell: (line: string) => Effect.Effect<void>
  /** Between looks, and until the wait is given up: a restart elsewhere may take its time. */
  readonly everyMs: number
  readonly limitMs: number
}

/** Never ends while all are there; tells once that some are gone, and fails when they stay away. */
export const watchActors = <R>({ everyMs, limitMs, missing, tell }: Watch<R>): Effect.Effect<never, CommandFailed, R> =>
  Effect.gen(function*() {
    let since: number | undefined
    while (true) {
      yield* Effect.sleep(everyMs)
      const gone = yield* missing
      const now = yield* Clock.currentTimeMillis
      if (gone.length === 0) {
        since = undefined
        continue
      }
      const what = `${gone.join(", ").replace(/, (?=[^,]*$)/, " and ")} ${gone.length === 1 ? "does" : "do"} not answer`
      if (since === undefined) {
        since = now
        yield* tell(`${what}: the process that ran ${gone.length === 1 ? "it" : "them"} may have ended; waiting`)
      } else if (now - since >= limitMs) {
        return yield* new CommandFailed({ message: `${what} for ${Math.round(limitMs / 1_000)} s. Nothing is lost: give the same command again, which starts what is missing and goes on where it was` })
      }
    }
  })
