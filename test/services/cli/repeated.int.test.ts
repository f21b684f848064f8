import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { faults } from "#test/support/scripted-model"
import { finished, openRun, questions, runRequest } from "../reflector/stage.ts"
import { onRunStage } from "./run-stage.ts"

const test = suite("requests that were sent again")

onRunStage(test, "each request after a fault is counted with the run that sent it, by role, and not with one that takes the reply from the log", 117, ({ run, setFault }) =>
  Effect.gen(function*() {
    const faulty: Record<string, number> = {}
    // Once a call at most: `key.1` is the request after a reply that could not be used. Seldom, so that no row of faults has the endpoint left alone
    // for a while, in which calls fail as a whole.
    setFault(({ call, draw, repeats, role }) => {
      if (!/^[0-9a-f]{64}$/.test(call) || repeats > 0 || draw("fault", 12) > 0) return undefined
      faulty[role] = (faulty[role] ?? 0) + 1
      return role === "judge" && draw("how", 2) === 0 ? faults.prose : faults.error500
    })
    yield* openRun("a", runRequest(questions(117), { steps: 1 }))
    yield* finished("a")
    setFault(undefined)
    assert.ok((faulty["answer"] ?? 0) > 0 && (faulty["judge"] ?? 0) > 0, JSON.stringify(faulty))
    assert.equal((yield* run("cost", "--run", "a")).json.repeated, { requests: faulty, tries: 0 })
    // The same run under another name is answered from the log.
    yield* openRun("b", runRequest(questions(117), { steps: 1 }))
    yield* finished("b")
    const second = (yield* run("cost", "--run", "b")).json
    assert.ok(second.total.reused > 0)
    assert.equal(second.repeated, { requests: {}, tries: 0 })
  }))

test.run()
