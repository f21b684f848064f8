/** What `metamem doctor` says of models and of who makes facts: one line for each endpoint, with the roles it plays and the setting that names it. */
import { Effect, References, Result } from "effect"
import { Models } from "#shared/model/models"
import type { Probe } from "#shared/model/probe"
import { type Role, roles } from "#shared/model/roles"
import type { Check } from "./doctor.ts"

/** Longest an endpoint is waited for. One where nothing listens is told at once. */
const limitSeconds = 60

const named = (group: ReadonlyArray<Role>): string => (group.length === roles.length ? "every role" : group.join(", "))

const found = ({ jsonSchema, latencyMs, model, url, usage }: Probe): string => `${model} at ${url}: json_schema ${jsonSchema ? "yes" : "no"}, usage ${usage ? "yes" : "no"}, ${Math.round(latencyMs)} ms`

/** All endpoints at once, each asked once however many roles it plays. */
export const roleChecks = Effect.gen(function*() {
  const models = yield* Models
  const groups = Map.groupBy(roles, (role) => models.casting(role)?.sameAs)
  return yield* Effect.forEach(
    [...groups],
    ([first, group]) =>
      Effect.gen(function*(): Effect.fn.Return<Check> {
        const casting = first === undefined ? undefined : models.casting(first)
        if (first === undefined || casting === undefined) {
          return { name: "roles", ok: !group.includes("answer"), detail: `${named(group)}: no endpoint and no local model`, mend: "run `npm run setup`, or set METAMEM_LLM_URL or the address of a role" }
        }
        const { isLocal, urls, urlSetting } = casting
        const name = isLocal ? "local model" : "endpoint"
        const probed = yield* models.probe(first).pipe(
          // What would be logged meanwhile stands in the line.
          Effect.provideService(References.MinimumLogLevel, "None"),
          // Without the role, since it may play several.
          Effect.mapError(({ reason: { message } }) => ({ message })),
          Effect.timeoutOrElse({ duration: `${limitSeconds} seconds`, orElse: () => Effect.fail({ message: `${isLocal ? "the local model" : `the endpoint at ${urls.join(", ")} (${urlSetting})`} gave no answer within ${limitSeconds} s` }) }),
          Effect.result
        )
        if (Result.isFailure(probed)) return { name, ok: false, detail: `for ${named(group)}: ${probed.failure.message}`, mend: isLocal ? "run `npm run setup`, or set METAMEM_LLM_URL" : "check that the endpoint runs and that address, model and key are right" }
        return { name, ok: true, detail: `for ${named(group)}${isLocal ? "" : ` (${urlSetting})`}: ${probed.success.map(found).join("; ")}` }
      }),
    { concurrency: roles.length }
  )
})

const factWork = [["extract", "extracted", "METAMEM_EXTRACTOR"], ["reconcile", "reconciled", "METAMEM_RECONCILER"]] as const

/** An endpoint alone does not make a model extract facts, which costs a call for every few turns: that is a choice of its own. */
export const factsCheck = (chosen: Readonly<Record<"extract" | "reconcile", "rules" | "model">>) =>
  Effect.map(Models, ({ casting }): Check => {
    const lacking = factWork.filter(([role]) => chosen[role] === "model" && casting(role) === undefined)
    const told = factWork.map(([role, done, setting]) => {
      const who = casting(role)
      if (chosen[role] === "model") return `${done} by the model of the role ${role}${who === undefined ? ", which there is not" : ""}`
      return who === undefined || who.isLocal ? `${done} by rule` : `${done} by rule (${setting}=model has the endpoint ${role} them)`
    })
    return { name: "facts", ok: lacking.length === 0, detail: told.join("; "), mend: `set an address for the role, or leave out ${lacking.map(([, , setting]) => setting).join(" and ")}` }
  })
