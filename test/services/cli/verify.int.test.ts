/** A run whose messages somebody took out, added or changed on the server: `metamem verify` tells which, and always in its one document. */
import { join } from "node:path"
import { Effect, Layer, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { eraseUser } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { callsFilter, callsSubject, parseResultSubject, resultFilter, resultSubject, runSubject } from "#shared/eventlog/subjects"
import { evolutionCommands } from "#services/cli/evolution"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"
import { answering, configured, finished, makeQuestion, openRun, questions, reflector, register, runRequest, stateOf, withWorkers } from "../reflector/stage.ts"
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

onFinishedRun(test, "the replies that results name are there, to what was asked and say what results say, role by role; also elsewhere", ({ home, run }) =>
  Effect.gen(function*() {
    const { js, jsm } = yield* Nats
    const { json: whole } = yield* run("verify", "--run", "a")
    assert.equal([whole.ok, Object.keys(whole.replies).sort()], [true, ["answer", "consolidate", "judge", "propose", "reflect"]])
    for (const role of ["judge", "propose", "consolidate"]) {
      const { named, rebuilt } = whole.replies[role]
      assert.ok(rebuilt > 0 && (role === "judge" ? rebuilt === named : rebuilt <= named), `${role}: ${rebuilt} of ${named}`)
    }
    // Others may have questions of the same ids.
    yield* register([{ ...makeQuestion(0), user: "u1", text: "Which lamp is meant?" }])
    assert.equal((yield* run("verify", "--run", "a")).json.replies, whole.replies)

    // A proposal that was asked for twice names both replies, and the first is found again.
    const log = yield* EventLog
    const results = yield* log.read([resultFilter(address)]).pipe(Stream.runCollect)
    const dataOf = (kind: string) => results.flatMap(({ events, subject }) => {
      const { data, status } = events[0]?.data as any
      return parseResultSubject(subject)?.kind === kind && status === "done" ? [data] : []
    })
    assert.is(whole.replies.propose.rebuilt, dataOf("proposal").length)
    assert.is(whole.replies.consolidate.rebuilt, dataOf("consolidation").length)

    const file = join(home, "a.bundle.gz")
    assert.is((yield* run("export", "--run", "a", "--out", file)).error, "")
    const elsewhere = yield* testServer
    const there = commandRunner(evolutionCommands, elsewhere.home, elsewhere.url)
    assert.is((yield* there("import", file, "--tenant", "t")).error, "")
    const { json: imported } = yield* there("verify", "--run", "a", "--tenant", "t")
    assert.equal([imported.ok, imported.replies], [true, whole.replies])

    const stands = (scope: string, key: string) => attempt("read", () => jsm.streams.getMessage("CALLS", { last_by_subj: callsSubject("t", scope, key) }))
    const take = (scope: string, key: string) => attempt("purge", () => jsm.streams.purge("CALLS", { filter: callsSubject("t", scope, key) }))
    const put = (scope: string, key: string, text: string | Uint8Array) => attempt("publish", () => js.publish(callsSubject("t", scope, key), text))
    const found = Effect.map(run("verify", "--run", "a"), ({ json: { changed, missing, ok } }) => ({ ok, changed, missing }))
    const users = new Map(dataOf("rollout").map(({ callKey, user }: any) => [callKey, user]))
    const replaced = (scope: string, key: string, change: (call: any) => object) =>
      Effect.gen(function*() {
        const kept = yield* stands(scope, key)
        const call = JSON.parse(kept?.string() ?? "")
        yield* take(scope, key)
        yield* put(scope, key, JSON.stringify(change(call)))
        const was = yield* found
        yield* take(scope, key)
        yield* put(scope, key, kept?.data ?? "")
        return was
      })

    const consolidation = dataOf("consolidation").at(-1)
    yield* Effect.flatMap(stands("run:a", consolidation.calls[0]), (kept) =>
      Effect.gen(function*() {
        yield* take("run:a", consolidation.calls[0])
        assert.equal(yield* found, { ok: false, changed: [], missing: [`reply ${consolidation.calls[0]} (consolidate)`] })
        yield* put("run:a", consolidation.calls[0], "no call")
        assert.equal((yield* found).changed, [`reply ${consolidation.calls[0]} (consolidate) of a is not what was kept`])
        yield* take("run:a", consolidation.calls[0])
        yield* put("run:a", consolidation.calls[0], kept?.data ?? "")
      }))
    assert.match((yield* replaced("run:a", consolidation.calls[0], (call) => ({ ...call, text: JSON.stringify({ operations: [{ operation: "add", content: "Another sentence.", scope: "all" }] }) }))).changed.join(), /consolidation\/all of a does not say what its reply says/)

    const rollout = dataOf("rollout")[0]
    const other = yield* replaced(rollout.user, rollout.callKey, (call) => ({ ...call, text: `${call.text} Or not.` }))
    assert.ok(!other.ok && other.missing.length === 0)
    assert.match(other.changed.join(), /rollout\/.* of a does not say what its reply says/)
    assert.match(other.changed.join(), /\(judge\) of a is not to what \d+\/judgement\/.* asks/)

    const judged = results.find(({ events, subject }) => parseResultSubject(subject)?.kind === "judgement" && (events[0]?.data as any).data.verdict === "correct")
    const [key] = (judged?.events[0]?.data as any).data.calls
    const { key: of, step } = parseResultSubject(judged?.subject ?? "")!
    const user = users.get((yield* log.last(resultSubject({ ...address, step, kind: "rollout", key: of })))?.events.map(({ data }: any) => data.data.callKey)[0])
    assert.match((yield* replaced(user, key, (call) => ({ ...call, text: '{"reason": "x", "verdict": "no"}' }))).changed.join(), new RegExp(`${step}/judgement/${of} of a does not say what its reply says`))
    assert.equal(yield* found, { ok: true, changed: [], missing: [] })
  }))

effect(test as never, "verdicts asked for with another limit of tokens than the run's opening names are found again", () =>
  withWorkers(({ home, model, url }) =>
    Effect.gen(function*() {
      yield* Layer.build(reflector).pipe(Effect.provide(configured(model.url)))
      yield* answering("reflector")
      yield* openRun("a", runRequest(questions(117), { steps: 1 }))
      yield* finished("a")
      const { json: { ok, replies } } = yield* commandRunner(evolutionCommands, home, url)("verify", "--run", "a", "--tenant", "t")
      assert.equal([ok, replies.judge.rebuilt], [true, replies.judge.named])
    }), { settings: { METAMEM_JUDGE_MAX_TOKENS: "1024" } }), 60_000)

onFinishedRun(test, "verdicts by words are decided again, and one that its answer does not bear out is told", ({ run }) =>
  Effect.gen(function*() {
    const { js, jsm } = yield* Nats
    const log = yield* EventLog
    const { json: whole } = yield* run("verify", "--run", "a")
    const results = yield* log.read([resultFilter(address)]).pipe(Stream.runCollect)
    const data = (kind: string) => new Map(results.flatMap(({ events, subject }): ReadonlyArray<readonly [string, any]> => {
      const [at, settled] = [parseResultSubject(subject)!, events[0]?.data as any]
      return at.kind === kind && settled.status === "done" ? [[`${at.step}/${at.key}`, settled.data]] : []
    }))
    const verdicts = data("judgement")
    assert.equal([whole.ok, whole.lexicalVerdicts, whole.replies.judge], [true, verdicts.size, undefined])
    const [place = ""] = [...verdicts].find(([, { verdict }]) => verdict === "correct") ?? []
    const { callKey, user } = data("rollout").get(place)
    const subject = callsSubject("t", user, callKey)
    const kept = yield* attempt("read", () => jsm.streams.getMessage("CALLS", { last_by_subj: subject }))
    const call = JSON.parse(kept?.string() ?? "")
    yield* attempt("purge", () => jsm.streams.purge("CALLS", { filter: subject }))
    yield* attempt("publish", () => js.publish(subject, JSON.stringify({ ...call, text: call.text.replace(/\S+/g, "so") })))
    const { json: forged } = yield* run("verify", "--run", "a")
    assert.equal([forged.ok, forged.changed], [false, [`${place.replace("/", "/judgement/")} of a is not what the lexical judge says of its answer`]])
  }), { METAMEM_JUDGE: "lexical" })

test.run()
