/** A stage for commands on runs: a server of its own, the scripted model, all who answer a run, and a way to give commands. */
import { Effect, Layer, type Scope } from "effect"
import type { Test } from "uvu"
import type { EventLog } from "#shared/eventlog/event-log"
import type { Nats } from "#shared/eventlog/nats"
import { evolutionCommands } from "#services/cli/evolution"
import { commandRunner } from "#test/support/commands"
import { effect } from "#test/support/effect"
import type { ScriptedModel } from "#test/support/scripted-model"
import { answersOnRequest, configured, finished, openRun, questions, runRequest, withReflector } from "../reflector/stage.ts"

export interface RunStage {
  /** Gives a command of evolution in tenant `t`. */
  readonly run: ReturnType<typeof commandRunner>
  /** Requests the model has had. */
  readonly asked: () => number
  readonly setFault: ScriptedModel["setFault"]
  readonly home: string
}

/**
 * @param known questions that are registered
 * @param settings of the actors
 * @param askedBy further settings of who answers what commands ask
 */
export const onRunStage = (
  test: Test, name: string, known: number, body: (stage: RunStage) => Effect.Effect<unknown, unknown, EventLog | Nats | Scope.Scope>, settings: Readonly<Record<string, string>> = {}, askedBy: Readonly<Record<string, string>> = {}
) =>
  effect(test as never, name, () =>
    withReflector(({ home, model, url }) =>
      Effect.gen(function*() {
        yield* Layer.build(Object.keys(askedBy).length === 0 ? answersOnRequest : answersOnRequest.pipe(Layer.provide(configured(model.url, { ...settings, ...askedBy })), Layer.fresh))
        const run = commandRunner(evolutionCommands, home, url)
        yield* body({ home, setFault: model.setFault, asked: () => model.requests.length, run: (...args) => run(...args, "--tenant", "t") })
      }), { known, settings }), 180_000)

/** The same with a finished run `a` of three steps. */
export const onFinishedRun = (test: Test, name: string, body: (stage: RunStage) => Effect.Effect<unknown, unknown, EventLog | Nats | Scope.Scope>, settings: Readonly<Record<string, string>> = {}, askedBy: Readonly<Record<string, string>> = {}) =>
  onRunStage(test, name, 117, (stage) =>
    Effect.gen(function*() {
      yield* openRun("a", runRequest(questions(117), { steps: 3 }))
      yield* finished("a")
      yield* body(stage)
    }), settings, askedBy)
