/**
 * What attempts at one question are shown is looked up once: the index changes only as it moves on. Nothing of an erased user stays
 * here, nor comes of a lookup that was under way when the index let go of them.
 */
import { Cache, Effect, Exit, MutableHashMap, Schema } from "effect"

/** The user was erased before evidence was found: what was known when it was asked for is gone for good. */
export class EvidenceErased extends Schema.TaggedError<EvidenceErased>()("EvidenceErased", { message: Schema.String }) {}

/** Lookups kept for further attempts at their questions. */
const lookupsMax = 256

export interface Lookup {
  /** Key of the user's part of the index. */
  readonly user: string
  readonly text: string
  readonly date: string | undefined
  readonly asOfSequence: number
  readonly tokens: number
  /** Place of the index when it was looked at. */
  readonly through: number
}

export interface Lookups<A, E> {
  readonly get: (of: Lookup) => Effect.Effect<A, E | EvidenceErased>
  /** Also refuses what is waited for just now. */
  readonly forget: (user: string) => void
}

export const makeLookups = <A, E, R>(lookUp: (of: Lookup) => Effect.Effect<A, E, R>): Effect.Effect<Lookups<A, E>, never, R> =>
  Effect.gen(function*() {
    /** Who waits for a lookup, as many as there are attempts at once. */
    const waiting = new Set<{ readonly user: string; isForgotten: boolean }>()
    const kept = yield* Cache.makeWith((key: string) => lookUp(JSON.parse(key) as Lookup), {
      capacity: lookupsMax,
      timeToLive: (exit) => (Exit.isSuccess(exit) ? "1 minute" : 0)
    })
    const ofUser = (key: string): string => (JSON.parse(key) as Lookup).user
    return {
      get: (of) =>
        Effect.suspend(() => {
          const mine = { user: of.user, isForgotten: false }
          waiting.add(mine)
          return Cache.get(kept, JSON.stringify(of)).pipe(
            Effect.flatMap((found) =>
              mine.isForgotten ? Effect.fail(new EvidenceErased({ message: "the user was erased while evidence was looked up; nothing is left of what the run knew" })) : Effect.succeed(found)),
            Effect.ensuring(Effect.sync(() => void waiting.delete(mine)))
          )
        }),
      forget: (user) => {
        for (const one of waiting) if (one.user === user) one.isForgotten = true
        for (const key of [...MutableHashMap.keys(kept.map)]) if (ofUser(key) === user) MutableHashMap.remove(kept.map, key)
      }
    }
  })
