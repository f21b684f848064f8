/**
 * The one place for every call to a language model. A call that was answered before comes from the store; any other is sent, its
 * reply checked against the role's schema, kept, and counted.
 */
import { Cause, Clock, Config, Context, Effect, Exit, Layer, Option, Queue, Result, Stream } from "effect"
import { type CallRequest, callKey, type Message, seedOf, type StoredCall, type Usage } from "./call.ts"
import { CallStore, type CallStoreError, claimSeconds } from "./call-store.ts"
import type { Completion, Failure } from "./endpoint.ts"
import { equalCalls } from "./equal-calls.ts"
import { BadReply, EndpointUnavailable, ModelError, type ModelFailure, NoEndpoint, Refused, StoreUnavailable, Unauthorised, Unreachable } from "./errors.ts"
import { type Listener, makeExchanges, type Patience, type Player, type Tally } from "./exchange.ts"
import { costOf, type LedgerRow, makeLedger } from "./ledger.ts"
import { adaptiveLimit } from "./limits.ts"
import { findJson, visibleSoFar, withoutReasoning } from "./reply-text.ts"
import { type ReplyOf, type ReplySchema, replySchemas } from "./reply-schemas.ts"
import { type Role, roles, settingOf, settings } from "./roles.ts"

export interface ModelReply<A> {
  readonly value: A
  /** The reply as written, without reasoning blocks. */
  readonly text: string
  /** Id of the call; with tenant and scope where the reply is kept. */
  readonly key: string
  readonly model: string
  /** True when it came from the store and cost nothing now. */
  readonly reused: boolean
  /** True when it ended at the token limit. */
  readonly truncated: boolean
  /** What the call cost when it was made. */
  readonly usage: Usage
  /** Of this call now: 0 when reused. */
  readonly cost: number
  readonly latencyMs: number
  /** Requests sent now. */
  readonly requests: number
}

/** A reply as it comes. After `Restarted` all text before it is void. */
export type ReplyPart = { readonly _tag: "Text"; readonly text: string } | { readonly _tag: "Restarted" } | { readonly _tag: "Done"; readonly reply: ModelReply<string> }

/** What plays a role. */
export interface Casting {
  readonly role: Role
  readonly urls: ReadonlyArray<string>
  /** As set; undefined = the first the endpoint lists. */
  readonly model: string | undefined
  /** True for the model on this machine, used where no endpoint is set. */
  readonly isLocal: boolean
  readonly concurrency: number
}

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

/** The model on this machine, for roles without an endpoint. */
export interface LocalModel {
  readonly url: string
  readonly model: string
  readonly concurrency: number
}

export interface ModelsOptions {
  readonly local?: LocalModel
  readonly patience?: Patience
}

const usualPatience: Patience = { backoffMs: 500, closedMs: 30_000 }

export class Models extends Context.Service<Models, {
  readonly call: <R extends Role>(request: CallRequest<R>) => Effect.Effect<ModelReply<ReplyOf<R>>, ModelError>
  /** Key of a call, under which its reply stands once it was made; nothing is asked but, where no setting says it, which model there is. */
  readonly keyOf: (request: CallRequest) => Effect.Effect<string, ModelError>
  /** The same call as `call`, its text shown as it comes; the last part is `Done`. */
  readonly stream: (request: CallRequest<"answer">) => Stream.Stream<ReplyPart, ModelError>
  /** Asks every replica of a role what it can do, at the price of one or a few tiny requests each, and remembers it. */
  readonly probe: (role: Role) => Effect.Effect<ReadonlyArray<Probe>, ModelError>
  /** Name of the model that plays a role, asked of the endpoint once where no setting names it. */
  readonly identity: (role: Role) => Effect.Effect<string, ModelError>
  /** Undefined when nothing plays the role, so that a rule has to. */
  readonly casting: (role: Role) => Casting | undefined
  /** What calls of this process cost so far. */
  readonly usage: Effect.Effect<ReadonlyArray<LedgerRow>>
}>()("metamem/model/Models") {
  static readonly layer = (options: ModelsOptions = {}): Layer.Layer<Models, Config.ConfigError, CallStore> => Layer.effect(Models, make(options))
}

/** Replies without JSON in a row, although a schema was sent, after which the schema is put into the prompt. */
const ignoredMax = 8
/** Between two looks for the reply to a call that another process asks, in milliseconds: an eighth of the time waited so far, within these. */
const claimPollMs = { least: 20, most: 500 }
/** Longest piece of an unusable reply shown to the model again, in characters. */
const shownMax = 2_000

const make = Effect.fnUntraced(function*(options: ModelsOptions): Effect.fn.Return<Models["Service"], Config.ConfigError, CallStore> {
  const all = yield* settings
  const store = yield* CallStore
  const clock = yield* Clock.Clock
  const exchanges = makeExchanges(options.patience ?? usualPatience, () => clock.currentTimeMillisUnsafe())
  const ledger = makeLedger()
  const listed = new Map<Role, string>()
  const alone = equalCalls()

  const cast = (role: Role): Player => {
    const set = all[role]
    const { local } = options
    const isLocal = set.urls.length === 0 && local !== undefined
    const own = isLocal ? { ...set, urls: [local.url], model: local.model, key: undefined, concurrency: Math.min(set.concurrency, local.concurrency), price: { in: 0, out: 0 } } : set
    return { settings: own, isLocal, replicas: own.urls.map((url) => exchanges.replica(url, own.key)), limit: adaptiveLimit(own.concurrency) }
  }
  const players = Object.fromEntries(roles.map((role) => [role, cast(role)])) as Record<Role, Player>

  const playing = (role: Role): Effect.Effect<Player, ModelError> =>
    players[role].replicas.length > 0
      ? Effect.succeed(players[role])
      : Effect.fail(
          new ModelError({ role, reason: new NoEndpoint({ message: `no model plays this role. Set ${settingOf(role, "URL")} or METAMEM_LLM_URL to an OpenAI-compatible endpoint, or use the local model.` }), requests: 0 })
        )

  const listModels = (player: Player, at: number) => {
    const replica = player.replicas[at % player.replicas.length]!
    return Effect.promise((signal) => replica.endpoint.models(signal)).pipe(
      Effect.timeoutOrElse({ duration: player.settings.timeoutMs, orElse: () => Effect.succeed<{ readonly failure: Failure }>({ failure: { kind: "timedOut", message: "no answer within the time limit" } }) })
    )
  }

  const identity = Effect.fnUntraced(function*(role: Role): Effect.fn.Return<string, ModelError> {
    const player = yield* playing(role)
    const known = player.settings.model ?? listed.get(role)
    if (known !== undefined) return known
    let problem = ""
    let isUnreachable = false
    for (let tries = 0; tries < player.settings.tries; tries++) {
      if (tries > 0) yield* Effect.sleep((options.patience ?? usualPatience).backoffMs * 2 ** (tries - 1))
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

  /** Gets a reply that fits, telling the model once what was wrong with its first. */
  const converse = Effect.fnUntraced(function*<A>(
    request: CallRequest,
    player: Player,
    model: string,
    schema: ReplySchema<A>,
    key: string,
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
        return yield* refuse(new Refused({ message: `"${model}" declined to reply: ${completion.refusal.slice(0, 200)}. Change the text, or let another model play the role.` }))
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

  const keyed = Effect.fnUntraced(function*<R extends Role>(request: CallRequest<R>): Effect.fn.Return<Keyed<ReplyOf<R>>, ModelError> {
    const player = yield* playing(request.role)
    const model = yield* identity(request.role)
    const schema: ReplySchema<ReplyOf<R>> = request.schema ?? replySchemas[request.role]
    return { player, model, schema, key: callKey(request, model, schema, player.settings.maxTokens) }
  })

  const run = Effect.fnUntraced(function*<R extends Role>(request: CallRequest<R>, listener?: Listener): Effect.fn.Return<ModelReply<ReplyOf<R>>, ModelError> {
    const of = yield* keyed(request)
    // Who asks the same at once waits for the first, and finds its reply, or fails with it.
    return yield* alone(`${request.tenant}\n${request.scope}\n${of.key}`, runKeyed(request, of, listener), () =>
      ledger.add(request.role, request.tags, { failed: 1 }))
  })

  const runKeyed = Effect.fnUntraced(function*<R extends Role>(request: CallRequest<R>, of: Keyed<ReplyOf<R>>, listener: Listener | undefined): Effect.fn.Return<ModelReply<ReplyOf<R>>, ModelError> {
    const { key, schema } = of
    const found = Effect.mapError(store.get(request.tenant, request.scope, key), unkept(request.role))
    // Only the one reply of a prompt is asked for in several processes at once; who watches words come waits for nobody.
    const isShared = request.sample === undefined && listener === undefined
    let before = yield* found
    let claim = Option.isNone(before) && isShared ? yield* store.claim(request.tenant, request.scope, key) : Effect.void
    for (let waitedMs = 0; claim === undefined && Option.isNone(before) && waitedMs < claimSeconds * 1_000;) {
      const pauseMs = Math.min(claimPollMs.most, Math.max(claimPollMs.least, waitedMs / 8))
      yield* Effect.sleep(pauseMs)
      waitedMs += pauseMs
      before = yield* found
      if (Option.isNone(before)) claim = yield* store.claim(request.tenant, request.scope, key)
    }
    if (Option.isSome(before)) {
      ledger.add(request.role, request.tags, { reused: 1 })
      return { ...(yield* reread(before.value, schema)), reused: true, cost: 0, requests: 0 }
    }
    return yield* Effect.onError(askAndKeep(request, of, listener), () => claim ?? Effect.void)
  })

  const unkept = (role: Role) => (error: CallStoreError) => new ModelError({ role, reason: new StoreUnavailable({ message: `${error.message}. See that NATS runs; nothing was lost.` }), requests: 0 })

  const askAndKeep = Effect.fnUntraced(function*<R extends Role>(
    request: CallRequest<R>,
    { key, model, player, schema }: Keyed<ReplyOf<R>>,
    listener: Listener | undefined
  ): Effect.fn.Return<ModelReply<ReplyOf<R>>, ModelError> {
    const started = clock.currentTimeMillisUnsafe()
    const tally: Tally & Spent = { requests: 0, promptTokens: 0, completionTokens: 0, estimated: false }
    const usage = (): Usage => ({ promptTokens: tally.promptTokens, completionTokens: tally.completionTokens, estimated: tally.estimated })
    const count = (counts: { readonly calls?: number; readonly failed?: number }) =>
      ledger.add(request.role, request.tags, {
        ...counts,
        requests: tally.requests,
        promptTokens: tally.promptTokens,
        completionTokens: tally.completionTokens,
        cost: costOf(tally, player.settings.price),
        latencyMs: counts.calls === undefined ? 0 : clock.currentTimeMillisUnsafe() - started
      })
    const said = yield* converse(request, player, model, schema, key, tally, listener).pipe(
      Effect.onExit((exit) => Effect.sync(() => count(Exit.isSuccess(exit) ? { calls: 1 } : Cause.hasInterruptsOnly(exit.cause) ? {} : { failed: 1 })))
    )
    const call: StoredCall = {
      version: 1,
      key,
      role: request.role,
      model,
      schema: `${schema.name}@${schema.version}`,
      templateVersion: request.templateVersion,
      inputs: request.inputs ?? [],
      ...(request.sample === undefined ? {} : { sample: request.sample }),
      tags: request.tags ?? {},
      text: said.text,
      truncated: said.truncated,
      usage: usage(),
      latencyMs: clock.currentTimeMillisUnsafe() - started,
      requests: tally.requests
    }
    const kept = yield* Effect.mapError(store.put(request.tenant, request.scope, key, call), unkept(request.role))
    const paid = { reused: false, cost: costOf(tally, player.settings.price), requests: tally.requests }
    return kept === call
      ? { value: said.value, text: said.text, key, model, truncated: said.truncated, usage: call.usage, latencyMs: call.latencyMs, ...paid }
      : { ...(yield* reread(kept, schema)), usage: call.usage, ...paid }
  })

  const stream = (request: CallRequest<"answer">): Stream.Stream<ReplyPart, ModelError> =>
    Stream.callback<ReplyPart, ModelError>(
      Effect.fnUntraced(function*(queue) {
        let raw = ""
        let shown = ""
        const show = (text: string) => {
          if (!text.startsWith(shown)) {
            Queue.offerUnsafe(queue, { _tag: "Restarted" })
            shown = ""
          }
          if (text.length > shown.length) Queue.offerUnsafe(queue, { _tag: "Text", text: text.slice(shown.length) })
          shown = text
        }
        const reply = yield* run(request, {
          begin: () => {
            raw = ""
          },
          piece: (text) => {
            raw += text
            show(visibleSoFar(raw))
          }
        })
        // The kept reply is the word: it may be another's, or this one with its end trimmed.
        if (shown.trimEnd() !== reply.text) show(reply.text)
        yield* Queue.offer(queue, { _tag: "Done", reply })
        yield* Queue.end(queue)
      }),
      // Bounded by the reply's token limit: the pieces of one reply.
      { bufferSize: Number.POSITIVE_INFINITY }
    )

  const probe = Effect.fnUntraced(function*(role: Role): Effect.fn.Return<ReadonlyArray<Probe>, ModelError> {
    const player = yield* playing(role)
    const model = yield* identity(role)
    const found: Array<Probe> = []
    for (const [at, replica] of player.replicas.entries()) {
      const models = yield* listModels(player, at)
      const started = clock.currentTimeMillisUnsafe()
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
        latencyMs: clock.currentTimeMillisUnsafe() - started
      })
    }
    return found
  })

  return Models.of({
    call: (request) => run(request),
    keyOf: (request) => Effect.map(keyed(request), ({ key }) => key),
    stream,
    probe,
    identity,
    casting: (role) => {
      const { isLocal, replicas, settings } = players[role]
      return replicas.length === 0 ? undefined : { role, urls: settings.urls, model: settings.model, isLocal, concurrency: settings.concurrency }
    },
    usage: Effect.sync(() => ledger.rows())
  })
})

/** A call with what determines it. */
interface Keyed<A> {
  readonly player: Player
  readonly model: string
  readonly schema: ReplySchema<A>
  readonly key: string
}

interface Spent {
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

/** A kept reply, read by the schema it was kept under, which the key names. */
const reread = <A>(call: StoredCall, schema: ReplySchema<A>): Effect.Effect<Omit<ModelReply<A>, "reused" | "cost" | "requests">, ModelError> => {
  const { key, latencyMs, model, text, truncated, usage } = call
  const decoded = schema.decode(text)
  return Result.isSuccess(decoded)
    ? Effect.succeed({ value: decoded.success, text, key, model, truncated, usage, latencyMs })
    : Effect.fail(
        new ModelError({
          role: call.role,
          reason: new BadReply({ message: `the kept reply ${key} does not fit ${schema.name}@${schema.version}: ${decoded.failure}. It was kept by another version of metamem; use that one.`, excerpt: text.slice(0, 200) }),
          requests: 0
        })
      )
}

const probeSchema = { type: "object", additionalProperties: false, required: ["ok"], properties: { ok: { type: "boolean" } } }
/** Held to the schema, a reply is this and nothing else. */
const isProbeReply = (text: string): boolean => /^\s*\{\s*"ok"\s*:\s*(?:true|false)\s*\}\s*$/.test(text)
