/** Which questions are new. Once registered, a question never changes: another content under its id is refused, but for points that it had none of. */
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { canonicalJson } from "#shared/domain/canonical-json"
import type { Question } from "#shared/domain/question"
import { evaluatorCodec, type EvaluatorCommand, type EvaluatorEvent, QuestionChanged } from "./protocol.ts"

export interface EvaluatorState {
  readonly questions: Map<string, Question>
}

/** Names of the members in which two questions differ. */
const differences = (a: Question, b: Question): ReadonlyArray<string> =>
  [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((name) => canonicalJson(a[name as keyof Question]) !== canonicalJson(b[name as keyof Question]))
    .sort()

export const behaviour: Behaviour<EvaluatorState, EvaluatorCommand, EvaluatorEvent, QuestionChanged> = {
  codec: evaluatorCodec,
  initial: () => ({ questions: new Map() }),
  decide: (state, command) => {
    const events: Array<EvaluatorEvent> = []
    const fresh = new Map<string, Question>()
    for (const question of command.questions) {
      const known = fresh.get(question.id) ?? state.questions.get(question.id)
      if (known === undefined) {
        fresh.set(question.id, question)
        events.push({ _tag: "QuestionRegistered", ...question })
        continue
      }
      const differs = differences(known, question)
      if (differs.length === 1 && differs[0] === "points" && known.points === undefined) {
        fresh.set(question.id, question)
        events.push({ _tag: "QuestionRegistered", ...question })
        continue
      }
      // A file of before the points were read from it asks for nothing new.
      if (differs.length === 1 && differs[0] === "points" && question.points === undefined) continue
      if (differs.length > 0) {
        return Result.fail(
          new QuestionChanged({
            id: question.id,
            differs,
            message: `question ${question.id} is registered with another ${differs.join(", ")}. A changed data set needs a user of its own: let its hash be part of the user.`
          })
        )
      }
    }
    return Result.succeed(events)
  },
  evolve: (state, event) => {
    const { _tag, ...question } = event
    state.questions.set(question.id, question)
    return state
  }
}
