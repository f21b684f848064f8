/** `metamem judge calibrate`: how the judge in force compares with labels made by people, by type of question; kept beside a run, its reports are corrected by it. */
import { readFileSync } from "node:fs"
import { Effect, Option, Result, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { canonicalJson } from "#shared/domain/canonical-json"
import type { Question, Verdict } from "#shared/domain/question"
import { requestSubject } from "#shared/eventlog/subjects"
import { digest } from "#shared/metamemory/random"
import { typeOf } from "#shared/metamemory/split"
import { corrected, type Interval, type JudgeQuality, kappa, wilson } from "#shared/metamemory/statistics"
import { type JudgeKind, JudgeReply } from "#services/evaluator/protocol"
import { RecordReply } from "#services/reflector/protocol"
import type { JudgeCalibrated, LabelCounts } from "#services/reflector/run-events"
import { withActors } from "./home.ts"
import { questionsOf } from "./run-references.ts"
import { CommandFailed, emit, progressLine, root, table } from "./root.ts"
import { foldRun, type RunState } from "./runs.ts"

/** A file of labels cannot be used; nothing was judged. */
export class LabelsUnusable extends Schema.TaggedError<LabelsUnusable>()("LabelsUnusable", { path: Schema.String, lines: Schema.Array(Schema.Int), message: Schema.String }) {}

const Label = Schema.Struct({
  question_id: Schema.NonEmptyString,
  /** Only where several users have a question of this id. */
  user: Schema.optionalKey(Schema.String),
  response: Schema.String,
  label: Schema.Literals(["correct", "incorrect"])
})
const decodeLabel = Schema.decodeUnknownResult(Schema.fromJsonString(Label))

export interface LabelledAnswer {
  readonly question: Question
  readonly response: string
  readonly isRight: boolean
}

const listed = (lines: ReadonlyArray<number>): string => `line${lines.length === 1 ? "" : "s"} ${lines.slice(0, 8).join(", ")}${lines.length > 8 ? ` and ${lines.length - 8} more` : ""}`

/**
 * Reads labels, a JSON object a line. One bad line and none is used: a calibration over part of the labels is another one.
 *
 * @param known every question that may be named; of several with one id and no user given, none is taken
 */
export const readLabels = (path: string, text: string, known: ReadonlyArray<Question>): Result.Result<ReadonlyArray<LabelledAnswer>, LabelsUnusable> => {
  const byId = Map.groupBy(known, ({ id }) => id)
  const bad = { malformed: [] as Array<number>, unknown: [] as Array<number>, ambiguous: [] as Array<number> }
  const answers: Array<LabelledAnswer> = []
  text.split("\n").forEach((line, at) => {
    if (line.trim() === "") return
    const label = decodeLabel(line)
    if (Result.isFailure(label)) return void bad.malformed.push(at + 1)
    const { label: verdict, question_id, response, user } = label.success
    const found = (byId.get(question_id) ?? []).filter((question) => user === undefined || question.user === user)
    const [question] = found
    if (question === undefined) return void bad.unknown.push(at + 1)
    if (found.length > 1) return void bad.ambiguous.push(at + 1)
    answers.push({ question, response, isRight: verdict === "correct" })
  })
  const refuse = (lines: ReadonlyArray<number>, what: string) => Result.fail(new LabelsUnusable({ path, lines, message: `${path}, ${listed(lines)}: ${what}` }))
  if (bad.malformed.length > 0) return refuse(bad.malformed, "not a label; each line is {\"question_id\", \"response\", \"label\": \"correct\" or \"incorrect\"}")
  if (bad.unknown.length > 0) return refuse(bad.unknown, "the question is not registered; run `metamem build` on its data set first")
  if (bad.ambiguous.length > 0) return refuse(bad.ambiguous, "several users have a question of this id; say which with \"user\", or name a run with --run")
  if (answers.length === 0) return refuse([], "there are no labels")
  return Result.succeed(answers)
}

const none: LabelCounts = { rightJudgedRight: 0, rightJudgedWrong: 0, wrongJudgedWrong: 0, wrongJudgedRight: 0, errors: 0 }
const cell = (isRight: boolean, verdict: Verdict): keyof LabelCounts =>
  verdict === "error" ? "errors" : isRight ? (verdict === "correct" ? "rightJudgedRight" : "rightJudgedWrong") : verdict === "correct" ? "wrongJudgedRight" : "wrongJudgedWrong"

/** Counts by type of question, in order of type. @param verdicts in the order of the answers */
export const countLabels = (answers: ReadonlyArray<LabelledAnswer>, verdicts: ReadonlyArray<Verdict>): JudgeCalibrated["counts"] => {
  const counts = new Map<string, LabelCounts>()
  answers.forEach(({ isRight, question }, at) => {
    const name = typeOf(question)
    const own = counts.get(name) ?? none
    const which = cell(isRight, verdicts[at] ?? "error")
    counts.set(name, { ...own, [which]: own[which] + 1 })
  })
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
}

export interface Rate extends Interval {
  readonly value: number
}

export interface Quality {
  readonly labels: number
  readonly errors: number
  /** Shares with 95 % intervals; null where there is no label of that side. */
  readonly sensitivity: Rate | null
  readonly specificity: Rate | null
  /** Agreement beyond chance; null without labels that were judged. */
  readonly kappa: Rate | null
}

const rate = (hits: number, n: number): Rate | null => (n === 0 ? null : { value: hits / n, ...wilson(hits, n) })

/** Rates of one set of counts. The interval of kappa is its large-sample one (Cohen 1960), those of the rates are Wilson's. */
export const qualityOf = ({ errors, rightJudgedRight: rr, rightJudgedWrong: rw, wrongJudgedRight: wr, wrongJudgedWrong: ww }: LabelCounts): Quality => {
  const n = rr + rw + wr + ww
  const repeated = (count: number, value: readonly [boolean, boolean]) => Array.from({ length: count }, () => value)
  const pairs = [...repeated(rr, [true, true]), ...repeated(rw, [true, false]), ...repeated(wr, [false, true]), ...repeated(ww, [false, false])]
  const value = kappa(pairs.map(([truth]) => truth), pairs.map(([, verdict]) => verdict))
  const observed = n === 0 ? 0 : (rr + ww) / n
  const chance = n === 0 ? 0 : ((rr + rw) * (rr + wr) + (ww + wr) * (ww + rw)) / (n * n)
  const half = chance === 1 || n === 0 ? 0 : 1.96 * Math.sqrt((observed * (1 - observed)) / (n * (1 - chance) ** 2))
  return {
    labels: n + errors,
    errors,
    sensitivity: rate(rr, rr + rw),
    specificity: rate(ww, ww + wr),
    kappa: n === 0 ? null : { value, low: Math.max(-1, value - half), high: Math.min(1, value + half) }
  }
}

/** Counts of all types together. */
export const pooled = (counts: JudgeCalibrated["counts"]): LabelCounts =>
  Object.values(counts).reduce((sum, own) => ({
    rightJudgedRight: sum.rightJudgedRight + own.rightJudgedRight,
    rightJudgedWrong: sum.rightJudgedWrong + own.rightJudgedWrong,
    wrongJudgedWrong: sum.wrongJudgedWrong + own.wrongJudgedWrong,
    wrongJudgedRight: sum.wrongJudgedRight + own.wrongJudgedRight,
    errors: sum.errors + own.errors
  }), none)

/** Fewest labels of a side, right or wrong, by which a type's answers are corrected; with fewer, labels of all types together tell more. */
const fewestOfSide = 10

const qualityIn = ({ rightJudgedRight: rr, rightJudgedWrong: rw, wrongJudgedRight: wr, wrongJudgedWrong: ww }: LabelCounts, fewest: number): JudgeQuality | undefined =>
  rr + rw < fewest || ww + wr < fewest ? undefined : { sensitivity: rr / (rr + rw), specificity: ww / (ww + wr) }

/** Whether labels of one type do not tell its judge from a coin: by less than two standard errors above it, a correction would multiply chance manyfold. */
const isCoin = ({ sensitivity, specificity }: JudgeQuality, { rightJudgedRight: rr, rightJudgedWrong: rw, wrongJudgedRight: wr, wrongJudgedWrong: ww }: LabelCounts): boolean =>
  sensitivity + specificity - 1 <= 2 * Math.sqrt((sensitivity * (1 - sensitivity)) / (rr + rw) + (specificity * (1 - specificity)) / (ww + wr))

/** Answers of one type that were judged. */
export interface JudgedOfType {
  readonly type: string
  readonly correct: number
  readonly judged: number
}

/** Judged answers by the types that calibrations go by. */
export const judgedByType = (answers: ReadonlyArray<{ readonly question: Pick<Question, "type" | "abstention">; readonly verdict: Verdict }>): ReadonlyArray<JudgedOfType> =>
  [...Map.groupBy(answers.filter(({ verdict }) => verdict !== "error"), ({ question }) => typeOf(question))]
    .map(([type, own]) => ({ type, correct: own.filter(({ verdict }) => verdict === "correct").length, judged: own.length }))

/**
 * The accuracy over some answers, corrected for what the last calibration of the judge says of it: each type by its own labels where
 * there are ten of either side, else by those of all types, and put together as the answers are. Undefined without a calibration of that
 * judge, without labels of both sides, or where the judge could not be told from a coin on a type.
 */
export const correctedAccuracy = (calibrations: RunState["calibrations"], by: JudgeKind | undefined, types: ReadonlyArray<JudgedOfType>): number | undefined => {
  const last = calibrations.filter(({ judge }) => judge === by).at(-1)
  const judged = types.reduce((sum, own) => sum + own.judged, 0)
  if (last === undefined || judged === 0) return undefined
  const together = qualityIn(pooled(last.counts), 1)
  const shares = types.map(({ correct, judged: own, type }) => {
    const counts = last.counts[type]
    const ofType = counts === undefined ? undefined : qualityIn(counts, fewestOfSide)
    if (counts !== undefined && ofType !== undefined && isCoin(ofType, counts)) return undefined
    const quality = ofType ?? together
    const right = quality === undefined ? undefined : corrected(correct / own, quality)
    return right === undefined ? undefined : (right * own) / judged
  })
  return shares.some((share) => share === undefined) ? undefined : Math.min(1, Math.max(0, shares.reduce<number>((sum, share) => sum + (share ?? 0), 0)))
}

const decodeJudge = Schema.decodeUnknownEffect(JudgeReply)
const decodeRecorded = Schema.decodeUnknownEffect(RecordReply)

/** Answers a request judges. */
const chunkSize = 64
/** Longest wait for one chunk: each answer may stand behind many others at a small model. */
const chunkDeadlineMs = 600_000

const rateInPercent = (one: Rate | null): string => (one === null ? "no labels" : `${(one.value * 100).toFixed(1)} (${(one.low * 100).toFixed(0)}–${(one.high * 100).toFixed(0)})`)
const decimal = (one: Rate | null): string => (one === null ? "" : `${one.value.toFixed(2)} (${one.low.toFixed(2)}–${one.high.toFixed(2)})`)

const calibrate = Command.make(
  "calibrate",
  {
    labels: Flag.String("labels").pipe(Flag.withDescription("JSONL file, a line an answer: question_id, response, label (correct or incorrect)")),
    run: Flag.String("run").pipe(Flag.withDescription("Calibrate this run's judge and keep the result with it"), Flag.optional)
  },
  (input) =>
    Effect.gen(function*() {
      const { tenant } = yield* root
      const run = Option.getOrUndefined(input.run)
      const text = yield* Effect.try({ try: () => readFileSync(input.labels, "utf8"), catch: (error) => new CommandFailed({ message: `${input.labels} cannot be read: ${(error as Error).message}` }) })
      const result = yield* Effect.gen(function*() {
        const state = run === undefined ? undefined : yield* foldRun(tenant, run)
        const all = yield* questionsOf(tenant, undefined)
        // A run knows whose question an id is.
        const known = all.filter(({ id, user }) => {
          const own = state?.questions.get(id)
          return own === undefined || own.user === user
        })
        const answers = yield* Effect.fromResult(readLabels(input.labels, text, known))
        const progress = progressLine()
        const verdicts: Array<Verdict> = []
        let judge = state?.parameters?.judge
        for (let from = 0; from < answers.length; from += chunkSize) {
          const chunk = answers.slice(from, from + chunkSize).map(({ question: { id, user }, response }) => ({ question: { id, user }, response }))
          const reply = yield* request(requestSubject("evaluator", "judge"), { tenant, ...(judge === undefined ? {} : { judge }), answers: chunk }, chunkDeadlineMs).pipe(Effect.flatMap(decodeJudge))
          // All chunks by the judge that took the first.
          judge = reply.judge
          verdicts.push(...reply.verdicts.map(({ verdict }) => verdict))
          progress.update(`${verdicts.length} of ${answers.length} judged`)
        }
        progress.end()
        const counts = countLabels(answers, verdicts)
        const calibration = { judge: judge ?? "lexical", labels: digest(canonicalJson(answers.map(({ isRight, question, response }) => [question.id, question.user, response, isRight]))).slice(0, 32), counts }
        const recorded = run === undefined
          ? undefined
          : yield* request(requestSubject("reflector", "record"), { tenant, run, calibration }, 10_000).pipe(Effect.flatMap(decodeRecorded))
        return {
          judge: calibration.judge,
          overall: qualityOf(pooled(counts)),
          byType: Object.fromEntries(Object.entries(counts).map(([type, own]) => [type, qualityOf(own)])),
          counts,
          run: run ?? null,
          position: recorded?.position ?? null
        }
      }).pipe(withActors(run === undefined ? ["evaluator"] : ["evaluator", "reflector"]))
      yield* emit(result, ({ byType, judge, overall, position, run }) =>
        [
          `the ${judge} judge against ${overall.labels} labels, 95 % intervals`,
          table([
            ["", "labels", "errors", "sensitivity", "specificity", "kappa"],
            ...[...Object.entries(byType), ["all", overall] as const].map(([type, own]) => [type, String(own.labels), String(own.errors), rateInPercent(own.sensitivity), rateInPercent(own.specificity), decimal(own.kappa)])
          ]),
          position === null ? "not kept: name a run with --run, and its figures are shown raw and corrected" : `kept with ${run}: \`metamem eval\` shows its figures raw and corrected from here on`
        ].join("\n"))
    })
).pipe(Command.withDescription("Compare the judge in force with labels made by people: sensitivity, specificity and kappa by type"))

export const judgeCommand = Command.make("judge").pipe(Command.withDescription("The judge of answers"), Command.withSubcommands([calibrate]))
