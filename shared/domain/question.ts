/** Questions of a data set, and verdicts on answers to them. The gold answer reaches the judge and the reflector, never an index or the reader's prompt. */
import { Schema } from "effect"
import { IsoTime } from "./turn.ts"

/** One question with its reference answer. `id` is unique in its data set. */
export const Question = Schema.Struct({
  id: Schema.NonEmptyString,
  text: Schema.NonEmptyString,
  /** The data set's own label, e.g. `multi-session`; for rubrics and reports, never for routing. */
  type: Schema.String,
  /** Reference answer, or the rubric of a preference question, or the explanation why it cannot be answered. */
  answer: Schema.NonEmptyString,
  /** What a right answer contains, point by point, where the data set says so (BEAM); a model that judges goes by these instead of `answer`. */
  points: Schema.optionalKey(Schema.NonEmptyArray(Schema.NonEmptyString)),
  /** When the question is asked. */
  date: Schema.optionalKey(IsoTime),
  /** True when the right answer is that it is not known. */
  abstention: Schema.Boolean,
  /** The user whose memory is asked: the data set's hash with the question id (LongMemEval) or with the conversation (LoCoMo, BEAM). */
  user: Schema.NonEmptyString,
  /** Questions of one cluster share evidence or a user; the unit of resampling. */
  cluster: Schema.NonEmptyString,
  /** Of a live question: sequence of the memory log at which it was answered. Nothing later is evidence for it, whoever asks it again. */
  asOf: Schema.optionalKey(Schema.Int)
})
export type Question = typeof Question.Type

/** `error` = could not be judged or answered; never counted as wrong. */
export const Verdict = Schema.Literals(["correct", "incorrect", "error"])
export type Verdict = typeof Verdict.Type
/** A verdict as events keep it. */
export const verdictLetters = { correct: "c", incorrect: "i", error: "e" } as const satisfies Record<Verdict, string>
