import { suite } from "uvu"
import * as assert from "uvu/assert"
import { compareContent, killShares } from "#services/cli/bench/build-kills"
import type { LogContent, Part } from "#services/cli/bench/log-content"
import { stream } from "#shared/metamemory/random"

const test = suite("killed builds")

const contentOf = (content: Partial<Record<Part, Record<string, string>>>, twice: Partial<Record<Part, ReadonlyArray<string>>> = {}): LogContent => {
  const of = (part: Part) => new Map(Object.entries(content[part] ?? {}))
  return {
    content: { turns: of("turns"), segments: of("segments"), facts: of("facts"), vectors: of("vectors") },
    twice: { turns: [], segments: [], facts: [], vectors: [], ...twice },
    inTwoSegments: [],
    vectorsAgain: 0,
    failed: 0
  }
}

test("equal logs differ in nothing", () => {
  const one = contentOf({ turns: { a: "1", b: "2" }, vectors: { a: "x" } })
  const { content, examples } = compareContent(one, one)
  assert.equal(content.turns, { same: 2, missing: 0, extra: 0, changed: 0, twice: 0 })
  assert.is(content.vectors.same, 1)
  assert.equal(examples, [])
})

test("what is missing, more, other or there twice is counted and named", () => {
  const calm = contentOf({ turns: { a: "1", b: "2", c: "3" } })
  const killed = contentOf({ turns: { a: "1", b: "other", d: "4" }, facts: { f: "1" } }, { turns: ["a"] })
  const { content, examples } = compareContent(calm, killed)
  assert.equal(content.turns, { same: 1, missing: 1, extra: 1, changed: 1, twice: 1 })
  assert.equal(content.facts, { same: 0, missing: 0, extra: 1, changed: 0, twice: 0 })
  assert.is(examples.length, 5)
})

test("all kills together leave the build some of its work", () => {
  for (const kills of [1, 3, 6]) {
    const shares = killShares(stream("test", kills), kills)
    assert.is(shares.length, kills)
    assert.ok(shares.every((share) => share > 0.01) && (shares[0] ?? 1) <= 0.15)
    if (kills <= 3) assert.ok(shares.reduce((sum, share) => sum + share, 0) < 0.9)
  }
})

test.run()
