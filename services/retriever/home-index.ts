/** The index of one retriever process in the home folder: a slot of its own, bound to the embedding model and to the log it folds. */
import { join } from "node:path"
import { Config, Effect, Layer } from "effect"
import { attemptRead, type LogUnavailable, Nats } from "#shared/eventlog/nats"
import { Positive } from "#shared/home/setting-values"
import * as LanceIndex from "#shared/memoryindex/lancedb-layer"
import type { MemoryIndex, MemoryIndexError } from "#shared/memoryindex/memory-index"
import { Embeddings } from "#shared/model/embeddings"

export const settings = Config.all({
  /** Megabytes that users held in memory may take together, about: a hundred thousand memories are some 200. Users beyond it are loaded again when asked for. */
  heldMb: Config.schema(Positive, "METAMEM_INDEX_MEMORY_MB").pipe(Config.withDefault(256))
})

export const homeIndex = (home: string): Layer.Layer<MemoryIndex, Config.ConfigError | MemoryIndexError | LogUnavailable, Embeddings | Nats> =>
  Layer.unwrap(
    Effect.gen(function*() {
      const { dimensions, modelHash } = yield* Embeddings
      const { jsm } = yield* Nats
      const { heldMb } = yield* settings
      const { created, state } = yield* attemptRead("read the memory log's age", () => jsm.streams.info("MEMORY"))
      return LanceIndex.layer({ folder: join(home, "index"), dimensions, model: modelHash, log: { id: created, head: state.last_seq }, heldBytes: heldMb * 1e6 })
    })
  )
