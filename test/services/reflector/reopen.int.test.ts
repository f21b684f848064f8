/** A run goes on only as it was opened: settings that decide what its models are asked are part of that, whoever opens it again. */
import { Effect, Layer } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { effect } from "#test/support/effect"
import { answering, configured, openRun, questions, reflector, runRequest, withWorkers } from "./stage.ts"

const test = suite("a run opened again")

effect(
  test as never,
  "with another prompt for readers, or another limit of replies, is refused and says so; as it was, it goes on",
  () =>
    withWorkers(({ model }) => {
      const opened = (settings: Readonly<Record<string, string>>) =>
        Effect.scoped(Effect.gen(function*() {
          yield* Layer.build(reflector).pipe(Effect.provide(configured(model.url, settings)))
          yield* answering("reflector")
          return yield* openRun("a", runRequest(questions(117))).pipe(Effect.match({ onSuccess: () => "opened", onFailure: String }))
        }))
      return Effect.gen(function*() {
        assert.is(yield* opened({}), "opened")
        assert.match(yield* opened({ METAMEM_ANSWER_PROMPTS: "small" }), /templates\.answer \w+, not answer-small\S+ \(.*METAMEM_ANSWER_PROMPTS\)/)
        assert.match(yield* opened({ METAMEM_JUDGE_MAX_TOKENS: "64" }), /tokenLimits\.judge 512, not 64 \(METAMEM_JUDGE_MAX_TOKENS\)/)
        assert.is(yield* opened({ METAMEM_ANSWER_PROMPTS: "large", METAMEM_JUDGE_MAX_TOKENS: "512" }), "opened")
      })
    }),
  60_000
)

test.run()
