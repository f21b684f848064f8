/** What the endpoint answers when it cannot do what was asked, in the shape OpenAI's clients know. */
import { Schema } from "effect"

/** A request that was refused or failed. `code` is for programs, `message` says what to change. */
export class ApiError extends Schema.TaggedError<ApiError>()("ApiError", {
  status: Schema.Int,
  code: Schema.String,
  message: Schema.String,
  /** When to come again, in seconds; only where waiting helps. */
  retryAfterSeconds: Schema.optionalKey(Schema.Int)
}) {}

const typeOf = (status: number): string =>
  status === 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error"

/** The body of a refusal. */
export const errorBody = ({ code, message, status }: ApiError) => ({ error: { message, type: typeOf(status), param: null, code } })

export const badRequest = (code: string, message: string): ApiError => new ApiError({ status: 400, code, message })

export const contextTooLong = (promptTokens: number, contextTokens: number): ApiError =>
  badRequest(
    "context_length_exceeded",
    `the messages are ${promptTokens} tokens, and this model's context holds ${contextTokens}, the reply included: ` +
      "shorten them (fewer memories in the evidence), or raise METAMEM_LOCAL_CONTEXT_TOKENS"
  )
