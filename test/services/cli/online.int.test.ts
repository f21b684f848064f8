/** What the command tells of evolution from live feedback, from a reflector at work and from the log. */
import { Effect, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import { parseResultSubject, resultFilter, resultSubject } from "#shared/eventlog/subjects"
import { shadowAddress } from "#services/reflector/online-protocol"
import { makeLive, none, people } from "../reflector/online-stage.ts"
import { finished, openRun, questions, runRequest } from "../reflector/stage.ts"
import { onFinishedRun, onRunStage } from "./run-stage.ts"

const test = suite("evolution from live feedback, by its command")

const text = (entries: ReadonlyArray<{ readonly what: string }>): ReadonlyArray<string> => entries.map(({ what }) => what)

onRunStage(test, "its history tells every switch, run and adoption in the order of the log, whoever asked for it", 117, ({ run }) =>
  Effect.gen(function*() {
    assert.equal((yield* run("online", "history")).json, { tenant: "t", entries: [] })
    const live = yield* makeLive
    yield* Effect.forEach(people(8), (at) => live("a", at, none, true))
    assert.match((yield* run("online")).json.needed.lacks, /8 of 30 distinct conversations; .*8 of 10 users/)
    assert.is((yield* run("online", "on")).json.on, true)
    yield* openRun("a", runRequest(questions(117), { steps: 1 }))
    yield* finished("a")
    assert.is((yield* run("generations", "--run", "a")).json.adopted, null)
    assert.is((yield* run("adopt", "--run", "a", "--generation", "0")).error, "")
    assert.equal([(yield* run("generations", "--run", "a")).json.adopted, (yield* run("online")).json.adopted, (yield* run("online")).json.principles], [0, { run: "a", generation: 0 }, 0])
    assert.is((yield* run("online", "off")).json.on, false)
    const { entries } = (yield* run("online", "history")).json
    assert.equal(text(entries), [
      "evolution from live feedback was switched on",
      "live answers are guided by generation 0 of a, which holds no principles",
      "evolution from live feedback was switched off"
    ])
    assert.ok(entries.every(({ event, position, time }: any) => /^metamem:/.test(position) && Date.parse(time) > 0 && event._tag !== ""))
  }), { METAMEM_JUDGE: "lexical" })

onFinishedRun(test, "the history of a principle tells when it guided live answers", ({ run }) =>
  Effect.gen(function*() {
    const { generations } = (yield* run("generations", "--run", "a")).json
    const { n, principles: [{ id }] } = generations.at(-1)
    assert.equal((yield* run("history", id, "--run", "a")).json.live, [])
    const { reason, recommended } = (yield* run("generations", "--run", "a")).json
    const adopted = (yield* run("adopt", "--run", "a", "--generation", String(n))).json
    assert.equal(adopted.warnings.filter((line: string) => line.includes("recommends")), recommended === n ? [] : [`a recommends generation ${recommended} — ${reason}`])
    assert.equal((yield* run("adopt", "--run", "a", "--generation", "0")).json.warnings, [])
    assert.equal(text((yield* run("history", id, "--run", "a")).json.live), [`live answers are guided by generation ${n} of a, ${generations.at(-1).principles.length} principle${generations.at(-1).principles.length === 1 ? "" : "s"}`])
  }), { METAMEM_JUDGE: "lexical" })

onFinishedRun(test, "what a shadow cost is told beside what its run cost", ({ run }) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const before = (yield* run("cost", "--run", "a")).json
    assert.ok(before.bySteps.every(({ step }: any) => step !== null))
    const answered = (yield* log.read([resultFilter({ tenant: "t", run: "a" })]).pipe(Stream.runCollect)).find(({ subject }) => parseResultSubject(subject)?.kind === "rollout")
    assert.ok(answered !== undefined)
    yield* log.append({ subject: resultSubject({ ...shadowAddress("t", "a"), step: 0, kind: "rollout", key: "c_1" }), cause: "settled", events: answered.events }, 0, "")
    const after = (yield* run("cost", "--run", "a")).json
    assert.equal(after.bySteps.slice(0, -1), before.bySteps)
    assert.equal([after.bySteps.at(-1).step, after.bySteps.at(-1).jobs, after.total.jobs], [null, 1, before.total.jobs + 1])
    assert.ok(after.byRole.some(({ role }: any) => role === "answer, shadow"))
  }), { METAMEM_JUDGE: "lexical" })

test.run()
