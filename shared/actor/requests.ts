/**
 * Requests: interactive questions with a deadline, over core request/reply. Many responders share a queue group. An asker may want parts
 * of the answer while it is made; they come on the reply's own subject, before it and in order, and the reply alone counts.
 */
import { createInbox, errors, headers, type Msg, type NatsConnection } from "@nats-io/transport-node"
import { Cause, Clock, Effect, Queue, Result, Schema, Stream } from "effect"
import { LogUnavailable, maxMessageBytes, Nats } from "../eventlog/nats.ts"
import { type ActorName, requestSubject } from "../eventlog/subjects.ts"

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

/** What a responder says that ends before it has answered: another may, so the question is put again. */
const endingTag = "Ending"
/** Between an answer of that kind and the next try: whoever takes over may have to hear of it first. */
const againMs = 50

/**
 * Asks and waits, at most `deadlineMs`; again where a responder ended before it had answered.
 *
 * @param onPart told each part that comes before the reply; parts may be missing or void, the reply is the word
 */
export const request = (subject: string, payload: unknown, deadlineMs: number, onPart?: (part: unknown) => void): Effect.Effect<unknown, RequestError, Nats> =>
  Effect.gen(function*() {
    const until = (yield* Clock.currentTimeMillis) + deadlineMs
    for (let leftMs = deadlineMs;;) {
      const answered = yield* Effect.result(requestOnce(subject, payload, leftMs, onPart))
      if (Result.isSuccess(answered)) return answered.success
      const error = answered.failure
      leftMs = until - (yield* Clock.currentTimeMillis) - againMs
      if (error._tag !== "RequestRefused" || error.tag !== endingTag || leftMs <= 0) return yield* error
      yield* Effect.sleep(againMs)
    }
  })

const requestOnce = (subject: string, payload: unknown, deadlineMs: number, onPart?: (part: unknown) => void): Effect.Effect<unknown, RequestError, Nats> =>
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

/** What a handler fails with: its tag, or of a `RequestRefused` the tag in it, and its message go to the asker. */
type Failure = { readonly _tag: string; readonly message: string }

/** The request makes no sense as it stands, and will not when it is sent again. */
export const badRequest = (message: string): RequestRefused => new RequestRefused({ tag: "BadRequest", message })

export interface Responder<E extends Failure, R> {
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

/** Longest that a responder waits, at its end, for what is still on its way to it, in milliseconds. */
const lastMs = 1_000

/** Answers that another may; where the connection is gone already, the asker's deadline has to. */
const handBack = (message: Msg): void => {
  try {
    message.respond(refusal(endingTag, "who was to answer is ending; ask again"))
  } catch {
    // Nobody can be told.
  }
}
/** Answers until interrupted. Failures and defects of a handler go to the asker; the responder lives. Who is not answered by then is told to ask again. */
export const respond = <E extends Failure, R>(responder: Responder<E, R>): Effect.Effect<void, LogUnavailable, R | Nats> =>
  Effect.gen(function*() {
    const { nc } = yield* Nats
    const limitBytes = nc.info?.max_payload ?? maxMessageBytes
    /** Those not answered; undefined once no more are taken. */
    let open: Set<Msg> | undefined = new Set()
    const answer = (message: Msg, body: Uint8Array): void => {
      open?.delete(message)
      message.respond(body)
    }
    const requests = Stream.callback<Msg, LogUnavailable>((messages) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const failed = (error: unknown) => Queue.failCauseUnsafe(messages, Cause.fail(new LogUnavailable({ operation: "respond", message: String(error) })))
          const subscription = nc.subscribe(responder.subject, {
            queue: responder.queue,
            callback: (error, message) => {
              if (error !== null) return void failed(error)
              if (open === undefined) return handBack(message)
              open.add(message)
              Queue.offerUnsafe(messages, message)
            }
          })
          void subscription.closed.then((error) => (error instanceof Error ? failed(error) : Queue.endUnsafe(messages)))
          return subscription
        }),
        (subscription) =>
          Effect.promise(async () => {
            const left = open
            open = undefined
            left?.forEach(handBack)
            // What is on its way here comes before this returns, and is handed back too.
            const timer = Promise.withResolvers<void>()
            const timeout = setTimeout(timer.resolve, lastMs)
            await Promise.race([subscription.drain().catch(() => subscription.unsubscribe()), timer.promise])
            clearTimeout(timeout)
          })
      ), { bufferSize: Number.POSITIVE_INFINITY })
    yield* requests.pipe(
      Stream.mapEffect(
        (message) =>
          Effect.gen(function*() {
            const payload = yield* Effect.try({ try: () => message.json() as unknown, catch: () => badRequest("the request is not JSON") })
            const value = yield* responder.handle(payload, teller(message, limitBytes))
            const body = Buffer.from(JSON.stringify({ ok: true, value: value ?? null }))
            return body.length > limitBytes ? yield* tooLarge("AnswerTooLarge", body.length, limitBytes) : body
          }).pipe(
            Effect.catch((error) => Effect.succeed(refusal(error instanceof RequestRefused ? error.tag : error._tag, error.message))),
            Effect.catchDefect((defect) =>
              Effect.andThen(Effect.logError("a request handler broke", defect), Effect.succeed(refusal("Defect", "the responder broke on this request; its log says where")))
            ),
            Effect.map((body) => answer(message, body))
          ),
        { concurrency: responder.concurrency, unordered: true }
      ),
      Stream.runDrain
    )
  })

/** One kind of request to an actor. */
export interface Served<A, E extends Failure, R> {
  readonly actor: ActorName
  readonly verb: string
  /** What does not fit it is refused as `BadRequest`. */
  readonly schema: Schema.Codec<A, unknown>
  /** Requests at once in this process; more wait in order. */
  readonly concurrency: number
  /** As a responder's. */
  readonly handle: (request: A, tell: ((part: unknown) => void) | undefined) => Effect.Effect<unknown, E, R>
}

/** Answers one kind of request to an actor until the scope closes, beside all other processes of that actor. */
export const serve = <A, E extends Failure, R>({ actor, concurrency, handle, schema, verb }: Served<A, E, R>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return respond({
    subject: requestSubject(actor, verb),
    queue: actor,
    concurrency,
    handle: (payload, tell) =>
      decode(payload).pipe(
        Effect.mapError(({ message }): E | RequestRefused => badRequest(message)),
        Effect.flatMap((request) => handle(request, tell))
      )
  }).pipe(Effect.forkScoped)
}
