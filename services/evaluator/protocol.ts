/** What the evaluator is asked and what it records: questions made known, and verdicts on answers to them. */
import { Schema } from "effect"
import { Name, nameLimitBytes } from "#shared/domain/name"
import { Question, Verdict } from "#shared/domain/question"
import { questionCodec, type QuestionRegistered } from "#shared/metamemory/questions"
import { Sample } from "#shared/model/call"

export const evaluatorCodec = questionCodec
export type EvaluatorEvent = QuestionRegistered

/** All questions of one command are of one user. */
export type EvaluatorCommand = { readonly _tag: "RegisterQuestions"; readonly questions: ReadonlyArray<Question> }

/** Questions are read by their user's name, which has to fit a subject. */
const ofNamedUser = Schema.makeFilter(({ user }: { readonly user: string }) => Schema.is(Name)(user) || `a question whose user is a name of at most ${nameLimitBytes} bytes, without control characters`)

/** A question of this id stands in the log with another content; runs that used it would no longer mean the same. */
export class QuestionChanged extends Schema.TaggedError<QuestionChanged>()("QuestionChanged", {
  id: Schema.String,
  differs: Schema.Array(Schema.String),
  message: Schema.String
}) {}

/** A data set's questions are made known. Sending them again changes nothing. */
export const RegisterRequest = Schema.Struct({
  tenant: Name,
  questions: Schema.Array(Question.check(ofNamedUser)).check(Schema.isMaxLength(2_000))
})
export type RegisterRequest = typeof RegisterRequest.Type

export const RegisterReply = Schema.Struct({ registered: Schema.Int, known: Schema.Int })
export type RegisterReply = typeof RegisterReply.Type

export const QuestionRefSchema = Schema.Struct({ id: Schema.NonEmptyString, user: Schema.NonEmptyString })
/** One that a request names. */
export const AskedQuestionRef = QuestionRefSchema.check(ofNamedUser)

/** `lexical` compares words and asks no model; `model` asks the judge. Their figures never stand in one table. */
export const JudgeKind = Schema.Literals(["lexical", "model"])
export type JudgeKind = typeof JudgeKind.Type

/** What a judgement job's worker is told; the answer's text stands in the call store under the question's user. */
export const JudgementInput = Schema.Struct({
  question: QuestionRefSchema,
  callKey: Schema.NonEmptyString,
  judge: JudgeKind,
  /** Name of the model that judges, at the endpoint that is set for it; absent = the model that is set. Nothing to the lexical judge. */
  model: Schema.optionalKey(Schema.NonEmptyString),
  /** Which sample of an answer is judged; tells the votes of one answer apart from those of another. */
  sample: Sample
})
export type JudgementInput = typeof JudgementInput.Type

/** What a settled judgement says. The judge's reason holds words of the question and stands in the call store. */
export const JudgementData = Schema.Struct({
  verdict: Verdict,
  judge: JudgeKind,
  /** Keys of the judge's calls, one a vote; empty for the lexical judge. */
  calls: Schema.Array(Schema.String),
  promptTokens: Schema.Int,
  completionTokens: Schema.Int,
  /** Calls answered from the store. */
  reused: Schema.Int
})
export type JudgementData = typeof JudgementData.Type

/** Answers to judge outside a run, in any number up to 256. */
export const JudgeRequest = Schema.Struct({
  tenant: Name,
  /** Absent = as the evaluator is set. */
  judge: Schema.optionalKey(JudgeKind),
  /** Name of the model that judges, at the endpoint that is set for it; absent = the model that is set. Nothing to the lexical judge. */
  model: Schema.optionalKey(Schema.NonEmptyString),
  answers: Schema.Array(Schema.Struct({ question: AskedQuestionRef, response: Schema.String })).check(Schema.isMaxLength(256))
})
export type JudgeRequest = typeof JudgeRequest.Type

/** In the order asked. */
export const JudgeReply = Schema.Struct({
  judge: JudgeKind,
  /** Name of the model that judged; absent where words were compared, or the endpoint does not say. */
  model: Schema.optionalKey(Schema.String),
  verdicts: Schema.Array(Schema.Struct({ verdict: Verdict, reason: Schema.String }))
})
export type JudgeReply = typeof JudgeReply.Type
