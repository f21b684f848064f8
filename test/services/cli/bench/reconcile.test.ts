import { suite } from "uvu"
import * as assert from "uvu/assert"
import { benchReconcile, fitWeights } from "#services/cli/bench/reconcile"
import { featureNames } from "#services/compressor/construction/reconcile-features"
import { reconcileWeights } from "#services/compressor/construction/reconcile-rules"
import { Schema } from "effect"
import { readFileSync } from "node:fs"
import { defaultPairsFile } from "#services/cli/bench/reconcile"

const test = suite("bench of reconciliation")

test("supersessions are right four times in five on pairs the weights were not fitted on", () => {
  const { pairs, inSample, crossValidated } = benchReconcile()
  assert.ok(pairs >= 150)
  assert.ok(crossValidated.byLabel.supersede.precision >= 0.8, `precision ${crossValidated.byLabel.supersede.precision}`)
  assert.ok(crossValidated.byLabel.supersede.recall >= 0.5, `recall ${crossValidated.byLabel.supersede.recall}`)
  assert.ok(crossValidated.byLabel.merge.precision >= 0.85)
  assert.ok(inSample.byLabel.supersede.precision >= 0.9)
})

test("the weights in the rules are the ones the pairs give", () => {
  const pairs = readFileSync(defaultPairsFile, "utf8").trim().split("\n").map((line) => Schema.decodeUnknownSync(Schema.Any)(JSON.parse(line)))
  const fitted = fitWeights(pairs as never)
  for (const name of ["bias", ...featureNames] as const) {
    fitted[name].forEach((weight, action) => assert.ok(Math.abs(weight - (reconcileWeights[name][action] as number)) < 0.02, name))
  }
})

test.run()
