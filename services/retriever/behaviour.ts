/** Answers and feedback of one user: an answer is recorded once, and feedback needs an answer to be about. */
import { Result } from "effect"
import type { Behaviour } from "#shared/actor/behaviour"
import { retrieverCodec, type RetrieverCommand, type RetrieverEvent, UnknownAnswer } from "./protocol.ts"

export interface RetrieverState {
  /** Answer id → the last feedback on it, if any. */
  readonly answers: Map<string, { readonly verdict: "correct" | "incorrect"; readonly comment: string } | undefined>
}

export const behaviour: Behaviour<RetrieverState, RetrieverCommand, RetrieverEvent, UnknownAnswer> = {
  codec: retrieverCodec,
  initial: () => ({ answers: new Map() }),
  decide: (state, command) => {
    switch (command._tag) {
      case "RecordAnswer":
        return Result.succeed(state.answers.has(command.event.answer) ? [] : [command.event])
      case "RecordFeedback": {
        if (!state.answers.has(command.answer)) {
          return Result.fail(new UnknownAnswer({ answer: command.answer, message: `no answer ${command.answer} was given to this user; \`metamem ask --json\` prints the id as answerId` }))
        }
        const last = state.answers.get(command.answer)
        const comment = command.comment.trim()
        // Saying it again adds nothing, but for the right answer when it was not told before.
        if (last?.verdict === command.verdict && (comment === "" || comment === last.comment.trim())) return Result.succeed([])
        return Result.succeed([{ _tag: "FeedbackReceived", answer: command.answer, verdict: command.verdict, comment }])
      }
    }
  },
  evolve: (state, event) => {
    switch (event._tag) {
      case "AnswerGiven":
        state.answers.set(event.answer, undefined)
        return state
      case "FeedbackReceived":
        state.answers.set(event.answer, { verdict: event.verdict, comment: event.comment })
        return state
    }
  }
}
