import { Effect, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { behaviour } from "#services/reflector/behaviour"
import { differencesText, differingParameters, differingRequest, type RunParameters, type RunRequest } from "#services/reflector/parameters"
import type { RunCommand } from "#services/reflector/protocol"
import { attemptKey, causeOf, expectedJobs, plannedJobs, resultKey, stageCommand } from "#services/reflector/stages"
import { foldRun, replayGeneration } from "#services/reflector/analysis"
import { patched, patchOf } from "#services/reflector/state"
import { address, parameters, question, simulate } from "./simulation.ts"

const test = suite("a run's behaviour")

const opened = (changed = {}) => {
  const state = behaviour.initial()
  const events = Result.getOrThrow(behaviour.decide(state, { _tag: "OpenRun", parameters: parameters(changed) }))
  return { events, state: events.reduce((state, event) => behaviour.evolve(state, event, { id: "", sequence: 1, cause: "", inputThrough: 0, binary: new Uint8Array(0) }), state) }
}
const refusal = (state: ReturnType<typeof behaviour.initial>, command: RunCommand) => Result.getOrThrow(Result.flip(behaviour.decide(state, command)))

test("opening records everything and seals the empty generation in the same commit", () => {
  const { events, state } = opened()
  assert.equal(events.map(({ _tag }) => _tag), ["RunOpened", "GenerationSealed"])
  assert.is(state.generations[0]?.number, 0)
  assert.equal(state.generations[0]?.principles, [])
  assert.is(state.undersized, true)
})

test("opening a second time with the same parameters adds nothing, also when memory has grown", () => {
  const { state } = opened()
  assert.equal(Result.getOrThrow(behaviour.decide(state, { _tag: "OpenRun", parameters: parameters({ memoryPosition: 99 }) })), [])
})

test("opening a run with other parameters is refused and says which differ", () => {
  const { state } = opened()
  const refused = refusal(state, { _tag: "OpenRun", parameters: parameters({ seed: 8, gate: "proven" }) })
  assert.is(refused._tag, "ParametersDiffer")
  assert.match(refused.message, /seed 7, not 8; gate likely, not proven|gate likely, not proven; seed 7, not 8/)
})

test("what differs is seen from the request already, and a request as it was is let through", () => {
  const stands = parameters()
  const { algorithm, memoryPosition, models, templates, ...rest } = stands
  const refs = (list: RunParameters["guard"]) => list.map(({ id, user }) => ({ id, user }))
  const [first, ...more] = refs(stands.train)
  const [validated, ...others] = refs(stands.validation)
  assert.ok(first !== undefined && validated !== undefined)
  const asked: RunRequest = { ...rest, train: [first, ...more], validation: [validated, ...others], guard: refs(stands.guard), test: refs(stands.test) }
  assert.equal(differingRequest(stands, asked), [])
  const other: RunRequest = { ...asked, datasetHash: "e", batch: 7, train: [first, ...more.slice(1)] }
  assert.equal([...differingRequest(stands, other)].sort(), ["batch", "datasetHash", "train"])
  assert.match(differencesText(["batch", "train"], stands, other), /opened with batch 6, not 7; train of 12 questions, not of 11\. Give all as it was/)
  const all = (model: string) => Object.fromEntries(["answer", "judge", "reflect", "propose", "consolidate"].map((role) => [role, model]))
  assert.match(differencesText(["models"], { ...stands, models: all("m2") }, { ...stands, models: all("m3") }), /opened with models m2, not m3\. Give/)
  assert.match(differencesText(["models"], { ...stands, models: { ...all("m2"), judge: "j" } }, { ...stands, models: all("m3") }), /opened with other values of models\. Give/)
  assert.match(differencesText(["batch", "algorithm", "templates"], stands, other), /^the run was opened under other rules than this version's.*not continued\. Choose another name/)
  assert.equal(differingRequest({ ...stands, patience: undefined } as unknown as RunParameters, { ...asked, patience: 3 }), [], "what an older opening could not say")
})

test("a changed data set is refused: the hash of a question differs", () => {
  const { state } = opened()
  const [first, ...more] = parameters().train
  const refused = refusal(state, { _tag: "OpenRun", parameters: parameters({ train: [{ ...first, hash: "changed" }, ...more] }) })
  assert.match(refused.message, /train/)
  assert.equal(differingParameters(parameters(), parameters({ models: { answer: "reader" } })), [])
})

test("a run opened before there were mixes, patience and guard policies goes on as it was; with them they may not change", () => {
  const { guardPolicy: _, mix: __, patience: ___, ...before } = { mix: {}, ...parameters() }
  const asked = { ...before, mix: { rare: 1 }, patience: 12, guardPolicy: "proven" as const }
  assert.equal(differingParameters(before, asked), [])
  assert.equal(differingParameters(asked, { ...asked, mix: { rare: 2 }, patience: 3, guardPolicy: "likely" }), ["mix", "patience", "guardPolicy"])
})

test("a run too small to tell anything is refused with the arithmetic, unless told to run anyway", () => {
  const refused = refusal(behaviour.initial(), { _tag: "OpenRun", parameters: parameters({ anyway: false }) })
  assert.is(refused._tag, "RunTooSmall")
  assert.match(refused.message, /calls/)
})

test("a question in two parts of the split is refused", () => {
  const [first] = parameters().train
  const refused = refusal(behaviour.initial(), { _tag: "OpenRun", parameters: parameters({ guard: [first] }) })
  assert.is(refused._tag, "QuestionInTwoParts")
})

test("a run of three steps seals generations whose replay has the sealed hash", () => {
  const { commits, state } = simulate(parameters())
  assert.is(state.phase._tag, "Finished")
  assert.is(state.steps.length, 3)
  assert.ok(state.generations.length >= 2, "something was accepted")
  for (const { hash, number, principles } of state.generations) {
    const replayed = replayGeneration(state, number)
    assert.is(replayed?.hash, hash)
    assert.equal(replayed?.principles, principles)
  }
  assert.is(replayGeneration(state, 99), undefined)
  assert.ok(commits.length > 10)
})

test("the order in which results come in changes nothing", () => {
  const straight = simulate(parameters())
  const reversed = simulate(parameters(), undefined, (jobs) => [...jobs].reverse())
  assert.equal(reversed.commits.map(({ events }) => events), straight.commits.map(({ events }) => events))
})

test("another seed is another run", () => {
  const hashes = (seed: number) => simulate(parameters({ seed })).state.generations.map(({ hash }) => hash)
  assert.is(hashes(7)[0], hashes(8)[0])
  assert.not.equal(hashes(7), hashes(8))
})

test("a stage whose failed job is done anew waits for it, whoever decides on what counted before; once it is folded, none is done anew", () => {
  const { state } = opened()
  const give = (command: RunCommand) => {
    const events = Result.getOrThrow(behaviour.decide(state, command))
    for (const event of events) behaviour.evolve(state, event, { id: "", sequence: 2, cause: "", inputThrough: 0, binary: new Uint8Array(0) })
    return events.map(({ _tag }) => _tag)
  }
  give({ _tag: "StartStep", step: 1 })
  const jobs = plannedJobs(state, address)
  const results = new Map(jobs.map(({ key, kind }) => [resultKey(kind, key), { kind, key, status: "failed" as const, data: null, checksum: `first of ${key}` }]))
  const [job] = jobs
  assert.ok(job !== undefined)
  const again = (checksum: string): RunCommand => ({ _tag: "RetryJob", step: 1, kind: job.kind, key: job.key, outcome: checksum })
  assert.equal(give(again(`first of ${job.key}`)), ["JobRetried"])
  assert.equal(give(again(`first of ${job.key}`)), [])
  assert.equal(expectedJobs(state, address, results).filter(({ again }) => again !== undefined).map(({ again, key }) => [key, again]), [[job.key, `first of ${job.key}`]])
  const fold = (): RunCommand => ({ _tag: "FoldRollouts", step: 1, results })
  assert.equal(give(fold()), [])
  results.set(resultKey(job.kind, job.key), { kind: "rollout", key: job.key, status: "failed", data: null, checksum: "second" })
  assert.equal(give(again("second")), ["JobRetried"])
  assert.equal(give(fold()), [])
  results.set(resultKey(job.kind, job.key), { kind: "rollout", key: job.key, status: "failed", data: null, checksum: "third" })
  assert.ok(give(fold()).includes("RolloutsFolded"))
  const refused = refusal(state, again("third"))
  assert.is(refused._tag, "NotWaitedFor")
  assert.match(refused.message, /stage of step 1 .* is over/)
  assert.match(refusal(behaviour.initial(), again("third")).message, /no run of that name/)
})

test("each stage decided twice adds nothing the second time", () => {
  const { commits, results } = simulate(parameters({ steps: 1 }))
  for (let through = 1; through < commits.length; through++) {
    const { state } = Effect.runSync(foldRun(commits.slice(0, through)))
    const all = new Map([...results.values()].flatMap((own) => [...own]))
    const command = stageCommand(state, all)
    if (command === undefined) continue
    const after = Effect.runSync(foldRun(commits.slice(0, through + 1)))
    assert.equal(Result.getOrThrow(behaviour.decide(after.state, command)), [], `${causeOf(command)} decided twice`)
  }
})

test("a run folded from the log anywhere wants the same jobs as the one that wrote it", () => {
  const { commits } = simulate(parameters({ steps: 2 }))
  for (let through = 1; through <= commits.length; through++) {
    const a = Effect.runSync(foldRun(commits.slice(0, through))).state
    const b = Effect.runSync(foldRun(structuredClone(commits.slice(0, through)))).state
    assert.equal(plannedJobs(a, address), plannedJobs(b, address))
  }
})

test("a step's jobs: samples of each question, and judgements of what was answered", () => {
  const { state } = opened()
  const [started] = Result.getOrThrow(behaviour.decide(state, { _tag: "StartStep", step: 1 }))
  assert.is(started?._tag, "StepStarted")
  if (started === undefined) return
  const at = behaviour.evolve(state, started, { id: "", sequence: 2, cause: "", inputThrough: 0, binary: new Uint8Array(0) })
  const rollouts = plannedJobs(at, address)
  assert.is(rollouts.length, 12)
  assert.is(new Set(rollouts.map(({ key }) => key)).size, 12)
  const [first, second] = rollouts
  if (first === undefined || second === undefined) return
  const results = new Map([
    [resultKey("rollout", first.key), { kind: "rollout", key: first.key, status: "done" as const, data: { callKey: "k" }, checksum: "" }],
    [resultKey("rollout", second.key), { kind: "rollout", key: second.key, status: "failed" as const, data: null, checksum: "" }]
  ])
  const expected = expectedJobs(at, address, results)
  assert.is(expected.length, 13)
  assert.equal(expected.filter(({ kind }) => kind === "judgement").map(({ key }) => key), [first.key])
  assert.ok(!JSON.stringify(rollouts).includes("answer\":"), "no reference answer in a rollout")
})

test("an attempt that failed is an error and never wrong; a judgement that failed too", () => {
  const { state } = simulate(parameters({ steps: 1 }), (job) =>
    (job.kind === "rollout" || job.kind === "judgement") && job.step === 1 && job.key.startsWith("r_") && job.key.endsWith(job.kind === "rollout" ? "_0" : "_1")
      ? { kind: job.kind, key: job.key, status: "failed", data: null, checksum: "x" }
      : undefined)
  assert.equal(state.steps[0]?.attempts.map(({ verdicts }) => verdicts), Array.from({ length: 6 }, () => "ee"))
  assert.is(state.alarms.length, 1)
  assert.match(state.alarms[0] ?? "", /error/)
})

test("questions of a user erased amid a run leave gate and guard test, which any other failure voids", () => {
  // One validation question of each class, and one of the guard's four in scope.
  const gone = new Set(["v0", "v1", "v2", "g0"])
  const after = (data: unknown) => simulate(parameters(), (job) =>
    job.kind === "rollout" && job.step > 1 && gone.has(job.input.question.id) ? { kind: job.kind, key: job.key, status: "failed", data, checksum: "x" } : undefined)
  const decisionsOf = ({ commits }: ReturnType<typeof after>) =>
    commits.flatMap(({ events }) => events)
      .filter(({ type }) => type === "GateDecided" || type === "GuardTested")
      .map(({ data }) => data as { readonly step?: number; readonly decision: string; readonly counts: { readonly questions: number } })
  const failed = decisionsOf(after(null))
  assert.ok(failed.some(({ decision, step }) => step !== undefined && decision === "void") && failed.at(-1)?.decision === "void", JSON.stringify(failed))
  const erased = after({ erased: true })
  const decisions = decisionsOf(erased)
  assert.ok(decisions.length > 1 && decisions.every(({ decision }) => decision !== "void"), JSON.stringify(decisions))
  assert.is(decisions.at(-1)?.counts.questions, 3, "of four questions in scope the others decide")
  assert.is(erased.state.phase._tag, "Finished")
})

test("equal rewards raise an alarm and the step says that there is no proposal", () => {
  const { commits, state } = simulate(parameters({ steps: 1 }), (job) =>
    job.kind === "judgement" ? { kind: job.kind, key: job.key, status: "done", data: { verdict: "correct" }, checksum: "x" } : undefined)
  assert.match(state.alarms[0] ?? "", /judged correct/)
  const ended = commits.flatMap(({ events }) => events).find(({ type }) => type === "StepEnded")
  assert.is((ended?.data as { outcome?: string }).outcome, "no proposal")
  assert.is(state.generations.length, 1)
  assert.is(state.recommended, 0)
})

test("the policy always accepts every operation without asking", () => {
  const { results, state } = simulate(parameters({ steps: 1, gate: "always" }))
  assert.ok(state.generations.length === 2)
  const keys = [...results.values()].flatMap((own) => [...own.keys()])
  assert.ok(!keys.some((key) => key.startsWith("rollout/O") || key.startsWith("rollout/i_")), "no gate answer")
})

test("out of scope nothing is asked of the gate, and a redrawn scope asks anew under another draw", () => {
  const { results, state } = simulate(parameters())
  const v = (id: string) => attemptKey("", 0, id, 0).split("_")[2]
  const outside = new Set(parameters().validation.filter(({ questionClass }) => questionClass !== "single-fact").map(({ id }) => v(id)))
  const gate = [...results].filter(([step]) => step <= 3).flatMap(([, own]) => [...own.values()]).filter(({ key, kind }) => kind === "rollout" && !key.startsWith("r_"))
  assert.ok(gate.length > 0)
  assert.ok(gate.every(({ key }) => !outside.has(key.split("_")[2])))
  assert.ok(state.trials.draws["single-fact"] !== undefined, "the scope was drawn anew after an acceptance")
})

test("without an untouched question the empty generation is recommended", () => {
  const { state } = simulate(parameters({ guard: [] }))
  assert.ok(state.generations.length > 1)
  assert.is(state.recommended, 0)
})

test("a guard that has to prove recommends nothing on four questions, where one that is likely does", () => {
  const recommended = (guardPolicy: "likely" | "proven", guards: number) => {
    const [first, ...more] = Array.from({ length: guards }, (_, at) => ({ ...question(`g${at}`), questionClass: "single-fact" as const }))
    const shown = new Map<string, boolean>()
    const { state } = simulate(parameters({ guardPolicy, guard: first === undefined ? [] : [first, ...more] }), (job) => {
      if (job.kind === "rollout") shown.set(`${job.step}/${job.key}`, job.input.principles.length > 0)
      return job.kind !== "judgement" || !job.key.startsWith("g") ? undefined : { kind: job.kind, key: job.key, status: "done", data: { verdict: shown.get(`${job.step}/${job.key}`) === true ? "correct" : "incorrect" }, checksum: "x" }
    })
    assert.ok(state.generations.length > 1)
    return state.recommended === state.trials.generation
  }
  assert.equal([recommended("likely", 4), recommended("proven", 4), recommended("proven", 5)], [true, false, true])
})

test("a principle whose measured effect is not worth its place is put up for deletion", () => {
  const shown = new Map<string, boolean>()
  const { commits } = simulate(parameters({ steps: 10, gate: "always", dropShare: 0.5, samples: 6 }), (job) => {
    if (job.kind === "rollout") shown.set(`${job.step}/${job.key}`, job.input.principles.length > 0)
    // Whatever is shown does harm.
    if (job.kind === "judgement") return { kind: job.kind, key: job.key, status: "done", data: { verdict: shown.get(`${job.step}/${job.key}`) === true && !job.key.endsWith("_5") || job.key.endsWith("_4") ? "incorrect" : "correct" }, checksum: "x" }
    return undefined
  })
  const operations = commits.flatMap(({ events }) => events).flatMap(({ data, type }) =>
    type === "OperationsConsolidated" ? (data as { step: number; operations: ReadonlyArray<{ operation: { operation: string }; sources: ReadonlyArray<string> }> }).operations.map((of) => ({ ...of, step: (data as { step: number }).step })) : [])
  const deletions = operations.filter(({ operation }) => operation.operation === "delete")
  assert.ok(deletions.length > 0)
  assert.ok(deletions.every(({ sources, step }) => sources.length === 0 && step > 7), "by its effect alone, and not before seven steps have shown it")
})

test("a patch says what changed and nothing else", () => {
  const { state } = opened()
  const before = { ...state.trials, incumbent: { a: { correct: 1, incorrect: 0, errors: 0 }, b: { correct: 0, incorrect: 1, errors: 0 } } }
  const after = { ...before, incumbent: { b: before.incumbent.b, c: { correct: 2, incorrect: 0, errors: 0 } }, allowance: 3, draws: { time: 1 } }
  const patch = patchOf(before, after)
  assert.equal(Object.keys(patch.incumbent), ["a", "c"])
  assert.equal(patched(before, patch), after)
  assert.is(patch.principles, undefined)
})

test("keys hold no text of people", () => {
  assert.match(attemptKey("r", 1, "who is Ana? *.>", 0), /^r_1_[0-9a-f]{16}_0$/)
  assert.is(question("a").user, "u-a")
})

test("every job that asks a model names the one its run was opened with", () => {
  const models = { answer: "a", judge: "j", reflect: "r", propose: "p", consolidate: "c" }
  const namedBy = (of: Partial<RunParameters>) => {
    const named = new Map<string, Set<string | undefined>>()
    simulate(parameters({ steps: 2, ...of }), (job) => void named.set(job.kind, (named.get(job.kind) ?? new Set()).add(job.input.model)))
    return Object.fromEntries([...named].map(([kind, names]) => [kind, [...names]]))
  }
  assert.equal(namedBy({ judge: "model", reflector: "model", models }), { rollout: ["a"], judgement: ["j"], reflection: ["r"], proposal: ["p"], consolidation: ["c"] })
  assert.equal(namedBy({ models: { answer: "a" } }), { rollout: ["a"], judgement: [undefined], reflection: [undefined], proposal: [undefined], consolidation: [undefined] })
})

test.run()
