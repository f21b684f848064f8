/**
 * Precision and recall of reconciliation on labelled pairs. By rule: as shipped, and by ten-fold cross-validation with the weights fitted
 * anew on the other nine tenths, which is the figure to believe. By the model of the role reconcile: with the prompt that `metamem
 * reconcile` sends. `--fit` prints weights fitted on all pairs.
 *
 *     node services/cli/bench/reconcile.ts [FILE] [--fit]
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Effect, Schema } from "effect"
import { Models } from "#shared/model/models"
import { featureNames, type Features, featuresOf, statementOf } from "#services/compressor/construction/reconcile-features"
import { promptTemplate, reconcileMessages } from "#services/compressor/construction/reconcile-prompt"
import { decideReconcile, type ReconcileAction, reconcileActions, type ReconcileWeights } from "#services/compressor/construction/reconcile-rules"

const Pair = Schema.Struct({
  id: Schema.String,
  earlier: Schema.Struct({ text: Schema.String, time: Schema.String }),
  later: Schema.Struct({ text: Schema.String, time: Schema.String }),
  label: Schema.Literals(reconcileActions)
})
type Pair = typeof Pair.Type

export interface LabelFigures {
  readonly precision: number
  readonly recall: number
  readonly pairs: number
}
export interface ReconcileFigures {
  readonly accuracy: number
  readonly byLabel: Readonly<Record<ReconcileAction, LabelFigures>>
}
export interface ReconcileBench {
  readonly pairs: number
  /** The shipped weights, which were fitted on these pairs. */
  readonly inSample: ReconcileFigures
  /** Weights fitted without the pairs they are measured on; the features were chosen with all pairs known. */
  readonly crossValidated: ReconcileFigures
}

export const defaultPairsFile = join(import.meta.dirname, "../../../data/reconcile-pairs.jsonl")
const folds = 10
/** Strength of the penalty on weights, per pair. */
const penalty = 0.5
const steps = 600
const stepSize = 1

const readPairs = (file: string): ReadonlyArray<Pair> =>
  readFileSync(file, "utf8").split("\n").filter((line) => line.trim() !== "").map((line) => Schema.decodeUnknownSync(Pair)(JSON.parse(line)))

const features = (pair: Pair): Features => featuresOf(statementOf(pair.earlier.text), statementOf(pair.later.text))

/** Multinomial logistic regression by gradient descent from zero; deterministic. */
export const fitWeights = (pairs: ReadonlyArray<Pair>): ReconcileWeights => {
  const names = ["bias", ...featureNames] as const
  const rows = pairs.map((pair) => {
    const found = features(pair)
    return { values: names.map((name) => (name === "bias" ? 1 : found[name])), label: reconcileActions.indexOf(pair.label) }
  })
  // Names by actions, row-major, as are the sums below.
  const weights = new Float64Array(names.length * 3)
  for (let step = 0; step < steps; step++) {
    const sums = new Float64Array(weights.length)
    for (const { values, label } of rows) {
      const scores = [0, 1, 2].map((action) => values.reduce((sum, value, i) => sum + value * (weights[i * 3 + action] as number), 0))
      const top = Math.max(...scores)
      const powers = scores.map((score) => Math.exp(score - top))
      const total = powers.reduce((a, b) => a + b, 0)
      values.forEach((value, i) => {
        if (value === 0) return
        powers.forEach((power, action) => (sums[i * 3 + action] = (sums[i * 3 + action] as number) + value * (power / total - (label === action ? 1 : 0))))
      })
    }
    sums.forEach((sum, at) => {
      const own = weights[at] as number
      weights[at] = own - (stepSize * (sum + (at < 3 ? 0 : penalty * own))) / rows.length
    })
  }
  return Object.fromEntries(names.map((name, i) => [name, [weights[i * 3], weights[i * 3 + 1], weights[i * 3 + 2]]])) as unknown as ReconcileWeights
}

const figures = (pairs: ReadonlyArray<Pair>, decided: ReadonlyArray<ReconcileAction>): ReconcileFigures => {
  const right = (label?: ReconcileAction): number => pairs.filter((pair, i) => pair.label === decided[i] && (label === undefined || pair.label === label)).length
  const byLabel = Object.fromEntries(reconcileActions.map((label) => {
    const said = decided.filter((action) => action === label).length
    const wanted = pairs.filter((pair) => pair.label === label).length
    return [label, { precision: said === 0 ? 0 : right(label) / said, recall: wanted === 0 ? 0 : right(label) / wanted, pairs: wanted }]
  })) as Record<ReconcileAction, LabelFigures>
  return { accuracy: pairs.length === 0 ? 0 : right() / pairs.length, byLabel }
}

/** Measures on a file of pairs `{id, earlier: {text, time}, later: {text, time}, label}`, one a line. */
export const benchReconcile = (file = defaultPairsFile): ReconcileBench => {
  const pairs = readPairs(file)
  const decide = (pair: Pair, weights?: ReconcileWeights): ReconcileAction => decideReconcile(pair.earlier, pair.later, undefined, weights).action
  const held = new Map<Pair, ReconcileAction>()
  for (let fold = 0; fold < folds; fold++) {
    const weights = fitWeights(pairs.filter((_, i) => i % folds !== fold))
    pairs.forEach((pair, i) => i % folds === fold && held.set(pair, decide(pair, weights)))
  }
  return {
    pairs: pairs.length,
    inSample: figures(pairs, pairs.map((pair) => decide(pair))),
    crossValidated: figures(pairs, pairs.map((pair) => held.get(pair) ?? "keep"))
  }
}

export interface ModelReconcileBench {
  readonly model: string
  readonly template: string
  readonly pairs: number
  /** Pairs the model gave no usable reply to; they count as kept, as they would be. */
  readonly errors: number
  readonly figures: ReconcileFigures
}

/** Asks the model of the role reconcile about every pair, a few at a time. Fails when none is set. */
export const benchReconcileModel = (file = defaultPairsFile, progress: (done: number, of: number) => void = () => undefined) =>
  Effect.gen(function*() {
    const models = yield* Models
    const model = yield* models.identity("reconcile")
    const pairs = readPairs(file)
    let done = 0
    let errors = 0
    const decided = yield* Effect.forEach(
      pairs,
      ({ earlier, id, later }) =>
        models.call({
          role: "reconcile",
          messages: reconcileMessages({ earlier: asFact(`${id}/earlier`, earlier), later: asFact(`${id}/later`, later) }),
          parameters: { temperature: 0 },
          tenant: "bench",
          scope: "bench",
          templateVersion: promptTemplate,
          inputs: [id]
        }).pipe(
          Effect.map(({ value }): ReconcileAction => value.action),
          Effect.catch(() => Effect.sync((): ReconcileAction => (errors++, "keep"))),
          Effect.tap(() => Effect.sync(() => progress(++done, pairs.length)))
        ),
      { concurrency: models.casting("reconcile")?.concurrency ?? 4 }
    )
    return { model, template: promptTemplate, pairs: pairs.length, errors, figures: figures(pairs, decided) } satisfies ModelReconcileBench
  })

/** A statement as the fact that reconciliation would be shown. */
const asFact = (id: string, { text, time }: Pair["earlier"]) => ({ id, kind: "fact" as const, text, time, speaker: "user", turns: [id] as const, conversation: "bench" })

const table = (name: string, { accuracy, byLabel }: ReconcileFigures): string =>
  [
    `${name}: accuracy ${accuracy.toFixed(3)}`,
    ...reconcileActions.map((label) => `  ${label.padEnd(10)} precision ${byLabel[label].precision.toFixed(3)}  recall ${byLabel[label].recall.toFixed(3)}  of ${byLabel[label].pairs}`)
  ].join("\n")

if (import.meta.main) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { fit: { type: "boolean" } } })
  const file = positionals[0] ?? defaultPairsFile
  if (values.fit === true) {
    for (const [name, [keep, supersede, merge]] of Object.entries(fitWeights(readPairs(file)))) console.log(`  ${name}: [${[keep, supersede, merge].map((weight) => weight.toFixed(2)).join(", ")}],`)
  } else {
    const bench = benchReconcile(file)
    console.log(`${bench.pairs} pairs\n${table("as shipped (fitted on these pairs)", bench.inSample)}\n${table("ten-fold cross-validated", bench.crossValidated)}`)
  }
}
