/** Processes that knew a user know nothing of them as soon as they are erased: what they are asked is answered from the log. */
import { Effect, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { listDead } from "#shared/actor/dead-letters"
import { isErasedOutcome } from "#shared/actor/jobs"
import { request } from "#shared/actor/requests"
import { eraseUser } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { requestSubject, resultFilter } from "#shared/eventlog/subjects"
import { effect } from "#test/support/effect"
import { finished, makeQuestion, openRun, questions, runRequest, stateOf, verification, withReflector } from "./stage.ts"

const test = suite("erased users in evaluator and reflector")

/** Erasures reach a process within milliseconds; a loaded machine may take longer. */
const soon = (said: Effect.Effect<string, unknown, any>, pattern: RegExp) =>
  Effect.gen(function*() {
    let last = ""
    for (let tries = 0; tries < 40 && !pattern.test(last); tries++) {
      yield* Effect.sleep(25)
      last = yield* said
    }
    assert.match(last, pattern)
  })

effect(test, "an erased user's questions can be asked by no judge and no run, and those of others go on", () =>
  withReflector(() =>
    Effect.gen(function*() {
      const judged = (at: number) => {
        const { answer, id, user } = makeQuestion(at)
        return request(requestSubject("evaluator", "judge"), { tenant: "t", judge: "lexical", answers: [{ question: { id, user }, response: answer }] }, 5_000).pipe(
          Effect.match({ onSuccess: (reply) => JSON.stringify(reply), onFailure: (error) => String((error as { message?: string }).message) })
        )
      }
      const opened = (run: string) => openRun(run, runRequest(questions(117))).pipe(Effect.match({ onSuccess: () => "opened", onFailure: (error) => String((error as { message?: string }).message) }))
      assert.match(yield* judged(0), /"correct"/)
      assert.match(yield* judged(1), /"correct"/)
      assert.is(yield* opened("a"), "opened")
      yield* eraseUser("t", "u0")
      yield* soon(judged(0), /question q0 is not registered: .*once a user was erased, nothing of them can be asked again/)
      yield* soon(Effect.suspend(() => opened(`b${Date.now()}`)), /question q0 is not registered/)
      assert.match(yield* judged(1), /"correct"/)
    }), { settings: { METAMEM_JUDGE: "lexical", METAMEM_REFLECTOR: "rules" } }), 60_000)

effect(test, "a run whose user is erased amid it goes by the other questions, where as many failures of another kind void its decisions", () =>
  withReflector(() =>
    Effect.gen(function*() {
      yield* openRun("a", runRequest(questions(117), { steps: 3 }))
      // Two of the guard's 24, and one that validates.
      for (const user of ["u91", "u92", "u16"]) yield* eraseUser("t", user)
      yield* finished("a")
      const { guard, operations } = yield* stateOf("a")
      assert.ok(guard !== undefined && guard.decision !== "void", guard?.decision)
      assert.ok(operations.every(({ decision }) => decision !== "void"), JSON.stringify(operations.map(({ decision, reason }) => [decision, reason])))
      const log = yield* EventLog
      const gone = new Set<string>()
      yield* log.read([resultFilter({ tenant: "t", run: "a" })]).pipe(Stream.runForEach(({ events: [stored] }) => Effect.sync(() => {
        const data = stored?.data as { readonly status?: string; readonly data?: unknown; readonly error?: string } | undefined
        if (data?.status === "failed") gone.add(isErasedOutcome(data.data) ? "erased" : data.error ?? "")
      })))
      assert.equal([...gone], ["erased"])
      assert.equal(yield* listDead(), [], "nobody can mend it")
      const { differing, missing } = yield* verification("a")
      assert.equal([differing, missing], [[], []])
    }), { settings: { METAMEM_JUDGE: "lexical" } }), 120_000)

test.run()
