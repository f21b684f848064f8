/** A run whose messages somebody took out, added or changed on the server: `metamem verify` tells which, and always in its one document. */
import { Effect, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { eraseUser } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { callsFilter, parseResultSubject, resultFilter, resultSubject, runSubject } from "#shared/eventlog/subjects"
import { makeQuestion, register, stateOf } from "../reflector/stage.ts"
import { onFinishedRun } from "./run-stage.ts"

const test = suite("verify")
const address = { tenant: "t", run: "a" }

onFinishedRun(test, "what is gone, added, damaged or cut out of a run is told apart, and with nothing named all runs are read", ({ run }) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const { jsm, nc } = yield* Nats
    const remove = (sequence: number) => attempt("delete", () => jsm.streams.deleteMessage("METAMEM", sequence))
    const found = (args: ReadonlyArray<string> = ["--run", "a"]) =>
      Effect.map(run("verify", ...args), ({ error, json: { checksumErrors, extra, generations, missing, ok } }) => ({ ok, failed: error !== "", checksumErrors, missing, extra, generations }))

    const whole = yield* found()
    assert.equal({ ...whole, generations: [] }, { ok: true, failed: false, checksumErrors: 0, missing: [], extra: [], generations: [] })
    assert.ok(whole.generations.length >= 2)
    for (const { replayed, run, sealed } of whole.generations) assert.equal([run, replayed], ["a", sealed])
    assert.equal((yield* found([])).generations, whole.generations)
    assert.match((yield* run("verify", "--run", "b")).error, /there is no run b of tenant t; there is a/)

    const results = yield* log.read([resultFilter(address)]).pipe(Stream.runCollect)
    const judgement = results.find(({ subject }) => parseResultSubject(subject)?.kind === "judgement")
    assert.ok(judgement !== undefined)
    const { key, step } = parseResultSubject(judgement.subject)!
    const stranger = resultSubject({ ...address, step, kind: "judgement", key: "r_1_stranger_0" })
    const { sequence: added } = yield* log.append({ subject: stranger, cause: "settled", events: judgement.events }, 0, "")
    assert.equal((yield* found()).extra, [`result ${step}/judgement/r_1_stranger_0 of a`])
    yield* remove(added)

    yield* remove(judgement.sequence)
    for (const args of [["--run", "a"], ["--all"], []]) {
      const { failed, missing, ok } = yield* found(args)
      assert.equal([ok, failed, missing], [false, true, [`result ${step}/judgement/${key} of a`]])
    }

    yield* attempt("publish", () => nc.request(stranger, "no commit", { timeout: 5_000 }))
    const damaged = yield* found()
    assert.equal([damaged.ok, damaged.checksumErrors, damaged.generations], [false, 1, whole.generations])

    const own = yield* log.load(runSubject(address))
    yield* remove(own[2]!.sequence)
    const cut = yield* found()
    assert.equal([cut.ok, cut.failed], [false, true])
    assert.ok(cut.missing.some((one: string) => one.startsWith(`${runSubject(address)} at ${own[3]!.sequence}: `)), JSON.stringify(cut.missing))
    yield* attempt("publish", () => nc.request(runSubject(address), "no commit", { timeout: 5_000 }))
    const unreadable = yield* found()
    assert.equal([unreadable.ok, unreadable.failed, unreadable.checksumErrors, unreadable.generations], [false, true, 2, []])
  }))

onFinishedRun(test, "replies of a user who was erased are no damage, while the marks of the erasure stand and when the user comes back; those of others are", ({ run }) =>
  Effect.gen(function*() {
    const { jsm } = yield* Nats
    const { questions } = yield* stateOf("a")
    const [first, second] = [...questions.values()]
    assert.ok(first !== undefined && second !== undefined && first.user !== second.user)
    yield* eraseUser("t", first.user)
    const erased = (yield* run("verify", "--run", "a")).json
    assert.equal([erased.ok, erased.missing], [true, []])
    assert.ok(erased.erased.length > 0)
    yield* register([{ ...makeQuestion(0), user: first.user }])
    assert.equal((yield* run("verify", "--run", "a")).json.erased, erased.erased)
    yield* attempt("purge", () => jsm.streams.purge("CALLS", { filter: callsFilter("t", second.user) }))
    const damaged = (yield* run("verify", "--run", "a")).json
    assert.equal([damaged.ok, damaged.erased, damaged.missing.length > 0], [false, erased.erased, true])
  }))

test.run()
