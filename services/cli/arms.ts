/** Answers got for a comparison: asked as the samples a run would have asked, judged, and read from the log where they stand there. */
import { Effect, Option, Schema, Stream } from "effect"
import { request } from "#shared/actor/requests"
import type { Principle } from "#shared/domain/principle"
import type { Verdict } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { callsFilter, requestSubject } from "#shared/eventlog/subjects"
import { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { errorShareMax } from "#shared/metamemory/gate"
import { JudgementData, JudgeReply, type JudgeKind } from "#services/evaluator/protocol"
import type { RunParameters, RunQuestion } from "#services/reflector/parameters"
import { type RolloutInput, RolloutKey } from "#services/retriever/protocol"
import { answerDeadlineMs, askedAtOnce } from "./asking.ts"
import { refuseOtherMemory } from "./memory-here.ts"
import { CommandFailed, progressLine, say } from "./root.ts"
import { eachResult } from "./runs.ts"

/** One answer to get: under which principles, and as which sample. */
export interface Ask {
  readonly question: RunQuestion
  /** Which side of the comparison. */
  readonly arm: string
  /** `gate`: at the gate's temperature; `report`: the likeliest answer. */
  readonly purpose: "gate" | "report"
  readonly sample: number
  readonly draw: number
  readonly principles: ReadonlyArray<Principle>
  /** Name of the model that answers; absent = the run's reader. */
  readonly reader?: string
  readonly judge: JudgeKind
  /** Name of the model that judges; absent = the one that judged the run, or where none did the one that is set. */
  readonly judgeModel?: string
}

export interface Answered {
  readonly ask: Ask
  readonly verdict: Verdict
}

const decodeRollout = Schema.decodeUnknownEffect(RolloutKey)
const decodeJudge = Schema.decodeUnknownEffect(JudgeReply)
const decodeCall = Schema.decodeUnknownOption(Schema.fromJsonString(StoredCall))

/** Kept calls of users after a place of the store's stream, in one pass, with the last place. */
const keptCalls = (tenant: string, users: ReadonlyArray<string>, after: number) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const calls: Array<StoredCall> = []
    let through = after
    if (users.length === 0) return { calls, through }
    yield* log.readRaw(users.map((user) => callsFilter(tenant, user)), { after }).pipe(Stream.runForEach(({ payload, sequence }) =>
      Effect.sync(() => {
        const call = Option.getOrUndefined(decodeCall(new TextDecoder().decode(payload)))
        if (call !== undefined) calls.push(call)
        through = sequence
      })))
    return { calls, through }
  })

/** Who reads and who judges an answer: the run's own models, whatever is set now, but where another is asked for. */
const playersOf = ({ judge, judgeModel, reader }: Ask, { models }: RunParameters) => ({ reader: reader ?? models["answer"], judgeModel: judge === "lexical" ? undefined : (judgeModel ?? models["judge"]) })

/** What the answers that are not in the log will take, in words. @param missing how many of them @param kept calls in the log that tell how long such prompts are */
const priceText = (missing: number, all: number, reader: string, kept: ReadonlyArray<StoredCall>): string => {
  if (missing === 0) return `all ${all} answers stand in the log; only verdicts that do not are asked for`
  const answers = kept.filter(({ role }) => role === "answer")
  const tokens = answers.reduce((sum, { usage }) => sum + usage.promptTokens + usage.completionTokens, 0) / Math.max(1, answers.length)
  const about = answers.length === 0 ? "" : `, about ${Math.round(missing * tokens).toLocaleString("en")} tokens`
  return `${all - missing} of ${all} answers stand in the log; ${missing} are asked of ${reader} now${about}, and judged; what was answered is kept, so that the same command goes on where it was`
}

const decodeAnswer = Schema.decodeUnknownOption(RolloutKey)
const decodeVerdict = Schema.decodeUnknownOption(Schema.Struct({ verdict: JudgementData.fields.verdict }))

/** Verdicts a run came to, by the key of the answer. */
const verdictsOfRun = (tenant: string, run: string) =>
  Effect.gen(function*() {
    const keys = new Map<string, string>()
    const verdicts = new Map<string, Verdict>()
    yield* eachResult(tenant, run, ({ address: { key, kind, step }, settled: { data, status } }) => {
      if (status !== "done") return
      const place = `${step}/${key}`
      if (kind === "rollout") Option.map(decodeAnswer(data), ({ callKey }) => keys.set(place, callKey))
      if (kind !== "judgement") return
      // An answer is settled before its judgement is asked for, so that its key is known by now.
      const callKey = keys.get(place)
      const judged = Option.getOrUndefined(decodeVerdict(data))
      if (callKey !== undefined && judged !== undefined && judged.verdict !== "error") verdicts.set(callKey, judged.verdict)
    })
    return verdicts
  })

/** Gets and judges answers; what the log holds is read from it, and what is to be paid for is told first. Fails when so many cannot be had or judged that a gate would be void. */
export const answerAll = (tenant: string, run: string, parameters: RunParameters, asks: ReadonlyArray<Ask>) =>
  Effect.gen(function*() {
    const store = yield* CallStore
    const users = [...new Set(asks.map(({ question }) => question.user))]
    yield* refuseOtherMemory(tenant, run, parameters.memoryPosition)
    const before = yield* keptCalls(tenant, users, 0)
    const texts = new Map(before.calls.map(({ key, text }) => [key, text]))
    const atOnce = yield* askedAtOnce
    const rollout = (ask: Ask, only?: "key") => {
      const { draw, principles, purpose, question: { id, user }, sample } = ask
      const { reader } = playersOf(ask, parameters)
      const input: RolloutInput = {
        question: { id, user }, ...(reader === undefined ? {} : { model: reader }), purpose, draw, sample,
        principles: principles.map(({ id, scope, text }) => ({ id, text, scope })),
        temperature: purpose === "gate" ? parameters.gateTemperature : 0, maxTokens: parameters.maxTokens, evidenceTokens: parameters.evidenceTokens,
        memoryPosition: parameters.memoryPosition, runSeed: parameters.seed
      }
      return request(requestSubject("retriever", "rollout"), { tenant, run, step: -1, input, ...(only === undefined ? {} : { only }) }, answerDeadlineMs).pipe(Effect.flatMap(decodeRollout))
    }
    const keys = yield* Effect.forEach(asks, (ask) => Effect.map(rollout(ask, "key"), ({ callKey }) => callKey), { concurrency: atOnce })
    const isKept = keys.map((key) => texts.has(key))
    // What is asked alike is one answer, whatever it is compared with.
    const distinct = new Set(keys)
    const reused = { answers: [...distinct].filter((key) => texts.has(key)).length, ofAnswers: distinct.size }
    const readers = new Set(asks.flatMap((ask, at) => (isKept[at] === true ? [] : [playersOf(ask, parameters).reader ?? "the reader"])))
    yield* say(priceText(reused.ofAnswers - reused.answers, reused.ofAnswers, [...readers].join(" and "), before.calls))

    const progress = progressLine()
    let done = 0
    let errors = 0
    const errorsMax = Math.floor(errorShareMax * asks.length)
    const failed = (ask: Ask, message: string) =>
      Effect.suspend(() => {
        errors += 1
        return errors > errorsMax
          ? Effect.fail(new CommandFailed({ message: `more than ${100 * errorShareMax} % of ${asks.length} answers cannot be had or judged, so nothing is compared; what was answered is kept. The last one: ${message}` }))
          // Could not be answered or judged: an error, never wrong.
          : Effect.succeed<Answered>({ ask, verdict: "error" })
      })
    /** By judge and answer, those of the run first: the same answer is judged once. */
    const verdicts = new Map([...yield* verdictsOfRun(tenant, run)].map(([key, verdict]) => [`${parameters.judge}/${(parameters.judge === "model" ? parameters.models["judge"] : undefined) ?? ""}/${key}`, verdict]))
    /** Name of the model that judged where none was named. */
    let judgeSet: string | undefined
    const answers = yield* Effect.forEach(asks, (ask, at) =>
      Effect.gen(function*() {
        const { judge, question: { id, user } } = ask
        const callKey = isKept[at] === true ? keys[at]! : (yield* rollout(ask)).callKey
        const text = texts.get(callKey) ?? Option.getOrUndefined(Option.map(yield* store.get(tenant, user, callKey), ({ text }) => text))
        if (text === undefined) return yield* failed(ask, "the reply is not in the call store: it was erased meanwhile")
        const { judgeModel } = playersOf(ask, parameters)
        const place = `${judge}/${judgeModel ?? ""}/${callKey}`
        const known = verdicts.get(place)
        if (known !== undefined) return { ask, verdict: known } satisfies Answered as Answered
        const reply = yield* request(requestSubject("evaluator", "judge"), { tenant, judge, ...(judgeModel === undefined ? {} : { model: judgeModel }), answers: [{ question: { id, user }, response: text }] }, answerDeadlineMs).pipe(Effect.flatMap(decodeJudge))
        if (judgeModel === undefined) judgeSet ??= reply.model
        const [judged] = reply.verdicts
        if (judged === undefined || judged.verdict === "error") return yield* failed(ask, judged?.reason ?? "the judge gave no verdict")
        verdicts.set(place, judged.verdict)
        return { ask, verdict: judged.verdict } satisfies Answered as Answered
      }).pipe(
        Effect.catchTag(["RequestRefused", "DeadlinePassed", "SchemaError"], ({ message }) => failed(ask, message)),
        Effect.tap(() => Effect.sync(() => progress.update(`${++done} of ${asks.length} answered`)))
      ), { concurrency: atOnce })
    progress.end()
    // A run may be asking about the same users meanwhile: its verdicts name it, and its answers have other keys. Facts of theirs may be extracted too.
    const paid = (yield* keptCalls(tenant, users, before.through)).calls.filter(({ key, role, tags }) => (role === "answer" ? distinct.has(key) : role === "judge" && tags.run === undefined))
    const sum = (pick: (call: StoredCall) => number) => paid.reduce((total, call) => total + pick(call), 0)
    return {
      answers,
      /** In the order asked. */
      keys,
      judgeSet,
      reused,
      paid: {
        calls: paid.length,
        answers: paid.filter(({ role }) => role === "answer").length,
        judgements: paid.filter(({ role }) => role === "judge").length,
        promptTokens: sum(({ usage }) => usage.promptTokens),
        completionTokens: sum(({ usage }) => usage.completionTokens)
      }
    }
  })
