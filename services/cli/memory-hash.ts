/** What is remembered, as one hash: two logs that remember the same have the same. */
import { createHash } from "node:crypto"
import { Effect, Result, Stream } from "effect"
import { canonicalJson } from "#shared/domain/canonical-json"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, parseMemorySubject } from "#shared/eventlog/subjects"
import { compressorCodec } from "#services/compressor/protocol"
import { embedderCodec } from "#services/embedder/protocol"
import { ingestorCodec } from "#services/ingestor/protocol"

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

/** Memories under some filters, by user and then by id. */
const memoriesUnder = (filters: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const memories = new Map<string, FoldedMemory>()
    yield* log.read(filters).pipe(
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
    return [...memories].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, memory]) => memory)
  })

/** Messages of users folded together, at most, unless one user has more: what is remembered of them is held in memory meanwhile. */
const messagesAtOnce = 1_000
/** Users that are read together, at most: each is a filter of its own. */
const usersAtOnce = 500

/**
 * Users in the order of the hash, those read together in one group.
 *
 * @param counts messages of each user
 */
export const groupsOf = (counts: ReadonlyMap<string, number>, most = messagesAtOnce): ReadonlyArray<ReadonlyArray<string>> => {
  const groups: Array<Array<string>> = []
  let messages = Infinity
  // As keys that begin with the name are sorted.
  for (const [user, count] of [...counts].sort(([a], [b]) => (`${a}\n` < `${b}\n` ? -1 : 1))) {
    const last = groups.at(-1)
    if (last === undefined || messages + count > most || last.length >= usersAtOnce) {
      groups.push([user])
      messages = count
    } else {
      last.push(user)
      messages += count
    }
  }
  return groups
}

/**
 * Hash of everything that is remembered of a tenant's users: memories sorted by user and id, each with its times, sources, replacement and
 * float16 bytes. A store is larger than memory, so users are read some at a time.
 *
 * @param groups of users, as {@link groupsOf} makes them
 * @param tell is told how many users were read
 */
export const memoryHash = (tenant: string, groups: ReadonlyArray<ReadonlyArray<string>>, tell: (users: number) => void = () => undefined) =>
  Effect.gen(function*() {
    const hash = createHash("sha256")
    let count = 0
    let users = 0
    for (const group of groups) {
      const memories = yield* memoriesUnder(group.map((user) => memoryFilter({ tenant, user })))
      for (const memory of memories) hash.update(canonicalJson(memory)).update("\n")
      count += memories.length
      users += group.length
      tell(users)
    }
    return { memories: count, memoryHash: hash.digest("hex") }
  })
