/** The model service over a scripted endpoint, with short waits, and requests to ask it with. */
import { ConfigProvider, Effect, Layer } from "effect"
import type { CallRequest } from "#shared/model/call"
import { CallStore } from "#shared/model/call-store"
import { Models, type ModelsOptions } from "#shared/model/models"
import { effect } from "./effect.ts"
import { type Fault, type ScriptedModel, type ScriptedOptions, type ScriptedRequest, scriptedModel } from "./scripted-model.ts"

type Suite = Parameters<typeof effect>[0]

export const secret = "sk-very-secret-4711"
export const quick = { backoffMs: 5, closedMs: 60 }
export const layerFor = (environment: Record<string, string>, options: ModelsOptions = {}) =>
  Layer.provideMerge(Models.layer({ patience: quick, ...options }), CallStore.layerMemory).pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ METAMEM_LLM_KEY: secret, METAMEM_LLM_TIMEOUT_MS: "300", ...environment })))
  )

/** Runs with a scripted endpoint behind every role. */
export const withModel = (
  test: Suite,
  name: string,
  body: (model: ScriptedModel) => Effect.Effect<unknown, unknown, Models | CallStore>,
  options: ScriptedOptions & { readonly environment?: Record<string, string> } = {}
) =>
  effect(test, name, () =>
    Effect.gen(function*() {
      const model = yield* scriptedModel(options)
      yield* body(model).pipe(Effect.provide(layerFor({ METAMEM_LLM_URL: model.url, ...options.environment })))
    }))

export const answer = (text: string, more: Partial<CallRequest<"answer">> = {}): CallRequest<"answer"> => ({
  role: "answer",
  messages: [{ role: "user", content: `Question: ${text}` }],
  tenant: "local",
  scope: "u1",
  templateVersion: "t1",
  ...more
})
export const judged = (text = "Question: x\n(ref 000000-1)"): CallRequest<"judge"> => ({
  role: "judge",
  messages: [{ role: "user", content: text }],
  tenant: "local",
  scope: "u1",
  templateVersion: "t1"
})
export const call = (request: CallRequest<"answer">) => Effect.flatMap(Models, (models) => models.call(request))
export const callJudge = (text?: string) => Effect.flatMap(Models, (models) => models.call(judged(text)))
export const usage = Effect.flatMap(Models, (models) => models.usage)
export const always = (fault: Fault) => () => fault
export const once = (fault: Fault) => (request: ScriptedRequest) => (request.repeats === 0 && !request.call.endsWith(".1") ? fault : undefined)
