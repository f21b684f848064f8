import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { policyNames, wholeNumbers } from "#services/cli/bench/commands"
import { routedTo } from "#services/cli/bench/evolve"
import { cut } from "#services/cli/bench/world"
import { talk } from "#services/cli/bench/rebuild"
import { appendRun } from "#services/cli/bench/replay"
import { replayAll } from "#services/cli/runs"
import { EventLog } from "#shared/eventlog/event-log"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { runSubject } from "#shared/eventlog/subjects"
import { stream } from "#shared/metamemory/random"
import { effect } from "#test/support/effect"

const test = suite("bench of runs")

test("each question is shown what its text routes to, word for word", () => {
  const routed = routedTo(
    [{ id: "a", text: "How often do I go running?" }, { id: "b", text: "What colour is the door?" }],
    [{ text: "For all.", scope: "all" }, { text: "Only the latest.", scope: "latest-value" }, { text: "Only times.", scope: "time" }]
  )
  assert.equal(routed, { a: ["For all.", "Only the latest."], b: ["For all."] })
  assert.equal(routedTo([{ id: "a", text: "x" }], []), { a: [] })
})

test("a list is cut in two without loss", () => {
  assert.equal(cut([1, 2, 3], 2), [[1, 2], [3]])
  assert.equal(cut([1], 4), [[1], []])
})

test("options that make no sense are refused in words", () => {
  assert.equal(wholeNumbers("10,200"), [10, 200])
  for (const bad of ["", "0", "-1", "1.5", "ten", "1,,2"]) assert.throws(() => wholeNumbers(bad), /whole numbers/)
  assert.equal(policyNames("always,likely"), ["always", "likely"])
  assert.throws(() => policyNames("likely,never"), /"never" is no policy/)
})

test("talk has one vector for each turn, however many stand in a commit", () => {
  const live = talk(stream("test", 1), 7, 1, "a")
  const imported = talk(stream("test", 1), 7, 3, "b")
  assert.equal([live.events, imported.events, live.memories, imported.memories], [14, 6, 7, 7])
  assert.equal(imported.drafts.map(({ binary }) => (binary?.length ?? 0) / 768), [0, 3, 0, 3, 0, 1])
})

effect(test, "a synthetic run is one the rules accept, and every generation of it replays", () =>
  Effect.gen(function*() {
    const address = { tenant: "t", run: "r" }
    const { generations } = yield* appendRun({ steps: 4, questions: 12, samples: 4, validation: 48, seed: 2 }, address, () => undefined)
    assert.ok(generations > 1, `${generations} generations`)
    const log = yield* EventLog
    assert.is((yield* log.last(runSubject(address)))?.events.at(-1)?.type, "RunFinished")
    const replayed = yield* replayAll("t", "r")
    assert.is(replayed.length, generations)
    assert.ok(replayed.every(({ identical }) => identical))
  }).pipe(Effect.provide(MemoryLog.layer)))

test.run()
