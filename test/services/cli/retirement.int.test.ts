/** A principle that harms, in force from the beginning: its measured effect has its deletion proposed, and the gate decides on it. */
import { Effect } from "effect"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import type { Principle } from "#shared/domain/principle"
import { finished, openRun, questions, runRequest, stateOf, verification } from "../reflector/stage.ts"
import { onRunStage } from "./run-stage.ts"

const test = suite("retirement")

const principle = (at: number, text: string): Principle => ({ id: `P1-${at}-abc`, text, scope: "single-fact", bornIn: 1, parents: [`O1-${at}-abc`] })
const [harmful, helpful] = [principle(1, "Always answer with the first memory shown."), principle(2, "Prefer the newest memory when two of them disagree.")]

onRunStage(test, "what harms is proposed for retirement without a question, goes through the gate and is gone; the commands tell why", 117, ({ run }) =>
  Effect.gen(function*() {
    yield* openRun("a", runRequest(questions(117), {
      steps: 11, batch: 16, samples: 6, operationsPerStep: 1, dropShare: 0.4, repeatedShare: 0.5,
      branch: { run: "earlier", generation: 1, step: 1, change: "one that harms put in", principles: [harmful, helpful], memoryPosition: 0 }
    }))
    yield* finished("a")
    const state = yield* stateOf("a")
    const retired = state.operations.filter(({ operation, sources }) => operation === "delete" && sources.length === 0)
    assert.equal(retired.map(({ before, decision }) => [before?.id, decision]), [[harmful.id, "accepted"]])
    const [{ asked, difference, proposed, step }] = retired as [typeof retired[number]]
    assert.ok(asked > 0 && (difference ?? 0) > 0, "the gate asked questions without it")
    assert.ok(proposed >= 8, "seven steps of attempts went before")
    const holding = state.generations.filter(({ principles }) => principles.some(({ id }) => id === harmful.id))
    assert.ok(holding.length > 0 && state.generations.filter((one) => one.step >= step).every((one) => !holding.includes(one)))
    assert.ok(state.generations.at(-1)?.principles.some(({ id }) => id === helpful.id), "what helps stays")

    const { entries } = (yield* run("history", harmful.id, "--run", "a")).json
    assert.equal(entries.map(({ kind, what, retirement, step }: { kind: string; what: string; retirement: boolean; step: number }) => ({ kind, what, retirement, step })), [{ kind: "delete", what: "deleted", retirement: true, step }])
    const { effects: [effect] } = (yield* run("effect", harmful.id, "--run", "a")).json
    assert.ok(effect.high < 0.01 && effect.steps >= 7)
    assert.is(effect.inForce, false)
    assert.equal((yield* verification("a")).differing, [])
    const replayed = (yield* run("replay", "--run", "a", "--generation", String(state.generations.length - 1))).json
    assert.ok(replayed.principles.every(({ id }: { id: string }) => id !== harmful.id))
  }), { METAMEM_LLM_TIMEOUT_MS: "5000" })

test.run()
