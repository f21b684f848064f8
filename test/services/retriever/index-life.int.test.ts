import { cpSync, existsSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Logger, References } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { memoryActors, settled } from "#test/support/actors"
import { effect } from "#test/support/effect"
import { ready, receive, retrieve } from "#test/support/memory-client"
import { testServer } from "#test/support/nats"

const test = suite("the index lost, damaged, shared or of another log")

/** The actors on a home, with what they say at the level that processes show. */
const running = <A, E, R>(of: { readonly url: string; readonly home: string }, body: (said: ReadonlyArray<string>) => Effect.Effect<A, E, R>) => {
  const said: Array<string> = []
  const listen = Logger.layer([Logger.make(({ message }) => void said.push(String(message)))])
  return Effect.andThen(ready, body(said)).pipe(Effect.provide(memoryActors(of.url, of.home)), Effect.provide(listen), Effect.provideService(References.MinimumLogLevel, "Warn"))
}
const users = ["ann", "ben", "cat"] as const
const tell = (user: string, text: string) => receive({ user, conversation: "c1", turns: [{ speaker: "user", text }], close: true })
const knows = (user: string, word: string) => Effect.map(retrieve({ user, question: `Tell me about the ${word}` }), ({ evidence }) => evidence.some(({ text }) => text.includes(word)))
/** Told and searchable; written to the folder when the actors end. */
const filled = Effect.gen(function*() {
  for (const user of users) yield* tell(user, `${user} keeps an old gramophone in the cellar`)
  for (const user of users) yield* settled({ tenant: "local", user, conversation: "c1" })
})

const harms = [
  ["deleted", (index: string) => rmSync(index, { recursive: true })],
  ["without its data", (index: string) => rmSync(join(index, "0", "changes.lance", "data"), { recursive: true })],
  ["with data files cut short", (index: string) => {
    for (const file of readdirSync(join(index, "0"), { recursive: true, encoding: "utf8" })) if (file.endsWith(".lance") && file.includes("data")) writeFileSync(join(index, "0", file), "short")
  }],
  ["with other manifests", (index: string) => {
    for (const file of readdirSync(join(index, "0"), { recursive: true, encoding: "utf8" })) if (file.endsWith(".manifest")) writeFileSync(join(index, "0", file), "no manifest")
  }]
] as const

effect(test, "a folder found deleted or damaged at the start is filled again from the log", () =>
  Effect.gen(function*() {
    const of = yield* testServer
    yield* running(of, () => filled)
    for (const [name, harm] of harms) {
      harm(join(of.home, "index"))
      yield* running(of, (said) =>
        Effect.gen(function*() {
          for (const user of users) {
            const { behind, evidence } = yield* retrieve({ user, question: "the gramophone" })
            assert.ok(evidence.some(({ text }) => text.includes("gramophone")), `${name}: ${user}`)
            assert.equal(behind, [], name)
          }
          assert.ok(said.some((line) => /is filled (?:again )?from the log/.test(line)), `${name}: ${said.join("; ")}`)
        }))
    }
  }), 90_000)

effect(test, "a folder deleted or damaged under a running retriever is filled again from the log, and nothing is missing afterwards", () =>
  Effect.gen(function*() {
    const of = yield* testServer
    yield* running(of, () => filled)
    // What is damaged beside the data is seen at the next start, as above.
    for (const [name, harm] of harms.slice(0, 2)) {
      yield* running(of, (said) =>
        Effect.gen(function*() {
          assert.ok(yield* knows("ann", "gramophone"), name)
          harm(join(of.home, "index"))
          yield* tell("ann", `after ${name} came a violin`)
          // Not in memory yet: has to be read from the folder that is no more.
          assert.ok(yield* knows("ben", "gramophone"), `${name}: ben at once`)
          yield* tell("ben", `after ${name} came a cello`)
          const { lastPosition } = yield* tell("cat", `after ${name} came a flute`)
          yield* retrieve({ user: "cat", question: "flute", after: lastPosition })
          for (const user of users) assert.ok(yield* knows(user, "gramophone"), `${name}: ${user}`)
          assert.ok(yield* knows("ann", `after ${name} came a violin`), name)
          assert.is(said.length, 2, `${name}: ${said.join("; ")}`)
          assert.match(said[0] ?? "", /^the memory index in \S+ (?:was deleted while in use|cannot be used: .*)\. It is filled again from the log/)
          assert.match(said[1] ?? "", /^the memory index is filled again, from \d+ commits of the log in [\d.]+ s$/)
        }))
      yield* running(of, () =>
        Effect.gen(function*() {
          for (const user of users) assert.ok(yield* knows(user, "gramophone"), `${name}: ${user} after the next start`)
          for (const [user, thing] of [["ann", "violin"], ["ben", "cello"], ["cat", "flute"]] as const) assert.ok(yield* knows(user, thing), `${name}: ${thing} after the next start`)
        }))
    }
  }), 120_000)

effect(test, "an index of another log is not believed", () =>
  Effect.gen(function*() {
    const old = yield* testServer
    yield* running(old, () => filled)
    const young = yield* testServer
    cpSync(join(old.home, "index"), join(young.home, "index"), { recursive: true })
    yield* running(young, () =>
      Effect.gen(function*() {
        const { lastPosition } = yield* tell("ann", "ann keeps a telescope on the roof")
        const { behind, evidence } = yield* retrieve({ user: "ann", question: "telescope or gramophone", after: lastPosition })
        assert.ok(evidence.some(({ text }) => text.includes("telescope")))
        assert.not(evidence.some(({ text }) => text.includes("gramophone")))
        assert.equal(behind, [])
      }))
  }), 60_000)

effect(test, "two retrievers of one home have an index each and answer alike", () =>
  Effect.gen(function*() {
    const of = yield* testServer
    yield* running(of, () =>
      Effect.gen(function*() {
        yield* filled
        yield* running(of, () =>
          Effect.gen(function*() {
            const { lastPosition } = yield* tell("ann", "ann has bought a kayak")
            const all = yield* Effect.forEach(Array.from({ length: 12 }), () => retrieve({ user: "ann", question: "kayak and gramophone", after: lastPosition }), { concurrency: 4 })
            for (const { evidence } of all) assert.equal(evidence.map(({ memoryId, score }) => [memoryId, score]), all[0]?.evidence.map(({ memoryId, score }) => [memoryId, score]))
            assert.ok(existsSync(join(of.home, "index", "0")) && existsSync(join(of.home, "index", "1")))
          }))
      }))
  }), 60_000)

test.run()
