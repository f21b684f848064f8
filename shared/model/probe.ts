/** Asks every replica of a role what it can do, at the price of one or a few tiny requests each. Fails at once where nothing listens. */
import { Clock, Effect } from "effect"
import { ModelError, Unreachable } from "./errors.ts"
import { type Exchanges, placeOf, type Player } from "./exchange.ts"
import type { Players } from "./players.ts"
import type { Role } from "./roles.ts"

/** What one address was found to do. */
export interface Probe {
  readonly url: string
  readonly models: ReadonlyArray<string>
  readonly model: string
  /** Follows a JSON schema. */
  readonly jsonSchema: boolean
  /** Accepts to be told not to reason. */
  readonly thinkingSwitch: boolean
  /** Counts tokens. */
  readonly usage: boolean
  readonly latencyMs: number
}

const probeSchema = { type: "object", additionalProperties: false, required: ["ok"], properties: { ok: { type: "boolean" } } }
/** Held to the schema, a reply is this and nothing else. */
const isProbeReply = (text: string): boolean => /^\s*\{\s*"ok"\s*:\s*(?:true|false)\s*\}\s*$/.test(text)

export const makeProbe = ({ exchanges, identity, listModels, playing }: Pick<Players, "identity" | "listModels" | "playing"> & { readonly exchanges: Exchanges }) =>
  Effect.fnUntraced(function*(role: Role): Effect.fn.Return<ReadonlyArray<Probe>, ModelError> {
    const player = yield* playing(role)
    const lists = yield* Effect.forEach(player.replicas, (_, at) => listModels(player, at), { concurrency: 16 })
    // Whoever asks what is there wants to know now; only work waits for an endpoint to come back.
    for (const [at, list] of lists.entries()) {
      if ("failure" in list && list.failure.isUnreachable === true) {
        const message = `${placeOf(player, player.replicas[at]!)} cannot be reached: ${list.failure.message}.`
        return yield* new ModelError({ role, reason: new Unreachable({ message }), requests: 0 })
      }
    }
    const model = yield* identity(role)
    const found: Array<Probe> = []
    for (const [at, replica] of player.replicas.entries()) {
      const models = lists[at] ?? { models: [] }
      const started = yield* Clock.currentTimeMillis
      const alone: Player = { ...player, replicas: [replica] }
      const { capabilities, completion, learnt } = yield* exchanges.run(
        alone,
        {
          model,
          messages: [{ role: "user", content: 'Reply with {"ok": true}' }],
          parameters: { temperature: 0, maxTokens: 64 },
          schema: { name: "probe", jsonSchema: probeSchema },
          seed: 0,
          headers: { "x-metamem-role": role, "x-metamem-call": "probe" }
        },
        { requests: 0 }
      )
      const follows = capabilities.format === "json_schema" && isProbeReply(completion.text)
      if (capabilities.format === "json_schema" && !follows && completion.finish !== "length") learnt.capabilities = { ...capabilities, format: "text" }
      found.push({
        url: replica.endpoint.url,
        models: "models" in models ? models.models : [],
        model,
        jsonSchema: follows,
        thinkingSwitch: capabilities.thinkingSwitch,
        usage: completion.usage !== undefined,
        latencyMs: (yield* Clock.currentTimeMillis) - started
      })
    }
    return found
  })
