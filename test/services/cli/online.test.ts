import { suite } from "uvu"
import * as assert from "uvu/assert"
import { onlineLines } from "#services/cli/online"
import type { OnlineStatus } from "#services/reflector/online-protocol"

const test = suite("evolution from live feedback, in lines")

const status = (changed: Partial<OnlineStatus> = {}): OnlineStatus => ({
  tenant: "t", on: true, because: "it was switched on", stage: "collecting", feedback: { standing: 50, fresh: 40, conversations: 40, users: 12 }, needed: { conversations: 30, users: 10 },
  adopted: null, principles: 0, run: null, held: [], shadow: null, watch: null, lastOutcome: null, rollbacks: [], ...changed
})
const shadow = { run: "online-2", generation: 1, share: 0.2, pairs: 26, unjudged: 3, waiting: 4, needed: 40, conversations: 26, users: 9, lastLook: null }
const run = { run: "online-2", stage: "gate", step: 2, steps: 3 }

test("what guides answers is named with whether it holds anything", () => {
  assert.match(onlineLines(status()), /guided by no principles$/m)
  assert.match(onlineLines(status({ adopted: { run: "r", generation: 0 } })), /guided by generation 0 of r, which holds no principles$/m)
  assert.match(onlineLines(status({ adopted: { run: "r", generation: 0 }, principles: 1 })), /guided by generation 0 of r, 1 principle$/m)
})

test("a batch that is large enough says what it waits for", () => {
  assert.match(onlineLines(status()), /enough for the next run$/m)
  assert.match(onlineLines(status({ on: false })), /which begins when it is switched on$/m)
  assert.match(onlineLines(status({ run })), /which begins after this one$/m)
  assert.match(onlineLines(status({ shadow })), /which begins after the shadow$/m)
  const watch = { run: "r", generation: 1, feedback: 3, needed: 20, conversations: 3, users: 2, lastLook: null }
  assert.match(onlineLines(status({ watch })), /after the first look at what was adopted$/m)
})

test("a shadow says its share, what has no verdict, and what a look waits for", () => {
  const lines = onlineLines(status({ shadow, held: [{ kind: "judgement", message: "judge: nobody is there" }] }))
  assert.match(lines, /generation 1 of online-2, on 20\.0 % of the live questions/)
  assert.match(lines, /26 answered by both sides, 3 of them without a verdict, 4 on their way; the next look is at 40, from ten conversations and ten users at least \(so far 26 and 9\)/)
  assert.match(lines, /judgement jobs wait: judge: nobody is there/)
})

test("what goes on while it is off is told", () => {
  assert.match(onlineLines(status({ on: false, run })), /online-2: gate, step 2 of 3 .*it goes on to its end, and nothing comes of it while this is off/)
  assert.match(onlineLines(status({ on: false, shadow })), /4 wait until this is on/)
})

test.run()
