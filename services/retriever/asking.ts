/** Answers live questions, guided by the generation in force, and records what was answered and from what. */
import { createHash } from "node:crypto"
import { Clock, Effect, Result } from "effect"
import type { Entity } from "#shared/actor/entity"
import type { Principle } from "#shared/domain/principle"
import type { EventLog } from "#shared/eventlog/event-log"
import { adoptedSubject, memorySubject } from "#shared/eventlog/subjects"
import { adoptionCodec, type GenerationAdopted } from "#shared/metamemory/events"
import { principlesFor } from "#shared/metamemory/router"
import { Models } from "#shared/model/models"
import { answer, evidenceHash, readAnswer } from "./answering.ts"
import type { RetrieverState } from "./behaviour.ts"
import type { Projection } from "./projection.ts"
import { answersConversation, type AskPart, type AskReply, type AskRequest, type RetrieverCommand, type RetrieverEvent, type UnknownAnswer } from "./protocol.ts"
import type { Retrieving } from "./retrieving.ts"

/** Answers and feedback, by user. */
export type Answers = Entity<RetrieverState, RetrieverCommand, RetrieverEvent, UnknownAnswer>

export const answersSubject = (tenant: string, user: string): string => memorySubject({ tenant, user, conversation: answersConversation }, "retriever")

export interface AskingParts {
  readonly answers: Answers
  readonly log: EventLog["Service"]
  readonly models: Models["Service"]
  readonly projection: Pick<Projection, "through">
  readonly retrieve: Retrieving["retrieve"]
  /** Whether the reader gets the short prompt of small models. */
  readonly small: boolean
}

export const makeAsking = ({ answers, log, models, projection, retrieve, small }: AskingParts) => {
  /** The generation in force for each tenant, followed from the log. */
  const adopted = new Map<string, { readonly event: GenerationAdopted; readonly sequence: number }>()
  const adoptedOf = Effect.fnUntraced(function*(tenant: string) {
    const last = yield* log.last(adoptedSubject(tenant))
    if (last === undefined) return undefined
    const known = adopted.get(tenant)
    if (known?.sequence === last.sequence) return known.event
    for (const stored of last.events) {
      const event = adoptionCodec.decode(stored)
      if (Result.isFailure(event)) return yield* event.failure
      adopted.set(tenant, { event: event.success, sequence: last.sequence })
    }
    return adopted.get(tenant)?.event
  })

  const principlesOf = Effect.fnUntraced(function*(request: AskRequest) {
    if (request.principles !== undefined && request.generation !== undefined) return { principles: request.principles as ReadonlyArray<Principle>, generation: request.generation }
    const event = yield* adoptedOf(request.tenant)
    return event === undefined
      ? { principles: [], generation: { run: "", generation: 0 } }
      : { principles: event.principles, generation: { run: event.run, generation: event.generation } }
  })

  return Effect.fnUntraced(function*(request: AskRequest, tell: ((part: AskPart) => void) | undefined) {
    const started = yield* Clock.currentTimeMillis
    // What the index shows is of this place in the log or later: an answer from before an erasure is not recorded.
    const seen = projection.through()
    const { at, behind, evidence } = yield* retrieve(request)
    const { generation, principles } = yield* principlesOf(request)
    const shown = principlesFor(request.question, principles)
    // The same question, asked for the same moment with the same evidence and guidance, is the same answer: asking again records nothing new.
    const answerId = createHash("sha256")
      .update(JSON.stringify([request.tenant, request.user, request.question, at, evidenceHash(evidence), generation]))
      .digest("hex")
      .slice(0, 32)
    const left = Math.max(request.deadlineMs - ((yield* Clock.currentTimeMillis) - started), 50)
    const reply = evidence.length === 0
      ? undefined
      : yield* Effect.result(
        answer({
          tenant: request.tenant,
          user: request.user,
          question: request.question,
          date: at,
          evidence,
          principles: shown,
          temperature: 0,
          ...(small ? { maxTokens: 48 } : {}),
          sample: { runSeed: 0, purpose: "live", draw: 0, question: request.question, sample: 0 },
          small,
          isCited: true
        }, tell).pipe(Effect.provideService(Models, models), Effect.timeout(left))
      )
    const { answer: text, citations, marked } = readAnswer(request.question, evidence, reply, small)
    const said = reply !== undefined && Result.isSuccess(reply) ? reply.success : undefined
    const late = reply !== undefined && said === undefined ? ["reader"] : []
    const usage = said?.usage ?? { promptTokens: 0, completionTokens: 0, estimated: false }
    const latencyMs = (yield* Clock.currentTimeMillis) - started
    yield* answers.execute(
      answersSubject(request.tenant, request.user),
      {
        _tag: "RecordAnswer",
        event: {
          _tag: "AnswerGiven",
          answer: answerId,
          question: request.question,
          askedAt: at,
          text,
          evidence: evidence.map(({ memoryId, score }) => ({ memory: memoryId, score })),
          generation,
          principles: shown.map(({ id }) => id),
          model: said?.model ?? "",
          call: said?.key ?? "",
          usage,
          behind: [...behind, ...late]
        }
      },
      { cause: answerId, seen }
    )
    return { answerId, answer: text, marked, citations, evidence, generation, latencyMs, usage, behind: [...behind, ...late] } satisfies AskReply
  })
}
