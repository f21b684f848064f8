/**
 * A training run in which every actor and the server are killed at points of its progress, beside the same run undisturbed: the same
 * decisions, the same generations, and no model call paid twice but those that were in flight at a killed process.
 */
import { Effect, Fiber, Schedule, Scope, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { request } from "#shared/actor/requests"
import type { Question } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { attempt, Nats } from "#shared/eventlog/nats"
import { verifyCommits } from "#shared/eventlog/replay"
import { type ActorName, actors, requestSubject, resultFilter, runFilter, runSubject } from "#shared/eventlog/subjects"
import { presets, type RunRequest } from "#services/reflector/parameters"
import { logOn, settled } from "#test/support/actors"
import { begun } from "#test/support/begun"
import { effect } from "#test/support/effect"
import { receive } from "#test/support/memory-client"
import { testServer } from "#test/support/nats"
import { scriptedModel, type ScriptedRequest } from "#test/support/scripted-model"
import { finished, makeQuestion, openRun, register, stateOf, verification } from "../services/reflector/stage.ts"
import { actorProcess, killServer } from "./actor-processes.ts"

const test = suite("a run in processes of their own")

const run = "r"
const address = { tenant: "t", run }
const all: ReadonlyArray<Question> = Array.from({ length: 40 }, (_, at) => makeQuestion(at))
const gold = new Map(all.map(({ answer, text }) => [text, answer]))
const part = (from: number, to: number) => {
  const [first, ...more] = all.slice(from, to).map(({ id, user }) => ({ id, user }))
  if (first === undefined) throw new RangeError("a part needs a question")
  return [first, ...more] as const
}
const asked: RunRequest = { ...presets.laptop, datasetHash: "d", seed: 5, steps: 2, batch: 8, samples: 3, train: part(0, 16), validation: part(16, 32), guard: part(32, 40), test: [] }

/** Milliseconds of one call: long enough that a kill meets some in flight. */
const latencyMs = 250
const callsAtOnce = "8"

/** A server, an endpoint, and processes that ask it under names of their own. */
const stage = Effect.gen(function*() {
  const { home, url } = yield* testServer
  const model = yield* scriptedModel({ gold, latencyMs })
  const scope = yield* Effect.scope
  let started = 0
  const start = (actor: ActorName, more: ReadonlyArray<ActorName> = []) =>
    Effect.gen(function*() {
      const name = `process ${++started}`
      const settings = {
        METAMEM_LLM_URL: model.url, METAMEM_LLM_MODEL: "scripted", METAMEM_LLM_KEY: name, METAMEM_LLM_CONCURRENCY: callsAtOnce,
        METAMEM_JUDGE: "model", METAMEM_REFLECTOR: "model", METAMEM_REFLECTOR_SCAN_SECONDS: "1"
      }
      return { name, ...(yield* actorProcess(actor, url, home, settings, more)) }
    }).pipe(Effect.provideService(Scope.Scope, scope))
  return { home, url, model, start }
})
type Stage = Effect.Success<typeof stage>
type Running = Effect.Success<ReturnType<Stage["start"]>>

/** Two turns for each question, the questions themselves, and the run; returns when it is open. */
const opened = Effect.gen(function*() {
  const talks = all.map(({ user }, at) => ({ tenant: "t", user, conversation: "c", at }))
  const answers = (actor: ActorName) => request(requestSubject(actor, "ping"), {}, 1_000).pipe(Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo({ times: 400 }))))
  yield* Effect.forEach(["ingestor", "evaluator", "reflector"] as const, answers, { discard: true })
  yield* Effect.forEach(talks, ({ at, ...of }) => {
    const time = (minute: number) => new Date(Date.UTC(2026, 2, 1 + (at % 20), 9, minute)).toISOString()
    const turns = [
      { speaker: "user", text: `I looked at thing number ${at} again, and it is ${gold.get(all[at]?.text ?? "")} since Monday.`, time: time(0) },
      { speaker: "assistant", text: `Noted: thing number ${at}.`, time: time(1) }
    ]
    return receive({ ...of, turns, close: true })
  }, { concurrency: 8, discard: true })
  yield* Effect.forEach(talks, settled, { concurrency: 8, discard: true })
  yield* register(all)
  yield* openRun(run, asked)
})

/** What the run decided, without what tells of the order in which results came or of places in the log. */
const decided = Effect.gen(function*() {
  const log = yield* EventLog
  return (yield* log.load(runSubject(address))).flatMap(({ cause, events }) =>
    events.map(({ data, type }) => {
      const { inputsDigest: _, parameters, results: __, ...rest } = data as Readonly<Record<string, unknown>>
      return { cause, type, ...rest, ...(parameters === undefined ? {} : { parameters: { ...parameters, memoryPosition: 0 } }) }
    }))
})

/** What is to be the same whatever happened meanwhile, once it is found whole. */
const outcome = Effect.gen(function*() {
  const log = yield* EventLog
  const read = yield* verifyCommits(log.readRaw([runFilter(address)]))
  assert.equal(read.faults, [])
  const { differing, extra, missing } = yield* verification(run)
  assert.equal({ differing, extra, missing }, { differing: [], extra: [], missing: [] })
  const { generations, recommended } = yield* stateOf(run)
  return { hashes: generations.map(({ hash }) => hash), recommended, decided: yield* decided }
})

/** How often each call was sent. */
const sent = ({ model }: Stage): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const { call } of model.requests) counts.set(call, (counts.get(call) ?? 0) + 1)
  return counts
}

const undisturbed = begun(
  Effect.gen(function*() {
    const on = yield* stage
    yield* on.start("retriever", actors.filter((actor) => actor !== "retriever"))
    return yield* Effect.gen(function*() {
      yield* opened
      yield* finished(run)
      return { ...(yield* outcome), sent: sent(on) }
    }).pipe(Effect.provide(logOn(on.url)))
  }),
  300_000
)

/** Keys of the replies that are kept. */
const kept = Effect.gen(function*() {
  const { jsm } = yield* Nats
  const { state } = yield* attempt("list calls", () => jsm.streams.info("CALLS", { subjects_filter: "calls.>" })).pipe(
    Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 200 })))
  )
  return new Set(Object.keys(state.subjects ?? {}).map((subject) => subject.split(".")[3] ?? ""))
})

/** How far the run is: events of its own by type, and settled jobs by step and kind. */
const followed = Effect.gen(function*() {
  const log = yield* EventLog
  const seen = new Map<string, number>()
  const note = (what: string) => void seen.set(what, (seen.get(what) ?? 0) + 1)
  yield* log.follow([resultFilter(address), runSubject(address)]).pipe(
    Stream.runForEach((commit) =>
      Effect.sync(() => {
        const [, , , , step, kind] = commit.subject.split(".")
        for (const { data, type } of commit.events) note(type === "JobSettled" ? `${kind} of ${step}` : `${type} of ${(data as { readonly step?: number }).step}`)
      })),
    Effect.forkScoped
  )
  /** Waits until the log has `count` of them. */
  return (what: string, count: number) =>
    Effect.gen(function*() {
      while ((seen.get(what) ?? 0) < count) yield* Effect.sleep(5)
    }).pipe(Effect.timeoutOrElse({ duration: "150 seconds", orElse: () => Effect.fail(new Error(`the run did not come to ${count} × ${what}; it is at ${JSON.stringify([...seen])}`)) }))
})

effect(test, "a run during which every actor and the server are killed decides and seals what one does that ran through, and pays again only what was in flight", () =>
  Effect.gen(function*() {
    const on = yield* stage
    const processes = yield* Effect.forEach(["retriever", "retriever", "evaluator", "evaluator", "reflector", "reflector", "ingestor"] as const, (actor) => on.start(actor, actor === "ingestor" ? ["compressor", "embedder"] : []), { concurrency: 3 })
    yield* Effect.gen(function*() {
      const running = new Map<ActorName, Array<Running>>()
      for (const process of processes) running.set(process.actor, [...(running.get(process.actor) ?? []), process])
      const until = yield* followed
      yield* opened
      const isOver = yield* finished(run).pipe(Effect.forkScoped)

      const inFlight = new Set<string>()
      let kills = 0
      /** Ends one process of each of these actors, the server too, and starts all again. */
      const kill = (names: ReadonlyArray<ActorName>, withServer: boolean) =>
        Effect.gen(function*() {
          const victims = names.flatMap((name) => running.get(name)?.shift() ?? [])
          assert.is(victims.length, names.length)
          kills += victims.length + (withServer ? 1 : 0)
          // A server that ends forgets who had which job: every call in flight may be made again. A process that ends leaves its own.
          const isVictims = ({ headers }: ScriptedRequest) => withServer || victims.some(({ name }) => headers["authorization"] === `Bearer ${name}`)
          const before = withServer ? yield* kept : undefined
          if (withServer) yield* killServer(on.home)
          yield* Effect.forEach(victims, (process) => process.kill, { concurrency: "unbounded", discard: true })
          const standing = before ?? (yield* kept)
          for (const request of on.model.requests) if (!standing.has(request.call) && isVictims(request)) inFlight.add(request.call)
          yield* Effect.forEach(victims, ({ actor }) => Effect.map(on.start(actor, actor === "ingestor" ? ["compressor", "embedder"] : []), (process) => running.get(actor)?.push(process)), { concurrency: 3, discard: true })
        })

      yield* until("rollout of 1", 4)
      yield* kill(["retriever", "evaluator", "reflector", "reflector"], false)
      yield* until("reflection of 1", 2)
      yield* kill(["reflector", "ingestor"], true)
      yield* until("rollout of 2", 8)
      yield* kill(["retriever", "evaluator", "reflector", "reflector"], true)
      yield* Fiber.join(isOver)

      const calm = yield* undisturbed
      const { sent: calls, ...wanted } = calm
      const got = yield* outcome
      assert.equal(got.hashes, wanted.hashes)
      assert.equal(got, wanted)
      assert.ok(wanted.hashes.length >= 2, "something was sealed")

      const paid = sent(on)
      assert.equal([...calls.values()].filter((count) => count > 1), [], "undisturbed, no call is sent twice")
      assert.equal([...paid.keys()].sort(), [...calls.keys()].sort())
      const again = [...paid].filter(([, count]) => count > 1)
      const repeated = again.reduce((sum, [, count]) => sum + count - 1, 0)
      assert.ok(inFlight.size > 0, "kills met calls in flight")
      assert.equal(again.filter(([call]) => !inFlight.has(call)), [], "only what was in flight at a kill is paid again")
      assert.ok(repeated <= inFlight.size, `${repeated} calls paid again, ${inFlight.size} in flight at ${kills} kills`)
    }).pipe(Effect.provide(logOn(on.url)))
  }), 300_000)

test.run()
