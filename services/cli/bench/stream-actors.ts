/** The actors of a stream, each in processes of its own, some of which may be ended and replaced while it runs. */
import { Effect, Scope } from "effect"
import { type ActorName, actors } from "#shared/eventlog/subjects"
import { proportionalMb } from "./growth.ts"
import { type ActorProcess, actorProcess, type benchHome, processUsage } from "./load.ts"

interface Place {
  readonly name: string
  readonly actor: ActorName
  process: ActorProcess
}

/** @param copies processes of an actor, where it is not one */
export const startActors = Effect.fnUntraced(function*({ env, home, url }: Pick<Effect.Success<typeof benchHome>, "env" | "home" | "url">, copies: Partial<Record<ActorName, number>>) {
  const scope = yield* Effect.scope
  const start = (actor: ActorName) => Effect.provideService(actorProcess({ home, url, actors: [actor], settings: { METAMEM_EMBEDDING_THREADS: "1", ...env } }), Scope.Scope, scope)
  const places: ReadonlyArray<Place> = yield* Effect.forEach(
    actors.flatMap((actor) => Array.from({ length: copies[actor] ?? 1 }, (_, n) => ({ actor, name: (copies[actor] ?? 1) > 1 ? `${actor} ${n + 1}` : actor }))),
    (place) => Effect.map(start(place.actor), (process): Place => ({ ...place, process }))
  )
  return {
    /** Whose memory is watched, whichever process stands in a place. */
    watched: places.map((place) => ({ name: place.name, pid: () => place.process.pid })),
    /** Ends the first process of an actor at once and starts another in its place. @param onEnd told its name in between */
    replace: Effect.fnUntraced(function*(actor: ActorName, onEnd: (name: string) => void) {
      const place = places.find((one) => one.actor === actor)
      if (place === undefined) return
      process.kill(place.process.pid, "SIGKILL")
      onEnd(place.name)
      place.process = yield* start(actor)
    }),
    /** What all take together, each by itself and with shared pages counted once, and how many of them hold an embedding model. */
    memory: () => ({
      residentMb: places.reduce((sum, { process }) => sum + processUsage(process.pid).rssMb, 0),
      proportionalMb: places.reduce((sum, { process }) => sum + proportionalMb(process.pid), 0),
      models: places.filter(({ actor }) => actor === "embedder" || actor === "retriever").length
    })
  }
})
