/** Which turns of a conversation make a batch for one extraction: topics are cut from the ingestor's commits, and short segments gathered. */
import { Effect, Result } from "effect"
import type { Turn } from "#shared/domain/turn"
import type { EventLog } from "#shared/eventlog/event-log"
import { memorySubject, parseMemorySubject } from "#shared/eventlog/subjects"
import { tokensOf } from "#shared/model/tokens"
import { ingestorCodec } from "#services/ingestor/protocol"
import type { Cutter } from "./boundaries.ts"
import { emptyShortTerm, flushSegments, pushSegment, type ShortTermState } from "./construction/short-term-buffer.ts"

export type Segment = ReadonlyArray<Turn>

/** How far a conversation is cut. */
export interface Segmented {
  /** What of the conversation is not yet in a segment, and segments that wait for others to share a call with. */
  readonly cutter: Cutter
  readonly waiting: ShortTermState<Segment>
  /** Sequence of the ingestor's last commit that went in. */
  readonly through: number
  /** Erasure epoch of the conversation: turns from before it must not come back. */
  readonly epoch: number
}

/** Conversations of which it is kept how far they are cut; another is cut again from its beginning, to the same segments. */
const conversationsKept = 2_000

/**
 * Batches of conversations, each known by its compressor's subject.
 *
 * @param uncut a cutter before any turn
 * @param batchTokens o200k tokens from which segments make a batch; 0 = each is one
 */
export const makeBatches = (log: EventLog["Service"], uncut: Cutter, batchTokens: number) => {
  const kept = new Map<string, Segmented>()
  return {
    /** Batches that are complete between the place kept and the minimum, in order, and the place they lead to. */
    complete: Effect.fnUntraced(function*(target: string, minimum: number, epoch: number) {
      const known = kept.get(target)
      const from: Segmented = known?.epoch === epoch ? known : { cutter: uncut, waiting: emptyShortTerm, through: 0, epoch }
      const batches: Array<ReadonlyArray<Segment>> = []
      let { cutter, through, waiting } = from
      const gather = (segments: ReadonlyArray<Segment>): void => {
        if (batchTokens === 0) return void batches.push(...segments.map((segment) => [segment]))
        for (const segment of segments) {
          const step = pushSegment(waiting, segment, segment.reduce((sum, { text }) => sum + tokensOf(text), 0), batchTokens)
          batches.push(...step.batches)
          waiting = step.state
        }
      }
      for (const commit of yield* log.load(memorySubject(parseMemorySubject(target), "ingestor"), { after: through, minimum })) {
        for (const stored of commit.events) {
          const event = ingestorCodec.decode(stored)
          if (Result.isFailure(event)) return yield* event.failure
          const isEnd = event.success._tag !== "TurnsReceived"
          const cut = yield* event.success._tag === "TurnsReceived" ? cutter.push(event.success.turns) : cutter.flush
          cutter = cut.next
          gather(cut.segments)
          if (isEnd) {
            const step = flushSegments(waiting)
            batches.push(...step.batches)
            waiting = step.state
          }
        }
        through = commit.sequence
      }
      return { batches, next: { cutter, waiting, through, epoch } satisfies Segmented }
    }),
    /** Remembers a place, once what led to it is recorded. */
    keep: (target: string, next: Segmented): void => {
      kept.delete(target)
      kept.set(target, next)
      if (kept.size > conversationsKept) for (const oldest of kept.keys()) {
        kept.delete(oldest)
        break
      }
    },
    forget: (holds: (target: string) => boolean): void => {
      for (const target of kept.keys()) if (holds(target)) kept.delete(target)
    }
  }
}
