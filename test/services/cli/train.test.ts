import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Dataset } from "#shared/datasets/dataset"
import type { Question } from "#shared/domain/question"
import { mixOf, typeOf } from "#shared/metamemory/split"
import { partsOf, runLine } from "#services/cli/train"

const test = suite("what a run is made of")

const questions = (prefix: string, counts: Readonly<Record<string, number>>): ReadonlyArray<Question> =>
  Object.entries(counts).flatMap(([type, count]) =>
    Array.from({ length: count }, (_, at): Question => ({ id: `${prefix}-${type}-${at}`, text: "?", type, answer: "a", abstention: false, user: `u-${prefix}-${type}-${at}`, cluster: `c-${prefix}-${type}-${at}` })))
const dataset = (all: ReadonlyArray<Question>) => ({ hash: "h", questions: all, users: [] }) as unknown as Dataset
const types = (all: ReadonlyArray<Question>) => mixOf(all.map(typeOf))

test("validation is drawn by type up to its size, and what is left over is in no part", () => {
  const data = dataset(questions("d", { often: 400, rare: 80 }))
  const parts = partsOf(data, {}, 42, 60)
  assert.equal([parts.validation.length, types(parts.validation)["rare"]], [60, 20])
  assert.ok(parts.left.length > 60)
  const all = [...parts.train, ...parts.validation, ...parts.guard, ...parts.test, ...parts.left].map(({ id }) => id)
  assert.equal([all.length, new Set(all).size], [480, 480])
  assert.equal(partsOf(data, {}, 42, 1_000).left, [])
})

test("questions that ask nearly the same, or share an evidence session, are in one part", () => {
  const own = questions("d", { a: 60 })
  const id = (at: number): string => own[at]!.id
  const pairs = Array.from({ length: 15 }, (_, at) => [id(at), id(at + 15)] as const)
  const bonds = new Map<string, ReadonlyArray<string>>()
  for (let at = 0; at < 15; at++) bonds.set(id(at + 30), [`e${at}`]).set(id(at + 45), [`e${at}`, `of its own ${at}`])
  const parts = partsOf({ ...dataset(own), bonds }, { guard: dataset([]) }, 42, 60, pairs)
  const partOf = (question: string): number => [parts.train, parts.validation, parts.test].findIndex((part) => part.some((one) => one.id === question))
  for (let at = 0; at < 15; at++) {
    assert.is(partOf(id(at)), partOf(id(at + 15)), `similar ${at}`)
    assert.is(partOf(id(at + 30)), partOf(id(at + 45)), `evidence ${at}`)
  }
  assert.ok(parts.train.length > 20 && parts.validation.length > 10 && parts.test.length > 5)
})

test("a validation file is drawn from too, and the guard is a fifth of the training data", () => {
  const parts = partsOf(dataset(questions("d", { often: 50 })), { val: dataset(questions("v", { often: 90, rare: 30 })) }, 42, 60)
  assert.equal([types(parts.validation), parts.left.length, parts.guard.length, parts.train.length], [{ often: 40, rare: 20 }, 60, 10, 40])
})

test("that all judged attempts came out alike is an alarm beside errors too", () => {
  const folded = (...verdicts: ReadonlyArray<string>) =>
    runLine({ _tag: "RolloutsFolded", step: 2, attempts: verdicts.map((letters, at) => ({ question: `q${at}`, verdicts: letters, dropped: [] })), errors: verdicts.join("").split("e").length - 1, results: "" }) ?? ""
  assert.match(folded("cce", "ccc"), /ALARM: every attempt of step 2 that was judged was correct, beside 1 errors/)
  assert.match(folded("iee"), /was incorrect, beside 2 errors/)
  // Mixed ones are none, and alarms of the run's own are not said twice.
  for (const verdicts of [["cie"], ["ccc"], ["iii"], ["eee"]]) assert.not.match(folded(...verdicts), /ALARM/)
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
  assert.equal(lines, [
    "  not to the gate: add [all] Guess. — nearly the same was tried as O1-0-abc",
    "  in line for the gate: add [time] Count.",
    "  in line for the gate: retire P1-1-abc, which by its measured effect brings less than a point"
  ])
})

test.run()
