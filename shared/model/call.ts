/**
 * A call: one request to a model, identified by the hash of everything that determines its reply, so that the same question is
 * never paid for twice and a replay finds what was said.
 */
import { createHash } from "node:crypto"
import { Schema } from "effect"
import { canonicalJson } from "#shared/domain/canonical-json"
import type { ReplyOf, ReplySchema } from "./reply-schemas.ts"
import { Role } from "./roles.ts"

export interface Message {
  readonly role: "system" | "user" | "assistant"
  readonly content: string
}

/** How to sample; what is left out is the endpoint's default, but for `maxTokens`, which is the role's setting. */
export interface Parameters {
  /** From 0, which is greedy. */
  readonly temperature?: number
  /** In (0, 1]. */
  readonly topP?: number
  readonly maxTokens?: number
  readonly stop?: ReadonlyArray<string>
}

/** Which of many samples of one prompt this is. */
export const Sample = Schema.Struct({
  runSeed: Schema.Int,
  purpose: Schema.Literals(["rollout", "gate", "report", "live"]),
  /** How often the question's scope was drawn anew. */
  draw: Schema.Int,
  question: Schema.String,
  sample: Schema.Int
})
export type Sample = typeof Sample.Type

/** What a call's cost is counted under; no part of its identity. */
export const CallTags = Schema.Struct({ run: Schema.optionalKey(Schema.String), step: Schema.optionalKey(Schema.Int), principle: Schema.optionalKey(Schema.String) })
export type CallTags = typeof CallTags.Type

export interface CallRequest<R extends Role = Role> {
  readonly role: R
  /** Another model at the role's endpoint, by name; absent = the one that is set. */
  readonly model?: string
  readonly messages: ReadonlyArray<Message>
  readonly parameters?: Parameters
  /** A narrower reply than the role's, such as fewer scopes on offer. */
  readonly schema?: ReplySchema<ReplyOf<R>>
  readonly tenant: string
  /** The user whose text is in the messages, or the run; where the reply is kept, and erased. */
  readonly scope: string
  /** Hash or name of the prompt's template; recorded with the reply. */
  readonly templateVersion: string
  /** Ids of what was put into the prompt; recorded with the reply. */
  readonly inputs?: ReadonlyArray<string>
  /** Absent = the one reply of this prompt. */
  readonly sample?: Sample
  readonly tags?: CallTags
}

/** Tokens of one call, over all its requests that were answered. */
export const Usage = Schema.Struct({
  promptTokens: Schema.Int,
  completionTokens: Schema.Int,
  /** True when the endpoint gave no counts and four characters were taken for a token. */
  estimated: Schema.Boolean
})
export type Usage = typeof Usage.Type

/** A validated reply as it is kept. The prompt is not in it: inputs and template say what it was. */
export const StoredCall = Schema.Struct({
  version: Schema.Literal(1),
  key: Schema.String,
  role: Role,
  model: Schema.String,
  /** Name and version of the reply's schema. */
  schema: Schema.String,
  templateVersion: Schema.String,
  inputs: Schema.Array(Schema.String),
  sample: Schema.optionalKey(Sample),
  tags: CallTags,
  /** The reply without reasoning blocks. */
  text: Schema.String,
  /** True when the reply ended at the token limit. */
  truncated: Schema.Boolean,
  usage: Usage,
  /** From the first request to the validated reply, waits included. */
  latencyMs: Schema.Finite,
  /** Requests sent for it, failed ones included. */
  requests: Schema.Int
})
export type StoredCall = typeof StoredCall.Type

/** SHA-256 in hex. @param model identity of the model that replies, @param maxTokens where the request names none */
export const callKey = (request: CallRequest, model: string, schema: ReplySchema<unknown>, maxTokens: number): string =>
  createHash("sha256")
    .update(
      canonicalJson({
        role: request.role,
        model,
        messages: request.messages.map(({ content, role }) => ({ role, content })),
        parameters: {
          temperature: request.parameters?.temperature,
          topP: request.parameters?.topP,
          maxTokens: request.parameters?.maxTokens ?? maxTokens,
          stop: request.parameters?.stop
        },
        schema: { name: schema.name, version: schema.version, json: schema.jsonSchema },
        sample: request.sample
      })
    )
    .digest("hex")

/** The `seed` sent with a request, in [0, 2³¹). @param again number of the request after a reply that could not be used, from 0 */
export const seedOf = (key: string, again: number): number => ((Number.parseInt(key.slice(0, 8), 16) & 0x7fff_ffff) + again) % 0x8000_0000
