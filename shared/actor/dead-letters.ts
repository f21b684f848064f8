/** Dead letters: what could not be processed, why, and how to put it back. A list for people; the truth is in the log. */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream"
import { Effect, Schema } from "effect"
import { apiCode, attempt, type LogUnavailable, Nats } from "../eventlog/nats.ts"
import { type ActorName, deadSubject } from "../eventlog/subjects.ts"
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
const letterOf = (message: StoredMsg): DeadLetter => {
  try {
    return decode(message.string())
  } catch (error) {
    return {
      actor: "unknown",
      kind: "unknown",
      about: message.subject,
      error: `not a dead letter: ${error instanceof Error ? error.message : String(error)}`,
      tries: 0,
      mend: "Something else published to the stream of dead letters. Drop it."
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

/** All that stand, oldest first, at most `limit`. */
export const listDead = (limit = 1_000): Effect.Effect<ReadonlyArray<StandingDeadLetter>, LogUnavailable, Nats> =>
  Effect.flatMap(Nats, ({ jsm }) =>
    attempt("list dead letters", async () => {
      const { state } = await jsm.streams.info("DEAD")
      const letters: Array<StandingDeadLetter> = []
      // A stream that never held anything names 0 as its first, which no message has.
      for (let sequence = Math.max(1, state.first_seq); sequence <= state.last_seq && letters.length < limit; sequence++) {
        const message = await standing(jsm, sequence)
        if (message !== null) letters.push({ ...letterOf(message), sequence, time: message.timestamp })
      }
      return letters
    }))

/** False when no letter of that sequence stands. */
export const dropDead = (sequence: number): Effect.Effect<boolean, LogUnavailable, Nats> =>
  Effect.flatMap(Nats, ({ jsm }) =>
    attempt("drop a dead letter", async () => (await standing(jsm, sequence)) !== null && (await jsm.streams.deleteMessage("DEAD", sequence))))

/** Longest wait for a request that does a letter's work: a model may be asked several times. */
const secondTryMs = 600_000

/** True where an actor is asked to do the work again, which has to run for it. */
export const isAsked = ({ again }: DeadLetter): boolean => again?.subject.startsWith("request.") ?? false

/** Publishes the letter's message again, or has its request done, and drops the letter. False when it cannot be put back; fails, and leaves it, when the request does. */
export const retryDead = (letter: StandingDeadLetter): Effect.Effect<boolean, RequestError, Nats> =>
  Effect.gen(function*() {
    const { again } = letter
    if (again === undefined) return false
    const { js } = yield* Nats
    if (isAsked(letter)) yield* request(again.subject, JSON.parse(again.payload), secondTryMs)
    else yield* attempt("put a dead letter back", () => js.publish(again.subject, again.payload))
    return yield* dropDead(letter.sequence)
  })
