/**
 * `metamem whatif --direct`: the same validation questions asked with one thing changed, with the same sample identities, so that what the
 * change does not touch is read from the log. What comes out is recorded with the run; asked again it is read, and nothing is asked.
 */
import { Effect, Option, Result, Schema } from "effect"
import { verdictLetters } from "#shared/domain/question"
import { request } from "#shared/actor/requests"
import type { Principle } from "#shared/domain/principle"
import { requestSubject } from "#shared/eventlog/subjects"
import { digest } from "#shared/metamemory/random"
import { inScope } from "#shared/metamemory/router"
import type { WhatIfArm, WhatIfOutcome } from "#shared/metamemory/what-if"
import { CallStore } from "#shared/model/call-store"
import { settings as roleSettings } from "#shared/model/roles"
import { type WhatIfFound, WhatIfReply } from "#services/reflector/protocol"
import type { DirectChange } from "#services/reflector/run-events"
import { nothingPaid, whatIfsAsking } from "#services/reflector/what-ifs"
import { answerAll, type Answered, type Ask } from "./arms.ts"
import { changed, type StartingPoint, startingPoint } from "./change.ts"
import { logLayer, withActors } from "./home.ts"
import { CommandFailed, emit, root, WrongUsage } from "./root.ts"
import { foldRun } from "./runs.ts"
import { reportOf, whatIfText } from "./whatif-report.ts"

/** Most samples a question and arm. */
const samplesMax = 100

const same = (a: ReadonlyArray<Principle>, b: ReadonlyArray<Principle>): boolean => a.length === b.length && a.every(({ id, text }, at) => b[at]?.id === id && b[at].text === text)

/** Answers that tell what a change does; the placebo's are the samples after those of the arms, which the gate may have asked for. Questions that are shown the same before and after would be answered alike and are not asked. */
export const asksOf = ({ draws, parameters, principles }: StartingPoint, after: ReadonlyArray<Principle>, change: DirectChange, samples: number): ReadonlyArray<Ask> =>
  parameters.validation.flatMap((question) => {
    const shown = (list: ReadonlyArray<Principle>) => list.filter((principle) => inScope(principle, question.questionClass))
    const [old, now] = [shown(principles), shown(after)]
    if (change.kind !== "judge" && change.kind !== "reader" && same(old, now)) return []
    const ask = (arm: WhatIfArm, list: ReadonlyArray<Principle>, from: number, by: Partial<Pick<Ask, "judge" | "judgeModel" | "reader">> = {}) =>
      Array.from({ length: samples }, (_, sample): Ask => ({ question, arm, purpose: "gate", sample: from + sample, draw: draws[question.questionClass] ?? 0, principles: list, judge: parameters.judge, ...by }))
    const by = change.kind === "judge" ? { judge: change.judge, ...(change.model === undefined ? {} : { judgeModel: change.model }) } : change.kind === "reader" ? { reader: change.model } : {}
    return [...ask("before", old, 0), ...ask("after", now, 0, by), ...ask("placebo", old, samples)]
  })


/** How the answers to each question came out, in the order asked. An arm that was not asked for has no letters. */
export const outcomesOf = (answers: ReadonlyArray<Answered>): ReadonlyArray<WhatIfOutcome> =>
  [...Map.groupBy(answers, ({ ask }) => ask.question.id)].map(([question, own]) => {
    const of = (arm: WhatIfArm): string => own.filter(({ ask }) => ask.arm === arm).map(({ verdict }) => verdictLetters[verdict]).join("")
    return { question, before: of("before"), after: of("after"), placebo: of("placebo") }
  })

const lexical = "lexical"

/** Who answers and who judges, by name. @param judgeSet the judge's model where none is named */
const playersOf = ({ parameters: { judge, models } }: StartingPoint, change: DirectChange, judgeSet: string | undefined): WhatIfFound["by"] => {
  const before = { reader: models["answer"] ?? "", judge: judge === "lexical" ? lexical : (models["judge"] ?? judgeSet ?? judge) }
  const judgedBy = change.kind === "judge" ? (change.judge === "lexical" ? lexical : (change.model ?? judgeSet ?? change.judge)) : before.judge
  return { before, after: { reader: change.kind === "reader" ? change.model : before.reader, judge: judgedBy } }
}

const errorsOf = ({ counts: { after, before, placebo } }: StartingPoint["whatIfs"][number]): number => before.errors + after.errors + placebo.errors

const decodeReply = Schema.decodeUnknownEffect(WhatIfReply)

export const direct = (run: string, from: number, change: DirectChange, wantedSamples: Option.Option<number>) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const start = yield* startingPoint(tenant, run, from)
    const samples = Option.getOrElse(wantedSamples, () => start.parameters.validationSamples)
    if (samples < 1 || samples > samplesMax) return yield* new WrongUsage({ message: `--samples is a number from 1 to ${samplesMax}` })
    const after = changed(start, change)
    if (Result.isFailure(after)) return yield* new WrongUsage({ message: after.failure })
    const asked = { generation: from, change, principles: after.success, samples }
    // By a judge that is set now and was not then it was never asked.
    const judge = change.kind === "judge" && change.judge === "model" && change.model === undefined ? (yield* roleSettings).judge.model : undefined
    // One with errors is asked again, and they may be made good.
    const standing = whatIfsAsking(start, asked, judge).findLast((one) => errorsOf(one) === 0)
    if (standing !== undefined) return yield* emit(reportOf(run, start, standing, { reused: { ...standing.reused, answers: standing.reused.ofAnswers }, paid: nothingPaid, fromLog: true }), whatIfText)
    const asks = asksOf(start, after.success, change, samples)
    if (asks.length === 0) return yield* new CommandFailed({ message: `no validation question of ${run} is shown a principle of that scope, so nothing can be told` })
    const report = yield* Effect.gen(function*() {
      const { answers, judgeSet, keys, paid, reused } = yield* answerAll(tenant, run, start.parameters, asks)
      const found: WhatIfFound = { ...asked, by: playersOf(start, change, judgeSet), outcomes: outcomesOf(answers), answers: digest(keys.join("\n")).slice(0, 32), reused, paid }
      const { number } = yield* request(requestSubject("reflector", "whatif"), { tenant, run, found }, 30_000).pipe(Effect.flatMap(decodeReply))
      const state = yield* foldRun(tenant, run)
      const recorded = state.whatIfs.find((one) => one.number === number)
      if (recorded === undefined) return yield* new CommandFailed({ message: `what-if ${number} of ${run} was recorded and cannot be read yet: give the same command again` })
      return reportOf(run, start, recorded, { reused, paid, fromLog: false })
    }).pipe(Effect.provide(CallStore.layerJetStream), withActors(["retriever", "evaluator", "reflector"]))
    yield* emit(report, whatIfText)
  }).pipe(Effect.provide(logLayer))
