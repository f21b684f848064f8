/** A wait for a model is told, and ends. */
import { Cause, Clock, Effect, Exit, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Hold } from "#shared/actor/jobs"
import { watchModels } from "#services/cli/watch-models"

const test = suite("models that are waited for")

/** What is told, and how it ends, when notices come 20 ms apart by a clock of their own. @param movesAt notice before which the run moves */
const watched = async (holds: ReadonlyArray<Hold>, movesAt: number, limitMs: Readonly<Record<Hold, number>>) => {
  const told: Array<string> = []
  let nowMs = 1_000
  let movedMs = 0
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => nowMs, currentTimeMillis: Effect.sync(() => nowMs),
    currentTimeNanosUnsafe: () => BigInt(nowMs) * 1_000_000n, currentTimeNanos: Effect.sync(() => BigInt(nowMs) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(nowMs) * 1_000_000n, monotonicTimeNanos: Effect.sync(() => BigInt(nowMs) * 1_000_000n),
    sleep: () => Effect.void
  }
  const held = Stream.fromIterable(holds).pipe(Stream.mapEffect((hold, at) =>
    Effect.sync(() => {
      nowMs += 20
      if (at === movesAt) movedMs = nowMs - 1
      return { kind: "rollout", hold, message: "answer: nobody is there." }
    })))
  const exit = await Effect.runPromiseExit(
    watchModels({ held: Stream.concat(held, Stream.fromEffect(Effect.interrupt)), movedMs: () => movedMs, tell: (line) => Effect.sync(() => void told.push(line)), limitMs }).pipe(Effect.provideService(Clock.Clock, clock))
  )
  return { told, message: Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? (Cause.squash(exit.cause) as Error).message : undefined }
}
const away = (count: number): ReadonlyArray<Hold> => Array.from({ length: count }, () => "away")

test("a short outage is told once, and ends nothing", async () => {
  const { message, told } = await watched(away(4), -1, { away: 60_000, rejected: 0 })
  assert.is(message, undefined)
  assert.is(told.length, 1)
  assert.match(told[0] ?? "", /^rollout jobs wait: answer: nobody is there\..*after 60 s without any progress this command ends/)
})

test("one that lasts ends the wait, with what to do", async () => {
  const { message } = await watched(away(20), -1, { away: 100, rejected: 60_000 })
  assert.match(message ?? "", /^answer: nobody is there\. Nothing is lost: mend it and give the same command again/)
})

test("what moves meanwhile begins the wait anew", async () => {
  const { message, told } = await watched(away(8), 4, { away: 120, rejected: 60_000 })
  assert.is(message, undefined)
  assert.is(told.length, 2)
})

test("a rejected key is waited for less", async () => {
  const { message, told } = await watched(["rejected", "rejected", "rejected", "rejected"], -1, { away: 60_000, rejected: 30 })
  assert.match(message ?? "", /Nothing is lost/)
  assert.not.match(told[0] ?? "", /by themselves/)
})

test.run()
