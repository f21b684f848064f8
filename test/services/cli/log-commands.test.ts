import { suite } from "uvu"
import * as assert from "uvu/assert"
import { resultSubject } from "#shared/eventlog/subjects"
import { ofRun, typesOf } from "#services/cli/log-commands"

const test = suite("the log, as it is shown")

test("events of one type in a row are counted, and their order stays", () => {
  const types = (...of: ReadonlyArray<string>) => typesOf(of.map((type) => ({ type })))
  assert.is(types("TurnReceived"), "TurnReceived")
  assert.is(types("QuestionRegistered", "QuestionRegistered", "QuestionRegistered"), "QuestionRegistered × 3")
  assert.is(types("SegmentClosed", "MemoriesRecorded", "MemoriesRecorded", "SegmentClosed"), "SegmentClosed, MemoriesRecorded × 2, SegmentClosed")
})

test("a dead letter about a run's job names the run, which is what `dead retry --run` takes", () => {
  assert.is(ofRun({ about: resultSubject({ tenant: "local", run: "first", step: 2, kind: "rollout", key: "r_2_766f6431c404747a_1" }) }), "first, step 2")
  assert.is(ofRun({ about: "memory.local.mira.c.ingestor" }), "")
})

test.run()
