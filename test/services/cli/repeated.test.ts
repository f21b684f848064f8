import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { jobCodec } from "#shared/actor/jobs"
import { EventLog } from "#shared/eventlog/event-log"
import * as MemoryLog from "#shared/eventlog/memory-log"
import { resultFilter, resultSubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import { makeRepeated, repeatedLines, spentOf } from "#services/cli/repeated"
import type { RunResult } from "#services/cli/runs"
import { behaviour } from "#services/reflector/behaviour"
import { shadowAddress } from "#services/reflector/online-protocol"
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
    const repeated = makeRepeated("t", "a", behaviour.initial())
    for (const one of [result("1", 1), result("2", 3), result("3", 1), result("4", 0)]) repeated.add(one)
    const found = yield* repeated.end
    assert.equal(found, { requests: { answer: 2 }, tries: 2 })
    assert.equal(repeatedLines(found).map((line) => line.slice(0, 26)), ["2 requests were sent again", "2 tries of jobs failed and"])
    assert.equal(repeatedLines({ requests: {}, tries: 0 }), [])
  }).pipe(Effect.provide(CallStore.layerMemory)))

effect(test, "what a run cost is read in one pass over its results and one over its users' calls, however many users there are", () =>
  Effect.gen(function*() {
    const [log, store] = [yield* EventLog, yield* CallStore]
    const data = (user: string) => ({ user, callKey: user, evidenceHash: "", evidenceIds: [], usage: { promptTokens: 10, completionTokens: 2, estimated: false }, reused: false, abstained: false, latencyMs: 0 })
    const users = Array.from({ length: 40 }, (_, at) => `u${at}`)
    for (const user of users) {
      yield* log.append({ subject: resultSubject({ tenant: "t", run: "a", step: 1, kind: "rollout", key: `r_1_${user}_0` }), cause: user, events: [jobCodec.encode({ _tag: "JobSettled", status: "done", data: data(user), error: "", attempts: 1, worker: "w" })] }, 0, "")
      yield* store.put("t", user, user, call(user, 2))
    }
    const passes: Array<string> = []
    const counted = <A>(what: string, run: A): A => {
      passes.push(what)
      return run
    }
    const { repeated, rows } = yield* spentOf("t", "a", behaviour.initial()).pipe(
      Effect.provideService(EventLog, EventLog.of({ ...log, read: (filters, options) => counted(filters.join(), log.read(filters, options)) })),
      Effect.provideService(CallStore, CallStore.of({ ...store, each: (...asked) => counted("calls", store.each(...asked)) }))
    )
    assert.equal([rows.map(({ calls, kind, promptTokens }) => [kind, calls, promptTokens]), repeated], [[["rollout", 40, 400]], { requests: { answer: 40 }, tries: 0 }])
    assert.equal(passes, [resultFilter({ tenant: "t", run: "a" }), resultFilter(shadowAddress("t", "a")), "calls"])
  }).pipe(Effect.provide(Layer.merge(CallStore.layerMemory, MemoryLog.layer))))

test.run()
