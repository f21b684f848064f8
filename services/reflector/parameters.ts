/** Everything that determines a run, as it stands in its first event. Texts of questions are named by hash only. */
import { Schema } from "effect"
import { Principle } from "#shared/domain/principle"
import type { Question } from "#shared/domain/question"
import { QuestionClass } from "#shared/domain/scope"
import type { GateQuestion } from "#shared/metamemory/gate"
import { LedgerEntry } from "#shared/metamemory/ledger"
import { digest } from "#shared/metamemory/random"
import { routeQuestion } from "#shared/metamemory/router"
import { typeOf } from "#shared/metamemory/split"
import { mixWeights } from "#shared/metamemory/statistics"
import { AskedQuestionRef, JudgeKind } from "#services/evaluator/protocol"

/**
 * Version of the rules by which a run goes on from its results: batches, looks of the gate, ids, verdicts by words. A run opened under another version
 * is read and replayed, and not continued. Version 2: which principles are proposed for retirement, since their intervals are others. Version 3:
 * a principle is proposed for retirement by what its present words did, not those before an update. Version 4: errors of the incumbent make
 * one look void and not every later one, and what was only ever void may be tried again. Version 5: a run does not try again what those
 * before it were not helped by. Version 6: principles may be merged.
 */
export const algorithmVersion = 6

/** A question as a run knows it. */
export const RunQuestion = Schema.Struct({
  id: Schema.NonEmptyString,
  user: Schema.NonEmptyString,
  /** SHA-256 over text and reference answer. */
  hash: Schema.NonEmptyString,
  type: Schema.String,
  abstention: Schema.Boolean,
  cluster: Schema.NonEmptyString,
  /** By the router, from the text. */
  questionClass: QuestionClass
})
export type RunQuestion = typeof RunQuestion.Type

export const runQuestionOf = ({ abstention, answer, cluster, id, text, type, user }: Question): RunQuestion => ({
  id, user, hash: digest("question", text, answer), type, abstention, cluster, questionClass: routeQuestion(text)
})

export const GatePolicySchema = Schema.Literals(["likely", "proven", "always"])
const GuardPolicySchema = Schema.Literals(["likely", "proven"])
/** Who reflects and proposes: rules at no tokens, the model, or the model with the rules where it proposes nothing. */
export const ReflectorKind = Schema.Literals(["rules", "model", "both"])
export type ReflectorKind = typeof ReflectorKind.Type

/** Where a branch begins: a generation of another run, with something changed. */
export const Branch = Schema.Struct({
  run: Schema.NonEmptyString,
  generation: Schema.Int,
  /** Step that sealed it; the branch goes on with the next, so that its ids are none of the other run's. */
  step: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  /** In words. */
  change: Schema.String,
  /** In force from the beginning: its generation 0. */
  principles: Schema.Array(Principle),
  /** Of the other run, so that both are shown the same evidence. */
  memoryPosition: Schema.Int
})
export type Branch = typeof Branch.Type

const Count = Schema.Int.check(Schema.isGreaterThan(0))
const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

/** What whoever opens a run may choose. */
const chosen = {
  /** SHA-256 of the data set's file. */
  datasetHash: Schema.NonEmptyString,
  seed: Schema.Int,
  preset: Schema.NonEmptyString,
  /** Number of the last step. */
  steps: Count,
  /** Questions a step. */
  batch: Count,
  /** Attempts a question; at least two, or nothing can come out both ways. */
  samples: Schema.Int.check(Schema.isGreaterThanOrEqualTo(2)),
  /** Share of a batch from questions earlier partly right. */
  repeatedShare: Share,
  /** Share of principles each training attempt goes without. */
  dropShare: Share,
  rolloutTemperature: Schema.Finite,
  /** In gate and guard test. */
  gateTemperature: Schema.Finite,
  /** Most tokens of an answer. */
  maxTokens: Count,
  /** Evidence shown, in o200k tokens. */
  evidenceTokens: Count,
  gate: GatePolicySchema,
  /** Samples a question and arm a figure of the gate is worth, for the budget. */
  validationSamples: Count,
  /** Samples a question in the guard test. */
  guardSamples: Count,
  /** How sure the guard test has to be; absent = `likely`. */
  guardPolicy: Schema.optionalKey(GuardPolicySchema),
  /** Most operations a step puts to the gate. */
  operationsPerStep: Count,
  /** Most principles a question is shown. */
  maxInScope: Count,
  /** Strings planted in training answers that may stand in no principle. */
  canaries: Schema.Array(Schema.String),
  /** True = run although the budget says that it is too small to tell much; labelled so. */
  anyway: Schema.Boolean,
  /**
   * Questions of each type in the data set, to whose shares the figures of gate and guard test are weighted back: the parts may be drawn by
   * type. Absent or empty = every question counts alike.
   */
  mix: Schema.optionalKey(Schema.Record(Schema.String, Schema.Int)),
  /** Steps in a row that may seal nothing before the run ends early; 0 or absent = it goes through to the last step. */
  patience: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  /** Absent = from the empty generation. */
  branch: Schema.optionalKey(Branch),
  /** What runs before this one tried and are not helped by, oldest first; shown to the proposer, and not tried again with the same reader. Absent = nothing. */
  ledger: Schema.optionalKey(Schema.Array(LedgerEntry))
}

const questionLists = <S extends Schema.Constraint>(question: S) => ({
  train: Schema.NonEmptyArray(question),
  validation: Schema.NonEmptyArray(question),
  /** Touched by no step and no gate, for the guard test; none = no generation can be recommended but the empty one. */
  guard: Schema.Array(question),
  /** For the one paired test of the end; announced here, not touched by the run. */
  test: Schema.Array(question)
})

/** A request for a run; judge, reflector and models follow the settings where absent. */
export const RunRequest = Schema.Struct({
  ...chosen,
  ...questionLists(AskedQuestionRef),
  judge: Schema.optionalKey(JudgeKind),
  reflector: Schema.optionalKey(ReflectorKind),
  /** Name of the model that plays a role, at the endpoint that is set for it; of a role that no model plays in this run it says nothing. */
  models: Schema.optionalKey(Schema.Record(Schema.String, Schema.NonEmptyString))
})
export type RunRequest = typeof RunRequest.Type

export const RunParameters = Schema.Struct({
  ...chosen,
  ...questionLists(RunQuestion),
  algorithm: Schema.Int,
  judge: JudgeKind,
  reflector: ReflectorKind,
  /** Name of the model behind each role a model plays; whoever does a job of the run asks the one named here. */
  models: Schema.Record(Schema.String, Schema.String),
  /** Hash of each prompt's template. */
  templates: Schema.Record(Schema.String, Schema.String),
  /** Most tokens of a reply by role, other than answers; absent where an earlier version did not say. */
  tokenLimits: Schema.optionalKey(Schema.Record(Schema.String, Schema.Int)),
  /** Sequence of the memory log up to which evidence is taken. */
  memoryPosition: Schema.Int
})
export type RunParameters = typeof RunParameters.Type

/**
 * `metamem`: the published sizes (350 questions in 5 epochs of batches of 50, 5 samples, 4,096 tokens), policies and their sizes of ours.
 * Patience: of 360 simulated runs of 35 steps × 12 questions one of 12 would have cost three part of what they learnt, one of 8 thirty-eight.
 */
export const presets = {
  metamem: {
    preset: "metamem", steps: 35, batch: 50, samples: 5, repeatedShare: 0.7, dropShare: 0.2, rolloutTemperature: 0.7, gateTemperature: 0.7, maxTokens: 4_096, evidenceTokens: 4_000,
    gate: "likely", validationSamples: 3, guardSamples: 9, guardPolicy: "proven", operationsPerStep: 4, maxInScope: 12, patience: 24, canaries: [], anyway: false
  },
  laptop: {
    preset: "laptop", steps: 3, batch: 12, samples: 2, repeatedShare: 0.7, dropShare: 0.2, rolloutTemperature: 0.7, gateTemperature: 0.7, maxTokens: 48, evidenceTokens: 120,
    gate: "likely", validationSamples: 3, guardSamples: 2, guardPolicy: "likely", operationsPerStep: 4, maxInScope: 12, patience: 24, canaries: [], anyway: true
  }
} as const satisfies Record<string, Partial<RunRequest>>

/** The principles that generation 0 holds: none, but in a branch. */
export const startOf = (parameters: Pick<RunParameters, "branch"> | undefined): ReadonlyArray<Principle> => parameters?.branch?.principles ?? []

/**
 * Questions as the gate sees them. A weight says how much rarer the part has made the question's type than the data set; within one class
 * of questions the same weights bring back the natural mix of that class, since questions of a type are drawn without regard to class.
 *
 * @param questions a whole part: of validation or of guard
 */
export const gateQuestions = (questions: ReadonlyArray<RunQuestion>, mix: RunParameters["mix"]): ReadonlyArray<GateQuestion> => {
  const weights = mix === undefined || Object.keys(mix).length === 0 ? undefined : mixWeights(questions.map(typeOf), new Map(Object.entries(mix)))
  return questions.map(({ abstention, cluster, id, questionClass }, at) => ({ id, questionClass, cluster, abstention, ...(weights === undefined ? {} : { weight: weights[at] ?? 0 }) }))
}

/** What runs opened with earlier versions of their opening could not say: asked for with it, they go on as they were. */
const saidLater: ReadonlySet<string> = new Set(["mix", "patience", "guardPolicy", "tokenLimits"])

/** In what a request differs from the run that stands under its name, as far as that shows before the questions are looked up. */
export const differingRequest = (stands: RunParameters, wanted: RunRequest): ReadonlyArray<keyof RunRequest> =>
  (Object.keys(wanted) as Array<keyof RunRequest>).filter((name) => {
    const [old, now] = [stands[name], wanted[name]]
    if (now === undefined || (old === undefined && saidLater.has(name))) return false
    // Of a question the request knows its id and user; what else there is of it follows from them.
    const comparable = (value: unknown): unknown => (Array.isArray(value) ? value.map((one) => (isPlain(one) ? [one["id"], one["user"]] : one)) : sorted(value))
    return JSON.stringify(comparable(old)) !== JSON.stringify(comparable(now))
  })

/** Members in which two parameter sets differ. The memory position is not one of them: a reopened run keeps its own. @param a what stands */
export const differingParameters = (a: RunParameters, b: RunParameters): ReadonlyArray<keyof RunParameters> =>
  (Object.keys({ ...a, ...b }) as Array<keyof RunParameters>).filter((name) =>
    name !== "memoryPosition" && !(a[name] === undefined && saidLater.has(name)) && JSON.stringify(sorted(a[name])) !== JSON.stringify(sorted(b[name])))

const sorted = (value: unknown): unknown =>
  value !== null && typeof value === "object" && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort(([x], [y]) => (x < y ? -1 : 1))) : value

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> => value !== null && typeof value === "object" && !Array.isArray(value)

/** Most members of one parameter told apart in a message. */
const membersMax = 3
/** Longest value told in a message, in characters. */
const toldMax = 60
const told = (value: unknown): string => (value === undefined ? "nothing" : typeof value === "string" && value.length <= toldMax ? value : JSON.stringify(value).length <= toldMax ? JSON.stringify(value) : "others")

/** Why a run of that name cannot go on so. */
export const differencesText = (names: ReadonlyArray<string>, stands: RunParameters, wanted: RunParameters | RunRequest): string =>
  names.includes("algorithm")
    ? "the run was opened under other rules than this version's, so that it is read and replayed, and not continued. Choose another name for a new run."
    : `the run was opened with ${names.map((name) => differenceText(name, stands[name as keyof RunParameters], (wanted as RunParameters)[name as keyof RunParameters])).join("; ")}. Give all as it was to go on with it, or choose another name for a new run.`

/** Of a role's prompt, and of its limit of replies, what decides it: nobody knows a hash. */
const decidedBy = (name: string): string => {
  const [, what, role = ""] = /^(templates|tokenLimits)\.(\w+)$/.exec(name) ?? []
  if (what === "tokenLimits") return ` (METAMEM_${role.toUpperCase()}_MAX_TOKENS)`
  return what === undefined ? "" : role === "answer" ? " (which of the prompts for readers: METAMEM_ANSWER_PROMPTS)" : " (the words of a prompt, which are another version's)"
}

/** How one parameter stands in the run, and how it was asked for now, in words. */
const differenceText = (name: string, stands: unknown, wanted: unknown): string => {
  if (isPlain(stands) && isPlain(wanted)) {
    const keys = Object.keys({ ...stands, ...wanted }).filter((key) => JSON.stringify(sorted(stands[key])) !== JSON.stringify(sorted(wanted[key])))
    const [one] = keys
    // As of models, where one setting names that of every role.
    const isSameForAll = keys.length > 1 && one !== undefined && keys.every((key) => stands[key] === stands[one] && wanted[key] === wanted[one])
    if (isSameForAll) return differenceText(name, stands[one], wanted[one])
    return keys.length > membersMax ? `other values of ${name}` : keys.map((key) => differenceText(`${name}.${key}`, stands[key], wanted[key])).join(", ")
  }
  if (name === "ledger") return "another ledger of what was tried before"
  if (name !== "canaries" && Array.isArray(stands) && Array.isArray(wanted)) return `${name} of ${stands.length} questions, not ${wanted.length === stands.length ? "these" : `of ${wanted.length}`}`
  return `${name} ${told(stands)}, not ${told(wanted)}${decidedBy(name)}`
}

export const twoPartsText = (question: string): string => `question ${question} stands in two parts of the split; what is learnt from may not be what is judged by`
