/** `metamem verify`: reads the log again and says whether it is whole: checksums, chains, generations, and what was erased. No model is asked. */
import { createHash } from "node:crypto"
import { Effect, Option, Result, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { canonicalJson } from "#shared/domain/canonical-json"
import { EventLog } from "#shared/eventlog/event-log"
import { verifyCommits } from "#shared/eventlog/replay"
import { memoryFilter, parseMemorySubject, runFilter } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import { compressorCodec } from "#services/compressor/protocol"
import { embedderCodec } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"
import { logLayer } from "./home.ts"
import { CommandFailed, emit, root } from "./root.ts"
import { eachResult, foldRun, replayAll } from "./runs.ts"

interface FoldedMemory {
  id: string
  kind: "turn" | "fact"
  text: string
  speaker: string
  time: string
  meant?: string
  sources: ReadonlyArray<string>
  supersededBy?: string
  vector?: string
}

/** Hash of everything remembered under a filter: memories sorted by id, each with its times, sources, replacement and float16 bytes. */
export const memoryHash = (filter: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const memories = new Map<string, FoldedMemory>()
    yield* log.read([filter]).pipe(
      Stream.runForEach((commit) =>
        Effect.gen(function*() {
          const { actor, tenant, user } = parseMemorySubject(commit.subject)
          const key = (id: string) => `${tenant}\n${user}\n${id}`
          for (const stored of commit.events) {
            if (actor === "ingestor") {
              const event = ingestorCodec.decode(stored)
              if (Result.isFailure(event)) return yield* event.failure
              if (event.success._tag === "TurnsReceived") {
                for (const { id, speaker, text, time } of event.success.turns) memories.set(key(id), { ...memories.get(key(id)), id, kind: "turn", text, speaker, time, sources: [id] })
              }
            } else if (actor === "compressor") {
              const event = compressorCodec.decode(stored)
              if (Result.isFailure(event)) return yield* event.failure
              if (event.success._tag === "MemoriesRecorded") {
                for (const { id, meant, speaker, text, time, turns } of event.success.memories) {
                  memories.set(key(id), { ...memories.get(key(id)), id, kind: "fact", text, speaker, time, ...(meant === undefined ? {} : { meant }), sources: turns })
                }
              } else if (event.success._tag === "MemorySuperseded" || event.success._tag === "MemoryForgotten" || event.success._tag === "MemoryRestored") {
                const memory = memories.get(key(event.success.memory))
                if (memory !== undefined) {
                  const { supersededBy: _, ...rest } = memory
                  memories.set(key(event.success.memory), event.success._tag === "MemoryRestored" ? rest : { ...rest, supersededBy: event.success._tag === "MemorySuperseded" ? event.success.by : "forgotten" })
                }
              }
            } else if (actor === "embedder") {
              const event = embedderCodec.decode(stored)
              if (Result.isFailure(event)) return yield* event.failure
              const width = event.success.dimensions * 2
              event.success.ids.forEach((id, row) => {
                const memory = memories.get(key(id))
                if (memory !== undefined) memory.vector = Buffer.from(commit.binary.subarray(row * width, (row + 1) * width)).toString("base64")
              })
            }
          }
        })
      )
    )
    const sorted = [...memories].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, memory]) => memory)
    const hash = createHash("sha256")
    for (const memory of sorted) hash.update(canonicalJson(memory)).update("\n")
    return { memories: sorted.length, memoryHash: hash.digest("hex") }
  })

const runCheck = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const store = yield* CallStore
    const log = yield* EventLog
    const checked = yield* verifyCommits(log.readRaw([runFilter({ tenant, run })]))
    const generations = yield* replayAll(tenant, run)
    const state = yield* foldRun(tenant, run)
    const users = new Map([...state.questions.values()].map(({ id, user }) => [id, user]))
    // Replies that results refer to: gone because their user was erased is no damage; gone while the user's turns stand is.
    const missing: Array<string> = []
    const erased: Array<string> = []
    const byUser = new Map<string, Array<string>>()
    yield* eachResult(tenant, run, ({ address, settled }) => {
      const { callKey, user } = (settled.data ?? {}) as Record<string, unknown>
      if (address.kind !== "rollout" || typeof callKey !== "string" || typeof user !== "string") return
      const keys = byUser.get(user)
      if (keys === undefined) byUser.set(user, [callKey])
      else keys.push(callKey)
    })
    const goneOf = (user: string, keys: ReadonlyArray<string>) => Effect.map(store.loadAll(tenant, user), (kept) => ({ user, gone: keys.filter((key) => !kept.has(key)) }))
    for (const { gone, user } of yield* Effect.forEach(byUser, ([user, keys]) => goneOf(user, keys), { concurrency: 8 })) {
      if (gone.length === 0) continue
      const stands = Option.isSome(yield* log.readRaw([memoryFilter({ tenant, user })]).pipe(Stream.runHead))
      for (const key of gone) (stands ? missing : erased).push(key)
    }
    return {
      checked,
      missing,
      erased,
      questions: users.size,
      generations: generations.map(({ generation, hash, identical, sealed }) => ({ n: generation, sealed: sealed.hash, replayed: hash, identical }))
    }
  })

export const verify = Command.make(
  "verify",
  {
    run: Flag.String("run").pipe(Flag.withDescription("Verify a run and replay its generations"), Flag.optional),
    user: Flag.String("user").pipe(Flag.withDescription("Verify one user's memory and give its hash"), Flag.optional),
    all: Flag.Boolean("all").pipe(Flag.withDescription("Verify everything of the tenant (default when neither run nor user is given)"), Flag.withDefault(false))
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const log = yield* EventLog
      const ofRun = Option.isSome(input.run) ? yield* runCheck(tenant, input.run.value) : undefined
      const filter = Option.isSome(input.user) ? memoryFilter({ tenant, user: input.user.value }) : input.all || ofRun === undefined ? memoryFilter({ tenant }) : undefined
      const ofMemory = filter === undefined ? undefined : yield* verifyCommits(log.readRaw([filter]))
      const hashed = filter === undefined || (ofMemory?.checksumErrors ?? 0) > 0 ? undefined : yield* memoryHash(filter)
      const checks = [ofRun?.checked, ofMemory].filter((check) => check !== undefined)
      const sum = (pick: (check: (typeof checks)[number]) => number) => checks.reduce((total, check) => total + pick(check), 0)
      const result = {
        ok: sum(({ brokenChains, checksumErrors }) => brokenChains + checksumErrors) === 0 && (ofRun?.missing.length ?? 0) === 0 && (ofRun?.generations.every(({ identical }) => identical) ?? true),
        commits: sum(({ commits }) => commits),
        checksumErrors: sum(({ checksumErrors }) => checksumErrors),
        missing: ofRun?.missing ?? [],
        extra: checks.flatMap(({ faults }) => faults.filter(({ kind }) => kind === "chain").map(({ message }) => message)),
        erased: ofRun?.erased ?? [],
        generations: ofRun?.generations.map(({ n, replayed, sealed }) => ({ n, sealed, replayed })) ?? [],
        ...(hashed === undefined ? {} : { memories: hashed.memories, memoryHash: hashed.memoryHash }),
        modelCalls: 0
      }
      yield* emit(result, () =>
        [
          `${result.ok ? "whole" : "NOT WHOLE"}: ${result.commits} commits, ${result.checksumErrors} checksum errors, ${result.extra.length} broken chains, ${result.missing.length} missing replies, ${result.erased.length} erased`,
          ...result.generations.map(({ n, replayed, sealed }) => `  generation ${n}: ${replayed === sealed ? "identical" : "DIFFERS"}  ${replayed.slice(0, 16)}`),
          ...(hashed === undefined ? [] : [`  ${hashed.memories} memories, hash ${hashed.memoryHash}`]),
          "0 model calls"
        ].join("\n"))
      if (!result.ok) return yield* new CommandFailed({ message: "the log is not whole; see above" })
    }).pipe(Effect.provide(CallStore.layerJetStream), Effect.provide(logLayer))
).pipe(Command.withDescription("Read the log again and say whether it is whole; no model is asked"))
