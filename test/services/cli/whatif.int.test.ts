import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { stateOf } from "../reflector/stage.ts"
import { onFinishedRun, type RunStage } from "./run-stage.ts"

const test = suite("what if, on a run")

const onStage = (name: string, body: (run: RunStage["run"], asked: RunStage["asked"], setFault: RunStage["setFault"]) => ReturnType<Parameters<typeof onFinishedRun>[2]>) =>
  onFinishedRun(test, name, ({ asked, run, setFault }) => body(run, asked, setFault))

onStage("what a change does is told beside a placebo; what the log holds is not paid for, and the same again costs nothing", (run, asked, setFault) =>
  Effect.gen(function*() {
    const { generations, parameters } = yield* stateOf("a")
    const from = generations.length - 1
    const principle = generations[from]?.principles[0]
    assert.ok(principle !== undefined && from >= 1, "the run accepted something")
    const drop = ["whatif", "--run", "a", "--from", String(from), "--drop", principle.id]
    const before = asked()
    const first = yield* run(...drop)
    assert.is(first.error, "")
    const { json } = first
    assert.ok(json.inScope > 0 && json.inScope <= (parameters?.validation.length ?? 0))
    assert.is(json.reused.ofAnswers, json.inScope * 3 * 3)
    assert.is(json.paid.calls, asked() - before)
    assert.ok(json.paid.answers > 0 && json.paid.promptTokens > 0)
    assert.is(json.errors, 0)
    assert.ok(json.difference.low < json.difference.mean && json.placebo.low <= json.placebo.high)
    assert.ok(Math.abs(json.overall.mean) <= Math.abs(json.difference.mean) + 1e-9)

    const again = yield* run(...drop)
    assert.equal([again.json.paid.calls, again.json.reused.answers], [0, json.reused.ofAnswers])
    assert.equal([again.json.difference, again.json.placebo], [json.difference, json.placebo])

    // Leaving the principle out is the same question put the other way round, so all of it stands in the log by now.
    const exact = yield* run("effect", principle.id, "--run", "a", "--exact")
    assert.is(exact.error, "")
    assert.equal([exact.json.exact.generation, exact.json.exact.questions, exact.json.modelCalls, exact.json.exact.paid.calls], [from, json.inScope, 0, 0])
    assert.equal([exact.json.exact.reused, exact.json.exact.errors], [{ answers: json.inScope * 2 * 3, ofAnswers: json.inScope * 2 * 3 }, 0])
    assert.ok(Math.abs(exact.json.exact.effect + json.difference.mean) < 1e-12)
    assert.ok(exact.json.exact.low > -json.difference.high && exact.json.exact.high < -json.difference.low, "90 % lie within 95 %")
    assert.equal(exact.json.effects.every(({ id }: any) => id === principle.id), true)
    const more = yield* run("effect", principle.id, "--run", "a", "--exact", "--samples", "4")
    assert.equal([more.json.exact.paid.answers > 0, more.json.modelCalls, more.json.exact.reused.answers], [true, more.json.exact.paid.calls, json.inScope * 7])
    assert.equal((yield* run("effect", "--run", "a")).json.exact, null)
    for (
      const [args, message] of [
        [["--exact"], /say which/],
        [[principle.id, "--samples", "2"], /matter of --exact/],
        [[principle.id, "--exact", "--samples", "0"], /from 1 to/],
        [["P99-9-zzz", "--exact"], /knows of no principle P99/]
      ] as const
    ) assert.match((yield* run("effect", ...args, "--run", "a")).error, message)

    const rewording = ["whatif", "--run", "a", "--from", String(from), "--reword", principle.id, "Sing it."]
    setFault(({ role }) => (role === "answer" ? { _tag: "Status", status: 401 } : undefined))
    assert.match((yield* run(...rewording)).error, /more than 2 % of \d+ answers cannot be had or judged, so nothing is compared.*401/s)
    assert.equal((yield* run(...drop)).json.difference, json.difference, "what the log holds needs no endpoint")
    setFault(undefined)
    const reworded = yield* run(...rewording)
    assert.equal([reworded.error, reworded.json.errors, reworded.json.reused.answers], ["", 0, json.inScope * 2 * 3])

    const judged = yield* run("whatif", "--run", "a", "--from", String(from), "--role", "judge=lexical")
    assert.equal([judged.error, judged.json.inScope, judged.json.judge], ["", parameters?.validation.length, "model"])
    // The judged mark and the reference stand in the same answers, so both judges agree.
    assert.is(judged.json.difference.mean, 0)
    assert.ok(judged.json.reused.answers > 0)
    // Both judges are shown the same answers, which are asked for once.
    assert.equal([judged.json.reused.ofAnswers, judged.json.reused.answers + judged.json.paid.answers], [judged.json.inScope * 2 * 3, judged.json.inScope * 2 * 3])

    for (
      const [args, message] of [
        [["--from", "99", "--drop", "P1"], /no 99/],
        [["--from", "0", "--drop", principle.id], /holds no principle .*, nor any other; --pin/],
        [["--from", "1"], /say what is changed/],
        [["--from", "1", "--drop", "a", "--pin", "b"], /one thing at a time/],
        [["--from", "1", "--reword", principle.id], /new text/],
        [["--from", "1", "--drop", principle.id, "--samples", "0"], /from 1 to/]
      ] as const
    ) assert.match((yield* run("whatif", "--run", "a", ...args)).error, message)
    assert.match((yield* run("whatif", "--run", "nobody", "--from", "0", "--drop", "P")).error, /no run nobody/)
  }))

onStage("evolution goes on from a changed generation in branches of the log, each beside one with nothing changed", (run, asked) =>
  Effect.gen(function*() {
    const { generations } = yield* stateOf("a")
    const principle = generations[1]?.principles[0]
    assert.ok(principle !== undefined)
    const again = ["whatif", "--run", "a", "--from", "1", "--drop", principle.id, "--rerun", "--reseeds", "2", "--steps", "1"]
    const { error, json } = yield* run(...again)
    assert.is(error, "")
    assert.equal([json.mode, json.questions, json.reseeds.map(({ seed }: any) => seed)], ["rerun", { part: "test", count: 2 }, [3, 4]])
    for (const { changed, placebo } of json.reseeds) {
      const [branch, same] = [yield* stateOf(changed.run), yield* stateOf(placebo.run)]
      assert.equal(same.generations[0]?.principles, generations[1]?.principles)
      assert.equal(branch.generations[0]?.principles, generations[1]?.principles.filter(({ id }) => id !== principle.id))
      assert.is(branch.steps[0]?.step, (generations[1]?.step ?? 0) + 1)
      const verified = yield* run("verify", "--run", changed.run)
      assert.equal([verified.error, verified.json.ok], ["", true])
    }
    assert.is(json.difference.values.length, 2)
    // The announced questions were answered, so this was a look at them: of the run, and of each branch that answered.
    assert.is(json.look, 1)
    assert.equal((yield* stateOf("a")).tests.map(({ generation, look, questions, report }) => [look, generation, questions.length, report]), [[1, 1, 2, undefined]])
    for (const { run: branch } of json.reseeds.flatMap(({ changed, placebo }: any) => [changed, placebo])) {
      const { generations, tests } = yield* stateOf(branch)
      assert.equal(tests.map(({ generation, look }) => [look, generation]), [[1, generations.length - 1]])
    }
    const before = asked()
    const standing = yield* run(...again)
    assert.equal([standing.json.reseeds, asked() - before], [json.reseeds, 0])
    assert.equal([standing.json.look, (yield* stateOf("a")).tests.length], [1, 1], "the same again is no further look")
    assert.is(standing.json.reused.answers, standing.json.reused.ofAnswers, "all answers stand in the log then")
    assert.ok(json.reused.ofAnswers > 0 && json.reused.calls >= 0)
    assert.match((yield* run("whatif", "--run", "a", "--from", "1", "--gate", "always")).error, /give --rerun/)
    assert.match((yield* run("whatif", "--run", "a", "--from", "1", "--gate", "likely", "--rerun")).error, /name another/)
    assert.match((yield* run(...again, "--direct")).error, /not both/)
  }))

test.run()
