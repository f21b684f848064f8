import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter } from "#shared/eventlog/subjects"
import { onRunStage } from "./run-stage.ts"

const test = suite("training by command")

const row = (id: string) => ({
  question_id: id, question_type: "single-session-user", question: `What colour is the boat of ${id}?`, answer: "red",
  haystack_dates: ["2023/05/30 (Tue) 23:40"], haystack_sessions: [[{ role: "user", content: `The boat of ${id} is red.` }]]
})

onRunStage(test, "a run too small to tell anything is refused before anything is remembered or asked", 1, ({ asked, home, run }) =>
  Effect.gen(function*() {
    const file = (name: string, count: number): string => {
      const path = join(home, `${name}.json`)
      writeFileSync(path, JSON.stringify(Array.from({ length: count }, (_, at) => row(`${name}-${at}`))))
      return path
    }
    const before = asked()
    const given = ["train", "--data", file("train", 30), "--val", file("val", 12), "--run", "small", "--preset", "metamem"] as const
    const { error } = yield* run(...given, "--steps", "2", "--batch", "10")
    assert.match(error, /calls/)
    assert.match(error, /raise the batch to 17/)
    assert.match(error, /2 steps fit; at least 3/)
    assert.match(error, /validation set of 12 questions x 3 samples shows only effects above/)
    assert.match(error, /--anyway/)
    const log = yield* EventLog
    const remembered = yield* log.read([memoryFilter({ tenant: "t" })]).pipe(Stream.runFold(() => 0, (sum: number, { subject }) => sum + Number(subject.includes("train-") || subject.includes("val-"))))
    assert.equal([remembered, asked() - before], [0, 0])
  }))

test.run()
