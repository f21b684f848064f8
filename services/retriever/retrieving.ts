/**
 * From a question to its evidence. A live question gets what is there within its deadline, and is told what was behind; a job's evidence
 * is whole or there is none.
 */
import { Clock, Effect, Result } from "effect"
import { badRequest, RequestRefused } from "#shared/actor/requests"
import type { EvidenceItem } from "#shared/domain/evidence"
import { normaliseTime } from "#shared/domain/time"
import type { EventLog } from "#shared/eventlog/event-log"
import type { LogUnavailable } from "#shared/eventlog/nats"
import { formatPosition, parsePosition, positionProblem } from "#shared/eventlog/position"
import type { Filter } from "#shared/memoryindex/shelf"
import type { Embeddings } from "#shared/model/embeddings"
import { knownMin } from "#shared/model/known-words"
import { indexUser, type Projection } from "./projection.ts"
import type { RetrieveReply, RetrieveRequest } from "./protocol.ts"
import { selectEvidence } from "./ranking/evidence.ts"
import { planQuestion } from "./ranking/plan.ts"
import type { VectorWait } from "./vectors.ts"

/** Longest wait for a live question's vector, milliseconds. */
const embedMsMax = 3_000

export interface RetrievingParts {
  readonly log: EventLog["Service"]
  readonly embeddings: Embeddings["Service"]
  readonly projection: Projection
  readonly vectors: VectorWait
  /** Evidence of a live question that asks for no other budget, in o200k tokens. */
  readonly liveTokens: number
}

export const makeRetrieving = ({ embeddings, liveTokens, log, projection, vectors }: RetrievingParts) => {
  /** @param embedMs time for the question's vector, after which words alone decide; undefined = evidence without vectors is a failure */
  const find = Effect.fnUntraced(function*(user: string, question: string, at: string | undefined, filter: Filter, tokens: number, embedMs: number | undefined) {
    const speakers = (yield* projection.view(user, filter)).speakers
    const plan = planQuestion(question, speakers, at)
    // A vector of words that the model has no tokens for is near to any; such a question is answered by its words.
    const queries = (embeddings.known?.(question) ?? 1) >= knownMin ? plan.vectorQueries : []
    const embedded = yield* Effect.result(embeddings.embed(queries, { interactive: true }).pipe(embedMs === undefined ? (self) => self : Effect.timeout(embedMs)))
    if (Result.isFailure(embedded) && embedMs === undefined) return yield* new RequestRefused({ tag: "EmbeddingError", message: embedded.failure.message })
    // Taken after the wait: a view is valid only until the next change.
    const view = yield* projection.view(user, filter)
    const through = projection.through()
    const evidence: ReadonlyArray<EvidenceItem> = selectEvidence({ view, plan, vectors: Result.isSuccess(embedded) ? embedded.success : [], question, tokens })
    // Asked last, since it may look into the log.
    const stand = yield* vectors.stand(view.turns, through)
    return { evidence, behind: Result.isSuccess(embedded) && stand ? [] : ["vectors"], through }
  })

  /** Also waits for an index that is being filled again: what was found before must be found. */
  const waitFor = Effect.fnUntraced(function*(after: string | undefined, deadlineMs: number) {
    const position = after === undefined ? undefined : parsePosition(after)
    if (after !== undefined && position?.log !== "memory") return yield* badRequest(`"${after}" is not a position of the memory log`)
    return (yield* projection.awaitSequence(Math.max(position?.sequence ?? 0, projection.goal()), deadlineMs)) ? [] : ["words"]
  })

  /** What a position or time in `asOf` filters by. A position that the log has not reached is refused: nobody knows what will be known there. */
  const asOfFilter = Effect.fnUntraced(function*(asOf: string | undefined): Effect.fn.Return<Filter, RequestRefused | LogUnavailable> {
    if (asOf === undefined) return {}
    const position = parsePosition(asOf)
    if (position === undefined) {
      const problem = positionProblem(asOf)
      if (problem !== undefined) return yield* badRequest(problem)
      const asOfTime = yield* Effect.mapError(Effect.fromResult(normaliseTime(asOf)), ({ message }) => badRequest(`"${asOf}" is neither a position nor a time: ${message}`))
      return { asOfTime }
    }
    if (position.log !== "memory") return yield* badRequest(`${asOf} is a position of the metamem log; memories are folded by positions of the memory log`)
    if (position.sequence > projection.through()) {
      const head = yield* log.head("MEMORY")
      if (position.sequence > head) return yield* badRequest(`${asOf} is beyond the end of the memory log, ${formatPosition({ log: "memory", sequence: head })}`)
    }
    return { asOfSequence: position.sequence }
  })

  const retrieve = Effect.fnUntraced(function*(request: RetrieveRequest) {
    const started = yield* Clock.currentTimeMillis
    const asOf = yield* asOfFilter(request.asOf)
    const user = indexUser(request.tenant, request.user)
    const words = yield* waitFor(request.after, request.deadlineMs * 0.4)
    const unvectored = yield* vectors.ofTurns(user, request.after, request.deadlineMs * 0.3)
    const filter: Filter = {
      ...asOf,
      ...(request.conversation === undefined ? {} : { conversation: request.conversation }),
      ...(request.kinds === undefined ? {} : { kinds: request.kinds }),
      ...(request.from === undefined ? {} : { from: request.from }),
      ...(request.to === undefined ? {} : { to: request.to })
    }
    const at = request.at ?? new Date(started).toISOString()
    const left = request.deadlineMs - ((yield* Clock.currentTimeMillis) - started)
    const { behind, evidence } = yield* find(user, request.question, at, filter, request.evidenceTokens ?? liveTokens, Math.min(Math.max(left, 50), embedMsMax))
    return { evidence, behind: [...new Set([...words, ...unvectored, ...behind])], latencyMs: (yield* Clock.currentTimeMillis) - started, at } satisfies RetrieveReply & { at: string }
  })

  return { asOfFilter, find, waitFor, retrieve }
}
export type Retrieving = ReturnType<typeof makeRetrieving>
