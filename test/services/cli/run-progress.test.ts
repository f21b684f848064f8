import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Role } from "#shared/model/roles"
import { makePace, moneyOf, type Pace } from "#services/cli/run-progress"

const test = suite("a run's pace")

const pace = (changed: Partial<Pace>): Pace => ({ calls: 0, reused: 0, expectedCalls: 10_000, promptTokens: 0, completionTokens: 0, money: 0, step: 1, steps: 10, ...changed })

test("rate, cost so far and time left are told from the second look on", () => {
  const told = makePace()
  assert.is(told(pace({ calls: 100, promptTokens: 5_000, completionTokens: 90 }), 0), "100 calls, 5000 + 90 tokens so far")
  assert.is(told(pace({ calls: 400, promptTokens: 2_500_000, completionTokens: 45_000, money: 1.234 }), 10_000), "30 calls a second, 400 calls, 2.5 M + 45 k tokens, 1.23 at the prices set so far, about 5 min left")
})

test("the rate is that of the last minute", () => {
  const told = makePace()
  for (let second = 0; second <= 100; second++) told(pace({ calls: 10 * second }), 1_000 * second)
  let last = ""
  for (let second = 101; second <= 200; second++) last = told(pace({ calls: 1_000 + 2 * (second - 100) }), 1_000 * second)
  assert.match(last, /^2\.0 calls a second/)
})

test("a reply from the log counts for the rate and not among the calls, which are what was paid for", () => {
  const told = makePace()
  told(pace({ calls: 100, reused: 50 }), 0)
  assert.match(told(pace({ calls: 200, reused: 150 }), 10_000), /^20 calls a second, 200 calls and 150 replies from the log, /)
})

test("a run that has used up its budget still has its steps, and a still one no time left to tell", () => {
  const told = makePace()
  told(pace({ calls: 11_000, step: 8 }), 0)
  assert.match(told(pace({ calls: 11_100, step: 8 }), 10_000), /about 3 min left$/)
  const still = makePace()
  still(pace({ calls: 5 }), 0)
  assert.not.match(still(pace({ calls: 5 }), 10_000), /second|left/)
})

test("money is tokens at the price of who does the work", () => {
  const free = { price: { in: 0, out: 0 } }
  const prices = { answer: { price: { in: 2, out: 10 } }, judge: { price: { in: 1, out: 1 } } } as Partial<Record<Role, typeof free>>
  const all = new Proxy(prices, { get: (of, role) => of[role as Role] ?? free }) as Record<Role, typeof free>
  const rows = [{ kind: "rollout", promptTokens: 1_000_000, completionTokens: 100_000 }, { kind: "judgement", promptTokens: 500_000, completionTokens: 0 }, { kind: "reflection", promptTokens: 9, completionTokens: 9 }]
  assert.is(moneyOf(rows, all), 3.5)
})

test.run()
