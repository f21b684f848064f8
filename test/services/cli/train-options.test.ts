import { Option, Result } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { chosenParameters, type GivenOptions, parameterLines } from "#services/cli/train-options"
import { presets } from "#services/reflector/parameters"
import { parameters } from "../reflector/simulation.ts"
import { given } from "./given-options.ts"

const test = suite("options of a run")

const chosen = (options: Partial<GivenOptions>, training = 350) => Result.getOrThrow(chosenParameters(given(options), presets.metamem, training))
const refused = (options: Partial<GivenOptions>): string => {
  const result = chosenParameters(given(options), presets.metamem, 350)
  return Result.isFailure(result) ? result.failure : "it was taken"
}

test("without options the preset holds, in the published sizes", () => {
  const { batch, maxTokens, rolloutTemperature, samples, steps } = chosen({})
  assert.equal({ batch, maxTokens, rolloutTemperature, samples, steps }, { batch: 50, maxTokens: 4_096, rolloutTemperature: 0.7, samples: 5, steps: 35 })
  assert.is(Result.getOrThrow(chosenParameters(given(), presets.laptop, 40)).anyway, true)
})

test("every option becomes the parameter of the run that it names", () => {
  const options = {
    steps: 4, batch: 20, samples: 3, repeatedShare: 0.4, droppedShare: 0.1, rolloutTemperature: 1, gateTemperature: 0.2, maxTokens: 99, evidenceTokens: 800,
    validationSamples: 6, guardSamples: 7, operationsPerStep: 2, principlesInScope: 5, patience: 0
  }
  const { dropShare, maxInScope, ...rest } = chosen({
    ...(Object.fromEntries(Object.entries(options).map(([name, value]) => [name, Option.some(value)])) as Partial<GivenOptions>),
    gate: Option.some("proven"), guardPolicy: Option.some("likely"), judge: Option.some("lexical"), reflector: Option.some("rules"), canary: ["velvet otter"], anyway: true, seed: 7
  })
  const { droppedShare, principlesInScope, ...same } = options
  assert.equal({ dropShare, maxInScope }, { dropShare: droppedShare, maxInScope: principlesInScope })
  assert.equal(rest, { preset: "metamem", canaries: ["velvet otter"], ...same, gate: "proven", guardPolicy: "likely", judge: "lexical", reflector: "rules", anyway: true, seed: 7 })
})

test("epochs become steps by the training questions and the batch, and the batch is never larger than they are", () => {
  assert.is(chosen({ epochs: Option.some(5) }).steps, 35)
  assert.is(chosen({ epochs: Option.some(1), batch: Option.some(12) }, 100).steps, 9)
  assert.equal([chosen({ epochs: Option.some(0.5) }, 30).batch, chosen({ epochs: Option.some(0.5) }, 30).steps], [30, 1])
  assert.match(refused({ epochs: Option.some(1), steps: Option.some(3) }), /give one of them/)
  assert.match(refused({ epochs: Option.some(0) }), /above 0/)
})

test("what is out of range is refused with the range", () => {
  assert.is(refused({ samples: Option.some(1) }), "--samples is a whole number from 2 to 100, not 1")
  assert.is(refused({ droppedShare: Option.some(1) }), "--dropped-share is a number from 0 up to below 1, not 1")
  assert.is(refused({ steps: Option.some(0) }), "--steps is a whole number from 1 on, not 0")
  assert.match(refused({ repeatedShare: Option.some(1.2) }), /--repeated-share is a number from 0 to 1, not 1.2/)
  assert.match(refused({ rolloutTemperature: Option.some(-0.1) }), /--rollout-temperature/)
  assert.match(refused({ gateTemperature: Option.some(2.1) }), /--gate-temperature/)
  assert.match(refused({ guardSamples: Option.some(0) }), /--guard-samples/)
  assert.match(refused({ patience: Option.some(-1) }), /--patience is a whole number from 0 on/)
})

test("an opened run tells all that was chosen", () => {
  const told = parameterLines(parameters({ steps: 9, batch: 13, samples: 4, repeatedShare: 0.6, dropShare: 0.15, rolloutTemperature: 0.8, gateTemperature: 0.3, maxTokens: 77, evidenceTokens: 555, guardSamples: 8, operationsPerStep: 3, maxInScope: 6, patience: 5 })).join("\n")
  for (const part of ["seed 7", "9 steps of 13 questions x 4 attempts", "60 %", "15 %", "reader", "temperature 0.8", "guard 0.3", "77 tokens", "555 tokens", "6 principles", "3 operations", "8 samples", "after 5 steps"]) assert.ok(told.includes(part), `${part} is missing in:\n${told}`)
  for (const none of [{ patience: 0 }, { steps: 3, patience: 24 }]) assert.match(parameterLines(parameters(none)).join("\n"), /no early end/)
  assert.match(parameterLines(parameters({ steps: 1, validationSamples: 1, guardSamples: 1 })).join("\n"), /: 1 step of .*, 1 sample reckoned with; guard test: likely, with 1 sample;/s)
})

test.run()
