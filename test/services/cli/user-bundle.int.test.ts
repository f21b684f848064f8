import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { writeBundle } from "#shared/eventlog/bundle"
import { eraseUser, usersHere } from "#shared/eventlog/erasure"
import { StoredEvent } from "#shared/eventlog/event"
import { EventLog } from "#shared/eventlog/event-log"
import { callsFilter, memoryFilter, runSubject } from "#shared/eventlog/subjects"
import type { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { evolutionCommands } from "#services/cli/evolution"
import { memoryCommands } from "#services/cli/memory"
import { importUser } from "#services/cli/user-bundle"
import { verify } from "#services/cli/verify"
import { logOn, memoryActors, settled } from "#test/support/actors"
import { callsOf } from "#test/support/calls"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import { temporaryFolder, testServer } from "#test/support/nats"

const test = suite("users taken in from a bundle, on real parts")

const conversations = ["c", "日記.1"]
const line = (conversation: string, minute: number, speaker: string, text: string) =>
  JSON.stringify({ user: "mira", conversation, id: `t${minute}`, speaker, time: `2026-03-02T18:${String(minute).padStart(2, "0")}:00Z`, text })
const said = [
  line("c", 1, "user", "My kiln is called Vesuvio. I bought it in Faenza."),
  line("c", 2, "assistant", "A fine name for a kiln."),
  line("c", 3, "user", "My sister Ada lives in Turin."),
  line("日記.1", 4, "user", "I am allergic to walnuts."),
  line("日記.1", 5, "user", "My boat is called Otter.")
]

type Run = ReturnType<typeof commandRunner>
const ok = (outcome: { readonly error: string; readonly json: any }): any => {
  assert.is(outcome.error, "", outcome.error)
  return outcome.json
}

/** What people see of a user: memories, one of them whole, and what is found for a question. */
const seenOf = (run: Run, memory: string) =>
  Effect.gen(function*() {
    const { memories } = ok(yield* run("memories", "list", "--user", "mira"))
    const shown = ok(yield* run("memories", "show", memory, "--user", "mira"))
    const found = []
    for (const question of ["What is the kiln called?", "What must Mira not eat?"]) {
      const { answer, answerId, evidence } = ok(yield* run("ask", question, "--user", "mira", "--at", "2026-04-01T10:00:00Z", "--deadline-ms", "4000"))
      found.push({ answer, answerId, evidence })
    }
    return { memories, shown, found }
  })

const settledAll = Effect.forEach(conversations, (conversation) => settled({ tenant: "local", user: "mira", conversation }), { discard: true })
const head = Effect.flatMap(EventLog, (log) => log.head("MEMORY"))

interface Stage {
  readonly bundle: string
  readonly seen: Effect.Success<ReturnType<typeof seenOf>>
  readonly forgotten: string
}

const call: StoredCall = {
  version: 1, key: "k", role: "answer", model: "m", schema: "answer/1", templateVersion: "t", inputs: [], tags: {}, text: "a reply", truncated: false, usage: { promptTokens: 1, completionTokens: 1, estimated: false }, latencyMs: 10, requests: 1
}

/** A user with facts, one of them forgotten, one taken back, an answer, words on it and a kept reply; exported. */
const exported = (run: Run, home: string): Effect.Effect<Stage, unknown, EventLog | CallStore> =>
  Effect.gen(function*() {
    const file = join(home, "turns.jsonl")
    writeFileSync(file, said.slice(0, 4).join("\n"))
    ok(yield* run("ingest", file, "--close"))
    yield* settledAll
    // A second request for one of them: times, ends and water marks stand between its commits.
    writeFileSync(file, said.join("\n"))
    ok(yield* run("ingest", file, "--close"))
    yield* settledAll
    const facts: ReadonlyArray<{ id: string; text: string }> = ok(yield* run("memories", "list", "--user", "mira", "--kind", "fact")).memories
    const of = (pattern: RegExp) => facts.find(({ text }) => pattern.test(text))?.id ?? assert.unreachable(`no fact ${pattern} among ${JSON.stringify(facts)}`)
    const forgotten = of(/Ada/) as string
    ok(yield* run("memories", "forget", forgotten, "--user", "mira"))
    ok(yield* run("memories", "forget", of(/Otter/) as string, "--user", "mira"))
    ok(yield* run("memories", "restore", of(/Otter/) as string, "--user", "mira"))
    yield* (yield* CallStore).put("local", "mira", call.key, call)
    const seen = yield* seenOf(run, forgotten)
    ok(yield* run("feedback", seen.found[0]?.answerId, "incorrect", "Vesuvio", "--user", "mira"))
    const bundle = join(home, "mira.bundle.gz")
    assert.ok(ok(yield* run("users", "export", "--user", "mira", "--out", bundle)).messages > 10)
    return { bundle, seen, forgotten }
  })

effect(test, "an exported user is the same in a home where nobody runs, twice is once, and the actors that come then find all of it done", () =>
  Effect.gen(function*() {
    const [here, there] = [yield* testServer, yield* testServer]
    const stage = yield* exported(commandRunner(memoryCommands, here.home, here.url), here.home).pipe(Effect.provide(memoryActors(here.url, here.home)))
    const run = commandRunner(memoryCommands, there.home, there.url)
    const taken = ok(yield* run("users", "import", stage.bundle))
    assert.equal([taken.user, taken.turns, taken.conversations, taken.answers, taken.feedback, taken.calls, taken.wasErased], ["mira", 5, 2, 2, 1, 1, false])
    assert.ok(taken.facts >= 4 && taken.vectors >= 9, JSON.stringify(taken))
    yield* Effect.gen(function*() {
      const before = yield* head
      const again = ok(yield* run("users", "import", stage.bundle))
      assert.equal([again, yield* head], [{ ...taken, added: 0 }, before])
      assert.equal((yield* callsOf("local", "mira")).get("k")?.text, "a reply")
    }).pipe(Effect.provide(CallStore.layerJetStream), Effect.provide(logOn(there.url)))
    yield* Effect.gen(function*() {
      yield* settledAll
      // The other conversations of a user: compressor and embedder found everything done, and nothing was done anew.
      const log = yield* EventLog
      const actors = yield* Stream.runCollect(log.read([memoryFilter({ user: "mira" })]))
      assert.is(actors.filter(({ events }) => events.some(({ type }) => type === "VectorsRecorded")).flatMap(({ events }) => events.flatMap(({ data }) => (data as { ids: ReadonlyArray<string> }).ids)).length, taken.vectors)
      assert.is(actors.flatMap(({ events }) => events.filter(({ type }) => type === "MemoriesRecorded").flatMap(({ data }) => (data as { memories: ReadonlyArray<unknown> }).memories)).length, taken.facts)
      assert.equal(yield* seenOf(run, stage.forgotten), stage.seen)
      // What comes now goes on where the bundle ended.
      const file = join(there.home, "more.jsonl")
      writeFileSync(file, [said[0], line("c", 9, "user", "My cat is called Zeno.")].join("\n"))
      const { duplicates, received } = ok(yield* run("ingest", file, "--close"))
      assert.equal([received, duplicates], [1, 1])
      yield* settledAll
      assert.match(JSON.stringify(ok(yield* run("ask", "What is the cat called?", "--user", "mira", "--deadline-ms", "4000")).evidence), /Zeno/)
      assert.is(ok(yield* run("users", "import", stage.bundle)).added, 0)
    }).pipe(Effect.provide(memoryActors(there.url, there.home)))
  }), 180_000)

effect(test, "actors at work meanwhile make nothing twice, and an erased user comes back", () =>
  Effect.gen(function*() {
    const [here, there] = [yield* testServer, yield* testServer]
    const run = commandRunner(memoryCommands, here.home, here.url)
    const elsewhere = commandRunner(memoryCommands, there.home, there.url)
    const stage = yield* Effect.gen(function*() {
      const stage = yield* exported(run, here.home)
      assert.is(ok(yield* run("users", "import", stage.bundle)).added, 0)
      ok(yield* run("users", "erase", "--user", "mira"))
      assert.equal(ok(yield* run("memories", "list", "--user", "mira")).memories, [])
      const back = ok(yield* run("users", "import", stage.bundle))
      assert.equal([back.wasErased, back.added > 0], [true, true])
      yield* settledAll
      assert.equal(yield* seenOf(run, stage.forgotten), stage.seen)
      assert.equal((yield* callsOf("local", "mira")).get("k")?.text, "a reply")
      assert.is(ok(yield* run("users", "import", stage.bundle)).added, 0)
      return stage
    }).pipe(Effect.provide(memoryActors(here.url, here.home)))
    yield* Effect.gen(function*() {
      ok(yield* elsewhere("users", "import", stage.bundle))
      yield* settledAll
      assert.equal(yield* seenOf(elsewhere, stage.forgotten), stage.seen)
    }).pipe(Effect.provide(memoryActors(there.url, there.home)))
  }), 180_000)

/** Two turns by themselves, straight into a log, and the user in a bundle. */
const plain = (file: string, user = "mira") =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const subject = `memory.local.${user}.c.ingestor`
    const turns = (id: string, text: string) => [{ type: "TurnsReceived", version: 1, data: { turns: [{ id, speaker: "user", text, time: "2026-03-02T18:00:00.000Z" }] } }]
    const first = yield* log.append({ subject, cause: "1", events: turns("c/a", "My kiln is called Vesuvio.") }, 0, "")
    yield* log.append({ subject, cause: "2", events: turns("c/b", "My boat is called Otter.") }, first.sequence, first.checksum)
    yield* writeBundle(file, [memoryFilter({ tenant: "local", user }), callsFilter("local", user)], "")
    return turns
  })

effect(test, "turns keep their times and their order, though they came out of order or bear that of a clock that jumped; also beside a part of them", () =>
  Effect.gen(function*() {
    const [here, empty, begun] = [yield* testServer, yield* testServer, yield* testServer]
    const file = join(here.home, "xan.bundle.gz")
    const subject = "memory.local.xan.k.ingestor"
    const turn = (id: string, time: string) => ({ id: `k/${id}`, speaker: "user", text: `My ${id} is blue.`, time: `2025-03-01T${time}Z` })
    const commits = [[turn("tent", "09:09:00.000")], [turn("kayak", "09:01:00.000"), turn("oar", "09:09:00.000"), turn("mast", "09:09:00.500")], [turn("ahead", "23:00:00.000")], [turn("late", "09:01:00.500"), turn("back", "23:00:00.000")]]
    const write = (which: typeof commits) =>
      Effect.gen(function*() {
        const log = yield* EventLog
        let last = { sequence: 0, checksum: "" }
        for (const [at, turns] of which.entries()) last = yield* log.append({ subject, cause: `${which.length} ${at}`, events: [{ type: "TurnsReceived", version: 1, data: { turns } }] }, last.sequence, last.checksum)
      })
    const stored = Effect.flatMap(EventLog, (log) => log.load(subject)).pipe(Effect.map((all) => all.map(({ events }) => events.flatMap(({ data }) => (data as { turns: ReadonlyArray<unknown> }).turns))))
    const remembered = (home: string, url: string) => Effect.map(commandRunner([verify], home, url)("verify", "--user", "xan"), (outcome) => ok(outcome).memoryHash)
    yield* Effect.andThen(write(commits), writeBundle(file, [memoryFilter({ tenant: "local", user: "xan" }), callsFilter("local", "xan")], "")).pipe(Effect.provide(logOn(here.url)))
    const taken = () => Effect.map(importUser(file, "local", () => undefined).pipe(Effect.provide(CallStore.layerJetStream)), ({ added }) => added)
    yield* Effect.gen(function*() {
      assert.equal([yield* taken(), yield* stored, yield* taken()], [commits.length, commits, 0])
    }).pipe(Effect.provide(logOn(empty.url)))
    yield* Effect.gen(function*() {
      yield* write([[turn("oar", "09:09:00.000"), turn("back", "23:00:00.000")]])
      assert.is(yield* taken(), commits.length)
      assert.equal((yield* stored).slice(1), commits.map((turns) => turns.filter(({ id }) => !/oar|back/.test(id))))
      assert.is(yield* taken(), 0)
    }).pipe(Effect.provide(logOn(begun.url)))
    const hash = yield* remembered(here.home, here.url)
    assert.equal([yield* remembered(empty.home, empty.url), yield* remembered(begun.home, begun.url)], [hash, hash])
  }), 60_000)

effect(test, "a user erased while taken in stays erased, and it is said", () =>
  Effect.gen(function*() {
    const [here, there] = [yield* testServer, yield* testServer]
    const file = join(here.home, "mira.bundle.gz")
    yield* plain(file).pipe(Effect.provide(logOn(here.url)))
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      let appended = 0
      const erasing: typeof log = EventLog.of({
        ...log,
        append: (...args) => (++appended === 2 ? Effect.andThen(Effect.orDie(Effect.provide(eraseUser("local", "mira"), logOn(there.url))), log.append(...args)) : log.append(...args))
      })
      const error = yield* Effect.flip(importUser(file, "local", () => undefined).pipe(Effect.provideService(EventLog, erasing), Effect.provide(CallStore.layerJetStream)))
      assert.equal([error._tag, (error as { reason?: string }).reason], ["UserImportRefused", "erased"])
      assert.equal(yield* usersHere("local"), [])
    }).pipe(Effect.provide(logOn(there.url)))
  }), 60_000)

effect(test, "what cannot be taken in is refused with what to do, and nothing is changed", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const [here, there] = [yield* testServer, yield* testServer]
    const [file, runFile, two, nobody] = ["mira", "run", "two", "nobody"].map((name) => join(folder, `${name}.gz`)) as [string, string, string, string]
    const turns = yield* Effect.gen(function*() {
      const turns = yield* plain(file)
      yield* plain(join(folder, "tom.gz"), "tom")
      yield* (yield* EventLog).append({ subject: runSubject({ tenant: "local", run: "r" }), cause: "1", events: [] }, 0, "")
      yield* writeBundle(runFile, ["metamem.local.r.>"], "")
      yield* writeBundle(two, [memoryFilter({ tenant: "local" })], "")
      yield* writeBundle(nobody, [memoryFilter({ tenant: "local", user: "nobody" })], "")
      return turns
    }).pipe(Effect.provide(logOn(here.url)))
    const run = commandRunner([...memoryCommands, ...evolutionCommands], there.home, there.url)
    const refused = (path: string, ...args: ReadonlyArray<string>) => Effect.map(run("users", "import", path, ...args), ({ error, json }) => {
      assert.is(json, undefined)
      return error
    })
    assert.match(yield* refused(runFile), /holds the run r: `metamem import`/)
    assert.match((yield* run("import", file)).error, /holds a user's data and no run: `metamem users import`/)
    assert.match(yield* refused(two), /does not hold one user/)
    assert.match(yield* refused(nobody), /does not hold one user/)
    assert.match(yield* refused(file, "--tenant", "acme"), /tenant local.*--tenant local/)
    assert.match(yield* refused(join(folder, "none.gz")), /cannot be read/)
    writeFileSync(join(folder, "foreign.gz"), said.join("\n"))
    assert.match(yield* refused(join(folder, "foreign.gz")), /not a bundle/)
    const bytes = readFileSync(file)
    writeFileSync(join(folder, "cut.gz"), bytes.subarray(0, bytes.length - 40))
    assert.match(yield* refused(join(folder, "cut.gz")), /ends in the middle|is damaged|ends after/)
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      assert.is(yield* head, 0)
      // Another word under a turn's id; a turn of the bundle that stands alone is no hindrance.
      yield* log.append({ subject: "memory.local.mira.c.ingestor", cause: "x", events: turns("c/b", "My boat is called Beaver.") }, 0, "")
      assert.match(yield* refused(file), /the turn c\/b of c stands here already for mira, with another content/)
      assert.is(yield* head, 1)
      yield* eraseUser("local", "mira")
      const [mark] = yield* log.load("memory.local.mira.c.ingestor")
      yield* log.append({ subject: "memory.local.mira.c.ingestor", cause: "y", events: turns("c/b", "My boat is called Otter."), epoch: mark?.sequence ?? 0 }, mark?.sequence ?? 0, mark?.checksum ?? "")
      assert.is(ok(yield* run("users", "import", file)).added, 1)
      assert.ok(existsSync(file))
    }).pipe(Effect.provide(logOn(there.url)))
  }), 60_000)

effect(test, "events of every version that was ever stored are taken in, as they are written now", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const [here, there] = [yield* testServer, yield* testServer]
    const file = join(folder, "mira.gz")
    const files = join(import.meta.dirname, "../../golden/services")
    // Turns come before their end; their name sorts last.
    const goldenOf = (actor: string) => {
      const names = readdirSync(join(files, actor)).sort()
      return (actor === "ingestor" ? names.reverse() : names).map((name) => StoredEvent.make(JSON.parse(readFileSync(join(files, actor, name), "utf8"))))
    }
    const subjectOf = (actor: string) => `memory.local.mira.c.${actor}`
    const actors = ["ingestor", "compressor", "retriever", "evaluator"]
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      for (const actor of actors) {
        let last = { sequence: 0, checksum: "" }
        for (const [at, event] of goldenOf(actor).entries()) last = yield* log.append({ subject: subjectOf(actor), cause: `${at}`, events: [event] }, last.sequence, last.checksum)
      }
      yield* writeBundle(file, [memoryFilter({ tenant: "local", user: "mira" }), callsFilter("local", "mira")], "")
    }).pipe(Effect.provide(logOn(here.url)))
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const first = yield* importUser(file, "local", () => undefined).pipe(Effect.provide(CallStore.layerJetStream))
      assert.ok(first.added > 0)
      for (const actor of actors) {
        const stored = (yield* log.load(subjectOf(actor))).flatMap(({ events }) => events)
        const newest = new Map(goldenOf(actor).map((event) => [event.type, event.version]))
        assert.ok(stored.length > 0, actor)
        for (const { type, version } of stored) assert.is(version, newest.get(type), type)
      }
      assert.is((yield* importUser(file, "local", () => undefined).pipe(Effect.provide(CallStore.layerJetStream))).added, 0)
    }).pipe(Effect.provide(logOn(there.url)))
  }), 60_000)

effect(test, "what was said last of an answer stays the last word, however often it is taken in", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const [here, there] = [yield* testServer, yield* testServer]
    const file = join(folder, "mira.gz")
    const subject = "memory.local.mira.answers.retriever"
    const answer = StoredEvent.make(JSON.parse(readFileSync(join(import.meta.dirname, "../../golden/services/retriever/AnswerGiven-v1.json"), "utf8")))
    const id = (answer.data as { readonly answer: string }).answer
    const feedback = (verdict: string) => StoredEvent.make({ type: "FeedbackReceived", version: 1, data: { answer: id, verdict, comment: "" } })
    const write = (...said: ReadonlyArray<readonly [cause: string, event: StoredEvent]>) =>
      Effect.gen(function*() {
        const log = yield* EventLog
        let last = { sequence: 0, checksum: "" }
        for (const [cause, event] of said) last = yield* log.append({ subject, cause, events: [event] }, last.sequence, last.checksum)
      })
    yield* Effect.andThen(
      write(["a", answer], ["f1", feedback("correct")], ["f2", feedback("incorrect")]),
      writeBundle(file, [memoryFilter({ tenant: "local", user: "mira" }), callsFilter("local", "mira")], "")
    ).pipe(Effect.provide(logOn(here.url)))
    yield* Effect.gen(function*() {
      yield* write(["a", answer], ["own", feedback("correct")])
      for (const added of [1, 0, 0]) {
        assert.is((yield* importUser(file, "local", () => undefined).pipe(Effect.provide(CallStore.layerJetStream))).added, added)
        assert.equal((yield* (yield* EventLog).load(subject)).map(({ cause }) => cause), ["a", "own", "f2"])
      }
    }).pipe(Effect.provide(logOn(there.url)))
  }), 60_000)

effect(test, "facts of a second try come along with what had been given up before", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const [here, there] = [yield* testServer, yield* testServer]
    const file = join(folder, "mira.gz")
    const subject = "memory.local.mira.c.compressor"
    const event = (type: string, data: object) => StoredEvent.make({ type, version: 1, data: { ...data } })
    const facts = [{ id: "m1", kind: "fact", text: "The user likes ivy.", speaker: "user", time: "2026-03-02T18:04:00.000Z", turns: ["t1"] }]
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      const first = yield* log.append({ subject, cause: "through 1 s1", events: [event("SegmentClosed", { segment: "s1", turns: ["t1"] }), event("ExtractionFailed", { segments: ["s1"], turns: ["t1"], attempts: 3, error: "away" })] }, 0, "")
      yield* log.append({ subject, cause: "second try s1", events: [event("MemoriesRecorded", { segments: ["s1"], memories: facts, extractor: "m", template: "t" })] }, first.sequence, first.checksum)
      yield* writeBundle(file, [memoryFilter({ tenant: "local", user: "mira" }), callsFilter("local", "mira")], "")
    }).pipe(Effect.provide(logOn(here.url)))
    yield* Effect.gen(function*() {
      for (const added of [2, 0]) assert.is((yield* importUser(file, "local", () => undefined).pipe(Effect.provide(CallStore.layerJetStream))).added, added)
      assert.equal((yield* (yield* EventLog).load(subject)).map(({ events }) => events.map(({ type }) => type)), [["SegmentClosed", "ExtractionFailed"], ["MemoriesRecorded"]])
    }).pipe(Effect.provide(logOn(there.url)))
  }), 60_000)

test.run()
