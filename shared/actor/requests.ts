/**
 * Requests: interactive questions with a deadline, over core request/reply. Many responders share a queue group. An asker may want parts
 * of the answer while it is made; they come on the reply's own subject, before it and in order, and the reply alone counts.
 */
import { createInbox, errors, headers, type Msg, type NatsConnection } from "@nats-io/transport-node"
import { Effect, Result, Schema, Stream } from "effect"
import { LogUnavailable, maxMessageBytes, Nats } from "../eventlog/nats.ts"

/** Nobody answers this kind of question: the actor is not running. */
export class NobodyAnswers extends Schema.TaggedError<NobodyAnswers>()("NobodyAnswers", { subject: Schema.String, message: Schema.String }) {}
/** The answer did not come within the deadline. */
export class DeadlinePassed extends Schema.TaggedError<DeadlinePassed>()("DeadlinePassed", { subject: Schema.String, deadlineMs: Schema.Int, message: Schema.String }) {}
/** The responder refused or failed; its message says what to do. */
export class RequestRefused extends Schema.TaggedError<RequestRefused>()("RequestRefused", { tag: Schema.String, message: Schema.String }) {}

export type RequestError = NobodyAnswers | DeadlinePassed | RequestRefused | LogUnavailable

const Reply = Schema.Union([
  Schema.Struct({ ok: Schema.Literal(true), value: Schema.Unknown }),
  Schema.Struct({ ok: Schema.Literal(false), tag: Schema.String, message: Schema.String })
])
const decodeReply = Schema.decodeUnknownResult(Schema.fromJsonString(Reply))

const tooLarge = (tag: string, bytes: number, limitBytes: number): RequestRefused =>
  new RequestRefused({ tag, message: `${bytes} bytes are more than one message may have (${limitBytes}): ask for less at once.` })

/** Says in a request that parts are wanted; a responder that does not know it sends the reply alone. */
const partsHeader = "Metamem-Parts"
/** Parts of one answer, at most: more than any reply has tokens. */
const partsMax = 20_000
const Part = Schema.Struct({ part: Schema.Unknown })
const decodePart = Schema.decodeUnknownResult(Schema.fromJsonString(Part))

/** What the server says in place of a responder. */
const nobodyCode = 503

/** The reply to a question published with an inbox of its own; parts before it go to `onPart`. */
const inParts = async (nc: NatsConnection, subject: string, body: Uint8Array, deadlineMs: number, onPart: (part: unknown) => void, signal: AbortSignal): Promise<Msg> => {
  const inbox = createInbox()
  const subscription = nc.subscribe(inbox, { max: partsMax + 1 })
  const stop = () => subscription.unsubscribe()
  const timer = setTimeout(stop, deadlineMs)
  signal.addEventListener("abort", stop, { once: true })
  try {
    const wanted = headers()
    wanted.set(partsHeader, "1")
    nc.publish(subject, body, { reply: inbox, headers: wanted })
    for await (const message of subscription) {
      if (message.headers?.code === nobodyCode && message.data.length === 0) throw new errors.NoRespondersError(subject)
      const part = decodePart(message.string())
      if (Result.isFailure(part)) return message
      onPart(part.success.part)
    }
    throw new errors.TimeoutError()
  } finally {
    clearTimeout(timer)
    signal.removeEventListener("abort", stop)
    stop()
  }
}

/** Asks and waits, at most `deadlineMs`. @param onPart told each part that comes before the reply; parts may be missing or void, the reply is the word */
export const request = (subject: string, payload: unknown, deadlineMs: number, onPart?: (part: unknown) => void): Effect.Effect<unknown, RequestError, Nats> =>
  Effect.gen(function*() {
    const { nc } = yield* Nats
    const body = Buffer.from(JSON.stringify(payload))
    const limitBytes = nc.info?.max_payload ?? maxMessageBytes
    if (body.length > limitBytes) return yield* tooLarge("QuestionTooLarge", body.length, limitBytes)
    const message = yield* Effect.tryPromise({
      try: (signal) => (onPart === undefined ? nc.request(subject, body, { timeout: deadlineMs }) : inParts(nc, subject, body, deadlineMs, onPart, signal)),
      catch: (error): RequestError => {
        const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
        if (error instanceof errors.NoRespondersError || cause instanceof errors.NoRespondersError) {
          return new NobodyAnswers({ subject, message: `nobody answers ${subject}: start the actor with \`metamem up\` or \`metamem run\`.` })
        }
        if (error instanceof errors.TimeoutError || cause instanceof errors.TimeoutError) {
          return new DeadlinePassed({ subject, deadlineMs, message: `no answer to ${subject} within ${deadlineMs} ms` })
        }
        return new LogUnavailable({ operation: "request", message: error instanceof Error ? error.message : String(error) })
      }
    })
    const decoded = decodeReply(message.string())
    if (Result.isFailure(decoded)) {
      return yield* new RequestRefused({ tag: "ForeignAnswer", message: `the answer to ${subject} is not one of this version's: is another version, or another program, answering?` })
    }
    const reply = decoded.success
    if (!reply.ok) return yield* new RequestRefused({ tag: reply.tag, message: reply.message })
    return reply.value
  })

export interface Responder<E extends { readonly _tag: string; readonly message: string }, R> {
  readonly subject: string
  /** Responders of one queue share the requests. */
  readonly queue: string
  /** Requests at once in this process; more wait in order. */
  readonly concurrency: number
  /** `tell` sends a part of the answer to an asker who wants parts; undefined where none are wanted. */
  readonly handle: (payload: unknown, tell: ((part: unknown) => void) | undefined) => Effect.Effect<unknown, E, R>
}

/** Sends parts in answer to a message. Parts are only for show: one that cannot be sent is left out. */
const teller = (message: Msg, limitBytes: number): ((part: unknown) => void) | undefined => {
  if (message.headers === undefined || !message.headers.has(partsHeader)) return undefined
  let left = partsMax
  return (part) => {
    const body = Buffer.from(JSON.stringify({ part }))
    if (left === 0 || body.length > limitBytes) return
    left -= 1
    try {
      message.respond(body)
    } catch {
      left = 0
    }
  }
}

const refusal = (tag: string, message: string): Buffer => Buffer.from(JSON.stringify({ ok: false, tag, message }))

/** Answers until interrupted. Failures and defects of a handler go to the asker; the responder lives. */
export const respond = <E extends { readonly _tag: string; readonly message: string }, R>(responder: Responder<E, R>): Effect.Effect<void, LogUnavailable, R | Nats> =>
  Effect.scoped(Effect.gen(function*() {
    const { nc } = yield* Nats
    const limitBytes = nc.info?.max_payload ?? maxMessageBytes
    const subscription = yield* Effect.acquireRelease(
      Effect.sync(() => nc.subscribe(responder.subject, { queue: responder.queue })),
      (subscription) => Effect.sync(() => subscription.unsubscribe())
    )
    yield* Stream.fromAsyncIterable(subscription, (error) => new LogUnavailable({ operation: "respond", message: String(error) })).pipe(
      Stream.mapEffect(
        (message) =>
          Effect.gen(function*() {
            const payload = yield* Effect.try({ try: () => message.json() as unknown, catch: () => ({ _tag: "BadRequest", message: "the request is not JSON" }) })
            const value = yield* responder.handle(payload, teller(message, limitBytes))
            const body = Buffer.from(JSON.stringify({ ok: true, value: value ?? null }))
            return body.length > limitBytes ? yield* tooLarge("AnswerTooLarge", body.length, limitBytes) : body
          }).pipe(
            Effect.catch((error) => Effect.succeed(refusal(error instanceof RequestRefused ? error.tag : error._tag, error.message))),
            Effect.catchDefect((defect) =>
              Effect.andThen(Effect.logError("a request handler broke", defect), Effect.succeed(refusal("Defect", "the responder broke on this request; its log says where")))
            ),
            Effect.map((body) => void message.respond(body))
          ),
        { concurrency: responder.concurrency, unordered: true }
      ),
      Stream.runDrain
    )
  }))
