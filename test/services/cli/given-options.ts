/** The options of `train` as they are where none is given. */
import { Option } from "effect"
import type { GivenOptions } from "#services/cli/train-options"

const none = Option.none<never>()
/** @param options those that are given */
export const given = (options: Partial<GivenOptions> = {}): GivenOptions => ({
  steps: none, epochs: none, batch: none, samples: none, repeatedShare: none, droppedShare: none, rolloutTemperature: none, gateTemperature: none, maxTokens: none, evidenceTokens: none, validation: none,
  validationSamples: none, guardSamples: none, operationsPerStep: none, principlesInScope: none, patience: none, gate: none, guardPolicy: none, judge: none, reflector: none, canary: [], anyway: false, seed: 42,
  ...options
})
