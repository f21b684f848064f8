/** Follows what people say of live answers. A user whose answers were erased has said nothing. */
import { Effect, Result, Semaphore, Stream } from "effect"
import { isErasureMark } from "#shared/eventlog/envelope"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter, memorySubject, parseMemorySubject } from "#shared/eventlog/subjects"
import { answersConversation } from "#services/retriever/protocol"
import type { Material } from "./material.ts"
import { type Feedback, receivedFrom } from "./online-feedback.ts"

export const makeFollowing = Effect.fnUntraced(function*(material: Pick<Material, "found">) {
  const log = yield* EventLog
  /** Feedback that stands, by tenant and user. */
  const feedback = new Map<string, Map<string, ReadonlyArray<Feedback>>>()
  const stale = new Map<string, { readonly tenant: string; readonly user: string }>()
  let cursor = 0
  /** End of the log as of the last look: up to there nothing need be looked for again, however long ago the last answer was. */
  let seen = 0

  const refold = Effect.fnUntraced(function*(tenant: string, user: string) {
    const received = receivedFrom(user, yield* log.load(memorySubject({ tenant, user, conversation: answersConversation }, "retriever")))
    if (Result.isFailure(received)) return yield* received.failure
    const best = received.success.flatMap((one) => one.best ?? [])
    const conversations = new Map((yield* material.found(tenant, user, [...new Set(best)])).map(({ conversation, memoryId }) => [memoryId, conversation]))
    const own = feedback.get(tenant) ?? new Map<string, ReadonlyArray<Feedback>>()
    feedback.set(tenant, own)
    if (received.success.length === 0) own.delete(user)
    else own.set(user, received.success.map(({ best, ...one }) => ({ ...one, conversation: conversations.get(best ?? "") ?? answersConversation })))
  })

  const turnstile = yield* Semaphore.make(1)
  /** Brings the feedback up to the end of the log. */
  const sync = turnstile.withPermits(1)(Effect.gen(function*() {
    const head = yield* log.head("MEMORY")
    if (head > seen) yield* log.read([memoryFilter({ conversation: answersConversation, actor: "retriever" })], { after: seen }).pipe(
      Stream.runForEach((commit) => Effect.sync(() => {
        cursor = commit.sequence
        if (!isErasureMark(commit) && !commit.events.some(({ type }) => type === "FeedbackReceived")) return
        const { tenant, user } = parseMemorySubject(commit.subject)
        stale.set(commit.subject, { tenant, user })
      }))
    )
    seen = head
    for (const [subject, { tenant, user }] of [...stale]) {
      yield* refold(tenant, user)
      stale.delete(subject)
    }
  }))

  return {
    sync,
    /** Sequence of the memory log up to which it was followed. */
    through: () => cursor,
    of: (tenant: string): ReadonlyArray<Feedback> => [...(feedback.get(tenant)?.values() ?? [])].flat(),
    /** Tenants whose people said anything. */
    tenants: (): Iterable<string> => feedback.keys()
  }
})
export type Following = Effect.Success<ReturnType<typeof makeFollowing>>
