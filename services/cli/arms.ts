/** Answers got for a comparison: asked as the samples a run would have asked, judged, and read from the log where they stand there. */
import { Effect, Option, Schema, Stream } from "effect"
import { request } from "#shared/actor/requests"
import type { Principle } from "#shared/domain/principle"
import type { Verdict } from "#shared/domain/question"
import { EventLog } from "#shared/eventlog/event-log"
import { callsFilter, requestSubject } from "#shared/eventlog/subjects"
import { StoredCall } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { JudgeReply, type JudgeKind } from "#services/evaluator/protocol"
import type { RunParameters, RunQuestion } from "#services/reflector/parameters"
import { RolloutData, type RolloutInput } from "#services/retriever/protocol"
import { answerDeadlineMs, askedAtOnce } from "./asking.ts"
import { progressLine } from "./root.ts"

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
  readonly judge: JudgeKind
}

export interface Answered {
  readonly ask: Ask
  readonly verdict: Verdict
}

const decodeRollout = Schema.decodeUnknownEffect(Schema.Struct({ callKey: RolloutData.fields.callKey }))
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

/** Gets and judges answers; what the log holds is read from it. */
export const answerAll = (tenant: string, run: string, parameters: RunParameters, asks: ReadonlyArray<Ask>) =>
  Effect.gen(function*() {
    const store = yield* CallStore
    const users = [...new Set(asks.map(({ question }) => question.user))]
    const before = yield* keptCalls(tenant, users, 0)
    const texts = new Map(before.calls.map(({ key, text }) => [key, text]))
    const progress = progressLine()
    let done = 0
    let reused = 0
    /** Verdicts asked for, by judge and answer: the same answer is judged once. */
    const verdicts = new Map<string, Verdict>()
    const answers = yield* Effect.forEach(asks, (ask) =>
      Effect.gen(function*() {
        const { draw, judge, principles, purpose, question: { id, user }, sample } = ask
        const input: RolloutInput = {
          question: { id, user }, purpose, draw, sample,
          principles: principles.map(({ id, scope, text }) => ({ id, text, scope })),
          temperature: purpose === "gate" ? parameters.gateTemperature : 0, maxTokens: parameters.maxTokens, evidenceTokens: parameters.evidenceTokens,
          memoryPosition: parameters.memoryPosition, runSeed: parameters.seed
        }
        const { callKey } = yield* request(requestSubject("retriever", "rollout"), { tenant, run, step: -1, input }, answerDeadlineMs).pipe(Effect.flatMap(decodeRollout))
        if (texts.has(callKey)) reused += 1
        const text = texts.get(callKey) ?? Option.getOrUndefined(Option.map(yield* store.get(tenant, user, callKey), ({ text }) => text))
        if (text === undefined) return { ask, verdict: "error" } satisfies Answered as Answered
        const known = verdicts.get(`${judge}/${callKey}`)
        if (known !== undefined) return { ask, verdict: known } satisfies Answered as Answered
        const reply = yield* request(requestSubject("evaluator", "judge"), { tenant, judge, answers: [{ question: { id, user }, response: text }] }, answerDeadlineMs).pipe(Effect.flatMap(decodeJudge))
        const verdict = reply.verdicts[0]?.verdict ?? "error"
        verdicts.set(`${judge}/${callKey}`, verdict)
        return { ask, verdict } satisfies Answered as Answered
      }).pipe(
        // Could not be answered or judged: an error, never wrong.
        Effect.catchTag(["RequestRefused", "DeadlinePassed", "SchemaError"], () => Effect.succeed<Answered>({ ask, verdict: "error" })),
        Effect.tap(() => Effect.sync(() => progress.update(`${++done} of ${asks.length} answered`)))
      ), { concurrency: yield* askedAtOnce })
    progress.end()
    const paid = (yield* keptCalls(tenant, users, before.through)).calls
    const sum = (pick: (call: StoredCall) => number) => paid.reduce((total, call) => total + pick(call), 0)
    return {
      answers,
      reused: { answers: reused, ofAnswers: asks.length },
      paid: {
        calls: paid.length,
        answers: paid.filter(({ role }) => role === "answer").length,
        judgements: paid.filter(({ role }) => role === "judge").length,
        promptTokens: sum(({ usage }) => usage.promptTokens),
        completionTokens: sum(({ usage }) => usage.completionTokens)
      }
    }
  })
