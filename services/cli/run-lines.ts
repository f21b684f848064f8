/** What is told of a run while it goes on: its events, each as a line for people. */
import { questionClasses } from "#shared/domain/scope"
import { isRetirement } from "#shared/metamemory/effect"
import { inScope } from "#shared/metamemory/router"
import { fewestQuestions } from "#shared/metamemory/trial"
import { failedBy } from "#services/reflector/behaviour"
import type { RunParameters } from "#services/reflector/parameters"
import type { RunEvent } from "#services/reflector/run-events"
import { isMixed, verdictCount } from "#services/reflector/stages"
import { kindText, percent, some, timesNamed } from "./shown.ts"
import { parameterLines } from "./train-options.ts"

const gained = (share: number | null): string => (share === null ? "?" : `${percent(share)} points`)

const gateLine = ({ after, before, counts, decision, figures, kind, merged, operation, policy, reason, scope, sources }: Extract<RunEvent, { readonly _tag: "GateDecided" }>): string => {
  const answers = counts.questions * counts.samples
  const [so, otherwise] = ({ add: ["with it", "without"], update: ["reworded", "before"], delete: ["without it", "with it"], merge: ["merged", "apart"] } as const)[kind]
  return `  gate (${policy}) ${decision}: ${isRetirement(kind, sources) ? "retire" : kindText(kind, merged?.map(({ id }) => id))} [${scope}] ${after?.text ?? before?.text ?? operation} — ${
    answers === 0 ? "asked of no question" : `${counts.candidateCorrect} of ${answers} correct ${so}, difference to ${otherwise} ${gained(figures.mean)} (selection, not evidence): ${reason}`
  }`
}

/** Numbers by name. */
const tallied = (counts: Readonly<Record<string, number>>): string => Object.entries(counts).map(([name, n]) => timesNamed(name, n)).join(", ")

/** Operations as they were submitted, each with why it went no further where it did not. */
const consolidatedLines = ({ by, discarded, operations, refused }: Extract<RunEvent, { readonly _tag: "OperationsConsolidated" }>): ReadonlyArray<string> => {
  const reasons = new Map(refused.map(({ index, reason }) => [index, reason]))
  return [
    ...(Object.keys(discarded).length === 0 ? [] : [`  thrown away of what was consolidated: ${tallied(discarded)}`]),
    ...operations.map(({ index, operation: { content, id, ids, operation, scope }, sources }) => {
      const reason = reasons.get(index)
      const what = isRetirement(operation, sources)
        ? `retire ${id}, which by its measured effect brings less than a point`
        : [kindText(operation, ids), id, scope === undefined ? undefined : `[${scope}]`, content].filter((part) => part !== undefined).join(" ")
      return reason === undefined ? `  in line for the gate: ${what}` : `  not to the gate: ${what} — ${reason}`
    }),
    ...(by === failedBy ? ["  ALARM: the consolidation failed, and this step's proposals are lost; see why with `metamem dead list`"] : []),
    ...(operations.length === 0 && by !== failedBy ? ["  nothing to put to the gate"] : [])
  ]
}

/** Share of a step's attempts from which errors are an alarm. */
const manyErrors = 1 / 3

/**
 * What the run's own alarms leave unsaid: of a step's attempts some were errors, and all that were judged came out alike, or the errors
 * were many. Undefined where neither is so, and where all were errors, of which the run raises an alarm itself.
 *
 * @param verdicts a letter an attempt
 */
export const errorAlarm = (step: number, verdicts: string): string | undefined => {
  const judged = new Set(verdicts.replaceAll("e", ""))
  const errors = verdictCount(verdicts, "e")
  if (errors === 0 || judged.size === 0) return undefined
  return judged.size === 1
    ? `every attempt of step ${step} that was judged was ${judged.has("c") ? "correct" : "incorrect"}, beside ${some(errors, "error")}: nothing can be learnt. See whether the judge tells answers apart.`
    : errors >= manyErrors * verdicts.length
    ? `${errors} of ${verdicts.length} attempts of step ${step} ended in an error: what is learnt rests on the rest. Look at \`metamem dead list\` and at the endpoints.`
    : undefined
}

export const lettersOf = (attempts: Extract<RunEvent, { readonly _tag: "RolloutsFolded" }>["attempts"]): string => attempts.map(({ verdicts }) => verdicts).join("")

/** Classes whose principles are tried, and hold, for all questions instead, with what that means; none where the gate tries nothing. */
const wideLine = ({ gate, validation }: RunParameters): ReadonlyArray<string> => {
  const few = gate === "always" ? [] : questionClasses.filter((scope) => validation.filter(({ questionClass }) => inScope({ scope }, questionClass)).length < fewestQuestions)
  return few.length === 0 ? [] : [`fewer than ${fewestQuestions} validation questions of ${few.join(", ")}: what is proposed for these alone is tried on all questions, and holds for all`]
}

const openedLines = ({ budget, parameters, undersized }: Extract<RunEvent, { readonly _tag: "RunOpened" }>): ReadonlyArray<string> => {
  const { guard, judge, reflector, test, train, validation } = parameters
  return [
    `run opened: ${train.length} training, ${validation.length} validation, ${guard.length} guard, ${test.length} test questions; judge: ${judge}; reflector: ${reflector}${reflector === "rules" ? " (rule-based: no model proposes)" : ""}`,
    ...[...parameterLines(parameters), ...wideLine(parameters), ...budget].map((line) => `  ${line}`),
    ...(undersized ? ["  too small to mean much: every figure below shows the machinery, not the method"] : [])
  ]
}

/** A run's event as one line for people; undefined for what is not worth one. */
export const runLine = (event: RunEvent): string | undefined => {
  switch (event._tag) {
    case "RunOpened":
      return openedLines(event).join("\n")
    case "StepStarted":
      return `step ${event.step}: ${some(event.questions.length, "question")}, ${event.repeated} of them partly right before`
    case "RolloutsFolded": {
      const all = lettersOf(event.attempts)
      const alarm = errorAlarm(event.step, all)
      const mixed = event.attempts.filter(isMixed).length
      return `  ${some(all.length, "rollout")} judged: ${verdictCount(all, "c")} correct, ${verdictCount(all, "i")} incorrect, ${some(event.errors, "error")}; ${some(mixed, "question")} came out both ways${alarm === undefined ? "" : `\n  ALARM: ${alarm}`}`
    }
    case "AlarmRaised":
      return `  ALARM: ${event.message}`
    case "ReflectionsFolded":
      return `  ${some(event.done.length, "reflection")} (${tallied(event.by) || "none"})${event.failed > 0 ? `, ${event.failed} failed` : ""}`
    case "ProposalsFolded":
      return `  ${some(event.proposals.length, "proposal")} (${tallied(event.by) || "none"})${event.failed > 0 ? `, ${event.failed} failed` : ""}${Object.keys(event.discarded).length > 0 ? `; thrown away: ${tallied(event.discarded)}` : ""}`
    case "OperationsConsolidated":
      return consolidatedLines(event).join("\n")
    case "JobRetried":
      return `  a ${event.kind} that failed is done anew, as \`metamem dead retry\` asked`
    case "GateDecided":
      return gateLine(event)
    case "GenerationSealed":
      return `  sealed generation ${event.generation}: ${some(event.principles.length, "principle")}, hash ${event.hash.slice(0, 16)}`
    case "StepEnded":
      return event.outcome === "sealed" ? undefined : `  step ${event.step} ended: ${event.outcome}`
    case "GuardVoided":
      return `guard test of generation ${event.generation} void — ${event.reason}; ${some(event.again.reduce((sum, { samples }) => sum + samples.length, 0), "failed answer")} drawn anew, for the ${event.voids === 1 ? "first" : `${event.voids}.`} time`
    case "GuardTested":
      return `guard test of generation ${event.generation} against generation 0: ${event.decision} — ${event.reason}`
    case "RunFinished":
      return `finished${event.stopped === undefined ? "" : ` early, after step ${event.stopped.step} (${event.stopped.reason})`}: ${some(event.generations, "generation")}, recommended ${event.recommended} — ${event.reason}`
    default:
      return undefined
  }
}
