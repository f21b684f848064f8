import { Effect, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { jobCodec } from "#shared/actor/jobs"
import type { Commit } from "#shared/eventlog/envelope"
import { resultSubject, runSubject } from "#shared/eventlog/subjects"
import { principleEffects } from "#shared/metamemory/effect"
import { curveOf, droppedRollouts, makeCost, makeVerifier } from "#services/reflector/analysis"
import { reflectorCodec, type RunEvent } from "#services/reflector/run-events"
import { expectedJobs, resultKey, stageStep } from "#services/reflector/stages"
import { behaviour, runBudget } from "#services/reflector/behaviour"
import { emptyFold, foldCommits } from "#shared/actor/entity"
import type { RunState } from "#services/reflector/state"
import { statusOf } from "#services/reflector/status"
import { address, parameters, type Simulated, simulate } from "./simulation.ts"

const test = suite("what the log says of a run")

const resultCommit = (step: number, kind: string, key: string, run: Simulated): Commit => {
  const result = run.results.get(step)?.get(resultKey(kind, key))
  if (result === undefined) throw new Error(`no result ${kind} ${key}`)
  return {
    id: "", subject: resultSubject({ ...address, step, kind, key }), sequence: 0, time: "", cause: "settled", correlation: "", inputThrough: 0, checksum: result.checksum, previousChecksum: "",
    events: [jobCodec.encode({ _tag: "JobSettled", status: result.status, data: result.data, error: "", attempts: 1, worker: "w" })], binary: new Uint8Array(0)
  }
}

/** The commits of a run with its results, in the order of the log. */
const inOrder = (run: Simulated): ReadonlyArray<Commit> => {
  const all: Array<Commit> = []
  let folded = emptyFold(behaviour.initial())
  const written = new Set<string>()
  for (const commit of run.commits) {
    if (folded.sequence > 0) {
      const step = stageStep(folded.state)
      for (const { key, kind } of expectedJobs(folded.state, address, run.results.get(step) ?? new Map())) {
        if (written.has(`${step}/${kind}/${key}`)) continue
        written.add(`${step}/${kind}/${key}`)
        all.push(resultCommit(step, kind, key, run))
      }
    }
    all.push({ ...commit, subject: runSubject(address) })
    folded = Effect.runSync(foldCommits(behaviour, folded, [commit]))
  }
  return all
}

const verified = (commits: ReadonlyArray<Commit>) => {
  const verifier = makeVerifier(address)
  for (const commit of commits) Effect.runSync(verifier.next(commit))
  return verifier.end()
}

test("every decision of a run follows from its results", () => {
  const run = simulate(parameters())
  const found = verified(inOrder(run))
  assert.equal({ differing: found.differing, missing: found.missing, extra: found.extra }, { differing: [], missing: [], extra: [] })
  assert.is(found.decisions, run.commits.length - 1)
  assert.ok(found.generations.length >= 2)
  for (const { replayed, sealed } of found.generations) assert.is(replayed, sealed)
})

test("a run that an older version finished verifies as well, and one that ended early", () => {
  const commits = inOrder(simulate(parameters({ steps: 1 })))
  const older = commits.map((commit) => ({ ...commit, events: commit.events.map((event) => (event.type === "RunFinished" ? { ...event, version: 1 } : event)) }))
  assert.equal(verified(older).differing, [])
  const early = simulate(parameters({ steps: 14, patience: 3 }))
  assert.ok(early.state.stopped !== undefined)
  assert.equal(verified(inOrder(early)).differing, [])
  const denied = inOrder(early).map((commit) => ({ ...commit, events: commit.events.map((event) => (event.type === "RunFinished" ? { ...event, data: { ...(event.data as object), stopped: { step: 2, reason: "bored" } } } : event)) }))
  assert.is(verified(denied).differing.length, 1)
})

test("what a test of the test split reports follows from its outcomes", () => {
  const run = simulate(parameters({ steps: 1 }))
  const before = inOrder(run)
  const at = (event: RunEvent, sequence: number): Commit => ({ ...(before.at(-1) as Commit), subject: runSubject(address), sequence, cause: event._tag, events: [reflectorCodec.encode(event)] })
  const opening = Result.getOrThrow(behaviour.decide(run.state, { _tag: "OpenTest", generation: 0, questions: ["x0", "x1"], memoryPosition: 5 }))[0]
  assert.ok(opening !== undefined)
  const state = behaviour.evolve(run.state, opening, { id: "", sequence: 0, cause: "", inputThrough: 0, binary: new Uint8Array(0) })
  const report = Result.getOrThrow(behaviour.decide(state, { _tag: "ReportTest", look: 1, outcomes: [{ question: "x0", empty: "i", tested: "c" }, { question: "x1", empty: "c", tested: "c" }] }))[0]
  assert.ok(report?._tag === "TestReported")
  const after = (reported: RunEvent) => verified([...before, at(opening, 9_001), at(reported, 9_002)])
  assert.equal(after(report).differing, [])
  assert.equal(after({ ...report, difference: 0.9 }).differing.map(({ cause }) => cause), ["TestReported"])
})

test("what a what-if comes to follows from its outcomes, also where errors were made good", () => {
  const run = simulate(parameters({ steps: 1 }))
  const before = inOrder(run)
  const at = (event: RunEvent, sequence: number): Commit => ({ ...(before.at(-1) as Commit), subject: runSubject(address), sequence, cause: event._tag, events: [reflectorCodec.encode(event)] })
  const players = { reader: "reader", judge: "lexical" }
  const recorded = (state: RunState, letters: string, calls: number): RunEvent => {
    const found = {
      generation: 0, change: { kind: "reader", model: "other" }, principles: [], samples: 2, by: { before: players, after: { ...players, reader: "other" } }, answers: "digest",
      outcomes: [{ question: "v0", before: "ci", after: letters, placebo: "cc" }, { question: "v1", before: "cc", after: "cc", placebo: "ci" }],
      reused: { answers: 0, ofAnswers: 12 }, paid: { calls, answers: calls, judgements: 0, promptTokens: 1, completionTokens: 1 }
    } as const
    const [event] = Result.getOrThrow(behaviour.decide(state, { _tag: "RecordWhatIf", found }))
    assert.ok(event !== undefined)
    return event
  }
  const first = recorded(run.state, "ce", 12)
  const state = behaviour.evolve(run.state, first, { id: "", sequence: 0, cause: "", inputThrough: 0, binary: new Uint8Array(0) })
  const second = recorded(state, "ic", 2)
  assert.ok(first._tag === "WhatIfAnswered" && second._tag === "WhatIfAnswered")
  const after = (...events: ReadonlyArray<RunEvent>) => verified([...before, ...events.map((event, n) => at(event, 9_001 + n))]).differing.map(({ cause }) => cause)
  assert.equal(after(first, second), [])
  assert.equal(after({ ...first, difference: { mean: 0.9, low: null, high: null } }, second), ["WhatIfAnswered"])
  assert.equal(after(first, { ...second, number: 2 }), ["WhatIfAnswered"])
})

test("a result that is gone is reported as missing, and one too many as extra", () => {
  const commits = inOrder(simulate(parameters({ steps: 1 })))
  const at = commits.findIndex(({ subject }) => subject.includes(".judgement."))
  assert.is(verified(commits.filter((_, i) => i !== at)).missing.length, 1)
  const judgement = commits[at]
  if (judgement === undefined) return
  const more = { ...judgement, subject: resultSubject({ ...address, step: 1, kind: "judgement", key: "r_1_stranger_0" }) }
  assert.equal(verified([...commits.slice(0, at), more, ...commits.slice(at)]).extra, ["1/judgement/r_1_stranger_0"])
})

test("a changed verdict makes the decision differ that it went into", () => {
  const commits = inOrder(simulate(parameters({ steps: 1 })))
  const changed = commits.map((commit) => {
    const [event] = commit.events
    const settled = event?.data as { readonly data?: { readonly verdict?: string } }
    return commit.subject.includes(".judgement.") && settled.data?.verdict === "incorrect" && event !== undefined
      ? { ...commit, events: [{ ...event, data: { ...settled, data: { verdict: "correct" } } }] }
      : commit
  })
  assert.ok(verified(changed).differing.length > 0)
})

test("a generation whose sealed principles were changed does not replay to its hash", () => {
  const run = simulate(parameters())
  const commits = run.commits.map((commit) => ({
    ...commit,
    events: commit.events.map((event) =>
      event.type === "GateDecided" && (event.data as { decision: string }).decision === "accepted"
        ? { ...event, data: { ...(event.data as object), after: { ...(event.data as { after: object }).after, text: "Guess." } } }
        : event)
  }))
  const folded = Effect.runSync(foldCommits(behaviour, emptyFold(behaviour.initial()), commits))
  const tampered = (commit: Commit): Commit | undefined =>
    commit.subject === runSubject(address) ? commits.find(({ cause, sequence }) => cause === commit.cause && sequence === commit.sequence) : undefined
  const verifier = verified(inOrder(run).map((commit) => tampered(commit) ?? commit).map((commit) => (commit.subject === "s" ? { ...commit, subject: runSubject(address) } : commit)))
  assert.ok(folded.state.generations.length >= 2)
  assert.ok(verifier.generations.some(({ replayed, sealed }) => replayed !== sealed))
})

test("of votes that were partly taken from the log, only the paid part of the tokens is counted", () => {
  const voted = (reused: number): Commit => ({
    id: "", subject: resultSubject({ ...address, step: 1, kind: "judgement", key: `r_1_a_${reused}` }), sequence: 0, time: "", cause: "settled", correlation: "", inputThrough: 0, checksum: "", previousChecksum: "",
    events: [jobCodec.encode({ _tag: "JobSettled", status: "done", data: { verdict: "correct", judge: "model", calls: ["a", "b", "c"], promptTokens: 300, completionTokens: 60, reused }, error: "", attempts: 1, worker: "w" })], binary: new Uint8Array(0)
  })
  const cost = makeCost()
  for (const reused of [0, 2, 3]) cost.add(voted(reused))
  assert.equal(cost.rows().map(({ calls, completionTokens, jobs, promptTokens, reused }) => ({ calls, completionTokens, jobs, promptTokens, reused })), [{ calls: 4, completionTokens: 80, jobs: 3, promptTokens: 400, reused: 5 }])
})

test("curve, effects, cost and status come from the log alone", () => {
  const run = simulate(parameters({ steps: 3, dropShare: 0.5 }))
  const curve = curveOf(run.state)
  assert.is(curve.length, 3)
  assert.is(curve.reduce((sum, { correct, errors, incorrect }) => sum + correct + incorrect + errors, 0), 36)
  const rollouts = droppedRollouts(run.state)
  // The first step had no principles to go without.
  assert.ok(rollouts.length > 0 && rollouts.length <= 24, String(rollouts.length))
  assert.ok(rollouts.some(({ shown }) => shown.length > 0))
  assert.ok(Array.isArray(principleEffects(rollouts)))
  const cost = makeCost()
  for (const commit of inOrder(run)) cost.add(commit)
  const rows = cost.rows()
  assert.is(rows.find(({ kind, purpose, step }) => kind === "judgement" && purpose === "training" && step === 1)?.jobs, 12)
  assert.ok(rows.some(({ purpose }) => purpose === "gate") && rows.some(({ purpose }) => purpose === "guard"))
  assert.ok(rows.some(({ kind, promptTokens }) => kind === "reflection" && promptTokens > 0))
  const status = statusOf(run.state, address, undefined)
  assert.is(status.stage, "finished")
  // What the run takes is told by the share of questions that came out both ways, once there is one.
  const asked = run.state.steps.flatMap(({ attempts }) => attempts)
  const mixed = asked.filter(({ verdicts }) => verdicts.includes("c") && verdicts.includes("i")).length
  assert.is(status.mixedShare, mixed / asked.length)
  const learning = { ...run.state, parameters: { ...run.state.parameters!, reflector: "model" as const } }
  const calls = (share: number) => runBudget(learning.parameters, share).calls
  assert.is(statusOf(learning, address, undefined).expectedCalls, calls(mixed / asked.length))
  assert.ok(calls(0.6) > calls(0.3))
  const before = statusOf({ ...run.state, steps: [] }, address, undefined)
  assert.equal([before.mixedShare, before.expectedCalls], [undefined, run.state.expectedCalls])
})

test.run()
