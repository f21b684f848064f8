/** Who plays each role: the endpoint that is set, or the model on this machine; and what it is called. */
import { Effect } from "effect"
import type { Patience } from "./after-failure.ts"
import type { Failure } from "./endpoint.ts"
import { EndpointUnavailable, ModelError, NoEndpoint, Unauthorised, Unreachable } from "./errors.ts"
import type { Exchanges, Player } from "./exchange.ts"
import { adaptiveLimit } from "./limits.ts"
import { type Role, type RoleSettings, roles, settingOf } from "./roles.ts"

/** What plays a role. */
export interface Casting {
  readonly role: Role
  /** None of a local model that was not needed yet. */
  readonly urls: ReadonlyArray<string>
  /** Name of the setting they were set with. */
  readonly urlSetting: string
  /** The first role that the same model plays, at the same addresses with the same key. */
  readonly sameAs: Role
  /** As set; undefined = the first the endpoint lists. */
  readonly model: string | undefined
  /** True for the model on this machine, used where no endpoint is set. */
  readonly isLocal: boolean
  readonly concurrency: number
  /** Most tokens of a reply, where a request does not say. */
  readonly maxTokens: number
}

/** The model on this machine, for roles without an endpoint. */
export interface LocalModel {
  /** Its address, once it is loaded: the first who asks starts it. */
  readonly url: Effect.Effect<string, { readonly message: string }>
  readonly model: string
  readonly concurrency: number
}

export const makePlayers = (all: Readonly<Record<Role, RoleSettings>>, exchanges: Exchanges, patience: Patience, local: LocalModel | undefined) => {
  const listed = new Map<Role, string>()

  const cast = (role: Role): Player => {
    const set = all[role]
    const isLocal = set.urls.length === 0 && local !== undefined
    const own = isLocal ? { ...set, model: local.model, key: undefined, concurrency: Math.min(set.concurrency, local.concurrency), price: { in: 0, out: 0 } } : set
    return { settings: own, isLocal, replicas: own.urls.map((url) => exchanges.replica(url, own.key)), limit: adaptiveLimit(own.concurrency) }
  }
  const players = Object.fromEntries(roles.map((role) => [role, cast(role)])) as Record<Role, Player>

  const isPlayed = (role: Role): boolean => players[role].isLocal || players[role].replicas.length > 0
  const unplayed = (role: Role, why = ""): ModelError =>
    new ModelError({ role, reason: new NoEndpoint({ message: `no model plays this role${why}. Set ${settingOf(role, "URL")} or METAMEM_LLM_URL to an OpenAI-compatible endpoint, or use the local model.` }), requests: 0 })

  /** Who plays a role; a local model is loaded first. */
  const playing = Effect.fnUntraced(function*(role: Role): Effect.fn.Return<Player, ModelError> {
    const player = players[role]
    if (player.replicas.length > 0) return player
    if (local === undefined || !player.isLocal) return yield* unplayed(role)
    const url = yield* Effect.mapError(local.url, ({ message }) => unplayed(role, `: ${message.replace(/\.$/, "")}`))
    return players[role] = { ...player, settings: { ...player.settings, urls: [url] }, replicas: [exchanges.replica(url, undefined)] }
  })

  const loaded = local === undefined || !roles.some((role) => players[role].isLocal) ? Effect.void : Effect.ignore(local.url)

  const listModels = (player: Player, at: number) => {
    const replica = player.replicas[at % player.replicas.length]!
    return Effect.promise((signal) => replica.endpoint.models(signal)).pipe(
      Effect.timeoutOrElse({ duration: player.settings.timeoutMs, orElse: () => Effect.succeed<{ readonly failure: Failure }>({ failure: { kind: "timedOut", message: "no answer within the time limit" } }) })
    )
  }

  const identity = Effect.fnUntraced(function*(role: Role): Effect.fn.Return<string, ModelError> {
    const known = isPlayed(role) ? (players[role].settings.model ?? listed.get(role)) : undefined
    if (known !== undefined) return known
    const player = yield* playing(role)
    let problem = ""
    let isUnreachable = false
    for (let tries = 0; tries < player.settings.tries; tries++) {
      if (tries > 0) yield* Effect.sleep(patience.backoffMs * 2 ** (tries - 1))
      const found = yield* listModels(player, tries)
      if ("failure" in found) yield* exchanges.failed(player, player.replicas[tries % player.replicas.length]!, found.failure)
      if ("failure" in found && found.failure.kind === "unauthorised") {
        return yield* new ModelError({ role, reason: new Unauthorised({ message: `the endpoint at ${player.settings.urls.join(", ")} does not accept the key: ${found.failure.message}. Set ${settingOf(role, "KEY")}.` }), requests: 0 })
      }
      if ("models" in found && found.models[0] !== undefined) {
        listed.set(role, found.models[0])
        return found.models[0]
      }
      problem = "failure" in found ? found.failure.message : "it lists none"
      isUnreachable = "failure" in found && found.failure.isUnreachable === true
    }
    const message = `the endpoint at ${player.settings.urls.join(", ")} does not say which model it serves: ${problem}. See that it runs, or set ${settingOf(role, "MODEL")}.`
    return yield* new ModelError({ role, reason: isUnreachable ? new Unreachable({ message }) : new EndpointUnavailable({ message }), requests: 0 })
  })

  const offered = Effect.fnUntraced(function*(role: Role): Effect.fn.Return<ReadonlyArray<string>, ModelError> {
    const found = yield* listModels(yield* playing(role), 0)
    return "models" in found ? found.models : []
  })

  const casting = (role: Role): Casting | undefined => {
    const { isLocal, replicas, settings } = players[role]
    if (!isPlayed(role)) return undefined
    const sameAs = roles.find((other) => {
      const { isLocal: isAlsoLocal, replicas: theirs, settings: { model } } = players[other]
      if (isLocal || isAlsoLocal) return isLocal && isAlsoLocal
      return model === settings.model && theirs.length === replicas.length && theirs.every((replica, at) => replica === replicas[at])
    }) ?? role
    return { role, urls: settings.urls, urlSetting: settings.urlSetting, sameAs, model: settings.model, isLocal, concurrency: settings.concurrency, maxTokens: settings.maxTokens }
  }

  return { casting, identity, listModels, loaded, offered, playing }
}
export type Players = ReturnType<typeof makePlayers>
