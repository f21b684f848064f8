import { test } from "uvu"
import * as assert from "uvu/assert"
import { pairedTest, type TestOutcome } from "#shared/metamemory/paired-test"

const outcomes = (letters: string, clusterOf = (at: number) => `c${at}`) =>
  letters.split(" ").map((pair, at) => ({ question: `q${at}`, cluster: clusterOf(at), empty: pair[0] as TestOutcome["empty"], tested: pair[1] as TestOutcome["tested"] }))

test("gains, losses and errors are counted, and errors are in no figure", () => {
  const found = pairedTest(outcomes("ic ic ci cc ii ec ie"), "s")
  assert.equal(found.counts, { questions: 5, clusters: 5, emptyCorrect: 2, testedCorrect: 3, gained: 2, lost: 1, errors: 2 })
  assert.is(found.difference, 0.2)
  // Three moved by one: a sum of at least one is reached by 3 + 1 of 8 sign patterns.
  assert.is(found.p, 0.5)
  assert.ok((found.low ?? 1) < 0.2 && (found.high ?? 0) > 0.2)
  assert.equal(pairedTest(outcomes("ic ic ci cc ii ec ie"), "s"), found)
})

test("questions of one cluster are one observation: eight gains in two clusters prove little", () => {
  const eight = "ic ic ic ic ic ic ic ic"
  assert.is(pairedTest(outcomes(eight), "s").p, 1 / 256)
  const together = pairedTest(outcomes(eight, (at) => `c${at % 2}`), "s")
  assert.equal([together.p, together.counts.clusters, together.difference], [0.25, 2, 1])
  const one = pairedTest(outcomes(eight, () => "c"), "s")
  assert.equal([one.p, one.low, one.high], [0.5, null, null])
})

test("nothing judged, or nothing changed, is no finding", () => {
  assert.equal([pairedTest(outcomes("ee ec"), "s").p, pairedTest(outcomes("ee ec"), "s").difference, pairedTest([], "s").counts.questions], [1, 0, 0])
  const same = pairedTest(outcomes("cc ii cc"), "s")
  assert.equal([same.difference, same.low, same.high, same.p], [0, 0, 0, 1])
})

test.run()
