/** A run from its opening to its end, told as it goes on, and what came of it. */
import { Clock, Effect, Option, Result, Schema, Stream } from "effect"
import { heldJobs } from "#shared/actor/jobs"
import { request } from "#shared/actor/requests"
import { EventLog } from "#shared/eventlog/event-log"
import { requestSubject, resultFilter, runSubject } from "#shared/eventlog/subjects"
import { fewestMixed } from "#shared/metamemory/budget"
import { CallStore } from "#shared/model/call-store"
import { settings as roleSettings } from "#shared/model/roles"
import { type CostRow, curveOf, makeCost, mixedShareOf } from "#services/reflector/analysis"
import { shareInPercent } from "#services/reflector/online-words"
import type { RunRequest } from "#services/reflector/parameters"
import { OpenReply, RunStatus } from "#services/reflector/protocol"
import { reflectorCodec } from "#services/reflector/run-events"
import { type Repeated, spentOf } from "./repeated.ts"
import { progressLine, root } from "./root.ts"
import { errorAlarm, lettersOf, runLine } from "./run-lines.ts"
import { makePace, moneyOf } from "./run-progress.ts"
import { type Failures, failuresOf, foldRun, type RunState } from "./runs.ts"
import { absent, watchActors } from "./watch-actors.ts"
import { watchModels } from "./watch-models.ts"

const decodeOpen = Schema.decodeUnknownEffect(OpenReply)
const decodeStatus = Schema.decodeUnknownEffect(RunStatus)

export interface TrainResult {
  readonly run: string
  /** Number of the last step taken. */
  readonly steps: number
  readonly generations: number
  readonly incumbent: number
  readonly recommended: number
  readonly calls: number
  readonly cost: { readonly promptTokens: number; readonly completionTokens: number; readonly reusedCalls: number; readonly repeated: Repeated }
  readonly errors: number
  /** What the errors were, by kind of work, with the last one's message. */
  readonly failures: ReadonlyArray<Failures>
  readonly alarms: ReadonlyArray<string>
  /** Training attempts that were judged. */
  readonly judged: number
  readonly undersized: boolean
}

/** Opens a run, or goes on with one that was opened so; refused where another stands under its name. */
export const openRun = (run: string, open: RunRequest) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    return yield* request(requestSubject("reflector", "open"), { tenant, run, request: open }, 120_000).pipe(Effect.flatMap(decodeOpen))
  })

/**
 * Opens a run, or goes on with it, and follows it until it is finished; each event is told as it is recorded.
 *
 * @param opened what its opening said, where it was opened just now
 */
export const runToEnd = (run: string, open: RunRequest, tell: (line: string) => Effect.Effect<void>, opened?: OpenReply) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const log = yield* EventLog
    const reply = opened ?? (yield* openRun(run, open))
    if (!reply.opened) yield* tell(`the run ${run} stands in the log and goes on where it was`)
    const progress = progressLine()
    let shown = ""
    let movedMs = yield* Clock.currentTimeMillis
    const prices = yield* roleSettings
    const spent = makeCost()
    const paceOf = makePace()
    const counting = log.follow([resultFilter({ tenant, run })]).pipe(Stream.runForEach((commit) => Effect.sync(() => spent.add(commit))), Effect.ignore, Effect.andThen(Effect.never))
    const showing = Effect.gen(function*() {
      const status = yield* request(requestSubject("reflector", "status"), { tenant, run }, 10_000).pipe(Effect.flatMap(decodeStatus))
      const now = [status.step, status.stage, status.done].join()
      if (now !== shown) movedMs = yield* Clock.currentTimeMillis
      shown = now
      if (status.stage === "finished") return
      const rows = spent.rows()
      const sum = (pick: (row: CostRow) => number): number => rows.reduce((total, row) => total + pick(row), 0)
      const pace = paceOf({
        calls: sum(({ calls }) => calls), reused: sum(({ reused }) => reused), promptTokens: sum(({ promptTokens }) => promptTokens), completionTokens: sum(({ completionTokens }) => completionTokens),
        money: moneyOf(rows, prices), expectedCalls: status.expectedCalls, step: status.step, steps: status.steps
      }, yield* Clock.currentTimeMillis)
      progress.update(`step ${status.step} of ${status.steps}, ${status.stage}${status.expected > 0 ? `: ${status.done} of ${status.expected} done` : ""}${status.failed > 0 ? `, ${status.failed} failed` : ""}; ${pace}`)
    }).pipe(Effect.ignore, Effect.andThen(Effect.sleep("500 millis")), Effect.forever)
    const following = log.follow([runSubject({ tenant, run })]).pipe(
      Stream.takeUntil((commit) => commit.events.some(({ type }) => type === "RunFinished")),
      Stream.runForEach((commit) =>
        Effect.gen(function*() {
          progress.end()
          for (const stored of commit.events) {
            const event = reflectorCodec.decode(stored)
            const line = Result.isSuccess(event) ? runLine(event.success) : undefined
            if (line !== undefined) yield* tell(line)
          }
        })
      )
    )
    const watching = watchActors({ missing: absent(["reflector", "retriever", "evaluator"]), tell, everyMs: 10_000, limitMs: 120_000 })
    const waiting = watchModels({ held: heldJobs, movedMs: () => movedMs, tell, limitMs: { away: 120_000, rejected: 10_000 } })
    yield* following.pipe(Effect.raceFirst(showing), Effect.raceFirst(counting), Effect.raceFirst(watching), Effect.raceFirst(waiting), Effect.ensuring(Effect.sync(() => progress.end())))
    progress.end()
    return yield* resultOf(run)
  })

/** What the budget could only suppose: steps found fewer questions to learn from than are needed. None where it was said before the run. */
export const fewMixed = ({ parameters, steps, undersized }: Pick<RunState, "parameters" | "steps" | "undersized">): Option.Option<string> => {
  const share = mixedShareOf(steps)
  if (parameters === undefined || share === undefined || undersized || share * parameters.batch >= fewestMixed) return Option.none()
  const wanted = share === 0 ? "" : `, so a batch of ${Math.ceil(fewestMixed / share)} would do`
  return Option.some(`${shareInPercent(share)} of the questions came out both ways, ${(share * parameters.batch).toFixed(1)} a step; at least ${fewestMixed} a step are needed${wanted}`)
}

/** The result of a finished run, from the log. */
export const resultOf = (run: string) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const { repeated, rows } = yield* spentOf(tenant, run, state)
    const sum = (pick: (row: CostRow) => number): number => rows.reduce((total, row) => total + pick(row), 0)
    const errors = sum(({ failed }) => failed)
    return {
      run,
      steps: state.stopped?.step ?? state.parameters?.steps ?? 0,
      generations: state.generations.length,
      incumbent: state.trials.generation,
      recommended: state.recommended ?? 0,
      calls: sum(({ calls }) => calls),
      cost: { promptTokens: sum(({ promptTokens }) => promptTokens), completionTokens: sum(({ completionTokens }) => completionTokens), reusedCalls: sum(({ reused }) => reused), repeated },
      errors,
      failures: errors === 0 ? [] : yield* failuresOf(tenant, run),
      alarms: [...state.alarms, ...state.steps.flatMap(({ attempts, step }) => errorAlarm(step, lettersOf(attempts)) ?? []), ...Option.toArray(fewMixed(state))],
      judged: curveOf(state).reduce((total, { correct, incorrect }) => total + correct + incorrect, 0),
      undersized: state.undersized
    } satisfies TrainResult
  }).pipe(Effect.provide(CallStore.layerJetStream))
