/** States that evolution from live feedback reads and moves on: the tenant's own, those of its runs, and what guides its live answers. */
import { Effect } from "effect"
import { type Folded, makeEntity } from "#shared/actor/entity"
import type { GenerationRef } from "#shared/domain/evidence"
import { adoptedSubject, onlineSubject, runSubject } from "#shared/eventlog/subjects"
import type { Runs } from "./driver.ts"
import { onlineBehaviour, type OnlineCommand, type OnlineState } from "./online-behaviour.ts"
import { guidedBy, onlineLine } from "./online-words.ts"
import type { Adoptions } from "./run-requests.ts"

export const makeOnlineStates = Effect.fnUntraced(function*(runs: Runs, adoptions: Adoptions) {
  const entities = yield* makeEntity(onlineBehaviour, 1_000)

  const load = (tenant: string) => entities.load(onlineSubject(tenant))
  const runState = (tenant: string, run: string) => Effect.map(runs.load(runSubject({ tenant, run })), ({ state }) => state)
  const inForce = Effect.fnUntraced(function*(tenant: string) {
    const { state: { adopted }, sequence } = yield* adoptions.load(adoptedSubject(tenant))
    const ref: GenerationRef = adopted === undefined ? { run: "", generation: 0 } : { run: adopted.run, generation: adopted.generation }
    return { ref, sequence, principles: adopted?.principles ?? [] }
  })

  const decide = Effect.fnUntraced(function*(tenant: string, { sequence }: Folded<OnlineState>, command: OnlineCommand) {
    const { events, folded } = yield* entities.execute(onlineSubject(tenant), command, { cause: `${command._tag} after ${sequence}` })
    for (const event of events) yield* Effect.logInfo(`${tenant}: ${onlineLine(event)}`)
    return folded
  })

  /** Carries out the adoption that was decided, unless somebody adopted something since. */
  const adoptDue = Effect.fnUntraced(function*(tenant: string, { due, lastOutcome }: OnlineState) {
    if (due === undefined) return
    const { after, to } = due
    const found = (yield* runState(tenant, to.run)).generations.find(({ number }) => number === to.generation)
    if (found === undefined) return yield* Effect.logWarning(`generation ${to.generation} of ${to.run} was to be adopted and is not in the log`)
    const { fresh } = yield* adoptions.execute(
      adoptedSubject(tenant),
      { _tag: "Adopt", event: { _tag: "GenerationAdopted", run: to.run, generation: to.generation, hash: found.hash, principles: found.principles }, after },
      { cause: `online ${to.run}/${to.generation} after ${after}`, correlation: to.run }
    )
    // Nobody asked for it just now, so it is said where warnings are.
    if (fresh) yield* Effect.logWarning(`live answers of ${tenant} are from here on guided by ${guidedBy(to, found.principles.length)} (${lastOutcome ?? "decided before"})`)
  })

  return { load, runState, inForce, decide, adoptDue }
})
export type OnlineStates = Effect.Success<ReturnType<typeof makeOnlineStates>>
