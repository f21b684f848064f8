/**
 * The one place for every call to a language model. A call that was answered before comes from the store; any other is sent, its
 * reply checked against the role's schema, kept, and counted.
 */
import { Cause, Clock, Config, Context, Effect, Exit, Layer, Option, Queue, Result, Stream } from "effect"
import type { Patience } from "./after-failure.ts"
import { type CallRequest, callKey, type StoredCall, type Usage } from "./call.ts"
import { CallStore, type CallStoreError, type EndClaim } from "./call-store.ts"
import { converse, type Keyed, type Spent } from "./converse.ts"
import { equalCalls } from "./equal-calls.ts"
import { BadReply, ModelError, StoreUnavailable } from "./errors.ts"
import { type Listener, makeExchanges, type Tally } from "./exchange.ts"
import { costOf, type LedgerRow, makeLedger } from "./ledger.ts"
import { type Casting, type LocalModel, makePlayers } from "./players.ts"
import { makeProbe, type Probe } from "./probe.ts"
import { visibleSoFar } from "./reply-text.ts"
import { type ReplyOf, type ReplySchema, replySchemas } from "./reply-schemas.ts"
import { type Role, settings } from "./roles.ts"

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

export interface ModelsOptions {
  readonly local?: LocalModel
  readonly patience?: Patience
}

const usualPatience: Patience = { backoffMs: 500, closedMs: 30_000 }

export class Models extends Context.Service<Models, {
  readonly call: <R extends Role>(request: CallRequest<R>) => Effect.Effect<ModelReply<ReplyOf<R>>, ModelError>
  /** Key of a call, under which its reply stands once it was made; nothing is asked but, where neither it nor a setting says so, which model there is. */
  readonly keyOf: (request: CallRequest) => Effect.Effect<string, ModelError>
  /** The same call as `call`, its text shown as it comes; the last part is `Done`. */
  readonly stream: (request: CallRequest<"answer">) => Stream.Stream<ReplyPart, ModelError>
  /** Asks every replica of a role what it can do, at the price of one or a few tiny requests each, and remembers it. */
  readonly probe: (role: Role) => Effect.Effect<ReadonlyArray<Probe>, ModelError>
  /** Name of the model that plays a role, asked of the endpoint once where no setting names it. */
  readonly identity: (role: Role) => Effect.Effect<string, ModelError>
  /** Names of the models that the endpoint of a role lists; none where it does not say. Fails where nothing plays the role. */
  readonly offered: (role: Role) => Effect.Effect<ReadonlyArray<string>, ModelError>
  /** Waits until the local model is loaded, or known not to load, where it plays any role; else nothing. */
  readonly loaded: Effect.Effect<void>
  /** Undefined when nothing plays the role, so that a rule has to. */
  readonly casting: (role: Role) => Casting | undefined
  /** What calls of this process cost so far. */
  readonly usage: Effect.Effect<ReadonlyArray<LedgerRow>>
}>()("metamem/model/Models") {
  static readonly layer = (options: ModelsOptions = {}): Layer.Layer<Models, Config.ConfigError, CallStore> => Layer.effect(Models, make(options))
}

const unclaimed: EndClaim = () => Effect.void

/** Between two looks for the reply to a call that another process asks, in milliseconds: an eighth of the time waited so far, within these. */
const claimPollMs = { least: 20, most: 500 }

const make = Effect.fnUntraced(function*(options: ModelsOptions): Effect.fn.Return<Models["Service"], Config.ConfigError, CallStore> {
  const all = yield* settings
  const store = yield* CallStore
  const clock = yield* Clock.Clock
  const patience = options.patience ?? usualPatience
  const exchanges = makeExchanges(patience, () => clock.currentTimeMillisUnsafe())
  const ledger = makeLedger()
  const alone = equalCalls()
  const { casting, identity, listModels, loaded, offered, playing } = makePlayers(all, exchanges, patience, options.local)
  const probe = makeProbe({ exchanges, identity, listModels, playing })

  const keyed = Effect.fnUntraced(function*<R extends Role>(request: CallRequest<R>): Effect.fn.Return<Keyed<ReplyOf<R>>, ModelError> {
    const player = yield* playing(request.role)
    const model = request.model ?? (yield* identity(request.role))
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
    let claim = Option.isNone(before) && isShared ? yield* store.claim(request.tenant, request.scope, key) : unclaimed
    // One who is asked says so for as long as he lives; he is waited for no longer than one request may take.
    for (let waitedMs = 0; claim === undefined && Option.isNone(before) && waitedMs < of.player.settings.timeoutMs;) {
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
    const end = claim ?? unclaimed
    return yield* Effect.onExit(askAndKeep(request, of, listener), (exit) => end(Exit.isSuccess(exit)))
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
    const said = yield* converse(exchanges, request, { player, model, schema, key }, tally, listener).pipe(
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

  return Models.of({
    call: (request) => run(request),
    keyOf: (request) => Effect.map(keyed(request), ({ key }) => key),
    stream,
    probe,
    identity,
    offered,
    loaded,
    casting,
    usage: Effect.sync(() => ledger.rows())
  })
})

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
