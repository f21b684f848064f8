/** What stands in a call store, for tests. */
import { Effect } from "effect"
import type { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"

/** All calls of a scope by key. */
export const callsOf = (tenant: string, scope: string) =>
  Effect.flatMap(CallStore, ({ each }) => {
    const calls = new Map<string, StoredCall>()
    return Effect.as(each(tenant, [scope], (call) => void calls.set(call.key, call)), calls)
  })
