import { Option } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { fewMixed } from "#services/cli/run-to-end"
import { parameters } from "../reflector/simulation.ts"

const test = suite("a run's end")

test("steps that found fewer questions to learn from than the budget supposed are an alarm, unless it was said before", () => {
  const step = (...verdicts: ReadonlyArray<string>) => ({ step: 1, generation: 0, attempts: verdicts.map((letters, at) => ({ question: `q${at}`, verdicts: letters, dropped: [] })) })
  const of = (steps: ReadonlyArray<ReturnType<typeof step>>, undersized = false) => Option.getOrUndefined(fewMixed({ parameters: parameters({ batch: 20 }), steps: [...steps], undersized }))
  // One of eight came out both ways; what could not be judged twice tells nothing.
  assert.is(of([step("cc", "ci", "ii", "cc", "ce"), step("cc", "cc", "ii", "ii", "ee")]), "12.5 % of the questions came out both ways, 2.5 a step; at least 5 a step are needed, so a batch of 40 would do")
  assert.is(of([step("ci", "cc")]), undefined)
  assert.match(of([step("cc", "ii")]) ?? "", /^0\.0 % .* are needed$/)
  assert.is(of([step("cc", "ii")], true), undefined)
  assert.is(of([]), undefined)
})

test.run()
