/**
 * The memory index kept in a LanceDB folder: every change is added to one table (`lancedb-changes.ts`), and the users in use are held in
 * memory (`held-users.ts`), loaded from it on demand. A folder has one owner, and begins anew after damage, which is said aloud (`lancedb-slot.ts`).
 */
import { Context, Effect, Layer } from "effect"
import { rmSync } from "node:fs"
import { type HeldUsers, makeHeldUsers } from "./held-users.ts"
import { makeStoredChanges } from "./lancedb-changes.ts"
import type { LanceIndexSettings } from "./lancedb-slot.ts"
import { badVector, MemoryIndex, type MemoryIndexError } from "./memory-index.ts"
import { getFrom, searchView } from "./memory-layer.ts"

export const layer = (settings: LanceIndexSettings): Layer.Layer<MemoryIndex, MemoryIndexError> =>
  Layer.effect(
    MemoryIndex,
    Effect.gen(function*() {
      const { dimensions, heldBytes, log } = settings
      const stored = yield* makeStoredChanges(settings, (user) => held.drop(user))
      const held: HeldUsers = makeHeldUsers(dimensions, heldBytes, stored)

      return MemoryIndex.of({
        dimensions,
        apply: Effect.fnUntraced(function*(changes, through) {
          const refused = badVector(changes, dimensions) ?? stored.begunAnew()
          if (refused !== undefined) return yield* refused
          // In one step, as a load that began in between would miss them.
          stored.add(changes, through)
          held.apply(changes)
          if (stored.isFull()) yield* stored.flush
        }),
        checkpoint: stored.checkpoint,
        replace: (fill) =>
          Effect.gen(function*() {
            const beside = stored.beside()
            rmSync(beside, { recursive: true, force: true })
            yield* Effect.scoped(Effect.flatMap(Layer.build(layer({ ...settings, folder: beside, log: { ...log, head: 0 } })), (context) => fill(Context.get(context, MemoryIndex))))
            yield* stored.putInPlace(beside)
          }),
        removeUser: stored.removeUser,
        view: (user, filter) => Effect.map(held.of(user), (index) => index.view(filter)),
        search: (user, query) => Effect.map(held.of(user), (index) => searchView(index.view(query.filter), query)),
        get: (user, ids) => Effect.map(held.of(user), (index) => getFrom(index, ids))
      })
    })
  )
