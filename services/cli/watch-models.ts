/** Whoever follows a run sees nothing move while its jobs wait for a model: this tells why, and ends the wait where it lasts. */
import { Clock, Effect, Stream } from "effect"
import type { HeldNotice, Hold } from "#shared/actor/jobs"
import { CommandFailed } from "./root.ts"

export interface ModelWatch<R> {
  /** Jobs that wait, as they are told. */
  readonly held: Stream.Stream<HeldNotice, never, R>
  /** When the run last moved, in milliseconds. */
  readonly movedMs: () => number
  readonly tell: (line: string) => Effect.Effect<void>
  /** How long nothing may move meanwhile: an endpoint may be starting again, a rejected key mends itself for nobody. */
  readonly limitMs: Readonly<Record<Hold, number>>
}

const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`

/** Never ends while the run moves; tells once that its jobs wait, and fails when they do for too long. */
export const watchModels = <R>({ held, limitMs, movedMs, tell }: ModelWatch<R>): Effect.Effect<never, CommandFailed, R> =>
  Effect.suspend(() => {
    let since: number | undefined
    return held.pipe(
      Stream.runForEach((notice) =>
        Effect.gen(function*() {
          const now = yield* Clock.currentTimeMillis
          const moved = movedMs()
          if (since === undefined || moved > since) {
            since = now
            yield* tell(`${notice.kind} jobs wait: ${notice.message}${notice.hold === "away" ? ` They go on by themselves when it is back; after ${seconds(limitMs.away)} without any progress this command ends.` : ""}`)
          }
          if (now - since < limitMs[notice.hold]) return
          return yield* new CommandFailed({ message: `${notice.message} Nothing is lost: mend it and give the same command again, which goes on where the run was` })
        })),
      Effect.andThen(Effect.never)
    )
  })
