import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { factsCheck, roleChecks } from "#services/cli/doctor-roles"
import { effect } from "#test/support/effect"
import { layerFor, withModel } from "#test/support/models"
import { scriptedModel } from "#test/support/scripted-model"

const test = suite("doctor, of models")
const shown = Effect.map(roleChecks, (checks) => checks.map(({ detail, name, ok }) => [ok, name, detail.replace(/, \d+ ms/g, "")]))

effect(test, "an address where nothing listens is told at once, on one line, with its roles and the setting that names it", () =>
  Effect.gen(function*() {
    const started = performance.now()
    assert.equal(yield* shown, [[false, "endpoint", "for every role: the endpoint at http://127.0.0.1:9/v1 (METAMEM_LLM_URL) cannot be reached: nothing listens there (connect ECONNREFUSED 127.0.0.1:9)."]])
    assert.ok(performance.now() - started < 3_000)
  }).pipe(Effect.provide(layerFor({ METAMEM_LLM_URL: "http://127.0.0.1:9" }, { patience: { backoffMs: 500, closedMs: 30_000 } }))))

withModel(test, "roles that the same model plays are one line, others have their own", (model) =>
  Effect.gen(function*() {
    assert.equal(yield* shown, [
      [true, "endpoint", `for extract, reconcile, answer, judge (METAMEM_LLM_URL): scripted at ${model.url}: json_schema yes, usage yes`],
      [false, "endpoint", "for reflect, propose, consolidate: the endpoint at http://127.0.0.1:9/v1 (METAMEM_REFLECT_URL) cannot be reached: nothing listens there (connect ECONNREFUSED 127.0.0.1:9)."]
    ])
  }), { environment: { METAMEM_REFLECT_URL: "http://127.0.0.1:9" } })

withModel(test, "a role with another key at the same address is asked by itself", (model) =>
  Effect.gen(function*() {
    model.setFault((request) => (request.call.includes("probe") && request.headers["authorization"] === "Bearer of-the-judge" ? { _tag: "Status", status: 401, message: "no" } : undefined))
    assert.equal((yield* shown).map(([ok, , detail]) => [ok, /^for ([\w, ]+)/.exec(String(detail))?.[1]]), [[true, "extract, reconcile, answer, reflect, propose, consolidate "], [false, "judge"]])
  }), { environment: { METAMEM_JUDGE_KEY: "of-the-judge" } })

effect(test, "roles that nothing plays are one line, and wrong where nothing can answer", () =>
  Effect.gen(function*() {
    const judge = yield* scriptedModel()
    assert.equal(yield* Effect.provide(shown, layerFor({ METAMEM_JUDGE_URL: judge.url })), [
      [false, "roles", "extract, reconcile, answer, reflect, propose, consolidate: no endpoint and no local model"],
      [true, "endpoint", `for judge (METAMEM_JUDGE_URL): scripted at ${judge.url}: json_schema yes, usage yes`]
    ])
  }))

for (
  const [name, chosen, environment, told] of [
    ["no endpoint", ["rules", "rules"], {}, [true, "extracted by rule; reconciled by rule"]],
    ["an endpoint", ["rules", "rules"], { METAMEM_LLM_URL: "http://127.0.0.1:9" }, [
      true,
      "extracted by rule (METAMEM_EXTRACTOR=model has the endpoint extract them); reconciled by rule (METAMEM_RECONCILER=model has the endpoint reconcile them)"
    ]],
    ["an endpoint that is to extract", ["model", "rules"], { METAMEM_EXTRACT_URL: "http://127.0.0.1:9" }, [
      true,
      "extracted by the model of the role extract; reconciled by rule (METAMEM_RECONCILER=model has the endpoint reconcile them)"
    ]],
    ["a model that is to extract and is not there", ["model", "rules"], {}, [false, "extracted by the model of the role extract, which there is not; reconciled by rule"]]
  ] as const
) {
  effect(test, `with ${name} it says who makes facts`, () =>
    Effect.gen(function*() {
      const { detail, ok } = yield* factsCheck({ extract: chosen[0], reconcile: chosen[1] })
      assert.equal([ok, detail], told)
    }).pipe(Effect.provide(layerFor(environment))))
}

test.run()
