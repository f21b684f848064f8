/** How a run's state follows from its events: it copies what they say, and never fails. */
import { openTrials, sealed } from "#shared/metamemory/trial"
import { comparisonLike } from "./comparisons.ts"
import { gateQuestions, startOf } from "./parameters.ts"
import type { RunEvent } from "./run-events.ts"
import { isMixed, verdictCount } from "./stages.ts"
import { chained, guardPlace, patched, retriedPlace, type RunState, sourceKey } from "./state.ts"
import { paidTogether } from "./what-ifs.ts"

export const evolve = (state: RunState, event: RunEvent, place: { readonly sequence: number }): RunState => {
  switch (event._tag) {
    case "RunOpened": {
      const { parameters } = event
      state.parameters = parameters
      state.budget = event.budget
      state.expectedCalls = event.expectedCalls
      state.undersized = event.undersized
      state.questions = new Map([...parameters.train, ...parameters.validation, ...parameters.guard, ...parameters.test].map((question) => [question.id, question]))
      const opened = openTrials({
        runSeed: String(parameters.seed),
        policy: parameters.gate,
        reader: parameters.models["answer"] ?? "",
        questions: gateQuestions(parameters.validation, parameters.mix),
        maxInScope: parameters.maxInScope,
        ...(parameters.ledger === undefined ? {} : { earlier: parameters.ledger })
      })
      state.trials = { ...opened, principles: startOf(parameters) }
      state.phase = { _tag: "Between", step: (parameters.branch?.step ?? 0) + 1 }
      return state
    }
    case "StepStarted":
      state.phase = { _tag: "Rollouts", step: event.step, questions: event.questions }
      state.repeated = event.repeated
      state.stepSequence = place.sequence
      return state
    case "RolloutsFolded": {
      state.digest = chained(state.digest, event.results)
      state.steps.push({ step: event.step, generation: state.trials.generation, attempts: event.attempts })
      event.attempts.forEach(({ question, verdicts }, at) => {
        const correct = verdictCount(verdicts, "c")
        const judged = verdicts.length - verdictCount(verdicts, "e")
        state.history.push({ step: event.step, question, fresh: at >= state.repeated, ...(judged === 0 ? {} : { mean: correct / judged }) })
      })
      state.phase = { _tag: "Reflections", step: event.step, attempts: event.attempts.filter(isMixed) }
      return state
    }
    case "RunImported":
      state.imported = event
      return state
    case "JudgeCalibrated":
      state.calibrations.push(event)
      return state
    case "TestOpened": {
      const { generation, look, memoryPosition, questions } = event
      state.tests.push({ look, generation, questions, memoryPosition, report: undefined })
      return state
    }
    case "TestReported": {
      const opened = state.tests.find(({ look }) => look === event.look)
      if (opened !== undefined) opened.report = event
      return state
    }
    case "WhatIfAnswered": {
      const { _tag, ...found } = event
      const at = event.number - 1
      const before = state.whatIfs[at]
      state.whatIfs[at] = { ...found, sequence: place.sequence, ...(before === undefined ? {} : { reused: before.reused, paid: paidTogether(before.paid, found.paid) }) }
      return state
    }
    case "BranchesCompared": {
      const { _tag, ...found } = event
      const before = comparisonLike(state, found)
      const at = before === undefined ? state.comparisons.length : state.comparisons.indexOf(before)
      state.comparisons[at] = { ...found, sequence: place.sequence, ...(before === undefined ? {} : { reused: before.reused, paid: paidTogether(before.paid, found.paid) }) }
      return state
    }
    case "AlarmRaised":
      state.alarms.push(event.message)
      return state
    case "ReflectionsFolded":
      state.digest = chained(state.digest, event.results)
      if (state.phase._tag === "Reflections") state.phase = { _tag: "Proposals", step: event.step, attempts: state.phase.attempts, reflected: new Set(event.done) }
      return state
    case "ProposalsFolded":
      state.digest = chained(state.digest, event.results)
      state.phase = { _tag: "Consolidation", step: event.step, proposals: event.proposals }
      return state
    case "OperationsConsolidated":
      if (event.results !== "") state.digest = chained(state.digest, event.results)
      for (const { index, sources } of event.operations) state.sources.set(sourceKey(event.step, index), sources)
      state.trials = patched(state.trials, event.patch)
      state.phase = { _tag: "Gate", step: event.step, round: 0, operations: event.operations.length, decided: [] }
      return state
    case "GateLooked":
      state.digest = chained(state.digest, event.results)
      state.trials = patched(state.trials, event.patch)
      if (state.phase._tag === "Gate") state.phase = { ...state.phase, round: event.round + 1 }
      return state
    case "GateDecided": {
      if (state.phase._tag === "Gate") state.phase = { ...state.phase, decided: [...state.phase.decided, event] }
      state.operations.push({
        id: event.operation,
        index: event.index,
        operation: event.kind,
        scope: event.scope,
        ...(event.before === undefined ? {} : { before: event.before }),
        ...(event.after === undefined ? {} : { after: event.after }),
        ...(event.merged === undefined ? {} : { merged: event.merged }),
        step: event.step,
        proposed: state.trials.trials.find(({ id }) => id === event.operation)?.step ?? event.step,
        decision: event.decision,
        reason: event.reason,
        difference: event.figures.mean,
        asked: event.counts.questions,
        sources: event.sources,
        sequence: place.sequence
      })
      return state
    }
    case "JobRetried": {
      const place = retriedPlace(event.step, event.kind, event.key)
      state.retried.set(place, [...(state.retried.get(place) ?? []), event.outcome])
      // The stage has other jobs than before, which is what a phase of its own says.
      state.phase = { ...state.phase }
      return state
    }
    case "GenerationSealed":
      state.trials = sealed(state.trials, event.generation)
      state.generations.push({
        number: event.generation,
        step: event.step,
        principles: event.principles,
        hash: event.hash,
        sequence: place.sequence,
        decisions: state.phase._tag === "Gate" ? state.phase.decided : []
      })
      return state
    case "StepEnded":
      state.phase = { _tag: "Between", step: event.step + 1 }
      return state
    case "GuardVoided":
      state.guardVoids = event.voids
      for (const { generation, question, samples } of event.again) for (const sample of samples) state.guardDraws.set(guardPlace(generation, question, sample), event.voids)
      state.digest = chained(state.digest, event.results)
      // It asks for others than before, as a stage with a job done anew does.
      state.phase = { ...state.phase }
      return state
    case "GuardTested":
      state.guard = event
      state.digest = chained(state.digest, event.results)
      return state
    case "RunFinished":
      state.recommended = event.recommended
      state.reason = event.reason
      state.stopped = event.stopped
      state.phase = { _tag: "Finished" }
      return state
  }
}
