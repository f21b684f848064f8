import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { jobCodec } from "#shared/actor/jobs"
import { EventLog } from "#shared/eventlog/event-log"
import { layer } from "#shared/eventlog/memory-log"
import { erasedSubject, memorySubject, resultSubject, userHash } from "#shared/eventlog/subjects"
import { refuseElsewhere, refuseOtherMemory } from "#services/cli/memory-here"
import { effect } from "../../support/effect.ts"

const test = suite("where a run's conversations are")

const events = [{ type: "X", version: 1, data: {} }]

effect(test, "a run is asked anew only where its conversations are, as far as it saw them", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    yield* log.append({ subject: memorySubject({ tenant: "t", user: "other", conversation: "c" }, "ingestor"), cause: "1", events }, 0, "")
    const refused = (memoryPosition: number) => Effect.map(Effect.result(refuseElsewhere("r", memoryPosition)), (result) => (result._tag === "Failure" ? String(result.failure) : undefined))
    const head = yield* log.head("MEMORY")
    assert.is(yield* refused(head), undefined)
    // A place that this log has not: it is of another.
    assert.match((yield* refused(head + 1)) ?? "", /conversations that r was asked about are not in this home/)
  }).pipe(Effect.provide(layer)))

effect(test, "a log as long as the run's is not taken for it: what the run was shown has to stand in it by then", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const of = (user: string) => memorySubject({ tenant: "t", user, conversation: "c" }, "ingestor")
    const said = (user: string, id: string) => log.append({ subject: of(user), cause: id, events: [{ type: "X", version: 1, data: { turns: [{ id }] } }] }, 0, "")
    const shown = (run: string, user: string, evidenceIds: ReadonlyArray<string>) =>
      log.append({
        subject: resultSubject({ tenant: "t", run, step: 1, kind: "rollout", key: `r_1_${user}_0` }), cause: user,
        events: [jobCodec.encode({ _tag: "JobSettled", status: "done", data: { user, callKey: "k", evidenceIds }, error: "", attempts: 1, worker: "w" })]
      }, 0, "")
    const { sequence: early } = yield* said("mira", "m1")
    const { sequence: late } = yield* said("tom", "t1")
    const refused = (run: string, position: number) => Effect.map(Effect.result(refuseOtherMemory("t", run, position)), ({ _tag }) => _tag === "Failure")
    assert.is(yield* refused("asked nothing yet", late), false)
    for (const [run, user, ids] of [["here", "mira", ["forgotten", "m1"]], ["other words", "mira", ["m"]], ["nobody", "eva", ["e1"]], ["later", "tom", ["t1"]], ["shown nothing", "eva", []]] as const) yield* shown(run, user, ids)
    yield* shown("here", "tom", ["t1"])
    assert.equal([yield* refused("here", late), yield* refused("shown nothing", late)], [false, false])
    assert.equal([yield* refused("other words", late), yield* refused("nobody", late)], [true, true])
    assert.equal([yield* refused("later", late), yield* refused("later", early)], [false, true])
    yield* log.append({ subject: erasedSubject("t", userHash("t", "eva")), cause: "erased", events }, 0, "")
    assert.is(yield* refused("nobody", late), false, "whoever was erased here may have been here")
  }).pipe(Effect.provide(layer)))

test.run()
