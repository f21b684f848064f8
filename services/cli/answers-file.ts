/**
 * The JSONL file that `metamem infer` writes, a line an answer in the published system's fields, and goes on with. It belongs to one
 * generation and one data set: a file of anything else is left as it is.
 */
import { existsSync, readFileSync } from "node:fs"
import { Effect, Option, Schema } from "effect"
import { type Question, Verdict } from "#shared/domain/question"
import { CommandFailed } from "./root.ts"

export const AnswerLine = Schema.Struct({
  question_id: Schema.String,
  /** What the answer was asked with; absent in lines of earlier versions, as is `memory_ids`. */
  prompt: Schema.optionalKey(Schema.String),
  problem: Schema.String,
  /** Their texts, each with its time before it; ids in lines of earlier versions. */
  memories: Schema.Array(Schema.String),
  memory_ids: Schema.optionalKey(Schema.Array(Schema.String)),
  principles: Schema.Array(Schema.String),
  groundtruth: Schema.String,
  task: Schema.String,
  response: Schema.String,
  /** Null where the answer could not be had or judged. */
  reward: Schema.NullOr(Schema.Literals([0, 1])),
  verdict: Verdict,
  reason: Schema.String,
  /** Name of the model that answered, and of the one that judged, if one did; absent in lines of earlier versions. */
  reader: Schema.optionalKey(Schema.String),
  judged_by: Schema.optionalKey(Schema.String),
  run: Schema.String,
  generation: Schema.Int
})
export type AnswerLine = typeof AnswerLine.Type

const decodeLine = Schema.decodeUnknownOption(Schema.fromJsonString(AnswerLine))

/**
 * Answers in a file that need not be asked for again, by question; errors are. A last line without its end was torn by an interruption.
 *
 * @param questions all of the data set, without a limit
 */
export const standingAnswers = (path: string, of: { readonly run: string; readonly generation: number }, questions: ReadonlyArray<Question>): Effect.Effect<ReadonlyMap<string, AnswerLine>, CommandFailed> =>
  Effect.gen(function*() {
    const standing = new Map<string, AnswerLine>()
    if (!existsSync(path)) return standing
    const refuse = (why: string) => new CommandFailed({ message: `${path} ${why}; it is left as it is: give another --out` })
    const text = yield* Effect.try({ try: () => readFileSync(path, "utf8"), catch: (error) => new CommandFailed({ message: `${path} cannot be read: ${(error as Error).message}` }) })
    const known = new Map(questions.map((question) => [question.id, question]))
    const lines = text.split("\n")
    // What follows the last line end: nothing, or what an interruption has torn.
    const torn = lines.pop() ?? ""
    if (lines.length === 0 && torn !== "" && !torn.startsWith("{\"question_id\"")) return yield* refuse("is no file of answers")
    for (const [at, line] of lines.entries()) {
      const row = Option.getOrUndefined(decodeLine(line))
      if (row === undefined) return yield* refuse(`is no file of answers: line ${at + 1} is not one`)
      if (row.run !== of.run || row.generation !== of.generation) return yield* refuse(`holds answers under generation ${row.generation} of ${row.run}`)
      const question = known.get(row.question_id)
      if (question === undefined || question.text !== row.problem || question.answer !== row.groundtruth) return yield* refuse(`holds an answer to ${row.question_id}, which is not a question of this data set, or another one there`)
      if (row.verdict !== "error") standing.set(row.question_id, row)
    }
    return standing
  })
