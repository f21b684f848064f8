/**
 * How fast the memory log is projected into an index that starts empty: once as live talk stands in the log, a turn and a vector in a
 * commit each, and once as imports do. The vectors are read, not computed. Reading the log without an index stands beside it.
 */
import { Effect, Layer, Stream } from "effect"
import { mkdtempSync } from "node:fs"
import { join } from "node:path"
import type { CommitDraft } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, memorySubject } from "#shared/eventlog/subjects"
import { stream } from "#shared/metamemory/random"
import { EmbeddingError, Embeddings } from "#shared/model/embeddings"
import { embedderCodec, packVectors } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { homeIndex } from "#services/retriever/home-index"
import { runProjection } from "#services/retriever/projection"
import { CommandFailed, progressLine } from "../root.ts"
import { benchHome, type BenchResult, type Draw, logOn, rounded, secondsSince, syntheticText, syntheticVector } from "./load.ts"

export interface RebuildOptions {
  /** Turns of each part; every turn has a vector. */
  readonly turns: number
  readonly seed: number
}

const dimensions = 384
const users = 20
const importSize = 100
const limitMs = 600_000

/** Names the model the vectors are of; nothing is to be embedded. */
const embeddings = Layer.succeed(Embeddings, {
  dimensions,
  modelHash: "bench",
  embed: () => Effect.fail(new EmbeddingError({ reason: "ModelMissing", message: "a rebuild reads vectors and computes none" }))
})

interface Part {
  readonly drafts: ReadonlyArray<CommitDraft>
  readonly events: number
  readonly memories: number
}

/** Commits of talk between `users` users, one subject after another within each, `perCommit` turns at once. */
export const talk = (draw: Draw, turnCount: number, perCommit: number, name: string): Part => {
  const vectors = Array.from({ length: 256 }, () => syntheticVector(draw, dimensions))
  const drafts: Array<CommitDraft> = []
  for (let from = 0; from < turnCount; from += perCommit) {
    const commit = from / perCommit
    const of = { tenant: "local", user: `${name}-${commit % users}`, conversation: `c${Math.floor(commit / users / 50)}` }
    const turns = Array.from({ length: Math.min(perCommit, turnCount - from) }, (_, at) => ({
      id: `${name}-${from + at}`,
      speaker: at % 2 === 0 ? "user" : "assistant",
      text: syntheticText(draw, 20 + Math.floor(draw() * 60)),
      time: new Date(Date.UTC(2025, 0, 6) + (from + at) * 1_000).toISOString()
    }))
    const [firstTurn, ...more] = turns
    if (firstTurn === undefined) break
    const own = turns.map((_, at) => vectors[(from + at) % vectors.length] ?? new Float32Array(dimensions))
    drafts.push(
      { subject: memorySubject(of, "ingestor"), cause: `${from}`, events: [ingestorCodec.encode({ _tag: "TurnsReceived", turns: [firstTurn, ...more] })] },
      {
        subject: memorySubject(of, "embedder"),
        cause: `${from}`,
        events: [embedderCodec.encode({ _tag: "VectorsRecorded", model: "bench", dimensions, ids: [firstTurn.id, ...more.map(({ id }) => id)] })],
        binary: packVectors(own, dimensions)
      }
    )
  }
  return { drafts, events: drafts.length, memories: turnCount }
}

/** Appends commits, the subjects beside one another and each subject's in order. */
const appendAll = (drafts: ReadonlyArray<CommitDraft>, onProgress: (done: number) => void = () => undefined) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    let done = 0
    yield* Effect.forEach(
      Map.groupBy(drafts, ({ subject }) => subject).values(),
      (own) =>
        Effect.gen(function*() {
          let at = { sequence: 0, checksum: "" }
          for (const draft of own) {
            at = yield* log.append(draft, at.sequence, at.checksum)
            onProgress((done += 1))
          }
        }),
      { concurrency: 64, discard: true }
    )
  })

/** One part on a server of its own: written, read alone, then projected into an empty index. */
const projected = (part: Part, label: string) =>
  Effect.scoped(
    Effect.gen(function*() {
      const { home, url } = yield* benchHome
      const progress = progressLine()
      return yield* Effect.gen(function*() {
        const log = yield* EventLog
        yield* appendAll(part.drafts, (done) => progress.update(`${label}: ${done} of ${part.drafts.length} commits written`))
        const head = yield* log.head("MEMORY")
        const readFrom = performance.now()
        yield* log.read([memoryFilter({})]).pipe(Stream.runDrain)
        const readSeconds = (performance.now() - readFrom) / 1_000
        progress.update(`${label}: projecting`)
        const folder = mkdtempSync(join(home, "index-"))
        const from = performance.now()
        const cpuFrom = process.cpuUsage()
        yield* Effect.scoped(
          Effect.gen(function*() {
            const projection = yield* runProjection
            if (!(yield* projection.awaitSequence(head, limitMs))) return yield* new CommandFailed({ message: `the projection was not through after ${limitMs / 1_000} s` })
            return undefined
          }).pipe(Effect.provide(Layer.provideMerge(homeIndex(folder), embeddings)))
        )
        // Through means on disk too: the index writes what is left when it closes.
        const seconds = (performance.now() - from) / 1_000
        const cpu = process.cpuUsage(cpuFrom)
        progress.end()
        return { seconds, readSeconds, cpuSeconds: (cpu.user + cpu.system) / 1e6 }
      }).pipe(Effect.provide(Layer.fresh(logOn(url))))
    })
  )

export const benchRebuild = (options: RebuildOptions) =>
  Effect.gen(function*() {
    const started = performance.now()
    const draw = stream("bench rebuild", options.seed)
    const live = talk(draw, options.turns, 1, "live")
    const imported = talk(draw, options.turns, importSize, "imported")
    const liveTimes = yield* projected(live, "live")
    const importedTimes = yield* projected(imported, "imported")
    const changes = (part: Part) => 2 * part.memories
    return {
      figures: {
        liveEventsPerSecond: Math.round(live.events / liveTimes.seconds),
        liveReadOnlyEventsPerSecond: Math.round(live.events / liveTimes.readSeconds),
        liveEvents: live.events,
        liveCpuMicrosecondsPerEvent: rounded((liveTimes.cpuSeconds * 1e6) / live.events),
        importedChangesPerSecond: Math.round(changes(imported) / importedTimes.seconds),
        importedReadOnlyChangesPerSecond: Math.round(changes(imported) / importedTimes.readSeconds),
        importedEvents: imported.events,
        importedChanges: changes(imported),
        seed: options.seed
      },
      unit: "live: events/s, one turn or one vector each; imported: memories and vectors/s",
      seconds: secondsSince(started)
    } satisfies BenchResult
  })
