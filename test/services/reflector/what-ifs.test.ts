import { Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { WhatIfOutcome } from "#shared/metamemory/what-if"
import { behaviour } from "#services/reflector/behaviour"
import type { WhatIfFound } from "#services/reflector/protocol"
import type { RunState } from "#services/reflector/state"
import { whatIfsAsking } from "#services/reflector/what-ifs"
import { parameters, simulate } from "./simulation.ts"

const test = suite("what-ifs in a run's log")

const place = { id: "", sequence: 5, cause: "", inputThrough: 0, binary: new Uint8Array(0) }
const run = () => simulate(parameters({ steps: 2 })).state
/** Decides and folds; gives what was recorded. */
const given = (state: RunState, found: WhatIfFound) => {
  const events = Result.getOrThrow(behaviour.decide(state, { _tag: "RecordWhatIf", found }))
  for (const event of events) behaviour.evolve(state, event, place)
  return events
}
const refusal = (state: RunState, found: WhatIfFound) => Result.getOrThrow(Result.flip(behaviour.decide(state, { _tag: "RecordWhatIf", found }))).message

/** Before, after and placebo of each question. */
const outcomes = (...letters: ReadonlyArray<string>): ReadonlyArray<WhatIfOutcome> =>
  letters.map((arms, at) => {
    const [before = "", after = "", placebo = ""] = arms.split(" ")
    return { question: `v${at}`, before, after, placebo }
  })
const players = { reader: "reader", judge: "lexical" }
const found = (changed: Partial<WhatIfFound> = {}): WhatIfFound => ({
  generation: 1, change: { kind: "drop", principle: "P1" }, principles: [], samples: 2, by: { before: players, after: players },
  outcomes: outcomes("cc ci cc", "ic ii ii"), answers: "digest", reused: { answers: 4, ofAnswers: 12 },
  paid: { calls: 8, answers: 8, judgements: 0, promptTokens: 100, completionTokens: 10 }, ...changed
})

test("the first is number one, the same again is no further one, and anything else is the next", () => {
  const state = run()
  const before = { phase: state.phase, digest: state.digest, recommended: state.recommended }
  const [event] = given(state, found({ outcomes: found().outcomes.toReversed() }))
  assert.ok(event?._tag === "WhatIfAnswered")
  assert.equal([event.number, event.difference?.mean, event.placebo.mean, event.outcomes.map(({ question }) => question)], [1, -0.5, -0.25, ["v0", "v1"]])
  // Of two dozen validation questions, two were asked.
  assert.ok(Math.abs((event.overall?.mean ?? 0) + 1 / 24) < 1e-12)
  assert.equal(given(state, found()), [])
  const others = [{ samples: 1, outcomes: outcomes("c c c") }, { generation: 0 }, { answers: "other answers" }, { change: { kind: "pin", principle: "P1" } }] as const
  assert.equal(others.map((other) => given(state, found(other)).map((event) => "number" in event && event.number)), [[2], [3], [4], [5]])
  assert.equal(whatIfsAsking(state, found()).map(({ number }) => number), [1, 4])
  assert.equal({ phase: state.phase, digest: state.digest, recommended: state.recommended }, before, "the run is as if nobody had asked")
})

test("another judge's verdicts are compared by agreement alone", () => {
  const [event] = given(run(), found({ change: { kind: "judge", judge: "model" } }))
  assert.ok(event?._tag === "WhatIfAnswered")
  assert.equal([event.difference, event.overall, event.agreement?.bothRight, event.agreement?.beforeOnly], [undefined, undefined, 1, 2])
})

test("verdicts of another model that judges are a what-if of their own, and make no error of the first good", () => {
  const state = run()
  const judgedBy = (judge: string, ...letters: ReadonlyArray<string>) => found({ change: { kind: "judge", judge: "model" }, by: { before: players, after: { ...players, judge } }, outcomes: outcomes(...letters) })
  given(state, judgedBy("first", "cc ce cc", "ic ii ii"))
  const [event] = given(state, judgedBy("second", "cc cc cc", "ic ii ii"))
  assert.ok(event?._tag === "WhatIfAnswered")
  assert.equal([event.number, event.by.after.judge, event.agreement?.bothRight], [2, "second", 2])
  assert.is(state.whatIfs[0]?.outcomes[0]?.after, "ce")
  assert.equal([undefined, "first", "second", "third"].map((judge) => whatIfsAsking(state, judgedBy(""), judge).map(({ number }) => number)), [[1, 2], [1], [2], []])
})

test("it stands, but for errors that are made good; what it took adds up", () => {
  const state = run()
  given(state, found({ outcomes: outcomes("ce ci cc", "ic ii ei") }))
  assert.equal(given(state, found({ outcomes: outcomes("ie ci cc", "ic ii ei") })), [], "no error less")
  const paid = { calls: 2, answers: 1, judgements: 1, promptTokens: 7, completionTokens: 1 }
  const [event] = given(state, found({ outcomes: outcomes("ic ii ii", "cc cc ci"), reused: { answers: 11, ofAnswers: 12 }, paid }))
  assert.ok(event?._tag === "WhatIfAnswered")
  // What came out the first time is kept; only the errors are filled in.
  assert.equal([event.number, event.outcomes], [1, outcomes("cc ci cc", "ic ii ci")])
  assert.equal([state.whatIfs.length, state.whatIfs[0]?.paid.calls, state.whatIfs[0]?.paid.promptTokens, state.whatIfs[0]?.reused.answers], [1, 10, 107, 4])
  assert.equal(given(state, found()), [])
})

test("what the run does not have is refused", () => {
  const state = run()
  for (
    const [changed, message] of [
      [{ generation: 99 }, /no 99/],
      [{ outcomes: [] }, /validation questions of the run/],
      [{ outcomes: outcomes("cc cc cc").map((one) => ({ ...one, question: "t0" })) }, /validation questions of the run/],
      [{ outcomes: [...outcomes("cc cc cc"), ...outcomes("cc cc cc")] }, /each once/],
      [{ outcomes: outcomes("cc cc c") }, /2 answers before, after and as placebo/]
    ] as const
  ) assert.match(refusal(state, found(changed)), message)
  assert.equal(behaviour.decide(behaviour.initial(), { _tag: "RecordWhatIf", found: found() })._tag, "Failure")
})

test.run()
