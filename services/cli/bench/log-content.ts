/** What a memory log says was remembered, and what of it stands there twice: turns, segments, facts and vectors by their ids, folded from the log alone. */
import { createHash } from "node:crypto"
import { Effect, Stream } from "effect"
import type { StoredEvent } from "#shared/eventlog/event"
import type { Commit } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, parseMemorySubject } from "#shared/eventlog/subjects"
import { compressorCodec } from "#services/compressor/protocol"
import { embedderCodec } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"

export const parts = ["turns", "segments", "facts", "vectors"] as const
export type Part = (typeof parts)[number]

export interface LogContent {
  /** By `user/conversation/id`, a hash of all that is said of each. */
  readonly content: Readonly<Record<Part, ReadonlyMap<string, string>>>
  /** Keys recorded more than once. Of vectors only those whose bytes differ: two embedders may do the same work, and then must agree bit for bit. */
  readonly twice: Readonly<Record<Part, ReadonlyArray<string>>>
  /** Turns that stand in more than one segment. */
  readonly inTwoSegments: ReadonlyArray<string>
  /** Vectors recorded again with the same bytes: work done twice. */
  readonly vectorsAgain: number
  /** Pieces that were given up. */
  readonly failed: number
}

const hash = (of: string | Uint8Array): string => createHash("sha256").update(of).digest("base64url").slice(0, 22)

/** Of one tenant's whole memory log. Fails on an event that cannot be read. */
export const logContent = (tenant: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const content = { turns: new Map<string, string>(), segments: new Map<string, string>(), facts: new Map<string, string>(), vectors: new Map<string, string>() }
    const twice: Record<Part, Array<string>> = { turns: [], segments: [], facts: [], vectors: [] }
    const segmented = new Set<string>()
    const inTwoSegments: Array<string> = []
    let vectorsAgain = 0
    let failed = 0
    const note = (part: Part, key: string, value: string): void => {
      const before = content[part].get(key)
      if (before === undefined) content[part].set(key, value)
      else if (part === "vectors" && before === value) vectorsAgain += 1
      else twice[part].push(key)
    }
    const add = (commit: Commit, at: (id: string) => string, actor: string, stored: StoredEvent) =>
      Effect.gen(function*() {
        if (actor === "ingestor") {
          const event = yield* Effect.fromResult(ingestorCodec.decode(stored))
          if (event._tag === "TurnsReceived") for (const turn of event.turns) note("turns", at(turn.id), hash(JSON.stringify(turn)))
        } else if (actor === "compressor") {
          const event = yield* Effect.fromResult(compressorCodec.decode(stored))
          if (event._tag === "SegmentClosed") {
            note("segments", at(event.segment), hash(event.turns.join("\n")))
            for (const turn of event.turns) {
              if (segmented.has(at(turn))) inTwoSegments.push(at(turn))
              segmented.add(at(turn))
            }
          } else if (event._tag === "MemoriesRecorded") for (const memory of event.memories) note("facts", at(memory.id), hash(JSON.stringify(memory)))
          else if (event._tag === "ExtractionFailed") failed += 1
        } else if (actor === "embedder") {
          const { dimensions, ids } = yield* Effect.fromResult(embedderCodec.decode(stored))
          const width = dimensions * 2
          ids.forEach((id, row) => note("vectors", at(id), hash(commit.binary.subarray(row * width, (row + 1) * width))))
        }
      })
    yield* Stream.runForEach(log.read([memoryFilter({ tenant })]), (commit) => {
      const { actor, conversation, user } = parseMemorySubject(commit.subject)
      return Effect.forEach(commit.events, (stored) => add(commit, (id) => `${user}/${conversation}/${id}`, actor, stored), { discard: true })
    })
    return { content, twice, inTwoSegments, vectorsAgain, failed } satisfies LogContent
  })
