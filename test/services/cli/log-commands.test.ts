import { suite } from "uvu"
import * as assert from "uvu/assert"
import { typesOf } from "#services/cli/log-commands"

const test = suite("the log, as it is shown")

test("events of one type in a row are counted, and their order stays", () => {
  const types = (...of: ReadonlyArray<string>) => typesOf(of.map((type) => ({ type })))
  assert.is(types("TurnReceived"), "TurnReceived")
  assert.is(types("QuestionRegistered", "QuestionRegistered", "QuestionRegistered"), "QuestionRegistered × 3")
  assert.is(types("SegmentClosed", "MemoriesRecorded", "MemoriesRecorded", "SegmentClosed"), "SegmentClosed, MemoriesRecorded × 2, SegmentClosed")
})

test.run()
