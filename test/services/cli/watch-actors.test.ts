/** A wait for actors that are gone ends. */
import { Effect, Exit, Cause } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { watchActors } from "#services/cli/watch-actors"
import type { ActorName } from "#shared/eventlog/subjects"

const test = suite("actors that are waited for")

/** What is told, and how it ends when nobody is missing any more after these looks. */
const watched = async (looks: ReadonlyArray<ReadonlyArray<ActorName>>, limitMs = 60_000) => {
  const told: Array<string> = []
  let at = 0
  const exit = await Effect.runPromiseExit(
    watchActors({
      missing: Effect.suspend(() => {
        const found = looks[at++]
        return found === undefined ? Effect.interrupt : Effect.succeed(found)
      }),
      tell: (line) => Effect.sync(() => void told.push(line)),
      everyMs: 10,
      limitMs
    })
  )
  return { told, message: Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? (Cause.squash(exit.cause) as Error).message : undefined }
}

test("who is there is not told of", async () => assert.equal(await watched([[], [], []]), { told: [], message: undefined }))

test("a short absence is told once, each time, and ends nothing", async () => {
  const { message, told } = await watched([["reflector"], ["reflector"], [], [], ["retriever", "evaluator"], []])
  assert.is(message, undefined)
  assert.equal(told.map((line) => line.split(":")[0]), ["reflector does not answer", "retriever and evaluator do not answer"])
})

test("who stays away ends the wait, with what to do", async () => {
  const { message, told } = await watched(Array.from({ length: 20 }, () => ["reflector"] as const), 25)
  assert.is(told.length, 1)
  assert.match(message ?? "", /reflector does not answer for 0 s\. Nothing is lost: give the same command again/)
})

test.run()
