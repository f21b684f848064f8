import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { EventLog } from "#shared/eventlog/event-log"
import { memorySubject, runSubject } from "#shared/eventlog/subjects"
import { unremembered } from "#services/cli/build"
import { otherPlayers } from "#services/cli/judged-answers"
import { evolutionCommands } from "#services/cli/evolution"
import { splitRows } from "#services/cli/split"
import { commandRunner } from "#test/support/commands"
import { testServer } from "#test/support/nats"
import { connection, finished, openRun, questions, runRequest, stateOf, verification } from "../reflector/stage.ts"
import { onRunStage } from "./run-stage.ts"

const test = suite("evaluation on the test split")

onRunStage(test, "every look at the test split is numbered before it is taken, the same again is none, and folds are pooled", 137, ({ asked, home, run: command, setFault }) =>
  Effect.gen(function*() {
    const all = questions(137)
    const part = (from: number, to: number) => all.slice(from, to).map(({ id, user }) => ({ id, user }))
    const runs = [["a", 117], ["b", 127], ["c", 117]] as const
    for (const [run, from] of runs) yield* openRun(run, runRequest(all, { steps: run === "a" ? 2 : 1, test: part(from, from + 10) }))
    for (const [run] of runs) yield* finished(run)
    const file = (name: string, from: number, to: number): string => {
      const path = join(home, `${name}.json`)
      writeFileSync(path, JSON.stringify(splitRows(all.slice(from, to))))
      return path
    }
    const [testA, testB, trained] = [file("a", 117, 127), file("b", 127, 137), file("trained", 0, 6)]
    const run = (...args: ReadonlyArray<string>) => command("eval", ...args)
    const log = yield* EventLog
    const recorded = (name: string) => Effect.map(log.load(runSubject({ tenant: "t", run: name })), (commits) => commits.flatMap(({ events }) => events.map(({ type }) => type)).filter((type) => type.startsWith("Test")))

    // These files hold no conversations, and nothing was built.
    yield* log.append({ subject: memorySubject({ tenant: "t", user: "held", conversation: "c" }, "ingestor"), cause: "1", events: [] }, 0, "")
    const coming = { user: "coming", conversations: [{ conversation: "c", turns: [] }] }
    assert.equal(yield* unremembered("t", { questions: ["held", "coming", "nobody", "nobody"].map((user) => ({ user })), users: [coming] }), ["nobody"])

    // Nothing announced is among these: an evaluation, and no look.
    const plain = yield* run("--data", trained, "--run", "a")
    assert.equal([plain.error, plain.json.test, yield* recorded("a")], ["", null, []])
    assert.ok(plain.json.seconds > 0, "how long answering took is told")
    // Of all generations or of one, the empty one stands beside: what differences are to.
    const last = plain.json.generations.at(-1)
    const alone = yield* run("--data", trained, "--run", "a", "--generations", String(last.n))
    assert.ok(last.n > 0)
    assert.equal(alone.json.generations, [plain.json.generations[0], last])

    const first = yield* run("--data", testA, "--run", "a")
    assert.is(first.error, "")
    const { recommended } = yield* stateOf("a")
    assert.ok((recommended ?? 0) > 0, "run a recommends what it learnt")
    assert.equal([first.json.test.look, first.json.test.first, first.json.test.generation, first.json.test.asked, first.json.test.announced], [1, true, recommended, 10, 10])
    assert.equal(yield* recorded("a"), ["TestOpened", "TestReported"])
    assert.is((yield* command("replay", "--run", "a")).json.generation, recommended)
    const shown = first.json.generations.find(({ n }: { readonly n: number }) => n === recommended)
    assert.is(first.json.test.counts.testedCorrect, shown.correct)
    assert.is(first.json.test.counts.errors, 0)
    if (recommended !== 0) assert.ok(Math.abs(first.json.test.difference - shown.difference.mean) < 1e-12)

    // What the published system would have measured on these questions.
    assert.is((yield* command("export", "--run", "a", "--format", "reference", "--out", join(home, "a"))).error, "")
    const published = JSON.parse(readFileSync(join(home, "a", "eval_results.json"), "utf8"))
    const [empty] = first.json.generations
    assert.equal([published.test_dataset_size, published.baseline.total, published.baseline.correct, published.baseline.accuracy], [10, 10, empty.correct, empty.accuracy])
    assert.equal(Object.values(published.steps).map(({ results }: any) => [results.total, results.correct, results.errors]), [[10, shown.correct, 0]])
    assert.match(published.evaluated_on, /^announced test questions, each answered once/)

    const before = asked()
    const again = yield* run("--data", testA, "--run", "a")
    assert.equal([again.json.test, asked() - before, yield* recorded("a")], [first.json.test, 0, ["TestOpened", "TestReported"]])

    const fewer = yield* run("--data", testA, "--run", "a", "--limit", "4")
    assert.equal([fewer.json.test.look, fewer.json.test.first, fewer.json.test.asked], [2, false, 4])
    assert.equal((yield* verification("a")).differing, [])

    // Answers written to a file have been seen too: a look, the same as an evaluation of that generation at these questions.
    const infer = (generation: number, data: string, name?: string) => command("infer", "--data", data, "--run", "c", "--generation", String(generation), "--out", join(home, `${name ?? generation}.jsonl`))
    assert.is((yield* infer(0, trained, "trained")).json.look, null)
    assert.match((yield* infer(0, testA, "trained")).error, /trained.jsonl holds an answer to .*left as it is/)
    assert.match((yield* infer(7, testA)).error, /generations 0 to \d, and no 7/)
    setFault(() => ({ _tag: "Status", status: 401 }))
    assert.match((yield* infer(0, testB, "none")).error, /none of 10 answers could be had and judged.*the same command asks again.*401/s)
    // A look that came to nothing is taken again, and stays the first.
    assert.match((yield* run("--data", testB, "--run", "b")).error, /none of \d+ answers could be had and judged.*401/s)
    assert.equal(yield* recorded("b"), ["TestOpened"])
    setFault(undefined)
    const written = yield* infer(0, testA)
    assert.equal([written.error, written.json.look, written.json.total, written.json.undersized, yield* recorded("c")], ["", 1, 10, true, ["TestOpened"]])
    // The reference's fields; nothing is remembered here.
    for (const line of readFileSync(join(home, "0.jsonl"), "utf8").trim().split("\n").map((text) => JSON.parse(text))) {
      assert.equal([line.memories, line.memory_ids, line.prompt.endsWith(line.problem), line.reward], [[], [], true, line.verdict === "correct" ? 1 : 0])
    }
    assert.equal([(yield* infer(0, testA)).json.look, yield* recorded("c")], [1, ["TestOpened"]])
    const evaluated = yield* run("--data", testA, "--run", "c", "--generations", "0")
    assert.equal([evaluated.json.test.look, yield* recorded("c")], [1, ["TestOpened", "TestReported"]])

    // A look that stands is of the memory it was taken in: elsewhere it is refused before conversations of the file are remembered, which would make that log as long.
    assert.is((yield* command("export", "--run", "a", "--out", join(home, "a.bundle"))).error, "")
    const elsewhere = yield* testServer
    const there = commandRunner(evolutionCommands, elsewhere.home, elsewhere.url)
    assert.is((yield* there("import", join(home, "a.bundle"), "--tenant", "t")).error, "")
    const told = splitRows(all.slice(117, 127)).map((row, at) => ({
      ...row,
      ...Object.fromEntries([["haystack_dates", ["2026-01-01", "2026-01-02"]], ["haystack_session_ids", [`s${at}`, `z${at}`]], ["haystack_sessions", [[{ role: "user", content: "I keep bees." }], [{ role: "user", content: "I keep hens." }]]]])
    }))
    writeFileSync(join(home, "told.json"), JSON.stringify(told))
    const headThere = Effect.flatMap(EventLog, (log) => log.head("MEMORY")).pipe(Effect.provide(connection(elsewhere.url)))
    const memory = yield* headThere
    for (const more of [["eval"], ["infer", "--generation", String(first.json.test.generation), "--out", join(home, "there.jsonl")]]) {
      assert.match((yield* there(...more, "--data", join(home, "told.json"), "--run", "a", "--tenant", "t")).error, /not in this home as they were/)
    }
    assert.is(yield* headThere, memory)

    // Folds.
    assert.match((yield* run("--runs", "a,b")).error, /b has no reported test/)
    yield* run("--data", testB, "--run", "b")
    const pooled = yield* run("--runs", "a,b")
    assert.is(pooled.error, "")
    assert.equal([pooled.json.pooled.counts.questions, pooled.json.first, pooled.json.runs.map(({ run, look }: any) => [run, look])], [20, true, [["a", 1], ["b", 1]]])
    const mean = pooled.json.runs.reduce((sum: number, { difference }: { readonly difference: number }) => sum + difference / 2, 0)
    assert.ok(Math.abs(pooled.json.pooled.difference - mean) < 1e-12)
    yield* run("--data", testA, "--run", "c")
    assert.match((yield* run("--runs", "a,c")).error, /tested in a and in c/)
    assert.match((yield* run("--runs", "a,a")).error, /each once/)
    assert.match((yield* run("--runs", "a,b", "--run", "a")).error, /without --data and --run/)
    assert.match((yield* run("--run", "a")).error, /give --data/)
  }))

onRunStage(test, "who answers and who judges an evaluation is told, and where it is not who played in the run", 117, ({ home, run: command }) =>
  Effect.gen(function*() {
    const all = questions(117)
    yield* openRun("a", runRequest(all, { steps: 1 }))
    yield* finished("a")
    const data = join(home, "data.json")
    writeFileSync(data, JSON.stringify(splitRows(all.slice(0, 4))))
    for (const more of [["eval"], ["infer", "--generation", "0", "--out", join(home, "answers.jsonl")]]) {
      const { error, json } = yield* command(...more, "--data", data, "--run", "a")
      assert.equal([error, json.by, json.notes], ["", { readers: ["newer"], judges: ["scripted"] }, ["answered by newer, where a was by scripted", "4 of 4 questions had a part in the run (4 trained on): figures over them are no evidence for others"]])
    }
    // The file tells it too, so that an answer that stood there is not taken for another's.
    const lines = readFileSync(join(home, "answers.jsonl"), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line))
    assert.equal(lines.map(({ judged_by, reader }) => [reader, judged_by]), lines.map(() => ["newer", "scripted"]))
    const standing = yield* command("infer", "--generation", "0", "--out", join(home, "answers.jsonl"), "--data", data, "--run", "a")
    assert.equal([standing.error, standing.json.by], ["", { readers: ["newer"], judges: ["scripted"] }])
    const state = yield* stateOf("a")
    assert.equal(otherPlayers("a", state, { readers: ["scripted"], judges: ["newest"] }), ["judged by newest, where a was by scripted"])
    assert.equal(otherPlayers("a", state, { readers: [], judges: [] }), [])
    assert.equal(otherPlayers("a", { parameters: undefined }, { readers: ["newer"], judges: [] }), [], "of an imported run nobody knows")
  }), {}, { METAMEM_ANSWER_MODEL: "newer" })

test.run()
