/** Runs of evolution without a server: jobs are answered by a function of their key, everything else is the real thing. */
import { Effect, Result } from "effect"
import { emptyFold, type Folded } from "#shared/actor/entity"
import { digest, uniform } from "#shared/metamemory/random"
import { type Commit, commitId } from "#shared/eventlog/envelope"
import { questionClasses } from "#shared/domain/scope"
import { behaviour } from "#services/reflector/behaviour"
import { algorithmVersion, presets, type RunParameters, type RunQuestion } from "#services/reflector/parameters"
import type { JobResult, RunCommand } from "#services/reflector/protocol"
import { reflectorCodec } from "#services/reflector/run-events"
import { causeOf, expectedJobs, resultKey, type RunJob, stageCommand, stageStep } from "#services/reflector/stages"
import { foldRun } from "#services/reflector/analysis"
import type { RunState } from "#services/reflector/state"

export const address = { tenant: "t", run: "r" }

export const question = (id: string, at = 0): RunQuestion => ({
  id, user: `u-${id}`, hash: digest(id), type: "single-session-user", abstention: false, cluster: `c-${id}`, questionClass: questionClasses[at % 3] ?? "single-fact"
})

const list = (prefix: string, count: number) => {
  const [first, ...more] = Array.from({ length: count }, (_, at) => question(`${prefix}${at}`, at))
  if (first === undefined) throw new RangeError("a part needs a question")
  return [first, ...more] as const
}

export const parameters = (changed: Partial<RunParameters> = {}): RunParameters => ({
  ...presets.laptop,
  datasetHash: "d", seed: 7, steps: 3, batch: 6, anyway: true,
  train: list("t", 12), validation: list("v", 24), guard: list("g", 12), test: list("x", 2),
  algorithm: algorithmVersion, judge: "lexical", reflector: "rules",
  models: { answer: "reader" }, templates: { answer: "a" }, memoryPosition: 5,
  ...changed
})

export const helpful = "Look for the newest memory first."
export const useless = "Write in full sentences."

/** Chance of a right answer: the question's own, more where the helpful principle is shown. */
const isRight = (job: RunJob): boolean => {
  if (job.kind !== "rollout") return false
  const { draw, principles, purpose, question: { id }, sample } = job.input
  const chance = uniform("ease", id) * 0.8 + (principles.some(({ text }) => text === helpful) ? 0.5 : 0)
  return uniform("answer", purpose, draw, id, sample, JSON.stringify(principles.map(({ text }) => text))) < chance
}

export const spent = { promptTokens: 10, completionTokens: 2, reused: 0, calls: ["k"] }

/** What the workers would give back. */
export const answer = (job: RunJob, rolloutOf: (key: string) => RunJob | undefined): unknown => {
  switch (job.kind) {
    case "rollout":
      return { callKey: `${job.step}/${job.key}` }
    case "judgement": {
      const rollout = rolloutOf(job.key)
      return { verdict: rollout !== undefined && isRight(rollout) ? "correct" : "incorrect" }
    }
    case "reflection":
      return { by: "rule-based", lesson: "L", scope: "all", ...spent }
    case "proposal":
      return { by: "rule-based", operations: [{ operation: "add", content: uniform(job.key) < 0.5 ? helpful : useless, scope: "single-fact" }], discarded: {}, ...spent }
    case "consolidation": {
      const texts = new Map(job.input.proposals.map((proposal) => [proposal.operation.content, proposal]))
      return { by: "rule-based", operations: [...texts.values()], discarded: {}, ...spent }
    }
  }
}

export interface Simulated {
  readonly commits: ReadonlyArray<Commit>
  readonly state: RunState
  /** Results by step, as the log would hold them. */
  readonly results: ReadonlyMap<number, ReadonlyMap<string, JobResult>>
}

/** Runs to the end. @param settle changes what a job comes to; undefined = as answered */
export const simulate = (of: RunParameters, settle?: (job: RunJob) => JobResult | undefined, order: (jobs: ReadonlyArray<RunJob>) => ReadonlyArray<RunJob> = (jobs) => jobs): Simulated => {
  let folded: Folded<RunState> = emptyFold(behaviour.initial())
  const commits: Array<Commit> = []
  const results = new Map<number, Map<string, JobResult>>()
  const commit = (command: RunCommand): void => {
    const events = Result.getOrThrow(behaviour.decide(folded.state, command))
    if (events.length === 0) throw new Error(`${command._tag} added nothing`)
    const next: Commit = {
      id: commitId("s", causeOf(command)), subject: "s", sequence: commits.length + 1, time: "", cause: causeOf(command), correlation: "", inputThrough: 0, checksum: "", previousChecksum: "",
      events: JSON.parse(JSON.stringify(events.map((event) => reflectorCodec.encode(event)))), binary: new Uint8Array(0)
    }
    commits.push(next)
    // Folded from what is stored, as a process that starts anew would.
    folded = Effect.runSync(foldRun(commits))
  }
  commit({ _tag: "OpenRun", parameters: of })
  for (let turn = 0; turn < 1_000; turn++) {
    const step = stageStep(folded.state)
    const own = results.get(step) ?? new Map<string, JobResult>()
    results.set(step, own)
    const open = expectedJobs(folded.state, address, own).filter(({ key, kind }) => !own.has(resultKey(kind, key)))
    const rollouts = new Map(expectedJobs(folded.state, address, own).filter(({ kind }) => kind === "rollout").map((job) => [job.key, job]))
    for (const job of order(open)) {
      const settled = settle?.(job) ?? { kind: job.kind, key: job.key, status: "done" as const, data: answer(job, (key) => rollouts.get(key)), checksum: digest(job.kind, job.key) }
      own.set(resultKey(job.kind, job.key), settled)
    }
    if (open.length > 0) continue
    const command = stageCommand(folded.state, own)
    if (command === undefined) return { commits, state: folded.state, results }
    commit(command)
  }
  throw new Error("the run does not end")
}
