/**
 * Where validated replies are kept: what replay and what-if read instead of a model. One reply a key for ever; whoever comes second
 * gets the first one's.
 */
import { Array as Arrays, Clock, Context, Effect, Layer, Option, Result, Schema, Stream } from "effect"
import { compiled } from "#shared/eventlog/event"
import { readStream } from "#shared/eventlog/jetstream-reading"
import { apiCode, isPassing, LogUnavailable, maxMessageBytes, Nats } from "#shared/eventlog/nats"
import { callsFilter, callsSubject, erasedSubject, parseCallsSubject, userHash } from "#shared/eventlog/subjects"
import { StoredCall } from "./call.ts"

/** Most scopes of one pass: the server compares each filter of a reader with every other. */
const scopesAtOnce = 500

/** How far the clocks of this process and the server may be apart. */
const clockSkewMs = 5_000

/** What stands under a key is not a call this version can read. */
export class CorruptCall extends Schema.TaggedError<CorruptCall>()("CorruptCall", { subject: Schema.String, message: Schema.String }) {}

export type CallStoreError = LogUnavailable | CorruptCall

/** How long it stands that a call is being asked once its process no longer says so, in seconds. */
export const claimSeconds = 6
/** Between two words of a process on what it is asking, in milliseconds: most calls are over before the first. */
const renewMs = 2_000

/** Ends a claim. Where a reply was kept it runs out by itself, since the reply is found first; else it is taken back at once. */
export type EndClaim = (isKept: boolean) => Effect.Effect<void>

export class CallStore extends Context.Service<CallStore, {
  readonly get: (tenant: string, scope: string, key: string) => Effect.Effect<Option.Option<StoredCall>, CallStoreError>
  /** Keeps a reply unless there is one, and gives the one that is kept. */
  readonly put: (tenant: string, scope: string, key: string, call: StoredCall) => Effect.Effect<StoredCall, CallStoreError>
  /**
   * Says that a call is being asked, for as long as this process lives or until it is ended: undefined where another says so, in whatever
   * process. Never fails: without it a reply is only paid for twice.
   */
  readonly claim: (tenant: string, scope: string, key: string) => Effect.Effect<EndClaim | undefined>
  /** Tells all calls of these scopes, with the scope of each, hundreds of scopes in one pass. None is kept here. */
  readonly each: (tenant: string, scopes: Iterable<string>, tell: (call: StoredCall, scope: string) => void) => Effect.Effect<void, CallStoreError>
}>()("metamem/model/CallStore") {
  static readonly layerMemory: Layer.Layer<CallStore> = Layer.sync(CallStore, () => {
    const calls = new Map<string, Map<string, StoredCall>>()
    const claims = new Set<string>()
    const of = (tenant: string, scope: string): Map<string, StoredCall> => {
      const place = callsFilter(tenant, scope)
      const found = calls.get(place) ?? new Map<string, StoredCall>()
      calls.set(place, found)
      return found
    }
    return CallStore.of({
      get: (tenant, scope, key) => Effect.sync(() => Option.fromUndefinedOr(of(tenant, scope).get(key))),
      put: (tenant, scope, key, call) =>
        Effect.sync(() => {
          const kept = of(tenant, scope).get(key) ?? call
          of(tenant, scope).set(key, kept)
          return kept
        }),
      claim: (tenant, scope, key) =>
        Effect.sync(() => {
          const subject = callsSubject(tenant, scope, key)
          if (claims.has(subject)) return undefined
          claims.add(subject)
          return () => Effect.sync(() => void claims.delete(subject))
        }),
      each: (tenant, scopes, tell) => Effect.sync(() => new Set(scopes).forEach((scope) => of(tenant, scope).forEach((call) => tell(call, scope))))
    })
  })

  static readonly layerJetStream: Layer.Layer<CallStore, never, Nats> = Layer.effect(
    CallStore,
    Effect.gen(function*() {
      const nats = yield* Nats
      const { js, jsm } = nats

      const get = Effect.fnUntraced(function*(tenant: string, scope: string, key: string): Effect.fn.Return<Option.Option<StoredCall>, CallStoreError> {
        const subject = callsSubject(tenant, scope, key)
        // Any replica may answer: a miss that is only a delay costs a request, and `put` settles which reply is kept.
        const message = yield* retried("look up a call", () => jsm.direct.getMessage("CALLS", { last_by_subj: subject }))
        return message === null ? Option.none() : Option.some(yield* decode(subject, message.data))
      })

      const put = Effect.fnUntraced(function*(tenant: string, scope: string, key: string, call: StoredCall): Effect.fn.Return<StoredCall, CallStoreError> {
        const subject = callsSubject(tenant, scope, key)
        const payload = encodeText.encode(JSON.stringify(call))
        if (payload.length > maxMessageBytes - 4_096) {
          return yield* new LogUnavailable({ operation: "keep a call", message: `the reply of ${payload.length} bytes is larger than a message may be; lower the role's MAX_TOKENS setting` })
        }
        const kept = yield* retried("keep a call", () =>
          js.publish(subject, payload, { expect: { lastSubjectSequence: 0 }, timeout: 5_000 }).then(
            ({ seq }) => seq,
            (error) => {
              if (apiCode(error) === 10071) return undefined
              throw error
            }
          )
        )
        if (kept !== undefined) {
          // A user erased while the model was asked: the reply must not outlive what it was made of.
          const erased = yield* retried("look for an erasure", () => jsm.direct.getMessage("MEMORY", { last_by_subj: erasedSubject(tenant, userHash(tenant, scope)) }))
          const startedAt = (yield* Clock.currentTimeMillis) - call.latencyMs - clockSkewMs
          if (erased === null || erased.time.getTime() < startedAt) return call
          yield* retried("take a call back", () => jsm.streams.deleteMessage("CALLS", kept))
          return yield* new LogUnavailable({ operation: "keep a call", message: `${scope} was erased while the model was asked; nothing was kept` })
        }
        // Somebody was first, perhaps this call itself before a lost acknowledgement. The leader knows what is kept.
        const message = yield* retried("read the call kept first", () => jsm.streams.getMessage("CALLS", { last_by_subj: subject }))
        if (message === null) return yield* new LogUnavailable({ operation: "keep a call", message: `${subject} was erased while the call was kept; ask again` })
        return yield* decode(subject, message.data)
      })

      const live = new Set<Claim>()
      const say = (subject: string, revision: number): Promise<number> =>
        js.publish(subject, "", { ttl: `${claimSeconds}s`, expect: { lastSubjectSequence: revision }, timeout: 3_000 }).then(({ seq }) => seq)
      const renew = (claim: Claim): Promise<void> =>
        say(claim.subject, claim.revision).then(
          (revision) => void (claim.revision = revision),
          // Lost to another, or with the server that knew of it.
          (error: unknown) => void (apiCode(error) === 10071 && live.delete(claim))
        )
      yield* Effect.sleep(renewMs).pipe(
        Effect.andThen(Effect.sync(() => {
          const since = performance.now() - renewMs
          for (const claim of live) {
            if (claim.madeMs > since || claim.renewed !== undefined) continue
            claim.renewed = renew(claim).then(() => void (claim.renewed = undefined))
          }
        })),
        Effect.forever,
        Effect.forkScoped
      )
      const claim = (tenant: string, scope: string, key: string): Effect.Effect<EndClaim | undefined> =>
        Effect.promise(() => {
          const subject = `lease.${callsSubject(tenant, scope, key)}`
          return say(subject, 0).then(
            (revision): EndClaim => {
              const own: Claim = { subject, madeMs: performance.now(), revision, renewed: undefined }
              live.add(own)
              return (isKept) =>
                Effect.suspend(() => {
                  live.delete(own)
                  return isKept ? Effect.void : Effect.promise(async () => {
                    await own.renewed
                    await jsm.streams.deleteMessage("LEASE", own.revision).catch(() => undefined)
                  })
                })
            },
            (error: unknown) => (apiCode(error) === 10071 ? undefined : () => Effect.void)
          )
        })

      const each = Effect.fnUntraced(function*(tenant: string, scopes: Iterable<string>, tell: (call: StoredCall, scope: string) => void): Effect.fn.Return<void, CallStoreError> {
        for (const some of Arrays.chunksOf([...new Set(scopes)], scopesAtOnce)) {
          yield* readStream(nats, "CALLS", some.map((scope) => callsFilter(tenant, scope)), 0, false).pipe(
            Stream.runForEachArray((messages) =>
              Effect.gen(function*() {
                for (const { payload, subject } of messages) tell(yield* decode(subject, payload), parseCallsSubject(subject).scope)
              }))
          )
        }
      })

      return CallStore.of({ get, put, claim, each })
    })
  )
}

interface Claim {
  readonly subject: string
  readonly madeMs: number
  /** Of its last message. */
  revision: number
  /** The renewal under way. */
  renewed: Promise<void> | undefined
}

const encodeText = new TextEncoder()
const decodeText = new TextDecoder()
const decodeStored = Schema.decodeUnknownResult(compiled(StoredCall))

const decode = (subject: string, data: Uint8Array): Effect.Effect<StoredCall, CorruptCall> =>
  Effect.suspend(() => {
    let json: unknown
    try {
      json = JSON.parse(decodeText.decode(data))
    } catch (error) {
      return Effect.fail(new CorruptCall({ subject, message: `${subject} does not hold JSON: ${String(error)}` }))
    }
    const call = decodeStored(json)
    return Result.isSuccess(call) ? Effect.succeed(call.success) : Effect.fail(new CorruptCall({ subject, message: `${subject} does not hold a call: ${call.failure.message}` }))
  })

/** A leader change takes about 6 s; passing failures are retried for a little longer. */
const waitsMs = [100, 200, 400, 800, 1_600, 3_200, 6_400]

const retried = <A>(operation: string, run: () => Promise<A>): Effect.Effect<A, LogUnavailable> =>
  Effect.gen(function*() {
    for (let tries = 0;; tries++) {
      const outcome = yield* Effect.promise(() => run().then((value) => ({ value }) as const, (error: unknown) => ({ error }) as const))
      if ("value" in outcome) return outcome.value
      const waitMs = waitsMs[tries]
      if (waitMs === undefined || !isPassing(outcome.error)) {
        return yield* new LogUnavailable({ operation, message: `${operation}: ${outcome.error instanceof Error ? outcome.error.message : String(outcome.error)}` })
      }
      yield* Effect.sleep(waitMs)
    }
  })
