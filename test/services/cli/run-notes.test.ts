import { suite } from "uvu"
import * as assert from "uvu/assert"
import { seenNote } from "#services/cli/run-notes"
import { parameters } from "../reflector/simulation.ts"

const test = suite("what is said beside a run's figures")

test("questions that had a part in a run are told apart from those that are new to it", () => {
  const { guard, test: announced, train, validation } = parameters()
  const run = { parameters: parameters() }
  assert.equal(seenNote(run, [...train.slice(0, 3), ...validation.slice(0, 2), ...guard.slice(0, 1), ...announced]), [
    "6 of 8 questions had a part in the run (3 trained on, 2 in the gate, 1 in the guard test): figures over them are no evidence for others"
  ])
  assert.equal(seenNote(run, train.slice(0, 1)), ["1 of 1 question had a part in the run (1 trained on): figures over them are no evidence for others"])
  assert.equal(seenNote(run, announced), [])
  // Another user may be asked a question of the same id, and an imported run knows none.
  assert.equal(seenNote(run, train.map((question) => ({ ...question, user: "another" }))), [])
  assert.equal(seenNote({ parameters: undefined }, train), [])
})

test.run()
