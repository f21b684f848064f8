import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { CallStore } from "#shared/model/call-store"
import { repeatedLines, repeatedOf } from "#services/cli/repeated"
import type { RunResult } from "#services/cli/runs"
import { behaviour } from "#services/reflector/behaviour"
import { effect } from "#test/support/effect"

const test = suite("requests and tries that were made again")

const result = (key: string, attempts: number): RunResult => ({
  address: { tenant: "t", run: "a", step: 1, kind: "rollout", key },
  settled: { _tag: "JobSettled", status: "done", data: { user: "u", callKey: key }, error: "", attempts, worker: "w" }
})
const call = (key: string, requests: number, run = "a") => ({
  version: 1 as const, key, role: "answer" as const, model: "m", schema: "s@1", templateVersion: "", inputs: [], tags: { run }, text: "", truncated: false,
  usage: { promptTokens: 1, completionTokens: 1, estimated: false }, latencyMs: 1, requests
})

effect(test, "requests beyond the first count, of this run's own calls alone, and tries of jobs beside them", () =>
  Effect.gen(function*() {
    const store = yield* CallStore
    for (const one of [call("1", 3), call("2", 1), call("3", 5, "another"), call("4", 0), call("5", 9)]) yield* store.put("t", "u", one.key, one)
    const found = yield* repeatedOf("t", "a", behaviour.initial(), [result("1", 1), result("2", 3), result("3", 1), result("4", 0)])
    assert.equal(found, { requests: { answer: 2 }, tries: 2 })
    assert.equal(repeatedLines(found).map((line) => line.slice(0, 26)), ["2 requests were sent again", "2 tries of jobs failed and"])
    assert.equal(repeatedLines({ requests: {}, tries: 0 }), [])
  }).pipe(Effect.provide(CallStore.layerMemory)))

test.run()
