/** Chat requests as they come in, checked once: everything behind this file is typed. */
import { Result, Schema } from "effect"
import { type ApiError, badRequest } from "./api-error.ts"
import { objectGrammar, schemaGrammar } from "./json-grammar.ts"

/** Bytes of a request's body. */
export const bodyLimitBytes = 1_048_576
/** Tokens of a reply to a request that names no limit. */
const defaultReplyTokens = 512

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant"
  readonly text: string
}

/** What is to be generated. */
export interface ChatRequest {
  readonly model: string
  readonly messages: ReadonlyArray<ChatMessage>
  /** 0 is the likeliest token each time. */
  readonly temperature: number
  readonly topP: number
  readonly maxTokens: number
  /** Undefined: a new one each time. */
  readonly seed: number | undefined
  readonly stops: ReadonlyArray<string>
  /** GBNF; undefined is free text. */
  readonly grammar: string | undefined
  readonly stream: boolean
  readonly includeUsage: boolean
}

const optional = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))
const between = (minimum: number, maximum: number) => Schema.Finite.check(Schema.isBetween({ minimum, maximum }))
const tokenCount = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 }))
const stopText = Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(200))

const Body = Schema.Struct({
  model: Schema.String,
  messages: Schema.Array(Schema.Struct({
    role: Schema.Literals(["system", "developer", "user", "assistant"]),
    content: Schema.Union([Schema.String, Schema.Array(Schema.Struct({ type: Schema.Literal("text"), text: Schema.String }))])
  })).check(Schema.isMinLength(1), Schema.isMaxLength(1_000)),
  temperature: optional(between(0, 2)),
  top_p: optional(between(0, 1)),
  max_tokens: optional(tokenCount),
  max_completion_tokens: optional(tokenCount),
  seed: optional(Schema.Int),
  stop: optional(Schema.Union([stopText, Schema.Array(stopText).check(Schema.isMaxLength(16))])),
  stream: optional(Schema.Boolean),
  stream_options: optional(Schema.Struct({ include_usage: optional(Schema.Boolean) })),
  response_format: optional(Schema.Union([
    Schema.Struct({ type: Schema.Literals(["text", "json_object"]) }),
    Schema.Struct({ type: Schema.Literal("json_schema"), json_schema: Schema.Struct({ schema: Schema.Unknown }) })
  ])),
  // Accepted only where they ask for nothing, since leaving them out silently would change what the caller gets.
  n: optional(Schema.Literal(1)),
  logprobs: optional(Schema.Literal(false)),
  presence_penalty: optional(Schema.Literal(0)),
  frequency_penalty: optional(Schema.Literal(0)),
  tools: optional(Schema.Array(Schema.Never).check(Schema.isMaxLength(0)))
})
type Body = typeof Body.Type

const decodeBody = Schema.decodeUnknownResult(Body)
const parse = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

const grammarOf = (format: Body["response_format"]): Result.Result<string | undefined, ApiError> => {
  if (format?.type === "json_schema") return schemaGrammar(format.json_schema.schema)
  return Result.succeed(format?.type === "json_object" ? objectGrammar : undefined)
}

/** Reads the text of a request's body. */
export const readChatRequest = (text: string): Result.Result<ChatRequest, ApiError> =>
  Result.gen(function*() {
    const json = yield* Result.mapError(parse(text), () => badRequest("invalid_json", "the request's body is not JSON; send the whole body with Content-Length or chunked"))
    const body = yield* Result.mapError(decodeBody(json), (error) => badRequest("invalid_request", `the request cannot be served here: ${error.message.replaceAll(/\s+/g, " ")}`))
    const grammar = yield* grammarOf(body.response_format)
    return {
      model: body.model,
      messages: body.messages.map(({ content, role }) => ({
        role: role === "developer" ? "system" : role,
        text: typeof content === "string" ? content : content.map((part) => part.text).join("")
      })),
      temperature: body.temperature ?? 1,
      topP: body.top_p ?? 1,
      maxTokens: body.max_completion_tokens ?? body.max_tokens ?? defaultReplyTokens,
      seed: body.seed ?? undefined,
      stops: typeof body.stop === "string" ? [body.stop] : (body.stop ?? []),
      grammar,
      stream: body.stream ?? false,
      includeUsage: body.stream_options?.include_usage ?? false
    }
  })

/** A seed of any size as the 32 bits the sampler has; the largest would mean "draw one". */
export const samplerSeed = (seed: number): number => {
  const high = Math.floor(Math.abs(seed) / 2 ** 32)
  const bits = (Math.abs(seed) ^ Math.imul(high, 0x9e3779b1) ^ (seed < 0 ? 0x5bd1e995 : 0)) >>> 0
  return bits === 0xffffffff ? 0x7fffffff : bits
}
