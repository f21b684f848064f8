/** What calls cost: counted by role, run, step and principle while a process lives. The lasting figures are in the stored calls. */
import type { CallTags, Usage } from "./call.ts"
import type { Role, RoleSettings } from "./roles.ts"

export interface LedgerRow {
  readonly role: Role
  readonly tags: CallTags
  /** Calls answered by a model. */
  readonly calls: number
  /** Calls answered from the store, at no cost. */
  readonly reused: number
  /** Calls that ended in a failure. */
  readonly failed: number
  /** Requests sent, failed and repeated ones included. */
  readonly requests: number
  readonly promptTokens: number
  readonly completionTokens: number
  readonly cost: number
  /** Sum over calls answered by a model, waits included. */
  readonly latencyMs: number
}

/** Money for tokens at a role's price. */
export const costOf = (usage: Pick<Usage, "promptTokens" | "completionTokens">, price: RoleSettings["price"]): number => (usage.promptTokens * price.in + usage.completionTokens * price.out) / 1_000_000

type Counts = Omit<LedgerRow, "role" | "tags">
type Mutable<A> = { -readonly [K in keyof A]: A[K] }

const none: Counts = { calls: 0, reused: 0, failed: 0, requests: 0, promptTokens: 0, completionTokens: 0, cost: 0, latencyMs: 0 }

/** Rows kept apart; beyond them calls are counted under their role alone, so that a process may live for ever. */
const rowsMax = 20_000

export interface Ledger {
  readonly add: (role: Role, tags: CallTags | undefined, counts: Partial<Counts>) => void
  /** Rows in the order in which they were first written. */
  readonly rows: () => ReadonlyArray<LedgerRow>
}

export const makeLedger = (): Ledger => {
  const rows = new Map<string, Mutable<LedgerRow>>()
  return {
    add: (role, tags = {}, counts) => {
      let key = `${role}\u0000${tags.run ?? ""}\u0000${tags.step ?? ""}\u0000${tags.principle ?? ""}`
      let row = rows.get(key)
      if (row === undefined) {
        if (rows.size >= rowsMax) key = role
        row = rows.get(key) ?? { role, tags: key === role ? {} : tags, ...none }
        rows.set(key, row)
      }
      for (const name of Object.keys(counts) as Array<keyof Counts>) row[name] += counts[name] ?? 0
    },
    rows: () => [...rows.values()].map((row) => ({ ...row }))
  }
}

/** Sum of some rows, e.g. of a run. */
export const total = (rows: ReadonlyArray<LedgerRow>): Counts =>
  rows.reduce<Mutable<Counts>>(
    (sum, row) => {
      for (const name of Object.keys(none) as Array<keyof Counts>) sum[name] += row[name]
      return sum
    },
    { ...none }
  )
