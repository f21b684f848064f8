import { suite } from "uvu"
import * as assert from "uvu/assert"
import { runLine } from "#services/cli/run-lines"
import type { RunParameters } from "#services/reflector/parameters"
import { parameters } from "../reflector/simulation.ts"

const test = suite("a run's events as lines")

test("that all judged attempts came out alike is an alarm beside errors too", () => {
  const folded = (...verdicts: ReadonlyArray<string>) =>
    runLine({ _tag: "RolloutsFolded", step: 2, attempts: verdicts.map((letters, at) => ({ question: `q${at}`, verdicts: letters, dropped: [] })), errors: verdicts.join("").split("e").length - 1, results: "" }) ?? ""
  assert.match(folded("cce", "ccc"), /ALARM: every attempt of step 2 that was judged was correct, beside 1 error:/)
  assert.match(folded("iee"), /was incorrect, beside 2 errors/)
  assert.match(folded("cie"), /ALARM: 1 of 3 attempts of step 2 ended in an error/)
  // Mixed ones are none, and alarms of the run's own are not said twice.
  for (const verdicts of [["ciec"], ["ccc"], ["iii"], ["eee"]]) assert.not.match(folded(...verdicts), /ALARM/)
})

test("classes with too few validation questions to try anything on are named", () => {
  const opened = (parts: Partial<RunParameters>) => runLine({ _tag: "RunOpened", parameters: parameters(parts), budget: [], expectedCalls: 0, undersized: false }) ?? ""
  const { validation } = parameters({})
  const few = validation.filter(({ questionClass }) => questionClass !== "assistant-said").concat(validation.filter(({ questionClass }) => questionClass === "assistant-said").slice(0, 2))
  assert.match(opened({ validation: few as never }), /fewer than 3 validation questions of assistant-said, multi-evidence, time, latest-value: what is proposed for these alone is tried on all questions, and holds for all/)
  assert.not.match(opened({ validation: few as never, gate: "always" }), /validation questions of/)
})

test("one of a kind is told as one", () => {
  const opened = runLine({ _tag: "ProposalsFolded", step: 1, by: { rules: 1, m: 2 }, proposals: [{}], failed: 0, discarded: { TooManyOperations: 1, TooManyWords: 3 } } as never)
  assert.is(opened, "  1 proposal (rules, m × 2); thrown away: TooManyOperations, TooManyWords × 3")
  assert.match(runLine({ _tag: "RunFinished", generations: 1, incumbent: 0, recommended: 0, reason: "nothing was better" }) ?? "", /^finished: 1 generation, /)
})

test("an early end is told with its step and reason", () => {
  const event = { _tag: "RunFinished", generations: 2, incumbent: 1, recommended: 1, reason: "better" } as const
  assert.match(runLine({ ...event, stopped: { step: 14, reason: "12 steps in a row sealed nothing" } }) ?? "", /early, after step 14 \(12 steps in a row sealed nothing\)/)
  assert.not.match(runLine(event) ?? "", /early/)
})

const counts = { questions: 20, samples: 5, incumbentCorrect: 40, candidateCorrect: 55, incumbentErrors: 0, candidateErrors: 0 }
const principle = { id: "P1-1-abc", text: "Guess.", scope: "time" as const, bornIn: 1, parents: [] }
const decided = { _tag: "GateDecided", step: 9, round: 0, scope: "time", policy: "likely", decision: "accepted", reason: "better by at least .84 standard errors", operation: "O9-1-abc", index: 1, draw: 0, counts, figures: { mean: 0.15, standardError: 0.05, z: 3 } } as const

test("a deletion is told as one, and as a retirement where no question suggests it", () => {
  assert.match(runLine({ ...decided, kind: "delete", before: principle, sources: ["q1"] }) ?? "", /accepted: delete \[time\] Guess\. — 55 of 100 correct without it, difference to with it 15\.0 points/)
  assert.match(runLine({ ...decided, kind: "delete", before: principle, sources: [] }) ?? "", /accepted: retire \[time\] Guess\./)
  assert.match(runLine({ ...decided, kind: "add", after: principle, sources: [] }) ?? "", /accepted: add \[time\] Guess\. — 55 of 100 correct with it, difference to without 15\.0 points \(selection, not evidence\): better by at least \.84/)
})

test("a merge is told with what it is of", () => {
  const one = { ...principle, id: "P1-2-abd" }
  assert.match(runLine({ ...decided, kind: "merge", after: principle, merged: [principle, one], sources: [] }) ?? "", /accepted: merge of P1-1-abc, P1-2-abd \[time\] Guess\. — 55 of 100 correct merged, difference to apart 15\.0 points/)
  const lines = runLine({
    _tag: "OperationsConsolidated", step: 9, by: "m", discarded: {}, results: "", patch: { trials: [], incumbent: {}, allowance: 0 }, refused: [],
    operations: [{ index: 0, operation: { operation: "merge", ids: ["P1-1-abc", "P1-2-abd"], content: "Guess." }, sources: [], origin: [] }]
  })
  assert.is(lines, "  in line for the gate: merge of P1-1-abc, P1-2-abd Guess.")
})

test("what is turned down before the gate is told with its reason", () => {
  const lines = runLine({
    _tag: "OperationsConsolidated", step: 9, by: "m", discarded: {}, results: "", patch: { trials: [], incumbent: {}, allowance: 0 },
    operations: [
      { index: 0, operation: { operation: "add", content: "Guess.", scope: "all" }, sources: ["q1"], origin: [] },
      { index: 1, operation: { operation: "add", content: "Count.", scope: "time" }, sources: ["q1"], origin: [] },
      { index: 2, operation: { operation: "delete", id: "P1-1-abc" }, sources: [], origin: [] }
    ],
    refused: [{ index: 0, operation: { operation: "add", content: "Guess.", scope: "all" }, reason: "nearly the same was tried as O1-0-abc" }]
  })?.split("\n")
  const failed = runLine({ _tag: "OperationsConsolidated", step: 9, by: "nobody: it failed", discarded: {}, results: "", patch: { trials: [], incumbent: {}, allowance: 0 }, operations: [], refused: [] })
  assert.match(failed ?? "", /^  ALARM: the consolidation failed/)
  assert.match(runLine({ _tag: "ProposalsFolded", step: 1, by: { m: 2 }, proposals: [{}], failed: 2, discarded: {} } as never) ?? "", /1 proposal \(m × 2\), 2 failed$/)
  assert.equal(lines, [
    "  not to the gate: add [all] Guess. — nearly the same was tried as O1-0-abc",
    "  in line for the gate: add [time] Count.",
    "  in line for the gate: retire P1-1-abc, which by its measured effect brings less than a point"
  ])
})

test.run()
