/**
 * Jobs: independent pieces of model work. Which jobs a run needs is a pure function of its fold; the stream they are published on is a
 * cache that can be filled again. A worker pulls only what it can start, and a job's outcome is one message on a subject of its own,
 * expected not to exist, so that it is settled exactly once whoever does it. Only a failure that nothing was decided on may be followed by
 * another outcome, when its run asks for that.
 */
import type { JsMsg } from "@nats-io/jetstream"
import { Clock, Config, Effect, Option, Result, Schedule, Schema, Stream } from "effect"
import type { EventCodec, EventOf } from "../eventlog/event.ts"
import { defineEvent, eventCodec } from "../eventlog/event.ts"
import { type Commit, header } from "../eventlog/envelope.ts"
import { type AppendError, EventLog, type ReadError } from "../eventlog/event-log.ts"
import { attempt, attemptRead, type LogUnavailable, Nats } from "../eventlog/nats.ts"
import { type ActorName, attemptSubject, heldFilter, heldSubject, type JobAddress, requestSubject, resultSubject, userHash, workFilter, workSubject } from "../eventlog/subjects.ts"
import { NotNegative } from "../home/setting-values.ts"
import { heldBy, isPassingFailure, type ModelError } from "../model/errors.ts"
import { durable } from "./consumer.ts"
import { bury } from "./dead-letters.ts"

/** One piece of work. `input` refers to texts by id; it holds no text of a user. */
export interface Job extends JobAddress {
  readonly input: unknown
  /** Checksum of the outcome that no longer counts: the job is done anew, and its next outcome stands behind that one. Absent = it has none yet. */
  readonly again?: string
}

/** How a job ended; the last one of its subject stands. `data` is the kind's own result; texts are referred to by call key. */
export const JobSettled = defineEvent("JobSettled", {
  version: 1,
  payload: Schema.Struct({
    status: Schema.Literals(["done", "failed"]),
    data: Schema.Unknown,
    error: Schema.String,
    attempts: Schema.Int,
    /** Who did it, for showing how work was shared; not part of any hash. */
    worker: Schema.String
  })
})

/** One try that failed and will be repeated. */
export const JobAttemptFailed = defineEvent("JobAttemptFailed", {
  version: 1,
  payload: Schema.Struct({ attempt: Schema.Int, error: Schema.String })
})

export const jobCodec: EventCodec<EventOf<typeof JobSettled> | EventOf<typeof JobAttemptFailed>> = eventCodec([JobSettled, JobAttemptFailed])
export type JobSettled = EventOf<typeof JobSettled>

/** Why no job of the kind can be done just now: what it needs is away and may come back by itself, or turns us down until a person mends it. */
export const Hold = Schema.Literals(["away", "rejected"])
export type Hold = typeof Hold.Type

/**
 * A job cannot be done; the message says why. `final` = trying again cannot help. `hold` = it is no fault of the job, which waits. `erased` = the
 * user it is about was erased, which is nobody's error; its outcome says so.
 */
export class JobFailed extends Schema.TaggedError<JobFailed>()("JobFailed", {
  message: Schema.String,
  final: Schema.Boolean,
  hold: Schema.optionalKey(Hold),
  erased: Schema.optionalKey(Schema.Literal(true))
}) {}

/** What the outcome of a job says that failed because its user was erased. */
const ErasedData = Schema.Struct({ erased: Schema.Literal(true) })
export const isErasedOutcome = Schema.is(ErasedData)

/** What a failed call makes of the job that made it. */
export const callFailed = (error: ModelError): JobFailed => {
  const hold = heldBy(error)
  return new JobFailed({ message: error.message, final: !isPassingFailure(error), ...(hold === undefined ? {} : { hold }) })
}

const JobMessage = Schema.Struct({
  tenant: Schema.String,
  run: Schema.String,
  step: Schema.Int,
  kind: Schema.String,
  key: Schema.String,
  input: Schema.Unknown,
  again: Schema.optionalKey(Schema.String),
  dispatch: Schema.Int
})
const decodeJob = Schema.decodeUnknownSync(JobMessage)

/** @param dispatch how often these jobs were published before; a higher number passes the duplicate window */
export const publishJobs = (actor: ActorName, jobs: ReadonlyArray<Job>, dispatch: number): Effect.Effect<void, LogUnavailable, Nats> =>
  Effect.flatMap(Nats, ({ js }) =>
    Effect.forEach(
      jobs,
      (job) =>
        attempt(`publish job ${job.kind} ${job.key}`, () =>
          js.publish(workSubject(actor, job), JSON.stringify({ ...job, dispatch }), { msgID: `${resultSubject(job)}#${job.again ?? ""}#${dispatch}`, timeout: 5_000 })
        ).pipe(Effect.retry(Schedule.exponential("200 millis").pipe(Schedule.upTo({ times: 7 })))),
      { concurrency: 256, discard: true }
    ))

const decodeAgain = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ again: Schema.optionalKey(Schema.String) })))

/**
 * Those of some jobs of which the stream holds nothing: never published, or gone by age or erasure. The others reach a worker by themselves.
 * What was published before a job was to be done anew is not that job.
 */
export const unpublished = <J extends Job>(actor: ActorName, jobs: ReadonlyArray<J>): Effect.Effect<ReadonlyArray<J>, LogUnavailable, Nats> =>
  Effect.flatMap(Nats, ({ jsm }) =>
    Effect.filter(
      jobs,
      (job) =>
        attemptRead("look for a published job", () => jsm.direct.getMessage("WORK", { last_by_subj: workSubject(actor, job) })).pipe(
          Effect.map((message) => message === null || (job.again !== undefined && Option.getOrUndefined(decodeAgain(message.string()))?.again !== job.again))
        ),
      { concurrency: 64 }
    ))

/** False while a job of this kind, of any run, waits for a worker or is held by one; also where no worker has ever asked for one. */
export const isIdle = (actor: ActorName, kind: string): Effect.Effect<boolean, never, Nats> =>
  Effect.flatMap(Nats, ({ jsm }) => attempt("look at a queue", () => jsm.consumers.info("WORK", consumerName(actor, kind)))).pipe(
    Effect.map((info) => info.num_pending + info.num_ack_pending === 0),
    Effect.orElseSucceed(() => false)
  )

const consumerName = (actor: ActorName, kind: string): string => `${actor}-${kind}`

export interface JobWorker<R> {
  readonly actor: ActorName
  readonly kind: string
  /** Jobs at once in this process: the limit of the model behind them. */
  readonly concurrency: number
  /** Tries before the outcome is `failed`. */
  readonly maxAttempts: number
  /** Longest a job waits for what it needs to come back, in milliseconds, before its tries begin to count. */
  readonly heldMaxMs: number
  /** Name of this process in outcomes. */
  readonly worker: string
  readonly run: (job: Job) => Effect.Effect<unknown, JobFailed, R>
}

const ackWaitSeconds = 15
/**
 * Deliveries after which a job is settled as failed and not run again: a guard against one that ends its worker each time. The server
 * sets no limit of its own, since a message it stops delivering would be settled by nobody.
 */
const deliveriesMax = 50
/** Messages of one job that are kept while it is in work; what comes beyond is delivered again later. */
const copiesMax = 16
/** Between two tries of a job that waits for what it needs to come back; its model client waits too. */
const heldEveryMs = 2_000
/** How long jobs wait for a model that cannot be reached, or turns the key down, before that counts against them. */
export const outageMs = Config.schema(NotNegative, "METAMEM_OUTAGE_SECONDS").pipe(Config.withDefault(600), Config.map((seconds) => seconds * 1_000))
/** Longest wait before a job is delivered again whose outcome could not be recorded: a full disk is no fault of the job. */
const recordAgainMaxMs = 60_000

/** The outcome that no longer counts of a job that is done anew; undefined where it has none, or another stands behind it. */
const voidOutcome = (job: Job): Effect.Effect<{ readonly sequence: number; readonly attempts: number } | undefined, ReadError, EventLog> =>
  job.again === undefined ? Effect.succeed(undefined) : Effect.gen(function*() {
    const last = yield* (yield* EventLog).last(resultSubject(job))
    if (last === undefined || last.checksum !== job.again) return undefined
    const event = last.events[0] === undefined ? undefined : Result.getOrUndefined(jobCodec.decode(last.events[0]))
    return { sequence: last.sequence, attempts: event?._tag === "JobSettled" ? event.attempts : 0 }
  })

const settledAnew = "settled after "
const causeOf = ({ again }: Job): string => (again === undefined ? "settled" : `${settledAnew}${again}`)
/** True for an outcome that stands in the place of a failed one before it. */
export const isSettledAnew = ({ cause }: Pick<Commit, "cause">): boolean => cause.startsWith(settledAnew)

/** Settles one outcome; when another worker was first, theirs stands. */
const settle = (job: Job, outcome: Omit<JobSettled, "_tag">): Effect.Effect<void, AppendError, EventLog> =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const before = yield* voidOutcome(job)
    if (job.again !== undefined && before === undefined) return
    yield* log
      .append({ subject: resultSubject(job), cause: causeOf(job), correlation: job.run, events: [jobCodec.encode({ _tag: "JobSettled", ...outcome })] }, before?.sequence ?? 0, job.again ?? "")
      .pipe(Effect.catchTag("SequenceConflict", () => Effect.void))
  })

const recordAttempt = (job: Job, number: number, error: string): Effect.Effect<void, AppendError, EventLog> =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const subject = attemptSubject(job)
    const last = yield* log.last(subject)
    yield* log
      .append(
        { subject, cause: `attempt ${number}`, correlation: job.run, events: [jobCodec.encode({ _tag: "JobAttemptFailed", attempt: number, error })] },
        last?.sequence ?? 0,
        last?.checksum ?? ""
      )
      .pipe(Effect.catchTag("SequenceConflict", () => Effect.void))
  })

/** @param after only those recorded behind this sequence */
const attemptsSoFar = (job: Job, after: number): Effect.Effect<number, LogUnavailable, EventLog> =>
  Effect.flatMap(EventLog, (log) => log.load(attemptSubject(job), { after })).pipe(
    Effect.map((commits) => commits.length),
    Effect.catchTag("CorruptCommit", () => Effect.succeed(0))
  )

/**
 * Whether a job has its outcome already. Any replica may answer: one that is behind costs work done twice, and the outcome is still
 * settled once.
 */
const isSettled = (job: Job): Effect.Effect<boolean, never, Nats> =>
  Effect.flatMap(Nats, ({ jsm }) => attempt("look for an outcome", () => jsm.direct.getMessage("METAMEM", { last_by_subj: resultSubject(job) }))).pipe(
    Effect.map((message) => message !== null && (job.again === undefined || message.header.get(header.checksum) !== job.again)),
    Effect.orElseSucceed(() => false)
  )

/** A handler that breaks is a failed attempt like any other; the worker lives. */
const runOnce = <R>(worker: JobWorker<R>, job: Job): Effect.Effect<unknown, JobFailed, R> =>
  worker.run(job).pipe(
    Effect.catchDefect((defect) =>
      Effect.andThen(
        Effect.logError(`the handler of ${worker.kind} jobs broke on ${job.key}`, defect),
        new JobFailed({ message: `the handler broke: ${defect instanceof Error ? defect.message : String(defect)}`, final: false })
      ))
  )

const decodeWhose = Schema.decodeUnknownOption(Schema.Struct({ question: Schema.Struct({ user: Schema.String }) }))
/** The user whom a job is about; some are about none. */
const userOfJob = (input: unknown): string | undefined => Option.getOrUndefined(decodeWhose(input))?.question.user

/** Settles a job as failed for good, and says so to people. */
const giveUp = <R>(worker: JobWorker<R>, job: Job, tries: number, error: string, erased?: true): Effect.Effect<void, AppendError, EventLog | Nats> => {
  const settled = { status: "failed", error, attempts: tries, worker: worker.worker } as const
  // Nobody can mend it, so it is no dead letter.
  if (erased === true) return settle(job, { ...settled, data: { erased } satisfies typeof ErasedData.Type })
  const user = userOfJob(job.input)
  return Effect.andThen(
    settle(job, { ...settled, data: null }),
    bury({
      actor: worker.actor,
      kind: worker.kind,
      about: resultSubject(job),
      ...(user === undefined ? {} : { whose: userHash(job.tenant, user) }),
      error,
      tries,
      mend: "The run counts it as an error once all of its stage is settled. Mend what the message names; until then `metamem dead retry` has it done anew, with --run all that failed of the run; later `metamem whatif` can take the step again.",
      again: { subject: requestSubject("reflector", "retry"), payload: JSON.stringify({ tenant: job.tenant, run: job.run, step: job.step, kind: job.kind, key: job.key } satisfies JobAddress) }
    })
  )
}

/** What is told of a job that waits. */
const HeldNotice = Schema.Struct({ kind: Schema.String, hold: Hold, message: Schema.String })
export type HeldNotice = typeof HeldNotice.Type
const decodeHeld = Schema.decodeUnknownOption(Schema.fromJsonString(HeldNotice))

/** Tells whoever follows a run that a job waits. Only for show: nobody need hear it. */
const tellHeld = <R>({ actor, kind }: JobWorker<R>, notice: Omit<HeldNotice, "kind">): Effect.Effect<void, never, Nats> =>
  Effect.flatMap(Nats, ({ nc }) => Effect.sync(() => nc.publish(heldSubject(actor, kind), JSON.stringify({ kind, ...notice } satisfies HeldNotice)))).pipe(Effect.ignoreCause)

/** Jobs that wait for a model, of whatever run: all jobs of a kind need the same one. Each is told again after every try. */
export const heldJobs: Stream.Stream<HeldNotice, never, Nats> = Stream.unwrap(Effect.gen(function*() {
  const { nc } = yield* Nats
  const subscription = yield* Effect.acquireRelease(Effect.sync(() => nc.subscribe(heldFilter)), (subscription) => Effect.sync(() => subscription.unsubscribe()))
  return Stream.fromAsyncIterable(subscription, () => undefined).pipe(
    // It ends with the connection, which whoever follows a run notices otherwise.
    Stream.orElseSucceed(() => undefined),
    Stream.flatMap((message) => Stream.fromIterable(message === undefined ? [] : Option.toArray(decodeHeld(message.string()))))
  )
}))

/** @param isNew nobody can have tried it before: not published again, not delivered before */
const work = <R>(worker: JobWorker<R>, job: Job, isNew: boolean): Effect.Effect<void, AppendError, R | EventLog | Nats> =>
  Effect.gen(function*() {
    // What is done anew has all of its tries again; they are counted on.
    const failed = yield* voidOutcome(job)
    const spent = failed?.attempts ?? 0
    const before = isNew ? 0 : yield* attemptsSoFar(job, failed?.sequence ?? 0)
    let heldSince: number | undefined
    for (let number = spent + before + 1;; number++) {
      const outcome = yield* Effect.result(runOnce(worker, job))
      if (outcome._tag === "Success") {
        // A handler without a result must not leave a gap where its outcome is read.
        return yield* settle(job, { status: "done", data: outcome.success ?? null, error: "", attempts: number, worker: worker.worker })
      }
      const { erased, final, hold, message } = outcome.failure
      if (hold !== undefined) {
        const now = yield* Clock.currentTimeMillis
        heldSince ??= now
        if (now - heldSince < worker.heldMaxMs) {
          yield* tellHeld(worker, { hold, message })
          yield* Effect.sleep(Math.min(heldEveryMs, worker.heldMaxMs / 4))
          number -= 1
          continue
        }
      }
      if (final || number >= spent + worker.maxAttempts) return yield* giveUp(worker, job, number, message, erased)
      yield* recordAttempt(job, number, message)
      yield* Effect.sleep(Math.min(200 * 2 ** number, 5_000))
    }
  })

/** Runs until interrupted. One slot pulls one job at a time, so nothing waits in this process that another could start. */
export const runJobs = <R>(worker: JobWorker<R>): Effect.Effect<void, LogUnavailable, R | Nats | EventLog> =>
  Effect.gen(function*() {
    const { nc } = yield* Nats
    const open = durable({
      stream: "WORK",
      name: consumerName(worker.actor, worker.kind),
      filters: [workFilter(worker.actor, worker.kind)],
      ackWaitSeconds,
      maxDeliver: -1
    })
    let consumer = yield* open
    /** Jobs in work in this process, each with the messages that brought it: after a server's end it may come again meanwhile. */
    const inWork = new Map<string, Array<JsMsg>>()
    /** A slot that ends in the middle hands its job back, so that others need not wait for the time limit: after a second, when this process asks for no more. */
    const handBack = async (message: JsMsg): Promise<void> => {
      if (nc.isClosed()) return
      message.nak(1_000)
      await nc.flush().catch(() => undefined)
    }
    const pull = Effect.suspend(() => {
      const next = consumer.next({ expires: 10_000 })
      return attempt("pull a job", () => next).pipe(
        // What comes when nobody waits for it any more goes back too; the slot waits no longer than for what is here already.
        Effect.onInterrupt(() => {
          const back = next.then((message) => (message === null ? undefined : handBack(message)), () => undefined)
          return Effect.promise(() => Promise.race([back, new Promise<void>((done) => setImmediate(done))]))
        })
      )
    })
    const slot = Effect.gen(function*() {
      const message = yield* pull.pipe(
        // The server may be away, or the consumer lost: it is made again where it is missing.
        Effect.catch((error) =>
          Effect.gen(function*() {
            yield* Effect.logDebug(`job slot: ${error.message}`)
            yield* Effect.sleep("300 millis")
            consumer = yield* open
            return null
          })
        )
      )
      if (message === null) return
      let job: Job & { readonly dispatch: number }
      try {
        job = decodeJob(JSON.parse(message.string()))
      } catch (error) {
        yield* bury({
          actor: worker.actor,
          kind: worker.kind,
          about: message.subject,
          error: `not a job: ${error instanceof Error ? error.message : String(error)}`,
          tries: 1,
          mend: "Something else published to the work stream. Drop it."
        })
        message.term("not a job")
        return
      }
      const name = resultSubject(job)
      const copies = inWork.get(name)
      if (copies !== undefined) {
        // It ends with the first, and takes no place that another job could use.
        if (copies.length < copiesMax) copies.push(message)
        else message.nak(recordAgainMaxMs)
        return
      }
      const messages = [message]
      inWork.set(name, messages)
      const { deliveryCount } = message.info
      const doing = Effect.gen(function*() {
        if (yield* isSettled(job)) return
        yield* deliveryCount > deliveriesMax
          ? giveUp(worker, job, deliveriesMax, `delivered ${deliveriesMax} times, and each time its worker ended before it was through: it may be what ends them`)
          : work(worker, job, job.dispatch === 0 && deliveryCount === 1)
      })
      const working = Effect.sleep((ackWaitSeconds * 1_000) / 3).pipe(Effect.andThen(Effect.sync(() => messages.forEach((one) => one.working()))), Effect.forever)
      const outcome = yield* doing.pipe(
        Effect.raceFirst(working),
        Effect.onInterrupt(() => Effect.promise(() => Promise.all(messages.map(handBack)))),
        Effect.ensuring(Effect.sync(() => void inWork.delete(name))),
        Effect.result
      )
      if (outcome._tag === "Failure") {
        const { message } = outcome.failure
        yield* Effect.logWarning(`${worker.actor} could not record job ${job.kind} ${job.key}: ${message}`)
        yield* tellHeld(worker, { hold: "away", message: `the log does not take what was done (${message}). See that its server runs and its disk has room; after a full disk it has to be started again.` })
        for (const one of messages) one.nak(Math.min(1_000 * 2 ** (one.info.deliveryCount - 1), recordAgainMaxMs))
        return
      }
      for (const one of messages) one.ack()
    }).pipe(
      Effect.catch((error) => Effect.andThen(Effect.logWarning(`a job slot of ${worker.kind} goes on after: ${error.message}`), Effect.sleep("300 millis"))),
      Effect.forever
    )
    yield* Effect.all(Array.from({ length: worker.concurrency }, () => slot), { concurrency: "unbounded", discard: true })
  })
