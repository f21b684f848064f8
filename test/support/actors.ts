/** The four actors of the memory log on a test's own server: real embedding model, real index folder, facts by rule, no reader. */
import { join } from "node:path"
import { ConfigProvider, Effect, Layer } from "effect"
import { Leases } from "#shared/actor/lease"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import * as NatsConnection from "#shared/eventlog/nats"
import { memorySubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import * as EmbeddingModel from "#shared/model/embeddings"
import { Models } from "#shared/model/models"
import * as Compressor from "#services/compressor/actor"
import * as Embedder from "#services/embedder/actor"
import * as Ingestor from "#services/ingestor/actor"
import * as Retriever from "#services/retriever/actor"
import { homeIndex } from "#services/retriever/home-index"
import { setUpHome } from "./nats.ts"

/** Connection, log and leases. */
export const logOn = (url: string) => Layer.mergeAll(JetStreamLog.layer, Leases.layer).pipe(Layer.provideMerge(NatsConnection.layer({ url })))

/** @param environment settings of the actors; nothing else is read */
export const memoryActors = (url: string, home: string, environment: Record<string, string> = {}) => {
  const embeddings = EmbeddingModel.layer({ dir: join(setUpHome, "models/minilm"), threads: 1 })
  return Layer.mergeAll(Ingestor.layer, Compressor.layer, Embedder.layer, Retriever.layer.pipe(Layer.provide(homeIndex(home)))).pipe(
    Layer.provide(embeddings),
    Layer.provide(Models.layer({})),
    Layer.provideMerge(CallStore.layerJetStream),
    Layer.provideMerge(logOn(url)),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment)))
  )
}

/** Waits until compressor and embedder have done all there is to do in a conversation; the sequence they reached. */
export const settled = (of: { readonly tenant: string; readonly user: string; readonly conversation: string }) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    for (;;) {
      const received = yield* log.last(memorySubject(of, "ingestor"))
      const compressed = yield* log.last(memorySubject(of, "compressor"))
      const embedded = yield* log.last(memorySubject(of, "embedder"))
      const due = Math.max(received?.sequence ?? 0, compressed?.sequence ?? 0)
      if ((compressed?.inputThrough ?? 0) >= (received?.sequence ?? 0) && (embedded?.inputThrough ?? 0) >= due) return Math.max(due, embedded?.sequence ?? 0)
      yield* Effect.sleep(50)
    }
  })
