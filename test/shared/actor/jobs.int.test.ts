import { Effect, Layer, Ref, Result, type Scope, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { listDead } from "#shared/actor/dead-letters"
import { heldJobs, type HeldNotice, isErasedOutcome, isIdle, type Job, jobCodec, JobFailed, type JobWorker, publishJobs, runJobs, unpublished } from "#shared/actor/jobs"
import { EventLog } from "#shared/eventlog/event-log"
import * as JetStreamLog from "#shared/eventlog/jetstream-log"
import { Nats } from "#shared/eventlog/nats"
import * as NatsConnection from "#shared/eventlog/nats"
import { attemptSubject, resultFilter, resultSubject, userHash, workSubject } from "#shared/eventlog/subjects"
import { begun } from "#test/support/begun"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"
import { workerProcess } from "./process.ts"
import { until } from "./tally.ts"

const test = suite("jobs")
const on = (url: string) => Layer.fresh(Layer.provideMerge(JetStreamLog.layer, NatsConnection.layer({ url })))
const it = (name: string, body: Effect.Effect<unknown, unknown, EventLog | Nats | Scope.Scope>, limitMs = 20_000) =>
  effect(test as never, name, () => Effect.flatMap(testServer, ({ url }) => body.pipe(Effect.provide(on(url)))), limitMs)

const job = (key: string): Job => ({ tenant: "t", run: "r", step: 1, kind: "judgement", key, input: { question: key } })
const jobs = (count: number) => Array.from({ length: count }, (_, i) => job(`q${i}`))
const worker = <R = never>(name: string, run: JobWorker<R>["run"], concurrency = 4): JobWorker<R> =>
  ({ actor: "evaluator", kind: "judgement", concurrency, maxAttempts: 3, heldMaxMs: 400, worker: name, run })

const outcome = (key: string) =>
  Effect.gen(function*() {
    const commits = yield* (yield* EventLog).load(resultSubject(job(key)))
    assert.ok(commits.length <= 1, `${key} was settled ${commits.length} times`)
    const event = commits[0]?.events[0]
    return event === undefined ? undefined : Result.getOrThrow(jobCodec.decode(event))
  })
const settledCount = Effect.flatMap(EventLog, (log) => Stream.runCount(log.read([resultFilter({ tenant: "t", run: "r" })])))
const settled = (count: number, limitMs = 10_000) => until(Effect.map(settledCount, (n) => n >= count), limitMs, `${count} jobs are settled`)

const killed = begun(
  Effect.gen(function*() {
    const { url } = yield* testServer
    return yield* Effect.gen(function*() {
      const victim = yield* workerProcess(url, "victim", "jobs", 60_000)
      yield* publishJobs("evaluator", jobs(4), 0)
      yield* victim.working(2)
      victim.kill("SIGKILL")
      yield* workerProcess(url, "heir", "jobs", 10)
      yield* settled(4, 40_000)
      for (const { key } of jobs(4)) {
        const end = yield* outcome(key)
        assert.is(end?._tag === "JobSettled" && end.worker, "heir")
        // A kill is not a failed attempt.
        assert.is(end?._tag === "JobSettled" && end.attempts, 1)
      }
    }).pipe(Effect.provide(on(url)))
  }),
  60_000
)

const serverKilled = begun(
  Effect.gen(function*() {
    const { pid, url } = yield* testServer
    return yield* Effect.gen(function*() {
      const runs = yield* Ref.make(0)
      for (const name of ["a", "b"]) {
        yield* runJobs(worker(name, () => Effect.andThen(Ref.update(runs, (n) => n + 1), Effect.sleep(50)))).pipe(Effect.provide(on(url)), Effect.forkScoped)
      }
      yield* publishJobs("evaluator", jobs(40), 0)
      yield* settled(8)
      process.kill(pid, "SIGKILL")
      yield* settled(40, 45_000)
      for (const { key } of jobs(40)) assert.is((yield* outcome(key))?._tag, "JobSettled")
      assert.ok((yield* Ref.get(runs)) <= 56, "only what was in work at the kill may have been run again")
    }).pipe(Effect.provide(on(url)))
  }),
  60_000
)

it("what was published before a job was to be done anew is not taken for it", Effect.gen(function*() {
  const [first, second] = jobs(2)
  const again = [{ ...first!, again: "checksum" }, second!]
  yield* publishJobs("evaluator", jobs(1), 0)
  assert.equal(yield* unpublished("evaluator", again), again)
  yield* publishJobs("evaluator", again, 0)
  assert.equal(yield* unpublished("evaluator", again), [])
  assert.equal(yield* unpublished("evaluator", [{ ...first!, again: "a later one" }]), [{ ...first!, again: "a later one" }])
}))

it("two workers settle every job exactly once and share them", Effect.gen(function*() {
  const { jsm, url } = yield* Nats
  const runs = yield* Ref.make(0)
  for (const name of ["a", "b"]) {
    yield* runJobs(worker(name, (one) => Effect.as(Effect.andThen(Ref.update(runs, (n) => n + 1), Effect.sleep(10)), { saw: one.input })))
      .pipe(Effect.provide(on(url)), Effect.forkScoped)
  }
  yield* publishJobs("evaluator", jobs(60), 0)
  yield* settled(60)
  const by = new Map<string, number>()
  for (const { key } of jobs(60)) {
    const end = yield* outcome(key)
    if (end?._tag !== "JobSettled") throw new Error(`${key} is not settled`)
    assert.equal([end.status, end.data, end.attempts], ["done", { saw: { question: key } }, 1])
    by.set(end.worker, (by.get(end.worker) ?? 0) + 1)
  }
  assert.is(yield* Ref.get(runs), 60)
  assert.ok((by.get("a") ?? 0) >= 15 && (by.get("b") ?? 0) >= 15, JSON.stringify([...by]))
  yield* until(
    Effect.map(Effect.promise(() => jsm.consumers.info("WORK", "evaluator-judgement")), (info) => info.num_ack_pending + info.num_pending === 0),
    5_000,
    "everything is acknowledged"
  )
}))

it("tries that fail are recorded, then the outcome is `failed` and a dead letter says so", Effect.gen(function*() {
  const tries = yield* Ref.make(0)
  yield* runJobs(worker("a", () => Effect.andThen(Ref.update(tries, (n) => n + 1), Effect.fail(new JobFailed({ message: "the model hangs", final: false }))))).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("bad")], 0)
  yield* settled(1)
  assert.is(yield* Ref.get(tries), 3)
  assert.equal(yield* outcome("bad"), { _tag: "JobSettled", status: "failed", data: null, error: "the model hangs", attempts: 3, worker: "a" })
  const attempts = (yield* (yield* EventLog).load(attemptSubject(job("bad")))).flatMap(({ events }) => events.map((event) => Result.getOrThrow(jobCodec.decode(event))))
  assert.equal(attempts, [1, 2].map((attempt) => ({ _tag: "JobAttemptFailed", attempt, error: "the model hangs" })))
  yield* until(Effect.map(listDead(), (dead) => dead.length === 1), 2_000, "the dead letter")
  const [letter] = yield* listDead()
  assert.equal([letter?.about, letter?.error, letter?.tries, letter?.whose], [resultSubject(job("bad")), "the model hangs", 3, undefined])
}))

it("a dead letter knows whose job it was by hash; one whose user was erased is settled at once as that, and is none", Effect.gen(function*() {
  yield* runJobs(worker("a", ({ key }) => Effect.fail(new JobFailed(key === "gone" ? { message: "nothing is left", final: true, erased: true } : { message: "the model hangs", final: true })))).pipe(Effect.forkScoped)
  const input = { question: { id: "q", user: "ivy" } }
  yield* publishJobs("evaluator", [{ ...job("gone"), input }, { ...job("bad"), input }], 0)
  yield* settled(2)
  const erasedOf = (key: string) => Effect.map(outcome(key), (event) => event?._tag === "JobSettled" && isErasedOutcome(event.data))
  assert.equal([yield* erasedOf("gone"), yield* erasedOf("bad")], [true, false])
  yield* until(Effect.map(listDead(), (dead) => dead.length > 0), 2_000, "the dead letter")
  assert.equal((yield* listDead()).map(({ about, whose }) => [about, whose]), [[resultSubject(job("bad")), userHash("t", "ivy")]])
}))

it("a try that fails once is repeated and then done", Effect.gen(function*() {
  const tries = yield* Ref.make(0)
  yield* runJobs(worker("a", () => Effect.flatMap(Ref.updateAndGet(tries, (n) => n + 1), (n) => (n === 1 ? Effect.fail(new JobFailed({ message: "once", final: false })) : Effect.succeed("well"))))).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* settled(1)
  assert.equal(yield* outcome("q"), { _tag: "JobSettled", status: "done", data: "well", error: "", attempts: 2, worker: "a" })
}))

const away = new JobFailed({ message: "nobody is there", final: false, hold: "away" })

it("a job waits while the model is away, says so, and no try counts against it", Effect.gen(function*() {
  const tries = yield* Ref.make(0)
  const heard = yield* Ref.make<ReadonlyArray<HeldNotice>>([])
  yield* heldJobs.pipe(Stream.runForEach((notice) => Ref.update(heard, (all) => [...all, notice])), Effect.forkScoped)
  yield* Effect.sleep(100)
  const slow = worker("a", () => Effect.flatMap(Ref.updateAndGet(tries, (n) => n + 1), (n) => (n <= 3 ? Effect.fail(away) : Effect.succeed("well"))))
  yield* runJobs({ ...slow, heldMaxMs: 4_000 }).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* settled(1, 18_000)
  assert.equal(yield* outcome("q"), { _tag: "JobSettled", status: "done", data: "well", error: "", attempts: 1, worker: "a" })
  assert.equal(yield* (yield* EventLog).load(attemptSubject(job("q"))), [])
  assert.equal(yield* Ref.get(heard), Array.from({ length: 3 }, () => ({ kind: "judgement", hold: "away", message: "nobody is there" })))
}), 30_000)

it("a model that stays away counts against the job after a bound", Effect.gen(function*() {
  yield* runJobs({ ...worker("a", () => Effect.fail(away)), heldMaxMs: 400 }).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* settled(1)
  assert.equal(yield* outcome("q"), { _tag: "JobSettled", status: "failed", data: null, error: "nobody is there", attempts: 3, worker: "a" })
}))

it("a failure for good is not tried again", Effect.gen(function*() {
  const tries = yield* Ref.make(0)
  yield* runJobs(worker("a", () => Effect.andThen(Ref.update(tries, (n) => n + 1), Effect.fail(new JobFailed({ message: "the question is gone", final: true }))))).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* settled(1)
  assert.is(yield* Ref.get(tries), 1)
}))

it("a handler that throws costs an attempt, not the worker", Effect.gen(function*() {
  yield* runJobs(worker("a", (one) => (one.key === "bug" ? Effect.die(new TypeError("x is undefined")) : Effect.succeed("well")), 1)).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("bug"), job("q")], 0)
  yield* settled(2)
  const bug = yield* outcome("bug")
  assert.is(bug?._tag === "JobSettled" && bug.status, "failed")
  assert.match(bug?._tag === "JobSettled" ? bug.error : "", /x is undefined/)
  assert.is((yield* outcome("q"))?._tag, "JobSettled")
}))

it("attempts of an earlier worker count", Effect.gen(function*() {
  const log = yield* EventLog
  let at = { sequence: 0, checksum: "" }
  for (const attempt of [1, 2]) {
    at = yield* log.append(
      { subject: attemptSubject(job("q")), cause: `attempt ${attempt}`, events: [jobCodec.encode({ _tag: "JobAttemptFailed", attempt, error: "before" })] },
      at.sequence,
      at.checksum
    )
  }
  const tries = yield* Ref.make(0)
  yield* runJobs(worker("a", () => Effect.andThen(Ref.update(tries, (n) => n + 1), Effect.fail(new JobFailed({ message: "again", final: false }))))).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("q")], 1)
  yield* settled(1)
  assert.is(yield* Ref.get(tries), 1)
}))

it("a job that ends its worker every time is settled as failed after fifty deliveries, and not before", Effect.gen(function*() {
  const { js, jsm, url } = yield* Nats
  const tries = yield* Ref.make(0)
  const running = runJobs(worker("a", () => Effect.as(Ref.update(tries, (n) => n + 1), "well"), 1)).pipe(Effect.provide(on(url)))
  // The consumer as a worker makes it.
  yield* Effect.raceFirst(running, until(Effect.promise(() => jsm.consumers.info("WORK", "evaluator-judgement").then(() => true, () => false)), 5_000, "the consumer"))
  /** Takes the job and drops it, as workers do that end with it. */
  const taken = (times: number) =>
    Effect.promise(async () => {
      const consumer = await js.consumers.get("WORK", "evaluator-judgement")
      for (let i = 0; i < times; i++) {
        const message = await consumer.next({ expires: 5_000 })
        assert.ok(message !== null, `delivery ${i + 1} comes`)
        message.nak()
      }
    })
  yield* publishJobs("evaluator", [job("deadly")], 0)
  yield* taken(50)
  yield* running.pipe(Effect.forkScoped)
  yield* settled(1)
  assert.is(yield* Ref.get(tries), 0)
  const end = yield* outcome("deadly")
  assert.equal(end?._tag === "JobSettled" && [end.status, end.attempts], ["failed", 50])
  assert.match(end?._tag === "JobSettled" ? end.error : "", /delivered 50 times/)
  yield* until(Effect.map(listDead(), (dead) => dead.some(({ about }) => about === resultSubject(job("deadly")))), 2_000, "the dead letter")
}))

it("a job delivered often, but not too often, is still done", Effect.gen(function*() {
  const { js, jsm, url } = yield* Nats
  const running = runJobs(worker("a", () => Effect.succeed("well"), 1)).pipe(Effect.provide(on(url)))
  yield* Effect.raceFirst(running, until(Effect.promise(() => jsm.consumers.info("WORK", "evaluator-judgement").then(() => true, () => false)), 5_000, "the consumer"))
  yield* publishJobs("evaluator", [job("slow")], 0)
  yield* Effect.promise(async () => {
    const consumer = await js.consumers.get("WORK", "evaluator-judgement")
    for (let i = 0; i < 49; i++) (await consumer.next({ expires: 5_000 }))?.nak()
  })
  yield* running.pipe(Effect.forkScoped)
  yield* settled(1)
  assert.equal(yield* outcome("slow"), { _tag: "JobSettled", status: "done", data: "well", error: "", attempts: 1, worker: "a" })
}))

it("a handler without a result settles its job readably", Effect.gen(function*() {
  yield* runJobs(worker("a", () => Effect.void)).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* settled(1)
  assert.equal(yield* outcome("q"), { _tag: "JobSettled", status: "done", data: null, error: "", attempts: 1, worker: "a" })
}))

it("a job settled before is not run again, however it was published", Effect.gen(function*() {
  const { js } = yield* Nats
  const tries = yield* Ref.make(0)
  yield* runJobs(worker("a", () => Effect.as(Ref.update(tries, (n) => n + 1), "well"))).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* settled(1)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* publishJobs("evaluator", [job("q")], 1)
  // As after the duplicate window: the same dispatch once more.
  yield* Effect.promise(() => js.publish(workSubject("evaluator", job("q")), JSON.stringify({ ...job("q"), dispatch: 0 })))
  yield* publishJobs("evaluator", [job("last")], 0)
  yield* settled(2)
  yield* Effect.sleep(200)
  assert.is(yield* Ref.get(tries), 2)
}))

it("two workers on one job: the first outcome stands", Effect.gen(function*() {
  const { url } = yield* Nats
  for (const name of ["a", "b"]) yield* runJobs(worker(name, () => Effect.as(Effect.sleep(200), { name }), 1)).pipe(Effect.provide(on(url)), Effect.forkScoped)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* publishJobs("evaluator", [job("q")], 1)
  yield* settled(1)
  const first = yield* outcome("q")
  yield* Effect.sleep(400)
  assert.equal(yield* outcome("q"), first)
}))

it("a message that is not a job becomes a dead letter, and the worker goes on", Effect.gen(function*() {
  const { js } = yield* Nats
  yield* runJobs(worker("a", () => Effect.succeed("well"), 1)).pipe(Effect.forkScoped)
  yield* Effect.promise(() => js.publish("work.evaluator.judgement.x", "{half"))
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* settled(1)
  const [letter] = yield* listDead()
  assert.is(letter?.about, "work.evaluator.judgement.x")
  assert.match(letter?.error ?? "", /not a job/)
}))

it("a worker that ends hands its job back at once", Effect.gen(function*() {
  const { url } = yield* Nats
  const held = yield* Ref.make(false)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* Effect.raceFirst(
    runJobs(worker("leaving", () => Effect.andThen(Ref.set(held, true), Effect.never))).pipe(Effect.provide(on(url))),
    until(Ref.get(held), 5_000, "it has the job")
  )
  yield* runJobs(worker("heir", () => Effect.succeed("well"))).pipe(Effect.provide(on(url)), Effect.forkScoped)
  yield* settled(1, 3_000)
}))

it("a process that is told to end hands its jobs back before it is gone", Effect.gen(function*() {
  const { url } = yield* Nats
  const leaving = yield* workerProcess(url, "leaving", "jobs", 60_000)
  yield* publishJobs("evaluator", jobs(2), 0)
  yield* leaving.working(2)
  yield* runJobs(worker("heir", () => Effect.succeed("well"))).pipe(Effect.forkScoped)
  leaving.kill("SIGTERM")
  yield* settled(2, 6_000)
}), 40_000)

it("a worker that ends while it waits for a job keeps none that comes then", Effect.gen(function*() {
  yield* Effect.raceFirst(runJobs(worker("leaving", () => Effect.never, 2)), Effect.sleep(500))
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* Effect.sleep(200)
  yield* runJobs(worker("heir", () => Effect.succeed("well"), 1)).pipe(Effect.forkScoped)
  yield* settled(1, 8_000)
  const end = yield* outcome("q")
  assert.is(end?._tag === "JobSettled" && end.worker, "heir")
}))

it("a job that comes to one process twice at once is run once", Effect.gen(function*() {
  const runs = yield* Ref.make(0)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* publishJobs("evaluator", [job("q")], 1)
  yield* runJobs(worker("a", () => Effect.andThen(Ref.update(runs, (n) => n + 1), Effect.sleep(500)))).pipe(Effect.forkScoped)
  yield* settled(1)
  yield* until(isIdle("evaluator", "judgement"), 5_000, "both are acknowledged")
  assert.is(yield* Ref.get(runs), 1)
}))

it("copies of a job in work take no place of other jobs, and are acknowledged with it", Effect.gen(function*() {
  const runs = yield* Ref.make(0)
  const open = yield* Ref.make(false)
  yield* runJobs(worker("a", ({ key }) =>
    key === "other" ? Effect.void : Effect.andThen(Ref.update(runs, (n) => n + 1), Ref.get(open).pipe(Effect.tap(Effect.sleep(20)), Effect.repeat({ until: (is) => is }))), 2)).pipe(Effect.forkScoped)
  for (const dispatch of [0, 1, 2]) yield* publishJobs("evaluator", [job("q")], dispatch)
  yield* publishJobs("evaluator", [job("other")], 0)
  yield* settled(1, 4_000)
  assert.is((yield* outcome("other"))?._tag, "JobSettled")
  assert.is(yield* isIdle("evaluator", "judgement"), false, "the copies are held as long as the job is")
  yield* Ref.set(open, true)
  yield* settled(2)
  yield* until(isIdle("evaluator", "judgement"), 5_000, "all are acknowledged")
  assert.is(yield* Ref.get(runs), 1)
}))

it("no number of copies keeps other jobs back", Effect.gen(function*() {
  const runs = yield* Ref.make(0)
  yield* runJobs(worker("a", ({ key }) => (key === "other" ? Effect.void : Effect.andThen(Ref.update(runs, (n) => n + 1), Effect.never)), 2)).pipe(Effect.forkScoped)
  for (let dispatch = 0; dispatch < 40; dispatch++) yield* publishJobs("evaluator", [job("q")], dispatch)
  yield* publishJobs("evaluator", [job("other")], 0)
  yield* settled(1, 4_000)
  assert.is((yield* outcome("other"))?._tag, "JobSettled")
  assert.is(yield* Ref.get(runs), 1)
}))

it("a worker that ends hands back the copies of its job too", Effect.gen(function*() {
  const { jsm, url } = yield* Nats
  for (const dispatch of [0, 1]) yield* publishJobs("evaluator", [job("q")], dispatch)
  yield* Effect.raceFirst(
    runJobs(worker("leaving", () => Effect.never)).pipe(Effect.provide(on(url))),
    until(Effect.promise(() => jsm.consumers.info("WORK", "evaluator-judgement").then(({ num_ack_pending }) => num_ack_pending === 2, () => false)), 5_000, "it has both")
  )
  yield* runJobs(worker("heir", () => Effect.succeed("well"), 1)).pipe(Effect.provide(on(url)), Effect.forkScoped)
  yield* settled(1, 4_000)
  yield* until(isIdle("evaluator", "judgement"), 5_000, "both are acknowledged")
}))

it("what was never published is told from what still reaches a worker", Effect.gen(function*() {
  assert.is(yield* isIdle("evaluator", "judgement"), false, "where nobody has asked for work, nothing is known")
  yield* publishJobs("evaluator", jobs(2), 0)
  assert.equal((yield* unpublished("evaluator", jobs(3))).map(({ key }) => key), ["q2"])
  const open = yield* Ref.make(false)
  yield* runJobs(worker("a", () => Ref.get(open).pipe(Effect.tap(Effect.sleep(20)), Effect.repeat({ until: (is) => is })))).pipe(Effect.forkScoped)
  yield* Effect.sleep(500)
  assert.is(yield* isIdle("evaluator", "judgement"), false)
  yield* Ref.set(open, true)
  yield* settled(2)
  yield* until(isIdle("evaluator", "judgement"), 5_000, "nothing waits and nothing is held")
}))

it("a consumer that was lost is made again", Effect.gen(function*() {
  const { jsm } = yield* Nats
  yield* runJobs(worker("a", () => Effect.succeed("well"), 2)).pipe(Effect.forkScoped)
  yield* publishJobs("evaluator", [job("q")], 0)
  yield* settled(1)
  yield* Effect.promise(() => jsm.consumers.delete("WORK", "evaluator-judgement"))
  yield* publishJobs("evaluator", [job("next")], 0)
  yield* settled(2, 15_000)
}))

effect(test as never, "jobs of a killed worker are delivered to another and settled once", () => killed, 60_000)
effect(test as never, "work goes on after the server was killed, every job settled once", () => serverKilled, 60_000)

test.run()
