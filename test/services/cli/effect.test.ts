import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Principle } from "#shared/domain/principle"
import type { Answered } from "#services/cli/arms"
import { exactEffectOf, generationHolding } from "#services/cli/effect"
import type { RunState } from "#services/cli/runs"
import { question } from "../reflector/simulation.ts"

const test = suite("the effect of one principle")

// Classes by number modulo three: single-fact, assistant-said, preference.
const validation = [question("a", 0), question("b", 0), question("c", 1), question("d", 1)] as const
const answered = (id: string, arm: "before" | "after", letters: string): ReadonlyArray<Answered> =>
  [...letters].map((letter, sample) => ({
    ask: { question: validation.find((one) => one.id === id) ?? validation[0], arm, purpose: "gate", sample, draw: 0, principles: [], judge: "lexical" },
    verdict: letter === "c" ? "correct" : letter === "i" ? "incorrect" : "error"
  }))
const both = (id: string, having: string, without: string) => [...answered(id, "before", having), ...answered(id, "after", without)]

test("it is what is lost without the principle, by class of question, and errors are in none of it", () => {
  const found = exactEffectOf([...both("a", "cc", "ii"), ...both("b", "ci", "ii"), ...both("c", "ii", "ci"), ...both("d", "ce", "ee")], { validation })
  assert.equal([Math.round(found.effect * 1_000), found.questions, found.errors], [333, 3, 3])
  assert.equal(found.byClass["single-fact"]?.effect, 0.75)
  assert.equal(found.byClass["assistant-said"], { effect: -0.5, low: null, high: null, questions: 1 })
  // 1.645 standard errors of two clusters that are half apart: .25 each.
  assert.ok(Math.abs((found.byClass["single-fact"]?.low ?? 0) - (0.75 - 1.645 * 0.25)) < 1e-9)
})

test("questions count as the data's mix of types has them", () => {
  const typed = [{ ...validation[0], type: "rare" }, validation[1], validation[2], validation[3]] as const
  const found = exactEffectOf([...both("a", "c", "i"), ...both("b", "i", "c")], { validation: typed, mix: { rare: 1, "single-session-user": 9 } })
  // Weights .4 and 1.2.
  assert.ok(Math.abs(found.effect + 0.5) < 1e-9, String(found.effect))
})

const principle = (id: string): Principle => ({ id, text: id, scope: "all", bornIn: 1, parents: [] })
const generations = [[], ["P1"], ["P1", "P2"], ["P2"]].map((ids, number) => ({ number, step: number, principles: ids.map(principle), hash: "", sequence: 0, decisions: [] }))
const holding = (id: string, recommended: number | undefined) => generationHolding({ generations, recommended } as Pick<RunState, "generations" | "recommended">, id)

test("a principle is left out of the recommended generation, else of the last", () => {
  assert.equal([holding("P2", 2), holding("P2", 0), holding("P2", undefined)], [2, 3, 3])
  assert.equal([holding("P1", 2), holding("P1", 0), holding("P9", 2)], [2, undefined, undefined])
})

test.run()
