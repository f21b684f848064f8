/**
 * Whole runs in the learnable world, by the reflector's own decisions and without a server, and two gates of another kind beside them. As a
 * program it prints what each ends with: `node test/services/reflector/learning.ts KIND SEEDS [likely|proven|always|whole-list|not-worse]`.
 */
import { Result } from "effect"
import type { Principle } from "#shared/domain/principle"
import { chooseBatch, type Tried } from "#shared/metamemory/batch"
import { applyOperations } from "#shared/metamemory/operations"
import { likelyThreshold } from "#shared/metamemory/gate"
import { ruleConsolidation } from "#shared/metamemory/rules"
import { meanDifference } from "#shared/metamemory/statistics"
import { behaviour } from "#services/reflector/behaviour"
import { checked, forbiddenIn } from "#services/reflector/checks"
import { algorithmVersion, presets, type RunParameters, type RunQuestion } from "#services/reflector/parameters"
import type { JobResult, RunCommand } from "#services/reflector/protocol"
import { plannedJobs, resultKey, type RunJob, stageCommand } from "#services/reflector/stages"
import { type Kind, kinds, makeWorld, type World, type WorldQuestion } from "./learnable-world.ts"

/** Accuracies over the test questions: with nothing, at best, under the last generation and the one recommended; answers the run asked for. */
export interface Learnt {
  readonly start: number
  readonly optimum: number
  readonly last: number
  readonly recommended: number
  readonly isEmpty: boolean
  /** Under the generation that did best on validation questions, three samples each: what choosing afterwards gives. */
  readonly chosen: number
  readonly answers: number
}

const address = { tenant: "t", run: "r" }
const nothing = forbiddenIn([], [], [])
const spent = { promptTokens: 0, completionTokens: 0, reused: 0, calls: [] }
const validated = 120

const known = ({ abstention, cluster, id, type }: WorldQuestion): RunQuestion => ({ id, user: id, hash: "h", type, abstention, cluster, questionClass: type })
const listed = (questions: ReadonlyArray<WorldQuestion>): RunParameters["train"] => {
  const [first, ...more] = questions.map(known)
  if (first === undefined) throw new RangeError("a part needs a question")
  return [first, ...more]
}

/** What the workers give back for a job of the world. */
const dataOf = (world: World, job: RunJob): unknown => {
  switch (job.kind) {
    case "reflection":
      return { by: "world", lesson: "", scope: "all", ...spent }
    case "proposal": {
      const { attempts, ledger, principles, question } = job.input
      const asked = world.question(question.id)
      const operations = world.propose(asked, attempts.map(({ key }) => world.lesson(asked, job.step, key)), [...principles, ...ledger], job.step)
      return { by: "world", ...checked(operations, principles, ledger, nothing), ...spent }
    }
    case "consolidation":
      return { by: "world", operations: ruleConsolidation(job.input.proposals, job.input.limit).map(({ operation, sources }) => ({ operation, sources })), discarded: {}, ...spent }
    default:
      return {}
  }
}

/** A run of the metamem preset with smaller batches. */
export const learn = (seed: number, kind: Kind, changed: Partial<RunParameters> = {}): Learnt => {
  const world = makeWorld(seed, kind)
  const parameters: RunParameters = {
    ...presets.metamem, datasetHash: "d", seed, batch: 12, anyway: true,
    train: listed(world.train), validation: listed(world.held.slice(0, validated)), guard: listed(world.held.slice(validated)), test: [],
    algorithm: algorithmVersion, judge: "model", reflector: "model", models: { answer: "world" }, templates: {}, memoryPosition: 0,
    ...changed
  }
  let state = behaviour.initial()
  let [sequence, answers] = [0, 0]
  const commit = (command: RunCommand): void => {
    sequence++
    for (const event of Result.getOrThrow(behaviour.decide(state, command))) state = behaviour.evolve(state, event, { id: "", sequence, cause: "", inputThrough: 0, binary: new Uint8Array(0) })
  }
  for (let command: RunCommand | undefined = { _tag: "OpenRun", parameters }; command !== undefined;) {
    commit(command)
    const results = new Map<string, JobResult>()
    const settle = (kind: string, key: string, data: unknown): unknown => results.set(resultKey(kind, key), { kind, key, status: "done", data, checksum: "" })
    for (const job of plannedJobs(state, address)) {
      if (job.kind !== "rollout") {
        settle(job.kind, job.key, dataOf(world, job))
        continue
      }
      answers++
      const { draw, principles, purpose, question, sample } = job.input
      settle("rollout", job.key, { callKey: "c" })
      const isRight = world.isJudgedRight(world.question(question.id), principles.map(({ text }) => text), purpose, draw, sample)
      settle("judgement", job.key, { verdict: isRight ? "correct" : "incorrect" })
    }
    command = stageCommand(state, results)
  }
  const principlesOf = (generation: number): ReadonlyArray<Principle> => state.generations.find(({ number }) => number === generation)?.principles ?? []
  const recommended = principlesOf(state.recommended ?? 0)
  const validation = world.held.slice(0, validated)
  const seen = state.generations.map(({ number, principles }) => ({
    principles,
    right: validation.flatMap((question) => [0, 1, 2].map((sample) => world.isJudgedRight(question, world.shownTo(question, principles), "choice", number, sample))).filter(Boolean).length
  }))
  const best = seen.reduce((one, other) => (other.right > one.right ? other : one))
  return { start: world.accuracy([]), optimum: world.optimum(), last: world.accuracy(state.trials.principles), recommended: world.accuracy(recommended), isEmpty: recommended.length === 0, chosen: world.accuracy(best.principles), answers }
}

/**
 * The usual gate for comparison: a step's operations stand or fall together, by one paired test over all validation questions, three samples each.
 * `whole-list` asks .84 standard errors, and draws the incumbent's answers anew; `not-worse` takes whatever does not lose, and keeps the winner's answers. No guard test.
 */
export const learnWhole = (seed: number, kind: Kind, policy: "whole-list" | "not-worse"): Learnt => {
  const world = makeWorld(seed, kind)
  const validation = world.held.slice(0, validated)
  let principles: ReadonlyArray<Principle> = []
  let [generation, answers] = [0, 0]
  const history: Array<Tried> = []
  const shareRight = (question: WorldQuestion, texts: ReadonlyArray<string>, samples: number, ...key: ReadonlyArray<string | number>): number => {
    answers += samples
    return Array.from({ length: samples }, (_, sample) => world.isJudgedRight(question, texts, ...key, sample)).filter(Boolean).length / samples
  }
  const asShown = (question: WorldQuestion, list: ReadonlyArray<Principle>): string => JSON.stringify(world.shownTo(question, list))
  let incumbent = new Map(validation.map((question) => [question.id, shareRight(question, [], 3, "incumbent", 0)]))
  for (let step = 1; step <= presets.metamem.steps; step++) {
    const batch = chooseBatch({ runSeed: String(seed), step, size: 12, questions: world.train.map(({ id }) => id), history })
    const proposals = batch.questions.flatMap((id, at) => {
      const question = world.question(id)
      const mean = shareRight(question, world.shownTo(question, principles), 5, "training", step)
      history.push({ step, question: id, mean, fresh: at >= batch.repeated })
      if (mean === 0 || mean === 1) return []
      return world.propose(question, Array.from({ length: 5 }, (_, sample) => world.lesson(question, step, sample)), principles, step).map((operation) => ({ operation, sources: [id] }))
    })
    const operations = ruleConsolidation(proposals, presets.metamem.operationsPerStep).map(({ operation }) => operation)
    const next = applyOperations(principles, operations, { runSeed: String(seed), step, generation: generation + 1, maxInScope: presets.metamem.maxInScope }).principles
    const touched = validation.filter((question) => asShown(question, next) !== asShown(question, principles))
    if (touched.length === 0) continue
    const candidate = new Map([...incumbent, ...touched.map((question) => [question.id, shareRight(question, world.shownTo(question, next), 3, "candidate", step)] as const)])
    const { mean, standardError } = meanDifference(validation.map(({ id }) => ({ value: (candidate.get(id) ?? 0) - (incumbent.get(id) ?? 0), cluster: id })))
    if (policy === "not-worse" ? mean < 0 : mean <= 0 || mean < likelyThreshold * standardError) continue
    generation++
    principles = next
    incumbent = policy === "not-worse" ? candidate : new Map([...incumbent, ...touched.map((question) => [question.id, shareRight(question, world.shownTo(question, next), 3, "incumbent", generation)] as const)])
  }
  const last = world.accuracy(principles)
  return { start: world.accuracy([]), optimum: world.optimum(), last, recommended: last, isEmpty: principles.length === 0, chosen: last, answers }
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const lineOf = (name: string, all: ReadonlyArray<Learnt>): string => {
  const mean = (of: (one: Learnt) => number): number => all.reduce((sum, one) => sum + of(one), 0) / all.length
  const gap = mean(({ optimum, start }) => optimum - start)
  const below = (of: (one: Learnt) => number): string => percent(mean((one) => Number(of(one) < one.start - 0.01)))
  return [
    `${name}: ${all.length} seeds, start ${mean(({ start }) => start).toFixed(3)}, optimum ${mean(({ optimum }) => optimum).toFixed(3)}`,
    `last generation ${(mean(({ last, start }) => last - start) / gap).toFixed(3)} of the gap, ${below(({ last }) => last)} of seeds more than a point below the start`,
    `recommended ${(mean(({ recommended, start }) => recommended - start) / gap).toFixed(3)}, ${below(({ recommended }) => recommended)} below; something is recommended in ${percent(mean(({ isEmpty }) => Number(!isEmpty)))}`,
    `best by validation ${(mean(({ chosen, start }) => chosen - start) / gap).toFixed(3)}`,
    `${Math.round(mean(({ answers }) => answers))} answers`
  ].join("; ")
}

if (import.meta.main) {
  const [kind = "", seeds = "20", policy = "likely"] = process.argv.slice(2)
  const found = kinds.find((one) => one === kind)
  if (found === undefined) throw new Error(`the first argument is one of ${kinds.join(", ")}`)
  const of = (seed: number): Learnt =>
    policy === "whole-list" || policy === "not-worse" ? learnWhole(seed, found, policy) : learn(seed, found, { gate: policy === "always" ? "always" : policy === "proven" ? "proven" : "likely" })
  process.stdout.write(`${lineOf(`${found}, ${policy}`, Array.from({ length: Number(seeds) }, (_, at) => of(at + 1)))}\n`)
}
