import { suite } from "uvu"
import * as assert from "uvu/assert"
import { learn, learnWhole } from "./learning.ts"
import { makeWorld } from "./learnable-world.ts"

const test = suite("learning in a world that can be learnt")

const seeds = [1, 2]
/** Half of a run's steps, to be quick. */
const short = { steps: 18 }
const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length

test("the world is the same for a seed, can be learnt, and can be spoilt", () => {
  const [world, same, other] = [makeWorld(1, "friendly"), makeWorld(1, "friendly"), makeWorld(2, "friendly")]
  assert.is(world.accuracy([]), same.accuracy([]))
  assert.is.not(world.accuracy([]), other.accuracy([]))
  assert.ok(world.optimum() > world.accuracy([]) + 0.1)
  const [question] = world.train
  if (question === undefined) throw new Error("no questions")
  // Whatever lessons say, shown all together, does harm.
  const lessons = Array.from({ length: 60 }, (_, at) => ({ text: world.lesson(question, at), scope: "all" as const }))
  assert.ok(world.accuracy(lessons) < world.accuracy([]) - 0.1)
})

test("where principles help, nearly half of what can be learnt is after half a run, and more than by whole lists", () => {
  const learnt = seeds.map((seed) => learn(seed, "friendly", short))
  const share = (of: "last" | "recommended") => mean(learnt.map((one) => one[of] - one.start)) / mean(learnt.map(({ optimum, start }) => optimum - start))
  assert.ok(share("recommended") > 0.4, String(share("recommended")))
  assert.is(share("recommended"), share("last"))
  assert.ok(mean(learnt.map(({ last }) => last)) > mean(seeds.map((seed) => learnWhole(seed, "friendly", "whole-list").last)))
})

test("where nothing helps, and where the judge tosses a coin, nothing that is worse is recommended", () => {
  for (const kind of ["null", "random-judge"] as const) {
    for (const seed of seeds) {
      const { recommended, start } = learn(seed, kind, short)
      assert.ok(recommended >= start - 0.01, `${kind} ${seed}: ${recommended} after ${start}`)
    }
  }
})

test("without a gate a run ends below its start where nothing helps, and the guard test keeps that from being recommended", () => {
  const { isEmpty, last, start } = learn(1, "null", { gate: "always" })
  assert.ok(last < start - 0.05, `${last} after ${start}`)
  assert.ok(isEmpty)
})

test.run()
