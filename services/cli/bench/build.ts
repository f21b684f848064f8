/**
 * How long a data set's haystacks take to become memories, facts by rule and no language model, and how much of that is the embedding
 * model's own time: the same texts are embedded once more with nothing else going on.
 */
import { availableParallelism } from "node:os"
import { Effect, Stream } from "effect"
import { readDataset } from "#shared/datasets/read-dataset"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter } from "#shared/eventlog/subjects"
import * as EmbeddingModel from "#shared/model/embeddings"
import { compressorCodec } from "#services/compressor/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { buildMemory, limited } from "../build.ts"
import { actorProcess, benchHome, type BenchResult, logOn, modelFolder, rounded, secondsSince, untilAnswers } from "./load.ts"

export interface BuildOptions {
  readonly data: string
  /** Only the haystacks of the first questions. */
  readonly limit: number
}

/** Every text that has a vector, in the order of the log: turns as said, facts as extracted. */
const embeddedTexts = Effect.gen(function*() {
  const log = yield* EventLog
  const texts: Array<string> = []
  yield* log.read([memoryFilter({ actor: "ingestor" })]).pipe(
    Stream.runForEach(({ events }) =>
      Effect.forEach(events, (stored) =>
        Effect.map(Effect.fromResult(ingestorCodec.decode(stored)), (event) => {
          if (event._tag === "TurnsReceived") texts.push(...event.turns.map(({ text }) => text))
        }), { discard: true }))
  )
  const turns = texts.length
  yield* log.read([memoryFilter({ actor: "compressor" })]).pipe(
    Stream.runForEach(({ events }) =>
      Effect.forEach(events, (stored) =>
        Effect.map(Effect.fromResult(compressorCodec.decode(stored)), (event) => {
          if (event._tag === "MemoriesRecorded") texts.push(...event.memories.map(({ text }) => text))
        }), { discard: true }))
  )
  return { texts, turns }
})

export const benchBuild = (options: BuildOptions) =>
  Effect.scoped(
    Effect.gen(function*() {
      const dataset = limited(yield* readDataset(options.data), options.limit)
      const { env, home, url } = yield* benchHome
      const started = performance.now()
      const actors = yield* actorProcess({ home, url, actors: ["ingestor", "compressor", "embedder", "retriever", "evaluator"], settings: env })
      const { built, cpuMs, texts, turns } = yield* Effect.gen(function*() {
        for (const actor of ["ingestor", "retriever", "evaluator"] as const) yield* untilAnswers(actor)
        const before = yield* actors.usage
        const built = yield* buildMemory(dataset)
        const after = yield* actors.usage
        return { built, cpuMs: after.cpuMs - before.cpuMs, ...(yield* embeddedTexts) }
      }).pipe(Effect.provide(logOn(url)))
      const alone = yield* Effect.gen(function*() {
        const { embed } = yield* EmbeddingModel.Embeddings
        const from = performance.now()
        const cpuFrom = process.cpuUsage()
        yield* embed(texts)
        const cpu = process.cpuUsage(cpuFrom)
        return { seconds: (performance.now() - from) / 1_000, cpuMs: (cpu.user + cpu.system) / 1_000 }
      }).pipe(Effect.provide(EmbeddingModel.layer({ dir: yield* modelFolder, threads: availableParallelism() })))
      return {
        figures: {
          haystacks: dataset.users.length,
          turns,
          facts: texts.length - turns,
          failed: built.failed.length,
          buildSeconds: built.seconds,
          secondsPerHaystack: rounded(built.seconds / Math.max(1, dataset.users.length), 2),
          embeddingAloneSeconds: rounded(alone.seconds, 2),
          embeddingShare: rounded(alone.seconds / Math.max(built.seconds, 0.001), 3),
          cpuSeconds: rounded(cpuMs / 1_000, 2),
          embeddingAloneCpuSeconds: rounded(alone.cpuMs / 1_000, 2)
        },
        unit: "seconds; share = embedding the same texts alone ÷ the whole construction",
        seconds: secondsSince(started)
      } satisfies BenchResult
    })
  )
