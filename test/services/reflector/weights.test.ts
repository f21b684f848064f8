import { suite } from "uvu"
import * as assert from "uvu/assert"
import { gateQuestions, type RunParameters, type RunQuestion } from "#services/reflector/parameters"
import type { JobResult } from "#services/reflector/protocol"
import type { RunJob } from "#services/reflector/stages"
import { parameters, question, simulate } from "./simulation.ts"

const test = suite("weights back to the natural mix")

const typed = (prefix: string, count: number, typeAt: (at: number) => string) => {
  const [first, ...more] = Array.from({ length: count }, (_, at): RunQuestion => ({ ...question(`${prefix}${at}`), type: typeAt(at) }))
  if (first === undefined) throw new RangeError("a part needs a question")
  return [first, ...more] as const
}

test("a question weighs as its type is rarer in the part than in the data; types the data has not weigh nothing", () => {
  const part = [...typed("a", 3, () => "rare"), ...typed("b", 1, () => "often"), { ...question("c"), type: "often", abstention: true }]
  const weights = (mix: Record<string, number> | undefined) => gateQuestions(part, mix).map(({ weight }) => weight)
  assert.equal(weights({ rare: 10, often: 80, "often (abstention)": 10 }).map((weight) => Math.round((weight ?? 0) * 1_000)), [167, 167, 167, 4_000, 500])
  assert.equal(weights({ rare: 5, often: 5 }).map((weight) => Math.round((weight ?? 0) * 1_000)), [833, 833, 833, 2_500, 0])
  assert.equal([weights(undefined), weights({})], [part.map(() => undefined), part.map(() => undefined)])
})

/** Half of the questions are of a type that is rare in the data. What is shown helps those for sure, and harms the others half the time. */
const helpsTheRare = () => {
  const shown = new Map<string, RunJob>()
  return (job: RunJob): JobResult | undefined => {
    if (job.kind === "rollout") shown.set(`${job.step}/${job.key}`, job)
    const rollout = shown.get(`${job.step}/${job.key}`)
    if (job.kind !== "judgement" || rollout?.kind !== "rollout" || rollout.input.purpose === "rollout") return undefined
    const { principles, question: { id }, sample } = rollout.input
    const isRare = Number(id.slice(1)) % 2 === 0
    const right = isRare ? principles.length > 0 : principles.length === 0 || sample % 2 === 0
    return { kind: job.kind, key: job.key, status: "done", data: { verdict: right ? "correct" : "incorrect" }, checksum: job.key }
  }
}

const run = (mix: RunParameters["mix"]) => {
  const part = (prefix: string, count: number) => typed(prefix, count, (at) => (at % 2 === 0 ? "rare" : "often"))
  const { state } = simulate(parameters({ steps: 2, validation: part("v", 20), guard: part("g", 12), ...(mix === undefined ? {} : { mix }) }), helpsTheRare())
  return { accepted: state.operations.filter(({ decision }) => decision === "accepted").length, recommended: state.recommended, generation: state.trials.generation }
}

test("what helps a rare type and harms a frequent one is accepted when all count alike, and not at the data's own mix", () => {
  const alike = run(undefined)
  assert.ok(alike.accepted > 0)
  assert.is(alike.recommended, alike.generation)
  assert.equal(run({ rare: 2, often: 38 }), { accepted: 0, recommended: 0, generation: 0 })
})

test("the guard test is weighted too: what the gate let pass is not recommended when it harms most questions", () => {
  // Only the guard's questions are half rare: validation has rare ones alone, and so cannot see the harm.
  const validation = typed("v", 20, () => "rare").map((one, at) => ({ ...one, id: `v${2 * at}` }))
  const [first, ...more] = validation
  if (first === undefined) throw new RangeError("a part needs a question")
  const guard = typed("g", 12, (at) => (at % 2 === 0 ? "rare" : "often"))
  const of = (mix: RunParameters["mix"]) => {
    const settle = helpsTheRare()
    // Every fourth validation question is always right, so that verdicts tell questions apart.
    return simulate(parameters({ steps: 2, validation: [first, ...more], guard, mix: mix ?? {} }), (job) => {
      const settled = settle(job)
      const isEasy = job.kind === "judgement" && /^v\d/.test(job.input.question.id) && Number(job.input.question.id.slice(1)) % 8 === 0
      return settled !== undefined && isEasy ? { ...settled, data: { verdict: "correct" } } : settled
    }).state
  }
  const [alike, weighted] = [of(undefined), of({ rare: 1, often: 30 })]
  assert.ok(alike.trials.generation > 0 && weighted.trials.generation > 0)
  assert.is(alike.recommended, alike.trials.generation)
  assert.is(weighted.recommended, 0)
})

test.run()
