/**
 * Everything a run may be given on the command line, with its range and its default in each preset. What is chosen stands in the run's
 * opening event; `services/README.md` says which published parameter each one is.
 */
import { Option, Result } from "effect"
import { Flag } from "effect/cli"
import { fewestOfType } from "#shared/metamemory/split"
import { presets, type RunParameters, type RunRequest } from "#services/reflector/parameters"
import { some } from "./shown.ts"

export type Preset = (typeof presets)[keyof typeof presets]

/** Questions a run validates with where there are that many, by preset. */
export const validationSizes = { laptop: 60, metamem: 120 } as const

/** Name of each option, the parameter it sets, and its range; `below` excludes the upper end. Shares and temperatures need not be whole. */
const numbers = {
  steps: { of: "steps", least: 1, whole: true },
  batch: { of: "batch", least: 1, whole: true },
  samples: { of: "samples", least: 2, most: 100, whole: true },
  "repeated-share": { of: "repeatedShare", least: 0, most: 1, whole: false },
  "dropped-share": { of: "dropShare", least: 0, below: 1, whole: false },
  "rollout-temperature": { of: "rolloutTemperature", least: 0, most: 2, whole: false },
  "gate-temperature": { of: "gateTemperature", least: 0, most: 2, whole: false },
  "max-tokens": { of: "maxTokens", least: 1, whole: true },
  "evidence-tokens": { of: "evidenceTokens", least: 1, whole: true },
  "validation-samples": { of: "validationSamples", least: 1, most: 100, whole: true },
  "guard-samples": { of: "guardSamples", least: 1, most: 100, whole: true },
  "operations-per-step": { of: "operationsPerStep", least: 1, most: 100, whole: true },
  "principles-in-scope": { of: "maxInScope", least: 1, most: 100, whole: true },
  patience: { of: "patience", least: 0, whole: true }
} as const satisfies Record<string, { readonly of: keyof Preset; readonly least: number; readonly most?: number; readonly below?: number; readonly whole: boolean }>

type NumberName = keyof typeof numbers
type NumberParameter = (typeof numbers)[NumberName]["of"]
type Range = { readonly least: number; readonly most?: number; readonly below?: number; readonly whole: boolean }

const defaultIn = (of: keyof Preset): string => {
  const [laptop, metamem] = [String(presets.laptop[of]), String(presets.metamem[of])]
  return laptop === metamem ? `default ${laptop}` : `laptop ${laptop}, metamem ${metamem}`
}

const number = (name: NumberName, description: string) => {
  const { of, whole } = numbers[name]
  return (whole ? Flag.Int(name) : Flag.Finite(name)).pipe(Flag.withDescription(`${description} (${defaultIn(of)})`), Flag.optional)
}

/** Options of `metamem train` that become a run's parameters. */
export const runFlags = {
  preset: Flag.Literals("preset", ["laptop", "metamem"]).pipe(Flag.withDescription("laptop: small, for showing the machinery (default without an endpoint); metamem: the published sizes"), Flag.optional),
  steps: number("steps", "Steps"),
  epochs: Flag.Finite("epochs").pipe(Flag.withDescription("Instead of --steps: rounds through the training questions; steps = ⌈epochs × training questions / batch⌉, 5 × 350 / 50 = 35 as published"), Flag.optional),
  batch: number("batch", "Questions a step"),
  samples: number("samples", "Attempts a question, at least 2; only questions that come out both ways are studied, as with the original's only_partial_correct"),
  repeatedShare: number("repeated-share", "Share of a batch from questions earlier partly right, the rest is fresh; 0: all fresh, as the original"),
  droppedShare: number("dropped-share", "Share of principles each training attempt goes without, which is what their effects are told by; 0: none, as the original"),
  rolloutTemperature: number("rollout-temperature", "Temperature of training attempts"),
  gateTemperature: number("gate-temperature", "Temperature of answers to gate and guard test"),
  maxTokens: number("max-tokens", "Most tokens of an answer"),
  evidenceTokens: number("evidence-tokens", "Evidence shown, in o200k tokens"),
  validation: Flag.Int("validation").pipe(Flag.withDescription(`Most validation questions (laptop ${validationSizes.laptop}, metamem ${validationSizes.metamem}), at least ${fewestOfType} of a type where there are that many`), Flag.optional),
  validationSamples: number("validation-samples", "Samples a validation question that the budget reckons with, and that whatif and effect take by themselves; the gate takes 2, 5 or 9 as a trial needs them"),
  guardSamples: number("guard-samples", "Samples a question and arm in the guard test"),
  guardPolicy: Flag.Literals("guard-policy", ["likely", "proven"]).pipe(Flag.withDescription(`How sure the guard test has to be: likely or proven, as for the gate (${defaultIn("guardPolicy")})`), Flag.optional),
  operationsPerStep: number("operations-per-step", "Most operations a step puts to the gate"),
  principlesInScope: number("principles-in-scope", "Most principles a question is shown"),
  patience: number("patience", "End early after this many steps in a row that sealed nothing, with no trial open; 0: never"),
  seed: Flag.Int("seed").pipe(Flag.withDescription("Seed of everything drawn (default 42)"), Flag.withDefault(42)),
  gate: Flag.Literals("gate", ["likely", "proven", "always"]).pipe(Flag.withDescription("likely: about 80 % sure (default); proven: p ≤ .05; always: accept everything, as the original"), Flag.optional),
  judge: Flag.Literals("judge", ["lexical", "model"]).pipe(Flag.withDescription("By words, or by the model of the role judge (default: METAMEM_JUDGE)"), Flag.optional),
  reflector: Flag.Literals("reflector", ["rules", "model", "both"]).pipe(Flag.withDescription("Who reflects and proposes (default: METAMEM_REFLECTOR)"), Flag.optional),
  canary: Flag.String("canary").pipe(Flag.withDescription("A string planted in training answers, which may stand in no principle; may be given several times"), Flag.atLeast(0)),
  anyway: Flag.Boolean("anyway").pipe(Flag.withDescription("Run although the sample is too small to tell much; every figure is labelled so"), Flag.withDefault(false))
}

/** What the options above cannot set, and where it is set. */
export const setElsewhere =
  "Models, their token limits, tries and requests at once are settings of the roles answer, judge, reflect, propose and consolidate (METAMEM_ANSWER_…, deploy/env.example); " +
  "reflections and proposals are made at temperature 0, as published, and so are verdicts, but for the three votes on a preference. " +
  "Tries of a rollout, judgement or reflection: METAMEM_ROLLOUT_ATTEMPTS, METAMEM_JUDGEMENT_ATTEMPTS, METAMEM_REFLECTION_ATTEMPTS."

type Choice<A> = Option.Option<A>
/** What was given on the command line. */
export interface GivenOptions extends Record<
  "steps" | "epochs" | "batch" | "samples" | "repeatedShare" | "droppedShare" | "rolloutTemperature" | "gateTemperature" | "maxTokens" | "evidenceTokens" | "validation" |
  "validationSamples" | "guardSamples" | "operationsPerStep" | "principlesInScope" | "patience", Choice<number>> {
  readonly gate: Choice<RunRequest["gate"]>
  readonly guardPolicy: Choice<NonNullable<RunRequest["guardPolicy"]>>
  readonly judge: Choice<NonNullable<RunRequest["judge"]>>
  readonly reflector: Choice<NonNullable<RunRequest["reflector"]>>
  readonly canary: ReadonlyArray<string>
  readonly anyway: boolean
  readonly seed: number
}

const optionNames: Readonly<Record<NumberName, keyof GivenOptions>> = {
  steps: "steps", batch: "batch", samples: "samples", "repeated-share": "repeatedShare", "dropped-share": "droppedShare", "rollout-temperature": "rolloutTemperature",
  "gate-temperature": "gateTemperature", "max-tokens": "maxTokens", "evidence-tokens": "evidenceTokens", "validation-samples": "validationSamples", "guard-samples": "guardSamples",
  "operations-per-step": "operationsPerStep", "principles-in-scope": "principlesInScope", patience: "patience"
}

const outside = (name: string, value: number, { below, least, most, whole }: Range): string | undefined => {
  if (value >= least && (most === undefined || value <= most) && (below === undefined || value < below)) return undefined
  const upTo = below !== undefined ? ` up to below ${below}` : most !== undefined ? ` to ${most}` : " on"
  return `--${name} is a ${whole ? "whole number" : "number"} from ${least}${upTo}, not ${value}`
}

/** What is chosen of a run's parameters: the preset with what was given in its place. The lists of questions are not among them. */
export type ChosenParameters = Omit<RunRequest, "datasetHash" | "train" | "validation" | "guard" | "test" | "mix">

/**
 * The parameters that follow from the options, or what is wrong with them.
 *
 * @param training training questions, by which epochs are reckoned and which no batch exceeds
 */
export const chosenParameters = (given: GivenOptions, preset: Preset, training: number): Result.Result<ChosenParameters, string> => {
  const set: Partial<Record<NumberParameter, number>> = {}
  for (const name of Object.keys(numbers) as Array<NumberName>) {
    const value = given[optionNames[name]] as Choice<number>
    if (Option.isNone(value)) continue
    const wrong = outside(name, value.value, numbers[name])
    if (wrong !== undefined) return Result.fail(wrong)
    set[numbers[name].of] = value.value
  }
  const batch = Math.min(set.batch ?? preset.batch, training)
  if (Option.isSome(given.epochs)) {
    if (set.steps !== undefined) return Result.fail("--steps and --epochs say the same thing in two ways: give one of them")
    if (!(given.epochs.value > 0)) return Result.fail(`--epochs is a number above 0, not ${given.epochs.value}`)
    set.steps = Math.ceil((given.epochs.value * training) / batch)
  }
  return Result.succeed({
    ...preset,
    ...set,
    batch,
    seed: given.seed,
    canaries: given.canary,
    anyway: given.anyway || preset.anyway,
    ...Option.match(given.gate, { onNone: () => ({}), onSome: (gate) => ({ gate }) }),
    ...Option.match(given.guardPolicy, { onNone: () => ({}), onSome: (guardPolicy) => ({ guardPolicy }) }),
    ...Option.match(given.judge, { onNone: () => ({}), onSome: (judge) => ({ judge }) }),
    ...Option.match(given.reflector, { onNone: () => ({}), onSome: (reflector) => ({ reflector }) })
  })
}

const wholePercent = (share: number): string => `${Math.round(share * 100)} %`

/** All that was chosen for a run, in words. */
export const parameterLines = (parameters: RunParameters): ReadonlyArray<string> => {
  const { batch, dropShare, models, patience, preset, repeatedShare, samples, seed, steps } = parameters
  const { evidenceTokens, gateTemperature, maxInScope, maxTokens, rolloutTemperature } = parameters
  const { gate, guardPolicy, guardSamples, operationsPerStep, validationSamples } = parameters
  const end = patience === undefined || patience === 0 || patience >= steps ? "no early end" : `early end after ${patience} steps without a generation`
  return [
    `preset ${preset}, seed ${seed}: ${some(steps, "step")} of ${some(batch, "question")} x ${samples} attempts, ${wholePercent(repeatedShare)} of them partly right before; each attempt goes without ${wholePercent(dropShare)} of the principles`,
    `answers: ${models["answer"] ?? "?"}, temperature ${rolloutTemperature} (gate and guard ${gateTemperature}), at most ${maxTokens} tokens, evidence up to ${evidenceTokens} tokens, at most ${maxInScope} principles`,
    `gate: ${gate}, at most ${some(operationsPerStep, "operation")} a step, ${some(validationSamples, "sample")} reckoned with; guard test: ${guardPolicy ?? "likely"}, with ${some(guardSamples, "sample")}; ${end}`
  ]
}
