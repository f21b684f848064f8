import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { stateOf, verification } from "../reflector/stage.ts"
import { onFinishedRun, type RunStage } from "./run-stage.ts"

const test = suite("what if, on a run")

const onStage = (name: string, body: (run: RunStage["run"], asked: RunStage["asked"], setFault: RunStage["setFault"]) => ReturnType<Parameters<typeof onFinishedRun>[2]>) =>
  onFinishedRun(test, name, ({ asked, run, setFault }) => body(run, asked, setFault))

onStage("what a change does is told beside a placebo and recorded; what the log holds is not paid for, and the same again asks nothing", (run, asked, setFault) =>
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

    assert.equal([json.number, json.fromLog, json.by], [1, false, { before: { reader: "scripted", judge: "scripted" }, after: { reader: "scripted", judge: "scripted" } }])
    const again = yield* run(...drop)
    assert.equal([again.json.paid.calls, again.json.reused.answers, again.json.number, again.json.fromLog], [0, json.reused.ofAnswers, 1, true])
    assert.equal([again.json.difference, again.json.placebo, again.json.first], [json.difference, json.placebo, { reused: json.reused, paid: json.paid }])
    const [recorded] = (yield* stateOf("a")).whatIfs
    assert.equal([recorded?.generation, recorded?.change, recorded?.outcomes.length], [from, { kind: "drop", principle: principle.id }, json.inScope])
    assert.equal(recorded?.principles.some(({ id }) => id === principle.id), false)

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
    assert.is((yield* stateOf("a")).whatIfs.length, 1, "what cannot be compared is not recorded")
    assert.equal((yield* run(...drop)).json.difference, json.difference, "what the log holds needs no endpoint")
    // One answer that cannot be had is an error, which the same again makes good.
    let lost: string | undefined
    setFault(({ call, role }) => (role === "answer" && call === (lost ??= call) ? { _tag: "Status", status: 401 } : undefined))
    const torn = yield* run(...rewording)
    assert.equal([torn.error, torn.json.errors, torn.json.number], ["", 1, 2])
    setFault(undefined)
    const reworded = yield* run(...rewording)
    assert.equal([reworded.error, reworded.json.errors, reworded.json.number, reworded.json.paid.answers], ["", 0, 2, 1])
    assert.is(reworded.json.first.paid.answers, torn.json.paid.answers + 1)
    // An actor goes on with requests of a command that failed: some may be answered once the endpoint answers again.
    assert.ok(torn.json.reused.answers >= json.inScope * 2 * 3)
    assert.is((yield* run(...rewording)).json.fromLog, true)

    for (
      const [args, message] of [
        [["--from", "99", "--drop", "P1"], /no 99/],
        [["--from", "0", "--drop", principle.id], /holds no principle .*, nor any other; --pin/],
        [["--from", "1"], /say what is changed/],
        [["--drop", "P1"], /--from says/],
        [["--show", "99"], /2 what-ifs, numbered from 1, and no 99/],
        [["--from", "1", "--drop", "a", "--pin", "b"], /one thing at a time/],
        [["--from", "1", "--reword", principle.id], /new text/],
        [["--from", "1", "--drop", principle.id, "--samples", "0"], /from 1 to/]
      ] as const
    ) assert.match((yield* run("whatif", "--run", "a", ...args)).error, message)
    assert.match((yield* run("whatif", "--run", "nobody", "--from", "0", "--drop", "P")).error, /no run nobody/)

    // It is found again, by number, by principle and with its answers, and no model is asked.
    const before2 = asked()
    const { branches, whatifs } = (yield* run("whatif", "--run", "a", "--list")).json
    assert.equal([branches, whatifs.map(({ change, number }: any) => [number, change.kind])], [[], [[1, "drop"], [2, "reword"]]])
    assert.ok(whatifs.every(({ position, time }: any) => /^metamem:/.test(position) && Date.parse(time) > 0))
    assert.equal([whatifs[0].difference, whatifs[0].paid], [json.difference, json.paid])
    const shown = (yield* run("whatif", "--run", "a", "--show", "2")).json
    assert.equal([shown.principles.find(({ id }: any) => id === principle.id).text, shown.outcomes.length, shown.difference], ["Sing it.", json.inScope, reworded.json.difference])
    assert.equal((yield* run("history", "--run", "a", principle.id)).json.whatifs.map(({ number }: any) => number), [1, 2])
    assert.is((yield* run("generations", "--run", "a")).json.whatifs, 2)
    const paid = [json.first.paid, reworded.json.first.paid]
    assert.equal((yield* run("cost", "--run", "a")).json.whatifs, { count: 2, ...Object.fromEntries(Object.keys(paid[0]).map((name) => [name, paid[0][name] + paid[1][name]])) })
    const verified = yield* run("verify", "--run", "a")
    assert.equal([verified.error, verified.json.ok, (yield* verification("a")).differing], ["", true, []])
    assert.is(asked(), before2)
  }))

onStage("another judge, and another model that judges or answers, are told beside the run's own and never as one figure", (run, asked, setFault) =>
  Effect.gen(function*() {
    const { parameters } = yield* stateOf("a")
    const role = (text: string, ...more: ReadonlyArray<string>) => run("whatif", "--run", "a", "--from", "1", "--role", text, ...more)
    const validation = parameters?.validation.length ?? 0
    const judged = yield* role("judge=lexical")
    assert.equal([judged.error, judged.json.inScope, judged.json.judge], ["", validation, "model"])
    assert.equal(["difference", "accuracy", "overall", "placebo"].filter((name) => name in judged.json), [])
    assert.equal(judged.json.judges.map(({ judge }: any) => judge), ["scripted", "lexical"])
    // The judged mark and the reference stand in the same answers, so both judges agree.
    const { afterOnly, agreed, beforeOnly, bothRight, kappa, neither } = judged.json.agreement
    assert.equal([afterOnly, beforeOnly, bothRight + neither, agreed.mean, kappa], [0, 0, validation * 3, 1, 1])
    assert.ok(judged.json.reused.answers > 0)
    // Both judges are shown the same answers, which are asked for once.
    assert.equal([judged.json.reused.ofAnswers, judged.json.reused.answers + judged.json.paid.answers], [validation * 2 * 3, validation * 2 * 3])

    const other = yield* role("judge=other")
    assert.equal([other.error, other.json.by.after, other.json.paid.answers, other.json.judges.map(({ judge }: any) => judge)], ["", { reader: "scripted", judge: "other" }, 0, ["scripted", "other"]])
    assert.ok(other.json.paid.judgements > 0)

    const read = yield* role("answer=other")
    assert.equal([read.error, read.json.by, read.json.inScope], ["", { before: { reader: "scripted", judge: "scripted" }, after: { reader: "other", judge: "scripted" } }, validation])
    assert.equal([read.json.reused, read.json.paid.answers], [{ answers: validation * 2 * 3, ofAnswers: validation * 3 * 3 }, validation * 3])
    assert.ok(read.json.difference.low < read.json.difference.high)
    const before = asked()
    assert.equal([(yield* role("answer=other")).json.difference, asked() - before], [read.json.difference, 0])
    assert.equal((yield* run("whatif", "--run", "a", "--list")).json.whatifs.map(({ change, number }: any) => [number, change.kind]), [[1, "judge"], [2, "judge"], [3, "reader"]])
    assert.equal((yield* verification("a")).differing, [])

    setFault(({ body }) => (body["model"] === "absent" ? { _tag: "Status", status: 404, message: "there is no such model" } : undefined))
    assert.match((yield* role("answer=absent")).error, /cannot be had or judged.*model "absent": 404 there is no such model/s)
    for (
      const [text, more, message] of [
        ["answer=scripted", [], /answered by scripted: name another model/],
        ["judge=scripted", [], /judged by scripted: name another model/],
        ["judge=model", [], /name the other one, or another model/],
        ["extract=other", [], /not understood/],
        ["reflect=other", [], /who reflects changes what comes after a generation.*give --rerun/],
        ["reflect=scripted", ["--rerun"], /reflected on by scripted: name another model, or rules/],
        ["reflect=model", ["--rerun"], /name another model, or rules/],
        ["reflect=absent", ["--rerun"], /the endpoint of the role reflect has no model absent, but scripted, other/],
        ["answer=", [], /not understood/],
        ["judge=lexical", ["--steps", "1"], /matter of --rerun/],
        ["judge=lexical", ["--reseeds", "1"], /matter of --rerun/],
        ["judge=lexical", ["--rerun", "--samples", "1"], /asked directly/],
        ["judge=lexical", ["--list"], /with --run alone/],
        ["judge=lexical", ["--show", "1"], /with --run alone/]
      ] as const
    ) assert.match((yield* role(text, ...more)).error, message)
    assert.equal((yield* run("whatif", "--run", "a", "--list")).json.branches, [], "what is refused opens no branch, not even an unchanged one")
  }))

onFinishedRun(test, "a run's what-if is asked of the run's own reader, whichever is set by then", ({ run, setFault }) =>
  Effect.gen(function*() {
    const { generations, parameters } = yield* stateOf("a")
    const [principle] = generations.at(-1)?.principles ?? []
    assert.ok(principle !== undefined)
    const askedOf = new Set<unknown>()
    setFault(({ body }) => void askedOf.add(body["model"]))
    const { error, json } = yield* run("whatif", "--run", "a", "--from", String(generations.length - 1), "--drop", principle.id)
    assert.equal([error, parameters?.models["answer"], json.by.before.reader, [...askedOf]], ["", "scripted", "scripted", ["scripted"]])
    assert.equal((yield* run("effect", principle.id, "--run", "a", "--exact", "--samples", "4")).error, "")
    assert.equal([...askedOf], ["scripted"])

    // Whose verdicts they are is recorded by name.
    const judged = yield* run("whatif", "--run", "a", "--from", "0", "--role", "judge=model", "--samples", "1")
    assert.equal([judged.error, judged.json.by], ["", { before: { reader: "scripted", judge: "lexical" }, after: { reader: "scripted", judge: "scripted" } }])
  }), { METAMEM_JUDGE: "lexical" }, { METAMEM_ANSWER_MODEL: "newer" })

onStage("evolution goes on with another reader, judge or reflector by name, beside branches of those the run had", (run, _asked, setFault) =>
  Effect.gen(function*() {
    const askedOf = new Map<string, Set<unknown>>()
    setFault(({ body, role }) => {
      askedOf.set(role, (askedOf.get(role) ?? new Set()).add(body["model"]))
      return undefined
    })
    const again = (role: string) => {
      askedOf.clear()
      return run("whatif", "--run", "a", "--from", "0", "--role", role, "--rerun", "--reseeds", "1", "--steps", "1")
    }
    const models = (name: string) => Effect.map(stateOf(name), ({ parameters }) => ({ ...parameters?.models, judge: parameters?.models["judge"] ?? parameters?.judge }))
    const own = { answer: "scripted", judge: "scripted", reflect: "scripted", propose: "scripted", consolidate: "scripted" }
    const reflected = yield* again("reflect=other")
    assert.is(reflected.error, "")
    const [{ changed, placebo }] = reflected.json.reseeds
    assert.equal([yield* models(changed.run), yield* models(placebo.run)], [{ ...own, reflect: "other", propose: "other", consolidate: "other" }, own])
    // A placebo of the run's own seed asks little that does not stand in the log.
    assert.equal([[...askedOf.get("answer") ?? []], askedOf.get("reflect")?.has("other"), askedOf.get("propose")?.has("other")], [["scripted"], true, true])
    assert.match((yield* stateOf(changed.run)).parameters?.branch?.change ?? "", /^reflected on by other$/)
    assert.is((yield* run("verify", "--run", changed.run)).json.ok, true)

    // The placebo stands, and whoever answers in a branch answers the questions it is compared by.
    const read = yield* again("answer=other")
    assert.equal([read.error, read.json.reader, read.json.reseeds[0].placebo.run], ["", { changed: "other", placebo: "scripted" }, placebo.run])
    assert.equal([[...askedOf.get("answer") ?? []], [...askedOf.get("judge") ?? []]], [["other"], ["scripted"]])
    // Branches are compared by the run's own judge, whose verdicts on these answers stand in the log.
    const judged = yield* again("judge=other")
    assert.equal([judged.error, judged.json.judge, yield* models(judged.json.reseeds[0].changed.run)], ["", "model", { ...own, judge: "other" }])
    assert.equal([[...askedOf.get("judge") ?? []], askedOf.get("answer")?.has("other") ?? false], [["other"], false])
    const ruled = yield* again("reflect=rules")
    const { parameters } = yield* stateOf(ruled.json.reseeds[0].changed.run)
    assert.equal([ruled.error, parameters?.reflector, Object.keys(parameters?.models ?? {}), askedOf.has("reflect")], ["", "rules", ["answer", "judge"], false])
  }))

onStage("evolution goes on from a changed generation in branches of the log, each beside one with nothing changed", (run, asked) =>
  Effect.gen(function*() {
    const { generations } = yield* stateOf("a")
    const principle = generations[1]?.principles[0]
    assert.ok(principle !== undefined)
    const again = ["whatif", "--run", "a", "--from", "1", "--drop", principle.id, "--rerun", "--reseeds", "2", "--steps", "1"]
    const { error, json } = yield* run(...again)
    assert.is(error, "")
    assert.equal(json.reader, { changed: "scripted", placebo: "scripted" })
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

    // The placebo stands already; each other change is a branch of its own beside it.
    const [held, refused] = [generations[1]?.principles[0]?.id ?? "", (yield* stateOf("a")).operations.find(({ after, decision }) => decision !== "accepted" && after !== undefined && !generations[1]?.principles.some(({ id }) => id === after.id))?.after]
    assert.ok(refused !== undefined)
    const placebo = json.reseeds[0].placebo.run
    for (const [change, text] of [[["--gate", "proven"], "under the gate policy proven"], [["--pin", refused.id], `with ${refused.id}`], [["--reword", held, "Sing it."], `with ${held} reworded`]] as const) {
      const branched = yield* run("whatif", "--run", "a", "--from", "1", ...change, "--rerun", "--reseeds", "1", "--steps", "1")
      assert.equal([branched.error, branched.json.reseeds[0].placebo.run], ["", placebo])
      const { generations: own, parameters } = yield* stateOf(branched.json.reseeds[0].changed.run)
      assert.equal([parameters?.branch?.change, parameters?.gate, own[0]?.principles.length], [text, change[0] === "--gate" ? "proven" : "likely", (generations[1]?.principles.length ?? 0) + (change[0] === "--pin" ? 1 : 0)])
    }
    // How branches came out stands in the run's log, and is read there without a model; verify decides it anew.
    const asking = asked()
    const { branches, comparisons, whatifs } = (yield* run("whatif", "--run", "a", "--list")).json
    assert.equal(comparisons.map(({ change, reseeds }: any) => [change.kind, reseeds.length]), [["drop", 2], ["gate", 1], ["pin", 1], ["reword", 1]])
    assert.equal([comparisons[0].reseeds, comparisons[0].difference, comparisons[0].position, standing.json.position], [json.reseeds, json.difference, json.position, json.position])
    assert.equal([(yield* verification("a")).differing, (yield* run("verify", "--run", "a")).json.ok, asked() - asking], [[], true, 0])
    assert.equal([whatifs, branches.length, branches.filter(({ change }: any) => change === "nothing changed").length], [[], 7, 2])
    assert.ok(branches.every(({ generation, last, run }: any) => generation === 1 && last !== null && run.startsWith("a-g1-")))
    assert.equal((yield* run("whatif", "--run", placebo, "--list")).json.branches, [])
  }))

test.run()
