/**
 * `eval_results.json` of the published system: how generations did on questions that nothing was learnt from. A run's reports on its announced
 * test questions, answered once at temperature 0, are that; where there are none, its guard test stands in for it, and the file says so.
 */
import { isErasedOutcome } from "#shared/actor/jobs"
import type { Principle } from "#shared/domain/principle"
import type { ReferenceEvaluation } from "#services/reflector/run-events"
import { guardStep, questionHash } from "#services/reflector/stages"
import type { RunResult, RunState } from "./runs.ts"
import { share } from "./shown.ts"

/** Principles as the published system numbers them. */
export const numbered = (principles: ReadonlyArray<Pick<Principle, "text">>): Readonly<Record<string, string>> => Object.fromEntries(principles.map(({ text }, at) => [`M${at}`, text]))

/** How one answer came out. */
interface Came {
  readonly type: string
  readonly letter: "c" | "i" | "e"
}

const accuracyOf = (some: ReadonlyArray<Came>): number => share(some.filter(({ letter }) => letter === "c").length, some.filter(({ letter }) => letter !== "e").length)

const resultsOf = (answers: ReadonlyArray<Came>, principles: ReadonlyArray<Principle>): ReferenceEvaluation["steps"][string]["results"] => ({
  total: answers.length,
  correct: answers.filter(({ letter }) => letter === "c").length,
  errors: answers.filter(({ letter }) => letter === "e").length,
  accuracy: accuracyOf(answers),
  task_accuracy: Object.fromEntries([...Map.groupBy(answers, ({ type }) => type)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([type, some]) => [type, accuracyOf(some)])),
  num_meta_memories: principles.length
})

/** One generation's answers, and those of generation 0 to the same questions. */
interface Evaluated {
  readonly generation: number
  readonly questions: number
  readonly tested: ReadonlyArray<Came>
  readonly empty: ReadonlyArray<Came>
}

/** The widest reported look at each generation, the later of two as wide. */
const testedLooks = ({ questions, tests }: RunState): ReadonlyArray<Evaluated> => {
  const widest = new Map<number, RunState["tests"][number]>()
  for (const look of tests) if (look.report !== undefined && look.questions.length >= (widest.get(look.generation)?.questions.length ?? 0)) widest.set(look.generation, look)
  return [...widest.values()].map(({ generation, questions: asked, report }) => {
    const side = (of: "empty" | "tested") => (report?.outcomes ?? []).map((outcome): Came => ({ type: questions.get(outcome.question)?.type ?? "", letter: outcome[of] }))
    return { generation, questions: asked.length, tested: side("tested"), empty: side("empty") }
  })
}

/** Keys of guard answers: arm and generation, draw, question, sample. */
const guardKey = /^g(\d+)_(\d+)_([0-9a-f]{16})_(\d+)$/

/** The guard test: of an answer that was drawn anew the last draw counts, and nothing that an erased user was asked. */
const guardTested = (state: RunState, results: ReadonlyArray<RunResult>): ReadonlyArray<Evaluated> => {
  const { guard, parameters } = state
  if (guard === undefined || parameters === undefined) return []
  const typeOf = new Map(parameters.guard.map(({ id, type }) => [questionHash(id), type]))
  const settled = new Map(results.filter(({ address }) => address.step === guardStep(state)).map(({ address, settled }) => [`${address.kind}/${address.key}`, settled]))
  const last = new Map<string, { readonly draw: number; readonly generation: number; readonly hash: string; readonly key: string }>()
  for (const name of settled.keys()) {
    const [, generation = "", draw = "", hash = "", sample = ""] = guardKey.exec(name.replace(/^rollout\//, "")) ?? []
    const place = `${generation} ${hash} ${sample}`
    if (hash !== "" && Number(draw) >= (last.get(place)?.draw ?? 0)) last.set(place, { draw: Number(draw), generation: Number(generation), hash, key: name.replace(/^rollout\//, "") })
  }
  const side = (of: number) =>
    [...last.values()].filter(({ generation }) => generation === of).flatMap(({ hash, key }): ReadonlyArray<Came> => {
      const both = [settled.get(`rollout/${key}`), settled.get(`judgement/${key}`)]
      if (both.some((one) => one?.status === "failed" && isErasedOutcome(one.data))) return []
      const { verdict } = (both[1]?.status === "done" ? both[1].data : {}) as { readonly verdict?: string }
      return [{ type: typeOf.get(hash) ?? "", letter: verdict === "correct" ? "c" : verdict === "incorrect" ? "i" : "e" }]
    })
  return [{ generation: guard.generation, questions: new Set([...last.values()].map(({ hash }) => hash)).size, tested: side(guard.generation), empty: side(0) }]
}

/** A run's evaluation as the published system writes it. */
export const referenceEvaluation = (run: string, state: RunState, results: ReadonlyArray<RunResult>): ReferenceEvaluation => {
  const looks = testedLooks(state)
  const found = looks.length > 0 ? looks : guardTested(state, results)
  const widest = found.toSorted((a, b) => b.questions - a.questions)[0]
  const { gateTemperature, guardSamples } = state.parameters ?? {}
  return {
    experiment_dir: run,
    test_dataset_size: widest?.questions ?? 0,
    evaluated_on: looks.length > 0
      ? "announced test questions, each answered once at temperature 0"
      : widest !== undefined
        ? `the run's guard questions that both generations answer differently, each answered ${guardSamples} times at temperature ${gateTemperature}; no announced test question was looked at`
        : "nothing",
    steps: Object.fromEntries(found.filter(({ generation }) => generation > 0).toSorted((a, b) => a.generation - b.generation).map(({ generation, tested }) => {
      const { principles, step } = state.generations.find(({ number }) => number === generation) ?? { principles: [], step: 0 }
      const folder = `step_${step}`
      return [folder, { step_num: step, meta_memories_path: `${folder}/meta_memories.json`, meta_memories: numbered(principles), results: resultsOf(tested, principles) }]
    })),
    ...(widest === undefined ? {} : { baseline: resultsOf(widest.empty, state.generations[0]?.principles ?? []) })
  }
}
