/** Commands about evolution: making runs, reading them, and taking them elsewhere. */
import { Effect, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { request } from "#shared/actor/requests"
import { requestSubject } from "#shared/eventlog/subjects"
import { guidedBy } from "#services/reflector/online-words"
import { judgeCommand } from "./calibrate.ts"
import { cost } from "./cost.ts"
import { curve } from "./curve.ts"
import { diff } from "./diff.ts"
import { effectCommand } from "./effect.ts"
import { evaluate } from "./evaluate.ts"
import { exchangeCommands } from "./exchange.ts"
import { logLayer, withActors } from "./home.ts"
import { infer } from "./infer.ts"
import { blameCommand, historyCommand, retirementIn } from "./lineage.ts"
import { onlineCommand } from "./online.ts"
import { CommandFailed, emit, root, table } from "./root.ts"
import { runFlag, smallSample } from "./run-notes.ts"
import { adoptedNow, foldRun, generationMeant, replayAll, replayRun, type Replayed, type RunState } from "./runs.ts"
import { kindText, percent, points, some } from "./shown.ts"
import { split } from "./split.ts"
import { train } from "./train.ts"
import { verify } from "./verify.ts"
import { whatif } from "./whatif.ts"

const generationFlag = Flag.Int("generation").pipe(Flag.withDescription("Number of the generation; 0 holds what the run began with, which is nothing unless it goes on from another (default: the one the run recommends)"), Flag.optional)

const principleLines = (principles: Replayed["principles"]): string =>
  principles.length === 0 ? "  (no principles)" : table(principles.map(({ bornIn, id, scope, text }) => [`  ${id}`, `[${scope}]`, text, `since ${bornIn}`]))

/** How generations of an imported run did where it was made, by its own judge. */
const evaluatedThere = ({ generations, imported }: RunState) => {
  const { baseline, steps = {} } = imported?.evaluation ?? {}
  const figures = ({ accuracy, correct, errors = 0, total }: NonNullable<typeof baseline>) => ({ answers: total, correct, errors, accuracy })
  return [
    ...(baseline === undefined ? [] : [{ generation: 0, step: 0, ...figures(baseline) }]),
    ...Object.values(steps).map(({ results, step_num: step }) => ({ generation: generations.findLast((one) => one.step <= step)?.number ?? 0, step, ...figures(results) }))
  ]
}

/** What the guard test of a run came to: the generation against generation 0, on untouched questions. */
const guardOf = ({ counts, decision, figures, generation, reason }: NonNullable<RunState["guard"]>) => ({ generation, decision, reason, counts, difference: figures.mean })
const guardLine = ({ counts, decision, difference, generation, reason }: ReturnType<typeof guardOf>): string =>
  `guard test of generation ${generation} against generation 0, on ${some(counts.questions, "untouched question")}: ${points(difference)} points, ${decision} — ${reason}`

const generations = Command.make("generations", { run: runFlag }, ({ run }) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const all = yield* replayAll(tenant, run)
    const adopted = yield* adoptedNow(tenant)
    const result = {
      generations: all.map(({ generation, hash, position, principles }) => ({
        n: generation,
        hash,
        position,
        principles: principles.map(({ bornIn, id, parents, scope, text }) => ({ id, text, scope, bornIn, parents })),
        validation: state.generations[generation]?.decisions.map(({ counts, decision, figures, scope }) => ({ scope, decision, counts, difference: figures.mean })) ?? []
      })),
      rejected: state.operations.filter(({ decision }) => decision !== "accepted").map(({ after, before, decision, difference, id, merged, operation, reason, scope, sources, step }) => ({
        step, scope, decision, reason, operation: id, kind: operation, principle: (after ?? before)?.id ?? null, text: (after ?? before)?.text ?? "", difference,
        ...(merged === undefined ? {} : { merged: merged.map((one) => one.id) }),
        retirement: retirementIn(state, operation, sources)
      })),
      // Nothing of an imported record was tested here.
      recommended: state.imported === undefined ? (state.recommended ?? null) : null,
      reason: state.reason ?? null,
      guard: state.guard === undefined ? null : guardOf(state.guard),
      // Whichever of them guides live answers just now.
      adopted: adopted?.run === run ? adopted.generation : null,
      ...(state.imported === undefined ? {} : { evaluated: evaluatedThere(state) }),
      // Asked directly; `whatif --list` has them.
      whatifs: state.whatIfs.length,
      undersized: state.undersized
    }
    const on = state.imported?.evaluation?.evaluated_on
    yield* emit(result, ({ adopted, evaluated = [], generations, guard, reason, recommended, rejected, whatifs }) =>
      [
        ...generations.map(({ hash, n, principles }) => `generation ${n}  ${hash.slice(0, 16)}${n === recommended ? "  recommended" : ""}${n === adopted ? "  guides live answers" : ""}\n${principleLines(principles)}`),
        rejected.length === 0 ? "nothing was rejected" : "not accepted (gate figures in points; selection, not evidence):",
        ...(rejected.length === 0 ? [] : [table(rejected.map(({ decision, difference, kind, merged, principle, reason, retirement, scope, step, text }) =>
          [`  step ${step}`, decision, points(difference), retirement ? "retire" : kindText(kind, merged), principle ?? "", `[${scope}] ${text} — ${reason}`]))]),
        ...evaluated.map(({ accuracy, answers, correct, errors, generation, step }) => {
          const which = `generation ${generation}${step === 0 ? "" : ` of step_${step}`}`
          return `evaluated where it was made${on === undefined ? "" : `, on ${on}`}: ${which}: ${correct} of ${answers} answers right${errors === 0 ? "" : `, ${some(errors, "error")}`} (${percent(accuracy)} %)`
        }),
        guard === null ? "" : guardLine(guard),
        recommended !== null ? `recommended: generation ${recommended} — ${reason ?? ""}` : state.imported === undefined ? "the run is not finished: nothing is recommended yet" : "an imported record: nothing of it was tested here, so nothing is recommended",
        whatifs === 0 ? "" : `${some(whatifs, "what-if")} about them: \`metamem whatif --run ${run} --list\``,
        ...smallSample(state)
      ].filter((line) => line !== "").join("\n"))
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("The generations of a run and what was not accepted"))

/** A generation rebuilt; fails when it is not what was sealed. */
const identicalRun = (tenant: string, run: string, generation: number) =>
  Effect.gen(function*() {
    const replayed = yield* replayRun(tenant, run, generation)
    if (!replayed.identical) {
      return yield* new CommandFailed({ message: `generation ${generation} of ${run} replays to ${replayed.hash}, but ${replayed.sealed.hash} was sealed: the log is damaged or was written by other code` })
    }
    return replayed
  })

const replay = Command.make("replay", { run: runFlag, generation: generationFlag }, ({ generation: given, run }) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const generation = yield* generationMeant(yield* foldRun(tenant, run), run, given)
    const replayed = yield* identicalRun(tenant, run, generation)
    yield* emit(
      {
        run,
        generation,
        hash: replayed.hash,
        position: replayed.position,
        principles: replayed.principles.map(({ bornIn, id, parents, scope, text }) => ({ id, text, scope, bornIn, parents })),
        modelCalls: 0
      },
      () => `generation ${generation} of ${run}, ${replayed.hash}, identical to what was sealed, 0 model calls\n${principleLines(replayed.principles)}`
    )
  }).pipe(Effect.provide(logLayer))).pipe(Command.withDescription("Rebuild a generation from the log and compare it with what was sealed; no model is asked"))

/** What whoever adopts a generation that its run does not recommend ought to know. The empty one can do no harm. */
const adoptionWarnings = (state: RunState, run: string, generation: number): ReadonlyArray<string> => {
  const { imported, reason, recommended } = state
  if (generation === 0) return []
  if (imported !== undefined) return [`${run} is an imported record: nothing of it was tested here`]
  const notRecommended = recommended === undefined ? [`${run} is not finished: nothing of it has passed a guard test`] : recommended === generation ? [] : [`${run} recommends generation ${recommended} — ${reason ?? ""}`]
  return [...notRecommended, ...smallSample(state)]
}

const adopt = Command.make("adopt", { run: runFlag, generation: generationFlag }, ({ generation: given, run }) =>
  Effect.gen(function*() {
    const { tenant } = yield* root
    const state = yield* foldRun(tenant, run)
    const generation = yield* generationMeant(state, run, given)
    const { principles } = yield* identicalRun(tenant, run, generation)
    const reply = yield* request(requestSubject("reflector", "adopt"), { tenant, run, generation }, 10_000).pipe(
      Effect.flatMap(Schema.decodeUnknownEffect(Schema.Struct({ tenant: Schema.String, run: Schema.String, generation: Schema.Int })))
    )
    const warnings = adoptionWarnings(state, run, generation)
    yield* emit({ ...reply, warnings }, () => [`live answers of ${tenant} are from here on guided by ${guidedBy({ run, generation }, principles.length)}`, ...warnings].join("\n"))
  }).pipe(withActors(["reflector"]))).pipe(Command.withDescription("Let a generation guide live answers"))

export const evolutionCommands = [split, train, evaluate, infer, adopt, onlineCommand, generations, replay, diff, blameCommand, historyCommand, cost, curve, effectCommand, verify, ...exchangeCommands, judgeCommand, whatif] as const
