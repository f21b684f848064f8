import { suite } from "uvu"
import * as assert from "uvu/assert"
import { points } from "#services/cli/shown"

const test = suite("figures as commands show them")

test("points have a sign, and none where they round to nothing", () =>
  assert.equal([0.0123, -0.0123, -0.0001, 0, null].map(points), ["+1.2", "-1.2", "+0.0", "+0.0", "?"]))

test.run()
