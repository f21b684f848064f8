/**
 * One request to one address: builds what the endpoint is known to accept, sends it through the OpenAI client, and says by status
 * and code what came back. Retries, limits and the reading of replies are the caller's.
 */
import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError } from "openai"
import type { ChatCompletionCreateParamsNonStreaming, ChatCompletionMessageParam } from "openai/resources/chat/completions"
import { Redacted } from "effect"
import type { Message, Parameters, Usage } from "./call.ts"
import { keptAliveFetch } from "./transport.ts"

/** What an endpoint was found to accept with a model; starts with everything, and is lowered by what it turns down. */
export interface Capabilities {
  readonly format: "json_schema" | "json_object" | "text"
  /** `chat_template_kwargs` to switch reasoning off. */
  readonly thinkingSwitch: boolean
  readonly tokenLimit: "max_tokens" | "max_completion_tokens"
  /** A reply in pieces, with its tokens counted or not; `whole` = it does not stream. */
  readonly streaming: "counted" | "plain" | "whole"
}
export const allCapabilities: Capabilities = { format: "json_schema", thinkingSwitch: true, tokenLimit: "max_tokens", streaming: "counted" }

/** What is asked, whatever the endpoint accepts. */
export interface Ask {
  readonly model: string
  readonly messages: ReadonlyArray<Message>
  readonly parameters: Parameters & { readonly maxTokens: number }
  readonly schema: { readonly name: string; readonly jsonSchema: Readonly<Record<string, unknown>> | undefined }
  readonly seed: number
  /** `x-metamem-…` headers. */
  readonly headers: Readonly<Record<string, string>>
}

export interface EndpointRequest extends Ask {
  readonly capabilities: Capabilities
}

export interface Completion {
  /** What the model wrote; empty when the endpoint filed all of it under reasoning. */
  readonly text: string
  readonly reasoning: string
  readonly refusal: string | undefined
  readonly finish: string
  /** Undefined when the endpoint counts nothing. */
  readonly usage: Usage | undefined
}

/** A request that brought no completion. */
export interface Failure {
  readonly kind: "unavailable" | "rateLimited" | "timedOut" | "unauthorised" | "rejected" | "contextTooLong" | "refused"
  /** From the endpoint, freed of the key, at most 300 characters. */
  readonly message: string
  readonly retryAfterMs?: number
  /** No connection could be made. */
  readonly isUnreachable?: true
}

export type Outcome = { readonly _tag: "Completion"; readonly completion: Completion } | { readonly _tag: "Failure"; readonly failure: Failure }

const failed = (kind: Failure["kind"], message: string): Outcome => ({ _tag: "Failure", failure: { kind, message } })

/** Longest an endpoint may tell us to wait: 5 minutes. */
const retryAfterMaxMs = 300_000

/** Seconds, milliseconds or a date, as servers write it. @param nowMs wall clock */
export const retryAfterMs = (headers: Headers | undefined, nowMs: number): number | undefined => {
  const milliseconds = Number(headers?.get("retry-after-ms") ?? Number.NaN)
  if (Number.isFinite(milliseconds) && milliseconds >= 0) return Math.min(milliseconds, retryAfterMaxMs)
  const text = headers?.get("retry-after")
  if (text === undefined || text === null) return undefined
  const seconds = Number(text)
  const waitMs = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(text) - nowMs
  return Number.isFinite(waitMs) ? Math.min(Math.max(0, waitMs), retryAfterMaxMs) : undefined
}

/** Codes of connections that were never made, in words. */
const unconnected: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there", ENOTFOUND: "no host has this name", EAI_AGAIN: "the host's name cannot be looked up", EHOSTUNREACH: "no way leads to this host", ENETUNREACH: "no way leads to this host"
}
const contextWords = /context[ _]length|context window|maximum context|too many tokens|prompt is too long|input is too long|exceeds? (?:the )?(?:model|context|maximum)/i

/** A lower form of a request the endpoint turned down with this message; undefined when nothing is left to leave out. */
export const lowered = (sent: Capabilities, hasSchema: boolean, message: string): Capabilities | undefined => {
  if (sent.tokenLimit === "max_tokens" && message.includes("max_completion_tokens")) return { ...sent, tokenLimit: "max_completion_tokens" }
  if (sent.streaming === "counted" && /stream_options|include_usage/i.test(message)) return { ...sent, streaming: "plain" }
  if (sent.streaming !== "whole" && /\bstream(?:ing|s|ed)?\b/i.test(message)) return { ...sent, streaming: "whole" }
  const lowerFormat: Capabilities | undefined =
    !hasSchema || sent.format === "text" ? undefined : { ...sent, format: sent.format === "json_schema" ? "json_object" : "text" }
  if (/response_format|json_schema|json_object|json mode|guided|grammar|structured/i.test(message) && lowerFormat !== undefined) return lowerFormat
  return sent.thinkingSwitch ? { ...sent, thinkingSwitch: false } : lowerFormat
}

/** Said to a model that is not held to a schema by its endpoint. */
const instruction = (jsonSchema: Readonly<Record<string, unknown>>): string => `Reply with one JSON object that fits this JSON schema, and nothing else:\n${JSON.stringify(jsonSchema)}`

const withInstruction = (messages: ReadonlyArray<Message>, text: string): ReadonlyArray<Message> => {
  const [first, ...rest] = messages
  return first?.role === "system" ? [{ role: "system", content: `${first.content}\n\n${text}` }, ...rest] : [{ role: "system", content: text }, ...messages]
}

type Body = Omit<ChatCompletionCreateParamsNonStreaming, "stream"> & { readonly chat_template_kwargs?: { readonly enable_thinking: boolean } }

const bodyOf = (request: EndpointRequest): Body => {
  const { capabilities, parameters, schema } = request
  const messages = schema.jsonSchema === undefined || capabilities.format === "json_schema" ? request.messages : withInstruction(request.messages, instruction(schema.jsonSchema))
  return {
    model: request.model,
    messages: messages as Array<ChatCompletionMessageParam>,
    seed: request.seed,
    [capabilities.tokenLimit]: parameters.maxTokens,
    ...(parameters.temperature === undefined ? {} : { temperature: parameters.temperature }),
    ...(parameters.topP === undefined ? {} : { top_p: parameters.topP }),
    ...(parameters.stop === undefined ? {} : { stop: [...parameters.stop] }),
    ...(schema.jsonSchema === undefined || capabilities.format === "text"
      ? {}
      : capabilities.format === "json_schema"
        ? { response_format: { type: "json_schema", json_schema: { name: schema.name, strict: true, schema: { ...schema.jsonSchema } } } }
        : { response_format: { type: "json_object" } }),
    ...(capabilities.thinkingSwitch ? { chat_template_kwargs: { enable_thinking: false } } : {})
  }
}

/** Members that servers add to the client's types, or leave out of them. */
interface LooseMessage {
  readonly content?: string | null
  readonly refusal?: string | null
  readonly reasoning_content?: string | null
  readonly reasoning?: string | null
}

const usageOf = (usage: { readonly prompt_tokens?: number; readonly completion_tokens?: number } | null | undefined): Usage | undefined =>
  typeof usage?.prompt_tokens === "number" && typeof usage.completion_tokens === "number"
    ? { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens, estimated: false }
    : undefined

export interface Endpoint {
  /** Without user, password or query. */
  readonly url: string
  /** Never rejects. @param onText told each piece of text as it comes, which asks the endpoint to stream */
  readonly complete: (request: EndpointRequest, signal: AbortSignal, onText?: (piece: string) => void) => Promise<Outcome>
  /** Names of the models it serves, in its order. */
  readonly models: (signal: AbortSignal) => Promise<{ readonly models: ReadonlyArray<string> } | { readonly failure: Failure }>
}

const ownHeader = /^(?:accept|content-type|user-agent|x-metamem-[a-z]+)$/

/** Sends our headers alone: the client adds those that OPENAI_CUSTOM_HEADERS names, and puts a key among them in the place of the role's. */
const fetchWith = (key: string): typeof keptAliveFetch => (input, init) => {
  const headers = new Headers([...new Headers(init?.headers)].filter(([name]) => ownHeader.test(name)))
  headers.set("authorization", `Bearer ${key}`)
  return keptAliveFetch(input, { ...init, headers })
}

/** @param nowMs wall clock, for endpoints that name a date to come back at */
export const makeEndpoint = (url: string, key: Redacted.Redacted<string> | undefined, nowMs: () => number): Endpoint => {
  const secret = key === undefined ? undefined : Redacted.value(key)
  const bearer = secret ?? "none"
  // Every value that the client would otherwise take from the environment is named.
  const client = new OpenAI({
    baseURL: url,
    apiKey: bearer,
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    logLevel: "off",
    maxRetries: 0,
    // Time limits are the caller's; this one only has to be later.
    timeout: 3_600_000,
    fetch: fetchWith(bearer)
  })

  const clean = (text: string): string => {
    const visible = secret === undefined || secret === "" ? text : text.replaceAll(secret, "…")
    return visible.replace(/\s+/g, " ").trim().slice(0, 300)
  }

  const translate = (error: unknown): Failure => {
    if (error instanceof APIConnectionTimeoutError) return { kind: "timedOut", message: "no answer within the time limit" }
    if (error instanceof APIConnectionError) {
      const cause = error.cause
      const code = cause instanceof Error && "code" in cause ? String(cause.code) : ""
      const what = unconnected[code]
      const told = cause instanceof Error && cause.message !== "" ? cause.message : code || error.message
      return what === undefined ? { kind: "unavailable", message: clean(`${code} ${told}`) } : { kind: "unavailable", message: clean(`${what} (${told})`), isUnreachable: true }
    }
    if (error instanceof APIError && typeof error.status === "number") {
      const message = clean(error.message)
      const waitMs = retryAfterMs(error.headers, nowMs())
      const wait = waitMs === undefined ? {} : { retryAfterMs: waitMs }
      if (error.status === 429) return { kind: "rateLimited", message, ...wait }
      if (error.status === 408) return { kind: "timedOut", message }
      if (error.status >= 500) return { kind: "unavailable", message, ...wait }
      if (error.status === 401 || error.status === 403) return { kind: "unauthorised", message }
      if (error.code === "context_length_exceeded" || error.status === 413 || contextWords.test(error.message)) return { kind: "contextTooLong", message }
      if (error.code === "content_filter" || error.code === "content_policy_violation") return { kind: "refused", message }
      return { kind: "rejected", message }
    }
    // A body that ends early or is no JSON: the request itself was accepted, and another may succeed.
    return { kind: "unavailable", message: clean(`the reply could not be read: ${error instanceof Error ? error.message : String(error)}`) }
  }

  const whole = async (request: EndpointRequest, signal: AbortSignal): Promise<Outcome> => {
    const reply: unknown = await client.chat.completions.create(bodyOf(request), { signal, headers: request.headers })
    if (typeof reply === "string") {
      return failed("unavailable", /<html|<!doctype/i.test(reply) ? "it answers with a web page; does the address end in /v1?" : `it answers with something other than JSON: ${clean(reply).slice(0, 80)}`)
    }
    const { choices, usage } = (reply ?? {}) as Partial<OpenAI.ChatCompletion>
    const choice = choices?.[0]
    if (choice?.message === undefined) return failed("unavailable", "its reply holds no message; is it an OpenAI-compatible chat endpoint?")
    const message: LooseMessage = choice.message
    return {
      _tag: "Completion",
      completion: {
        text: message.content ?? "",
        reasoning: message.reasoning_content ?? message.reasoning ?? "",
        refusal: message.refusal ?? (choice.finish_reason === "content_filter" ? "a filter held the reply back" : undefined),
        finish: choice.finish_reason ?? "",
        usage: usageOf(usage)
      }
    }
  }

  const streamed = async (request: EndpointRequest, signal: AbortSignal, onText: (piece: string) => void): Promise<Outcome> => {
    const counted = request.capabilities.streaming === "counted" ? { stream_options: { include_usage: true } } : {}
    const pieces = await client.chat.completions.create({ ...bodyOf(request), stream: true, ...counted }, { signal, headers: request.headers })
    let text = ""
    let reasoning = ""
    let refusal = ""
    let finish = ""
    let usage: Usage | undefined
    let isEmpty = true
    for await (const piece of pieces) {
      isEmpty = false
      usage = usageOf(piece.usage) ?? usage
      const choice = piece.choices?.[0]
      if (choice === undefined) continue
      const delta: LooseMessage = choice.delta ?? {}
      reasoning += delta.reasoning_content ?? delta.reasoning ?? ""
      refusal += delta.refusal ?? ""
      finish = choice.finish_reason ?? finish
      if (typeof delta.content === "string" && delta.content !== "") {
        text += delta.content
        onText(delta.content)
      }
    }
    // A whole reply in spite of the request reads as a stream of nothing.
    if (isEmpty) return failed("rejected", "it does not stream")
    if (finish === "") return failed("unavailable", "the reply broke off before its end")
    return { _tag: "Completion", completion: { text, reasoning, refusal: refusal === "" ? undefined : refusal, finish, usage } }
  }

  return {
    url,
    complete: (request, signal, onText) =>
      (onText === undefined || request.capabilities.streaming === "whole" ? whole(request, signal) : streamed(request, signal, onText)).catch((error: unknown) => ({ _tag: "Failure", failure: translate(error) })),
    models: async (signal) => {
      try {
        const page: unknown = await client.models.list({ signal })
        const data = (page as { readonly data?: ReadonlyArray<{ readonly id?: unknown }> } | undefined)?.data
        return { models: (Array.isArray(data) ? data : []).flatMap(({ id }) => (typeof id === "string" ? [id] : [])) }
      } catch (error) {
        return { failure: translate(error) }
      }
    }
  }
}
