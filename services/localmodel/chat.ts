/** Chat completions: from a checked request to the reply in OpenAI's shape, whole or as a stream of events. */
import { randomInt, randomUUID } from "node:crypto"
import { Clock, Effect, Queue, type Scope, Stream } from "effect"
import { ApiError, contextTooLong, errorBody } from "./api-error.ts"
import type { Dispatch } from "./dispatch.ts"
import type { Generated, Generation, Lane } from "./lane.ts"
import type { LoadedModel } from "./model.ts"
import { type ChatRequest, samplerSeed } from "./request.ts"

/** The name every model answers to besides its own. */
export const commonName = "local"

const usageOf = ({ cachedTokens, promptTokens, replyTokens }: Generated) => ({
  prompt_tokens: promptTokens,
  completion_tokens: replyTokens,
  total_tokens: promptTokens + replyTokens,
  prompt_tokens_details: { cached_tokens: cachedTokens }
})

const event = (data: unknown): Uint8Array => Buffer.from(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`)

/** A request with a lane to itself. */
interface Started {
  readonly lane: Lane
  readonly generation: Generation
  /** What the whole reply and each part of a stream begin with. */
  readonly head: (object: string) => object
}

export interface Chat {
  /** Waits for a lane, which is the request's until its scope ends. Refusals come before anything is generated. */
  readonly start: (request: ChatRequest) => Effect.Effect<Started, ApiError, Scope.Scope>
  readonly whole: (started: Started) => Effect.Effect<unknown, ApiError>
  readonly stream: (started: Started, includeUsage: boolean) => Stream.Stream<Uint8Array>
}

export const makeChat = (model: LoadedModel, dispatch: Dispatch<Lane>): Chat => ({
  start: Effect.fnUntraced(function*(request: ChatRequest) {
    if (request.model !== model.name && request.model !== commonName) {
      return yield* new ApiError({ status: 404, code: "model_not_found", message: `there is no model "${request.model}" here, only "${model.name}" (or "${commonName}")` })
    }
    const prompt = yield* model.promptOf(request.messages)
    // The last place of a context is the library's own, and a reply has at least one token.
    const room = model.contextTokens - 1 - prompt.length
    if (room < 1) return yield* contextTooLong(prompt.length, model.contextTokens)
    const lane = yield* dispatch.take(prompt)
    const created = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const id = `chatcmpl-${randomUUID()}`
    return {
      lane,
      generation: {
        prompt,
        maxTokens: Math.min(request.maxTokens, room),
        temperature: request.temperature,
        topP: request.topP,
        seed: samplerSeed(request.seed ?? randomInt(2 ** 32)),
        stops: request.stops,
        grammar: request.grammar
      },
      head: (object) => ({ id, object, created, model: model.name, system_fingerprint: model.fingerprint })
    }
  }),

  whole: ({ generation, head, lane }) =>
    Effect.map(lane.generate(generation, () => {}), (generated) => ({
      ...head("chat.completion"),
      choices: [{ index: 0, message: { role: "assistant", content: generated.text, refusal: null }, logprobs: null, finish_reason: generated.finishReason }],
      usage: usageOf(generated)
    })),

  stream: ({ generation, head, lane }, includeUsage) =>
    // At most one event a token: the reply's limit bounds the queue.
    Stream.callback<Uint8Array>((queue) => {
      const chunk = (delta: object, finishReason: string | null) =>
        Queue.offerUnsafe(queue, event({
          ...head("chat.completion.chunk"),
          choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
          ...(includeUsage ? { usage: null } : {})
        }))
      return Effect.gen(function*() {
        chunk({ role: "assistant", content: "" }, null)
        const generated = yield* lane.generate(generation, (content) => chunk({ content }, null))
        chunk({}, generated.finishReason)
        if (includeUsage) Queue.offerUnsafe(queue, event({ ...head("chat.completion.chunk"), choices: [], usage: usageOf(generated) }))
        Queue.offerUnsafe(queue, event("[DONE]"))
      }).pipe(
        Effect.catch((error) => Effect.sync(() => Queue.offerUnsafe(queue, event(errorBody(error))))),
        Effect.andThen(Queue.end(queue))
      )
    }, { bufferSize: Number.MAX_SAFE_INTEGER })
})
