/** What becomes of extraction that was given up: a dead letter, and a second try when somebody asks for it. */
import { Effect, Result } from "effect"
import { bury } from "#shared/actor/dead-letters"
import type { Entity } from "#shared/actor/entity"
import { RequestRefused } from "#shared/actor/requests"
import type { Turn } from "#shared/domain/turn"
import { EventLog } from "#shared/eventlog/event-log"
import { memorySubject, parseMemorySubject, requestSubject } from "#shared/eventlog/subjects"
import { ingestorCodec } from "#services/ingestor/protocol"
import type { CompressorState } from "./behaviour.ts"
import type { Extractor } from "./extraction.ts"
import { recordedOf } from "./recorded.ts"
import type { CompressorCommand, CompressorEvent, SecondTryRequest, UnknownMemory } from "./protocol.ts"

/** Verb of the request that tries a segment once more. */
export const secondTryVerb = "second-try"

/** A letter for each segment that was given up, before that is recorded: should the process die between, it stands twice rather than never. */
export const buryFailed = (target: string, events: ReadonlyArray<CompressorEvent>) =>
  Effect.forEach(events, (event) => {
    if (event._tag !== "ExtractionFailed") return Effect.void
    const { actor: _, ...of } = parseMemorySubject(target)
    const [segment] = event.segments
    return bury({
      actor: "compressor",
      kind: "extraction",
      about: `${target} segment ${segment}, ${event.turns.length} turns`,
      error: event.error,
      tries: event.attempts,
      mend: "The turns are found as they were said. Mend what the error names, then `metamem dead retry` extracts their facts.",
      again: { subject: requestSubject("compressor", secondTryVerb), payload: JSON.stringify({ ...of, segment } satisfies SecondTryRequest) }
    })
  }, { discard: true })

/** Extracts a segment that was given up once more and records its facts; says how many. None where it has been done, or its turns are erased. */
export const makeSecondTry = (conversations: Entity<CompressorState, CompressorCommand, CompressorEvent, UnknownMemory>, extract: Extractor["extract"]) =>
  Effect.map(EventLog, (log) => ({ segment, ...of }: SecondTryRequest) =>
    Effect.gen(function*() {
      const target = memorySubject(of, "compressor")
      const { epoch, state } = yield* conversations.load(target)
      const ids = state.failedSegments.get(segment)
      const said = new Map<string, Turn>()
      if (ids !== undefined) {
        for (const { events } of yield* log.load(memorySubject(of, "ingestor"))) {
          for (const stored of events) {
            const event = ingestorCodec.decode(stored)
            if (Result.isFailure(event)) return yield* event.failure
            if (event.success._tag === "TurnsReceived") for (const turn of event.success.turns) said.set(turn.id, turn)
          }
        }
      }
      const turns = (ids ?? []).flatMap((id) => said.get(id) ?? [])
      if (turns.length === 0) return { facts: 0 }
      const outcome = yield* extract(of, [turns])
      if (outcome._tag === "Failed") return yield* new RequestRefused({ tag: "ExtractionFailed", message: `extraction failed again: ${outcome.error}` })
      const event = recordedOf(target, [segment], outcome)
      const { fresh } = yield* conversations.execute(target, { _tag: "RecordSecondTry", event }, { cause: `second try ${segment}`, seen: epoch })
      return { facts: fresh ? event.memories.length : 0 }
    }))
