/** How fast a run goes, what it has cost so far, and how long it may still take. */
import type { Role, RoleSettings } from "#shared/model/roles"
import { costOf } from "#shared/model/ledger"
import type { CostRow } from "#services/reflector/analysis"

/** Who does each kind of job. */
export const roleOf: Readonly<Record<string, Role>> = { rollout: "answer", judgement: "judge", reflection: "reflect", proposal: "propose", consolidation: "consolidate" }

/** Money for what was paid for, at the prices set now; 0 where none are set. */
export const moneyOf = (rows: ReadonlyArray<Pick<CostRow, "kind" | "promptTokens" | "completionTokens">>, prices: Readonly<Record<Role, Pick<RoleSettings, "price">>>): number =>
  rows.reduce((sum, { completionTokens, kind, promptTokens }) => {
    const role = roleOf[kind]
    return role === undefined ? sum : sum + costOf({ promptTokens, completionTokens }, prices[role].price)
  }, 0)

/** Milliseconds over which the rate is taken. */
const windowMs = 60_000

export interface Pace {
  /** Calls paid for. */
  readonly calls: number
  /** Answered from the log. */
  readonly reused: number
  readonly expectedCalls: number
  readonly promptTokens: number
  readonly completionTokens: number
  readonly money: number
  /** Under way, from 1, of so many. */
  readonly step: number
  readonly steps: number
}

const short = (n: number): string => (n < 10_000 ? String(n) : n < 1_000_000 ? `${Math.round(n / 1_000)} k` : `${(n / 1_000_000).toFixed(1)} M`)
const lasting = (seconds: number): string =>
  seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : seconds < 5_400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`

/** Tells a run's pace again and again; the first time only what was spent, since no rate is known yet. */
export const makePace = () => {
  const seen: Array<{ readonly atMs: number; readonly answered: number }> = []
  return ({ calls, completionTokens, expectedCalls, money, promptTokens, reused, step, steps }: Pace, atMs: number): string => {
    const answered = calls + reused
    seen.push({ atMs, answered })
    while (seen.length > 2 && (seen[1]?.atMs ?? atMs) <= atMs - windowMs) seen.shift()
    const [first = { atMs, answered }] = seen
    const rate = atMs > first.atMs ? ((answered - first.answered) * 1_000) / (atMs - first.atMs) : 0
    // The budget is an estimate: a run that has used it up still has the steps it has.
    const left = Math.max(expectedCalls - answered, (expectedCalls * Math.max(0, steps - step)) / Math.max(1, steps))
    return [
      ...(rate > 0 ? [`${rate < 10 ? rate.toFixed(1) : Math.round(rate)} calls a second`] : []),
      `${short(calls)} calls${reused > 0 ? ` and ${short(reused)} replies from the log` : ""}, ${short(promptTokens)} + ${short(completionTokens)} tokens${money > 0 ? `, ${money.toFixed(2)} at the prices set` : ""} so far`,
      ...(rate > 0 && left > 0 ? [`about ${lasting(left / rate)} left`] : [])
    ].join(", ")
  }
}
