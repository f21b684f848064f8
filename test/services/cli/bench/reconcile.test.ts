import { suite } from "uvu"
import * as assert from "uvu/assert"
import { benchReconcile, benchReconcileModel, fitWeights } from "#services/cli/bench/reconcile"
import { featureNames } from "#services/compressor/construction/reconcile-features"
import { reconcileWeights } from "#services/compressor/construction/reconcile-rules"
import { Effect, Schema } from "effect"
import { readFileSync } from "node:fs"
import { defaultPairsFile } from "#services/cli/bench/reconcile"
import { withModel } from "#test/support/models"

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

withModel(
  test,
  "a model is shown both statements of every pair; what it says is counted, and no usable reply counts as kept",
  () =>
    Effect.gen(function*() {
      const { errors, figures, pairs } = yield* benchReconcileModel()
      assert.is(errors, 1)
      assert.is(pairs, 180)
      // Superseded throughout, but for the first pair, which is to be superseded too and got no reply.
      assert.is(figures.byLabel.supersede.recall, (figures.byLabel.supersede.pairs - 1) / figures.byLabel.supersede.pairs)
      assert.is(figures.byLabel.merge.recall, 0)
      assert.is(figures.accuracy, (figures.byLabel.supersede.pairs - 1) / pairs)
    }),
  {
    // No pair may count as an error because the machine is busy.
    environment: { METAMEM_LLM_TIMEOUT_MS: "20000" },
    scripts: {
      reconcile: ({ prompt }) =>
        prompt.includes("I drink three cups of coffee a day.") && prompt.includes("the doctor was right about my heart") ? "no idea" : { action: "supersede", text: null }
    }
  }
)

test.run()
