/** A process that loads the embedding model and nothing else, and says what that costs in resident megabytes: what of an actor's memory is the model's. */
import { Effect } from "effect"
import { stream } from "#shared/metamemory/random"
import { processUsage } from "./load.ts"
import { streamTurns } from "./stream-turns.ts"

/** Texts embedded before the second look, so that the runtime has the room it works in. */
const textCount = 512

if (import.meta.main) {
  const next = streamTurns(stream("model share"), 10)
  const texts = Array.from({ length: textCount }, () => next().text)
  const { Embeddings, layer } = await import("#shared/model/embeddings")
  const before = processUsage(process.pid).rssMb
  await Effect.runPromise(
    Effect.gen(function*() {
      yield* (yield* Embeddings).embed(texts)
      process.send?.(Math.max(0, processUsage(process.pid).rssMb - before))
    }).pipe(Effect.provide(layer({ dir: process.argv[2] ?? "", threads: 1 })))
  )
  process.disconnect()
}
