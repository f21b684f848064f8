import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Principle } from "#shared/domain/principle"
import type { GatePolicy, GateQuestion, Tally } from "#shared/metamemory/gate"
import { uniform } from "#shared/metamemory/random"
import { inScope, routedClasses } from "#shared/metamemory/router"
import { type Ask, incumbentSamples, openTrials, trialLedger, type TrialsState } from "#shared/metamemory/trial"
import { nextRounds, type Round, roundCost, type Settled, settleRounds, submit, type Submitted } from "#shared/metamemory/trials"

const questions: ReadonlyArray<GateQuestion> = Array.from({ length: 120 }, (_, i) => ({
  id: `q${i}`, questionClass: routedClasses[i % 6]!, cluster: `c${Math.floor(i / 2)}`, abstention: i % 20 === 7
}))
const texts = { good: "List every mention before counting.", bad: "Skip the remaining memories.", plain: "Note who said it.", other: "Round figures for readability." }
const effects: Readonly<Record<string, number>> = { [texts.good]: 0.35, [texts.bad]: -0.3 }

/** A reader whose chance of a right answer is moved by the principles it is shown; the same ask gives the same tally. */
const tally = (principles: ReadonlyArray<Principle>, ask: Ask, arm: string): Tally => {
  const question = questions.find(({ id }) => id === ask.question)!
  const shown = principles.filter((p) => inScope(p, question.questionClass))
  const chance = 0.2 + 0.5 * uniform("base", ask.question) + shown.reduce((sum, p) => sum + (effects[p.text] ?? 0), 0)
  const outcomes = Array.from({ length: ask.to - ask.from }, (_, i) => uniform("answer", ask.question, ask.from + i, ask.draw, arm, shown.map((p) => p.text).join()) < chance)
  const correct = outcomes.filter(Boolean).length
  return { correct, incorrect: outcomes.length - correct, errors: 0 }
}
const answer = (state: TrialsState, round: Round) => ({
  trial: round.trial,
  incumbent: Object.fromEntries(round.incumbent.map((ask) => [ask.question, tally(state.principles, ask, "incumbent")])),
  candidate: Object.fromEntries(round.candidate.map((ask) => [ask.question, tally(round.principles, ask, "candidate")]))
})
const run = (start: TrialsState): { state: TrialsState; settled: ReadonlyArray<Settled>; rounds: number; answers: number } => {
  let state = start
  const settled: Array<Settled> = []
  let [rounds, answers] = [0, 0]
  for (let turn = 0; turn < 100; turn++) {
    const planned = nextRounds(state)
    if (planned.length === 0) break
    rounds += planned.length
    answers += planned.reduce((sum, round) => sum + roundCost(round), 0)
    const out = settleRounds(state, planned, planned.map((round) => answer(state, round)))
    state = out.state
    settled.push(...out.settled)
  }
  return { state, settled, rounds, answers }
}
const open = (policy: GatePolicy = "likely"): TrialsState => openTrials({ runSeed: "r", policy, reader: "m", questions })
const add = (content: string, scope: Principle["scope"], index = 0): Submitted => ({ operation: { operation: "add", content, scope }, index, origin: ["multi-evidence"] })
const submitted = (state: TrialsState, step: number, ...operations: ReadonlyArray<Submitted>): TrialsState => submit(state, step, operations).state

test("a good principle is accepted in its class, a bad one rejected early and kept in the ledger", () => {
  const { state, settled } = run(submitted(open(), 1, add(texts.good, "multi-evidence"), add(texts.bad, "multi-evidence", 1)))
  assert.equal(state.principles.map(({ text, scope }) => [text, scope]), [[texts.good, "multi-evidence"]])
  const bad = settled.find(({ trial }) => trial.operation.content === texts.bad)!
  assert.is(bad.trial.state, "rejected")
  assert.ok(bad.trial.looks < 3)
  assert.equal(trialLedger(state).map(({ text, outcome }) => [text, outcome]), [[texts.bad, "rejected"]])
})

test("texts stay as proposed, and ids come from step and place", () => {
  const { state, settled } = run(submitted(open(), 4, add(texts.good, "multi-evidence", 2)))
  assert.is(state.principles[0]!.text, texts.good)
  assert.match(state.principles[0]!.id, /^P4-3-/)
  assert.is(settled[0]!.applied!.id, settled[0]!.trial.id)
})

test("only questions in scope are asked, both arms at once, incumbents up to their full number", () => {
  const [round] = nextRounds(submitted(open(), 1, add(texts.good, "time")))
  const inTime = questions.filter(({ questionClass }) => questionClass === "time").map(({ id }) => id)
  assert.equal(round!.candidate.map(({ question }) => question), inTime)
  assert.ok(round!.incumbent.every(({ from, to }) => from === 0 && to === incumbentSamples))
})

test("classes are tried side by side, trials of one class one after another", () => {
  const state = submitted(open(), 1, add(texts.good, "time"), add(texts.plain, "time", 1), add(texts.other, "preference", 2))
  assert.equal(nextRounds(state).map(({ scope }) => scope), ["time", "preference"])
})

test("an acceptance throws the incumbent's answers of its scope away and draws anew", () => {
  const { state } = run(submitted(open(), 1, add(texts.good, "multi-evidence")))
  assert.is(state.draws["multi-evidence"], 1)
  assert.is(state.draws.time, undefined)
  const inScopeOfIt = questions.filter(({ questionClass }) => questionClass === "multi-evidence")
  assert.is(inScopeOfIt.length, 20)
  assert.equal(inScopeOfIt.filter(({ id }) => state.incumbent[id] !== undefined), [])
})

test("what is in force or was tried in nearly the same words is refused with the reason", () => {
  const { state } = run(submitted(open(), 1, add(texts.good, "multi-evidence"), add(texts.bad, "multi-evidence", 1)))
  const { refused } = submit(state, 2, [
    add("Before counting, list every mention.", "multi-evidence"),
    add("Skip remaining memories!", "multi-evidence", 1),
    add("Skip the remaining memories.", "time", 2),
    { operation: { operation: "delete", id: "P9" }, index: 3, origin: [] },
    add("", "time", 4)
  ])
  assert.equal(refused.map(({ refusal }) => refusal.reason), ["InForce", "TriedBefore", "UnknownId", "MissingContent"])
})

test("what runs before this one tried with the same reader is not tried again, and is shown", () => {
  const before = { id: "O9", step: 3, operation: "add", scope: "multi-evidence", text: texts.bad, outcome: "undecided", reader: "m" } as const
  const opened = (reader: string, policy: GatePolicy = "likely") => openTrials({ runSeed: "r", policy, reader, questions, earlier: [before] })
  const reasons = (state: TrialsState) => submit(state, 1, [add("Skip remaining memories!", "multi-evidence"), add(texts.good, "multi-evidence", 1)]).refused.map(({ refusal }) => refusal)
  assert.equal(reasons(opened("m")), [{ reason: "TriedBefore", id: "O9" }])
  assert.equal(reasons(opened("another")), [])
  assert.equal(reasons(opened("m", "always")), [], "where everything is accepted nothing was refused")
  assert.equal(trialLedger(opened("m")), [before])
  assert.equal(trialLedger(opened("another")), [])
})

test("an operation for all is tried where it comes from, and in the other classes once accepted there", () => {
  const first = submitted(open(), 1, add(texts.good, "all"))
  assert.equal(nextRounds(first).map(({ scope }) => scope), ["multi-evidence"])
  const { state } = run(submitted(run(first).state, 2))
  assert.ok(state.principles.length > 2)
  assert.is(new Set(state.principles.map(({ id }) => id)).size, state.principles.length)
  assert.ok(state.principles.every(({ text, scope }) => text === texts.good && scope !== "all"))
})

test("a class without enough validation questions is tried on all of them", () => {
  const few = openTrials({ runSeed: "r", policy: "likely", reader: "m", questions: questions.filter(({ questionClass }, i) => questionClass !== "time" || i < 8) })
  const [round] = nextRounds(submitted(few, 1, add(texts.good, "time")))
  assert.is(round!.scope, "all")
  assert.is(round!.candidate.length, few.questions.length)
})

test("a delete is put to the same gate", () => {
  const { state } = run(submitted(open(), 1, add(texts.good, "multi-evidence")))
  const id = state.principles[0]!.id
  const after = run(submitted(state, 2, { operation: { operation: "delete", id }, index: 0, origin: ["multi-evidence"] }))
  assert.is(after.settled[0]!.trial.state, "rejected")
  assert.is(after.state.principles.length, 1)
})

const held = (...list: ReadonlyArray<readonly [id: string, text: string, scope?: Principle["scope"]]>): TrialsState => ({
  ...open(), principles: list.map(([id, text, scope = "multi-evidence"]): Principle => ({ id, text, scope, bornIn: 1, parents: [`O-${id}`] }))
})
const merge = (content: string, ids: ReadonlyArray<string>, index = 0): Submitted => ({ operation: { operation: "merge", ids, content }, index, origin: ["time"] })

test("a merge is put to the gate of its principles' scope, whatever scope it comes from, and to no other", () => {
  const start = submitted(held(["P1", texts.plain], ["P2", "Mind the date.", "time"], ["P3", texts.other]), 2, merge(texts.good, ["P3", "P1"]))
  const [round] = nextRounds(start)
  assert.equal([round!.scope, round!.candidate.length, round!.principles.map(({ text }) => text)], ["multi-evidence", 20, [texts.good, "Mind the date."]])
  const { settled, state } = run(start)
  assert.equal(settled.map(({ applied, trial }) => [trial.state, applied?.operation, applied?.merged?.map(({ id }) => id)]), [["accepted", "merge", ["P1", "P3"]]])
  assert.equal(state.principles.map(({ id, text }) => [id, text]), [[settled[0]!.applied!.after!.id, texts.good], ["P2", "Mind the date."]])
  assert.equal([state.draws["multi-evidence"], state.draws.time, state.trials.length], [1, undefined, 1])
})

test("a merge that does not help is refused, and its principles are not tried as one again, in whatever words", () => {
  const { state } = run(submitted(held(["P1", texts.good], ["P2", texts.plain], ["P3", texts.other]), 2, merge(texts.bad, ["P1", "P2"])))
  assert.equal(state.principles.map(({ id }) => id), ["P1", "P2", "P3"])
  assert.equal(trialLedger(state).map(({ ids, operation, outcome }) => [operation, ids, outcome]), [["merge", ["P1", "P2"], "rejected"]])
  const { refused, state: again } = submit(state, 3, [merge("Other words for both.", ["[P2]", "P1"]), merge("Other words for both.", ["P1", "P3"], 1), add(texts.bad, "multi-evidence", 2), merge("Three.", ["P1", "P9"], 3)])
  assert.equal(refused.map(({ index, refusal }) => [index, refusal.reason]), [[0, "TriedBefore"], [3, "UnknownId"]])
  assert.is(again.trials.length, 3, "another merge, and the words by themselves, are other attempts")
  const later = openTrials({ runSeed: "s", policy: "likely", reader: "m", questions, earlier: trialLedger(state) })
  assert.equal(submit({ ...later, principles: state.principles }, 1, [merge("Other words for both.", ["P2", "P1"])]).refused.map(({ refusal }) => refusal.reason), ["TriedBefore"])
})

test("what is tried about principles that were merged away is obsolete, and so is a merge of one that left", () => {
  const update = (id: string, index: number): Submitted => ({ operation: { operation: "update", id, content: `Weigh ${id} twice.` }, index, origin: [] })
  const start = submitted({ ...held(["P1", texts.plain], ["P2", texts.other], ["P3", "Read on."]), policy: "always" }, 2, merge(texts.good, ["P1", "P2"]), update("P1", 1), update("P3", 2), merge("Read all.", ["P2", "P3"], 3))
  const { state } = run(start)
  assert.equal(state.trials.map(({ state }) => state === "obsolete"), [false, true, false, true])
  assert.is(state.trials[0]!.state, "accepted")
})

test("a step spends no more than its allowance and one round, and what is left over waits", () => {
  const many = Array.from({ length: 30 }, (_, i) => add(`Think of ${["trees", "rivers", "stones", "clouds", "birds", "roads"][i % 6]} ${"abcdefghij"[i % 10]}${"klmno"[i % 5]}q first.`, routedClasses[i % 6]!, i))
  const { state, answers } = run(submitted(open(), 1, ...many))
  assert.ok(answers <= 450 + 6 * (9 + 4) * 20, String(answers))
  assert.ok(state.trials.some((trial) => trial.state === "open"))
})

test("verdicts that are a coin's accept nothing", () => {
  let state = submitted(open(), 1, add(texts.good, "multi-evidence"), add(texts.plain, "time", 1), add(texts.other, "preference", 2))
  const accepted: Array<Settled> = []
  for (let turn = 0; turn < 50; turn++) {
    const rounds = nextRounds(state)
    if (rounds.length === 0) break
    const coin = (asks: ReadonlyArray<Ask>, arm: string) =>
      Object.fromEntries(asks.map(({ question, from, to }) => {
        const correct = Array.from({ length: to - from }, (_, i) => uniform("coin", arm, question, from + i) < 0.5).filter(Boolean).length
        return [question, { correct, incorrect: to - from - correct, errors: 0 }]
      }))
    const out = settleRounds(state, rounds, rounds.map((round) => ({ trial: round.trial, incumbent: coin(round.incumbent, "i"), candidate: coin(round.candidate, round.trial) })))
    state = out.state
    accepted.push(...out.settled.filter(({ trial }) => trial.state === "accepted"))
  }
  assert.equal(accepted, [])
})

test("a round with too many errors decides nothing, is asked again, and is given up after the third", () => {
  let state = submitted(open(), 1, add(texts.good, "multi-evidence"))
  const states: Array<string> = []
  for (let turn = 0; turn < 5; turn++) {
    const rounds = nextRounds(state)
    if (rounds.length === 0) break
    const failing = rounds.map((round) => ({ trial: round.trial, incumbent: answer(state, round).incumbent, candidate: Object.fromEntries(round.candidate.map(({ question, from, to }) => [question, { correct: 0, incorrect: 0, errors: to - from }])) }))
    const out = settleRounds(state, rounds, failing)
    state = out.state
    states.push(...out.settled.map(({ trial, decision }) => `${trial.state} ${decision.decision}`))
  }
  assert.equal(states, ["void void"])
  assert.equal(state.principles, [])
})

test("after a look that errors made void no answer is asked for or counted twice", () => {
  for (const voids of [1, 2]) {
    let state = submitted(open("proven"), 1, add(texts.good, "multi-evidence"))
    const seen = new Set<string>()
    for (let turn = 0; turn < 6; turn++) {
      const rounds = nextRounds((state = { ...state, allowance: 10_000 }))
      const [round] = rounds
      if (round === undefined) break
      for (const { draw, from, question, to } of round.candidate) for (let sample = from; sample < to; sample++) {
        assert.not.ok(seen.has(`${question} ${draw} ${sample}`), `${question} ${draw} ${sample} in turn ${turn}`)
        seen.add(`${question} ${draw} ${sample}`)
      }
      const { candidate, incumbent } = answer(state, round)
      const failing = Object.fromEntries(round.candidate.map(({ question, from, to }, at) => [question, at === 0 && turn < voids ? { correct: 0, incorrect: 0, errors: to - from } : candidate[question]!]))
      state = settleRounds(state, rounds, [{ trial: round.trial, incumbent, candidate: failing }]).state
    }
    assert.ok(seen.size > 0)
  }
})

test("errors of the incumbent make a look void, and not the trials after it; what was only void may be tried again", () => {
  const failing = (asks: ReadonlyArray<Ask>) => Object.fromEntries(asks.map(({ question, from, to }) => [question, { correct: 0, incorrect: 0, errors: to - from }]))
  let state = submitted(open(), 1, add(texts.good, "multi-evidence"))
  const first = nextRounds(state)
  state = settleRounds(state, first, first.map((round) => ({ trial: round.trial, incumbent: failing(round.incumbent), candidate: answer(state, round).candidate }))).state
  const [again] = nextRounds(state)
  assert.is(again!.incumbent.length, first[0]!.incumbent.length)
  assert.ok(again!.incumbent.every(({ draw, from }) => draw === first[0]!.incumbent[0]!.draw + 1 && from === 0))
  const after = run(state)
  assert.equal(after.settled.map(({ trial }) => trial.state), ["accepted"])

  let lost = submitted(open(), 1, add(texts.good, "multi-evidence"))
  for (let rounds = nextRounds(lost); rounds.length > 0; rounds = nextRounds(lost)) {
    lost = settleRounds(lost, rounds, rounds.map((round) => ({ trial: round.trial, incumbent: failing(round.incumbent), candidate: failing(round.candidate) }))).state
  }
  assert.equal(lost.trials.map((trial) => trial.state), ["void"])
  const proposedAgain = submit(lost, 2, [add(texts.good, "multi-evidence")])
  assert.equal(proposedAgain.refused, [])
  const decided = run(proposedAgain.state)
  assert.is(decided.settled.length, 1)
  assert.is.not(decided.settled[0]!.decision.decision, "void")
  assert.ok(Object.values(decided.state.incumbent).every(({ errors }) => errors === 0))
})

test("always accepts without asking, and proven does not accept before the last look", () => {
  const always = run(submitted(open("always"), 1, add(texts.bad, "time"), add(texts.good, "all", 1)))
  assert.equal(always.state.principles.map(({ scope }) => scope), ["time", "all"])
  assert.is(always.answers, 0)
  const proven = run(submitted(open("proven"), 1, add(texts.good, "multi-evidence")))
  assert.equal(proven.settled.map(({ trial }) => [trial.state, trial.looks]), [["accepted", 3]])
})

test("the fold survives being written down as JSON between any two rounds", () => {
  const direct = run(submitted(open(), 1, add(texts.good, "multi-evidence"), add(texts.plain, "time", 1)))
  let state = submitted(open(), 1, add(texts.good, "multi-evidence"), add(texts.plain, "time", 1))
  for (let turn = 0; turn < 50; turn++) {
    const rounds = nextRounds(state)
    if (rounds.length === 0) break
    state = JSON.parse(JSON.stringify(settleRounds(state, rounds, rounds.map((round) => answer(state, round))).state))
  }
  assert.equal(state, JSON.parse(JSON.stringify(direct.state)))
})

test.run()
