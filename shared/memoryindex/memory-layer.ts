/** The memory index held in this process alone: exact, for tests, benches and as what the LanceDB layer searches. */
import { Effect, Layer } from "effect"
import { badVector, type Found, type IndexChange, MemoryIndex, type MemoryIndexOperations, type SearchQuery, userOf } from "./memory-index.ts"
import type { IndexedMemory } from "./shelf.ts"
import { UserIndex, type UserView } from "./user-index.ts"

/** Applies one change to its user's index. */
export const applyTo = (index: UserIndex, change: IndexChange): void => {
  switch (change._tag) {
    case "Put":
      return index.put(change.memory)
    case "SetVector":
      index.setVector(change.id, change.vector)
      return
    case "Supersede":
      return index.supersede(change.id, change.by, change.sequence)
    case "Restore":
      return index.restore(change.id, change.sequence)
    case "Remove":
      return index.remove(change.id)
  }
}

/** Best rows of a view by one score; equal scores in the order of ids. */
export const searchView = (view: UserView, { by, limit }: SearchQuery): ReadonlyArray<Found> => {
  const found: Array<Found> = []
  for (const shelf of [view.turns, view.facts]) {
    const scores = "vector" in by ? shelf.nearest(by.vector) : shelf.words(by.text)
    for (const [row, memory] of shelf.memories.entries()) {
      const score = scores[row] ?? 0
      if (shelf.standing[row] === 1 && score > 0) found.push({ memory, score })
    }
  }
  return found.sort((a, b) => b.score - a.score || (a.memory.id < b.memory.id ? -1 : 1)).slice(0, limit)
}

/** Memories by id with vector and successor. */
export const getFrom = (index: UserIndex, ids: ReadonlyArray<string>): ReadonlyArray<IndexedMemory> =>
  ids.flatMap((id) => {
    const memory = index.get(id)
    if (memory === undefined) return []
    const vector = index.vector(id)
    return [vector === undefined ? memory : { ...memory, vector: vector.slice() }]
  })

/** An index of its own in memory, and how to put another's contents in its place. */
const makeIndex = (dimensions: number): MemoryIndexOperations & { readonly contents: () => { readonly users: Map<string, UserIndex>; readonly checkpoint: number } } => {
  let users = new Map<string, UserIndex>()
  const empty = new UserIndex(dimensions)
  let checkpoint = 0
  const of = (user: string): UserIndex => users.get(user) ?? empty
  return {
    dimensions,
    contents: () => ({ users, checkpoint }),
    replace: (fill) =>
      Effect.suspend(() => {
        const next = makeIndex(dimensions)
        return Effect.andThen(fill(next), Effect.sync(() => ({ users, checkpoint } = next.contents())))
      }),
    apply: Effect.fnUntraced(function*(changes, through) {
      const bad = badVector(changes, dimensions)
      if (bad !== undefined) return yield* bad
      for (const change of changes) {
        const user = userOf(change)
        const index = users.get(user) ?? new UserIndex(dimensions)
        users.set(user, index)
        applyTo(index, change)
      }
      checkpoint = Math.max(checkpoint, through)
    }),
    checkpoint: Effect.sync(() => checkpoint),
    removeUser: (user) => Effect.sync(() => void users.delete(user)),
    view: (user, filter) => Effect.sync(() => of(user).view(filter)),
    search: (user, query) => Effect.sync(() => searchView(of(user).view(query.filter), query)),
    get: (user, ids) => Effect.sync(() => getFrom(of(user), ids))
  }
}

export const layer = (dimensions: number): Layer.Layer<MemoryIndex> => Layer.sync(MemoryIndex, () => MemoryIndex.of(makeIndex(dimensions)))
