/** Looks at the test split: each is recorded before anything is answered, and the same one again is no further look. */
import { Result } from "effect"
import { pairedTest, type TestOutcome } from "#shared/metamemory/paired-test"
import { type RunCommand, TestRefused } from "./protocol.ts"
import type { RunEvent } from "./run-events.ts"
import type { RunState, TestLook } from "./state.ts"

type Opening = Pick<Extract<RunCommand, { readonly _tag: "OpenTest" }>, "generation" | "questions">
type Decision = Result.Result<ReadonlyArray<RunEvent>, TestRefused>

const refuse = (message: string): Decision => Result.fail(new TestRefused({ message }))

/** The questions in the order announced, each once. */
const announced = (state: RunState, questions: ReadonlyArray<string>): ReadonlyArray<string> => {
  const wanted = new Set(questions)
  return (state.parameters?.test ?? []).map(({ id }) => id).filter((id) => wanted.has(id))
}

/** The look at this generation on these questions, when there was one. */
export const lookFor = (state: RunState, { generation, questions }: Opening): TestLook | undefined => {
  const wanted = JSON.stringify(announced(state, questions))
  return state.tests.find((look) => look.generation === generation && JSON.stringify(look.questions) === wanted)
}

export const openTest = (state: RunState, { generation, memoryPosition, questions }: Extract<RunCommand, { readonly _tag: "OpenTest" }>): Decision => {
  const found = announced(state, questions)
  const strangers = new Set(questions).size - found.length
  if (found.length === 0 || strangers > 0) {
    return refuse(`${strangers} of these questions were not announced for the run's test; \`metamem train --test FILE\` announces them before anything is learnt`)
  }
  if (!state.generations.some(({ number }) => number === generation)) return refuse(`the run has generations 0 to ${state.generations.length - 1}, and no ${generation}`)
  if (lookFor(state, { generation, questions }) !== undefined) return Result.succeed([])
  return Result.succeed([{ _tag: "TestOpened", look: state.tests.length + 1, generation, questions: found, memoryPosition }])
}

export const reportTest = (state: RunState, { look, outcomes }: Extract<RunCommand, { readonly _tag: "ReportTest" }>): Decision => {
  const opened = state.tests.find((one) => one.look === look)
  if (opened === undefined) return refuse(`no look ${look} at the test split was opened; it is recorded before anything is answered`)
  const byQuestion = new Map(outcomes.map((outcome) => [outcome.question, outcome]))
  const standing = new Map(opened.report?.outcomes.map((outcome) => [outcome.question, outcome]))
  // Only errors may be made good: how an answer came out first stands.
  const kept = (before: TestOutcome["empty"] | undefined, now: TestOutcome["empty"]) => (before === undefined || before === "e" ? now : before)
  const own = opened.questions.flatMap((question) => {
    const outcome = byQuestion.get(question)
    const before = standing.get(question)
    return outcome === undefined ? [] : [{ question, empty: kept(before?.empty, outcome.empty), tested: kept(before?.tested, outcome.tested) }]
  })
  if (own.length !== opened.questions.length || own.length !== outcomes.length) return refuse(`look ${look} is at ${opened.questions.length} questions, and its report must be of just these`)
  const figures = pairedTest(own.map((outcome) => ({ ...outcome, cluster: state.questions.get(outcome.question)?.cluster ?? outcome.question })), `look ${look}`)
  if (opened.report !== undefined && figures.counts.errors >= opened.report.counts.errors) return Result.succeed([])
  return Result.succeed([{ _tag: "TestReported", look, generation: opened.generation, outcomes: own, ...figures }])
}
