/** What is in the log before a stream begins: users with memories and their vectors, as if all actors had done their work on them. */
import { Effect } from "effect"
import { EventLog } from "#shared/eventlog/event-log"
import { memorySubject } from "#shared/eventlog/subjects"
import * as EmbeddingModel from "#shared/model/embeddings"
import { embedderCodec, packVectors } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { type Draw, syntheticVector } from "./load.ts"
import { markersMax, streamTurns } from "./stream-turns.ts"

export const preloadedUser = "preloaded"
/** Of each user who fills what retrievers hold, and all of theirs together as a multiple of the preloaded user's. */
const fillingMemories = 1_000
const fillingShare = 1.5
const importSize = 100

/** How many memories each user has: the one who is asked, and those who fill what retrievers hold. @param memories of the one who is asked; 0 = nobody */
export const preloadedUsers = (memories: number): ReadonlyMap<string, number> => {
  const filling = Array.from({ length: Math.ceil((memories * fillingShare) / fillingMemories) }, (_, n) => [`filling-${n}`, fillingMemories] as const)
  return new Map(memories > 0 ? [...filling, [preloadedUser, memories]] : [])
}

/** Turns with vectors of some users, so many each. */
export const preload = (tenant: string, counts: ReadonlyMap<string, number>, draw: Draw, onProgress: (done: number) => void) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const { dimensions, modelHash } = yield* EmbeddingModel.Embeddings
    const vectors = Array.from({ length: 4_096 }, () => syntheticVector(draw, dimensions))
    let done = 0
    for (const [user, count] of counts) {
      const next = streamTurns(draw, 1, markersMax - count)
      for (let from = 0; from < count; from += importSize) {
        const of = { tenant, user, conversation: `p${from / importSize}` }
        const [first, ...more] = Array.from({ length: Math.min(importSize, count - from) }, (_, at) => {
          const { marker, speaker, text } = next()
          return { id: `${of.conversation}/${marker}`, speaker, text, time: new Date(Date.UTC(2024, 0, 1) + (from + at) * 60_000).toISOString() }
        })
        if (first === undefined) continue
        const ids = [first.id, ...more.map(({ id }) => id)] as const
        const received = yield* log.append({ subject: memorySubject(of, "ingestor"), cause: "preload", events: [ingestorCodec.encode({ _tag: "TurnsReceived", turns: [first, ...more] }), ingestorCodec.encode({ _tag: "ConversationClosed" })] }, 0, "")
        const compressed = yield* log.append({ subject: memorySubject(of, "compressor"), cause: "preload", inputThrough: received.sequence, events: [] }, 0, "")
        yield* log.append({
          subject: memorySubject(of, "embedder"),
          cause: "preload",
          inputThrough: compressed.sequence,
          events: [embedderCodec.encode({ _tag: "VectorsRecorded", model: modelHash, dimensions, ids })],
          binary: packVectors(ids.map(() => vectors[Math.floor(draw() * vectors.length)] ?? new Float32Array(dimensions)), dimensions)
        }, 0, "")
        onProgress((done += ids.length))
      }
    }
  })
