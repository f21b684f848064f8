import { Effect, Exit, Schema } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { policyNames } from "#services/cli/bench/commands"
import { learnAsWhole, type Settle } from "#services/cli/bench/evolve-whole-list"
import { algorithmVersion, presets, type RunParameters, RunRequest, type RunQuestion } from "#services/reflector/parameters"
import type { JobResult } from "#services/reflector/protocol"
import { expectedJobs, resultKey, type RunJob, stageStep } from "#services/reflector/stages"
import { effect } from "#test/support/effect"

const test = suite("a gate for whole lists")

const address = { tenant: "t", run: "r" }
const question = (name: string) => (_: unknown, at: number): RunQuestion => ({ id: `${name}${at}`, user: `u-${name}${at}`, hash: "h", type: "x", abstention: false, cluster: `${name}${at}`, questionClass: "single-fact" })
const validated = 12
const parametersFor = (steps: number): RunParameters => ({
  ...presets.metamem, datasetHash: "d", seed: 1, steps, batch: 2, samples: 2, patience: 0, anyway: true,
  train: [question("t")(0, 0), question("t")(0, 1)], validation: [question("v")(0, 0), ...Array.from({ length: validated - 1 }, (_, at) => question("v")(0, at + 1))], guard: [], test: [],
  algorithm: algorithmVersion, judge: "model", reflector: "model", models: {}, templates: {}, memoryPosition: 0
})

/** Validation questions answered rightly, by what they are shown, or by that and the arm; with any other list, six. */
const right: Readonly<Record<string, ReadonlyArray<number>>> = {
  "Helps.": [0, 1, 2, 3, 4, 5, 6, 7, 8],
  "Harms.": [0, 1, 2],
  "Hardly helps.": [0, 1, 2, 3, 6, 7, 8],
  "Helps. Helps too.": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  "Helps. Helps too. Harms.": [0, 1, 2, 3, 4, 5, 6, 7, 8],
  "By luck./whole": [0, 1, 2, 3, 4, 5, 6, 7, 8],
  "By luck. Helps.": [0, 1, 2, 3, 4, 5, 6, 7, 8]
}
const usual = [0, 1, 2, 3, 4, 5]
const spent = { promptTokens: 0, completionTokens: 0, reused: 0, calls: [] }

/** A world where each step proposes the texts named; keeps every attempt of the gate. */
const world = (proposed: ReadonlyArray<ReadonlyArray<string>>) => {
  const asked: Array<Extract<RunJob, { readonly kind: "rollout" }>> = []
  const resultsOf = new Map<number, Map<string, JobResult>>()
  const textsOf = ({ input }: (typeof asked)[number]): string => input.principles.map(({ text }) => text).join(" ")
  const dataOf = (job: RunJob): unknown => {
    switch (job.kind) {
      case "rollout":
        if (job.input.purpose === "gate") asked.push(job)
        return { callKey: `${textsOf(job)}/${job.key.split("_")[0]}/${job.input.sample}` }
      case "judgement": {
        const { question: { id }, callKey, sample: { purpose } } = job.input
        const [texts = "", arm, sample] = callKey.split("/")
        const isRight = purpose === "rollout" ? sample === "0" : (right[`${texts}/${arm}`] ?? right[texts] ?? usual).includes(Number(id.slice(1)))
        return { verdict: isRight ? "correct" : "incorrect" }
      }
      case "reflection":
        return { by: "world", scope: "all", ...spent }
      case "proposal":
        return { by: "world", operations: (proposed[job.step - 1] ?? []).map((content) => ({ operation: "add", content, scope: "all" })), discarded: {}, ...spent }
      case "consolidation":
        return { by: "world", operations: job.input.proposals.slice(0, proposed[job.step - 1]?.length ?? 0), discarded: {}, ...spent }
    }
  }
  const settle: Settle<never, never> = (state, planned) =>
    Effect.sync(() => {
      const results = resultsOf.get(stageStep(state)) ?? new Map<string, JobResult>()
      resultsOf.set(stageStep(state), results)
      for (let open = planned; open.length > 0; open = expectedJobs(state, address, results, planned).filter(({ key, kind }) => !results.has(resultKey(kind, key)))) {
        for (const job of open) results.set(resultKey(job.kind, job.key), { kind: job.kind, key: job.key, status: "done", data: dataOf(job), checksum: "" })
      }
      return results
    })
  return { settle, asked, textsOf }
}
const learnt = (proposed: ReadonlyArray<ReadonlyArray<string>>) =>
  Effect.gen(function*() {
    const { asked, settle, textsOf } = world(proposed)
    const lists = yield* learnAsWhole(parametersFor(proposed.length), address, settle)
    return { asked, textsOf, lists: lists.map((list) => list.map(({ text }) => text)) }
  })

effect(test, "a helpful operation is turned down with the harmful one it comes with, and accepted alone", () =>
  Effect.gen(function*() {
    assert.equal((yield* learnt([["Helps.", "Harms."]])).lists, [[]])
    assert.equal((yield* learnt([["Helps.", "Harms."], ["Helps."], ["Helps too."]])).lists, [[], ["Helps."], ["Helps.", "Helps too."]])
  }))

effect(test, "better by less than .84 standard errors is not enough", () =>
  Effect.gen(function*() {
    assert.equal((yield* learnt([["Hardly helps."]])).lists, [[]])
  }))

effect(test, "each arm has three samples of every question, and an accepted list is drawn anew", () =>
  Effect.gen(function*() {
    const { asked, textsOf } = yield* learnt([["Helps."], ["Helps too."], ["Harms."], []])
    const draws = Map.groupBy(asked, (job) => `${textsOf(job)}/${job.input.draw}`)
    assert.equal([...draws].map(([name, jobs]) => [name.split("/")[0], jobs.length]), [
      ["", 36], ["Helps.", 36], ["Helps.", 36], ["Helps. Helps too.", 36], ["Helps. Helps too.", 36], ["Helps. Helps too. Harms.", 36]
    ])
    const samples = asked.map(({ input: { draw, question: { id }, sample } }) => `${draw}/${id}/${sample}`)
    assert.is(new Set(samples).size, samples.length, "the same sample of the same prompt would be the same reply")
  }))

effect(test, "what comes next is compared with the answers drawn anew, not with the lucky ones that won", () =>
  Effect.gen(function*() {
    assert.equal((yield* learnt([["By luck."], ["Helps."]])).lists, [[], ["By luck."], ["By luck.", "Helps."]])
  }))

effect(test, "it can be measured, and no run can be opened with it", () =>
  Effect.gen(function*() {
    assert.equal(policyNames("likely,whole-list"), ["likely", "whole-list"])
    const { gate } = RunRequest.fields
    assert.ok(Exit.isFailure(yield* Effect.exit(Schema.decodeUnknownEffect(gate)("whole-list"))))
  }))

test.run()
