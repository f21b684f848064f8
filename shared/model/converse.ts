/** Gets a reply that fits its schema, telling the model once what was wrong with its first. */
import { Effect, Result } from "effect"
import { type CallRequest, type Message, seedOf } from "./call.ts"
import type { Completion } from "./endpoint.ts"
import { BadReply, ModelError, type ModelFailure, Refused } from "./errors.ts"
import type { Exchanges, Listener, Player, Tally } from "./exchange.ts"
import { findJson, withoutReasoning } from "./reply-text.ts"
import type { ReplySchema } from "./reply-schemas.ts"
import { settingOf } from "./roles.ts"

/** Replies without JSON in a row, although a schema was sent, after which the schema is put into the prompt. */
const ignoredMax = 8
/** Longest piece of an unusable reply shown to the model again, in characters. */
const shownMax = 2_000

/** A call with what determines it. */
export interface Keyed<A> {
  readonly player: Player
  readonly model: string
  readonly schema: ReplySchema<A>
  readonly key: string
}

export interface Spent {
  promptTokens: number
  completionTokens: number
  estimated: boolean
}

/** Adds what a completion cost; four characters are taken for a token where the endpoint does not count. */
const spend = (tally: Spent, completion: Completion, messages: ReadonlyArray<Message>): void => {
  const { usage } = completion
  tally.promptTokens += usage?.promptTokens ?? Math.ceil(messages.reduce((sum, { content }) => sum + content.length, 0) / 4)
  tally.completionTokens += usage?.completionTokens ?? Math.ceil((completion.text.length + completion.reasoning.length) / 4)
  if (usage === undefined) tally.estimated = true
}

/** The reply proper; undefined when there is none. Some servers file a whole reply under reasoning, which is then taken for it. */
const replyText = ({ finish, reasoning, text }: Completion): string | undefined => {
  const reply = withoutReasoning(text)
  if (reply !== undefined && reply !== "") return reply
  return reply === undefined || finish === "length" || reasoning.trim() === "" ? undefined : withoutReasoning(reasoning)
}

const complaint = (text: string | undefined, problem: string, jsonSchema: ReplySchema<unknown>["jsonSchema"]): ReadonlyArray<Message> => [
  ...(text === undefined || text.trim() === "" ? [] : [{ role: "assistant" as const, content: text.slice(0, shownMax) }]),
  {
    role: "user",
    content:
      `Your reply could not be used: ${problem.slice(0, shownMax)}.` +
      (jsonSchema === undefined ? " Reply again, in plain text." : ` Reply again, with one JSON object that fits this JSON schema and nothing else:\n${JSON.stringify(jsonSchema)}`)
  }
]

export const converse = Effect.fnUntraced(function*<A>(
  exchanges: Exchanges,
  request: CallRequest,
  { key, model, player, schema }: Keyed<A>,
  tally: Tally & Spent,
  listener: Listener | undefined
): Effect.fn.Return<{ readonly value: A; readonly text: string; readonly truncated: boolean }, ModelError> {
  const limit = request.parameters?.maxTokens ?? player.settings.maxTokens
  let messages: ReadonlyArray<Message> = request.messages
  let maxTokens = limit
  for (let again = 0;; again++) {
    const { capabilities, completion, learnt } = yield* exchanges.run(
      player,
      {
        model,
        messages,
        parameters: { ...request.parameters, maxTokens },
        schema,
        seed: seedOf(key, again),
        headers: { "x-metamem-role": request.role, "x-metamem-call": again === 0 ? key : `${key}.${again}` }
      },
      tally,
      listener
    )
    spend(tally, completion, messages)
    const refuse = (reason: ModelFailure) => new ModelError({ role: request.role, reason, requests: tally.requests })
    if (completion.refusal !== undefined) {
      return yield* refuse(new Refused({ message: `"${model}" declined to reply: ${completion.refusal.slice(0, 200).replace(/[.\s]+$/, "")}. Change the text, or let another model play the role.` }))
    }
    const isCut = completion.finish === "length"
    const text = replyText(completion)
    const decoded = text === undefined ? Result.fail(isCut ? "nothing but reasoning came before the token limit" : "it is empty") : schema.decode(text)
    if (again === 0 && schema.jsonSchema !== undefined && capabilities.format === "json_schema") {
      learnt.ignored = Result.isSuccess(decoded) || isCut || findJson(text ?? "") !== undefined ? 0 : learnt.ignored + 1
      if (learnt.ignored >= ignoredMax) learnt.capabilities = { ...learnt.capabilities, format: "text" }
    }
    if (Result.isSuccess(decoded)) return { value: decoded.success, text: text ?? "", truncated: isCut }
    const problem = isCut && decoded.failure !== "" ? `${decoded.failure}; it was cut at ${maxTokens} tokens` : decoded.failure
    if (again === 1) {
      const excerpt = (text ?? completion.reasoning).replace(/\s+/g, " ").trim().slice(0, 200)
      return yield* refuse(
        new BadReply({ message: `"${model}" gave no usable reply, twice; the last time: ${problem}. Raise ${settingOf(request.role, "MAX_TOKENS")} if it was cut, or let a more able model play the role.`, excerpt })
      )
    }
    messages = [...request.messages, ...complaint(text, problem, schema.jsonSchema)]
    // A reply that was on its way gets the room to end; one of white space would only grow.
    if (isCut && (text ?? completion.reasoning).trim().length > completion.text.length / 2) maxTokens = limit * 2
  }
})
