/** The record of a run made by the published system: its generations as events, so that it is replayed and read like any other run. */
import type { Operation, Principle } from "#shared/domain/principle"
import { generationHash } from "#shared/metamemory/generation"
import { operationId, principleId } from "#shared/metamemory/operations"
import type { ImportedRecord } from "./protocol.ts"
import type { GateDecided, RunEvent, SourcedOperation } from "./run-events.ts"

type Change = { readonly kind: "delete"; readonly before: Principle } | { readonly kind: "update"; readonly before: Principle; readonly text: string } | { readonly kind: "add"; readonly text: string }

/**
 * How to get from principles to a list of texts: what is left keeps its id, in order; what cannot be matched in order leaves and comes
 * anew.
 *
 * @param updates texts that became others; those of other lists do no harm
 */
const changesTo = (current: ReadonlyArray<Principle>, texts: ReadonlyArray<string>, updates: ReadonlyMap<string, string>): ReadonlyArray<Change> => {
  const left = new Map<string, number>()
  for (const text of texts) left.set(text, (left.get(text) ?? 0) + 1)
  const take = (text: string | undefined): boolean => {
    const count = text === undefined ? 0 : (left.get(text) ?? 0)
    if (text === undefined || count === 0) return false
    left.set(text, count - 1)
    return true
  }
  // Unchanged ones are matched first: an update may have made a text that stood there before.
  const unchanged = new Set(current.filter(({ text }) => take(text)))
  const kept = current.flatMap((principle) => {
    if (unchanged.has(principle)) return [{ principle, text: principle.text }]
    const text = updates.get(principle.text)
    return text !== undefined && take(text) ? [{ principle, text }] : []
  })
  const until = kept.findIndex(({ text }, at) => texts[at] !== text)
  const standing = until === -1 ? kept : kept.slice(0, until)
  const stays = new Map(standing.map(({ principle, text }) => [principle, text]))
  return [
    ...current.flatMap((before): ReadonlyArray<Change> => {
      const text = stays.get(before)
      return text === undefined ? [{ kind: "delete", before }] : text === before.text ? [] : [{ kind: "update", before, text }]
    }),
    ...texts.slice(standing.length).map((text): Change => ({ kind: "add", text }))
  ]
}

const nothingCounted = { questions: 0, samples: 0, incumbentCorrect: 0, candidateCorrect: 0, incumbentErrors: 0, candidateErrors: 0 }

/** Operations under the ids that principles have here; one that names none of them keeps what it names. The layout has no scopes. */
const identified = (operations: ReadonlyArray<SourcedOperation>, used: ReadonlyArray<Principle>): ReadonlyArray<SourcedOperation> =>
  operations.map(({ operation: { content, id, operation }, sources }) => ({
    operation: {
      operation,
      ...(id === undefined ? {} : { id: used[Number(/^M(\d+)$/.exec(id)?.[1] ?? -1)]?.id ?? id }),
      ...(content === undefined ? {} : { content }),
      ...(operation === "add" ? { scope: "all" as const } : {})
    },
    sources
  }))

const isOf = (change: Change, { content, id, operation }: Operation): boolean =>
  change.kind === "delete" ? operation === "delete" && id === change.before.id : operation !== "delete" && content?.trim() === change.text

/**
 * All events of an imported run, from its opening to its end. A folder without changes from one step to the next gives no generation for
 * it. What else is known of a step is recorded as a run's own step is, without results. Operations are recorded as accepted by the policy
 * `always`, which is what the published system does.
 *
 * @param digest over the generations; ids derive from it, so the same generations give the same ids
 */
export const importedEvents = ({ contents, evaluation, generations, origin, steps = [] }: ImportedRecord, digest: string): ReadonlyArray<RunEvent> => {
  const events: Array<RunEvent> = [
    {
      _tag: "RunImported", format: "reference", origin, digest, generations: generations.length,
      ...(contents === undefined ? {} : { contents }),
      ...(evaluation === undefined ? {} : { evaluation })
    },
    { _tag: "GenerationSealed", generation: 0, step: -1, principles: [], hash: generationHash({ number: 0, principles: [], gate: [] }), inputsDigest: "", gate: null }
  ]
  let current: ReadonlyArray<Principle> = []
  let number = 0
  const [sealing, known] = [new Map(generations.map((one) => [one.step, one])), new Map(steps.map((one) => [one.step, one]))]
  for (const step of [...new Set([...sealing.keys(), ...known.keys()])].sort((a, b) => a - b)) {
    const found = known.get(step)
    const used = current
    if (found !== undefined) {
      const { attempts, epoch, proposals, reflected } = found
      events.push(
        { _tag: "StepStarted", step, questions: attempts.map(({ question }) => question), repeated: 0, epoch },
        {
          _tag: "RolloutsFolded", step, errors: attempts.reduce((sum, { verdicts }) => sum + verdicts.split("e").length - 1, 0), results: "",
          attempts: attempts.map(({ question, verdicts }) => ({ question, verdicts, dropped: [...verdicts].map(() => []) }))
        }
      )
      if (reflected.length > 0) events.push({ _tag: "ReflectionsFolded", step, done: reflected, failed: 0, by: { imported: reflected.length }, results: "" })
      if (proposals.found.length + Object.keys(proposals.discarded).length > 0) {
        events.push({ _tag: "ProposalsFolded", step, proposals: identified(proposals.found, used), failed: 0, discarded: proposals.discarded, by: { imported: proposals.found.length }, results: "" })
      }
    }
    const operations = identified(found?.operations.found ?? [], used).map((one, index) => ({ index, ...one }))
    const isKnown = ({ operation: { id } }: SourcedOperation): boolean => id === undefined || used.some((principle) => principle.id === id)
    const consolidated = (principles: ReadonlyArray<Principle>): RunEvent => ({
      _tag: "OperationsConsolidated", step,
      operations: operations.filter(isKnown).map((one) => ({ ...one, origin: [] })),
      refused: operations.filter((one) => !isKnown(one)).map(({ index, operation }) => ({ index, operation, reason: "names no principle of the generation" })),
      discarded: found?.operations.discarded ?? {}, by: "imported", patch: { principles, trials: [], incumbent: {}, allowance: 0 }, results: ""
    })
    const sealed = sealing.get(step)
    const changes = sealed === undefined ? [] : changesTo(current, sealed.principles, new Map(sealed.updates.map(({ after, before }) => [before, after])))
    if (changes.length === 0) {
      if (operations.length > 0) events.push(consolidated(current))
      if (found !== undefined) events.push({ _tag: "StepEnded", step, outcome: "nothing accepted", generation: number })
      continue
    }
    number += 1
    const decided = changes.map((change, index): GateDecided => {
      const place = { runSeed: digest, step, index }
      const operation = operationId(place)
      const after: Principle | undefined = change.kind === "delete"
        ? undefined
        : change.kind === "update"
          ? { ...change.before, text: change.text, parents: [...change.before.parents, operation] }
          : { id: principleId(place), text: change.text, scope: "all", bornIn: number, parents: [operation] }
      return {
        _tag: "GateDecided", step, round: 0, scope: "all", policy: "always", decision: "accepted", reason: "imported", operation, index, kind: change.kind,
        ...(change.kind === "add" ? {} : { before: change.before }),
        ...(after === undefined ? {} : { after }),
        sources: operations.find((one) => isOf(change, one.operation))?.sources ?? [], draw: 0, counts: nothingCounted, figures: { mean: null, standardError: null, z: null }
      }
    })
    const gone = new Set(decided.flatMap(({ before, kind }) => (kind === "delete" && before !== undefined ? [before.id] : [])))
    const changed = new Map(decided.flatMap(({ after, kind }) => (kind === "update" && after !== undefined ? [[after.id, after] as const] : [])))
    current = [
      ...current.filter(({ id }) => !gone.has(id)).map((principle) => changed.get(principle.id) ?? principle),
      ...decided.flatMap(({ after, kind }) => (kind === "add" && after !== undefined ? [after] : []))
    ]
    const gate = decided.map(({ counts, decision, operation, policy, scope }) => ({ scope, policy, decision, operations: [operation], counts }))
    events.push(
      consolidated(current),
      ...decided,
      { _tag: "GenerationSealed", generation: number, step, principles: current, hash: generationHash({ number, principles: current, gate }), inputsDigest: digest, gate },
      { _tag: "StepEnded", step, outcome: "sealed", generation: number }
    )
  }
  events.push({ _tag: "RunFinished", generations: number + 1, incumbent: number, recommended: 0, reason: "imported: nothing was tested here" })
  return events
}
