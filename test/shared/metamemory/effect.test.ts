import { test } from "uvu"
import * as assert from "uvu/assert"
import { type DroppedRollout, effectsByClass, principleEffects, retirements } from "#shared/metamemory/effect"
import { droppedPrinciples, uniform } from "#shared/metamemory/random"

const ids = ["P1", "P2", "P3"]
/** Rollouts in which P1 adds .3, P2 takes .3 and P3 does nothing, on top of a chance that differs between questions. */
const simulated = (steps: number): ReadonlyArray<DroppedRollout> =>
  Array.from({ length: steps }, (_, step) =>
    Array.from({ length: 10 }, (_, q) =>
      Array.from({ length: 5 }, (_, sample) => {
        const question = `q${step}-${q}`
        const dropped = droppedPrinciples({ runSeed: "r", step, question, sample }, ids)
        const shown = ids.filter((id) => !dropped.has(id))
        const chance = 0.35 + 0.3 * uniform("base", question) + (shown.includes("P1") ? 0.3 : 0) - (shown.includes("P2") ? 0.3 : 0)
        return { step, question, cluster: question, questionClass: q % 2 === 0 ? "time" : "preference", correct: uniform("outcome", question, sample) < chance, shown } as const
      })
    )
  ).flat(2)

test("effects are found with intervals that hold them", () => {
  const effects = principleEffects(simulated(30))
  const [p1, p2, p3] = effects as [typeof effects[number], typeof effects[number], typeof effects[number]]
  assert.equal(effects.map(({ wording }) => wording), ids)
  assert.ok(p1.low > 0.1 && p1.low < 0.3 && p1.high > 0.3, JSON.stringify(p1))
  assert.ok(p2.high < -0.1 && p2.low < -0.3 && p2.high > -0.4, JSON.stringify(p2))
  assert.ok(p3.low < 0 && p3.high > 0, JSON.stringify(p3))
  assert.is(p1.steps, 30)
})

test("intervals hold the truth about as often as they say", () => {
  let held = 0
  for (let run = 0; run < 60; run++) {
    const rollouts = simulated(9).map((rollout, i) => ({ ...rollout, correct: uniform("null", run, i) < 0.5 }))
    for (const { low, high } of principleEffects(rollouts)) if (low <= 0 && high >= 0) held++
  }
  assert.ok(held / 180 > 0.83 && held / 180 < 0.96, String(held / 180))
})

test("questions at which every attempt was shown the same neither widen nor narrow an interval", () => {
  const telling = simulated(4)
  const silent = Array.from({ length: 20 }, (_, copy) => telling.map((rollout): DroppedRollout => ({ ...rollout, question: `${rollout.question}-${copy}`, cluster: `${rollout.cluster}-${copy}`, shown: [] }))).flat()
  assert.equal(principleEffects([...telling, ...silent]), principleEffects(telling))
})

test("few clusters are allowed for: intervals from three of them hold the truth about as often as from many", () => {
  let held = 0
  for (let run = 0; run < 150; run++) {
    const rollouts = simulated(6).map((rollout, i) => ({ ...rollout, cluster: `c${rollout.step % 3}`, correct: uniform("few", run, i) < 0.5 }))
    for (const { low, high } of principleEffects(rollouts)) if (low <= 0 && high >= 0) held++
  }
  assert.ok(held / 450 > 0.85 && held / 450 < 0.97, String(held / 450))
})

test("only what stayed below a point for seven steps is proposed for retirement", () => {
  assert.equal(retirements(principleEffects(simulated(30))), ["P2"])
  assert.equal(retirements(principleEffects(simulated(6))), [])
})

test("without dropped principles there is nothing to say", () => {
  assert.equal(principleEffects([]), [])
  assert.equal(principleEffects([{ step: 1, question: "q", cluster: "q", questionClass: "time", correct: true, shown: ["P1"] }]), [])
})

test("one cluster alone gives no certainty", () => {
  const one = [true, false].map((correct, i) => ({ step: 1, question: "q", cluster: "q", questionClass: "time", correct, shown: i === 0 ? ["P1"] : [] }) as const)
  assert.is(principleEffects(one)[0]!.standardError, Infinity)
})

/** Steps of one question that is answered wrongly whatever is shown. */
const alwaysWrong = (steps: number): ReadonlyArray<DroppedRollout> => simulated(steps).filter(({ question }) => question.endsWith("-0")).map((rollout) => ({ ...rollout, correct: false }))

test("attempts that all came out alike do not prove that a principle does nothing, until there are very many", () => {
  const few = principleEffects(alwaysWrong(12))
  assert.equal(few.map(({ effect }) => Math.round(effect * 1e6)), [0, 0, 0])
  assert.ok(few.every(({ high, low }) => high > 0.01 && low < -0.01), JSON.stringify(few))
  assert.equal(retirements(few), [])
  assert.equal(retirements(principleEffects(alwaysWrong(400))), ids)
})

test("a principle that varied in one cluster has no interval, and no bound passes what a chance can change by", () => {
  const attempt = (question: string, correct: boolean, shown: ReadonlyArray<string>): DroppedRollout => ({ step: 1, question, cluster: question, questionClass: "time", correct, shown })
  const effects = principleEffects([
    attempt("a", true, ["P1", "P2"]), attempt("a", false, ["P2"]), attempt("b", true, ["P1", "P2"]), attempt("b", false, ["P2"]), attempt("c", true, ["P2"]), attempt("c", true, [])
  ])
  assert.ok(effects.every(({ high, low, wording }) => (wording === "P2" ? high === Infinity && low === -Infinity : high <= 1 && low >= -1)), JSON.stringify(effects))
})

test("no effect passes what a chance can change by, however few attempts there are", () => {
  const attempt = (question: string, correct: boolean, shown: ReadonlyArray<string>): DroppedRollout => ({ step: 1, question, cluster: question, questionClass: "time", correct, shown })
  // Each is better than the next by one, and the last better than nothing by one.
  const effects = principleEffects(["P1", "P2", "P3"].flatMap((id, at, all) => [attempt(id, true, [id]), attempt(id, false, all.slice(at + 1, at + 2))]))
  assert.equal(effects.map(({ effect }) => Math.round(effect * 1e3) / 1e3), [1, 1, 1])
})

test("effects are told by class", () => assert.equal([...effectsByClass(simulated(5)).keys()].sort(), ["preference", "time"]))

test.run()
