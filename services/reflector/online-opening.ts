/** Runs from live feedback opened: which feedback is left for one, what it is called, and that it is recorded even where a process ended in between. */
import { Effect } from "effect"
import type { Folded } from "#shared/actor/entity"
import { inherited } from "#shared/metamemory/ledger"
import { wholeNumber } from "#shared/metamemory/random"
import { trialLedger } from "#shared/metamemory/trial"
import { isOpenForRun, onlineRun, type OnlineState } from "./online-behaviour.ts"
import { batchOf, conversationsOf, type Feedback, offered, type RunTook, usedUp } from "./online-feedback.ts"
import type { Following } from "./online-following.ts"
import { cameToNothingByErrors, onlineRequest, questionsOf } from "./online-run.ts"
import { registerLive } from "./online-shadowing.ts"
import type { OnlineStates } from "./online-states.ts"
import type { RunParameters } from "./parameters.ts"
import type { OpenRequest } from "./protocol.ts"

/** Names looked through for one that no other run has. */
const namesMax = 1_000

/** Of a tenant's run of that number. */
const seedOf = (tenant: string, number: number): number => wholeNumber(2 ** 31, "online", tenant, number)

export interface OpeningParts {
  readonly open: (request: OpenRequest) => Effect.Effect<unknown, { readonly message: string }>
  /** Whether the reader is a model elsewhere, which sizes runs as the published system's. */
  readonly isRemote: boolean
}

export const makeOpening = (following: Pick<Following, "of" | "through">, { inForce, runState, decide }: OnlineStates, parts: OpeningParts) => {
  /** What the last runs of each tenant took; that of one that is over never changes. */
  const taken = new Map<string, ReadonlyMap<string, RunTook>>()
  const freshOf = Effect.fnUntraced(function*(tenant: string, state: OnlineState) {
    const known = taken.get(tenant)
    const ofRuns = new Map<string, RunTook>()
    const over = new Map<string, RunTook>()
    for (const { run } of state.runs) {
      const own = known?.get(run)
      const of = own === undefined ? yield* runState(tenant, run) : undefined
      const took = own ?? { ids: new Set(questionsOf(of?.parameters).map(({ id }) => id)), isVoid: of !== undefined && cameToNothingByErrors(of) }
      ofRuns.set(run, took)
      if (own !== undefined || of?.phase._tag === "Finished") over.set(run, took)
    }
    taken.set(tenant, over)
    return offered(following.of(tenant), state.closed, usedUp([...ofRuns.values()]))
  })

  /** Feedback that a run took its questions from. */
  const feedbackIn = (tenant: string, parameters: RunParameters | undefined): ReadonlyArray<Feedback> => {
    const ids = new Set(questionsOf(parameters).map(({ id }) => id))
    return following.of(tenant).filter(({ question }) => question !== undefined && ids.has(question.id))
  }

  /**
   * The next name for a run, and whether such a run was opened and not recorded, by a process that ended in between. One that was brought
   * here from elsewhere rests on nobody's feedback here, and its name is passed over.
   */
  const nextName = Effect.fnUntraced(function*(tenant: string, { number }: OnlineState) {
    for (let next = number + 1; next <= number + namesMax; next++) {
      const { generations, parameters } = yield* runState(tenant, onlineRun(next))
      if (generations.length === 0) return { number: next, isOpened: false }
      if (parameters?.preset === "online" && feedbackIn(tenant, parameters).length > 0) return { number: next, isOpened: true }
    }
    return yield* Effect.die(new Error(`${namesMax} runs have the names that online runs would have`))
  })

  /** Feedback that is new, and the batch it makes up for the tenant's run of a number. */
  const fresh = Effect.fnUntraced(function*(tenant: string, state: OnlineState, number: number) {
    const found = yield* freshOf(tenant, state)
    return { fresh: found, batch: batchOf(found, String(seedOf(tenant, number))) }
  })

  /**
   * What the tenant's runs rejected. What one of them left undecided may be tried again, since the next one has other questions to decide
   * it by.
   */
  const rejectedBefore = Effect.fnUntraced(function*(tenant: string, { runs }: OnlineState, inForce: string) {
    const last = runs.at(-1)?.run
    const named = [...(inForce === "" ? [] : [inForce]), ...(last === undefined ? [] : [last])]
    const states = yield* Effect.forEach([...new Set(named)], (run) => runState(tenant, run))
    return inherited(states.map(({ trials }) => trialLedger(trials).filter(({ outcome }) => outcome === "rejected")))
  })

  /** Opens the run of a number from a batch; false where feedback is not enough. */
  const openNext = Effect.fnUntraced(function*(tenant: string, state: OnlineState, number: number) {
    const seen = following.through()
    const { batch } = yield* fresh(tenant, state, number)
    if (batch._tag === "Short") return false
    const { principles, ref } = yield* inForce(tenant)
    const from = ref.run === "" ? undefined : yield* runState(tenant, ref.run)
    const step = from === undefined ? 0 : Math.max(from.generations.find(({ number }) => number === ref.generation)?.step ?? 0, from.parameters?.branch?.step ?? 0, 0)
    const branch = from === undefined ? undefined : { ...ref, step, change: "live feedback", principles, memoryPosition: seen }
    const wanted = onlineRequest(batch, { seed: seedOf(tenant, number), isRemote: parts.isRemote, branch, ledger: yield* rejectedBefore(tenant, state, ref.run) })
    if (wanted === undefined) return false
    yield* registerLive(tenant, [...batch.train, ...batch.validation, ...batch.guard])
    yield* parts.open({ tenant, run: onlineRun(number), request: wanted })
    return true
  })

  /** Opens the next run and records it, where one may begin and feedback is enough. */
  const openDue = Effect.fnUntraced(function*(tenant: string, folded: Folded<OnlineState>) {
    if (!isOpenForRun(folded.state)) return folded
    const { isOpened, number } = yield* nextName(tenant, folded.state)
    if (!isOpened && !(yield* openNext(tenant, folded.state, number))) return folded
    // Recorded as the run says it was opened, so that it is the same whoever gets this far.
    const run = onlineRun(number)
    const { parameters } = yield* runState(tenant, run)
    if (parameters === undefined) return folded
    const questions = questionsOf(parameters)
    const own = feedbackIn(tenant, parameters)
    const { branch } = parameters
    return yield* decide(tenant, folded, {
      _tag: "TakeRun",
      run,
      from: branch === undefined ? { run: "", generation: 0 } : { run: branch.run, generation: branch.generation },
      through: own.reduce((last, { sequence }) => Math.max(last, sequence), folded.state.through),
      questions: questions.length,
      conversations: conversationsOf(own),
      users: new Set(questions.map(({ user }) => user)).size
    })
  })

  return { fresh, openDue }
}
