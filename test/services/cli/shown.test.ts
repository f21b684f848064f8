import { suite } from "uvu"
import * as assert from "uvu/assert"
import { points, some, timesNamed } from "#services/cli/shown"

const test = suite("figures as commands show them")

test("points have a sign, and none where they round to nothing", () =>
  assert.equal([0.0123, -0.0123, -0.0001, 0, null].map(points), ["+1.2", "-1.2", "+0.0", "+0.0", "?"]))

test("one is told as one", () => {
  assert.equal([some(1, "turn"), some(0, "turn"), some(2, "turn"), some(1, "reply", "replies"), some(3, "reply", "replies")], ["1 turn", "0 turns", "2 turns", "1 reply", "3 replies"])
  assert.equal([timesNamed("TooManyWords", 1), timesNamed("TooManyWords", 2)], ["TooManyWords", "TooManyWords × 2"])
})

test.run()
