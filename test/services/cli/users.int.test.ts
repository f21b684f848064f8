import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { layerBundle } from "#shared/eventlog/bundle"
import { EventLog } from "#shared/eventlog/event-log"
import { memoryFilter } from "#shared/eventlog/subjects"
import { memoryCommands } from "#services/cli/memory"
import { memoryActors, settled } from "#test/support/actors"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("users, on real parts")

const filesUnder = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))

effect(test, "a user is exported and erased: gone from log, index and disk, and nobody else is touched", () =>
  Effect.gen(function*() {
    const { home, url } = yield* testServer
    const run = commandRunner(memoryCommands, home, url)
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const file = join(home, "turns.jsonl")
      const line = (user: string, text: string) => JSON.stringify({ user, conversation: "c", speaker: "user", time: "2026-03-02T18:00:00Z", text })
      writeFileSync(file, [line("mira", "My kiln is called Vesuvio."), line("tom", "My boat is called Otter.")].join("\n"))
      yield* run("ingest", file, "--close")
      for (const user of ["mira", "tom"]) yield* settled({ tenant: "local", user, conversation: "c" })
      const found = yield* run("ask", "What is the kiln called?", "--user", "mira", "--deadline-ms", "3000")
      assert.match(JSON.stringify(found.json.evidence), /Vesuvio/)
      // The index writes to its folder every ten seconds.
      yield* Effect.sleep("11 seconds")
      assert.ok(filesUnder(join(home, "index")).some((path) => readFileSync(path).includes("Vesuvio")))

      const bundle = join(home, "mira.bundle.gz")
      const exported = yield* run("users", "export", "--user", "mira", "--out", bundle)
      const stands = (yield* Stream.runCollect(log.readRaw([memoryFilter({ user: "mira" })]))).length
      assert.equal([exported.error, exported.json.streams.MEMORY.messages], ["", stands])
      assert.match((yield* run("users", "export", "--user", "mira", "--out", bundle)).error, /there already/)
      assert.match((yield* run("users", "export", "--user", "nobody", "--out", join(home, "x"))).error, /no data/)

      const erased = yield* run("users", "erase", "--user", "mira")
      assert.equal([erased.error, erased.json.erased, erased.json.streams[0].removed], ["", true, stands])
      assert.equal((yield* run("users", "list")).json.users, ["tom"])
      const again = yield* run("users", "erase", "--user", "mira")
      assert.equal([again.error, again.json.erased, again.json.marks], ["", false, 4])
      assert.equal((yield* run("memories", "list", "--user", "mira")).json.memories, [])
      assert.is((yield* run("memories", "list", "--user", "tom")).json.memories.length, 2)
      const asked = yield* run("ask", "What is the kiln called?", "--user", "mira", "--deadline-ms", "3000")
      assert.equal([asked.error, asked.json.evidence], ["", []])
      // The answer is kept, and so is the name; nobody of that name has said anything.
      const list = Effect.map(run("users", "list"), ({ json }) => json)
      assert.equal(yield* list, { users: ["tom"], askedAbout: ["mira"] })
      yield* run("ask", "What is the kiln called?", "--user", "nobody", "--deadline-ms", "3000")
      assert.equal(yield* list, { users: ["tom"], askedAbout: ["mira", "nobody"] })
      for (const user of ["nobody", "mira"]) assert.is((yield* run("users", "erase", "--user", user)).json.erased, true)
      assert.equal(yield* list, { users: ["tom"], askedAbout: [] })
      yield* Effect.sleep("11 seconds")
      for (const path of filesUnder(join(home, "index"))) assert.not.ok(readFileSync(path).includes("Vesuvio"), path)
      for (const path of filesUnder(join(home, "nats"))) assert.not.ok(readFileSync(path).includes("Vesuvio"), path)

      // What the bundle holds is what was there, and can still be read.
      const kept = yield* Effect.flatMap(EventLog, (bundled) => Stream.runCollect(bundled.read([memoryFilter({ user: "mira" })]))).pipe(Effect.provide(layerBundle(bundle)))
      assert.is(kept.length, stands)
      assert.ok(JSON.stringify(kept).includes("Vesuvio"))

      // Whoever comes back is a new user of the same name.
      writeFileSync(file, line("mira", "My kiln is called Vesuvio."))
      assert.equal((yield* run("ingest", file, "--close")).json.received, 1)
      yield* settled({ tenant: "local", user: "mira", conversation: "c" })
      assert.is((yield* run("memories", "list", "--user", "mira", "--kind", "turn")).json.memories.length, 1)
    }).pipe(Effect.provide(memoryActors(url, home)))
  }), 120_000)

test.run()
