/** `metamem feedback`: what somebody says of a live answer, recorded with the user it was given to. */
import { Effect, Option, Result, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, parseMemorySubject, requestSubject } from "#shared/eventlog/subjects"
import { answersConversation, retrieverCodec } from "#services/retriever/protocol"
import { withActors } from "./home.ts"
import { CommandFailed, emit, root, userFlag } from "./root.ts"

/** The answer whose id begins so, and whose it is. Fails where none or several do. */
const findAnswer = (tenant: string, begins: string, user: string | undefined) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const found = new Map<string, { readonly answer: string; readonly user: string }>()
    yield* log.read([memoryFilter({ tenant, ...(user === undefined ? {} : { user }), conversation: answersConversation, actor: "retriever" })]).pipe(
      Stream.runForEach((commit) =>
        Effect.gen(function*() {
          for (const stored of commit.events) {
            const event = retrieverCodec.decode(stored)
            if (Result.isFailure(event)) return yield* event.failure
            if (event.success._tag !== "AnswerGiven" || !event.success.answer.startsWith(begins)) continue
            const { user } = parseMemorySubject(commit.subject)
            found.set(`${user}\n${event.success.answer}`, { answer: event.success.answer, user })
          }
        })
      )
    )
    const [first, ...others] = found.values()
    if (first === undefined || begins === "") {
      return yield* new CommandFailed({ message: `no answer${user === undefined ? "" : ` given to ${user}`} has an id that begins with ${begins === "" ? "nothing" : begins}; \`metamem ask\` tells it below each answer, and with --json as answerId` })
    }
    if (others.length > 0) return yield* new CommandFailed({ message: `${others.length + 1} answers begin with ${begins}: give more of the id, or --user` })
    return first
  })

export const feedback = Command.make(
  "feedback",
  {
    answer: Argument.String("answer").pipe(Argument.withDescription("Id of the answer, or how it begins; `ask` tells it below each answer")),
    verdict: Argument.Literals("verdict", ["correct", "incorrect"]).pipe(Argument.withDescription("correct or incorrect")),
    comment: Argument.String("comment").pipe(Argument.withDescription("Of an incorrect answer, what the right one is"), Argument.withDefault("")),
    user: userFlag("Whose answer it is (default: whoever got it)").pipe(Flag.optional)
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const { answer, user } = yield* findAnswer(tenant, input.answer, Option.getOrUndefined(input.user))
      const reply = yield* request(requestSubject("retriever", "feedback"), { tenant, user, answer, verdict: input.verdict, comment: input.comment }, 10_000)
      yield* emit(reply as { readonly recorded: boolean }, ({ recorded }) =>
        !recorded ? "nothing was changed: the same was said before" : input.verdict === "incorrect" && input.comment.trim() === "" ? "recorded; more can be learnt from it when the right answer is told too" : "recorded")
    }).pipe(withActors(["retriever"]))
).pipe(Command.withDescription("Say whether an answer was right"))
