import { Effect, Option, type Scope, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { makeEntity } from "#shared/actor/entity"
import { bury, listDead } from "#shared/actor/dead-letters"
import { publishJobs } from "#shared/actor/jobs"
import { isErasureMark } from "#shared/eventlog/envelope"
import { eraseUser, lastErasure, onErasure, usersHere } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { Nats } from "#shared/eventlog/nats"
import { verifyCommits } from "#shared/eventlog/replay"
import { erasedFilter, erasedSubject, memoryFilter, memorySubject, userHash } from "#shared/eventlog/subjects"
import type { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { behaviour as ingestor } from "#services/ingestor/behaviour"
import { effect } from "#test/support/effect"
import { jetStreamLayer } from "#test/support/nats"

const test = suite("erasing a user")
const it = (name: string, body: Effect.Effect<unknown, unknown, EventLog | Nats | Scope.Scope>) => effect(test as never, name, () => body.pipe(Effect.provide(jetStreamLayer)), 40_000)

const at = (user: string, conversation = "c", actor: "ingestor" | "compressor" | "embedder" = "ingestor") => memorySubject({ tenant: "local", user, conversation }, actor)
const turn = (id: string) => ({ _tag: "ReceiveTurns", turns: [{ id, speaker: "user", text: `secret ${id}`, time: "2026-03-02T18:04:00.000Z" }] }) as const
const texts = (user: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const messages = yield* Stream.runCollect(log.readRaw([memoryFilter({ tenant: "local", user })]))
    return messages.map(({ payload }) => Buffer.from(payload).toString()).filter((text) => text.includes("secret"))
  })
const call = (key: string, latencyMs: number): StoredCall => ({
  version: 1, key, role: "answer", model: "m", schema: "answer/1", templateVersion: "t", inputs: [], tags: {}, text: "secret", truncated: false, usage: { promptTokens: 1, completionTokens: 1, estimated: false }, latencyMs, requests: 1
})

it("everything of the user goes, nothing of anybody else's, and twice is once", Effect.gen(function*() {
  const entity = yield* makeEntity(ingestor)
  const log = yield* EventLog
  for (const user of ["mira", "mira.b", "tom"]) for (const conversation of ["c", "d"]) yield* entity.execute(at(user, conversation), turn(`${user}-${conversation}`), { cause: "1" })
  const store = yield* CallStore
  for (const user of ["mira", "tom"]) yield* store.put("local", user, "k", call("k", 1))
  const job = (user: string) => ({ tenant: "local", run: "r", step: 1, kind: "rollout", key: user, input: { question: { id: "q", user } } })
  yield* publishJobs("retriever", [job("mira"), job("tom")], 0)
  yield* bury({ actor: "compressor", kind: "signal", about: at("mira"), error: "x", tries: 1, mend: "y" })
  yield* bury({ actor: "compressor", kind: "signal", about: at("tom"), error: "x", tries: 1, mend: "y" })
  for (const user of ["mira", "tom"]) yield* bury({ actor: "retriever", kind: "rollout", about: `job of ${user}`, whose: userHash("local", user), error: "x", tries: 1, mend: "y" })

  const report = yield* eraseUser("local", "mira")
  assert.equal(report.streams.map(({ removed, stream }) => [stream, removed]), [["MEMORY", 2], ["CALLS", 1], ["WORK", 1], ["DEAD", 2], ["LEASE", 0], ["METAMEM", 0]])
  assert.equal([report.erased, report.marks], [true, 7])
  assert.equal(yield* texts("mira"), [])
  assert.is((yield* texts("tom")).length + (yield* texts("mira.b")).length, 4)
  assert.ok(Option.isNone(yield* store.get("local", "mira", "k")) && Option.isSome(yield* store.get("local", "tom", "k")))
  assert.equal((yield* listDead()).map(({ about }) => about), [at("tom"), "job of tom"])
  assert.equal(yield* usersHere("local"), [{ user: "mira.b", spoke: true }, { user: "tom", spoke: true }])
  assert.equal([(yield* lastErasure("local", "mira"))?.sequence, yield* lastErasure("local", "tom")], [report.sequence, undefined])

  const [told] = yield* Stream.runCollect(log.read([erasedFilter("local")]))
  assert.is((told?.events[0]?.data as { user: string }).user, userHash("local", "mira"))
  assert.not.match(JSON.stringify(told), /mira/)

  const head = yield* log.head("MEMORY")
  const again = yield* eraseUser("local", "mira")
  assert.equal([again.erased, again.marks, yield* log.head("MEMORY")], [false, 7, head])
  assert.equal((yield* verifyCommits(log.readRaw([memoryFilter({})]))).faults, [])
}).pipe(Effect.provide(CallStore.layerJetStream)))

it("who keeps something is told of each erasure from then on, and whose it was", Effect.gen(function*() {
  const entity = yield* makeEntity(ingestor)
  for (const user of ["mira", "mira.b", "tom"]) yield* entity.execute(at(user), turn("a"), { cause: "1" })
  yield* eraseUser("local", "tom")
  const told: Array<ReadonlyArray<boolean>> = []
  yield* onErasure(({ holds, is }) => void told.push([is("local", "mira"), is("other", "mira"), is("local", "mira.b"), holds(at("mira", "d", "compressor")), holds(at("tom"))]))
  yield* eraseUser("local", "mira")
  // Nothing was left to erase: nobody need be told.
  yield* eraseUser("local", "mira")
  yield* eraseUser("local", "mira.b")
  for (let tries = 0; tries < 100 && told.length < 2; tries++) yield* Effect.sleep(20)
  assert.equal(told, [[true, false, false, true, false], [false, false, true, false, false]])
}))

it("an erasure that cannot be read is taken for anybody's, and those after it are told", Effect.gen(function*() {
  const log = yield* EventLog
  const entity = yield* makeEntity(ingestor)
  yield* entity.execute(at("mira"), turn("a"), { cause: "1" })
  const told: Array<ReadonlyArray<boolean>> = []
  yield* onErasure(({ holds, is }) => void told.push([is("local", "mira"), is("local", "tom"), holds(at("tom"))]))
  yield* log.append({ subject: erasedSubject("local", userHash("local", "tom")), cause: "1", events: [{ type: "UserErased", version: 99, data: {} }] }, 0, "")
  yield* eraseUser("local", "mira")
  for (let tries = 0; tries < 100 && told.length < 2; tries++) yield* Effect.sleep(20)
  assert.equal(told, [[true, true, true], [true, false, false]])
}))

it("what was decided before the erasure is not recorded after it, first commit or later one", Effect.gen(function*() {
  const log = yield* EventLog
  const [slow, quick] = [yield* makeEntity(ingestor), yield* makeEntity(ingestor)]
  const { sequence } = (yield* quick.execute(at("mira"), turn("a"), { cause: "1" })).folded
  // A worker has read its own subject and its input, and works on it while the user is erased.
  const derived = at("mira", "c", "compressor")
  const first = yield* slow.load(derived)
  const later = yield* slow.load(at("mira"))
  yield* eraseUser("local", "mira")
  assert.is((yield* Effect.flip(slow.execute(derived, turn("b"), { cause: "2", seen: first.epoch }))) ._tag, "ErasedMeanwhile")
  assert.is((yield* Effect.flip(slow.execute(at("mira"), turn("b"), { cause: "2", seen: later.epoch })))._tag, "ErasedMeanwhile")
  assert.is((yield* Effect.flip(log.append({ subject: derived, cause: "2", events: [] }, 0, "")))._tag, "SequenceConflict")
  assert.is((yield* Effect.flip(log.append({ subject: at("mira"), cause: "2", events: [] }, sequence, "")))._tag, "SequenceConflict")
  assert.equal(yield* texts("mira"), [])
  // A signal from before is covered by the mark, so that nothing is left to do for it.
  assert.ok((yield* slow.load(derived)).inputThrough >= sequence)
}))

it("a turn that comes while its user is erased is still to be derived from, and waits for nothing that is gone", Effect.gen(function*() {
  const log = yield* EventLog
  const entity = yield* makeEntity(ingestor)
  for (const conversation of ["c", "d"]) yield* entity.execute(at("mira", conversation), turn("a"), { cause: "1" })
  let came = 0
  const meanwhile: typeof log = {
    ...log,
    append: (commit, sequence, checksum) =>
      log.append(commit, sequence, checksum).pipe(
        Effect.tap(() =>
          commit.subject !== at("mira") || came > 0
            ? Effect.void
            : Effect.map(Effect.orDie(entity.execute(at("mira"), turn("b"), { cause: "2" })), ({ folded }) => void (came = folded.sequence))
        )
      )
  }
  yield* Effect.provideService(eraseUser("local", "mira"), EventLog, meanwhile)
  assert.ok(came > 0)
  for (const actor of ["compressor", "embedder"] as const) {
    const [busy, quiet] = [yield* entity.load(at("mira", "c", actor)), yield* entity.load(at("mira", "d", actor))]
    assert.ok(busy.inputThrough < came, `${actor} takes the turn for done`)
    // What was said before is done with: the mark covers its signal.
    assert.ok(busy.inputThrough > 2 && quiet.inputThrough >= came, actor)
  }
}))

it("a user who comes back and says the same again is heard, by a process that knew them and by one that did not", Effect.gen(function*() {
  const log = yield* EventLog
  const knew = yield* makeEntity(ingestor)
  yield* knew.execute(at("mira"), turn("a"), { cause: "same" })
  yield* eraseUser("local", "mira")
  const heard = yield* knew.execute(at("mira"), turn("a"), { cause: "same" })
  assert.is(heard.fresh, true)
  assert.equal([...heard.folded.state.turns.keys()], ["a"])
  assert.is((yield* texts("mira")).length, 1)
  const fresh = yield* makeEntity(ingestor)
  assert.is((yield* fresh.execute(at("mira"), turn("a"), { cause: "same" })).fresh, false)
  assert.equal(yield* usersHere("local"), [{ user: "mira", spoke: true }])
  assert.equal((yield* verifyCommits(log.readRaw([memoryFilter({})]))).faults, [])
  assert.is((yield* eraseUser("local", "mira")).streams[0]?.removed, 2)
}))

it("an entity whose every trace is gone is begun anew", Effect.gen(function*() {
  const { jsm } = yield* Nats
  const entity = yield* makeEntity(ingestor)
  yield* entity.execute(at("mira"), turn("a"), { cause: "1" })
  yield* Effect.promise(() => jsm.streams.purge("MEMORY", { filter: at("mira") }))
  assert.equal([...(yield* entity.execute(at("mira"), turn("b"), { cause: "2" })).folded.state.turns.keys()], ["b"])
}))

it("a reply that comes after the erasure of its user is not kept, one asked for later is", Effect.gen(function*() {
  const entity = yield* makeEntity(ingestor)
  yield* entity.execute(at("mira"), turn("a"), { cause: "1" })
  yield* eraseUser("local", "mira")
  const store = yield* CallStore
  assert.match((yield* Effect.flip(store.put("local", "mira", "k", call("k", 30_000)))).message, /erased/)
  assert.ok(Option.isNone(yield* store.get("local", "mira", "k")))
  yield* store.put("local", "tom", "k", call("k", 30_000))
  assert.ok(Option.isSome(yield* store.get("local", "tom", "k")))
}).pipe(Effect.provide(CallStore.layerJetStream)))

test("a commit without events is no erasure mark by a cause that only begins so", () => {
  assert.is(isErasureMark({ cause: "erased by hand", events: [] }), false)
  assert.is(isErasureMark({ cause: "erased 01234567-89ab-cdef-0123-456789abcdef", events: [{ type: "X", version: 1, data: {} }] }), false)
})

test.run()
