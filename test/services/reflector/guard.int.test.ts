/** A guard test that errors make void: what failed is drawn anew a few times, and a run that ends void says what to do. */
import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { JobResult } from "#services/reflector/protocol"
import type { RunJob } from "#services/reflector/stages"
import { effect } from "#test/support/effect"
import { faults } from "#test/support/scripted-model"
import { parameters, simulate } from "./simulation.ts"
import { finished, makeQuestion, openRun, questions, runRequest, stateOf, verification, withReflector } from "./stage.ts"

const test = suite("a void guard test")

/** Errors of the guard test's answers. @param fails by generation, draw and sample */
const failing = (fails: (generation: number, draw: number, sample: number) => boolean) => (job: RunJob): JobResult | undefined => {
  const [, generation, draw, sample] = /^g(\d+)_(\d+)_[0-9a-f]+_(\d+)$/.exec(job.key) ?? []
  return generation !== undefined && job.kind === "rollout" && fails(Number(generation), Number(draw), Number(sample))
    ? { kind: job.kind, key: job.key, status: "failed", data: null, checksum: `failed ${job.key}` }
    : undefined
}
const ofGuard = ({ commits }: ReturnType<typeof simulate>): ReadonlyArray<any> => commits.flatMap(({ events }) => events).filter(({ type }) => type.startsWith("Guard"))

test("the answers that failed are drawn anew, the others kept, and the test decides on both", () => {
  const whole = simulate(parameters())
  assert.equal(ofGuard(whole).map(({ type }) => type), ["GuardTested"])
  const some = simulate(parameters(), failing((generation, draw, sample) => generation === 0 && draw === 0 && sample === 1))
  const [voided, tested] = ofGuard(some)
  assert.equal([voided.type, voided.data.voids, tested.type, tested.data.counts.incumbentErrors], ["GuardVoided", 1, "GuardTested", 0])
  assert.ok(voided.data.again.length > 0 && voided.data.again.every(({ generation, samples }: any) => generation === 0 && samples.join() === "1"))
  const drawn = [...(some.results.get(4)?.keys() ?? [])].filter((key) => /^rollout\/g\d+_1_/.test(key))
  assert.is(drawn.length, voided.data.again.length)
  assert.is(tested.data.counts.candidateCorrect, ofGuard(whole)[0].data.counts.candidateCorrect)
  assert.equal(some.state.generations.map(({ hash }) => hash), whole.state.generations.map(({ hash }) => hash))
})

test("one that stays void ends after a few draws, recommends nothing, and says what to do", () => {
  const { state, ...run } = simulate(parameters(), failing((generation) => generation === 0))
  assert.equal(ofGuard({ state, ...run }).map(({ data, type }) => [type, data.voids ?? data.decision]), [["GuardVoided", 1], ["GuardVoided", 2], ["GuardTested", "void"]])
  assert.equal([state.phase._tag, state.recommended], ["Finished", 0])
  assert.match(state.reason ?? "", /drawn anew 2 times, so that nothing is known of generation \d+\. Mend what `metamem dead list` names/)
})

effect(test as never, "what a run that ended void was answered is not asked for again under another name, and its guard test is taken", () =>
  withReflector(({ model }) =>
    Effect.gen(function*() {
      const guard = new Set(Array.from({ length: 24 }, (_, at) => makeQuestion(91 + at).text))
      const questionIn = (prompt: string): string => /^Question: (.*)$/m.exec(prompt)?.[1] ?? ""
      const hard = new Set([...guard].filter((_, at) => at % 3 === 0))
      model.setFault(({ prompt, role }) => (role === "answer" && hard.has(questionIn(prompt)) ? faults.empty : undefined))
      const wanted = runRequest(questions(117), { steps: 3 })
      yield* openRun("a", wanted)
      yield* finished("a")
      const ended = yield* stateOf("a")
      assert.equal([ended.guardVoids, ended.guard?.decision, ended.recommended], [2, "void", 0])
      assert.match(ended.reason ?? "", /under another name with --run/)
      const { differing, extra, missing } = yield* verification("a")
      assert.equal({ differing, extra, missing }, { differing: [], extra: [], missing: [] })

      model.setFault(undefined)
      const before = model.requests.length
      yield* openRun("b", wanted)
      yield* finished("b")
      const again = yield* stateOf("b")
      assert.equal([again.guardVoids, again.guard?.decision === "void", again.generations.map(({ hash }) => hash)], [0, false, ended.generations.map(({ hash }) => hash)])
      const asked = model.requests.slice(before)
      assert.equal([...new Set(asked.filter(({ prompt, role }) => role === "answer" && !guard.has(questionIn(prompt))))], [])
      assert.ok(asked.length < before / 10, `${asked.length} after ${before}`)
    }), { settings: { METAMEM_JUDGE: "lexical" } }), 120_000)

test.run()
