import { test } from "uvu"
import * as assert from "uvu/assert"
import { bootstrapInterval, questionFigures } from "#services/cli/bench/retrieval-metrics"

const ranked = Array.from({ length: 60 }, (_, n) => ({ id: `t${n}`, conversation: `c${Math.floor(n / 4)}` }))
const figures = (gold: ReadonlyArray<string>, conversations: ReadonlyArray<string>) =>
  questionFigures({
    ranked,
    goldTurns: new Set(gold),
    goldConversations: new Set(conversations),
    packed: new Set(["t0", "t1"]),
    shown: new Set(["t0", "t1", "t15"]),
    fitsWhole: true,
    tokens: 100
  })

test("recall is the share of gold turns within the first k, and all@20 wants every one", () => {
  const found = figures(["t0", "t15", "t30", "t59"], ["c0"])
  assert.equal([found.r10, found.r20, found.r50, found.all20], [0.25, 0.5, 0.75, 0])
  assert.is(figures(["t0", "t15"], ["c0"]).all20, 1)
})

test("conversations rank by their best turn", () => {
  const found = figures(["t0"], ["c0", "c6"])
  assert.equal([found.sAny5, found.sAll5, found.sR10], [1, 0, 1])
  assert.is(figures(["t0"], ["c0"]).sNdcg10, 1)
  assert.ok(found.sNdcg10 < 1 && found.sNdcg10 > 0.6)
  assert.is(figures(["t0"], ["c14"]).sNdcg10, 0)
})

test("whole turns in the budget and turns shown in any form are told apart", () => {
  assert.equal([figures(["t0", "t15"], ["c0"]).a4k, figures(["t0", "t15"], ["c0"]).shown4k], [0, 1])
  assert.equal([figures(["t0", "t1"], ["c0"]).a4k, figures(["t40"], ["c0"]).shown4k], [1, 0])
})

test("an interval holds the mean, is the same each time, and needs two clusters", () => {
  const values = Array.from({ length: 40 }, (_, n) => ({ cluster: String(n % 8), value: n % 8 < 4 ? 1 : 0 }))
  const interval = bootstrapInterval(values)
  assert.ok(interval !== undefined && interval[0] < 0.5 && interval[1] > 0.5)
  assert.equal(bootstrapInterval(values), interval)
  assert.is(bootstrapInterval(values.filter(({ cluster }) => cluster === "1")), undefined)
})

test("questions of one cluster vary together, which widens the interval", () => {
  const width = (interval: readonly [number, number] | undefined) => (interval === undefined ? 0 : interval[1] - interval[0])
  const values = Array.from({ length: 80 }, (_, n) => ({ value: n < 40 ? 1 : 0 }))
  const together = bootstrapInterval(values.map((one, n) => ({ ...one, cluster: String(Math.floor(n / 20)) })))
  const apart = bootstrapInterval(values.map((one, n) => ({ ...one, cluster: String(n) })))
  assert.ok(width(together) > 2 * width(apart))
})

test.run()
