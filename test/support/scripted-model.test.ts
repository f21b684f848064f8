import { ConfigProvider, Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { CallStore } from "#shared/model/call-store"
import { Models } from "#shared/model/models"
import { effect } from "#test/support/effect"
import { type ScriptedOptions, scriptedModel, scriptedPrinciples } from "./scripted-model.ts"

const test = suite("scripted model")
const message = (content: string) => ({ messages: [{ role: "user" as const, content }], tenant: "local", scope: "run", templateVersion: "t" })

const withModel = (name: string, body: Effect.Effect<unknown, unknown, Models>, options: ScriptedOptions = {}) =>
  effect(test, name, () =>
    Effect.gen(function*() {
      const { url } = yield* scriptedModel(options)
      yield* body.pipe(
        Effect.provide(Layer.provide(Models.layer(), CallStore.layerMemory).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ METAMEM_LLM_URL: url })))))
      )
    }))

/** Right answers among four samples of each of forty questions. */
const rights = (principles: string) =>
  Effect.forEach(
    Array.from({ length: 40 }, (_, question) => question),
    (question) =>
      Effect.map(
        Effect.forEach([0, 1, 2, 3], (sample) =>
          Effect.flatMap(Models, (models) =>
            models.call({ role: "answer", ...message(`${principles}\nQuestion: number ${question}?`), sample: { runSeed: 1, purpose: "rollout", draw: 0, question: `q${question}`, sample } })
          )),
        (replies) => replies.filter(({ value }) => /-1\)$/.test(value)).length
      ),
    { concurrency: 8 }
  )
const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((a, b) => a + b, 0)

withModel("samples of a question come out both ways for some, one way for others", Effect.gen(function*() {
  const counts = yield* rights("")
  assert.ok(counts.filter((right) => right > 0 && right < 4).length >= 8)
  assert.ok(counts.includes(0) && counts.includes(4))
  assert.equal(yield* rights(""), counts)
}))

withModel("principles that help raise the share of right answers, and others lower it", Effect.gen(function*() {
  const plain = sum(yield* rights(""))
  assert.ok(sum(yield* rights(`[a] ${scriptedPrinciples[0]}`)) > plain + 10)
  assert.ok(sum(yield* rights(`[a] ${scriptedPrinciples[3]}`)) < plain - 10)
}))

withModel(
  "a right answer holds the reference, and the judge agrees with the mark",
  Effect.gen(function*() {
    const models = yield* Models
    const verdicts = new Set<string>()
    for (let sample = 0; sample < 12; sample++) {
      const { value } = yield* models.call({ role: "answer", ...message("Question: which town?"), sample: { runSeed: 1, purpose: "rollout", draw: 0, question: "q", sample } })
      const { value: judged } = yield* models.call({ role: "judge", ...message(`Question: which town?\n<response>\n${value}\n</response>`) })
      assert.is(judged.verdict === "yes", value.includes("Lisbon"))
      verdicts.add(judged.verdict)
    }
    assert.ok(verdicts.has("no"))
  }),
  { gold: new Map([["which town?", "Lisbon"]]) }
)

withModel("every other role replies with something of use", Effect.gen(function*() {
  const models = yield* Models
  const { value: extracted } = yield* models.call({ role: "extract", ...message("[0] 2023-05-01 user: I have a cat.\n[1] 2023-05-01 assistant: How nice.\n[2] 2023-05-01 user: It is old.") })
  assert.equal(extracted.facts, [{ turns: [0], fact: "The user said: I have a cat." }, { turns: [2], fact: "The user said: It is old." }])
  assert.is((yield* models.call({ role: "reconcile", ...message("a and b") })).value.action, "keep")
  assert.ok(scriptedPrinciples.includes((yield* models.call({ role: "reflect", ...message("an attempt") })).value.lesson))
  const { value: proposed } = yield* models.call({ role: "propose", ...message("lessons") })
  assert.is(proposed.operations[0]?.operation, "add")
  const line = JSON.stringify(proposed.operations[0])
  const { value: merged } = yield* models.call({ role: "consolidate", ...message(`<operations>\n${line}\n${line}\n</operations>`) })
  assert.equal(merged.operations, proposed.operations)
}))

test.run()
