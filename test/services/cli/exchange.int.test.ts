import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { eraseUser } from "#shared/eventlog/erasure"
import { EventLog } from "#shared/eventlog/event-log"
import { runSubject } from "#shared/eventlog/subjects"
import { CallStore } from "#shared/model/call-store"
import { evolutionCommands } from "#services/cli/evolution"
import { readReference } from "#services/cli/reference-reading"
import { keepTexts } from "#services/cli/reference-texts"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import { temporaryFolder, testServer } from "#test/support/nats"
import { connection, openRun, questions, runRequest, stateOf, verification } from "../reflector/stage.ts"
import { lines, rows as publishedRows, writeFolder } from "./reference-folder.ts"
import { onFinishedRun, onRunStage, type RunStage } from "./run-stage.ts"

const test = suite("runs read, exported and imported")

interface Stage {
  readonly run: RunStage["run"]
  readonly folder: string
}

/** A finished run `a` of tenant `t`, made by the scripted model with lexical verdicts. */
const onStage = (name: string, body: (stage: Stage) => ReturnType<Parameters<typeof onFinishedRun>[2]>) =>
  onFinishedRun(test, name, ({ run }) => Effect.flatMap(temporaryFolder, (folder) => body({ folder, run })), { METAMEM_JUDGE: "lexical" })

/** A home with a server and nothing in it. */
const onHome = (name: string, body: (stage: Stage & { readonly home: string; readonly url: string }) => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  effect(test, name, () =>
    Effect.gen(function*() {
      const { home, url } = yield* testServer
      const run = commandRunner(evolutionCommands, home, url)
      yield* body({ home, url, folder: yield* temporaryFolder, run: (...args) => run(...args, "--tenant", "t") })
    }), 120_000)

const readJson = (...path: ReadonlyArray<string>): any => JSON.parse(readFileSync(join(...path), "utf8"))
const filesIn = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort().map((path) => [path.slice(folder.length), readFileSync(path, "utf8")]))
const ok = (outcome: { readonly error: string; readonly json: any }): any => {
  assert.is(outcome.error, "")
  return outcome.json
}

onStage("a run is analysed, its judge calibrated, exported both ways, and imported where no model is", ({ folder, run }) =>
  Effect.gen(function*() {
    const { generations, guard, reason, recommended, rejected } = ok(yield* run("generations", "--run", "a"))
    assert.ok(generations.some(({ n }: any) => n === recommended))
    assert.equal([guard.generation, guard.decision === "accepted", typeof guard.difference], [generations.at(-1).n, recommended > 0, "number"])
    assert.ok(guard.counts.questions > 0 && reason.length > 0)
    assert.ok(rejected.every(({ principle, step, text }: any) => principle !== null && step >= 1 && text !== ""))
    assert.ok(rejected.length > 0 && rejected.every(({ decision, reason }: any) => /^(rejected|undecided)$/.test(decision) && reason.length > decision.length), JSON.stringify(rejected))
    const last = generations.at(-1)
    assert.ok(last.n >= 1)
    const [principle] = last.principles

    const diff = ok(yield* run("diff", "--run", "a", "0", String(last.n)))
    assert.equal([diff.added.length, diff.removed, diff.changed], [last.principles.length, [], []])
    const blamed = ok(yield* run("blame", "--run", "a", principle.id))
    assert.is(blamed.counts.rollouts, blamed.counts.judgements)
    assert.ok(blamed.operations[0].questions.every((question: any) => question.attempts.every(({ calls }: any) => calls.length > 0)))
    const past = ok(yield* run("history", "--run", "a", principle.id))
    assert.match(past.entries[0].what, /added/)
    assert.equal([blamed.undersized, past.undersized], [true, true], "figures of a run too small are labelled wherever they are shown")
    ok(yield* run("effect", "--run", "a"))
    const cost = ok(yield* run("cost", "--run", "a"))
    assert.ok(cost.total.calls > 0 && cost.total.promptTokens > 0 && cost.principles[0].tokens > 5)
    assert.is(cost.bySteps.reduce((sum: number, { calls }: any) => sum + calls, 0), cost.total.calls)
    const plot = join(folder, "curve.svg")
    assert.is(ok(yield* run("curve", "--run", "a", "--plot", plot)).steps.length, 3)
    assert.match(readFileSync(plot, "utf8"), /<svg[^]*step</)
    assert.match((yield* run("blame", "--run", "a", "P0")).error, new RegExp(`a knows of no principle P0; in force were .*${principle.id}`))
    assert.match((yield* run("blame", "--run", "a", principle.id, "--generation", "0")).error, /generation 0 of a does not hold .*; it is in [1-9]/)
    assert.match((yield* run("blame", "--run", "a", principle.id, "--generation", "99")).error, /generations 0 to \d, and no 99/)
    assert.match((yield* run("diff", "--run", "a", "0", "99")).error, /no 99/)
    assert.match((yield* run("effect", "--run", "nobody")).error, /there is no run nobody of tenant t; there is a$/)
    assert.match((yield* run("adopt", "--run", "nobody", "--generation", "1")).error, /there is no run nobody of tenant t; there is a$/)

    const out = join(folder, "reference")
    const exported = ok(yield* run("export", "--run", "a", "--out", out, "--format", "reference"))
    assert.equal(readdirSync(out).sort(), ["eval_results.json", "stats.json", "step_0", "step_1", "step_2", "step_3"])
    assert.is(exported.erased, 0)
    assert.not.ok(existsSync(join(out, "step_0/meta_memories.json")))
    const rows = readFileSync(join(out, "step_0/rollout.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line))
    assert.is(rows.length, 24)
    assert.equal(Object.keys(rows[0]), ["runid", "prompt", "question_id", "problem", "memories", "groundtruth", "task", "retry_count", "response", "reward"])
    assert.ok(rows.every((row) => row.response !== "" && row.reward === (row.response.includes(row.groundtruth) ? 1 : 0)))
    assert.equal(rows.map(({ question_id }) => question_id).slice(0, 8), rows.map(({ question_id }) => question_id).slice(8, 16))
    const summaries: ReadonlyArray<any> = Object.values(readJson(out, "step_0/trajectory_summaries.json")).flat()
    assert.ok(summaries.length > 0 && summaries.every(({ summary }) => summary !== ""))
    assert.ok(readJson(out, "step_0/proposed_updates.json").every(({ operations, problem }: any) => problem !== "" && operations.length > 0))
    assert.equal(Object.values(readJson(out, "step_3/meta_memories.json")), last.principles.map(({ text }: any) => text))
    assert.equal(readJson(out, "step_2/applied_updates.json").new_meta_memories, readJson(out, "step_3/meta_memories.json"))
    const evaluated = readJson(out, "eval_results.json")
    assert.equal(Object.values(evaluated.steps).map(({ results }: any) => results.num_meta_memories), [last.principles.length])
    assert.match(evaluated.evaluated_on, /guard questions .* each answered 2 times at temperature 0\.7; no announced test question was looked at/)
    assert.is((evaluated.baseline).total, (Object.values(evaluated.steps)[0] as any).results.total)
    assert.match((yield* run("export", "--run", "a", "--out", out)).error, /is there already/)

    const taken = ok(yield* run("import", "--reference", out, "--run", "copy"))
    assert.equal(taken.generations.at(-1).principles, last.principles.length)
    assert.is(ok(yield* run("import", "--reference", out, "--run", "copy")).fresh, false)
    assert.match((yield* run("replay", "--run", "copy")).error, /imported record and recommends nothing.*--generation N/)
    assert.equal(ok(yield* run("replay", "--run", "copy", "--generation", String(taken.generations.length - 1))).principles.map(({ text }: any) => text), last.principles.map(({ text }: any) => text))
    assert.is(ok(yield* run("verify", "--run", "copy")).ok, true)
    // Verdicts come along, and errors as errors: a step's accuracy is what it was.
    const steps = (curve: any) => curve.steps.map(({ accuracy, correct, errors, generation, incorrect, mixed, step }: any) => ({ accuracy, correct, errors, generation, incorrect, mixed, step }))
    assert.equal(steps(ok(yield* run("curve", "--run", "copy"))), steps(ok(yield* run("curve", "--run", "a"))))
    assert.is(taken.attempts, 3 * 24)
    const back = ok(yield* run("export", "--run", "copy", "--out", join(folder, "back"), "--format", "reference"))
    assert.equal([back.files, filesIn(join(folder, "back"))], [exported.files, filesIn(out)], "what was read is written again, byte for byte")
    const copied = taken.generations.length - 1
    const origin = ok(yield* run("replay", "--run", "copy", "--generation", String(copied))).principles[0]
    const traced = ok(yield* run("blame", "--run", "copy", origin.id))
    assert.ok(traced.counts.rollouts > 0 && traced.counts.reflections > 0 && traced.operations[0].questions.every(({ attempts }: any) => attempts.length === 3 && attempts.every(({ calls }: any) => calls.length > 0)), JSON.stringify(traced))
    assert.match(ok(yield* run("history", "--run", "copy", origin.id)).entries[0].what, /added/)
    const guarded = ok(yield* run("generations", "--run", "copy")).evaluated
    assert.equal(guarded.map(({ generation }: any) => generation), [0, copied])
    const spent = ok(yield* run("cost", "--run", "copy"))
    assert.equal([spent.imported, spent.rows, spent.principles.length > 0], [true, [], true], "what it cost elsewhere is not told as nothing")
    assert.equal(ok(yield* run("effect", "--run", "copy")).effects, [])
    assert.equal(ok(yield* run("adopt", "--run", "copy", "--generation", "1")), { tenant: "t", run: "copy", generation: 1, warnings: ["copy is an imported record: nothing of it was tested here"] })
    assert.match((yield* run("import", "--reference", out, "--run", "a")).error, /a run stands under this name/)
    assert.match((yield* run("import", "--reference", folder, "--run", "x")).error, /not a training folder/)
    mkdirSync(join(folder, "bad/step_1"), { recursive: true })
    writeFileSync(join(folder, "bad/step_1/meta_memories.json"), "[1]")
    assert.match((yield* run("import", "--reference", join(folder, "bad"), "--run", "x")).error, /does not hold principles/)

    const labels = join(folder, "labels.jsonl")
    writeFileSync(labels, questions(20).map(({ answer, id }, at) => JSON.stringify({ question_id: id, response: at % 2 === 0 ? `It is ${answer}.` : "Perhaps another.", label: at % 5 === 0 ? "incorrect" : at % 2 === 0 ? "correct" : "incorrect" })).join("\n"))
    const calibrated = ok(yield* run("judge", "calibrate", "--labels", labels, "--run", "a"))
    assert.equal([calibrated.judge, calibrated.overall.labels, calibrated.overall.sensitivity.value], ["lexical", 20, 1])
    assert.ok(calibrated.overall.specificity.value < 1 && calibrated.overall.kappa.value < 1)
    assert.is(ok(yield* run("judge", "calibrate", "--labels", labels, "--run", "a")).position, calibrated.position)
    assert.is(ok(yield* run("judge", "calibrate", "--labels", labels)).position, null)
    writeFileSync(labels, "{}")
    assert.match((yield* run("judge", "calibrate", "--labels", labels)).error, /line 1: not a label/)
    assert.is(ok(yield* run("verify", "--run", "a")).ok, true)
    assert.equal((yield* verification("a")).differing, [])
    assert.is((yield* stateOf("a")).calibrations.length, 1)

    const whatif = ["whatif", "--run", "a", "--from", String(last.n), "--drop", principle.id]
    const answered = ok(yield* run(...whatif))
    const listed = ok(yield* run("whatif", "--run", "a", "--list"))

    const file = join(folder, "a.bundle.gz")
    const bundled = ok(yield* run("export", "--run", "a", "--out", file))
    assert.ok(bundled.streams.CALLS.messages > 0 && bundled.streams.MEMORY.messages > 0)
    const elsewhere = yield* testServer
    const there = commandRunner(evolutionCommands, elsewhere.home, elsewhere.url)
    assert.match((yield* there("import", file)).error, /--tenant t/)
    const restored = ok(yield* there("import", file, "--tenant", "t"))
    assert.equal(restored.generations, generations.map(({ hash }: any) => hash))
    assert.equal(ok(yield* there("replay", "--run", "a", "--generation", String(last.n), "--tenant", "t")).hash, last.hash)
    const verified = ok(yield* there("verify", "--run", "a", "--tenant", "t"))
    assert.equal([verified.ok, verified.missing, verified.extra], [true, [], []])
    assert.equal(ok(yield* there("blame", "--run", "a", principle.id, "--tenant", "t")), blamed)
    // What was asked what would have been comes along, and is read where neither conversations nor models are.
    const read = ok(yield* there(...whatif, "--tenant", "t"))
    assert.equal([read.fromLog, read.number, read.difference, read.answers, read.first], [true, 1, answered.difference, answered.answers, answered.first])
    assert.equal(ok(yield* there("whatif", "--run", "a", "--list", "--tenant", "t")).whatifs.map(({ number, overall }: any) => [number, overall]), listed.whatifs.map(({ number, overall }: any) => [number, overall]))
    // The folder goes to a home that knows none of its questions, and is the same when it comes from there, also by way of a bundle.
    ok(yield* there("import", "--reference", out, "--run", "far", "--tenant", "t"))
    ok(yield* there("export", "--run", "far", "--out", join(folder, "far"), "--format", "reference", "--tenant", "t"))
    assert.equal(filesIn(join(folder, "far")), filesIn(out))
    ok(yield* there("export", "--run", "far", "--out", join(folder, "far.gz"), "--tenant", "t"))
    const third = yield* testServer
    const beyond = commandRunner(evolutionCommands, third.home, third.url)
    ok(yield* beyond("import", join(folder, "far.gz"), "--tenant", "t"))
    ok(yield* beyond("export", "--run", "far", "--out", join(folder, "beyond"), "--format", "reference", "--tenant", "t"))
    assert.equal(filesIn(join(folder, "beyond")), filesIn(out))
    const again = ok(yield* there("import", file, "--tenant", "t"))
    assert.is(again.standing, again.commits)
    assert.is(ok(yield* there("verify", "--run", "a", "--tenant", "t")).commits, verified.commits)

    writeFileSync(join(folder, "cut.gz"), readFileSync(file).subarray(0, 5_000))
    assert.match((yield* there("import", join(folder, "cut.gz"), "--tenant", "t")).error, /ends in the middle|is damaged/)
    writeFileSync(join(folder, "foreign.gz"), "hello")
    assert.match((yield* there("import", join(folder, "foreign.gz"), "--tenant", "t")).error, /not a bundle/)
    assert.match((yield* there("import", "--tenant", "t")).error, /give a bundle/)
  }))

onHome("a folder of the published system is taken in, read, written again and erased by question, where nothing of it is known", ({ folder, run, url }) =>
  Effect.gen(function*() {
    writeFolder(join(folder, "experiment_1"))
    const taken = ok(yield* run("import", "--reference", join(folder, "experiment_1"), "--run", "p"))
    assert.equal([taken.attempts, taken.reflections, taken.proposals, taken.evaluated, taken.lost.length, taken.hasTexts], [12, 3, 2, 1, 1, true])
    const curve = ok(yield* run("curve", "--run", "p"))
    assert.equal(curve.steps.map(({ correct, errors, incorrect, sealed }: any) => [correct, incorrect, errors, sealed]), [[3, 1, 2, 1], [3, 1, 2, 2]])
    const { evaluated, generations } = ok(yield* run("generations", "--run", "p"))
    assert.equal(evaluated, [{ generation: 2, step: 2, answers: 50, correct: 30, errors: 0, accuracy: 0.6 }])
    const [bees, brief] = generations[2].principles
    assert.equal([bees.text, brief.text, brief.id], ["Prefer bees.", "Be very brief.", generations[1].principles[1].id])
    const blamed = ok(yield* run("blame", "--run", "p", bees.id))
    assert.equal(blamed.operations[0].questions.map(({ attempts, id }: any) => [id, attempts.map(({ verdict }: any) => verdict)]), [["q1", ["correct", "incorrect"]]])
    assert.equal(blamed.counts, { operations: 1, questions: 1, rollouts: 2, judgements: 0, reflections: 2 })
    assert.is(ok(yield* run("verify", "--run", "p")).ok, true)
    assert.match((yield* run("whatif", "--run", "p", "--from", "1", "--drop", bees.id)).error, /imported run.*no validation questions/)

    // Written again and taken in again it says the same.
    const out = (name: string) => join(folder, name)
    const written = ok(yield* run("export", "--run", "p", "--out", out("one"), "--format", "reference"))
    assert.is(written.erased, 0)
    const [first, one] = [filesIn(out("experiment_1")), filesIn(out("one"))]
    assert.equal([one["/step_0/rollout.jsonl"], one["/step_1/rollout.jsonl"]], [first["/step_0/rollout.jsonl"], first["/step_1/rollout.jsonl"]])
    for (const name of ["/step_1/trajectory_summaries.json", "/step_0/proposed_updates.json", "/step_1/proposed_updates.json"]) assert.equal(JSON.parse(one[name] ?? ""), JSON.parse(first[name] ?? ""), name)
    assert.equal(readJson(out("one"), "step_1/applied_updates.json").all_operations.map(({ id, operation }: any) => [operation, id]), [["update", "M1"], ["delete", "M7"]])
    assert.equal([readJson(out("one"), "stats.json")[1].epoch, readJson(out("one"), "stats.json")[1].batch], [1, 0], "batches are counted within their epoch")
    ok(yield* run("import", "--reference", out("one"), "--run", "p2"))
    ok(yield* run("export", "--run", "p2", "--out", out("two"), "--format", "reference"))
    assert.equal(filesIn(out("two")), one)

    writeFolder(out("experiment_1"), { "step_1/rollout.jsonl": lines(publishedRows.slice(1)) })
    assert.match((yield* run("import", "--reference", out("experiment_1"), "--run", "p")).error, /same generations and other attempts.*choose another one/)

    // Nothing of its texts is left of a question whose user was erased.
    yield* Effect.provide(eraseUser("t", "q1"), connection(url))
    const after = ok(yield* run("export", "--run", "p", "--out", out("after"), "--format", "reference"))
    assert.is(after.erased, 1)
    const left = filesIn(out("after"))
    assert.not.match(Object.values(left).join(""), /Problem 1|went wrong|bees were right|cats/)
    assert.match(left["/step_0/rollout.jsonl"] ?? "", /Problem 2/)
    assert.equal(JSON.parse(left["/step_0/proposed_updates.json"] ?? ""), [{ problem: "", operations: [{ operation: "add", content: "Prefer bees." }], reasoning: "" }])
    const verified = ok(yield* run("verify", "--run", "p"))
    assert.equal([verified.ok, verified.missing], [true, []])
  }))

onHome("an import that was broken off is gone on with, and not with another folder", ({ folder, run, url }) =>
  Effect.gen(function*() {
    writeFolder(join(folder, "one"))
    const { texts } = yield* readReference(join(folder, "one"))
    yield* keepTexts({ tenant: "t", run: "p" }, texts.slice(0, 5), (question) => question).pipe(Effect.provide(CallStore.layerJetStream), Effect.provide(connection(url)))
    writeFolder(join(folder, "other"), { "step_0/rollout.jsonl": lines(publishedRows.map((row) => ({ ...row, prompt: "another" }))) })
    assert.match((yield* run("import", "--reference", join(folder, "other"), "--run", "p")).error, /broken off: choose another name/)
    ok(yield* run("import", "--reference", join(folder, "one"), "--run", "p"))
    assert.is(ok(yield* run("export", "--run", "p", "--out", join(folder, "out"), "--format", "reference")).erased, 0)
  }))

onRunStage(test, "a run that goes on is no bundle yet; one that was left under other rules is, and is replayed elsewhere", 117, ({ home, run, setFault }) =>
  Effect.gen(function*() {
    const out = (name: string) => join(home, name)
    setFault(({ role }) => (role === "answer" ? { _tag: "Hang" } : undefined))
    yield* openRun("a", runRequest(questions(117), { steps: 1 }))
    assert.match((yield* run("export", "--run", "a", "--out", out("a.gz"))).error, /the run a goes on \(step 1 of 1\).*Export it when it is over/)
    assert.ok(!existsSync(out("a.gz")))
    ok(yield* run("export", "--run", "a", "--out", out("a"), "--format", "reference"))

    // As an earlier version left it.
    const log = yield* EventLog
    const [opened] = yield* log.load(runSubject({ tenant: "t", run: "a" }))
    assert.ok(opened !== undefined)
    const events = opened.events.map((event) => (event.type === "RunOpened" ? { ...event, data: { ...(event.data as any), parameters: { ...(event.data as any).parameters, algorithm: 1 } } } : event))
    yield* log.append({ subject: runSubject({ tenant: "t", run: "old" }), cause: "OpenRun", events }, 0, "")
    ok(yield* run("export", "--run", "old", "--out", out("old.gz")))
    const elsewhere = yield* testServer
    const there = commandRunner(evolutionCommands, elsewhere.home, elsewhere.url)
    assert.is(ok(yield* there("import", out("old.gz"), "--tenant", "t")).generations.length, 1)
    assert.is(ok(yield* there("replay", "--run", "old", "--generation", "0", "--tenant", "t")).principles.length, 0)
    assert.is(ok(yield* there("verify", "--run", "old", "--tenant", "t")).ok, true)
  }))

test.run()
