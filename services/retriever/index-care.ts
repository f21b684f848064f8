/** Compares one user's part of the index with what the log says it must hold. */
import { Context, Effect, Layer, type Scope, Stream } from "effect"
import type { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter } from "#shared/eventlog/subjects"
import { MemoryIndex } from "#shared/memoryindex/memory-index"
import * as MemoryLayer from "#shared/memoryindex/memory-layer"
import type { IndexedMemory } from "#shared/memoryindex/shelf"
import type { UserView } from "#shared/memoryindex/user-index"
import type { Embeddings } from "#shared/model/embeddings"
import { foldInto, indexUser, type Projection, type ProjectionError } from "./projection.ts"
import type { IndexVerifyReply } from "./protocol.ts"

/** Memories compared at once. */
const comparedAtOnce = 500
const examplesMax = 10

const shelves = ({ facts, turns }: UserView): ReadonlyArray<IndexedMemory> => [...turns.memories, ...facts.memories]

/** What of a memory differs; undefined when nothing does. */
const differenceOf = (wanted: IndexedMemory, found: IndexedMemory): string | undefined => {
  for (const name of ["kind", "text", "speaker", "time", "meant", "conversation", "sequence", "supersededBy", "restored"] as const) if (wanted[name] !== found[name]) return name
  if (wanted.turns.join("\n") !== found.turns.join("\n")) return "turns"
  const [a, b] = [wanted.vector, found.vector]
  if (a === undefined) return b === undefined ? undefined : "vector"
  return b === undefined || a.length !== b.length || a.some((value, at) => value !== b[at]) ? "vector" : undefined
}

export interface Compared {
  readonly log: EventLog["Service"]
  readonly projection: Pick<Projection, "view" | "get" | "through">
  readonly embeddings: Pick<Embeddings["Service"], "dimensions" | "modelHash">
}

const compare = ({ embeddings, log, projection }: Compared, tenant: string, name: string) =>
  Effect.scoped(
    Effect.gen(function*(): Effect.fn.Return<IndexVerifyReply, ProjectionError, Scope.Scope> {
      const user = indexUser(tenant, name)
      const upTo = projection.through()
      const wanted = Context.get(yield* Layer.build(MemoryLayer.layer(embeddings.dimensions)), MemoryIndex)
      const apply = foldInto(log, wanted, embeddings.modelHash, { through: 0 })
      yield* log.read([memoryFilter({ tenant, user: name })]).pipe(
        Stream.takeWhile(({ sequence }) => sequence <= upTo),
        Stream.grouped(1_000),
        Stream.runForEach(apply)
      )
      const due = shelves(yield* wanted.view(user)).map(({ id }) => id)
      const dueIds = new Set(due)
      const extra = shelves(yield* projection.view(user)).filter(({ id, sequence }) => sequence <= upTo && !dueIds.has(id)).map(({ id }) => id)
      let missing = 0
      let changed = 0
      const examples = extra.slice(0, examplesMax).map((id) => `${id} is not in the log`)
      const tell = (line: string): void => {
        if (examples.length < examplesMax) examples.push(line)
      }
      for (let from = 0; from < due.length; from += comparedAtOnce) {
        const ids = due.slice(from, from + comparedAtOnce)
        const found = new Map((yield* projection.get(user, ids)).map((memory) => [memory.id, memory]))
        for (const memory of yield* wanted.get(user, ids)) {
          const own = found.get(memory.id)
          const difference = own === undefined ? undefined : differenceOf(memory, own)
          if (own === undefined) {
            missing += 1
            tell(`${memory.id} is missing`)
          } else if (difference !== undefined) {
            changed += 1
            tell(`${memory.id} has another ${difference}`)
          }
        }
        yield* Effect.sleep(0)
      }
      return { memories: due.length, missing, extra: extra.length, changed, examples, through: upTo }
    })
  )

/** A difference counts only when the index did not move on while it was looked at; tried at most five times. */
export const verifyUser = (compared: Compared, tenant: string, user: string): Effect.Effect<IndexVerifyReply, ProjectionError> =>
  Effect.gen(function*() {
    for (let tries = 1;; tries++) {
      const reply = yield* compare(compared, tenant, user)
      const isSame = reply.missing + reply.extra + reply.changed === 0
      if (isSame || tries === 5 || compared.projection.through() === reply.through) return reply
    }
  })
