import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import { memorySubject } from "#shared/eventlog/subjects"
import { logCommand } from "#services/cli/log-commands"
import { memoryCommands } from "#services/cli/memory"
import { memoryActors, settled } from "#test/support/actors"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import { testServer } from "#test/support/nats"

const test = suite("the life of memories, on real parts")

const lines = (turns: ReadonlyArray<readonly [user: string, conversation: string, time: string, text: string]>): string =>
  turns.map(([user, conversation, time, text]) => JSON.stringify({ user, conversation, speaker: "user", time, text })).join("\n")

const mira = [
  ["mira", "spring", "2026-03-02T18:00:00Z", "I live in Hamburg. I have a cat named Pixel."],
  ["mira", "autumn", "2026-09-10T18:00:00Z", "I live in Lisbon now. I have a cat named Pixel."]
] as const

effect(test, "a later fact replaces an earlier one of another conversation, once, and for as long as nobody takes it back", () =>
  Effect.gen(function*() {
    const { home, url } = yield* testServer
    const run = commandRunner([...memoryCommands, logCommand], home, url)
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const file = join(home, "turns.jsonl")
      writeFileSync(file, lines([...mira, ["tom", "spring", "2026-04-01T10:00:00Z", "I live in Hamburg."], ["tom", "autumn", "2026-05-01T10:00:00Z", "My dog is called Rex."]]))
      assert.is((yield* run("ingest", file, "--close")).json.received, 4)
      for (const user of ["mira", "tom"]) for (const conversation of ["spring", "autumn"]) yield* settled({ tenant: "local", user, conversation })

      const facts = (user: string) => Effect.map(run("memories", "list", "--user", user, "--kind", "fact"), ({ json }) => json.memories as ReadonlyArray<{ id: string; text: string; supersededBy?: string; turns: Array<string>; searchableByVector: boolean }>)
      const before = yield* facts("mira")
      const hamburg = before.find(({ text }) => text.includes("Hamburg"))
      const lisbon = before.find(({ text }) => text.includes("Lisbon"))
      assert.ok(hamburg !== undefined && lisbon !== undefined, JSON.stringify(before))

      const told = yield* run("status", "--user", "mira")
      assert.equal(told.json.turns.map((turn: Record<string, unknown>) => [turn["conversation"], turn["received"], turn["words"], turn["vectors"], turn["extracted"], turn["failed"]]), [["spring", true, true, true, true, false], ["autumn", true, true, true, true, false]])
      assert.equal((yield* run("status")).json.totals, { received: 4, words: 4, vectors: 4, extracted: 4, failed: 0 })
      assert.equal((yield* run("status")).json.lags, { compressor: 0, embedder: 0, "retriever-rollout": 0, index: 0 })

      const head = yield* log.head("MEMORY")
      const dry = yield* run("reconcile", "--dry-run")
      assert.equal([dry.error, dry.json.changed], ["", 2])
      assert.is(yield* log.head("MEMORY"), head)

      const done = yield* run("reconcile")
      assert.equal([done.error, done.json.changed], ["", 2])
      assert.equal(done.json.users.find(({ user }: { user: string }) => user === "tom").changes, [])
      // Recorded where the later fact stands, and nowhere else.
      assert.is((yield* log.load(memorySubject({ tenant: "local", user: "mira", conversation: "spring" }, "compressor"), { after: head })).length, 0)
      yield* settled({ tenant: "local", user: "mira", conversation: "autumn" })

      const after = yield* facts("mira")
      assert.is(after.find(({ id }) => id === hamburg.id)?.supersededBy, lisbon.id)
      const cats = after.filter(({ text }) => text.includes("Pixel"))
      const merged = cats.find(({ supersededBy }) => supersededBy === undefined)
      assert.is(cats.length, 3)
      assert.ok(cats.every(({ id, supersededBy }) => id === merged?.id || supersededBy === merged?.id))
      assert.is(merged?.turns.length, 2)
      assert.is(merged?.searchableByVector, true)

      const again = yield* log.head("MEMORY")
      assert.is((yield* run("reconcile")).json.changed, 0)
      assert.is(yield* log.head("MEMORY"), again)

      const listed = (...filters: ReadonlyArray<string>) =>
        Effect.map(run("memories", "list", "--user", "mira", ...filters), ({ json }) => (json.memories as ReadonlyArray<{ id: string; kind: string; conversation: string; supersededBy?: string }>))
      assert.equal((yield* listed("--kind", "turn", "--from", "2026-06-01")).map(({ conversation }) => conversation), ["autumn"])
      assert.equal((yield* listed("--kind", "turn", "--to", "2026-06-01T00:00:00Z")).map(({ conversation }) => conversation), ["spring"])
      // As of a point the facts that stood then, and not yet what replaced them.
      for (const point of ["2026-03-31", `memory:0:0:${head}`]) {
        const stood = (yield* listed("--as-of", point)).filter(({ kind }) => kind === "fact")
        assert.ok(stood.some(({ id }) => id === hamburg.id) && stood.every(({ id, supersededBy }) => id !== merged?.id && supersededBy === undefined), point)
      }
      assert.equal((yield* listed("--as-of", "2026-03-31")).filter(({ conversation }) => conversation !== "spring"), [])
      assert.not((yield* listed("--as-of", `memory:0:0:${yield* log.head("MEMORY")}`)).some(({ id }) => id === hamburg.id))

      assert.is((yield* run("memories", "restore", hamburg.id, "--user", "mira")).json.changed, true)
      const untouched = (yield* run("memories", "restore", lisbon.id, "--user", "mira")).json
      assert.equal([untouched.changed, untouched.note], [false, `nothing was changed: ${lisbon.id} was neither forgotten nor replaced, and is found as before`])
      assert.is((yield* facts("mira")).find(({ id }) => id === hamburg.id)?.supersededBy, undefined)
      assert.is((yield* run("reconcile", "--user", "mira")).json.changed, 0)
      assert.is((yield* facts("mira")).find(({ id }) => id === hamburg.id)?.supersededBy, undefined)

      const { answerId } = (yield* run("ask", "Where does Mira live?", "--user", "mira", "--deadline-ms", "4000")).json
      const evidence = (...filters: ReadonlyArray<string>) =>
        Effect.map(run("ask", "Where does Mira live?", "--user", "mira", "--deadline-ms", "4000", ...filters), ({ json }) => [...new Set((json.evidence as ReadonlyArray<{ kind: string; conversation: string }>).map(({ conversation, kind }) => `${kind} ${conversation}`))].sort())
      assert.equal(yield* evidence("--kind", "turn"), ["turn autumn", "turn spring"])
      assert.equal(yield* evidence("--kind", "turn", "--from", "2026-06-01"), ["turn autumn"])
      assert.equal(yield* evidence("--kind", "turn", "--from", "2026-01-01", "--to", "2026-06-01"), ["turn spring"])
      assert.equal(yield* evidence("--kind", "turn", "--conversation", "spring"), ["turn spring"])
      // Nobody has to say again whose answer it was.
      assert.equal((yield* run("feedback", answerId, "incorrect", "Lisbon")).json, { recorded: true })
      assert.equal((yield* run("feedback", answerId.slice(0, 12), "incorrect", "Lisbon", "--user", "mira")).json, { recorded: false })
      assert.match((yield* run("feedback", answerId, "correct", "--user", "tom")).error, /no answer given to tom/)
      assert.match((yield* run("feedback", "nothing", "correct")).error, /no answer has an id that begins with nothing/)
      const { commits } = (yield* run("log", "tail", "--last", "3")).json
      assert.ok(commits.length >= 1 && commits.some(({ events, subject }: any) => subject.at(-1) === "retriever" && events[0].type === "FeedbackReceived"), JSON.stringify(commits))
      const shown = yield* run("memories", "show", hamburg.id.slice(0, 10), "--user", "mira")
      assert.equal([shown.json.memory.id, shown.json.sources[0].text], [hamburg.id, mira[0][3]])
      const told2 = yield* run("memories", "history", hamburg.id, "--user", "mira")
      assert.equal([...new Set(told2.json.events.map(({ event }: { event: string }) => event))].filter((event) => event !== "used in an answer"), ["extracted", "embedded", "superseded", "restored"])
      const turn = yield* run("memories", "history", shown.json.sources[0].id, "--user", "mira")
      assert.is(turn.json.answers[0].question, "Where does Mira live?")
      // Without a turn's words, what was taken from them alone is gone too.
      assert.is((yield* run("memories", "forget", shown.json.sources[0].id, "--user", "mira")).json.changed, true)
      yield* settled({ tenant: "local", user: "mira", conversation: "spring" })
      assert.is((yield* facts("mira")).find(({ id }) => id === hamburg.id)?.supersededBy, "forgotten")
      assert.is((yield* run("memories", "show", hamburg.id, "--user", "mira")).json.sources[0].supersededBy, "forgotten")
      const [source] = shown.json.sources
      assert.match((yield* run("memories", "restore", hamburg.id, "--user", "mira")).json.note, new RegExp(`^nothing was changed: .* left out of evidence with that; .*memories restore ${source.id}. takes both back$`))
      assert.is((yield* run("memories", "forget", source.id, "--user", "mira")).json.note, `nothing was changed: ${source.id} is forgotten already`)
      const less = yield* run("ask", "Where did Mira live in spring, Hamburg?", "--user", "mira", "--deadline-ms", "4000")
      assert.not.match(JSON.stringify(less.json.evidence), /Hamburg/)
      assert.is((yield* run("memories", "restore", shown.json.sources[0].id, "--user", "mira")).json.changed, true)
      for (const [wrong, mend] of [
        [["ask", " ", "--user", "mira"], /question is empty/],
        [["ask", "x", "--user", "mira", "--deadline-ms", "3"], /from 50 to 600000/],
        [["ask", "x", "--user", "mira", "--at", "last week"], /not a time/],
        [["ask", "x", "--user", "mira", "--from", "last week"], /not a time/],
        [["memories", "list", "--user", "mira", "--limit", "0"], /at least 1/],
        [["memories", "list", "--user", "mira", "--limit", "-1"], /at least 1/],
        [["memories", "list", "--user", "mira", "--as-of", "last week"], /not a time/],
        [["memories", "list", "--user", "mira", "--as-of", "memory:0:0:x"], /or a position in the log as memory:0:0:17/],
        [["memories", "list", "--user", "mira", "--as-of", "metamem:0:0:1"], /positions of the memory log/],
        [["memories", "list", "--user", "mira", "--as-of", "memory:0:7:3"], /epoch 0 and shard 7; this log/],
        [["memories", "list", "--user", "mira", "--as-of", "memory:0:0:99999"], /beyond the end of the memory log, memory:0:0:\d+/]
      ] as const) assert.match((yield* run(...wrong)).error, mend)
      assert.match((yield* run("memories", "show", "nothing", "--user", "mira")).error, /no memory of mira begins with nothing/)
      assert.match((yield* run("memories", "history", hamburg.id, "--user", "tom")).error, /no memory of tom/)
    }).pipe(Effect.provide(memoryActors(url, home)))
  }), 120_000)

test.run()
