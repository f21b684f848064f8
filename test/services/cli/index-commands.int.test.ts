import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { connect } from "@lancedb/lancedb"
import { Effect, Fiber } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { storedCheckpoint } from "#services/cli/index-commands"
import { memoryCommands } from "#services/cli/memory"
import { memoryActors, settled } from "#test/support/actors"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("metamem index, on real parts")

const conversations = ["c0", "c1", "c2", "c3"]
const lines = (user: string) => conversations.flatMap((conversation) => Array.from({ length: 6 }, (_, i) => JSON.stringify({ user, conversation, speaker: "user", text: `I keep thing ${i} of ${conversation} in drawer ${i + 7}.` })))

effect(test, "a damaged index is told from the log and mended beside the one in use", () =>
  Effect.gen(function*() {
    const { home, url } = yield* testServer
    const run = commandRunner(memoryCommands, home, url)
    const file = join(home, "turns.jsonl")
    const actors = () => memoryActors(url, home)
    writeFileSync(file, [...lines("mira"), ...lines("tom")].join("\n"))
    yield* Effect.gen(function*() {
      assert.is((yield* run("ingest", file, "--close")).json.received, 48)
      for (const user of ["mira", "tom"]) for (const conversation of conversations) yield* settled({ tenant: "local", user, conversation })
      const first = (yield* run("memories", "list", "--user", "mira", "--kind", "fact")).json.memories[0].id
      yield* run("memories", "forget", first, "--user", "mira")
      const sound = yield* run("index", "verify")
      assert.equal([sound.error, sound.json.ok, sound.json.users, sound.json.differences], ["", true, 2, []])
      assert.ok(sound.json.memories >= 48)
      assert.is((yield* run("index", "verify", "--user", "nobody")).json.memories, 0)
    }).pipe(Effect.provide(actors()))
    assert.ok((yield* storedCheckpoint(home)) > 0)
    assert.is(yield* storedCheckpoint(join(home, "nowhere")), 0)

    // While nobody holds the folder, one row is lost and one is changed: what a checksum of files would not tell.
    const table = yield* Effect.promise(async () => (await connect(join(home, "index", "0"))).openTable("changes"))
    yield* Effect.promise(() => table.delete("change = 'Put' AND text LIKE '%thing 2 of c1%' AND user LIKE '%mira' AND kind = 'turn'"))
    yield* Effect.promise(() => table.update({ where: "change = 'Put' AND text LIKE '%thing 3 of c1%' AND user LIKE '%mira' AND kind = 'turn'", values: { text: "changed" } }))

    yield* Effect.gen(function*() {
      const broken = yield* run("index", "verify")
      assert.match(broken.error, /index rebuild/)
      assert.equal([broken.json.ok, broken.json.missing, broken.json.changed, broken.json.extra], [false, 1, 1, 0])
      assert.equal(broken.json.differences.map(({ user }: { user: string }) => user), ["mira"])
      assert.not.match(JSON.stringify(broken.json), /drawer/)

      const rebuilding = yield* Effect.forkChild(run("index", "rebuild"))
      // What comes meanwhile is in the new index too.
      writeFileSync(file, JSON.stringify({ user: "mira", conversation: "late", speaker: "user", text: "I bought a harp." }))
      yield* run("ingest", file, "--close")
      const rebuilt = yield* Fiber.join(rebuilding)
      assert.is(rebuilt.error, "")
      assert.ok(rebuilt.json.commits > 0)
      yield* settled({ tenant: "local", user: "mira", conversation: "late" })
      const mended = yield* run("index", "verify")
      assert.equal([mended.error, mended.json.ok], ["", true])
      assert.ok(!existsSync(join(home, "index", "0.next")) && !existsSync(join(home, "index", "0.aside")))
      assert.match(JSON.stringify((yield* run("memories", "list", "--user", "mira")).json), /harp/)
    }).pipe(Effect.provide(actors()))

    // What was put in place is what the next process finds.
    yield* Effect.gen(function*() {
      assert.is((yield* run("index", "verify")).json.ok, true)
    }).pipe(Effect.provide(actors()))
  }), 180_000)

test.run()
