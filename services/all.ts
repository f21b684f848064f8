/** Every actor in one process, or any of them: the only place that puts actors together. */
import { existsSync } from "node:fs"
import { cpus } from "node:os"
import { join, resolve } from "node:path"
import { Config, Effect, Layer, Option, Result } from "effect"
import type { Leases } from "#shared/actor/lease"
import type { EventLog } from "#shared/eventlog/event-log"
import type { Nats } from "#shared/eventlog/nats"
import { type ActorName, actors } from "#shared/eventlog/subjects"
import { NotNegative } from "#shared/home/setting-values"
import { settings as homeSettings } from "#shared/home/settings"
import type { MemoryIndex } from "#shared/memoryindex/memory-index"
import { CallStore } from "#shared/model/call-store"
import * as EmbeddingModel from "#shared/model/embeddings"
import { Models } from "#shared/model/models"
import { roles, settings as roleSettings } from "#shared/model/roles"

export const settings = Config.all({
  /** Folder with `model.onnx` and `tokenizer.json`; unset = what set-up fetched. */
  embeddingDir: Config.String("METAMEM_MINILM_DIR").pipe(Config.option),
  /** Worker threads of the embedding model; 0 = one a core. */
  embeddingThreads: Config.schema(NotNegative, "METAMEM_EMBEDDING_THREADS").pipe(Config.withDefault(0)),
  /** GGUF file of the local model; unset = what set-up fetched. */
  localModel: Config.String("METAMEM_LOCAL_MODEL").pipe(Config.option)
})

/** The settings of every part that has any, so that all can be checked before one of them is needed. A test holds that no part is missing. */
export const allSettings: Effect.Effect<ReadonlyArray<Config.Config<unknown>>> = Effect.map(
  Effect.promise(() =>
    Promise.all([
      import("#services/ingestor/actor"),
      import("#services/compressor/actor"),
      import("#services/compressor/boundaries"),
      import("#services/compressor/extraction"),
      import("#services/compressor/reconcile"),
      import("#services/compressor/pre-compression"),
      import("#services/compressor/classifier"),
      import("#services/embedder/actor"),
      import("#services/retriever/actor"),
      import("#services/retriever/answering"),
      import("#services/retriever/home-index"),
      import("#services/evaluator/actor"),
      import("#services/reflector/actor"),
      import("#services/reflector/online"),
      import("#services/localmodel/settings")
    ])
  ),
  (parts) => [homeSettings, settings, ...parts.map((part) => part.settings), roleSettings]
)

/** Who extracts facts, and who reconciles them: rules, or a model where that was chosen. */
export const factSettings = Effect.gen(function*() {
  const [extraction, reconcile] = yield* Effect.promise(() => Promise.all([import("#services/compressor/extraction"), import("#services/compressor/reconcile")]))
  return { extract: (yield* extraction.settings).extractor, reconcile: (yield* reconcile.settings).reconciler }
})

/** Where set-up puts things when no home is named: the checkout's own folder. */
const checkoutHome = resolve(import.meta.dirname, "../.metamem")

/** A path as set, else below the home, else what set-up left in the checkout. */
export const findPart = (setting: Option.Option<string>, home: string, part: string): string =>
  Option.getOrElse(setting, () => [join(home, part), join(checkoutHome, part)].find((path) => existsSync(path)) ?? join(home, part))

/** Models as the settings cast them; roles without an endpoint get the local model, which the first of them that is asked starts. */
export const modelsLayer = (home: string): Layer.Layer<Models, Config.ConfigError, CallStore> =>
  Layer.unwrap(
    Effect.gen(function*() {
      const all = yield* roleSettings
      const { localModel } = yield* settings
      const modelPath = findPart(localModel, home, "models/smollm2/model.gguf")
      const isNeeded = roles.some((role) => all[role].urls.length === 0)
      if (!isNeeded || !existsSync(modelPath)) return Models.layer({})
      const [{ loadedWhenAsked }, { settings: localSettings }] = yield* Effect.promise(() => Promise.all([import("#services/localmodel/when-asked"), import("#services/localmodel/settings")]))
      const { contextTokens, threads, waiting } = yield* localSettings
      const local = yield* Effect.result(loadedWhenAsked({ modelPath, host: "127.0.0.1", port: 0, contextTokens, threads, waiting }))
      if (Result.isSuccess(local)) return Models.layer({ local: local.success })
      yield* Effect.logWarning(`no local model: ${local.failure.message}`)
      return Models.layer({})
    })
  )

/** @param first what the first worker of the model is for: questions where a retriever is, see `EmbeddingSettings` */
export const embeddingsLayer = (home: string, first?: "questions") =>
  Layer.unwrap(
    Effect.gen(function*() {
      const { embeddingDir, embeddingThreads } = yield* settings
      return EmbeddingModel.layer({ dir: findPart(embeddingDir, home, "models/minilm"), threads: embeddingThreads > 0 ? embeddingThreads : cpus().length, ...(first === undefined ? {} : { first }) })
    })
  )

const indexLayer = (home: string) => Layer.unwrap(Effect.map(Effect.promise(() => import("#services/retriever/home-index")), ({ homeIndex }) => homeIndex(home)))

type ActorLayer = Layer.Layer<never, Config.ConfigError, Nats | EventLog | Leases | Models | CallStore | EmbeddingModel.Embeddings | MemoryIndex>

/** Loaded only when started: what one actor stands on takes seconds to import, and a command that takes turns in needs none of it. */
const imports = {
  ingestor: () => import("#services/ingestor/actor"),
  compressor: () => import("#services/compressor/actor"),
  embedder: () => import("#services/embedder/actor"),
  retriever: () => import("#services/retriever/actor"),
  evaluator: () => import("#services/evaluator/actor"),
  reflector: () => import("#services/reflector/actor")
} satisfies Readonly<Record<ActorName, () => Promise<{ readonly layer: unknown }>>>

const layerOf = (name: Exclude<ActorName, "compressor">): ActorLayer => Layer.unwrap(Effect.map(Effect.promise<{ readonly layer: ActorLayer }>(imports[name]), ({ layer }) => layer))

/** The compressor shares the embedding model of its neighbours; alone it has one only where its settings may want vectors. */
const compressorLayer = (home: string, isShared: boolean): ActorLayer =>
  Layer.unwrap(
    Effect.gen(function*() {
      const [{ layer }, { mayNeedVectors }, { ModelFolder }] = yield* Effect.promise(() =>
        Promise.all([imports.compressor(), import("#services/compressor/boundaries"), import("#services/compressor/classifier")])
      )
      const own = layer.pipe(Layer.provide(Layer.succeed(ModelFolder, join(home, "models"))))
      return !isShared && (yield* mayNeedVectors) ? own.pipe(Layer.provide(embeddingsLayer(home))) : own
    })
  ) as ActorLayer

/**
 * The actors named, sharing one model service, one embedding model and one index. They run until the scope closes.
 *
 * @param isAskedAtOnce live questions are expected: a local model that reads for them is loaded before the actors are there; else it is when
 *   somebody asks it
 */
export const actorsLayer = (home: string, names: ReadonlyArray<ActorName> = actors, isAskedAtOnce = true) => {
  const wanted = new Set(names)
  // Imported while the embedding model loads in its worker, once that is started. What fails does so again where its layer is built.
  setImmediate(() => wanted.forEach((name) => void imports[name]().catch(() => {})))
  const of = (...group: ReadonlyArray<Parameters<typeof layerOf>[0]>): ActorLayer =>
    group.reduce<ActorLayer>((all, name) => (wanted.has(name) ? Layer.merge(all, layerOf(name)) : all), Layer.empty)
  // What a single actor does not use is not started: an ingestor needs no model in memory, an evaluator no embeddings, an embedder no index.
  const embeds = wanted.has("embedder") || wanted.has("retriever")
  const compressor = wanted.has("compressor") ? compressorLayer(home, embeds) : Layer.empty
  const retriever = wanted.has("retriever") ? of("retriever").pipe(Layer.provide(indexLayer(home))) : Layer.empty
  const withVectors = Layer.mergeAll(of("embedder"), retriever, embeds ? compressor : Layer.empty).pipe(Layer.provide(embeddingsLayer(home, wanted.has("retriever") ? "questions" : undefined)))
  const others = Layer.merge(of("ingestor", "evaluator", "reflector"), embeds ? Layer.empty : compressor) as Layer.Layer<never, Config.ConfigError, Nats | EventLog | Leases | Models | CallStore>
  const all = embeds ? Layer.merge(withVectors, others) : others
  const needsModels = (["compressor", "retriever", "evaluator", "reflector"] as const).some((name) => wanted.has(name))
  const loaded = Layer.effectDiscard(Effect.flatMap(Models, (models) => models.loaded))
  const modelled = needsModels ? (isAskedAtOnce && wanted.has("retriever") ? Layer.merge(all, loaded) : all).pipe(Layer.provide(modelsLayer(home))) : all
  return modelled.pipe(Layer.provide(CallStore.layerJetStream)) as Layer.Layer<never, Layer.Error<typeof withVectors> | Config.ConfigError, Nats | EventLog | Leases>
}
