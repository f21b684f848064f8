/**
 * Questions in the log. They stand under the user whose memory is asked, because they hold that user's words; runs and jobs refer to
 * them by id. The evaluator writes them; the retriever reads the text, and never the reference answer.
 */
import { Effect, Result, Schema } from "effect"
import { Question } from "../domain/question.ts"
import { JobFailed } from "../actor/jobs.ts"
import { type CorruptCommit, isErasureMark } from "../eventlog/envelope.ts"
import { type Erased, lastErasure } from "../eventlog/erasure.ts"
import { defineEvent, eventCodec, type EventOf, type UnreadableEvent } from "../eventlog/event.ts"
import { EventLog } from "../eventlog/event-log.ts"
import type { LogUnavailable } from "../eventlog/nats.ts"
import { memorySubject } from "../eventlog/subjects.ts"
import { benchmarkOf } from "./judging.ts"

/**
 * A question with a reference answer was made known: a data set's, or a live one with what people said of its answer. The same id never
 * gets another text or answer; it is written again with the points of its answer where it was registered without. Version 1 knew no live
 * questions and version 2 no points; what they wrote reads as it stands.
 */
export const QuestionRegistered = defineEvent("QuestionRegistered", { version: 3, upcasts: { 1: (old) => old, 2: (old) => old }, payload: Question })
export type QuestionRegistered = EventOf<typeof QuestionRegistered>
export const questionCodec = eventCodec([QuestionRegistered])

export interface QuestionRef {
  readonly id: string
  readonly user: string
}

/** No question of that id stands in the log for this user. */
export class UnknownQuestion extends Schema.TaggedError<UnknownQuestion>()("UnknownQuestion", { id: Schema.String, message: Schema.String }) {}

export const questionsSubject = (tenant: string, user: string): string => memorySubject({ tenant, user, conversation: "questions" }, "evaluator")

export type QuestionError = LogUnavailable | CorruptCommit | UnreadableEvent | UnknownQuestion

/**
 * What it makes of a job that its question cannot be read. An erasure empties the question's subject a moment before it marks it, so that an unknown
 * question is looked for again.
 */
export const questionFailed = (tenant: string, { user }: QuestionRef) => (error: QuestionError): Effect.Effect<never, JobFailed, EventLog> =>
  Effect.gen(function*() {
    const { message } = error
    if (error._tag !== "UnknownQuestion") return yield* new JobFailed({ message, final: false })
    const log = yield* EventLog
    const unreadable = ({ message }: LogUnavailable | CorruptCommit) => new JobFailed({ message, final: false })
    const last = yield* Effect.mapError(log.last(questionsSubject(tenant, user)), unreadable)
    // The mark is taken away in time, and what says that the user was erased is not.
    const isErased = last === undefined ? (yield* Effect.mapError(lastErasure(tenant, user), unreadable)) !== undefined : isErasureMark(last)
    return yield* new JobFailed(isErased ? { message, final: true, erased: true } : { message, final: last !== undefined })
  })

export interface Questions {
  readonly load: (tenant: string, ref: QuestionRef) => Effect.Effect<Question, QuestionError>
  /** Lets go of what is kept here of an erased user, also of what is being read. */
  readonly forget: (erased: Pick<Erased, "holds">) => void
}

/** Users whose questions are kept folded in this process; the rest is read again. */
const cachedUsers = 2_000

/** What stands in the cache may be less than what was registered since: points are added to a question of BEAM that had none. */
const mayGetPoints = (question: Question): boolean => question.points === undefined && !question.abstention && benchmarkOf(question) === "beam"

interface Kept {
  readonly questions: ReadonlyMap<string, Question>
  /** Up to which sequence they were read. */
  readonly through: number
}

/** A reader of questions with a cache: once registered, nothing changes of a question but that it gets points. */
export const makeQuestions: Effect.Effect<Questions, never, EventLog> = Effect.map(EventLog, (log) => {
  const cache = new Map<string, Kept>()
  let forgotten = 0
  const fold = Effect.fnUntraced(function*(subject: string) {
    const questions = new Map<string, Question>()
    const before = forgotten
    let through = 0
    for (const commit of yield* log.load(subject)) {
      through = commit.sequence
      for (const stored of commit.events) {
        const event = questionCodec.decode(stored)
        if (Result.isFailure(event)) return yield* event.failure
        const { _tag, ...question } = event.success
        questions.set(question.id, question)
      }
    }
    if (forgotten !== before) return questions
    if (cache.size >= cachedUsers) for (const oldest of cache.keys()) {
      cache.delete(oldest)
      break
    }
    cache.set(subject, { questions, through })
    return questions
  })
  return {
    load: Effect.fnUntraced(function*(tenant: string, ref: QuestionRef): Effect.fn.Return<Question, QuestionError> {
      const subject = questionsSubject(tenant, ref.user)
      const kept = cache.get(subject)
      const known = kept?.questions.get(ref.id)
      const isWhole = known !== undefined && (!mayGetPoints(known) || (yield* log.last(subject))?.sequence === kept?.through)
      const found = isWhole ? known : (yield* fold(subject)).get(ref.id)
      if (found === undefined) {
        return yield* new UnknownQuestion({ id: ref.id, message: `question ${ref.id} is not registered: run \`metamem build\` on its data set first; once a user was erased, nothing of them can be asked again` })
      }
      return found
    }),
    forget: ({ holds }) => {
      forgotten += 1
      for (const subject of cache.keys()) if (holds(subject)) cache.delete(subject)
    }
  }
})
