/** Lists a user's memories, the latest first, as they stand or stood. */
import { Effect } from "effect"
import { indexUser, type Projection } from "./projection.ts"
import type { MemoriesReply, MemoriesRequest } from "./protocol.ts"
import type { Retrieving } from "./retrieving.ts"

export const makeListing = ({ asOfFilter, projection, waitFor }: { readonly projection: Projection } & Pick<Retrieving, "asOfFilter" | "waitFor">) =>
  Effect.fnUntraced(function*(request: typeof MemoriesRequest.Type) {
    const asOf = yield* asOfFilter(request.asOf)
    yield* waitFor(request.after, 5_000)
    const user = indexUser(request.tenant, request.user)
    const view = yield* projection.view(user, asOf)
    const { conversation, from, kinds, to } = request
    const all = [view.turns, view.facts]
      .flatMap(({ memories, standing }) => (request.asOf === undefined ? memories : memories.filter((_, row) => standing[row] === 1)))
      .filter((memory) =>
        (conversation === undefined || memory.conversation === conversation) && (kinds === undefined || kinds.includes(memory.kind)) &&
        (from === undefined || memory.time >= from) && (to === undefined || memory.time <= to))
      // Of those that came in one commit at one time the last stays first, as in all the list.
      .toReversed()
      .sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : b.sequence - a.sequence))
      .slice(0, request.limit)
    const full = new Map((yield* projection.get(user, all.map(({ id }) => id))).map((memory) => [memory.id, memory]))
    return {
      memories: all.map(({ conversation, id, kind, meant, speaker, text, time, turns }) => {
        const supersededBy = request.asOf === undefined ? full.get(id)?.supersededBy : undefined
        return {
          id,
          kind,
          text: request.textMax === undefined ? text : text.slice(0, request.textMax).toWellFormed(),
          speaker,
          time,
          ...(meant === undefined ? {} : { meant }),
          conversation,
          turns,
          ...(supersededBy === undefined ? {} : { supersededBy }),
          searchableByVector: full.get(id)?.vector !== undefined
        }
      })
    } satisfies MemoriesReply
  })
