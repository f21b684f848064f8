/** The index of one retriever process in the home folder: a slot of its own, bound to the embedding model and to the log it folds. */
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { attemptRead, type LogUnavailable, Nats } from "#shared/eventlog/nats"
import * as LanceIndex from "#shared/memoryindex/lancedb-layer"
import type { MemoryIndex, MemoryIndexError } from "#shared/memoryindex/memory-index"
import { Embeddings } from "#shared/model/embeddings"

export const homeIndex = (home: string): Layer.Layer<MemoryIndex, MemoryIndexError | LogUnavailable, Embeddings | Nats> =>
  Layer.unwrap(
    Effect.gen(function*() {
      const { dimensions, modelHash } = yield* Embeddings
      const { jsm } = yield* Nats
      const { created, state } = yield* attemptRead("read the memory log's age", () => jsm.streams.info("MEMORY"))
      return LanceIndex.layer({ folder: join(home, "index"), dimensions, model: modelHash, log: { id: created, head: state.last_seq } })
    })
  )
