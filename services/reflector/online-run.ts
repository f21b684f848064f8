/** A run from live feedback: what is asked of the reflector for a batch, and what is made of it when it is over. */
import type { Question } from "#shared/domain/question"
import type { LedgerEntry } from "#shared/metamemory/ledger"
import { digest } from "#shared/metamemory/random"
import type { Batch } from "./online-feedback.ts"
import { presets, type RunParameters, type RunQuestion, type RunRequest } from "./parameters.ts"
import { verdictCount } from "./stages.ts"
import type { RunState } from "./state.ts"

/** Steps of an online run: three rounds through its training questions, within these bounds. */
const steps = { rounds: 3, least: 3, most: 12 } as const
/** Steps in a row that may seal nothing before an online run ends. */
const patience = 4
/** Answers a side that the guard test of an online run is worth, as far as its samples allow. */
const guardAnswers = 300

const nonEmpty = ([first, ...more]: ReadonlyArray<Question>): RunRequest["train"] | undefined => {
  const ref = ({ id, user }: Question) => ({ id, user })
  return first === undefined ? undefined : [ref(first), ...more.map(ref)]
}

export const questionsOf = (parameters: RunParameters | undefined): ReadonlyArray<RunQuestion> =>
  parameters === undefined ? [] : [...parameters.train, ...parameters.validation, ...parameters.guard]

/** A run over a batch, of a size that fits it. @param branch what it goes on from; undefined = no principles */
export const onlineRequest = (batch: Extract<Batch, { _tag: "Ready" }>, of: { readonly seed: number; readonly isRemote: boolean; readonly branch: RunRequest["branch"]; readonly ledger: ReadonlyArray<LedgerEntry> }): RunRequest | undefined => {
  const [train, validation] = [nonEmpty(batch.train), nonEmpty(batch.validation)]
  if (train === undefined || validation === undefined) return undefined
  const sizes = of.isRemote ? presets.metamem : presets.laptop
  const size = Math.min(sizes.batch, train.length)
  return {
    ...sizes,
    preset: "online",
    datasetHash: digest("live feedback", ...[...batch.train, ...batch.validation, ...batch.guard].map(({ id }) => id)),
    seed: of.seed,
    steps: (of.branch?.step ?? 0) + Math.min(steps.most, Math.max(steps.least, Math.ceil((steps.rounds * train.length) / size))),
    batch: size,
    patience,
    // What passes is answered in shadow and compared again before it is adopted, and a batch has few questions for a guard.
    guardPolicy: "likely",
    guardSamples: Math.min(9, Math.max(sizes.guardSamples, Math.round(guardAnswers / batch.guard.length))),
    // The smallest batch that may be learnt from is smaller than what a run is allowed without being asked; it is labelled so.
    anyway: true,
    train,
    validation,
    guard: nonEmpty(batch.guard) ?? [],
    test: [],
    ...(of.branch === undefined ? {} : { branch: of.branch }),
    ledger: of.ledger
  }
}

/** True of a run that is over and could decide nothing, because too many of its answers could not be had or judged: a model was away for long, or a user was erased. */
export const cameToNothingByErrors = ({ guard, operations, phase, recommended, steps }: RunState): boolean => {
  if (phase._tag !== "Finished" || recommended !== 0) return false
  const verdicts = steps.flatMap(({ attempts }) => attempts.map(({ verdicts }) => verdicts)).join("")
  return guard?.decision === "void" || (operations.length > 0 && operations.every(({ decision }) => decision === "void")) || verdictCount(verdicts, "e") > verdicts.length / 2
}

/** What became of the changes a run tried, by number; undefined where it tried none. */
const triedText = (operations: ReadonlyArray<{ readonly decision: string }>): string | undefined =>
  operations.length === 0 ? undefined : `of ${operations.length} changes tried ${[...Map.groupBy(operations, ({ decision }) => decision)].map(([decision, own]) => `${own.length} ${decision}`).join(", ")}`

/** What a run that is over says of itself: what it tried, in words. */
export const triedBy = (state: RunState): string =>
  [
    state.reason,
    triedText(state.operations),
    ...(cameToNothingByErrors(state) ? ["errors kept it from deciding, which uses up its feedback only when it happens twice"] : [])
  ].filter((text) => text !== undefined).join("; ")
