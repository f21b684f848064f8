/** What may be changed about a generation, and the generation as it stood. */
import { Effect, Result } from "effect"
import type { Principle } from "#shared/domain/principle"
import { inherited, type LedgerEntry } from "#shared/metamemory/ledger"
import { applyOperations, refusalText } from "#shared/metamemory/operations"
import { trialLedger } from "#shared/metamemory/trial"
import type { Role } from "#shared/model/roles"
import { mixedShareOf } from "#services/reflector/analysis"
import { behaviour } from "#services/reflector/behaviour"
import type { RunParameters } from "#services/reflector/parameters"
import type { RerunChange } from "#services/reflector/run-events"
import { CommandFailed } from "./root.ts"
import { runCommits, type RunState } from "./runs.ts"

/** Roles that whoever reflects plays. */
export const reflectingRoles = ["reflect", "propose", "consolidate"] as const satisfies ReadonlyArray<Role>

export const changeText = (change: RerunChange): string => {
  switch (change.kind) {
    case "drop":
      return `without ${change.principle}`
    case "pin":
      return `with ${change.principle}`
    case "reword":
      return `with ${change.principle} reworded`
    case "reader":
      return `answered by ${change.model}`
    case "judge":
      return `judged by ${change.model ?? `the ${change.judge} judge`}`
    case "reflector":
      return `reflected on by ${change.model ?? (change.reflector === "rules" ? "rules" : "the model")}`
    case "gate":
      return `under the gate policy ${change.policy}`
  }
}

/** A generation as it stood when it was sealed, and how often each class of question had been drawn anew by then. */
export interface StartingPoint {
  readonly parameters: RunParameters
  readonly principles: ReadonlyArray<Principle>
  readonly draws: Readonly<Record<string, number>>
  /** Every principle the run knows of, the refused ones too, in their last wording. */
  readonly known: ReadonlyMap<string, Principle>
  /** Step that sealed it; 0 for generation 0. */
  readonly step: number
  /** Share of the run's questions that came out both ways. */
  readonly mixedShare: number | undefined
  /** What had been tried by then and was not in force. */
  readonly ledger: ReadonlyArray<LedgerEntry>
  readonly undersized: boolean
  /** Whether its announced test was made or looked at. */
  readonly isTested: boolean
  /** That stand in the log already. */
  readonly whatIfs: RunState["whatIfs"]
}

/** The run at one of its generations. */
export const startingPoint = (tenant: string, run: string, generation: number) =>
  Effect.gen(function*() {
    const commits = yield* runCommits(tenant, run)
    let state: RunState = behaviour.initial()
    let found: Pick<StartingPoint, "principles" | "draws" | "step" | "ledger"> | undefined
    for (const commit of commits) {
      for (const stored of commit.events) {
        const event = behaviour.codec.decode(stored)
        if (Result.isFailure(event)) return yield* event.failure
        state = behaviour.evolve(state, event.success, commit)
        if (event.success._tag === "GenerationSealed" && event.success.generation === generation) {
          const { draws, principles } = state.trials
          found = { principles, draws, ledger: inherited([trialLedger(state.trials)]), step: Math.max(event.success.step, state.parameters?.branch?.step ?? 0) }
        }
      }
    }
    const { generations, operations, parameters, tests, undersized, whatIfs } = state
    if (found === undefined) return yield* new CommandFailed({ message: `the run ${run} has generations 0 to ${generations.length - 1}, and no ${generation}` })
    if (parameters === undefined) return yield* new CommandFailed({ message: `${run} is the record of an imported run: it has no validation questions to ask` })
    const named = [...operations.flatMap(({ after, before }) => [before, after].filter((one) => one !== undefined)), ...generations.flatMap(({ principles }) => principles)]
    const known = new Map(named.map((principle) => [principle.id, principle]))
    return { ...found, parameters, known, mixedShare: mixedShareOf(state.steps), undersized, isTested: tests.length > 0, whatIfs } satisfies StartingPoint as StartingPoint
  })

/** The principles with the change made. A change that cannot be made, or changes nothing, is refused with what to do. */
export const changed = ({ known, parameters, principles }: Pick<StartingPoint, "known" | "parameters" | "principles">, change: RerunChange): Result.Result<ReadonlyArray<Principle>, string> => {
  if (change.kind === "judge") {
    if (change.model !== undefined) return parameters.judge === "model" && change.model === parameters.models["judge"] ? Result.fail(`the run was judged by ${change.model}: name another model`) : Result.succeed(principles)
    return change.judge === parameters.judge ? Result.fail(`the run was judged by the ${change.judge} judge: name the other one${change.judge === "model" ? ", or another model" : ""}`) : Result.succeed(principles)
  }
  if (change.kind === "reader") {
    return change.model === parameters.models["answer"] ? Result.fail(`the run was answered by ${change.model}: name another model`) : Result.succeed(principles)
  }
  if (change.kind === "reflector") {
    const { models, reflector } = parameters
    const isSame = change.model === undefined ? (change.reflector === "rules") === (reflector === "rules") : reflectingRoles.every((role) => models[role] === change.model)
    return isSame ? Result.fail(`the run was reflected on by ${reflector === "rules" ? "rules" : (models["reflect"] ?? "the model")}: name another model${reflector === "rules" ? "" : ", or rules"}`) : Result.succeed(principles)
  }
  if (change.kind === "gate") {
    return change.policy === parameters.gate ? Result.fail(`the run was gated by the policy ${change.policy}: name another one`) : Result.succeed(principles)
  }
  if (change.kind === "pin") {
    const principle = known.get(change.principle)
    if (principles.some(({ id }) => id === change.principle)) return Result.fail(`${change.principle} is in this generation already; --drop tells what it does there`)
    return principle === undefined ? Result.fail(`the run knows of no principle ${change.principle}; \`metamem generations\` shows those of its generations and those the gate refused`) : Result.succeed([...principles, principle])
  }
  if (!principles.some(({ id }) => id === change.principle)) {
    const others = principles.length === 0 ? "nor any other" : `but ${principles.map(({ id }) => id).join(", ")}`
    const hint = known.has(change.principle) ? `; --pin ${change.principle} tells what it would add` : ""
    return Result.fail(`this generation holds no principle ${change.principle}, ${others}${hint}`)
  }
  const operation = change.kind === "drop"
    ? { operation: "delete" as const, id: change.principle }
    : { operation: "update" as const, id: change.principle, content: change.text }
  const applied = applyOperations(principles, [operation], { runSeed: "what-if", step: 0, generation: 0, maxInScope: Number.POSITIVE_INFINITY })
  const [refused] = applied.refused
  return refused === undefined ? Result.succeed(applied.principles) : Result.fail(refusalText(refused.refusal))
}
