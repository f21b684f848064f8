/** Dead letters: what could not be processed, why, and how to put it back. A list for people; the truth is in the log. */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream"
import { Effect, Schema, Stream } from "effect"
import type { RawMessage } from "../eventlog/envelope.ts"
import { readStream } from "../eventlog/jetstream-reading.ts"
import { apiCode, attempt, type LogUnavailable, Nats } from "../eventlog/nats.ts"
import { type ActorName, deadFilter, deadSubject } from "../eventlog/subjects.ts"
import { request, type RequestError } from "./requests.ts"

export const DeadLetter = Schema.Struct({
  actor: Schema.String,
  kind: Schema.String,
  /** What it was about: a job's key, a subject, a line of input. No text of a user. */
  about: Schema.String,
  /** Hash of the user it is about, where `about` does not tell: it goes when they are erased, and names nobody if it comes later. */
  whose: Schema.optionalKey(Schema.String),
  error: Schema.String,
  tries: Schema.Int,
  /** What a person can do. */
  mend: Schema.String,
  /** The message to publish again and where, or the request that does it; absent when retrying makes no sense. */
  again: Schema.optionalKey(Schema.Struct({ subject: Schema.String, payload: Schema.String }))
})
export type DeadLetter = typeof DeadLetter.Type

export interface StandingDeadLetter extends DeadLetter {
  readonly sequence: number
  readonly time: string
}

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(DeadLetter))

/** A message of the stream as a letter; one that is not hides none of the others. */
const letterOf = ({ payload, sequence, subject, time }: Pick<RawMessage, "payload" | "sequence" | "subject" | "time">): StandingDeadLetter => {
  try {
    return { ...decode(new TextDecoder().decode(payload)), sequence, time }
  } catch (error) {
    return {
      actor: "unknown",
      kind: "unknown",
      about: subject,
      error: `not a dead letter: ${error instanceof Error ? error.message : String(error)}`,
      tries: 0,
      mend: "Something else published to the stream of dead letters. Drop it.",
      sequence,
      time
    }
  }
}

const noMessage = 10037

const standing = (jsm: JetStreamManager, sequence: number): Promise<StoredMsg | null> =>
  jsm.streams.getMessage("DEAD", { seq: sequence }).catch((error) => {
    if (apiCode(error) === noMessage) return null
    throw error
  })

/** Records a dead letter; the same actor, kind and matter is recorded once per two minutes. */
export const bury = (letter: DeadLetter): Effect.Effect<void, LogUnavailable, Nats> =>
  Effect.flatMap(Nats, ({ js }) =>
    attempt("record a dead letter", () =>
      js.publish(deadSubject(letter.actor as ActorName, letter.kind), JSON.stringify(letter), { msgID: `${letter.actor}.${letter.kind}.${letter.about}.${letter.tries}` }).then(() => undefined)
    ))

/** Those that stand, oldest first, as they are read: of one actor, or behind a number. */
const letters = ({ actor, after = 0 }: { readonly actor?: ActorName; readonly after?: number } = {}): Stream.Stream<StandingDeadLetter, LogUnavailable, Nats> =>
  Stream.unwrap(Effect.map(Nats, (nats) => readStream(nats, "DEAD", [deadFilter(actor)], after, false).pipe(Stream.map(letterOf))))

/** Tells all that stand, oldest first, however many there are. None is kept here. @param actor absent = of all */
export const eachDead = (tell: (letter: StandingDeadLetter) => void, actor?: ActorName): Effect.Effect<void, LogUnavailable, Nats> =>
  letters(actor === undefined ? {} : { actor }).pipe(Stream.runForEachArray((some) => Effect.sync(() => some.forEach(tell))))

/** Most letters that are listed at once. */
export const listedMax = 1_000

/** The oldest behind a number, at most `limit`. */
export const listDead = (limit = listedMax, after = 0): Effect.Effect<ReadonlyArray<StandingDeadLetter>, LogUnavailable, Nats> =>
  letters({ after }).pipe(Stream.take(limit), Stream.runCollect)

/** How many stand. */
export const countDead: Effect.Effect<number, LogUnavailable, Nats> = Effect.flatMap(Nats, ({ jsm }) =>
  Effect.map(attempt("count dead letters", () => jsm.streams.info("DEAD")), ({ state }) => state.messages))

/** The letter of that number; undefined when it does not stand. */
export const oneDead = (sequence: number): Effect.Effect<StandingDeadLetter | undefined, LogUnavailable, Nats> =>
  Effect.flatMap(Nats, ({ jsm }) =>
    Effect.map(attempt("read a dead letter", () => standing(jsm, sequence)), (message) =>
      message === null ? undefined : letterOf({ subject: message.subject, payload: message.data, sequence, time: message.time.toISOString() })))

/** False when no letter of that sequence stands. */
export const dropDead = (sequence: number): Effect.Effect<boolean, LogUnavailable, Nats> =>
  Effect.flatMap(Nats, ({ jsm }) =>
    attempt("drop a dead letter", async () => (await standing(jsm, sequence)) !== null && (await jsm.streams.deleteMessage("DEAD", sequence))))

/** Longest wait for a request that does a letter's work: a model may be asked several times. */
const secondTryMs = 600_000

/** Whom it asks to do the work again, who has to run for it; undefined where nobody is asked. */
export const askedActor = ({ again }: Pick<DeadLetter, "again">): string | undefined => (again?.subject.startsWith("request.") === true ? again.subject.split(".")[1] : undefined)

/** Publishes the letter's message again, or has its request done, and drops the letter. False when it cannot be put back; fails, and leaves it, when the request does. */
export const retryDead = (letter: StandingDeadLetter): Effect.Effect<boolean, RequestError, Nats> =>
  Effect.gen(function*() {
    const { again } = letter
    if (again === undefined) return false
    const { js } = yield* Nats
    if (askedActor(letter) !== undefined) yield* request(again.subject, JSON.parse(again.payload), secondTryMs)
    else yield* attempt("put a dead letter back", () => js.publish(again.subject, again.payload))
    // Somebody may have put it back and dropped it at the same time.
    yield* dropDead(letter.sequence)
    return true
  })
