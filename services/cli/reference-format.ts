/**
 * A run in the published system's folder of a training experiment. Its folders count from 0 and `step_N/meta_memories.json` holds what
 * step N used, so what our step N sealed stands in `step_N`, and its own artefacts in `step_{N-1}`. Of an imported run the files are
 * written from what was read.
 */
import { Option, Result, Schema } from "effect"
import type { EvidenceItem } from "#shared/domain/evidence"
import type { Operation, Principle } from "#shared/domain/principle"
import type { Question } from "#shared/domain/question"
import { targetsOf } from "#shared/metamemory/operations"
import { answerPrompt } from "#shared/metamemory/prompts"
import { inScope } from "#shared/metamemory/router"
import { replySchemas } from "#shared/model/reply-schemas"
import { attemptsOf } from "#services/reflector/analysis"
import type { RunEvent } from "#services/reflector/run-events"
import { RolloutData } from "#services/retriever/protocol"
import { numbered, referenceEvaluation } from "./reference-evaluation.ts"
import type { ReadText } from "./reference-step.ts"
import { ImportedData } from "./reference-texts.ts"
import type { RunResult, RunState } from "./runs.ts"
import { share } from "./shown.ts"

/** Everything a run's folder is written from. Texts of users who were erased are absent. */
export interface ExportMaterial {
  readonly run: string
  readonly state: RunState
  readonly events: ReadonlyArray<RunEvent>
  readonly results: ReadonlyArray<RunResult>
  readonly questions: ReadonlyMap<string, Question>
  /** Replies by call key. */
  readonly replies: ReadonlyMap<string, string>
  /** By user and memory id. */
  readonly memories: ReadonlyMap<string, ReadonlyMap<string, Pick<EvidenceItem, "time" | "speaker" | "text">>>
}

export interface ExportedFile {
  /** Below the folder, with `/`. */
  readonly path: string
  readonly content: string
}

const decodeRow = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ problem: Schema.String })))
const decodeImported = Schema.decodeUnknownOption(ImportedData)

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

const decodeRollout = Schema.decodeUnknownOption(Schema.Struct({ callKey: RolloutData.fields.callKey, evidenceIds: RolloutData.fields.evidenceIds }))
const decodeReflection = Schema.decodeUnknownOption(Schema.Struct({ lesson: Schema.optionalKey(Schema.String), calls: Schema.Array(Schema.String) }))

const dataOf = (result: RunResult | undefined): unknown => (result?.settled.status === "done" ? result.settled.data : undefined)

/**
 * An operation under the numbers of the generation it is about. The layout knows no merge: it becomes an update of the first of those merged,
 * in whose place the new principle stands, and deletions of the others.
 */
const referenceOperations = (proposed: Operation, used: ReadonlyArray<Principle>): ReadonlyArray<{ readonly operation: string; readonly id?: string; readonly content?: string }> => {
  const { content, id, operation } = proposed
  const numberOf = (id: string): string => {
    const at = used.findIndex((principle) => principle.id === id)
    return at === -1 ? id : `M${at}`
  }
  const said = content === undefined ? {} : { content }
  if (operation !== "merge") return [{ operation, ...(id === undefined ? {} : { id: numberOf(id) }), ...said }]
  const targets = targetsOf(proposed)
  const first = used.find((principle) => targets.includes(principle.id))?.id ?? targets[0]
  return targets.toSorted((a, b) => Number(b === first) - Number(a === first)).map((target) => (target === first ? { operation: "update", id: numberOf(target), ...said } : { operation: "delete", id: numberOf(target) }))
}

const usedIn = (state: RunState, step: number): ReadonlyArray<Principle> => state.generations.filter((generation) => generation.step < step).at(-1)?.principles ?? []

/** What users' words are in, of one step. */
interface StepTexts {
  readonly rows: ReadonlyArray<{ readonly line: string; readonly verdict: string }>
  readonly summaries: Readonly<Record<string, ReadonlyArray<unknown>>>
  readonly proposed: ReadonlyArray<unknown>
  readonly problemOf: (question: string | undefined) => string
}

const eventOf = <T extends RunEvent["_tag"]>(events: ReadonlyArray<RunEvent>, tag: T, step: number) =>
  events.find((event): event is Extract<RunEvent, { readonly _tag: T }> => event._tag === tag && "step" in event && event.step === step)

const ownResults = (results: ReadonlyArray<RunResult>, step: number): ReadonlyMap<string, RunResult> =>
  new Map(results.filter(({ address }) => address.step === step).map((result) => [`${result.address.kind}/${result.address.key}`, result]))

/** Proposed operations under the questions they came from. */
const proposedIn = ({ events, state }: ExportMaterial, step: number, problemOf: StepTexts["problemOf"]) => {
  const used = usedIn(state, step)
  const bySource = Map.groupBy(eventOf(events, "ProposalsFolded", step)?.proposals ?? [], ({ sources }) => sources[0] ?? "")
  return [...bySource].map(([question, some]) => ({ question, entry: { problem: problemOf(question), operations: some.flatMap(({ operation }) => referenceOperations(operation, used)), reasoning: "" } }))
}

const textsOf = (material: ExportMaterial, step: number): StepTexts => {
  const { memories, questions, replies, results, state } = material
  const used = usedIn(state, step)
  const attempts = state.steps.find((one) => one.step === step)?.attempts ?? []
  const own = ownResults(results, step)
  const rows = Array.from({ length: state.parameters?.samples ?? 0 }, (_, sample) =>
    attempts.map(({ dropped, question: id, verdicts }) => {
      const question = questions.get(id)
      const key = attemptsOf(state, step, id)[sample] ?? ""
      const rollout = Option.getOrUndefined(decodeRollout(dataOf(own.get(`rollout/${key}`))))
      const evidence = (rollout?.evidenceIds ?? []).flatMap((memory) => memories.get(question?.user ?? "")?.get(memory) ?? [])
      const questionClass = state.questions.get(id)?.questionClass ?? "single-fact"
      const principles = used.filter((principle) => inScope(principle, questionClass) && !dropped[sample]?.includes(principle.id))
      const judgedAttempts = own.get(`rollout/${key}`)?.settled.attempts ?? 1
      return {
        key,
        verdict: verdicts[sample] ?? "e",
        row: {
          prompt: question === undefined ? "" : answerPrompt({ question: question.text, date: question.date, evidence, principles }).map(({ content }) => content).join("\n\n"),
          question_id: id,
          problem: question?.text ?? "",
          memories: evidence.map(({ text, time }) => `${time} ${text}`),
          groundtruth: question?.answer ?? "",
          task: question?.type ?? state.questions.get(id)?.type ?? "",
          retry_count: judgedAttempts - 1,
          response: replies.get(rollout?.callKey ?? "") ?? "",
          reward: rewardOf(verdicts[sample])
        }
      }
    })).flat()
  const summaries: Record<string, Array<object>> = {}
  for (const { key, row } of rows) {
    const reflection = Option.getOrUndefined(decodeReflection(dataOf(own.get(`reflection/${key}`))))
    if (reflection === undefined) continue
    const said = replySchemas.reflect.decode(replies.get(reflection.calls.at(-1) ?? "") ?? "")
    const summary = reflection.lesson ?? (Result.isSuccess(said) ? said.success.lesson : "")
    ;(summaries[row.problem] ??= []).push({ problem: row.problem, response: row.response, reward: row.reward, summary })
  }
  const problemOf = (id: string | undefined): string => questions.get(id ?? "")?.text ?? ""
  return {
    rows: rows.map(({ row, verdict }, runid) => ({ line: JSON.stringify({ runid, ...row }), verdict })),
    summaries, proposed: proposedIn(material, step, problemOf).map(({ entry }) => entry), problemOf
  }
}

/** The same of an imported run, as it was read; nothing is left of an erased user but ids and verdicts. */
const importedTexts = (material: ExportMaterial, step: number): StepTexts => {
  const { replies, results, state } = material
  const own = ownResults(results, step)
  const textAt = (kind: ReadText["kind"], key: string): string | undefined =>
    replies.get(Option.getOrUndefined(decodeImported(dataOf(own.get(`${kind}/${key}`))))?.callKey ?? "")
  const attempts = state.steps.find((one) => one.step === step)?.attempts ?? []
  const samples = Math.max(0, ...attempts.map(({ verdicts }) => verdicts.length))
  const problems = new Map<string, string>()
  const summaries: Record<string, Array<unknown>> = {}
  const rows = Array.from({ length: samples }, (_, sample) => attempts.filter(({ verdicts }) => sample < verdicts.length).map((one) => ({ ...one, sample }))).flat().map(({ question, sample, verdicts }, runid) => {
    const key = attemptsOf(state, step, question)[sample] ?? ""
    const line = textAt("rollout", key)
    const problem = Option.getOrUndefined(decodeRow(line ?? ""))?.problem ?? ""
    if (line !== undefined) problems.set(question, problem)
    const summary = textAt("reflection", key)
    if (summary !== undefined) (summaries[problem] ??= []).push(JSON.parse(summary))
    const verdict = verdicts[sample] ?? "e"
    const bare = { runid, prompt: "", question_id: question, problem: "", memories: [], groundtruth: "", task: "", retry_count: 0, response: "", reward: rewardOf(verdict) }
    return { line: line ?? JSON.stringify(bare), verdict }
  })
  const problemOf = (id: string | undefined): string => problems.get(id ?? "") ?? ""
  // Of a question whose text is gone, and of one that no attempt was about, the operations are left.
  const written = new Set<string>()
  const read = [...own].filter(([key]) => key.startsWith("proposal/")).sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, { address: { key } }]) => {
    const text = textAt("proposal", key)
    const entry = text === undefined ? undefined : JSON.parse(text) as { readonly problem: string }
    for (const [question, problem] of problems) if (problem === entry?.problem) written.add(question)
    return entry === undefined ? [] : [entry]
  })
  return { rows, summaries, proposed: [...read, ...proposedIn(material, step, problemOf).filter(({ question }) => !written.has(question)).map(({ entry }) => entry)], problemOf }
}

/** What could not be answered or judged is neither right nor wrong. */
const rewardOf = (verdict: string | undefined): 0 | 1 | null => (verdict === "c" ? 1 : verdict === "i" ? 0 : null)

const stepFiles = (material: ExportMaterial, step: number): { readonly files: ReadonlyArray<ExportedFile>; readonly stats: object } => {
  const { events, state } = material
  const folder = `step_${step - 1}`
  const used = usedIn(state, step)
  const { problemOf, proposed, rows, summaries } = state.imported === undefined ? textsOf(material, step) : importedTexts(material, step)
  const consolidated = eventOf(events, "OperationsConsolidated", step)
  const epoch = eventOf(events, "StepStarted", step)?.epoch ?? 0
  // What was turned down on its way here was never among an own run's operations; an imported one's list held it.
  const refused = state.imported === undefined ? [] : (consolidated?.refused ?? []).map((one) => ({ ...one, sources: [] }))
  const operations = [...(consolidated?.operations ?? []), ...refused].sort((a, b) => a.index - b.index)
  const [correct, judged] = [rows.filter(({ verdict }) => verdict === "c").length, rows.filter(({ verdict }) => verdict !== "e").length]
  return {
    files: [
      ...(step === 1 ? [] : [{ path: `${folder}/meta_memories.json`, content: json(numbered(used)) }]),
      ...(rows.length === 0 ? [] : [{ path: `${folder}/rollout.jsonl`, content: rows.map(({ line }) => `${line}\n`).join("") }]),
      { path: `${folder}/trajectory_summaries.json`, content: json(summaries) },
      { path: `${folder}/proposed_updates.json`, content: json(proposed) },
      {
        path: `${folder}/applied_updates.json`,
        content: json({
          all_operations: operations.flatMap(({ operation, sources }) => referenceOperations(operation, used).map((one) => ({ ...one, source_problem: problemOf(sources[0]) }))),
          new_meta_memories: numbered(usedIn(state, step + 1))
        })
      }
    ],
    stats: { epoch, batch: events.filter((event) => event._tag === "StepStarted" && event.epoch === epoch && event.step < step).length, rollout: { avg_reward: share(correct, judged), num_samples: rows.length }, complete: true }
  }
}

/** The files of a run, a step at a time; how generations did on other questions comes last. */
export const referenceFiles = function*(material: ExportMaterial): Generator<ExportedFile> {
  const { results, state } = material
  const generationFile = (folder: number, principles: ReadonlyArray<Principle>): ExportedFile => ({ path: `step_${folder}/meta_memories.json`, content: json(numbered(principles)) })
  // Of a run that was imported before texts were kept there is nothing but generations and verdicts.
  const steps = state.imported !== undefined && results.length === 0 ? [] : state.steps.map(({ step }) => step)
  const stats: Record<string, unknown> = {}
  const written = new Set<number>()
  for (const step of steps) {
    const { files, stats: own } = stepFiles(material, step)
    yield* files
    stats[String(step - 1)] = own
    written.add(step - 1)
  }
  const last = steps.at(-1)
  if (last !== undefined) {
    yield generationFile(last, usedIn(state, last + 1))
    written.add(last)
  }
  for (const { number, principles, step } of state.generations) if (number > 0 && !written.has(step)) yield generationFile(step, principles)
  if (last !== undefined) yield { path: "stats.json", content: json(stats) }
  const evaluated = state.imported === undefined ? (last === undefined ? undefined : referenceEvaluation(material.run, state, results)) : state.imported.evaluation
  if (evaluated !== undefined) yield { path: "eval_results.json", content: json(evaluated) }
}
