import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { bury, countDead, type DeadLetter, dropDead, eachDead, listDead, oneDead, retryDead } from "#shared/actor/dead-letters"
import { Nats } from "#shared/eventlog/nats"
import { effect } from "#test/support/effect"
import { natsLayer } from "#test/support/nats"

const test = suite("dead letters")
const it = (name: string, body: Effect.Effect<unknown, unknown, Nats>) => effect(test as never, name, () => body.pipe(Effect.provide(natsLayer)))
const letter = (about: string, again?: DeadLetter["again"]): DeadLetter => ({
  actor: "evaluator",
  kind: "judgement",
  about,
  error: "the model hangs",
  tries: 3,
  mend: "Start the model.",
  ...(again === undefined ? {} : { again })
})

it("a stream that never held a letter lists none", Effect.gen(function*() {
  assert.equal(yield* listDead(), [])
}))

it("letters stand until dropped, oldest first", Effect.gen(function*() {
  for (const about of ["a", "b", "c"]) yield* bury(letter(about))
  const [a, b] = yield* listDead()
  assert.is(a?.about, "a")
  assert.is(a?.mend, "Start the model.")
  assert.match(a?.time ?? "", /^\d{4}-.*Z$/)
  assert.is(yield* dropDead(b?.sequence ?? 0), true)
  assert.equal((yield* listDead()).map(({ about }) => about), ["a", "c"])
  assert.equal((yield* listDead(1)).map(({ about }) => about), ["a"])
  assert.is(yield* dropDead(b?.sequence ?? 0), false, "dropped before")
  assert.is(yield* dropDead(99), false, "never stood")
}))

it("each is told and found by its number, also of more than are listed at once", Effect.gen(function*() {
  const count = 1_100
  const abouts = Array.from({ length: count }, (_, at) => `job ${at}`)
  yield* Effect.forEach(abouts, (about) => bury(letter(about)), { concurrency: 64, discard: true })
  yield* bury({ ...letter("of another"), actor: "embedder" })
  const told: Array<string> = []
  yield* eachDead(({ about }) => void told.push(about), "evaluator")
  assert.equal(told.toSorted(), abouts.toSorted())
  assert.equal([yield* countDead, (yield* listDead()).length, (yield* listDead(1_000, 1_000)).length], [count + 1, 1_000, 101])
  assert.equal([(yield* oneDead(count + 1))?.about, yield* oneDead(count + 2)], ["of another", undefined])
}))

it("the same matter is recorded once", Effect.gen(function*() {
  yield* bury(letter("a"))
  yield* bury(letter("a"))
  assert.is((yield* listDead()).length, 1)
}))

it("a letter put back is published again and gone", Effect.gen(function*() {
  const { js, jsm } = yield* Nats
  const subject = "work.evaluator.judgement.t.r.1_q"
  yield* bury(letter("a", { subject, payload: "{\"key\":\"q\"}" }))
  const [standing] = yield* listDead()
  assert.ok(standing)
  assert.is(yield* retryDead(standing), true)
  assert.equal(yield* listDead(), [])
  const message = yield* Effect.promise(() => jsm.streams.getMessage("WORK", { last_by_subj: subject }))
  assert.is(message?.string(), "{\"key\":\"q\"}")
  assert.ok(js)
}))

it("a letter without a message to repeat stays, and says so", Effect.gen(function*() {
  yield* bury(letter("a"))
  const [standing] = yield* listDead()
  assert.ok(standing)
  assert.is(yield* retryDead(standing), false)
  assert.is((yield* listDead()).length, 1)
}))

it("what is not a letter is listed as such and hides no other", Effect.gen(function*() {
  const { js } = yield* Nats
  yield* Effect.promise(() => js.publish("dead.x.y", "{half"))
  yield* bury(letter("a"))
  const dead = yield* listDead()
  assert.equal(dead.map(({ about }) => about), ["dead.x.y", "a"])
  assert.match(dead[0]?.mend ?? "", /[Dd]rop/)
  assert.is(yield* dropDead(dead[0]?.sequence ?? 0), true)
}))

test.run()
